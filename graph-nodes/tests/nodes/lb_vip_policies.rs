//! What `lb4-vip` and `lb6-vip` do besides choosing an AS.

use std::net::IpAddr;

use balancer::{Ports, Prefix, Protocol, Scheduler};
use dataplane::forwarding::{Method, MssClamp, NoMatch};
use dataplane::worker::RESETS_PER_SECOND;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, decapsulated, quote, validated_packet};
use testkit::world::World;

use crate::plan::{CLIENT, CLIENT_LINK, OUR_CLIENT_SIDE, SERVER_LINK};
use crate::services::{
    OUR_CLIENT_SIDE6, SERVER_MAC, answering, arriving, client, delivered, dual_world, leaving,
    only_server, only_vip, segment, server, service, vip,
};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn node(v6: bool) -> &'static str {
    if v6 { "lb6-vip" } else { "lb4-vip" }
}

/// A VIP for TCP port 80 alone, over direct routing, and a policy for the rest.
fn one_port(v6: bool, no_match: NoMatch) -> Harness {
    let mut world = service(Ports::one(Protocol::Tcp, 80), v6, v6, Method::DirectRouting);
    world.balanced.no_match = no_match;
    Harness::new(world)
}

fn tcp(v6: bool, port: u16, flags: u8) -> PacketBuilder {
    PacketBuilder::tcp((client(v6), 4000), (vip(v6), port), flags)
}

#[test]
fn g_08_what_no_vip_takes_is_dropped_by_default() {
    for v6 in [false, true] {
        let mut harness = one_port(v6, NoMatch::Drop);
        let udp = PacketBuilder::udp((client(v6), 1), (vip(v6), 80));
        for builder in [tcp(v6, 81, SYN), udp] {
            let text = "no such port on the VIP";
            harness.expect_drop(CLIENT_LINK, &arriving(builder), node(v6), text);
        }
        let gre = PacketBuilder::other(client(v6), vip(v6), 47).data(*b"x");
        harness.expect_drop(CLIENT_LINK, &arriving(gre), node(v6), "protocol not supported");
        assert_eq!(harness.worker.state.sticky.used(), 0);
    }
}

#[test]
fn g_08_icmp_tells_that_nobody_listens() {
    for v6 in [false, true] {
        let mut harness = one_port(v6, NoMatch::Icmp);
        let gre = PacketBuilder::other(client(v6), vip(v6), 47).data(*b"x");
        for (builder, expected) in [
            (tcp(v6, 81, SYN), if v6 { [1, 4] } else { [3, 3] }),
            (gre, if v6 { [1, 4] } else { [3, 2] }),
        ] {
            let frame = arriving(builder);
            let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
            let (_, message) = validated_packet(&sent[L2..]);
            assert_eq!((interface, &message[..2]), (CLIENT_LINK, &expected[..]));
            assert_eq!(message[8..], frame[L2..]);
        }
        assert_eq!(harness.counter(node(v6), "no such port on the VIP"), 1);
        assert_eq!(harness.counter(node(v6), "protocol not supported"), 1);
    }
}

/// The fields of a reset: sequence, acknowledgement, flags.
fn reset_of(frame: &[u8]) -> (u32, u32, u8) {
    let (protocol, tcp) = validated_packet(&frame[L2..]);
    assert_eq!((protocol, tcp.len(), &tcp[14..16], tcp[12]), (6, 20, &[0, 0][..], 0x50));
    assert_eq!((&tcp[0..2], &tcp[2..4]), (&[0, 81][..], &4000_u16.to_be_bytes()[..]));
    let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
    (word(4), word(8), tcp[13])
}

