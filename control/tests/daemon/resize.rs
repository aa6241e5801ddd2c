//! `lb conf buckets` while flows are alive: every flow keeps its AS (D-13), whatever its kind, at
//! whichever worker its packets arrive.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dataplane::interface::{MacAddress, PortId, QueueId};
use testkit::packet_builder::PacketBuilder;
use testkit::reference::frame::tcp_flag::{ACK, SYN};

use crate::bench::{Bench, CLIENT, LEFT_MAC, RIGHT_MAC, ROUTED, SERVER_MAC};

const WORKERS: u16 = 2;
/// Flows of each of the four kinds; a turn takes a packet of each of all, at either worker.
const FLOWS: u16 = 40;
const KINDS: u16 = 4;

/// VIPs whose flows have keys of each kind: exact, full, tag.
const VIPS: [&str; 3] =
    ["10.10.2.2/32 protocol tcp port 8080", "10.10.3.0/24 protocol tcp port 8080", "90.0.0.0/24"];

/// The destination of a client's flow, by its port: the VIPs by turns, and an AS itself.
fn destination(port: u16) -> (Ipv4Addr, u16) {
    let n = (port / KINDS) as u8;
    match port % KINDS {
        0 => (Ipv4Addr::new(10, 10, 2, 2), 8080),
        1 => (Ipv4Addr::new(10, 10, 3, n), 8080),
        2 => (Ipv4Addr::new(90, 0, 0, n), 443),
        _ => (Ipv4Addr::new(192, 168, 1, 1), 80),
    }
}

fn client_ports() -> impl Iterator<Item = u16> {
    1000..1000 + KINDS * FLOWS
}

/// Two workers, three VIPs with the same four ASs.
fn served() -> Bench {
    let mut bench = Bench::new(usize::from(WORKERS));
    bench.all(&ROUTED);
    bench.all(&[
        "set ip neighbor left0 10.10.10.1 02:00:00:00:09:01 static",
        "lb set interface nat4 in GigabitEthernet0/9/0",
        "lb conf ip4-src-address 39.40.41.42",
        "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80",
        "lb vip 10.10.3.0/24 protocol tcp port 8080 encap nat4 type clusterip target_port 81",
        "lb vip 90.0.0.0/24 encap gre4",
    ]);
    for last in 1..=12 {
        bench.ok(&format!(
            "set ip neighbor GigabitEthernet0/9/0 192.168.1.{last} 02:00:00:00:01:{last:02x} static"
        ));
    }
    add_servers(&mut bench, 1..=4);
    bench
}

fn add_servers(bench: &mut Bench, lasts: std::ops::RangeInclusive<u8>) {
    let servers: Vec<_> = lasts.map(|last| format!("192.168.1.{last}")).collect();
    for vip in VIPS {
        bench.ok(&format!("lb as {vip} {}", servers.join(" ")));
    }
}

/// Lets frames arrive at a port, each at a worker, and everybody take a turn; gives what was sent on
/// the other port.
fn pass(bench: &mut Bench, port: u16, frames: Vec<(u16, Vec<u8>)>) -> Vec<Vec<u8>> {
    for (worker, frame) in frames {
        let io = &mut bench.workers[usize::from(worker)].io;
        let packet = io.pool.packet(&frame);
        io.arrive(PortId(port), QueueId(worker), packet);
    }
    bench.turn();
    let mut sent = bench.sent(1 - port);
    // Not what the box says about itself.
    sent.retain(|frame| frame[12..14] == [8, 0]);
    sent
}

/// By client port: where the packets of all clients' flows go, each at its worker (`swapped`: at the
/// other one).
fn forward(bench: &mut Bench, flags: u8, swapped: u16) -> BTreeMap<u16, [u8; 4]> {
    let frames = client_ports().map(|port| {
        let builder = PacketBuilder::tcp((CLIENT, port), destination(port), flags);
        let frame = builder.macs(LEFT_MAC, MacAddress([2, 0, 0, 0, 9, 1])).build();
        (((port / KINDS) + swapped) % WORKERS, frame)
    });
    let sent = pass(bench, 0, frames.collect());
    let went = sent.iter().map(|frame| {
        // Behind GRE's four bytes is the client's packet.
        let inner = if frame[23] == 47 { 38 } else { 14 };
        let port = u16::from_be_bytes([frame[inner + 20], frame[inner + 21]]);
        (port, frame[30..34].try_into().unwrap())
    });
    went.collect()
}

/// By client port: whom the ASs' answers seem to come from, each at the worker that the flow is not
/// at.
fn answer(bench: &mut Bench, servers: &BTreeMap<u16, [u8; 4]>) -> BTreeMap<u16, [u8; 4]> {
    let frames = client_ports().filter(|port| port % KINDS != 2).map(|port| {
        let target = if port % KINDS == 1 { 81 } else { 80 };
        let source = (Ipv4Addr::from(servers[&port]), target);
        let builder = PacketBuilder::tcp(source, (CLIENT, port), ACK);
        let frame = builder.macs(RIGHT_MAC, SERVER_MAC).build();
        (((port / KINDS) + 1) % WORKERS, frame)
    });
    let sent = pass(bench, 1, frames.collect());
    let came = sent.iter().map(|frame| {
        let port = u16::from_be_bytes([frame[36], frame[37]]);
        (port, frame[26..30].try_into().unwrap())
    });
    came.collect()
}

