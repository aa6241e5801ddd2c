use std::net::IpAddr;

use balancer::{Ports, Protocol, Scheduler};
use dataplane::forwarding::Method;
use proptest::prelude::*;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, quote, reassembled, validated_packet};

use crate::plan::{CLIENT_LINK, SERVER_LINK};
use crate::services::{
    SERVER_MAC, all_ports, answering, arriving, client, datagram, leaving, only_server, only_vip,
    segment, server, service, vip,
};

const METHOD: Method = Method::L3dsr { dscp: 7 };

fn node(v6: bool) -> &'static str {
    if v6 { "lb6-l3dsr" } else { "lb4-l3dsr" }
}

/// The packet as the AS gets it: another destination, DSCP 7, one hop less.
fn marked(v6: bool, ecn: u8) -> PacketBuilder {
    let ports = (4000, 20000);
    PacketBuilder::udp((client(v6), ports.0), (server(v6), ports.1))
        .data(*b"a question")
        .tos(0x1c | ecn)
        .ttl(63)
}

#[test]
fn b_11_b_12_destination_and_dscp_change_and_ecn_stays() {
    for v6 in [false, true] {
        let mut harness = all_ports(v6, v6, METHOD);
        for ecn in 0..4 {
            let frame = arriving(datagram(v6).tos(0xb8 | ecn));
            let sent = harness.forward(CLIENT_LINK, &frame);
            assert_eq!(sent, (SERVER_LINK, leaving(marked(v6, ecn))));
        }
    }
}

#[test]
fn defect_09_a_wrong_checksum_stays_wrong_and_none_stays_none() {
    for v6 in [false, true] {
        let mut harness = all_ports(v6, v6, METHOD);
        let l4 = if v6 { L2 + 40 } else { L2 + 20 };
        let (_, right) = harness.forward(CLIENT_LINK, &arriving(datagram(v6)));
        let mut frame = arriving(datagram(v6));
        frame[l4 + 9] ^= 0x55;
        let (_, sent) = harness.forward(CLIENT_LINK, &frame);
        assert_eq!(sent[l4 + 6..l4 + 8], right[l4 + 6..l4 + 8], "as if the data were right");
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(datagram(v6).l4_checksum(0)));
        assert_eq!(sent[l4 + 6..l4 + 8], [0, 0]);
    }
}

#[test]
fn defect_09_fragments_come_out_whole() {
    for v6 in [false, true] {
        let mut harness = all_ports(v6, v6, METHOD);
        let whole = datagram(v6).data((0..=255).cycle().take(900).collect::<Vec<u8>>());
        let sent: Vec<Vec<u8>> = whole
            .fragments(400, 77)
            .iter()
            .map(|piece| {
                let frame = testkit::packet_builder::ethernet(
                    testkit::world::World::mac(CLIENT_LINK),
                    crate::plan::CLIENT_MAC,
                    if v6 { 0x86dd } else { 0x0800 },
                    &piece[L2..],
                );
                harness.forward(CLIENT_LINK, &frame).1[L2..].to_vec()
            })
            .collect();
        let expected = PacketBuilder::udp((client(v6), 4000), (server(v6), 20000))
            .data((0..=255).cycle().take(900).collect::<Vec<u8>>())
            .tos(0x1c)
            .ttl(63);
        let packet = reassembled(&sent);
        validated_packet(&packet);
        assert_eq!(packet, expected.packet());
    }
}

#[test]
fn an_icmp_error_reaches_the_server_that_sent_the_packet() {
    for v6 in [false, true] {
        let mut harness = all_ports(v6, v6, METHOD);
        harness.forward(CLIENT_LINK, &arriving(segment(v6, 2)));
        let answer = PacketBuilder::tcp((vip(v6), 80), (client(v6), 4000), 0x10).data([1; 40]);
        let quoted = answer.packet();
        let error = PacketBuilder::too_big(client(v6), vip(v6), 1300, quote(&quoted, 20));
        let expected = PacketBuilder::too_big(client(v6), server(v6), 1300, quote(&quoted, 20));
        let sent = harness.forward(CLIENT_LINK, &arriving(error));
        assert_eq!(sent, (SERVER_LINK, leaving(expected.tos(0x1c).ttl(63))));
    }
}

#[test]
fn hops_that_run_out_are_told_before_a_flow_is_made() {
    for v6 in [false, true] {
        let mut harness = all_ports(v6, v6, METHOD);
        let frame = arriving(datagram(v6).ttl(1));
        let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
        let (_, message) = validated_packet(&sent[L2..]);
        assert_eq!((interface, message[0]), (CLIENT_LINK, if v6 { 3 } else { 11 }));
        assert_eq!(message[8..], frame[L2..]);
        let (node, text) =
            if v6 { ("lb6-vip", "ip6 ttl <= 1") } else { ("lb4-vip", "ip4 ttl <= 1") };
        assert_eq!(harness.counter(node, text), 1);
        assert_eq!(harness.worker.state.sticky.used(), 0);
    }
}