#[test]
fn g_08_resets_follow_rfc_9293() {
    for v6 in [false, true] {
        let mut harness = one_port(v6, NoMatch::Reset);
        // Builders send sequence number 0x01020304 and acknowledge 0.
        for (builder, expected) in [
            (tcp(v6, 81, SYN), (0, 0x0102_0305, 0x14)),
            (tcp(v6, 81, SYN).tcp_options(&[2, 4, 5, 180]), (0, 0x0102_0305, 0x14)),
            (tcp(v6, 81, 0x01).data(*b"bye"), (0, 0x0102_0308, 0x14)),
            (tcp(v6, 81, SYN | 0x01), (0, 0x0102_0306, 0x14)),
        ] {
            let (interface, sent) = harness.forward(CLIENT_LINK, &arriving(builder));
            assert_eq!((interface, reset_of(&sent)), (CLIENT_LINK, expected));
            let head = if v6 { [0x60, 0] } else { [0x45, 0] };
            assert_eq!(sent[L2..L2 + 2], head);
        }
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(tcp(v6, 81, ACK).data(*b"data")));
        let acknowledged = u32::from_be_bytes(
            arriving(tcp(v6, 81, ACK))[if v6 { L2 + 48 } else { L2 + 28 }..][..4]
                .try_into()
                .unwrap(),
        );
        assert_eq!(reset_of(&sent), (acknowledged, 0, 0x04));
        assert_eq!(harness.counter("lb-tcp-reset", "resets sent"), 5);
        assert_eq!(harness.counter(node(v6), "no such port on the VIP"), 5);
        // Others are dropped.
        let udp = arriving(PacketBuilder::udp((client(v6), 1), (vip(v6), 80)));
        harness.expect_drop(CLIENT_LINK, &udp, node(v6), "no such port on the VIP");
    }
}

#[test]
fn not_everything_is_reset() {
    for v6 in [false, true] {
        let mut harness = one_port(v6, NoMatch::Reset);
        let mut expect = |builder: PacketBuilder, text: &str| {
            harness.expect_drop(CLIENT_LINK, &arriving(builder), "lb-tcp-reset", text);
        };
        expect(tcp(v6, 81, 0x04), "no reset to a reset");
        let first = tcp(v6, 81, SYN).data([0; 12]);
        let first = if v6 { first.fragment_header(0, true, 7) } else { first.fragment(0x2000) };
        expect(first, "no reset to a fragment");
        let l4 = if v6 { L2 + 40 } else { L2 + 20 };
        for offset in [0x40, 0xf0] {
            let mut frame = arriving(tcp(v6, 81, SYN));
            frame[l4 + 12] = offset;
            harness.expect_drop(CLIENT_LINK, &frame, "lb-tcp-reset", "tcp header invalid");
        }
    }
}

#[test]
fn resets_are_limited_and_need_buffers() {
    let mut harness = one_port(false, NoMatch::Reset);
    let frame = arriving(tcp(false, 81, SYN));
    for _ in 0..RESETS_PER_SECOND {
        harness.forward(CLIENT_LINK, &frame);
    }
    harness.expect_drop(CLIENT_LINK, &frame, "lb-tcp-reset", "reset rate limit exceeded");
    harness.wait(1);
    let packet = harness.worker.io.pool.packet(&frame);
    let hoard: Vec<_> = std::iter::from_fn(|| harness.worker.io.pool.alloc()).collect();
    harness.arrive_packet(CLIENT_LINK, packet);
    assert_eq!(harness.turn(), []);
    assert_eq!(harness.counter("lb-tcp-reset", "no buffer for a reset"), 1);
    for packet in hoard {
        testkit::fake_mbuf::free(packet);
    }
}

#[test]
fn g_08_the_kernel_gets_the_rest_when_asked_to() {
    let mut world = service(Ports::one(Protocol::Tcp, 80), false, false, Method::DirectRouting);
    world.balanced.no_match = NoMatch::Punt;
    let tap = world.add_interface(&[]);
    world.interface(tap).punt = true;
    let mut harness = Harness::new(world);
    let frame = arriving(tcp(false, 81, SYN));
    let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!((interface, &sent[L2..]), (tap, &frame[L2..]));
}

