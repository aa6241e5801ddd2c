//! Where fragments go (FEATURES G-rows on fragments), against a map with time.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use balancer::{
    Address, ApplicationServer, AsId, FRAGMENT_LIFETIME_S, FlowHasher, FragmentKey, FragmentTable,
    FragmentWay, HashKey, InstanceKey, LbConfig, LbTables, NewFlowCache, Ports, Prefix, Protocol,
    Scheduler, ServerState, TableLength, TargetPort, Timeouts, VipId, VipKey, VipSpec,
};
use proptest::prelude::*;

fn tables(epochs: [u8; 2]) -> LbTables {
    let vip = VipId::new(0).unwrap();
    let prefix = Prefix::host(Ipv4Addr::new(20, 0, 0, 1).into());
    let spec = VipSpec {
        id: vip,
        key: VipKey { prefix, ports: Ports::one(Protocol::Udp, 53) },
        target: TargetPort::Keep,
        node_port: None,
        src_ip_sticky: false,
        scheduler: Scheduler::Maglev,
        length: TableLength::new(8).unwrap(),
        nat: false,
        timeouts: None,
    };
    let servers = [0, 1].map(|n| ApplicationServer {
        id: AsId::new(n).unwrap(),
        vip,
        address: Ipv4Addr::new(192, 168, 1, n as u8).into(),
        weight: 100,
        state: ServerState::Active,
        epoch: epochs[n as usize],
    });
    let hasher = FlowHasher::new(&HashKey::default());
    let empty = LbTables::empty(hasher.clone(), Timeouts::default());
    let config =
        LbConfig { vips: &[spec], servers: &servers, hasher, timeouts: Timeouts::default() };
    LbTables::build(&config, &empty, &mut NewFlowCache::new()).unwrap()
}

fn key<A: Address>(n: u32) -> FragmentKey<A> {
    let [src, dst] = [n & 1, n >> 1 & 1].map(|n| A::from_bits(u128::from(0x0a00_0000 + n)));
    let id = if A::IS_V6 { n << 16 } else { n };
    FragmentKey { src, dst, id, protocol: if n >> 2 & 1 == 0 { 17 } else { 6 } }
}

fn way<A: Address>(n: u32) -> FragmentWay<A> {
    let (vip, as_id) = (VipId::new(0).unwrap(), AsId::new(n & 1).unwrap());
    match n % 5 {
        0 => FragmentWay::Untouched,
        1 | 2 => FragmentWay::ToServer { vip, as_id },
        _ => FragmentWay::ToClient { vip, as_id, address: A::from_bits(u128::from(n)) },
    }
}

fn server<A>(way: &FragmentWay<A>) -> Option<AsId> {
    match *way {
        FragmentWay::Untouched => None,
        FragmentWay::ToServer { as_id, .. } | FragmentWay::ToClient { as_id, .. } => Some(as_id),
    }
}

/// (0, key, way) makes, (1, key, _) looks, (2, seconds, _) waits, (3, AS, _) flushes.
fn play<A: Address>(steps: &[(u8, u32, u32)], start_s: u32) {
    // Room for all: nothing is pushed out.
    let mut table = FragmentTable::<A>::new(1024, InstanceKey::from_bytes([1; 32]));
    let (mut model, mut epochs, mut elapsed) = (HashMap::new(), [0u8; 2], 0u32);
    let mut present = tables(epochs);
    for &(what, n, to) in steps {
        let now_s = start_s.wrapping_add(elapsed);
        match what {
            0 => {
                let epoch = server(&way::<A>(to)).map(|id| epochs[id.index()]);
                table.insert(key(n), way(to), &present, now_s);
                model.insert(key::<A>(n), (way::<A>(to), epoch, elapsed));
            }
            1 => {
                let alive = |&&(way, epoch, since): &&(FragmentWay<A>, Option<u8>, u32)| {
                    elapsed - since < FRAGMENT_LIFETIME_S
                        && server(&way).map(|id| epochs[id.index()]) == epoch
                };
                let expected = model.get(&key::<A>(n)).filter(alive).map(|known| known.0);
                assert_eq!(table.get(&key(n), &present, now_s), expected);
            }
            2 => elapsed += n % 4,
            _ => {
                epochs[n as usize % 2] += 1;
                present = tables(epochs);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map_with_time(
        steps in prop::collection::vec(
            prop_oneof![
                5 => (0..2u8, 0..24u32, 0..20u32),
                1 => (2..4u8, 0..24u32, Just(0)),
            ],
            1..100,
        ),
        start_s in prop_oneof![Just(0), Just(u32::MAX - 3)],
    ) {
        play::<Ipv4Addr>(&steps, start_s);
        play::<Ipv6Addr>(&steps, start_s);
    }
}

/// However many datagrams a stranger begins, memory stays as it is, and the latest are known.
#[test]
fn a_full_table_forgets_the_oldest() {
    let present = tables([0; 2]);
    let mut table = FragmentTable::<Ipv4Addr>::new(4, InstanceKey::from_bytes([1; 32]));
    assert_eq!(table.capacity(), 4);
    for n in 0..100 {
        table.insert(key(n), way(1), &present, n / 50);
        assert_eq!(table.get(&key(n), &present, n / 50), Some(way(1)));
    }
    assert_eq!((0..100).filter(|&n| table.get(&key(n), &present, 1).is_some()).count(), 4);
    // Of different ages, the oldest goes; another first fragment makes a datagram young again.
    let mut table = FragmentTable::<Ipv4Addr>::new(1, InstanceKey::from_bytes([1; 32]));
    for (n, now_s) in [(0, 0), (1, 1), (2, 2), (3, 2), (0, 2), (4, 2)] {
        table.insert(key(n), way(1), &present, now_s);
    }
    let known = [0, 1, 2, 3, 4].map(|n| table.get(&key(n), &present, 2).is_some());
    assert_eq!(known, [true, false, true, true, true]);
    assert_eq!(
        FragmentTable::<Ipv6Addr>::new(4096, InstanceKey::from_bytes([1; 32])).capacity(),
        4096
    );
}
