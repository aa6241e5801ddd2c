use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use balancer::{Ports, Prefix, Protocol};
use dataplane::event::Event;
use dataplane::forwarding::{
    Entropy, Method, TooBig, TunnelDf, TunnelDscp, TunnelEcn, TunnelPolicy,
};
use proptest::prelude::*;
use testkit::harness::Harness;
use testkit::packet_builder::{
    L2, PacketBuilder, decapsulated, reassembled, validated, validated_packet,
};
use testkit::world::World;

use crate::plan::{CLIENT, CLIENT_LINK, SERVER_LINK, VIP};
use crate::services::{
    SERVER_MAC, SERVER4, SOURCE4, all_ports, arriving, client, datagram, dual_world, leaving,
    only_server, segment, server, service, source, vip,
};

const METHODS: [Method; 3] = [Method::Gre, Method::Ipip, Method::Gue];
const FAMILIES: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

fn node(method: Method, inner6: bool, outer6: bool) -> String {
    let name = match method {
        Method::Gre => "gre",
        Method::Ipip => "ipip",
        _ => "gue",
    };
    format!("lb{}-{name}{}", if inner6 { 6 } else { 4 }, if outer6 { 6 } else { 4 })
}

/// The packet that goes to the AS, as smoltcp builds it; flow label and port come from the flow's
/// hash, so they are taken from what was sent.
fn outer(method: Method, outer6: bool, inner: &[u8], sent: &[u8]) -> PacketBuilder {
    let (from, to) = (source(outer6), server(outer6));
    let ip = &sent[L2..];
    let l4 = if outer6 { 40 } else { 20 };
    let builder = match method {
        Method::Gre => PacketBuilder::gre(from, to, inner),
        Method::Ipip => PacketBuilder::ipip(from, to, inner),
        _ => {
            let port = u16::from_be_bytes([ip[l4], ip[l4 + 1]]);
            assert!(port >= 0xc000, "{port} is no dynamic port");
            PacketBuilder::gue((from, port), to, inner).l4_checksum(0)
        }
    };
    let label = u32::from_be_bytes([0, ip[1] & 15, ip[2], ip[3]]);
    builder.flow_label(label).id(u16::from_be_bytes([ip[4], ip[5]]))
}

#[test]
fn b_03_to_b_06_every_packet_arrives_whole_inside_another() {
    for method in METHODS {
        for (inner6, outer6) in FAMILIES {
            let mut harness = all_ports(inner6, outer6, method);
            let inner = datagram(inner6).dont_fragment();
            let (interface, sent) = harness.forward(CLIENT_LINK, &arriving(inner.clone()));
            assert_eq!(interface, SERVER_LINK);
            let expected = outer(method, outer6, &inner.packet(), &sent).dont_fragment();
            let expected = if outer6 { expected } else { expected.id(0) };
            assert_eq!(sent, leaving(expected), "{}", node(method, inner6, outer6));
            assert_eq!(decapsulated(&sent[L2..]), inner.packet());
            let stats = &harness.shared().servers[only_server().index()];
            let len = inner.packet().len() as u64;
            assert_eq!((stats.packets.get(), stats.bytes.get()), (1, len));
        }
    }
}

#[test]
fn b_07_to_b_10_a_vip_of_one_port_takes_that_port_alone() {
    for (inner6, outer6) in FAMILIES {
        let ports = Ports::one(Protocol::Udp, 20000);
        let mut harness = Harness::new(service(ports, inner6, outer6, Method::Gre));
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(datagram(inner6)));
        assert_eq!(decapsulated(&sent[L2..]), datagram(inner6).packet());
        let other = PacketBuilder::udp((client(inner6), 4000), (vip(inner6), 20001));
        let vip_node = if inner6 { "lb6-vip" } else { "lb4-vip" };
        let text = "no such port on the VIP";
        harness.expect_drop(CLIENT_LINK, &arriving(other), vip_node, text);
    }
}