/// `flows`, `flows_moving` and `flows_lost` of all workers.
fn usage(bench: &Bench) -> [u64; 3] {
    let workers = bench.control.lb_status().workers;
    let sum = |part: fn(&control::show::lb::StickyUsage) -> u64| workers.iter().map(part).sum();
    [sum(|w| w.flows), sum(|w| w.flows_moving), sum(|w| w.flows_lost)]
}

/// Sends packets of all flows to and fro until the tables have their size; all must go where they
/// went before. Gives the turns it took.
fn hold(bench: &mut Bench, servers: &BTreeMap<u16, [u8; 4]>) -> u64 {
    let start = bench.workers[0].state.shared.turns.get();
    while bench.control.is_resizing() {
        assert_eq!(&forward(bench, ACK, 0), servers);
        let came = answer(bench, servers);
        let vips = client_ports().filter(|port| port % KINDS != 2);
        let expected: BTreeMap<_, _> =
            vips.map(|port| (port, destination(port).0.octets())).collect();
        assert_eq!(came, expected);
        let [flows, moving, lost] = usage(bench);
        assert!(flows == u64::from(FLOWS * KINDS) && moving <= flows && lost == 0);
    }
    bench.workers[0].state.shared.turns.get() - start
}

fn counted(bench: &Bench) -> [u64; 3] {
    let vips = bench.control.vips().vips;
    let sum = |part: fn(&control::show::vips::VipCounters) -> u64| {
        vips.iter().map(|vip| part(&vip.counters)).sum()
    };
    [
        sum(|c| c.first_session_packets),
        sum(|c| c.untracked_packets),
        sum(|c| c.no_server_configured),
    ]
}

#[test]
fn no_flow_of_any_kind_loses_its_as_while_tables_change_their_size() {
    let mut bench = served();
    let servers = forward(&mut bench, SYN, 0);
    assert_eq!(servers.len(), client_ports().count());
    // From now on the new-flow tables say something else: only entries keep flows where they are.
    add_servers(&mut bench, 5..=12);
    for buckets in [4096, 512, 2048] {
        bench.ok(&format!("lb conf buckets {buckets}"));
        assert!(bench.control.is_resizing());
        let turns = hold(&mut bench, &servers);
        // In slices, and not all at once.
        assert!(turns > 16, "{turns} turns");
        let tables = bench.workers.iter().map(|worker| worker.state.sticky.table().buckets());
        assert_eq!(tables.collect::<Vec<_>>(), [buckets, buckets]);
    }
    let vips = u64::from(FLOWS * (KINDS - 1));
    assert_eq!(counted(&bench), [vips, 0, 0]);
    assert_eq!(usage(&bench)[1..], [0, 0]);
    bench.end();
}

#[test]
fn another_size_waits_until_the_flows_are_there() {
    let mut bench = served();
    let servers = forward(&mut bench, SYN, 0);
    add_servers(&mut bench, 5..=12);
    bench.ok("lb conf buckets 4096");
    (0..8).for_each(|_| bench.turn());
    let [_, moving, _] = usage(&bench);
    assert!(moving > 0);
    assert!(bench.ok("show lb").contains("flows to move, 0 found no place"));
    // Only the last of those that wait counts.
    bench.ok("lb conf buckets 16384");
    bench.ok("lb conf buckets 256");
    hold(&mut bench, &servers);
    for worker in &bench.workers {
        assert_eq!(worker.state.sticky.table().buckets(), 256);
    }
    // Back before anything began: nothing is left to do.
    bench.ok("lb conf buckets 512");
    bench.ok("lb conf buckets 256");
    assert!(!bench.control.is_resizing());
    assert_eq!(forward(&mut bench, ACK, 0), servers);
    bench.end();
}

#[test]
fn other_workers_find_flows_in_both_tables() {
    let mut bench = served();
    let servers = forward(&mut bench, SYN, 0);
    add_servers(&mut bench, 5..=12);
    bench.ok("lb conf buckets 2048");
    // The NIC moves all flows to the other worker, in the midst of it.
    (0..20).for_each(|_| bench.turn());
    assert!(usage(&bench)[1] > 0);
    let mut moved = forward(&mut bench, ACK, 1);
    let mut expected = servers.clone();
    // A direct flow is known to one worker only.
    let is_direct = |port: &u16| port % KINDS == 3;
    moved.retain(|port, _| !is_direct(port));
    expected.retain(|port, _| !is_direct(port));
    assert_eq!(moved, expected);
    bench.end();
}

#[test]
fn what_does_not_fit_is_counted_and_follows_the_new_flow_table() {
    let mut bench = served();
    let servers = forward(&mut bench, SYN, 0);
    bench.ok("lb conf buckets 8");
    while bench.control.is_resizing() {
        bench.turn();
    }
    let [flows, moving, lost] = usage(&bench);
    let all = u64::from(FLOWS * KINDS);
    assert_eq!((flows + lost, moving), (all, 0));
    assert!((48..=64).contains(&flows), "{flows}");
    let text = bench.ok("show lb");
    assert!(text.contains("  resize: 0 flows to move, "), "{text}");
    // The ASs are those of before, so that the new-flow table says what the entries said; flows whose
    // replies need an entry are the exception to that a full table drops nothing.
    let after = forward(&mut bench, ACK, 0);
    assert!(after.iter().all(|(port, server)| servers[port] == *server));
    let stateless = |port: &&u16| matches!(**port % KINDS, 0 | 2);
    assert_eq!(after.keys().filter(stateless).count(), usize::from(2 * FLOWS));
    bench.end();
}