#[test]
fn errors_about_nothing_we_know_are_dropped() {
    for v6 in [false, true] {
        let mut harness = one_port(v6, NoMatch::Drop);
        let mut expect = |quoted: &[u8], text: &str| {
            let kind = if v6 { (1, 4) } else { (3, 3) };
            let error = PacketBuilder::icmp(client(v6), vip(v6), kind, [0; 4]).data(quoted);
            harness.expect_drop(CLIENT_LINK, &arriving(error), node(v6), text);
        };
        let from = |source: (IpAddr, u16)| {
            PacketBuilder::tcp(source, (client(v6), 4000), ACK).data([7; 30])
        };
        let answer = from((vip(v6), 80)).packet();
        let header = if v6 { 40 } else { 20 };
        for len in 0..header + 8 {
            expect(&answer[..len], "icmp error quotes too little");
        }
        let other = if v6 { from_v4() } else { from_v6() };
        expect(&other, "icmp error quotes too little");
        expect(&from((vip(v6), 81)).packet(), "icmp error about no flow");
        expect(&from((server(v6), 80)).packet(), "icmp error about no flow");
        let later = from((vip(v6), 80));
        let later = if v6 { later.fragment_header(8, true, 7) } else { later.fragment(0x2001) };
        expect(&later.packet(), "icmp error about no flow");
        assert_eq!(harness.counter(node(v6), "icmp errors forwarded"), 0);
    }
}

fn from_v4() -> Vec<u8> {
    PacketBuilder::tcp((vip(false), 80), (CLIENT, 1), ACK).data([0; 40]).packet()
}

fn from_v6() -> Vec<u8> {
    PacketBuilder::tcp((vip(true), 80), (client(true), 1), ACK).packet()
}

#[test]
fn an_error_for_a_vip_without_servers() {
    for v6 in [false, true] {
        let mut world = service(Ports::All, v6, v6, Method::Gre);
        world.balanced.server(only_server()).weight = 0;
        let mut harness = Harness::new(world);
        let answer = PacketBuilder::tcp((vip(v6), 80), (client(v6), 1), ACK).packet();
        let error = PacketBuilder::too_big(client(v6), vip(v6), 1300, quote(&answer, 8));
        let text = "no server configured";
        harness.expect_drop(CLIENT_LINK, &arriving(error), node(v6), text);
        assert_eq!(harness.shared().vips[only_vip().index()].no_server.get(), 0);
    }
}

#[test]
fn an_error_costs_a_hop_where_the_packet_is_routed() {
    for v6 in [false, true] {
        let mut harness = Harness::new(service(Ports::All, v6, v6, Method::L3dsr { dscp: 1 }));
        let answer = PacketBuilder::tcp((vip(v6), 80), (client(v6), 1), ACK).packet();
        let error = PacketBuilder::too_big(client(v6), vip(v6), 1300, quote(&answer, 8)).ttl(1);
        // Which is not told: it would be an error about an error.
        assert_eq!(harness.receive(CLIENT_LINK, &arriving(error)), []);
        let text = if v6 { "ip6 ttl <= 1" } else { "ip4 ttl <= 1" };
        assert_eq!(harness.counter(node(v6), text), 1);
    }
}

#[test]
fn defect_13_pings_are_answered_and_other_icmp_is_balanced() {
    for v6 in [false, true] {
        let mut harness = Harness::new(service(Ports::All, v6, v6, Method::Ipip));
        let (ping, pong) = if v6 { ((128, 0), (129, 0)) } else { ((8, 0), (0, 0)) };
        let echo = PacketBuilder::icmp(client(v6), vip(v6), ping, [0, 1, 0, 2]).data(*b"ping");
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(echo));
        let reply = PacketBuilder::icmp(vip(v6), client(v6), pong, [0, 1, 0, 2]).data(*b"ping");
        assert_eq!(sent, delivered(reply));
        let other = PacketBuilder::icmp(client(v6), vip(v6), pong, [0; 4]);
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(other.clone()));
        assert_eq!(decapsulated(&sent[L2..]), other.packet());
    }
}

