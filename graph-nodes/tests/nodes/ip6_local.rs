use std::net::Ipv6Addr;

use dataplane::event::Event;
use dataplane::worker::ICMP_ECHOS_PER_SECOND;
use testkit::packet_builder::{L2, PacketBuilder, validated6};
use testkit::world::World;

use crate::plan::{CLIENT_LINK, CLIENT_MAC, from_client};
use crate::plan6::{CLIENT, OUR_CLIENT_SIDE, OUR_SERVER_SIDE, between, harness};

const NODE: &str = "ip6-local";
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn ping(to: Ipv6Addr) -> PacketBuilder {
    from_client(PacketBuilder::icmp(CLIENT, to, (128, 0), [0x12, 0x34, 0, 7]).data(*b"echo me"))
}

#[test]
fn answers_pings_of_every_own_address() {
    let mut harness = harness();
    for own in [OUR_CLIENT_SIDE, OUR_SERVER_SIDE] {
        let frame = ping(own).ttl(1).tos(0x28).flow_label(0x777).build();
        let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
        assert_eq!(interface, CLIENT_LINK);
        validated6(&sent);
        let expected = PacketBuilder::icmp(own, CLIENT, (129, 0), [0x12, 0x34, 0, 7])
            .data(*b"echo me")
            .tos(0x28)
            .flow_label(0x777)
            .ttl(64)
            .macs(CLIENT_MAC, World::mac(CLIENT_LINK))
            .build();
        assert_eq!(sent, expected);
    }
    assert_eq!(harness.counter(NODE, "echo replies sent"), 2);
}

#[test]
fn answers_pings_behind_extension_headers() {
    let mut harness = harness();
    let frame = ping(OUR_CLIENT_SIDE)
        .padded_extension(0, 0)
        .padded_extension(60, 2)
        .fragment_header(0, false, 9)
        .padding(&[9; 5])
        .build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!((validated6(&sent).dst_addr(), sent.len()), (CLIENT, frame.len()));
}

#[test]
fn extension_headers_that_lead_nowhere() {
    let mut harness = harness();
    let many = (0..9).fold(ping(OUR_CLIENT_SIDE), |builder, _| builder.padded_extension(60, 0));
    harness.expect_drop(CLIENT_LINK, &many.build(), NODE, "too many ip6 extension headers");
    // It says that it is longer than the packet.
    let cut = ping(OUR_CLIENT_SIDE).extension(60, &[200, 0, 0, 0, 0, 0, 0]).build();
    harness.expect_drop(CLIENT_LINK, &cut, NODE, "ip6 extension header truncated");
    let routed = ping(OUR_CLIENT_SIDE).extension(43, &[0, 4, 1, 0, 0, 0, 0]).build();
    let text = "ip6 routing header with segments left";
    harness.expect_drop(CLIENT_LINK, &routed, NODE, text);
    let split = ping(OUR_CLIENT_SIDE).padded_extension(60, 1).build();
    let packet = harness.worker.io.pool.segmented(&split, &[L2 + 44]);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "headers not in the first buffer");
}

#[test]
fn echo_replies_go_to_control() {
    let mut harness = harness();
    let reply = from_client(PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, (129, 0), [0, 1, 0, 1]));
    let frame = reply.build();
    assert_eq!(harness.receive(CLIENT_LINK, &frame), []);
    let Some(Event::Punt { interface, l3_offset, packet }) = harness.event() else {
        panic!("no punt")
    };
    assert_eq!((interface, l3_offset), (CLIENT_LINK, L2 as u16));
    assert_eq!(testkit::fake_mbuf::free(packet), frame);
    assert_eq!(harness.counter(NODE, "echo replies punted"), 1);
    let full = || Event::NeighborNeeded { interface: CLIENT_LINK, address: CLIENT.into() };
    while harness.shared().post(full()).is_ok() {}
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "punt queue full");
}

#[test]
fn echos_are_limited_by_family() {
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
    let other =
        PacketBuilder::icmp(crate::plan::CLIENT, crate::plan::OUR_CLIENT_SIDE, (8, 0), [0; 4]);
    harness.forward(CLIENT_LINK, &from_client(other).build());
}

#[test]
fn what_nobody_listens_to() {
    let mut harness = harness();
    let udp = between(CLIENT, OUR_CLIENT_SIDE).build();
    harness.expect_drop(CLIENT_LINK, &udp, NODE, "no listener");
    let tcp = from_client(PacketBuilder::tcp((CLIENT, 1), (OUR_CLIENT_SIDE, 22), 2)).build();
    harness.expect_drop(CLIENT_LINK, &tcp, NODE, "no listener");
    let ospf = from_client(PacketBuilder::other(CLIENT, OUR_CLIENT_SIDE, 89)).build();
    harness.expect_drop(CLIENT_LINK, &ospf, NODE, "unknown ip6 protocol");
    // IPv4's ICMP means nothing here.
    let icmp4 = PacketBuilder::other(CLIENT, OUR_CLIENT_SIDE, 1).data([8, 0, 0xf7, 0xff]);
    harness.expect_drop(CLIENT_LINK, &from_client(icmp4).build(), NODE, "unknown ip6 protocol");
}

#[test]
fn what_a_group_is_told() {
    let mut harness = harness();
    harness.expect_drop(CLIENT_LINK, &between(CLIENT, ALL_NODES).build(), NODE, "no listener");
    let text = "icmp message not handled";
    harness.expect_drop(CLIENT_LINK, &ping(ALL_NODES).build(), NODE, text);
    let ospf = from_client(PacketBuilder::other(CLIENT, ALL_NODES, 89)).build();
    harness.expect_drop(CLIENT_LINK, &ospf, NODE, "unknown ip6 protocol");
}

#[test]
fn bad_icmp() {
    let mut harness = harness();
    let frame = ping(OUR_CLIENT_SIDE).l4_checksum(0x1111).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "bad icmp checksum");
    let short = PacketBuilder::other(CLIENT, OUR_CLIENT_SIDE, 58).data([128, 0, 0xf7, 0xff]);
    let frame = from_client(short).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "icmp message truncated");
    // Errors, router discovery, redirects, and what nobody knows.
    for kind in [(1, 0), (2, 0), (128, 1), (129, 1), (133, 0), (134, 0), (137, 0), (200, 0)] {
        let builder = PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, kind, [0; 4]);
        let frame = from_client(builder).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "icmp message not handled");
    }
    let packet = harness.worker.io.pool.segmented(&ping(OUR_CLIENT_SIDE).build(), &[L2 + 40]);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "headers not in the first buffer");
}

#[test]
fn fragments_for_us_are_dropped() {
    let mut harness = harness();
    for (offset, more) in [(0, true), (8, false), (8, true)] {
        let frame = ping(OUR_CLIENT_SIDE).fragment_header(offset, more, 3).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "fragment for us");
    }
}