#[test]
fn f_04_defect_03_the_outer_class_is_the_inner_one() {
    for outer6 in [false, true] {
        for class in [0x00, 0x01, 0x02, 0x03, 0x1c, 0xb9, 0xff] {
            let mut harness = all_ports(false, outer6, Method::Gre);
            let inner = datagram(false).tos(class);
            let (_, sent) = harness.forward(CLIENT_LINK, &arriving(inner.clone()));
            let expected = outer(Method::Gre, outer6, &inner.packet(), &sent).tos(class);
            assert_eq!(sent, leaving(expected));
        }
    }
}

#[test]
fn the_policy_decides_what_outer_headers_say() {
    let mut world = service(Ports::All, false, false, Method::Gue);
    world.tunnel_policy.ttl = 9;
    world.tunnel_policy.dscp = TunnelDscp::Fixed(10);
    world.tunnel_policy.ecn = TunnelEcn::Zero;
    world.tunnel_policy.df = TunnelDf::Set;
    world.tunnel_policy.gue_port = 19523;
    let mut harness = Harness::new(world);
    let inner = datagram(false).tos(0xff);
    let (_, sent) = harness.forward(CLIENT_LINK, &arriving(inner));
    let header = validated(&sent);
    assert_eq!((sent[L2 + 1], header.hop_limit(), header.dont_frag()), (0x28, 9, true));
    assert_eq!(sent[L2 + 22..L2 + 24], 19523_u16.to_be_bytes());
    harness.world.tunnel_policy.df = TunnelDf::Clear;
    harness.publish();
    let (_, sent) = harness.forward(CLIENT_LINK, &arriving(datagram(false).dont_fragment()));
    assert!(!validated(&sent).dont_frag());
}

