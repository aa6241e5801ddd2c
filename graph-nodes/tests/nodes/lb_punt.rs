use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::interface::{InterfaceId, MacAddress};
use dataplane::worker::PUNTS_PER_SECOND;
use testkit::harness::Harness;
use testkit::packet_builder::{
    L2, PacketBuilder, arp, ethernet, neighbor_advertisement, neighbor_solicitation,
};
use testkit::world::World;

use crate::plan::{CLIENT, CLIENT_LINK, CLIENT_MAC, OUR_CLIENT_SIDE, VIP};
use crate::plan6;

const NODE: &str = "lb-punt";
/// The tap.
const TAP: InterfaceId = InterfaceId(3);
/// We, behind the tap.
const STATION: MacAddress = MacAddress([0x02, 0xfe, 0, 0, 0, 2]);

fn harness() -> Harness {
    let mut world = plan6::world();
    assert_eq!(world.add_interface(&[]), TAP);
    world.interface(TAP).punt = true;
    Harness::new(world)
}

/// Puts a frame that arrived on the client link in front of the node.
fn punt(harness: &mut Harness, bytes: &[u8]) -> Vec<(InterfaceId, Vec<u8>)> {
    harness.inject(NODE, CLIENT_LINK, bytes, |_| {})
}

#[test]
fn the_kernel_gets_the_packet_as_it_came() {
    let mut harness = harness();
    for (frame, kind) in
        [(crate::plan::transit().ttl(1).build(), 0x0800), (plan6::transit().ttl(1).build(), 0x86dd)]
    {
        let expected = ethernet(World::mac(TAP), STATION, kind, &frame[L2..]);
        assert_eq!(punt(&mut harness, &frame), [(TAP, expected)]);
    }
    assert_eq!(harness.counter(NODE, "packets punted"), 2);
    assert_eq!(harness.shared().interfaces[CLIENT_LINK.index()].punts.get(), 2);
}

#[test]
fn punts_are_limited() {
    let mut harness = harness();
    let frame = crate::plan::transit().build();
    for _ in 0..PUNTS_PER_SECOND {
        assert_eq!(punt(&mut harness, &frame).len(), 1);
    }
    assert_eq!(punt(&mut harness, &frame), []);
    assert_eq!(harness.counter(NODE, "punt rate limit exceeded"), 1);
    harness.wait(1);
    assert_eq!(punt(&mut harness, &frame).len(), 1);
}

#[test]
fn without_a_tap_packets_end() {
    let mut harness = crate::plan::harness();
    assert_eq!(punt(&mut harness, &crate::plan::transit().build()), []);
    assert_eq!(harness.counter(NODE, "no punt interface"), 1);
}

#[test]
fn the_kernel_answers_from_the_vip() {
    let mut world = crate::plan::balanced_world();
    assert_eq!(world.add_interface(&[]), TAP);
    world.interface(TAP).punt = true;
    let mut harness = Harness::new(world);
    // To the station it was told of, from the tap's own address.
    let answer = PacketBuilder::tcp((VIP, 22), (CLIENT, 4000), 0x14);
    let frame = answer.clone().macs(STATION, World::mac(TAP)).build();
    let expected = answer.macs(CLIENT_MAC, World::mac(CLIENT_LINK)).ttl(63).build();
    assert_eq!(harness.forward(TAP, &frame), (CLIENT_LINK, expected));
}

#[test]
fn the_kernel_finds_everybody_behind_the_tap() {
    let mut harness = harness();
    let tap = World::mac(TAP);
    let nobody = MacAddress::default();
    for target in [CLIENT, OUR_CLIENT_SIDE, Ipv4Addr::new(9, 9, 9, 9)] {
        let request = arp(true, (tap, VIP), (nobody, target));
        let reply = arp(false, (STATION, target), (tap, VIP));
        assert_eq!(harness.receive(TAP, &request), [(TAP, reply)]);
    }
    // What it announces or probes for is its own.
    for sender in [VIP, Ipv4Addr::UNSPECIFIED] {
        assert_eq!(harness.receive(TAP, &arp(true, (tap, sender), (nobody, VIP))), []);
    }
    assert_eq!(harness.counter("arp-input", "ARP message for another station"), 2);
    assert!(harness.event().is_none());
}

#[test]
fn the_kernel_finds_everybody_over_ip6() {
    let mut harness = harness();
    let tap = World::mac(TAP);
    let own = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
    for target in [plan6::CLIENT, plan6::OUR_CLIENT_SIDE] {
        let sent = harness.receive(TAP, &neighbor_solicitation((tap, own), target));
        let [(TAP, answer)] = &sent[..] else { panic!("{sent:02x?}") };
        assert_eq!((&answer[..6], &answer[6..12]), (&tap.0[..], &STATION.0[..]));
        testkit::packet_builder::validated6(answer);
        assert_eq!(answer[L2 + 66..L2 + 72], STATION.0);
    }
    for source in [own, Ipv6Addr::UNSPECIFIED] {
        assert_eq!(harness.receive(TAP, &neighbor_solicitation((tap, source), own)), []);
    }
    let local = "ip6-local";
    assert_eq!(harness.counter(local, "neighbor solicitation for another station"), 2);
    let us = (STATION, plan6::OUR_CLIENT_SIDE);
    let told = neighbor_advertisement((tap, own), us, true);
    assert_eq!(harness.receive(TAP, &told), []);
    assert_eq!(harness.counter(local, "neighbor advertisements received"), 1);
    assert!(harness.event().is_none());
}
