use balancer::{Protocol, TargetPort};
use dataplane::forwarding::Method;
use proptest::prelude::*;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, quote, reassembled, validated_packet};
use testkit::world::World;

use crate::plan::{CLIENT_LINK, SERVER_LINK};
use crate::services::{
    SERVER_MAC, answering, arriving, client, delivered, dual_world, leaving, only_server, only_vip,
    server, vip,
};

const SYN: u8 = 2;
const ACK: u8 = 0x10;

/// VIP port 80 (TCP) and 20000 (UDP) to port 8080 and 3307 of one AS.
fn nat_world(v6: bool) -> World {
    let mut world = dual_world();
    world.interface(SERVER_LINK).nat4_in = true;
    world.interface(SERVER_LINK).nat6_in = true;
    let tcp = world.balanced.add_vip(vip(v6), Protocol::Tcp, 80, 8080);
    let udp = world.balanced.add_vip(vip(v6), Protocol::Udp, 20000, 3307);
    world.balanced.add_server(tcp, server(v6));
    world.balanced.add_server(udp, server(v6));
    world
}

fn node(v6: bool) -> &'static str {
    if v6 { "lb6-nat6" } else { "lb4-nat4" }
}

fn way_back(v6: bool) -> &'static str {
    if v6 { "lb-nat6-in2out" } else { "lb-nat4-in2out" }
}

fn request(v6: bool, to: (std::net::IpAddr, u16)) -> PacketBuilder {
    PacketBuilder::tcp((client(v6), 4000), to, SYN).data(*b"GET /")
}

fn reply(v6: bool, from: (std::net::IpAddr, u16)) -> PacketBuilder {
    PacketBuilder::tcp(from, (client(v6), 4000), 0x12).data(*b"200 OK")
}

#[test]
fn b_15_b_16_both_directions_byte_for_byte() {
    for v6 in [false, true] {
        let mut harness = Harness::plain(nat_world(v6));
        let sent = harness.forward(CLIENT_LINK, &arriving(request(v6, (vip(v6), 80))));
        let there = leaving(request(v6, (server(v6), 8080)).ttl(63));
        assert_eq!(sent, (SERVER_LINK, there));
        let sent = harness.forward(SERVER_LINK, &answering(reply(v6, (server(v6), 8080))));
        let back = delivered(reply(v6, (vip(v6), 80)).ttl(63));
        assert_eq!(sent, (CLIENT_LINK, back));
        assert_eq!(harness.counter(way_back(v6), "Good in2out packets processed"), 1);
        let stats = &harness.shared().servers[only_server().index()];
        assert_eq!((stats.packets.get(), stats.reply_packets.get()), (1, 1));
        assert_eq!(stats.bytes.get(), request(v6, (vip(v6), 80)).packet().len() as u64);
        assert_eq!(stats.reply_bytes.get(), reply(v6, (server(v6), 1)).packet().len() as u64);
    }
}

#[test]
fn a_full_table_drops_what_could_not_be_told_apart() {
    for v6 in [false, true] {
        let mut world = nat_world(v6);
        // Another port of the VIP leads to the same port of the AS.
        let other = world.balanced.add_vip(vip(v6), Protocol::Tcp, 81, 8080);
        world.balanced.add_server(other, server(v6));
        world.balanced.buckets = 1;
        let mut harness = Harness::new(world);
        let packet = |port, to, flags| arriving(PacketBuilder::tcp((client(v6), port), to, flags));
        for port in 1..=4 {
            harness.forward(CLIENT_LINK, &packet(port, (vip(v6), 80), ACK));
        }
        let nodes = if v6 { ["lb6-vip", "lb6-direct"] } else { ["lb4-vip", "lb4-direct"] };
        for (node, to) in nodes.into_iter().zip([(vip(v6), 80), (server(v6), 8080)]) {
            harness.expect_drop(CLIENT_LINK, &packet(5, to, SYN), node, "sticky table full");
        }
    }
}