#[test]
fn g_13_identifications_of_packets_that_may_be_fragmented_differ() {
    let mut harness = all_ports(false, false, Method::Ipip);
    let ids: std::collections::BTreeSet<u16> = (0..100)
        .map(|_| validated(&harness.forward(CLIENT_LINK, &arriving(datagram(false))).1).ident())
        .collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn f12_sources_vary_with_the_flow_when_asked_to() {
    let mut world = service(Ports::All, false, false, Method::Ipip);
    let network = Ipv4Addr::new(172, 16, 0, 0);
    world.tunnel_policy.entropy4 = Some(Entropy { network, prefix_len: 16 });
    let mut harness = Harness::new(world);
    let mut sources = std::collections::BTreeSet::new();
    for port in 0..64 {
        let frame = arriving(PacketBuilder::udp((CLIENT, port), (VIP, 1)));
        let first = validated(&harness.forward(CLIENT_LINK, &frame).1).src_addr();
        let again = validated(&harness.forward(CLIENT_LINK, &frame).1).src_addr();
        assert_eq!((first, &first.octets()[..2]), (again, &[172, 16][..]));
        sources.insert(first);
    }
    assert!(sources.len() > 60, "{}", sources.len());
}

#[test]
fn defect_39_without_a_source_nothing_is_sent() {
    for method in METHODS {
        for (inner6, outer6) in FAMILIES {
            let mut world = service(Ports::All, inner6, outer6, method);
            world.has_tunnel_sources = false;
            let mut harness = Harness::new(world);
            let node = node(method, inner6, outer6);
            let text = "no tunnel source address";
            harness.expect_drop(CLIENT_LINK, &arriving(datagram(inner6)), &node, text);
        }
    }
}

#[test]
fn the_nearest_address_is_the_source_when_none_is_set() {
    let mut world = service(Ports::All, false, false, Method::Gre);
    world.tunnel_policy.source4 = None;
    let mut harness = Harness::new(world);
    let (_, sent) = harness.forward(CLIENT_LINK, &arriving(datagram(false)));
    assert_eq!(validated(&sent).src_addr(), crate::plan::OUR_SERVER_SIDE);
    assert_ne!(validated(&sent).src_addr(), SOURCE4);
}

#[test]
fn a_server_without_a_route_is_counted() {
    for (method, inner6, outer6) in
        METHODS.iter().flat_map(|m| FAMILIES.map(|(inner, outer)| (*m, inner, outer)))
    {
        let mut world = service(Ports::All, inner6, outer6, method);
        let nowhere = if outer6 { "2001:db9::1" } else { "8.8.8.8" };
        world.balanced.server(only_server()).address = nowhere.parse().unwrap();
        let mut harness = Harness::new(world);
        let node = node(method, inner6, outer6);
        let text = "no route to the server";
        harness.expect_drop(CLIENT_LINK, &arriving(datagram(inner6)), &node, text);
    }
}

#[test]
fn an_unresolved_server_is_waited_for() {
    for outer6 in [false, true] {
        let mut world = service(Ports::All, false, outer6, Method::Gre);
        world.forget_neighbor(SERVER_LINK, server(outer6));
        let mut harness = Harness::new(world);
        assert_eq!(harness.receive(CLIENT_LINK, &arriving(datagram(false))), []);
        let Some(Event::NeighborNeeded { interface: SERVER_LINK, address }) = harness.event()
        else {
            panic!("nobody asked")
        };
        assert_eq!(address, server(outer6));
        harness.world.add_neighbor(SERVER_LINK, address, SERVER_MAC);
        harness.publish();
        let sent = harness.turn();
        assert_eq!(sent.len(), 1);
        let expected = outer(Method::Gre, outer6, &datagram(false).packet(), &sent[0].1);
        assert_eq!(sent[0].1, leaving(expected));
    }
}

/// A packet of this many bytes.
fn of_len(v6: bool, len: usize) -> PacketBuilder {
    let headers = if v6 { 48 } else { 28 };
    datagram(v6).data(vec![0x5a; len - headers])
}

#[test]
fn f_06_defect_14_the_client_learns_what_fits() {
    for method in METHODS {
        for (inner6, outer6) in FAMILIES {
            let mut harness = all_ports(inner6, outer6, method);
            let limit = usize::from(1500 - method.overhead(outer6));
            let fits = of_len(inner6, limit).dont_fragment();
            let (interface, _) = harness.forward(CLIENT_LINK, &arriving(fits));
            assert_eq!(interface, SERVER_LINK);
            let big = of_len(inner6, limit + 1).dont_fragment();
            let (interface, sent) = harness.forward(CLIENT_LINK, &arriving(big.clone()));
            assert_eq!(interface, CLIENT_LINK);
            let (_, message) = validated_packet(&sent[L2..]);
            let mtu = u16::from_be_bytes([message[6], message[7]]);
            assert_eq!(usize::from(mtu), limit);
            let kind = if inner6 { [2, 0] } else { [3, 4] };
            assert_eq!(message[..2], kind);
            assert!(big.packet().starts_with(&message[8..]));
            let expected = PacketBuilder::icmp(vip(inner6), client(inner6), (0, 0), [0; 4]);
            let addresses = if inner6 { 8..40 } else { 12..20 };
            assert_eq!(sent[L2..][addresses.clone()], expected.packet()[addresses]);
            let text = "too big after encap, sender told";
            assert_eq!(harness.counter(&node(method, inner6, outer6), text), 1);
        }
    }
}

#[test]
fn what_may_be_fragmented_is_dropped_or_fragmented_outside() {
    let all = METHODS.into_iter().flat_map(|method| FAMILIES.map(|families| (method, families)));
    for (method, (inner6, outer6)) in all {
        // IPv6 packets of up to 1280 bytes get through whatever the link.
        let mut world = service(Ports::All, inner6, outer6, method);
        world.interface(SERVER_LINK).mtu = 1290;
        let mut harness = Harness::new(world);
        let big = of_len(inner6, 1280);
        let node = node(method, inner6, outer6);
        harness.expect_drop(CLIENT_LINK, &arriving(big.clone()), &node, "too big after encap");
        harness.world.tunnel_policy.too_big = TooBig::Fragment;
        harness.publish();
        let sent = harness.receive(CLIENT_LINK, &arriving(big.clone()));
        assert_eq!(sent.len(), 2);
        assert_eq!(harness.counter(&node, "outer packets fragmented"), 1);
        let pieces: Vec<Vec<u8>> = sent.iter().map(|(_, frame)| frame[L2..].to_vec()).collect();
        assert!(pieces.iter().all(|piece| piece.len() <= 1290));
        assert_eq!(decapsulated(&reassembled(&pieces)), big.packet());
        // And so it does when the neighbour is not known yet.
        harness.world.forget_neighbor(SERVER_LINK, server(outer6));
        harness.publish();
        assert_eq!(harness.receive(CLIENT_LINK, &arriving(big.clone())), []);
        harness.world.add_neighbor(SERVER_LINK, server(outer6), SERVER_MAC);
        harness.publish();
        let sent = harness.turn();
        let pieces: Vec<Vec<u8>> = sent.iter().map(|(_, frame)| frame[L2..].to_vec()).collect();
        assert_eq!(decapsulated(&reassembled(&pieces)), big.packet());
    }
}

#[test]
fn fragments_without_buffers_are_counted() {
    for method in METHODS {
        for (inner6, outer6) in FAMILIES {
            let mut world = service(Ports::All, inner6, outer6, method);
            world.interface(SERVER_LINK).mtu = 1290;
            world.tunnel_policy.too_big = TooBig::Fragment;
            let mut harness = Harness::new(world);
            let packet = harness.worker.io.pool.packet(&arriving(of_len(inner6, 1280)));
            let hoard: Vec<_> = std::iter::from_fn(|| harness.worker.io.pool.alloc()).collect();
            harness.arrive_packet(CLIENT_LINK, packet);
            assert_eq!(harness.turn(), []);
            let node = node(method, inner6, outer6);
            assert_eq!(harness.counter(&node, "no buffer for outer fragments"), 1);
            for packet in hoard {
                testkit::fake_mbuf::free(packet);
            }
        }
    }
}

#[test]
fn a_packet_without_room_in_front_is_dropped() {
    for method in METHODS {
        for (inner6, outer6) in FAMILIES {
            let mut harness = all_ports(inner6, outer6, method);
            let mut packet = harness.worker.io.pool.alloc().unwrap();
            let frame = arriving(datagram(inner6));
            assert!(packet.prepend(testkit::fake_mbuf::HEADROOM) && packet.assign(&frame));
            let node = node(method, inner6, outer6);
            let text = "no room for the outer header";
            harness.expect_packet_drop(CLIENT_LINK, packet, &node, text);
        }
    }
}

#[test]
fn padding_does_not_travel() {
    for (inner6, outer6) in FAMILIES {
        let mut harness = all_ports(inner6, outer6, Method::Ipip);
        let inner = segment(inner6, 0x10);
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(inner.clone().padding(&[7; 9])));
        assert_eq!(decapsulated(&sent[L2..]), inner.packet());
        let len = if outer6 { 40 } else { 20 } + inner.packet().len();
        assert_eq!(sent.len(), L2 + len);
    }
}

