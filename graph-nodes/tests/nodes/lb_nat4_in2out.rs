use std::net::Ipv4Addr;
use std::sync::Arc;

use balancer::Protocol;
use dataplane::trace::TraceDetail;
use proptest::prelude::*;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, validated};

use crate::plan::{
    CLIENT, CLIENT_LINK, FAR, HOST, OUR_SERVER_SIDE, SERVER_LINK, SERVERS, VIP, balanced_harness,
    balanced_world, destination, from_client, from_host, from_server, to_client,
};

const NODE: &str = "lb-nat4-in2out";
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;

fn tcp(source: (Ipv4Addr, u16), flags: u8) -> PacketBuilder {
    PacketBuilder::tcp(source, (CLIENT, 4000), flags)
        .tcp_options(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8])
        .data(*b"HTTP/1.1 200 OK")
}

fn udp(source: (Ipv4Addr, u16)) -> PacketBuilder {
    PacketBuilder::udp(source, (CLIENT, 4000)).data(*b"answer")
}

#[test]
fn defect_07_tcp_replies_are_translated_byte_for_byte() {
    let mut harness = Harness::plain(balanced_world());
    for server in SERVERS {
        let tune = |builder: PacketBuilder| builder.tos(2).dont_fragment().padding(&[9; 6]);
        let frame = tune(from_server(server, tcp((server, 80), SYN_ACK))).build();
        let sent = harness.forward(SERVER_LINK, &frame);
        let expected = tune(to_client(tcp((VIP, 8080), SYN_ACK))).ttl(63).build();
        assert_eq!(sent, (CLIENT_LINK, expected));
    }
    assert_eq!(harness.counter(NODE, "Good in2out packets processed"), 2);
    assert_eq!(harness.drops(SERVER_LINK), 0);
}

#[test]
fn defect_06_reply_port_is_not_byte_swapped() {
    let mut harness = balanced_harness();
    let frame = from_server(SERVERS[0], udp((SERVERS[0], 3307))).build();
    let sent = harness.forward(SERVER_LINK, &frame);
    assert_eq!(sent, (CLIENT_LINK, to_client(udp((VIP, 20000))).ttl(63).build()));
    assert_eq!(sent.1[L2 + 20..L2 + 22], 20000_u16.to_be_bytes());
}

#[test]
fn an_absent_udp_checksum_stays_absent() {
    let mut harness = balanced_harness();
    let frame = from_server(SERVERS[0], udp((SERVERS[0], 3307)).l4_checksum(0)).build();
    let (_, sent) = harness.forward(SERVER_LINK, &frame);
    assert_eq!(sent[L2 + 26..L2 + 28], [0, 0]);
}

#[test]
fn defect_08_everything_else_passes_untouched() {
    let mut harness = balanced_harness();
    let server = SERVERS[0];
    let passing = [
        from_server(server, PacketBuilder::icmp(server, CLIENT, (8, 0), [0; 4])),
        from_server(server, tcp((server, 22), SYN_ACK)),
        from_server(server, tcp((server, 3307), SYN_ACK)),
        from_server(server, udp((server, 80))),
        from_server(server, PacketBuilder::other(server, CLIENT, 47).data([1; 9])),
        from_host(tcp((HOST, 80), SYN_ACK)),
        from_host(PacketBuilder::udp((HOST, 3307), (FAR, 9)).fragment(0x2001)),
        from_server(server, PacketBuilder::other(server, CLIENT, 6).data([0; 19])),
    ];
    for builder in passing {
        let frame = builder.build();
        let (interface, sent) = harness.forward(SERVER_LINK, &frame);
        assert_eq!(interface, CLIENT_LINK);
        assert_eq!(sent[L2 + 12..], frame[L2 + 12..]);
    }
    // And traffic to the box itself.
    let ping = PacketBuilder::icmp(server, OUR_SERVER_SIDE, (8, 0), [0; 4]);
    harness.forward(SERVER_LINK, &from_server(server, ping).build());
    assert_eq!(harness.counter(NODE, "Good in2out packets processed"), 0);
}