#[test]
fn f_07_segments_are_clamped_never_raised() {
    for v6 in [false, true] {
        let mss = |value: u16| {
            [&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 2, 4][..], &value.to_be_bytes()].concat()
        };
        let headers = if v6 { 60 } else { 40 };
        for (policy, method, limit) in [
            (MssClamp::At(1200), Method::DirectRouting, 1200),
            (MssClamp::Auto, Method::DirectRouting, 1500 - headers),
        ] {
            let mut world = service(Ports::All, v6, v6, method);
            world.balanced.policy(only_vip()).mss = policy;
            let mut harness = Harness::new(world);
            for (value, expected) in [(9000, limit), (limit, limit), (500, 500)] {
                let frame = arriving(segment(v6, SYN).tcp_options(&mss(value)));
                let sent = harness.forward(CLIENT_LINK, &frame);
                let expected = segment(v6, SYN).tcp_options(&mss(expected));
                assert_eq!(sent, (SERVER_LINK, leaving(expected)));
            }
            let later = segment(v6, ACK).tcp_options(&mss(9000));
            let (_, sent) = harness.forward(CLIENT_LINK, &arriving(later.clone()));
            assert_eq!(sent, leaving(later));
            assert_eq!(harness.counter(node(v6), "mss clamped"), 1);
        }
        let mut world = service(Ports::All, v6, !v6, Method::Gue);
        world.balanced.policy(only_vip()).mss = MssClamp::Auto;
        let mut harness = Harness::new(world);
        let frame = arriving(segment(v6, SYN).tcp_options(&mss(9000)));
        let (_, sent) = harness.forward(CLIENT_LINK, &frame);
        let limit = 1500 - Method::Gue.overhead(!v6) - headers;
        let expected = segment(v6, SYN).tcp_options(&mss(limit)).packet();
        assert_eq!(decapsulated(&sent[L2..]), expected);
    }
}

#[test]
fn f_07_what_nat_servers_announce_is_clamped_too() {
    for v6 in [false, true] {
        let mut world = nat_world(v6);
        world.balanced.policy(only_vip()).mss = MssClamp::At(1000);
        let mut harness = Harness::new(world);
        let answer = |from: (IpAddr, u16), mss: u16| {
            PacketBuilder::tcp(from, (client(v6), 4000), SYN | ACK)
                .tcp_options(&[&[2, 4][..], &mss.to_be_bytes()].concat())
        };
        // Others have gone the express way before.
        for _ in 0..3 {
            let data = PacketBuilder::tcp((server(v6), 8080), (client(v6), 4000), ACK);
            harness.forward(SERVER_LINK, &answering(data));
        }
        let frame = answering(answer((server(v6), 8080), 1460));
        let (_, sent) = harness.forward(SERVER_LINK, &frame);
        assert_eq!(sent, delivered(answer((vip(v6), 80), 1000).ttl(63)));
        let text = "mss clamped";
        let node = if v6 { "lb-nat6-in2out" } else { "lb-nat4-in2out" };
        assert_eq!(harness.counter(node, text), 1);
    }
}

fn nat_world(v6: bool) -> World {
    let mut world = dual_world();
    world.interface(SERVER_LINK).nat4_in = true;
    world.interface(SERVER_LINK).nat6_in = true;
    let id = world.balanced.add_vip(vip(v6), Protocol::Tcp, 80, 8080);
    world.balanced.add_server(id, server(v6));
    world
}

fn ours(v6: bool) -> IpAddr {
    if v6 { OUR_CLIENT_SIDE6.into() } else { OUR_CLIENT_SIDE.into() }
}

