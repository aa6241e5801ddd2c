//! `ip6-lookup`, `ip6-rewrite` and `ip6-discover-neighbor`: what differs from IPv4, and that the rest
//! does not.

use std::net::{IpAddr, Ipv6Addr};

use dataplane::event::{Event, Request};
use dataplane::fib::FibEntry;
use dataplane::interface::{InterfaceId, MacAddress};
use dataplane::trace::TraceDetail;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, validated6};
use testkit::world::World;

use crate::plan::{CLIENT_LINK, CLIENT_MAC, HOST_MAC, SERVER_LINK, from_host};
use crate::plan6::{
    CLIENT, CLIENT_LINK_LOCAL, FAR, HOST, NOWHERE, OUR_CLIENT_SIDE, OUR_LINK_LOCAL,
    OUR_SERVER_SIDE, STRANGER, between, harness, transit, world,
};

const STRANGER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 2, 0x77]);

#[test]
fn routes_plainly_both_ways() {
    let mut harness = harness();
    let there = transit().tos(0xb9).flow_label(0x12345);
    let sent = harness.forward(CLIENT_LINK, &there.build());
    let expected = there.macs(HOST_MAC, World::mac(SERVER_LINK)).ttl(63).build();
    assert_eq!(sent, (SERVER_LINK, expected));
    let back = from_host(PacketBuilder::tcp((HOST, 80), (FAR, 5000), 0x12).data(*b"reply"));
    let sent = harness.forward(SERVER_LINK, &back.build());
    let expected = back.macs(CLIENT_MAC, World::mac(CLIENT_LINK)).ttl(63).build();
    assert_eq!(sent, (CLIENT_LINK, expected));
    assert!(harness.counters().is_empty());
}

#[test]
fn no_route() {
    let mut harness = harness();
    let (interface, sent) = harness.forward(CLIENT_LINK, &between(CLIENT, NOWHERE).build());
    assert_eq!((interface, &sent[L2 + 40..L2 + 42]), (CLIENT_LINK, &[1, 0][..]));
    validated6(&sent);
    assert_eq!(harness.counter("ip6-lookup", "ip6 destination lookup miss"), 1);
}

#[test]
fn routes_to_nowhere() {
    let mut world = world();
    world.add_blackhole(NOWHERE, 32);
    let mut harness = Harness::new(world);
    let frame = between(CLIENT, NOWHERE).build();
    harness.expect_drop(CLIENT_LINK, &frame, "ip6-lookup", "blackholed packets");
}

#[test]
fn link_local_packets_stay_on_their_link() {
    let mut harness = harness();
    let other = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
    for (source, destination) in
        [(CLIENT_LINK_LOCAL, HOST), (CLIENT, other), (CLIENT_LINK_LOCAL, NOWHERE)]
    {
        let frame = between(source, destination).build();
        let text = "ip6 link-local packet not forwarded";
        harness.expect_drop(CLIENT_LINK, &frame, "ip6-lookup", text);
    }
    // Ours is answered.
    let frame = between(CLIENT, OUR_LINK_LOCAL).build();
    harness.expect_drop(CLIENT_LINK, &frame, "ip6-local", "no listener");
}

