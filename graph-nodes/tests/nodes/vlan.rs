//! Sub-interfaces, through the whole graph.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::adjacency::AdjacencyId;
use dataplane::interface::{InterfaceId, MacAddress};
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, arp};
use testkit::world::World;

use crate::plan::{CLIENT_LINK, HOST, HOST_MAC, SERVER_LINK, world};

const NODE: &str = "ethernet-input";
const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;
/// VLAN 100 of the client link.
const PLAIN: InterfaceId = InterfaceId(3);
/// VLAN 200 of the client link, service tag, with VLAN 7 inside.
const DOUBLE: InterfaceId = InterfaceId(4);
const OUR_PLAIN: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 254);
const OUR_DOUBLE: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 254);
const ON_PLAIN: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 1);
const ON_DOUBLE: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 9, 1]);

fn vlan_world() -> World {
    let mut world = world();
    let own = |address: Ipv4Addr| [(IpAddr::from(address), 24)];
    let plain = world.add_sub_interface(CLIENT_LINK, (CUSTOMER, 100), None, &own(OUR_PLAIN));
    let double = world.add_sub_interface(CLIENT_LINK, (SERVICE, 200), Some(7), &own(OUR_DOUBLE));
    assert_eq!((plain, double), (PLAIN, DOUBLE));
    world.add_neighbor(PLAIN, ON_PLAIN, MAC);
    world.add_neighbor(DOUBLE, ON_DOUBLE, MAC);
    world
}

fn harness() -> Harness {
    Harness::new(vlan_world())
}

fn to_host(from: Ipv4Addr) -> PacketBuilder {
    PacketBuilder::udp((from, 1), (HOST, 2)).data(*b"tagged").macs(World::mac(CLIENT_LINK), MAC)
}

fn counts(harness: &Harness, interface: InterfaceId) -> [u64; 4] {
    let stats = &harness.shared().interfaces[interface.index()];
    [&stats.rx_packets, &stats.rx_bytes, &stats.tx_packets, &stats.tx_bytes].map(|c| c.get())
}

#[test]
fn tagged_packets_arrive_on_their_sub_interface() {
    let mut harness = harness();
    let expected = to_host(ON_PLAIN).macs(HOST_MAC, World::mac(SERVER_LINK)).ttl(63).build();
    // Whatever the priority.
    for tci in [100, 0xe064, 0x1064] {
        let frame = to_host(ON_PLAIN).vlan(CUSTOMER, tci).build();
        assert_eq!(harness.forward(CLIENT_LINK, &frame), (SERVER_LINK, expected.clone()));
    }
    let frame = to_host(ON_DOUBLE).vlan(SERVICE, 200).vlan(CUSTOMER, 7).build();
    let expected = to_host(ON_DOUBLE).macs(HOST_MAC, World::mac(SERVER_LINK)).ttl(63).build();
    assert_eq!(harness.forward(CLIENT_LINK, &frame), (SERVER_LINK, expected));
    assert_eq!(counts(&harness, PLAIN)[0], 3);
    assert_eq!(counts(&harness, DOUBLE)[..2], [1, frame.len() as u64]);
    assert_eq!(counts(&harness, CLIENT_LINK)[0], 4);
}

#[test]
fn a_tag_that_the_port_stripped_counts() {
    let mut harness = harness();
    let expected = to_host(ON_PLAIN).macs(HOST_MAC, World::mac(SERVER_LINK)).ttl(63).build();
    let packet = harness.worker.io.pool.stripped_of_vlan(&to_host(ON_PLAIN).build(), 0x2064);
    harness.arrive_packet(CLIENT_LINK, packet);
    assert_eq!(harness.turn(), [(SERVER_LINK, expected)]);
    let frame = to_host(ON_DOUBLE).vlan(CUSTOMER, 7).build();
    let packet = harness.worker.io.pool.stripped_of_vlan(&frame, 200);
    harness.arrive_packet(CLIENT_LINK, packet);
    assert_eq!(harness.turn().len(), 1);
    let frame = to_host(ON_DOUBLE).vlan(CUSTOMER, 7).vlan(CUSTOMER, 8).build();
    let packet = harness.worker.io.pool.stripped_of_vlan(&frame, 200);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "unknown vlan");
}

#[test]
fn packets_leave_with_the_tags_of_their_link() {
    let mut harness = harness();
    let to = |address: Ipv4Addr| {
        PacketBuilder::udp((HOST, 1), (address, 2))
            .data(*b"back")
            .macs(Default::default(), HOST_MAC)
    };
    let at_server =
        |builder: PacketBuilder| builder.macs(World::mac(SERVER_LINK), HOST_MAC).build();
    let expected = |address: Ipv4Addr| to(address).macs(MAC, World::mac(CLIENT_LINK)).ttl(63);
    let sent = harness.forward(SERVER_LINK, &at_server(to(ON_PLAIN)));
    assert_eq!(sent, (CLIENT_LINK, expected(ON_PLAIN).vlan(CUSTOMER, 100).build()));
    let (_, sent) = harness.forward(SERVER_LINK, &at_server(to(ON_DOUBLE)));
    assert_eq!(sent, expected(ON_DOUBLE).vlan(SERVICE, 200).vlan(CUSTOMER, 7).build());
    assert_eq!(counts(&harness, PLAIN)[2], 1);
    assert_eq!(counts(&harness, DOUBLE)[2..], [1, sent.len() as u64]);
}