#[test]
fn a_udp_datagram_without_checksum_cannot_be_translated_in_ipv6() {
    let mut harness = Harness::new(nat_world(true));
    let builder = PacketBuilder::udp((client(true), 1), (vip(true), 20000)).l4_checksum(0);
    harness.expect_drop(CLIENT_LINK, &arriving(builder), "lb6-vip", "udp checksum zero");
    assert_eq!(harness.worker.state.sticky.used(), 0);
}

#[test]
fn extension_headers_do_not_hide_the_ports() {
    let mut harness = Harness::new(nat_world(true));
    let with = |builder: PacketBuilder| {
        builder.padded_extension(0, 0).padded_extension(60, 3).padded_extension(43, 0)
    };
    let frame = arriving(with(request(true, (vip(true), 80))));
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(sent, leaving(with(request(true, (server(true), 8080))).ttl(63)));
    let frame = answering(with(reply(true, (server(true), 8080))));
    let (_, sent) = harness.forward(SERVER_LINK, &frame);
    assert_eq!(sent, delivered(with(reply(true, (vip(true), 80))).ttl(63)));
}

#[test]
fn g_04_errors_about_flows_are_translated_with_what_they_quote() {
    for v6 in [false, true] {
        for l4_len in [8, 20, 26] {
            let mut harness = Harness::new(nat_world(v6));
            harness.forward(CLIENT_LINK, &arriving(request(v6, (vip(v6), 80))));
            // A router before the client tells the VIP, which is the AS.
            let error = |from, to| {
                let quoted = reply(v6, from).packet();
                PacketBuilder::too_big(client(v6), to, 1300, quote(&quoted, l4_len))
            };
            let frame = arriving(error((vip(v6), 80), vip(v6)));
            let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
            let expected = error((server(v6), 8080), server(v6)).ttl(63);
            assert_eq!((interface, sent), (SERVER_LINK, leaving(expected)));
            // The AS, or a router before it, tells the client.
            let router = if v6 { "2001:db8:2::77" } else { "192.168.1.77" }.parse().unwrap();
            for (from, to) in [(server(v6), vip(v6)), (router, router)] {
                let error = |from, to| {
                    let quoted = request(v6, to).packet();
                    PacketBuilder::too_big(from, client(v6), 1300, quote(&quoted, l4_len))
                };
                let frame = answering(error(from, (server(v6), 8080)));
                let (_, sent) = harness.forward(SERVER_LINK, &frame);
                assert_eq!(sent, delivered(error(to, (vip(v6), 80)).ttl(63)));
            }
        }
    }
}

#[test]
fn errors_may_arrive_on_another_worker() {
    let mut world = nat_world(true);
    let other: std::net::IpAddr = "2001:db8:2::2".parse().unwrap();
    world.add_neighbor(SERVER_LINK, other, SERVER_MAC);
    world.balanced.add_server(only_vip(), other);
    let mut there = Harness::new(world);
    let (_, sent) = there.forward(CLIENT_LINK, &arriving(request(true, (vip(true), 80))));
    let chosen = sent[L2 + 24..L2 + 40].to_vec();
    // The AS takes no new flows any more: only the entry knows it.
    let mut world = nat_world(true);
    world.add_neighbor(SERVER_LINK, other, SERVER_MAC);
    let second = world.balanced.add_server(only_vip(), other);
    let gone = if chosen[15] == 2 { second } else { only_server() };
    world.balanced.server(gone).weight = 0;
    let mut here = Harness::new(world);
    here.publish_with_peers(&[std::sync::Arc::clone(there.worker.state.sticky.table())]);
    let quoted = reply(true, (vip(true), 80)).packet();
    let error = PacketBuilder::too_big(client(true), vip(true), 1300, quote(&quoted, 8));
    let (_, sent) = here.forward(CLIENT_LINK, &arriving(error));
    assert_eq!(sent[L2 + 24..L2 + 40], chosen);
}

