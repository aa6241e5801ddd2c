use std::net::Ipv4Addr;

use testkit::harness::Harness;
use testkit::packet_builder::PacketBuilder;
use testkit::world::World;

use crate::plan::{
    CLIENT, CLIENT_LINK, CLIENT_MAC, FAR, HOST, HOST_MAC, SERVER_LINK, from_client, from_host,
    harness, transit, world,
};

const NODE: &str = "ip4-lookup";

#[test]
fn routes_plainly_both_ways() {
    let mut harness = harness();
    let there = transit();
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
    let frame =
        from_client(PacketBuilder::udp((CLIENT, 1), (Ipv4Addr::new(8, 8, 8, 8), 2))).build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(interface, CLIENT_LINK);
    assert_eq!((sent[34], sent[35]), (3, 0));
    assert_eq!(harness.counter(NODE, "ip4 destination lookup miss"), 1);
}

#[test]
fn routes_to_nowhere() {
    let mut world = world();
    world.add_blackhole(Ipv4Addr::new(8, 8, 0, 0), 16);
    let mut harness = Harness::new(world);
    let frame =
        from_client(PacketBuilder::udp((CLIENT, 1), (Ipv4Addr::new(8, 8, 8, 8), 2))).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "blackholed packets");
}

#[test]
fn directed_broadcasts() {
    let mut harness = harness();
    for last in [0, 255] {
        let to = Ipv4Addr::new(192, 168, 1, last);
        let frame = from_client(PacketBuilder::udp((CLIENT, 1), (to, 2))).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip4 directed broadcast");
    }
}