#[test]
fn a_port_counts_what_its_vlans_send() {
    let mut harness = harness();
    harness.worker.io.tx_room = 2;
    let at_server = |address: Ipv4Addr| {
        let builder = PacketBuilder::udp((HOST, 1), (address, 2)).data(*b"back");
        builder.macs(World::mac(SERVER_LINK), HOST_MAC).build()
    };
    for address in [ON_PLAIN, ON_PLAIN, ON_PLAIN] {
        harness.arrive(SERVER_LINK, &at_server(address));
    }
    let sent: u64 = harness.turn().iter().map(|(_, frame)| frame.len() as u64).sum();
    for interface in [PLAIN, CLIENT_LINK] {
        assert_eq!(counts(&harness, interface)[2..], [2, sent]);
        assert_eq!(harness.shared().interfaces[interface.index()].tx_errors.get(), 1);
    }
    assert_eq!(counts(&harness, DOUBLE)[2..], [0, 0]);
}

#[test]
fn frames_of_nobodys_vlan() {
    let mut harness = harness();
    let from = to_host(ON_PLAIN);
    for builder in [
        from.clone().vlan(CUSTOMER, 101),
        from.clone().vlan(CUSTOMER, 200),
        from.clone().vlan(SERVICE, 100),
        from.clone().vlan(CUSTOMER, 200).vlan(CUSTOMER, 7),
        from.clone().vlan(SERVICE, 200).vlan(SERVICE, 7),
        from.clone().vlan(SERVICE, 0),
        from.clone().vlan(CUSTOMER, 100).vlan(CUSTOMER, 7),
        from.clone().vlan(SERVICE, 200).vlan(CUSTOMER, 8),
        from.clone().vlan(SERVICE, 200).vlan(CUSTOMER, 7).vlan(CUSTOMER, 7),
        from.clone().vlan(CUSTOMER, 0).vlan(CUSTOMER, 100),
    ] {
        harness.expect_drop(CLIENT_LINK, &builder.build(), NODE, "unknown vlan");
    }
    let cut = from.vlan(SERVICE, 200).vlan(CUSTOMER, 7).build();
    harness.expect_drop(CLIENT_LINK, &cut[..L2 + 7], NODE, "ethernet header truncated");
    // Sub-interfaces belong to one port.
    let elsewhere = to_host(ON_PLAIN).macs(World::mac(SERVER_LINK), MAC).vlan(CUSTOMER, 100);
    harness.expect_drop(SERVER_LINK, &elsewhere.build(), NODE, "unknown vlan");
}

#[test]
fn a_sub_interface_can_be_down() {
    let mut world = vlan_world();
    world.interface(PLAIN).up = false;
    let mut harness = Harness::new(world);
    let frame = to_host(ON_PLAIN).vlan(CUSTOMER, 100).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "subinterface down");
}

#[test]
fn arp_is_answered_on_the_vlan_it_came_from() {
    let mut harness = harness();
    let ours = World::mac(CLIENT_LINK);
    let tagged = |mut frame: Vec<u8>, tags: &[u8]| {
        frame.splice(12..12, tags.iter().copied());
        frame
    };
    let request = |target| arp(true, (MAC, ON_PLAIN), (Default::default(), target));
    let reply = arp(false, (ours, OUR_PLAIN), (MAC, ON_PLAIN));
    // The answer has the tag as configured, without the priority of the question.
    let sent = harness.forward(CLIENT_LINK, &tagged(request(OUR_PLAIN), &[0x81, 0, 0xe0, 100]));
    assert_eq!(sent, (CLIENT_LINK, tagged(reply.clone(), &[0x81, 0, 0, 100])));
    let packet = harness.worker.io.pool.stripped_of_vlan(&request(OUR_PLAIN), 100);
    harness.arrive_packet(CLIENT_LINK, packet);
    assert_eq!(harness.turn(), [(CLIENT_LINK, tagged(reply, &[0x81, 0, 0, 100]))]);
    // The address of another interface of the same port.
    let frame = tagged(request(OUR_DOUBLE), &[0x81, 0, 0, 100]);
    assert_eq!(harness.receive(CLIENT_LINK, &frame), []);
    let outer = [0x88, 0xa8, 0, 200, 0x81, 0, 0, 7];
    let request = arp(true, (MAC, ON_DOUBLE), (Default::default(), OUR_DOUBLE));
    let reply = arp(false, (ours, OUR_DOUBLE), (MAC, ON_DOUBLE));
    let (_, sent) = harness.forward(CLIENT_LINK, &tagged(request, &outer));
    assert_eq!(sent, tagged(reply, &outer));
}

#[test]
fn an_answer_needs_room_for_its_tag() {
    let mut harness = harness();
    let frame = arp(true, (MAC, ON_PLAIN), (Default::default(), OUR_PLAIN));
    let mut packet = harness.worker.io.pool.stripped_of_vlan(&frame, 100);
    assert!(packet.prepend(testkit::fake_mbuf::HEADROOM));
    packet.data_mut()[..frame.len()].copy_from_slice(&frame);
    packet.truncate(frame.len());
    harness.arrive_packet(CLIENT_LINK, packet);
    assert_eq!(harness.turn(), []);
    assert_eq!(harness.counter("arp-input", "no room for the ethernet header"), 1);
    // Drops are the sub-interface's.
    assert_eq!((harness.drops(PLAIN), harness.outstanding()), (1, 0));
}

#[test]
fn every_vlan_has_an_adjacency_of_its_own() {
    let harness = harness();
    let snapshot = harness.snapshot();
    let tags: Vec<usize> = (0..snapshot.adjacencies.len() as u32)
        .filter_map(|id| snapshot.adjacency(AdjacencyId(id))?.rewrite)
        .map(|rewrite| rewrite.len())
        .collect();
    assert_eq!(tags.iter().filter(|len| **len == 18).count(), 1);
    assert_eq!(tags.iter().filter(|len| **len == 22).count(), 1);
}