#[test]
fn defect_10_fragments_of_a_datagram_stay_together_both_ways_in_any_order() {
    for v6 in [false, true] {
        for order in [[0, 1, 2], [2, 0, 1], [2, 1, 0]] {
            let mut harness = Harness::new(nat_world(v6));
            let data: Vec<u8> = (0..=255).cycle().take(1000).collect();
            let there = |to| PacketBuilder::udp((client(v6), 1), to).data(data.clone());
            let back = |from| PacketBuilder::udp(from, (client(v6), 1)).data(data.clone());
            let macs = |builder: PacketBuilder, arriving: bool| {
                let link = if arriving { CLIENT_LINK } else { SERVER_LINK };
                builder.macs(World::mac(link), SERVER_MAC)
            };
            for (link, sent, expected) in [
                (CLIENT_LINK, macs(there((vip(v6), 20000)), true), there((server(v6), 3307))),
                (SERVER_LINK, macs(back((server(v6), 3307)), false), back((vip(v6), 20000))),
            ] {
                let pieces = sent.fragments(400, 99);
                assert_eq!(pieces.len(), 3);
                let mut got = Vec::new();
                for at in order {
                    got.extend(harness.receive(link, &pieces[at]));
                }
                let got: Vec<Vec<u8>> = got.iter().map(|(_, f)| f[L2..].to_vec()).collect();
                let packet = reassembled(&got);
                validated_packet(&packet);
                assert_eq!(packet, expected.ttl(63).packet(), "{order:?}");
            }
            let early = order.iter().position(|at| *at == 0).unwrap() as u64;
            let vip_node = if v6 { "lb6-vip" } else { "lb4-vip" };
            for node in [vip_node, way_back(v6)] {
                assert_eq!(harness.counter(node, "fragments held"), early);
                assert_eq!(harness.counter(node, "held fragments released"), early);
            }
        }
    }
}

#[test]
fn fragments_without_their_first_wait_a_second() {
    for v6 in [false, true] {
        let mut harness = Harness::new(nat_world(v6));
        let vip_node = if v6 { "lb6-vip" } else { "lb4-vip" };
        let there = PacketBuilder::udp((client(v6), 1), (vip(v6), 20000)).data([0; 600]);
        let back = PacketBuilder::udp((server(v6), 3307), (client(v6), 1)).data([0; 600]);
        for (link, builder, node) in
            [(CLIENT_LINK, there, vip_node), (SERVER_LINK, back, way_back(v6))]
        {
            let builder = builder.macs(World::mac(link), SERVER_MAC);
            let piece = &builder.fragments(400, 5)[1];
            assert_eq!(harness.receive(link, piece), []);
            assert_eq!((harness.outstanding(), harness.drops(link)), (1, 0));
            harness.wait(1);
            assert_eq!(harness.turn(), []);
            assert_eq!(harness.counter(node, "fragment without its first"), 1);
            assert_eq!((harness.outstanding(), harness.drops(link)), (0, 1));
            // At most 64 datagrams with 8 fragments each.
            for id in 0..65 {
                let piece = &builder.clone().id(id).fragments(400, u32::from(id))[1];
                harness.receive(link, piece);
            }
            assert_eq!(harness.counter(node, "too many fragments held"), 1);
            for _ in 0..8 {
                let piece = &builder.clone().id(0).fragments(400, 0)[1];
                harness.receive(link, piece);
            }
            assert_eq!(harness.counter(node, "too many fragments held"), 2);
            harness.wait(1);
            harness.turn();
            assert_eq!(harness.counter(node, "fragment without its first"), 1 + 64 + 7);
        }
    }
}

#[test]
fn port_ranges_map_one_to_one() {
    for v6 in [false, true] {
        let mut world = nat_world(v6);
        let spec = world.balanced.vip(only_vip());
        let ports = balancer::Ports::Range { protocol: Protocol::Tcp, first: 80, last: 89 };
        (spec.key.ports, spec.target) = (ports, TargetPort::From(8080));
        let mut harness = Harness::new(world);
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(request(v6, (vip(v6), 83))));
        assert_eq!(sent, leaving(request(v6, (server(v6), 8083)).ttl(63)));
        let (_, sent) = harness.forward(SERVER_LINK, &answering(reply(v6, (server(v6), 8083))));
        assert_eq!(sent, delivered(reply(v6, (vip(v6), 83)).ttl(63)));
    }
}

