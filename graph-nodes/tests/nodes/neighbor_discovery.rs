use std::net::{IpAddr, Ipv6Addr};

use balancer::{Ports, Prefix};
use dataplane::event::Event;
use dataplane::interface::{InterfaceId, MacAddress};
use testkit::harness::Harness;
use testkit::packet_builder::{
    L2, PacketBuilder, neighbor_advertisement, neighbor_solicitation, validated6,
};
use testkit::world::World;

use crate::plan::{CLIENT_LINK, CLIENT_MAC, from_client};
use crate::plan6::{
    CLIENT, CLIENT_LINK_LOCAL, HOST, OUR_CLIENT_SIDE, OUR_LINK_LOCAL, OUR_SERVER_SIDE, harness,
    world,
};

const NODE: &str = "ip6-local";
const NEIGHBOR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x77);
const NEIGHBOR_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 0x77]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);
/// Type, code, checksum, flags.
const ICMP: usize = L2 + 40;

fn our_mac() -> MacAddress {
    World::mac(CLIENT_LINK)
}

fn seen(harness: &mut Harness) -> Option<(Ipv6Addr, MacAddress)> {
    match harness.event() {
        Some(Event::NeighborSeen { interface: CLIENT_LINK, address: IpAddr::V6(address), mac }) => {
            Some((address, mac))
        }
        None => None,
        other => panic!("unexpected {other:?}"),
    }
}

