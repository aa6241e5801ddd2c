//! Flow hash, new-flow table, sticky table.

use std::hint::black_box;
use std::net::Ipv4Addr;

use balancer::{
    ApplicationServer, AsId, Balancer, FlowHasher, FlowTuple, HashKey, InstanceKey, LbConfig,
    LbTables, MAX_SERVERS, NewFlowCache, Ports, Prefix, Protocol, Scheduler, ServerState,
    StickyOwner, TableLength, TargetPort, TcpFlags, Timeouts, VipId, VipKey, VipSpec,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const BURST: u64 = 32;

fn tuple(flow: u32) -> FlowTuple<Ipv4Addr> {
    FlowTuple {
        // A multiplicative scramble, so that consecutive flows share no cache line by design.
        src: Ipv4Addr::from(0x0a00_0000 | flow.wrapping_mul(0x9e37_79b1) >> 8),
        dst: Ipv4Addr::new(10, 10, 2, 2),
        src_port: 1024 + (flow % 50_000) as u16,
        dst_port: 8080,
        protocol: Protocol::Udp.number(),
    }
}

fn vip() -> VipSpec {
    let prefix = Prefix::host(Ipv4Addr::new(10, 10, 2, 2).into());
    let key = VipKey { prefix, ports: Ports::one(Protocol::Udp, 8080) };
    VipSpec {
        id: VipId::new(0).expect("0 is a valid index"),
        key,
        target: TargetPort::One(80),
        node_port: None,
        src_ip_sticky: false,
        scheduler: Scheduler::Maglev,
        length: TableLength::DEFAULT,
        nat: true,
    }
}

fn servers(count: u32) -> Vec<ApplicationServer> {
    let server = |n| ApplicationServer {
        id: AsId::new(n).expect("a valid index"),
        vip: vip().id,
        address: Ipv4Addr::from(0xc0a8_0001 + n).into(),
        weight: 100,
        state: ServerState::Active,
        epoch: 0,
    };
    (0..count).map(server).collect()
}

fn tables(servers: &[ApplicationServer]) -> LbTables {
    let hasher = FlowHasher::new(&HashKey::default());
    let empty = LbTables::empty(hasher.clone(), Timeouts::default());
    let vips = [vip()];
    let config = LbConfig { vips: &vips, servers, hasher, timeouts: Timeouts::default() };
    LbTables::build(&config, &empty, &mut NewFlowCache::new()).expect("a valid configuration")
}

fn hash(c: &mut Criterion) {
    let hasher = FlowHasher::new(&HashKey::default());
    let tuples: Vec<_> = (0..BURST as u32).map(tuple).collect();
    let mut group = c.benchmark_group("flow hash");
    group.throughput(Throughput::Elements(BURST));
    group.bench_function("32 tuples", |b| {
        b.iter(|| tuples.iter().fold(0, |sum, tuple| sum ^ hasher.hash(black_box(tuple), false)));
    });
    group.finish();
}

fn new_flow_table(c: &mut Criterion) {
    let mut group = c.benchmark_group("new-flow table build, 65537 slots");
    group.sample_size(20);
    for count in [10, 100, 1000] {
        let servers = servers(count);
        group.bench_function(format!("{count} ASs"), |b| b.iter(|| tables(black_box(&servers))));
    }
    group.finish();
}

fn sticky_table(c: &mut Criterion) {
    let servers = servers(16);
    let tables = tables(&servers);
    let vip = tables.vip(vip().id).expect("the VIP was configured");
    let instance = InstanceKey::from_bytes([7; 32]);
    let mut group = c.benchmark_group("sticky table");
    group.throughput(Throughput::Elements(BURST));
    for flows in [1_u32, 1_000, 100_000, 1_000_000] {
        let buckets = u64::from(flows).next_power_of_two().max(1024);
        let mut owner = StickyOwner::new(buckets, instance, MAX_SERVERS).expect("a power of two");
        let mut balancer = Balancer { tables: &tables, owner: &mut owner, peers: &[], now_s: 1 };
        for flow in 0..flows {
            balancer.select(vip, &tuple(flow), TcpFlags::NONE);
        }
        let mut next = 0;
        group.bench_function(format!("hit, {flows} flows"), |b| {
            b.iter(|| {
                for _ in 0..BURST {
                    next = if next + 1 < flows { next + 1 } else { 0 };
                    black_box(balancer.select(vip, &tuple(next), TcpFlags::NONE));
                }
            });
        });
    }
    group.bench_function("new flow each packet", |b| {
        b.iter_batched_ref(
            || StickyOwner::new(1024, instance, MAX_SERVERS).expect("a power of two"),
            |owner| {
                let mut balancer = Balancer { tables: &tables, owner, peers: &[], now_s: 1 };
                for flow in 0..BURST as u32 {
                    black_box(balancer.select(vip, &tuple(flow), TcpFlags::NONE));
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, hash, new_flow_table, sticky_table);
criterion_main!(benches);