#[test]
fn defect_16_a_server_inside_its_vips_prefix_makes_no_loop() {
    let mut world = dual_world();
    let prefix = Prefix::new(SERVER4.into(), 16).unwrap();
    let id = world.balanced.add_vip_without_nat(prefix, Ports::All);
    world.balanced.add_server_by(id, SERVER4, Method::Gre);
    let mut harness = Harness::new(world);
    let to = Ipv4Addr::new(192, 168, 77, 1);
    let inner = PacketBuilder::udp((CLIENT, 1), (to, 2));
    let (interface, sent) = harness.forward(CLIENT_LINK, &arriving(inner.clone()));
    assert_eq!((interface, decapsulated(&sent[L2..])), (SERVER_LINK, &inner.packet()[..]));
}

#[test]
fn all_protocols_travel_in_a_vip_for_all_ports() {
    for inner6 in [false, true] {
        let mut harness = all_ports(inner6, false, Method::Gre);
        for protocol in [47, 50, 132] {
            let inner = PacketBuilder::other(client(inner6), vip(inner6), protocol).data(*b"x");
            let (_, sent) = harness.forward(CLIENT_LINK, &arriving(inner.clone()));
            assert_eq!(decapsulated(&sent[L2..]), inner.packet());
        }
    }
}

/// ASs behind a VLAN, or behind two.
fn behind_tags(world: &mut World, inner: Option<u16>, outer6: bool) -> IpAddr {
    let (ours, server): (IpAddr, IpAddr) = if outer6 {
        ("2001:db8:77::1".parse().unwrap(), "2001:db8:77::2".parse().unwrap())
    } else {
        ([10, 77, 0, 1].into(), [10, 77, 0, 2].into())
    };
    let len = if outer6 { 64 } else { 24 };
    let link = world.add_sub_interface(SERVER_LINK, (0x8100, 77), inner, &[(ours, len)]);
    world.add_neighbor(link, server, SERVER_MAC);
    server
}