#[test]
fn a_prefix_answers_from_the_address_that_was_asked() {
    for v6 in [false, true] {
        let mut world = nat_world(v6);
        let len = if v6 { 64 } else { 24 };
        world.balanced.vip(only_vip()).key.prefix = balancer::Prefix::new(vip(v6), len).unwrap();
        let mut harness = Harness::new(world);
        let asked = if v6 { "2001:db8:99::77" } else { "10.10.2.77" }.parse().unwrap();
        harness.forward(CLIENT_LINK, &arriving(request(v6, (asked, 80))));
        let (_, sent) = harness.forward(SERVER_LINK, &answering(reply(v6, (server(v6), 8080))));
        assert_eq!(sent, delivered(reply(v6, (asked, 80)).ttl(63)));
    }
}

#[test]
fn a_reply_that_several_vips_could_mean_needs_a_flow() {
    for v6 in [false, true] {
        let mut world = nat_world(v6);
        let second = world.balanced.add_vip(vip(v6), Protocol::Tcp, 81, 8080);
        world.balanced.add_server(second, server(v6));
        let mut harness = Harness::new(world);
        let frame = answering(reply(v6, (server(v6), 8080)));
        harness.expect_drop(SERVER_LINK, &frame, way_back(v6), "nat reply without flow");
        let quoted = request(v6, (server(v6), 8080)).packet();
        let error = PacketBuilder::too_big(server(v6), client(v6), 1300, &quoted);
        let text = "nat reply without flow";
        harness.expect_drop(SERVER_LINK, &answering(error), way_back(v6), text);
    }
}

#[test]
fn a_server_without_a_way_and_a_vip_that_is_gone() {
    for v6 in [false, true] {
        let mut world = nat_world(v6);
        let nowhere = if v6 { "2001:db9::1" } else { "8.8.8.8" };
        world.balanced.server(only_server()).address = nowhere.parse().unwrap();
        let mut harness = Harness::new(world);
        let frame = arriving(request(v6, (vip(v6), 80)));
        harness.expect_drop(CLIENT_LINK, &frame, node(v6), "no route to the server");
        assert_eq!(harness.inject(node(v6), CLIENT_LINK, &frame, |lanes| lanes.vip[0] = 4711), []);
        assert_eq!(harness.counter(node(v6), "VIP missing"), 1);
    }
}

#[test]
fn what_does_not_fit_the_links() {
    for v6 in [false, true] {
        let mut world = nat_world(v6);
        world.interface(SERVER_LINK).mtu = 1300;
        let mut harness = Harness::new(world);
        let big = request(v6, (vip(v6), 80)).data(vec![0; 1300]);
        let (link, sent) = harness.forward(CLIENT_LINK, &arriving(big.clone().dont_fragment()));
        assert_eq!((link, &validated_packet(&sent[L2..]).1[6..8]), (CLIENT_LINK, &[5, 0x14][..]));
        let text = if v6 { "ip6 MTU exceeded" } else { "ip4 MTU exceeded and DF set" };
        assert_eq!(harness.counter(node(v6), text), 1);
        if !v6 {
            harness.expect_drop(CLIENT_LINK, &arriving(big), node(v6), "mtu exceeded");
        }
        harness.world.interface(SERVER_LINK).mtu = 1500;
        harness.world.interface(CLIENT_LINK).mtu = 1300;
        harness.publish();
        let big = reply(v6, (server(v6), 8080)).data(vec![0; 1300]).dont_fragment();
        let (link, _) = harness.forward(SERVER_LINK, &answering(big));
        assert_eq!((link, harness.counter(way_back(v6), text)), (SERVER_LINK, 1));
        let dying = reply(v6, (server(v6), 8080)).ttl(1);
        let (link, _) = harness.forward(SERVER_LINK, &answering(dying));
        let text = if v6 { "ip6 ttl <= 1" } else { "ip4 ttl <= 1" };
        assert_eq!((link, harness.counter(way_back(v6), text)), (SERVER_LINK, 1));
    }
}