/// The answer for `target` from our station, as another implementation of the formats has it.
fn answer(target: Ipv6Addr, to: (MacAddress, Ipv6Addr), solicited: bool) -> Vec<u8> {
    let mut frame = neighbor_advertisement((our_mac(), target), to, solicited);
    // smoltcp makes no router flag here: set it and repair the checksum by its weight.
    frame[ICMP + 4] |= 0x80;
    let sum = u16::from_be_bytes([frame[ICMP + 2], frame[ICMP + 3]]);
    let (less, borrow) = sum.overflowing_sub(0x8000);
    let sum = less - u16::from(borrow);
    frame[ICMP + 2..ICMP + 4].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn answers_for_the_interfaces_addresses() {
    let mut harness = harness();
    for target in [OUR_CLIENT_SIDE, OUR_LINK_LOCAL] {
        for source in [CLIENT, CLIENT_LINK_LOCAL] {
            let request = neighbor_solicitation((CLIENT_MAC, source), target);
            let sent = harness.forward(CLIENT_LINK, &request);
            assert_eq!(sent, (CLIENT_LINK, answer(target, (CLIENT_MAC, source), true)));
            validated6(&sent.1);
        }
    }
    assert_eq!(harness.counter(NODE, "neighbor advertisements sent"), 4);
}

#[test]
fn answers_a_solicitation_to_us_alone_without_an_option() {
    let mut harness = harness();
    let mut request = neighbor_solicitation((CLIENT_MAC, CLIENT), OUR_CLIENT_SIDE);
    // To our address, as reachability is confirmed (RFC 4861 §7.3), by somebody we know.
    let mut message = request.split_off(ICMP);
    message.truncate(24);
    message[2..4].fill(0);
    let sum = dataplane::wire::checksum::transport_checksum(CLIENT, OUR_CLIENT_SIDE, 58, &message);
    message[2..4].copy_from_slice(&sum.0.to_be_bytes());
    let packet = PacketBuilder::other(CLIENT, OUR_CLIENT_SIDE, 58).data(message).ttl(255);
    let (_, sent) = harness.forward(CLIENT_LINK, &from_client(packet).build());
    assert_eq!(sent, answer(OUR_CLIENT_SIDE, (CLIENT_MAC, CLIENT), true));
    assert_eq!(seen(&mut harness), None);
}

#[test]
fn a_probe_for_our_address_is_answered_to_all() {
    let mut harness = harness();
    let probe = neighbor_solicitation((NEIGHBOR_MAC, Ipv6Addr::UNSPECIFIED), OUR_CLIENT_SIDE);
    let (_, sent) = harness.forward(CLIENT_LINK, &probe);
    assert_eq!(sent, answer(OUR_CLIENT_SIDE, (ALL_NODES_MAC, ALL_NODES), false));
    assert_eq!(seen(&mut harness), None);
}

/// The source of a probe is nobody's address, be there a VIP for all addresses.
#[test]
fn a_probe_is_answered_beside_a_vip_of_everything() {
    let mut world = world();
    let everything = Prefix { network: Ipv6Addr::UNSPECIFIED.into(), len: 0 };
    world.balanced.add_vip_without_nat(everything, Ports::All);
    let mut harness = Harness::new(world);
    let probe = neighbor_solicitation((NEIGHBOR_MAC, Ipv6Addr::UNSPECIFIED), OUR_CLIENT_SIDE);
    let (_, sent) = harness.forward(CLIENT_LINK, &probe);
    assert_eq!(sent, answer(OUR_CLIENT_SIDE, (ALL_NODES_MAC, ALL_NODES), false));
}

#[test]
fn does_not_answer_for_other_interfaces_or_hosts() {
    let mut harness = harness();
    for target in [OUR_SERVER_SIDE, NEIGHBOR, HOST] {
        let request = neighbor_solicitation((CLIENT_MAC, CLIENT), target);
        assert_eq!(harness.receive(CLIENT_LINK, &request), []);
    }
    assert_eq!(harness.counter(NODE, "neighbor solicitation for another station"), 3);
    assert_eq!((harness.drops(CLIENT_LINK), harness.outstanding()), (0, 0));
}

#[test]
fn learns_from_solicitations_to_us() {
    let mut harness = harness();
    harness.receive(CLIENT_LINK, &neighbor_solicitation((NEIGHBOR_MAC, NEIGHBOR), OUR_CLIENT_SIDE));
    assert_eq!(seen(&mut harness), Some((NEIGHBOR, NEIGHBOR_MAC)));
    // Not for us, and not known.
    harness.receive(CLIENT_LINK, &neighbor_solicitation((NEIGHBOR_MAC, NEIGHBOR), CLIENT));
    assert_eq!(seen(&mut harness), None);
    // Known, with this address and then with another.
    harness.receive(CLIENT_LINK, &neighbor_solicitation((CLIENT_MAC, CLIENT), OUR_CLIENT_SIDE));
    assert_eq!(seen(&mut harness), None);
    harness.receive(CLIENT_LINK, &neighbor_solicitation((NEIGHBOR_MAC, CLIENT), HOST));
    assert_eq!(seen(&mut harness), Some((CLIENT, NEIGHBOR_MAC)));
}

#[test]
fn learns_from_advertisements() {
    let mut harness = harness();
    let us = (our_mac(), OUR_CLIENT_SIDE);
    harness.receive(CLIENT_LINK, &neighbor_advertisement((NEIGHBOR_MAC, NEIGHBOR), us, true));
    assert_eq!(seen(&mut harness), Some((NEIGHBOR, NEIGHBOR_MAC)));
    // Known with this very address, but it may be the answer to a probe.
    harness.receive(CLIENT_LINK, &neighbor_advertisement((CLIENT_MAC, CLIENT), us, true));
    assert_eq!(seen(&mut harness), Some((CLIENT, CLIENT_MAC)));
    let all = (ALL_NODES_MAC, ALL_NODES);
    // To all: a stranger is nobody's business, a neighbour that moved is.
    harness.receive(CLIENT_LINK, &neighbor_advertisement((NEIGHBOR_MAC, NEIGHBOR), all, false));
    assert_eq!(seen(&mut harness), None);
    harness.receive(CLIENT_LINK, &neighbor_advertisement((NEIGHBOR_MAC, CLIENT), all, false));
    assert_eq!(seen(&mut harness), Some((CLIENT, NEIGHBOR_MAC)));
    assert_eq!(harness.counter(NODE, "neighbor advertisements received"), 4);
    assert_eq!((harness.drops(CLIENT_LINK), harness.outstanding()), (0, 0));
}

#[test]
fn an_advertisement_that_does_not_override_changes_nothing_known() {
    let mut harness = harness();
    let us = (our_mac(), OUR_CLIENT_SIDE);
    let mut frame = neighbor_advertisement((NEIGHBOR_MAC, CLIENT), us, true);
    frame[ICMP + 4] &= !0x20;
    repair(&mut frame);
    assert_eq!(harness.receive(CLIENT_LINK, &frame), []);
    assert_eq!(seen(&mut harness), None);
}

/// Makes the ICMPv6 checksum right.
fn repair(frame: &mut [u8]) {
    let address = |at: usize| {
        let octets: [u8; 16] = frame[at..at + 16].try_into().expect("16 bytes");
        Ipv6Addr::from(octets)
    };
    let (source, destination) = (address(L2 + 8), address(L2 + 24));
    frame[ICMP + 2..ICMP + 4].fill(0);
    let message = &frame[ICMP..];
    let sum = dataplane::wire::checksum::transport_checksum(source, destination, 58, message);
    frame[ICMP + 2..ICMP + 4].copy_from_slice(&sum.0.to_be_bytes());
}

/// A solicitation for our address, changed and repaired.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = neighbor_solicitation((CLIENT_MAC, CLIENT), OUR_CLIENT_SIDE);
    change(&mut frame);
    let len = (frame.len() - ICMP) as u16;
    frame[L2 + 4..L2 + 6].copy_from_slice(&len.to_be_bytes());
    repair(&mut frame);
    frame
}