fn policies() -> impl Strategy<Value = TunnelPolicy> {
    let dscp = prop::option::of(0..64_u8);
    let dscp = dscp.prop_map(|dscp| dscp.map_or(TunnelDscp::Copy, TunnelDscp::Fixed));
    let ecn = prop::sample::select(vec![TunnelEcn::Rfc6040, TunnelEcn::Zero]);
    let df = prop::sample::select(vec![TunnelDf::Copy, TunnelDf::Set, TunnelDf::Clear]);
    (dscp, ecn, df, 1_u8.., prop::bool::weighted(0.2)).prop_map(|(dscp, ecn, df, ttl, entropy)| {
        let network = Ipv4Addr::new(172, 16, 0, 0);
        let entropy4 = entropy.then_some(Entropy { network, prefix_len: 12 });
        let network = Ipv6Addr::new(0x2001, 0xdb8, 0x88, 0, 0, 0, 0, 0);
        let entropy6 = entropy.then_some(Entropy { network, prefix_len: 64 });
        TunnelPolicy { dscp, ecn, df, ttl, entropy4, entropy6, ..TunnelPolicy::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What is copied and worked out beforehand is what the nodes for each step write.
    #[test]
    fn outer_headers_are_the_same_on_the_express_way(
        method in prop::sample::select(METHODS.to_vec()),
        families in prop::sample::select(FAMILIES.to_vec()),
        policy in policies(), tags in prop::option::weighted(0.3, prop::option::of(1..4000_u16)),
        packets in prop::collection::vec((any::<u8>(), any::<bool>(), 0..40_usize, 0..3_usize), 1..40),
    ) {
        let (inner6, outer6) = families;
        let world = || {
            let mut world = dual_world();
            let (source4, source6) = (world.tunnel_policy.source4, world.tunnel_policy.source6);
            world.tunnel_policy = TunnelPolicy { source4, source6, ..policy };
            let address = match tags {
                Some(inner) => behind_tags(&mut world, inner, outer6),
                None => server(outer6),
            };
            let vip = Prefix::host(vip(inner6));
            let id = world.balanced.add_vip_without_nat(vip, Ports::one(Protocol::Udp, 20000));
            world.balanced.add_server_by(id, address, method);
            world
        };
        let (mut express, mut plain) = (Harness::new(world()), Harness::plain(world()));
        for (class, dont_fragment, len, padding) in packets {
            let packet = PacketBuilder::udp((client(inner6), 4000), (vip(inner6), 20000))
                .tos(class).data(vec![class; len]).padding(&[9; 2][..padding]);
            let packet = if dont_fragment { packet.dont_fragment() } else { packet };
            let frame = arriving(packet);
            prop_assert_eq!(
                express.forward(CLIENT_LINK, &frame), plain.forward(CLIENT_LINK, &frame)
            );
        }
        let taken = express.counter("lb-express", "packets on the express way");
        prop_assert!(taken > 0);
    }

    /// F-03: taking off what was put on gives what came.
    #[test]
    fn decapsulation_undoes_encapsulation(
        method in prop::sample::select(METHODS.to_vec()),
        families in prop::sample::select(FAMILIES.to_vec()),
        ports: (u16, u16), class: u8, ttl in 1_u8..,
        data in prop::collection::vec(any::<u8>(), 0..900),
    ) {
        let (inner6, outer6) = families;
        let mut harness = all_ports(inner6, outer6, method);
        let inner = PacketBuilder::udp((client(inner6), ports.0), (vip(inner6), ports.1))
            .tos(class).ttl(ttl).data(data);
        let (_, sent) = harness.forward(CLIENT_LINK, &arriving(inner.clone()));
        prop_assert_eq!(decapsulated(&sent[L2..]), inner.packet());
    }
}
