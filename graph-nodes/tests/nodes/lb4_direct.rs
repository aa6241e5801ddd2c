use std::net::Ipv4Addr;

use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, validated};

use crate::plan::{
    CLIENT, CLIENT_LINK, SERVER_LINK, SERVERS, VIP, balanced_harness, balanced_world, destination,
    from_client, from_server, to_client, to_server, vip_counts,
};

const NODE: &str = "lb4-direct";
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn syn(to: (Ipv4Addr, u16), client_port: u16) -> PacketBuilder {
    PacketBuilder::tcp((CLIENT, client_port), to, SYN)
}

fn reply(server: Ipv4Addr, client_port: u16) -> PacketBuilder {
    PacketBuilder::tcp((server, 80), (CLIENT, client_port), 0x12)
}

#[test]
fn direct_access_and_the_vip_work_side_by_side() {
    let mut harness = balanced_harness();
    let server = SERVERS[0];
    let direct = syn((server, 80), 1000);
    let sent = harness.forward(CLIENT_LINK, &from_client(direct.clone()).build());
    assert_eq!(sent, (SERVER_LINK, to_server(server, direct).ttl(63).build()));
    let sent = harness.forward(SERVER_LINK, &from_server(server, reply(server, 1000)).build());
    assert_eq!(sent, (CLIENT_LINK, to_client(reply(server, 1000)).ttl(63).build()));
    // Another connection through the VIP to the same service.
    let sent = harness.forward(CLIENT_LINK, &from_client(syn((VIP, 8080), 1001)).build());
    let server = destination(&sent.1);
    let (_, sent) = harness.forward(SERVER_LINK, &from_server(server, reply(server, 1001)).build());
    assert_eq!(validated(&sent).src_addr(), VIP);
    assert_eq!(vip_counts(&harness, 0), [0, 1, 0, 0]);
}

#[test]
fn other_ports_and_protocols_are_just_routed() {
    let mut harness = balanced_harness();
    let server = SERVERS[0];
    for builder in [
        syn((server, 22), 1000),
        PacketBuilder::udp((CLIENT, 1000), (server, 80)),
        PacketBuilder::icmp(CLIENT, server, (8, 0), [0; 4]),
        PacketBuilder::udp((CLIENT, 1000), (server, 3307)).fragment(0x2001),
    ] {
        let frame = from_client(builder).build();
        let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
        assert_eq!(interface, SERVER_LINK);
        assert_eq!(sent[L2 + 12..], frame[L2 + 12..]);
    }
    assert_eq!(harness.worker.state.sticky.used(), 0);
}

#[test]
fn a_packet_that_dies_here_makes_no_flow() {
    let mut harness = balanced_harness();
    let frame = from_client(syn((SERVERS[0], 80), 1000)).ttl(1).build();
    assert_eq!(harness.forward(CLIENT_LINK, &frame).0, CLIENT_LINK);
    assert_eq!(harness.worker.state.sticky.used(), 0);
}

#[test]
fn one_client_port_cannot_do_both() {
    let mut harness = balanced_harness();
    let sent = harness.forward(CLIENT_LINK, &from_client(syn((VIP, 8080), 1000)).build());
    let server = destination(&sent.1);
    let frame = from_client(syn((server, 80), 1000)).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "nat tuple in use");
}

#[test]
fn a_flow_that_cannot_be_remembered_is_dropped() {
    let mut world = balanced_world();
    world.balanced.buckets = 1;
    let mut harness = Harness::new(world);
    for port in 1..=4 {
        let begun = PacketBuilder::tcp((CLIENT, port), (SERVERS[0], 80), ACK);
        harness.forward(CLIENT_LINK, &from_client(begun).build());
    }
    let frame = from_client(syn((SERVERS[0], 80), 5)).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "sticky table full");
}