#[test]
fn what_may_not_be_believed() {
    let mut harness = harness();
    let mut expect = |frame: Vec<u8>, text: &str| {
        harness.expect_drop(CLIENT_LINK, &frame, NODE, text);
    };
    expect(changed(|f| f[L2 + 7] = 254), "hop_limit != 255");
    expect(changed(|f| f[ICMP + 1] = 1), "invalid code for type");
    expect(changed(|f| f.truncate(ICMP + 23)), "payload length too small for type");
    expect(changed(|f| f[ICMP + 25] = 0), "option has zero length");
    expect(changed(|f| f[ICMP + 25] = 2), "option has zero length");
    expect(changed(|f| f[ICMP + 8] = 0xff), "neighbor discovery target invalid");
    let mut wrong = changed(|_| {});
    wrong[ICMP + 12] ^= 1;
    expect(wrong, "bad icmp checksum");
    let probe = changed(|f| f[L2 + 8..L2 + 24].fill(0));
    expect(probe, "neighbor discovery target invalid");
    let all = (ALL_NODES_MAC, ALL_NODES);
    let solicited = neighbor_advertisement((NEIGHBOR_MAC, NEIGHBOR), all, true);
    expect(solicited, "neighbor discovery target invalid");
    let text = "neighbor discovery hardware address invalid";
    for mac in [[3, 0, 0, 0, 0, 1], [0; 6], our_mac().0] {
        expect(changed(|f| f[ICMP + 26..ICMP + 32].copy_from_slice(&mac)), text);
    }
    assert_eq!(seen(&mut harness), None);
}

#[test]
fn conflicts_and_strangers() {
    let mut harness = harness();
    let us = (our_mac(), OUR_CLIENT_SIDE);
    for address in [OUR_CLIENT_SIDE, OUR_SERVER_SIDE] {
        let stolen = neighbor_advertisement((NEIGHBOR_MAC, address), (our_mac(), NEIGHBOR), true);
        // It comes from our own address, which is dropped before it is read.
        let text = "ip6 spoofed local-address packet drops";
        harness.expect_drop(CLIENT_LINK, &stolen, "ip6-input", text);
        let mut stolen = neighbor_advertisement((NEIGHBOR_MAC, NEIGHBOR), us, true);
        stolen[ICMP + 8..ICMP + 24].copy_from_slice(&address.octets());
        repair(&mut stolen);
        let text = "IP6 source address matches local interface";
        harness.expect_drop(CLIENT_LINK, &stolen, NODE, text);
    }
    let text = "neighbor solicitations from source not on link";
    let off_link = neighbor_solicitation((NEIGHBOR_MAC, HOST), OUR_CLIENT_SIDE);
    harness.expect_drop(CLIENT_LINK, &off_link, NODE, text);
    let off_link = neighbor_advertisement((NEIGHBOR_MAC, HOST), us, true);
    harness.expect_drop(CLIENT_LINK, &off_link, NODE, text);
    assert_eq!(seen(&mut harness), None);
}

#[test]
fn a_message_in_several_buffers_is_not_answered() {
    let mut harness = harness();
    let request = neighbor_solicitation((CLIENT_MAC, CLIENT), OUR_CLIENT_SIDE);
    let split = "headers not in the first buffer";
    let packet = harness.worker.io.pool.segmented(&request, &[ICMP + 24]);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, split);
    // Padding in a buffer of its own.
    let mut padded = request.clone();
    padded.extend([0; 8]);
    let packet = harness.worker.io.pool.segmented(&padded, &[request.len()]);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, split);
}

#[test]
fn the_answer_stays_on_the_vlan() {
    let mut world = world();
    let own = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0x254);
    let theirs = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 1);
    let vlan = world.add_sub_interface(CLIENT_LINK, (0x8100, 100), None, &[(own.into(), 64)]);
    assert_eq!(vlan, InterfaceId(3));
    let mut harness = Harness::new(world);
    let tagged = |mut frame: Vec<u8>| {
        frame.splice(12..12, [0x81, 0, 0, 100]);
        frame
    };
    let request = neighbor_solicitation((NEIGHBOR_MAC, theirs), own);
    let (_, sent) = harness.forward(CLIENT_LINK, &tagged(request));
    assert_eq!(sent, tagged(answer(own, (NEIGHBOR_MAC, theirs), true)));
    match harness.event() {
        Some(Event::NeighborSeen { interface, address, .. }) => {
            assert_eq!((interface, address), (vlan, theirs.into()));
        }
        other => panic!("unexpected {other:?}"),
    }
}