#[test]
fn only_interfaces_with_nat4_in_translate() {
    let mut world = balanced_world();
    world.interface(SERVER_LINK).nat4_in = false;
    let mut harness = Harness::new(world);
    let frame = from_server(SERVERS[0], udp((SERVERS[0], 3307))).build();
    let (_, sent) = harness.forward(SERVER_LINK, &frame);
    assert_eq!(validated(&sent).src_addr(), SERVERS[0]);
}

/// A second VIP to the same port of the same ASs.
fn shared_world() -> testkit::world::World {
    let mut world = balanced_world();
    let vip = world.balanced.add_vip(FAR_VIP, Protocol::Tcp, 443, 80);
    for server in SERVERS {
        world.balanced.add_server(vip, server);
    }
    world
}

const FAR_VIP: Ipv4Addr = Ipv4Addr::new(20, 20, 20, 1);

fn syn_to(vip: Ipv4Addr, port: u16, client_port: u16) -> Vec<u8> {
    from_client(PacketBuilder::tcp((CLIENT, client_port), (vip, port), SYN)).build()
}

fn reply(server: Ipv4Addr, client_port: u16) -> Vec<u8> {
    from_server(server, PacketBuilder::tcp((server, 80), (CLIENT, client_port), SYN_ACK)).build()
}

#[test]
fn defect_22_two_vips_that_share_a_server_both_translate_back() {
    let mut harness = Harness::new(shared_world());
    for (client_port, vip, port) in [(1000, VIP, 8080), (1001, FAR_VIP, 443)] {
        let sent = harness.forward(CLIENT_LINK, &syn_to(vip, port, client_port));
        let server = destination(&sent.1);
        let (_, sent) = harness.forward(SERVER_LINK, &reply(server, client_port));
        assert_eq!(validated(&sent).src_addr(), vip);
        assert_eq!(sent[L2 + 20..L2 + 22], port.to_be_bytes());
    }
}

#[test]
fn a_reply_that_nobody_can_attribute_is_dropped() {
    let mut harness = Harness::new(shared_world());
    harness.expect_drop(SERVER_LINK, &reply(SERVERS[0], 5000), NODE, "nat reply without flow");
}

#[test]
fn replies_may_arrive_on_another_worker() {
    let mut there = Harness::new(shared_world());
    let mut here = Harness::new(shared_world());
    let peer = Arc::clone(there.worker.state.sticky.table());
    here.publish_with_peers(&[peer]);
    let sent = there.forward(CLIENT_LINK, &syn_to(FAR_VIP, 443, 1000));
    let server = destination(&sent.1);
    let (_, sent) = here.forward(SERVER_LINK, &reply(server, 1000));
    assert_eq!(validated(&sent).src_addr(), FAR_VIP);
}

#[test]
fn split_headers() {
    let mut harness = balanced_harness();
    let frame = from_server(SERVERS[0], udp((SERVERS[0], 3307))).build();
    let packet = harness.worker.io.pool.segmented(&frame, &[L2 + 27]);
    harness.expect_packet_drop(SERVER_LINK, packet, NODE, "headers not in the first buffer");
    let frame = from_host(udp((HOST, 3307))).build();
    let packet = harness.worker.io.pool.segmented(&frame, &[L2 + 27]);
    harness.arrive_packet(SERVER_LINK, packet);
    assert_eq!(harness.turn().len(), 1);
}

#[test]
fn a_ttl_that_runs_out_is_told_to_the_server_in_its_own_words() {
    let mut harness = balanced_harness();
    let frame = from_server(SERVERS[0], tcp((SERVERS[0], 80), SYN_ACK)).ttl(1).build();
    let (interface, sent) = harness.forward(SERVER_LINK, &frame);
    assert_eq!(interface, SERVER_LINK);
    let packet = validated(&sent);
    assert_eq!((packet.src_addr(), packet.dst_addr()), (OUR_SERVER_SIDE, SERVERS[0]));
    assert_eq!(sent[L2 + 28..], frame[L2..]);
    assert_eq!(harness.counter(NODE, "ip4 ttl <= 1"), 1);
}