#[test]
fn what_does_not_fit() {
    for v6 in [false, true] {
        let ports = Ports::one(Protocol::Udp, 20000);
        let mut world = service(ports, v6, v6, METHOD);
        world.interface(SERVER_LINK).mtu = 1300;
        let mut harness = Harness::new(world);
        let big = datagram(v6).data(vec![0; 1300]);
        let (interface, sent) =
            harness.forward(CLIENT_LINK, &arriving(big.clone().dont_fragment()));
        let (_, message) = validated_packet(&sent[L2..]);
        assert_eq!((interface, &message[6..8]), (CLIENT_LINK, &1300_u16.to_be_bytes()[..]));
        let text = if v6 { "ip6 MTU exceeded" } else { "ip4 MTU exceeded and DF set" };
        assert_eq!(harness.counter(node(v6), text), 1);
        if !v6 {
            harness.expect_drop(CLIENT_LINK, &arriving(big), node(v6), "mtu exceeded");
        }
    }
}

#[test]
fn a_server_without_a_route_or_not_resolved() {
    for v6 in [false, true] {
        let mut world = service(Ports::All, v6, v6, METHOD);
        world.forget_neighbor(SERVER_LINK, server(v6));
        let mut harness = Harness::new(world);
        assert_eq!(harness.receive(CLIENT_LINK, &arriving(datagram(v6).tos(1))), []);
        harness.world.add_neighbor(SERVER_LINK, server(v6), SERVER_MAC);
        harness.publish();
        assert_eq!(harness.turn(), [(SERVER_LINK, leaving(marked(v6, 1)))]);
        let nowhere = if v6 { "2001:db9::1" } else { "8.8.8.8" };
        harness.world.balanced.server(only_server()).address = nowhere.parse().unwrap();
        harness.publish();
        let frame = arriving(datagram(v6));
        harness.expect_drop(CLIENT_LINK, &frame, node(v6), "no route to the server");
    }
}

proptest! {
    #[test]
    fn any_packet_equals_a_full_recompute(
        v6: bool, is_udp: bool, ports: (u16, u16), flags: u8, dscp in 0_u8..64, class: u8,
        ttl in 2_u8.., data in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let build = |to| {
            let (from, to) = ((client(v6), ports.0), (to, ports.1));
            let builder =
                if is_udp { PacketBuilder::udp(from, to) } else { PacketBuilder::tcp(from, to, flags) };
            builder.data(data.clone())
        };
        let mut harness = all_ports(v6, v6, Method::L3dsr { dscp });
        let frame = arriving(build(vip(v6)).tos(class).ttl(ttl));
        let (_, sent) = harness.forward(CLIENT_LINK, &frame);
        let expected = build(server(v6)).tos(dscp << 2 | class & 3).ttl(ttl - 1);
        prop_assert_eq!(sent, leaving(expected));
    }
}

/// The AS speaks as the VIP, so that an error about what it sent is for the VIP.
#[test]
fn an_error_of_ours_to_the_as_keeps_its_hops() {
    for v6 in [false, true] {
        let mut harness = all_ports(v6, v6, METHOD);
        let nowhere: IpAddr = if v6 { "3fff::1".parse() } else { "198.18.7.7".parse() }.unwrap();
        let sent = PacketBuilder::udp((vip(v6), 20000), (nowhere, 4000));
        let (link, error) = harness.forward(SERVER_LINK, &answering(sent));
        let (protocol, _) = validated_packet(&error[L2..]);
        assert_eq!((link, protocol), (SERVER_LINK, if v6 { 58 } else { 1 }));
        assert_eq!(error[L2 + if v6 { 7 } else { 8 }], 64);
    }
}

/// Where ASs of several methods take turns, only the choice tells whether a hop is needed.
#[test]
fn nothing_leaves_without_hops_where_methods_take_turns() {
    for v6 in [false, true] {
        let mut world = service(Ports::All, v6, v6, METHOD);
        world.balanced.vip(only_vip()).scheduler = Scheduler::RoundRobin;
        let other: IpAddr =
            if v6 { "2001:db8:2::9".parse() } else { "192.168.1.9".parse() }.unwrap();
        world.add_neighbor(SERVER_LINK, other, SERVER_MAC);
        world.balanced.add_server_by(only_vip(), other, Method::DirectRouting);
        let mut harness = Harness::new(world);
        for port in 1..40 {
            let last = PacketBuilder::udp((client(v6), port), (vip(v6), 20000)).ttl(1);
            let (link, sent) = harness.forward(CLIENT_LINK, &arriving(last));
            assert!(sent[L2 + if v6 { 7 } else { 8 }] > 0, "to {link:?}");
        }
    }
}