#[test]
fn methods_other_than_nat_take_no_part_in_the_way_back() {
    for v6 in [false, true] {
        let mut world = dual_world();
        world.interface(SERVER_LINK).nat4_in = true;
        world.interface(SERVER_LINK).nat6_in = true;
        let prefix = balancer::Prefix::host(vip(v6));
        let id = world.balanced.add_vip_without_nat(prefix, balancer::Ports::All);
        world.balanced.add_server_by(id, server(v6), Method::DirectRouting);
        let mut harness = Harness::new(world);
        let frame = answering(reply(v6, (server(v6), 80)));
        let (_, sent) = harness.forward(SERVER_LINK, &frame);
        assert_eq!(sent, delivered(reply(v6, (server(v6), 80)).ttl(63)));
    }
}

proptest! {
    /// F-01: any packet there and any packet back equals a full recompute.
    #[test]
    fn translation_equals_a_full_recompute(
        v6: bool, is_udp: bool, port: u16, flags: u8, class: u8, ttl in 2_u8..,
        data in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut harness = Harness::new(nat_world(v6));
        let there = |to: (std::net::IpAddr, [u16; 2])| {
            let from = (client(v6), port);
            let builder = if is_udp {
                PacketBuilder::udp(from, (to.0, to.1[1]))
            } else {
                PacketBuilder::tcp(from, (to.0, to.1[0]), flags)
            };
            builder.data(data.clone()).tos(class)
        };
        let frame = arriving(there((vip(v6), [80, 20000])).ttl(ttl));
        let (_, sent) = harness.forward(CLIENT_LINK, &frame);
        prop_assert_eq!(sent, leaving(there((server(v6), [8080, 3307])).ttl(ttl - 1)));
        let back = |from: (std::net::IpAddr, [u16; 2])| {
            let to = (client(v6), port);
            let builder = if is_udp {
                PacketBuilder::udp((from.0, from.1[1]), to)
            } else {
                PacketBuilder::tcp((from.0, from.1[0]), to, flags)
            };
            builder.data(data.clone()).tos(class)
        };
        let frame = answering(back((server(v6), [8080, 3307])).ttl(ttl));
        let (_, sent) = harness.forward(SERVER_LINK, &frame);
        prop_assert_eq!(sent, delivered(back((vip(v6), [80, 20000])).ttl(ttl - 1)));
    }
}

/// What is fragmented may start with destination options (RFC 8200 §4.5); the fragment headers name
/// those then, not UDP.
#[test]
fn fragments_of_a_datagram_with_destination_options_stay_together() {
    let data: Vec<u8> = (0..=255).cycle().take(400).collect();
    let whole = |from, to| PacketBuilder::udp(from, to).data(data.clone()).padded_extension(60, 0);
    let there = |to| whole((client(true), 1), to);
    let back = |from| whole(from, (client(true), 1));
    for order in [[0, 1], [1, 0]] {
        let mut harness = Harness::new(nat_world(true));
        for (link, macs, sent, expected) in [
            (CLIENT_LINK, CLIENT_LINK, there((vip(true), 20000)), there((server(true), 3307))),
            (SERVER_LINK, SERVER_LINK, back((server(true), 3307)), back((vip(true), 20000))),
        ] {
            let pieces = sent.macs(World::mac(macs), SERVER_MAC).fragments(300, 99);
            assert_eq!(pieces.len(), 2);
            let mut got = Vec::new();
            for at in order {
                got.extend(harness.receive(link, &pieces[at]));
            }
            let got: Vec<Vec<u8>> = got.iter().map(|(_, f)| f[L2..].to_vec()).collect();
            assert_eq!(reassembled(&got), expected.ttl(63).packet(), "{order:?}");
        }
    }
}
