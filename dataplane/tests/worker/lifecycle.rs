use std::net::Ipv4Addr;
use std::sync::Arc;

use balancer::{Protocol, StickyOwner};
use dataplane::event::{Event, Request};
use dataplane::interface::{InterfaceId, MacAddress};
use testkit::harness::Harness;
use testkit::packet_builder::{PacketBuilder, validated};
use testkit::world::World;

const CLIENT_LINK: InterfaceId = InterfaceId(1);
const SERVER_LINK: InterfaceId = InterfaceId(2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
const SILENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 77);
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// One VIP with two ASs, and a host on their link that nobody knows.
fn harness() -> Harness {
    let mut world = World::new();
    world.add_interface(&[(Ipv4Addr::new(10, 0, 0, 254), 24)]);
    world.add_interface(&[(Ipv4Addr::new(192, 168, 1, 254), 24)]);
    let vip = world.balanced.add_vip(VIP, Protocol::Tcp, 80, 80);
    for last in [1, 2] {
        let address = Ipv4Addr::new(192, 168, 1, last);
        world.add_neighbor(SERVER_LINK, address, MacAddress([2, 0, 0, 0, 0, last]));
        world.balanced.add_server(vip, address);
    }
    Harness::new(world)
}

fn packet(port: u16, to: (Ipv4Addr, u16), flags: u8) -> Vec<u8> {
    let from_client = (World::mac(CLIENT_LINK), MacAddress([2, 0, 0, 0, 9, 9]));
    PacketBuilder::tcp((CLIENT, port), to, flags).macs(from_client.0, from_client.1).build()
}

#[test]
fn stopping_gives_every_packet_back() {
    let mut harness = harness();
    // One on hold for a neighbour, one waiting in the mailbox, one to be routed.
    assert_eq!(harness.receive(CLIENT_LINK, &packet(1, (SILENT, 80), SYN)), []);
    for _ in 0..2 {
        let packet = harness.worker.io.pool.packet(&[0; 60]);
        let request = Request::Transmit { interface: CLIENT_LINK, packet };
        harness.shared().request(request).expect("room in the mailbox");
    }
    let packet = harness.worker.io.pool.packet(&[0; 60]);
    harness.shared().request(Request::Route { packet }).expect("room in the mailbox");
    assert_eq!(harness.outstanding(), 4);
    harness.shared().request_stop();
    harness.worker.run();
    assert_eq!(harness.outstanding(), 0);
}

#[test]
fn a_packet_taken_from_the_mailbox_is_given_back_too() {
    let mut harness = harness();
    let packet = harness.worker.io.pool.packet(&[0; 60]);
    harness.worker.state.injected.push(Request::Route { packet });
    harness.worker.finish();
    assert_eq!(harness.outstanding(), 0);
}

#[test]
fn turns_are_counted_and_those_with_packets_apart() {
    let mut harness = harness();
    harness.turn();
    harness.receive(CLIENT_LINK, &packet(1, (VIP, 80), SYN));
    assert_eq!((harness.shared().turns.get(), harness.shared().busy_turns.get()), (2, 1));
}

#[test]
fn defect_26_another_table_size_keeps_every_flow() {
    let mut harness = harness();
    let mut server_of = |port, flags| {
        let (interface, sent) = harness.forward(CLIENT_LINK, &packet(port, (VIP, 80), flags));
        assert_eq!(interface, SERVER_LINK);
        validated(&sent).dst_addr()
    };
    let before: Vec<_> = (1000..1100).map(|port| server_of(port, SYN)).collect();

    let bigger = StickyOwner::resized(harness.worker.state.sticky.table(), 4096).unwrap();
    let (old, new) = (Arc::clone(harness.worker.state.sticky.table()), Arc::clone(bigger.table()));
    let request = Request::ReplaceStickyTable(Box::new(bigger));
    assert!(harness.shared().request(request).is_ok());
    // Another set of ASs: only their entries keep the flows where they are.
    let vip = balancer::VipId::new(0).unwrap();
    for last in 1..9 {
        let address = Ipv4Addr::new(192, 168, 1, 100 + last);
        harness.world.add_neighbor(SERVER_LINK, address, MacAddress([2, 0, 0, 0, 1, last]));
        harness.world.balanced.add_server(vip, address);
    }
    harness.publish();

    let after: Vec<_> = (1000..1100)
        .map(|port| {
            let frame = packet(port, (VIP, 80), ACK);
            validated(&harness.forward(CLIENT_LINK, &frame).1).dst_addr()
        })
        .collect();
    assert_eq!(after, before);
    assert_eq!((new.used(), old.used()), (100, 0));
    let stats = &harness.shared().vips[0];
    assert_eq!((stats.first.get(), stats.existing.get()), (100, 100));
    // The worker does not free it: control does.
    match harness.event() {
        Some(Event::StickyTableRetired(owner)) => assert!(Arc::ptr_eq(owner.table(), &old)),
        other => panic!("unexpected {other:?}"),
    }
}