#[test]
fn defect_15_node_ports_work_and_answer_from_the_address_that_was_asked() {
    for v6 in [false, true] {
        let mut world = nat_world(v6);
        world.balanced.vip(only_vip()).node_port = Some(30000);
        let mut harness = Harness::new(world);
        let there = |to| PacketBuilder::tcp((client(v6), 4000), to, SYN).data(*b"x");
        let frame = arriving(there((ours(v6), 30000)));
        let sent = harness.forward(CLIENT_LINK, &frame);
        assert_eq!(sent, (SERVER_LINK, leaving(there((server(v6), 8080)).ttl(63))));
        let back = |from| PacketBuilder::tcp(from, (client(v6), 4000), SYN | ACK).data(*b"y");
        let sent = harness.forward(SERVER_LINK, &answering(back((server(v6), 8080))));
        assert_eq!(sent, (CLIENT_LINK, delivered(back((ours(v6), 30000)).ttl(63))));
        // The VIP itself works beside it, for another client port.
        let other = PacketBuilder::tcp((client(v6), 4001), (vip(v6), 80), SYN);
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(other));
        assert_eq!(sent.len(), arriving(other_expected(v6)).len());
        // An error about the answer finds the AS.
        let error = |to: (IpAddr, u16)| {
            PacketBuilder::too_big(client(v6), to.0, 1300, quote(&back(to).packet(), 8))
        };
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(error((ours(v6), 30000))));
        assert_eq!(sent, leaving(error((server(v6), 8080)).ttl(63)));
        // Other ports are nobody's.
        let frame = arriving(there((ours(v6), 30001)));
        let local = if v6 { "ip6-local" } else { "ip4-local" };
        harness.expect_drop(CLIENT_LINK, &frame, local, "no listener");
        // And UDP is another thing.
        let udp = arriving(PacketBuilder::udp((client(v6), 1), (ours(v6), 30000)));
        harness.expect_drop(CLIENT_LINK, &udp, local, "no listener");
    }
}

fn other_expected(v6: bool) -> PacketBuilder {
    PacketBuilder::tcp((client(v6), 4001), (server(v6), 8080), SYN)
}

#[test]
fn defect_12_extension_headers_are_walked_and_bad_ones_counted() {
    let mut harness = one_port(true, NoMatch::Drop);
    let mut chain = tcp(true, 80, SYN);
    for count in 0..8 {
        let frame = arriving(chain.clone());
        let (_, sent) = harness.forward(CLIENT_LINK, &frame);
        assert_eq!(sent[L2..], frame[L2..], "{count} headers");
        chain = chain.padded_extension(if count == 0 { 0 } else { 60 }, 1);
    }
    let frame = arriving(chain.clone());
    harness.forward(CLIENT_LINK, &frame);
    let frame = arriving(chain.padded_extension(60, 0));
    harness.expect_drop(CLIENT_LINK, &frame, "lb6-vip", "too many ip6 extension headers");
    // A header that is longer than the packet, and one with places still to go to.
    let long = tcp(true, 80, SYN).extension(60, &[200, 1, 4, 0, 0, 0, 0]);
    let text = "ip6 extension header truncated";
    harness.expect_drop(CLIENT_LINK, &arriving(long), "lb6-vip", text);
    let routed = tcp(true, 80, SYN).extension(43, &[0, 4, 1, 0, 0, 0, 0]);
    let text = "ip6 routing header with segments left";
    harness.expect_drop(CLIENT_LINK, &arriving(routed), "lb6-vip", text);
}

#[test]
fn truncated_and_split_headers() {
    for v6 in [false, true] {
        let mut harness = one_port(v6, NoMatch::Drop);
        for (protocol, header_len) in [(6, 20), (17, 8)] {
            for len in 0..header_len {
                let builder =
                    PacketBuilder::other(client(v6), vip(v6), protocol).data(vec![0; len]);
                let frame = arriving(builder.padding(&[0x1f; 40]));
                let text = "tcp or udp header truncated";
                harness.expect_drop(CLIENT_LINK, &frame, node(v6), text);
            }
        }
        let l4 = if v6 { L2 + 40 } else { L2 + 20 };
        for cut in [l4 + 1, l4 + 19] {
            let frame = arriving(segment(v6, SYN));
            let packet = harness.worker.io.pool.segmented(&frame, &[cut]);
            let text = "headers not in the first buffer";
            harness.expect_packet_drop(CLIENT_LINK, packet, node(v6), text);
        }
    }
}