/// The same address may be a neighbour's on every link.
#[test]
fn answers_to_link_local_addresses_go_back_where_they_came_from() {
    let own = |link| if link == CLIENT_LINK { OUR_CLIENT_SIDE } else { OUR_SERVER_SIDE };
    let mac = |link: InterfaceId| MacAddress([2, 0, 0, 0, 5, link.0 as u8]);
    let mut world = world();
    world.add_address(SERVER_LINK, OUR_LINK_LOCAL, 64);
    world.add_neighbor(CLIENT_LINK, CLIENT_LINK_LOCAL, mac(CLIENT_LINK));
    world.add_neighbor(SERVER_LINK, CLIENT_LINK_LOCAL, mac(SERVER_LINK));
    let mut harness = Harness::new(world);
    let echo = |link, from| {
        let builder = PacketBuilder::icmp(from, own(link), (128, 0), [0, 7, 0, 1]);
        builder.data(*b"ping").macs(World::mac(link), mac(link)).build()
    };
    for link in [CLIENT_LINK, SERVER_LINK] {
        let (sent_by, sent) = harness.forward(link, &echo(link, CLIENT_LINK_LOCAL));
        let packet = validated6(&sent);
        assert_eq!((sent_by, &sent[..6]), (link, &mac(link).0[..]));
        assert_eq!((packet.src_addr(), packet.dst_addr()), (own(link), CLIENT_LINK_LOCAL));
        assert_eq!(sent[L2 + 40], 129);
    }
    // Those not known are asked for there.
    let unknown = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
    for link in [CLIENT_LINK, SERVER_LINK] {
        assert_eq!(harness.receive(link, &echo(link, unknown)), []);
        match harness.event() {
            Some(Event::NeighborNeeded { interface, address }) => {
                assert_eq!((interface, address), (link, IpAddr::from(unknown)));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn hops_run_out() {
    let mut harness = harness();
    let (interface, sent) = harness.forward(CLIENT_LINK, &transit().ttl(1).build());
    let packet = validated6(&sent);
    assert_eq!((interface, packet.dst_addr()), (CLIENT_LINK, CLIENT));
    assert_eq!(packet.src_addr(), OUR_CLIENT_SIDE);
    assert_eq!(sent[L2 + 40..L2 + 42], [3, 0]);
    assert_eq!(harness.counter("ip6-rewrite", "ip6 ttl <= 1"), 1);
}

#[test]
fn too_big_for_the_link() {
    let mut world = world();
    world.interface(SERVER_LINK).mtu = 1400;
    let mut harness = Harness::new(world);
    let fits = transit().data(vec![0; 1400 - 48]).padding(&[0; 20]).build();
    assert_eq!(harness.forward(CLIENT_LINK, &fits).0, SERVER_LINK);
    let too_big = transit().data(vec![0; 1401 - 48]).build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &too_big);
    validated6(&sent);
    assert_eq!((interface, &sent[L2 + 40..L2 + 42]), (CLIENT_LINK, &[2, 0][..]));
    assert_eq!(sent[L2 + 44..L2 + 48], 1400_u32.to_be_bytes());
    assert_eq!(harness.counter("ip6-rewrite", "ip6 MTU exceeded"), 1);
}

#[test]
fn holds_packets_until_the_neighbor_is_known() {
    const NODE: &str = "ip6-discover-neighbor";
    let mut harness = harness();
    for data in 0..3 {
        let frame = between(CLIENT, STRANGER).data([data]).build();
        assert_eq!(harness.receive(CLIENT_LINK, &frame), []);
    }
    match harness.event() {
        Some(Event::NeighborNeeded { interface: SERVER_LINK, address: IpAddr::V6(address) }) => {
            assert_eq!(address, STRANGER);
        }
        other => panic!("unexpected {other:?}"),
    }
    assert!(harness.event().is_none(), "asked once per second");
    assert_eq!(harness.counter(NODE, "packets held for a neighbor"), 3);
    // A packet of the other family waits on its own.
    assert_eq!(harness.counter("ip4-arp", "packets held for a neighbor"), 0);
    harness.world.add_neighbor(SERVER_LINK, STRANGER, STRANGER_MAC);
    harness.publish();
    let sent = harness.receive(CLIENT_LINK, &between(CLIENT, STRANGER).data([3]).build());
    let order: Vec<u8> = sent.iter().map(|(_, frame)| *frame.last().unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 3]);
    assert!(sent.iter().all(|(_, frame)| frame[..6] == STRANGER_MAC.0 && frame[L2 + 7] == 63));
    assert_eq!(harness.counter(NODE, "held packets released"), 3);
}

#[test]
fn a_neighbor_that_does_not_answer() {
    const NODE: &str = "ip6-discover-neighbor";
    let mut harness = harness();
    for _ in 0..65 {
        harness.receive(CLIENT_LINK, &between(CLIENT, STRANGER).build());
    }
    assert_eq!(harness.counter(NODE, "hold queue of the next hop full"), 1);
    for host in 0..1030_u16 {
        let stranger = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 1, host);
        harness.receive(CLIENT_LINK, &between(CLIENT, stranger).build());
    }
    assert_eq!(harness.counter(NODE, "hold queue full"), 64 + 1030 - 1024);
    harness.wait(3);
    for _ in 0..5 {
        harness.turn();
    }
    assert_eq!(harness.counter(NODE, "neighbor not resolved in time"), 1024);
    assert_eq!(harness.outstanding(), 0);
}

#[test]
fn a_packet_without_adjacency_is_dropped() {
    let mut harness = harness();
    for node in ["ip6-rewrite", "ip6-discover-neighbor"] {
        harness.inject(node, CLIENT_LINK, &transit().build(), |lanes| lanes.adjacency[0] = 4711);
        assert_eq!(harness.counter(node, "ip6 adjacency missing"), 1);
    }
}

#[test]
fn routes_what_control_sends() {
    let mut harness = harness();
    let echo = PacketBuilder::icmp(OUR_CLIENT_SIDE, CLIENT, (128, 0), [0, 1, 0, 2]).ttl(1);
    let packet = harness.worker.io.pool.packet(&echo.build());
    harness.shared().request(Request::Route { packet }).expect("room in the mailbox");
    let expected = echo.macs(CLIENT_MAC, World::mac(CLIENT_LINK)).build();
    assert_eq!(harness.turn(), [(CLIENT_LINK, expected)]);
    // Cut off behind the version.
    let packet = harness.worker.io.pool.packet(&transit().build()[..L2 + 39]);
    harness.shared().request(Request::Route { packet }).expect("room in the mailbox");
    assert!(harness.turn().is_empty());
    assert_eq!(harness.counter("ip6-lookup", "ip6 length < 40 bytes"), 1);
}

#[test]
fn every_node_on_the_way_leaves_a_record() {
    let mut harness = harness();
    let node = harness.node("dpdk-input");
    harness.shared().arm_trace(node, 1);
    harness.receive(CLIENT_LINK, &transit().build());
    let mut path = Vec::new();
    while let Some(record) = harness.shared().next_trace() {
        path.push((harness.worker.graph.info().nodes[usize::from(record.node)], record.detail));
    }
    let id = match harness.snapshot().fib6.lookup(HOST) {
        FibEntry::Adjacency(id) => id,
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(
        path,
        [
            ("dpdk-input", TraceDetail::Interface(CLIENT_LINK)),
            ("ethernet-input", TraceDetail::Interface(CLIENT_LINK)),
            ("ip6-input", TraceDetail::None),
            ("ip6-lookup", TraceDetail::Fib(FibEntry::Adjacency(id))),
            ("ip6-rewrite", TraceDetail::Rewrite(id)),
            ("interface-output", TraceDetail::Interface(SERVER_LINK)),
        ]
    );
}
