use std::net::Ipv4Addr;

use dataplane::event::Event;
use dataplane::worker::ICMP_ECHOS_PER_SECOND;
use testkit::packet_builder::{L2, PacketBuilder, validated};
use testkit::world::World;

use crate::plan::{
    CLIENT, CLIENT_LINK, CLIENT_MAC, OUR_CLIENT_SIDE, OUR_SERVER_SIDE, from_client, harness,
};

const NODE: &str = "ip4-local";

fn ping(to: Ipv4Addr) -> PacketBuilder {
    from_client(PacketBuilder::icmp(CLIENT, to, (8, 0), [0x12, 0x34, 0, 7]).data(*b"echo me"))
}

#[test]
fn defect_13_answers_pings_of_every_own_address() {
    let mut harness = harness();
    for own in [OUR_CLIENT_SIDE, OUR_SERVER_SIDE] {
        let (interface, sent) = harness.forward(CLIENT_LINK, &ping(own).ttl(1).tos(0x28).build());
        assert_eq!(interface, CLIENT_LINK);
        validated(&sent);
        let expected = PacketBuilder::icmp(own, CLIENT, (0, 0), [0x12, 0x34, 0, 7])
            .data(*b"echo me")
            .tos(0x28)
            .ttl(64)
            .macs(CLIENT_MAC, World::mac(CLIENT_LINK))
            .build();
        assert_eq!(sent, expected);
    }
    assert_eq!(harness.counter(NODE, "echo replies sent"), 2);
}

#[test]
fn answers_pings_with_options_and_padding() {
    let mut harness = harness();
    let frame = ping(OUR_CLIENT_SIDE).ip_options(&[1; 12]).padding(&[9; 5]).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(validated(&sent).dst_addr(), CLIENT);
    assert_eq!(sent.len(), frame.len());
}

#[test]
fn echo_replies_go_to_control() {
    let mut harness = harness();
    let reply = from_client(PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, (0, 0), [0, 1, 0, 1]));
    let frame = reply.build();
    // A priority tag is gone without a trace.
    assert_eq!(harness.receive(CLIENT_LINK, &reply.vlan(0x8100, 0xe000).build()), []);
    let Some(Event::Punt { interface, l3_offset, packet }) = harness.event() else {
        panic!("no punt")
    };
    assert_eq!((interface, l3_offset), (CLIENT_LINK, L2 as u16));
    assert_eq!(testkit::fake_mbuf::free(packet), frame);
    assert_eq!(harness.counter(NODE, "echo replies punted"), 1);
    assert_eq!(harness.shared().interfaces[CLIENT_LINK.index()].punts.get(), 1);
}

#[test]
fn a_full_event_queue_drops_the_punt() {
    let mut harness = harness();
    while harness
        .shared()
        .post(Event::NeighborNeeded { interface: CLIENT_LINK, address: CLIENT.into() })
        .is_ok()
    {}
    let frame =
        from_client(PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, (0, 0), [0, 1, 0, 1])).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "punt queue full");
}

#[test]
fn echos_are_rate_limited() {
    let mut harness = harness();
    let frame = ping(OUR_CLIENT_SIDE).build();
    let mut sent = 0;
    for _ in 0..ICMP_ECHOS_PER_SECOND / 100 {
        for _ in 0..100 {
            harness.arrive(CLIENT_LINK, &frame);
        }
        sent += harness.turn().len();
    }
    assert_eq!(sent, ICMP_ECHOS_PER_SECOND as usize);
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "echo rate limit exceeded");
    harness.wait(1);
    harness.forward(CLIENT_LINK, &frame);
}

#[test]
fn what_nobody_listens_to() {
    let mut harness = harness();
    let udp = from_client(PacketBuilder::udp((CLIENT, 1), (OUR_CLIENT_SIDE, 53))).build();
    harness.expect_drop(CLIENT_LINK, &udp, NODE, "no listener");
    let tcp = from_client(PacketBuilder::tcp((CLIENT, 1), (OUR_CLIENT_SIDE, 22), 2)).build();
    harness.expect_drop(CLIENT_LINK, &tcp, NODE, "no listener");
    let ospf = from_client(PacketBuilder::other(CLIENT, OUR_CLIENT_SIDE, 89)).build();
    harness.expect_drop(CLIENT_LINK, &ospf, NODE, "unknown ip protocol");
}

#[test]
fn bad_icmp() {
    let mut harness = harness();
    let frame = ping(OUR_CLIENT_SIDE).l4_checksum(0x1111).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "bad icmp checksum");
    let builder = PacketBuilder::other(CLIENT, OUR_CLIENT_SIDE, 1).data([8, 0, 0xf7, 0xff]);
    let frame = from_client(builder).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "icmp message truncated");
    for kind in [(3, 1), (13, 0), (8, 1), (99, 0)] {
        let builder = PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, kind, [0; 4]);
        harness.expect_drop(
            CLIENT_LINK,
            &from_client(builder).build(),
            NODE,
            "icmp message not handled",
        );
    }
    let packet = harness.worker.io.pool.segmented(&ping(OUR_CLIENT_SIDE).build(), &[L2 + 20]);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "headers not in the first buffer");
}

#[test]
fn defect_10_fragments_for_us_are_dropped() {
    let mut harness = harness();
    for field in [0x2000, 0x0001, 0x2001] {
        let frame = ping(OUR_CLIENT_SIDE).fragment(field).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "fragment for us");
    }
}