#[test]
fn precedence_is_port_range_all_and_then_the_shorter_prefix() {
    for v6 in [false, true] {
        let mut world = dual_world();
        let host = Prefix::host(vip(v6));
        let wide = Prefix::new(vip(v6), if v6 { 48 } else { 16 }).unwrap();
        let range = Ports::Range { protocol: Protocol::Tcp, first: 80, last: 90 };
        let keys = [(host, Ports::one(Protocol::Tcp, 80)), (host, range), (wide, Ports::All)];
        for (at, (prefix, ports)) in (1..).zip(keys) {
            let id = world.balanced.add_vip_without_nat(prefix, ports);
            let method = Method::L3dsr { dscp: at };
            world.balanced.add_server_by(id, server(v6), method);
        }
        let mut harness = Harness::new(world);
        let mut dscp = |port| {
            let (_, sent) = harness.forward(CLIENT_LINK, &arriving(tcp(v6, port, SYN)));
            let class = if v6 { sent[L2] << 4 | sent[L2 + 1] >> 4 } else { sent[L2 + 1] };
            class >> 2
        };
        assert_eq!([80, 81, 90, 91].map(&mut dscp), [1, 2, 2, 3]);
    }
}

#[test]
fn a_02_round_robin_takes_turns() {
    for v6 in [false, true] {
        let mut world = service(Ports::All, v6, v6, Method::DirectRouting);
        world.balanced.vip(only_vip()).scheduler = Scheduler::RoundRobin;
        for host in [2, 3] {
            let address: IpAddr = match server(v6) {
                IpAddr::V4(_) => [192, 168, 1, host].into(),
                IpAddr::V6(_) => format!("2001:db8:2::{host}").parse().unwrap(),
            };
            let mac = dataplane::interface::MacAddress([2, 0, 0, 0, 3, host]);
            world.add_neighbor(SERVER_LINK, address, mac);
            world.balanced.add_server_by(only_vip(), address, Method::DirectRouting);
        }
        let mut harness = Harness::new(world);
        let order: Vec<u8> = (0..6)
            .map(|port| {
                let builder = PacketBuilder::tcp((client(v6), port), (vip(v6), 80), SYN);
                harness.forward(CLIENT_LINK, &arriving(builder)).1[5]
            })
            .collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 3]);
    }
}

#[test]
fn g_12_odd_flags_follow_the_table_like_others() {
    for v6 in [false, true] {
        let mut harness = one_port(v6, NoMatch::Drop);
        for flags in [0x00, 0x03, 0x29, 0xff, SYN, ACK] {
            let sent = harness.forward(CLIENT_LINK, &arriving(tcp(v6, 80, flags)));
            assert_eq!(sent, (SERVER_LINK, leaving(tcp(v6, 80, flags))));
        }
    }
}

#[test]
fn defect_38_a_flow_never_borrows_the_entry_of_another() {
    for v6 in [false, true] {
        let mut world = service(Ports::All, v6, v6, Method::DirectRouting);
        let other: IpAddr =
            if v6 { "2001:db8:2::2".parse().unwrap() } else { [192, 168, 1, 2].into() };
        let mut mac = SERVER_MAC;
        mac.0[5] = 2;
        world.add_neighbor(SERVER_LINK, other, mac);
        world.balanced.add_server_by(only_vip(), other, Method::DirectRouting);
        let mut harness = Harness::new(world);
        let mut send = |port| {
            let builder = PacketBuilder::udp((client(v6), port), (vip(v6), 9));
            harness.forward(CLIENT_LINK, &arriving(builder)).1[5]
        };
        let first: Vec<u8> = (0..200).map(&mut send).collect();
        let again: Vec<u8> = (0..200).map(&mut send).collect();
        assert_eq!(first, again);
        assert!(first.contains(&1) && first.contains(&2));
        let stats = &harness.shared().vips[only_vip().index()];
        assert_eq!((stats.first.get(), stats.existing.get()), (200, 200));
    }
}
