use dataplane::interface::MacAddress;
use testkit::packet_builder::{PacketBuilder, ethernet};
use testkit::world::World;

use crate::plan::{CLIENT_LINK, CLIENT_MAC, SERVER_LINK, harness, transit};

const NODE: &str = "ethernet-input";

fn frame(ether_type: u16) -> Vec<u8> {
    ethernet(World::mac(CLIENT_LINK), CLIENT_MAC, ether_type, &[0; 50])
}

#[test]
fn truncated_header() {
    let mut harness = harness();
    for len in [0, 1, 13] {
        let frame = &transit().build()[..len];
        harness.expect_drop(CLIENT_LINK, frame, NODE, "ethernet header truncated");
    }
    let tagged = transit().vlan(0x8100, 0).build();
    for len in [14, 17] {
        harness.expect_drop(CLIENT_LINK, &tagged[..len], NODE, "ethernet header truncated");
    }
}

#[test]
fn split_header() {
    let mut harness = harness();
    let packet = harness.worker.io.pool.segmented(&transit().build(), &[13]);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "headers not in the first buffer");
}

#[test]
fn frame_for_another_station() {
    let mut harness = harness();
    let frame = transit().macs(MacAddress([2, 9, 9, 9, 9, 9]), CLIENT_MAC).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "l3 mac mismatch");
}

#[test]
fn vlans_are_unknown_wherever_the_tag_is() {
    let mut harness = harness();
    for builder in [
        transit().vlan(0x8100, 100),
        transit().vlan(0x88a8, 0),
        transit().vlan(0x8100, 0).vlan(0x8100, 7),
        transit().vlan(0x8100, 0).vlan(0x88a8, 7),
    ] {
        harness.expect_drop(CLIENT_LINK, &builder.build(), NODE, "unknown vlan");
    }
    let packet = harness.worker.io.pool.stripped_of_vlan(&transit().build(), 0x2064);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "unknown vlan");
}

#[test]
fn priority_tags_are_taken_off() {
    let mut harness = harness();
    let (_, plain) = harness.forward(CLIENT_LINK, &transit().build());
    let (interface, tagged) = harness.forward(CLIENT_LINK, &transit().vlan(0x8100, 0xe000).build());
    assert_eq!((interface, tagged), (SERVER_LINK, plain.clone()));
    let packet = harness.worker.io.pool.stripped_of_vlan(&transit().build(), 0xe000);
    harness.arrive_packet(CLIENT_LINK, packet);
    assert_eq!(harness.turn(), [(SERVER_LINK, plain)]);
}

#[test]
fn llc_frames() {
    let mut harness = harness();
    for length in [0, 38, 0x05ff] {
        harness.expect_drop(CLIENT_LINK, &frame(length), NODE, "802.3 frame with llc header");
    }
}

#[test]
fn ip6_and_unknown_types() {
    let mut harness = harness();
    harness.expect_drop(CLIENT_LINK, &frame(0x86dd), NODE, "ip6 not enabled");
    harness.expect_drop(CLIENT_LINK, &frame(0x88cc), NODE, "unknown ethernet type");
    harness.expect_drop(CLIENT_LINK, &frame(0x0600), NODE, "unknown ethernet type");
}

#[test]
fn unicast_ip_in_a_broadcast_goes_no_further() {
    let mut harness = harness();
    let to_all = |builder: PacketBuilder| builder.macs(MacAddress::BROADCAST, CLIENT_MAC).build();
    let text = "ip4 unicast in a link-layer broadcast";
    harness.expect_drop(CLIENT_LINK, &to_all(transit()), "ip4-input", text);
}
