use dataplane::event::Request;
use testkit::packet_builder::{PacketBuilder, arp, validated};
use testkit::world::World;

use crate::plan::{CLIENT, CLIENT_LINK, CLIENT_MAC, OUR_CLIENT_SIDE, harness};

#[test]
fn transmits_complete_frames() {
    let mut harness = harness();
    let frame = arp(true, (World::mac(CLIENT_LINK), OUR_CLIENT_SIDE), (CLIENT_MAC, CLIENT));
    let packet = harness.worker.io.pool.packet(&frame);
    let request = Request::Transmit { interface: CLIENT_LINK, packet };
    harness.shared().request(request).expect("room in the mailbox");
    assert_eq!(harness.turn(), [(CLIENT_LINK, frame)]);
    assert_eq!(harness.counter("control-input", "frames sent for control"), 1);
}

#[test]
fn routes_packets_without_taking_a_hop_off() {
    let mut harness = harness();
    let echo = PacketBuilder::icmp(OUR_CLIENT_SIDE, CLIENT, (8, 0), [0, 1, 0, 2]).ttl(1);
    let packet = harness.worker.io.pool.packet(&echo.build());
    harness.shared().request(Request::Route { packet }).expect("room in the mailbox");
    let sent = harness.turn();
    let expected = echo.macs(CLIENT_MAC, World::mac(CLIENT_LINK)).build();
    assert_eq!(sent, [(CLIENT_LINK, expected)]);
    assert_eq!(validated(&sent[0].1).hop_limit(), 1);
    assert_eq!(harness.counter("control-input", "packets routed for control"), 1);
}

#[test]
fn requests_keep_their_order() {
    let mut harness = harness();
    for data in 0..5_u8 {
        let frame = PacketBuilder::icmp(OUR_CLIENT_SIDE, CLIENT, (8, 0), [0, 1, 0, data]).build();
        let packet = harness.worker.io.pool.packet(&frame);
        harness.shared().request(Request::Route { packet }).expect("room in the mailbox");
    }
    let order: Vec<u8> = harness.turn().iter().map(|(_, frame)| frame[41]).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn nothing_is_too_short_to_be_dropped() {
    let mut harness = harness();
    let packet = harness.worker.io.pool.packet(b"short");
    harness.shared().request(Request::Route { packet }).expect("room in the mailbox");
    assert!(harness.turn().is_empty());
    assert_eq!(harness.counter("ip4-lookup", "ip4 length < 20 bytes"), 1);
}