#[test]
fn defect_14_a_reply_too_big_for_the_client_is_told_to_the_server() {
    let mut world = balanced_world();
    world.interface(CLIENT_LINK).mtu = 600;
    // Another adjacency comes first, so that the client's has to be named.
    let elsewhere = Ipv4Addr::new(9, 9, 9, 9);
    world.add_neighbor(dataplane::interface::InterfaceId::LOCAL0, elsewhere, Default::default());
    let mut harness = Harness::new(world);
    let big = tcp((SERVERS[0], 80), 0x10).data(vec![1; 600]);
    let frame = from_server(SERVERS[0], big.clone()).dont_fragment().build();
    let (interface, sent) = harness.forward(SERVER_LINK, &frame);
    assert_eq!(interface, SERVER_LINK);
    assert_eq!(validated(&sent).dst_addr(), SERVERS[0]);
    assert_eq!(sent[L2 + 20..L2 + 22], [3, 4]);
    assert_eq!(sent[L2 + 26..L2 + 28], 600_u16.to_be_bytes());
    assert_eq!(sent[L2 + 28..], frame[L2..L2 + 548]);
    assert_eq!(harness.counter(NODE, "ip4 MTU exceeded and DF set"), 1);
    let frame = from_server(SERVERS[0], big).build();
    harness.expect_drop(SERVER_LINK, &frame, "ip4-rewrite", "mtu exceeded");
}

#[test]
fn a_reply_without_a_route_is_told_to_the_server_not_to_the_vip() {
    let mut harness = balanced_harness();
    let nowhere = Ipv4Addr::new(203, 0, 113, 7);
    let reply = PacketBuilder::tcp((SERVERS[0], 80), (nowhere, 4000), 0x12);
    let frame = from_server(SERVERS[0], reply).build();
    let (interface, sent) = harness.forward(SERVER_LINK, &frame);
    assert_eq!((interface, validated(&sent).dst_addr()), (SERVER_LINK, SERVERS[0]));
    assert_eq!(sent[L2 + 20..L2 + 22], [3, 0]);
    assert_eq!(sent[L2 + 28..], frame[L2..]);
    assert_eq!(harness.counter(NODE, "ip4 destination lookup miss"), 1);
}

#[test]
fn a_trace_shows_the_new_source() {
    let mut harness = balanced_harness();
    let node = harness.node("dpdk-input");
    harness.shared().arm_trace(node, 2);
    harness.forward(SERVER_LINK, &from_server(SERVERS[0], udp((SERVERS[0], 3307))).build());
    harness.forward(SERVER_LINK, &from_server(SERVERS[0], udp((SERVERS[0], 1))).build());
    let in2out = harness.node(NODE);
    let mut details = Vec::new();
    while let Some(record) = harness.shared().next_trace() {
        if record.node == in2out {
            details.push(record.detail);
        }
    }
    assert_eq!(details, [TraceDetail::Nat { address: VIP.into(), port: 20000 }, TraceDetail::None]);
}

proptest! {
    #[test]
    fn any_reply_equals_a_full_recompute(
        client: [u8; 2],
        port: u16,
        flags: u8,
        is_udp: bool,
        data in prop::collection::vec(any::<u8>(), 0..64),
        ttl in 2..=255_u8,
    ) {
        let client = Ipv4Addr::new(172, 16, client[0], client[1]);
        let build = |from: Ipv4Addr, ports: [u16; 2]| {
            let builder = if is_udp {
                PacketBuilder::udp((from, ports[1]), (client, port))
            } else {
                PacketBuilder::tcp((from, ports[0]), (client, port), flags)
            };
            builder.data(data.clone())
        };
        let mut harness = balanced_harness();
        let frame = from_server(SERVERS[1], build(SERVERS[1], [80, 3307])).ttl(ttl).build();
        let (_, sent) = harness.forward(SERVER_LINK, &frame);
        let expected = to_client(build(VIP, [8080, 20000])).ttl(ttl - 1).build();
        prop_assert_eq!(sent, expected);
    }
}
