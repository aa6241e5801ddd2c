//! Tunnel interfaces: `ipip4-output`, `ipip6-output`, and what comes out of a tunnel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::interface::InterfaceId;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, decapsulated, validated_packet};
use testkit::world::World;

use crate::plan::{self, CLIENT_LINK, CLIENT_MAC, HOST_MAC, SERVER_LINK, from_client, from_host};
use crate::plan6;

/// Over IPv4, from the server link's address to the host.
const OVER4: InterfaceId = InterfaceId(3);
/// The same over IPv6.
const OVER6: InterfaceId = InterfaceId(4);
/// Behind the tunnel over IPv4, and the same in IPv6.
const BEHIND4: Ipv4Addr = Ipv4Addr::new(10, 67, 0, 9);
const BEHIND4_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x67, 0, 0, 0, 0, 9);
/// Behind the tunnel over IPv6.
const BEHIND6: Ipv4Addr = Ipv4Addr::new(10, 68, 0, 9);
const BEHIND6_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x68, 0, 0, 0, 0, 9);

fn tunnel_world() -> World {
    let mut world = plan6::world();
    let v6 = |net: u16, host: u16| Ipv6Addr::new(0x2001, 0xdb8, net, 0xff, 0, 0, 0, host);
    let v4 = |net: u8, host: u8| Ipv4Addr::new(10, net, 255, host);
    let own =
        |net: u8, net6: u16| [(IpAddr::from(v4(net, 1)), 30), (IpAddr::from(v6(net6, 1)), 126)];
    let (here, there) = (plan::OUR_SERVER_SIDE, plan::HOST);
    assert_eq!(world.add_tunnel(here, there, &own(67, 0x67)), OVER4);
    let (here, there) = (plan6::OUR_SERVER_SIDE, plan6::HOST);
    assert_eq!(world.add_tunnel(here, there, &own(68, 0x68)), OVER6);
    for (net, net6) in [(67, 0x67), (68, 0x68)] {
        world.add_route(Ipv4Addr::new(10, net, 0, 0), 16, v4(net, 2));
        world.add_route(Ipv6Addr::new(0x2001, 0xdb8, net6, 0, 0, 0, 0, 0), 48, v6(net6, 2));
    }
    world
}

fn harness() -> Harness {
    Harness::new(tunnel_world())
}

/// A datagram from the client through a tunnel.
fn to(address: IpAddr) -> PacketBuilder {
    let client: IpAddr = match address {
        IpAddr::V4(_) => plan::CLIENT.into(),
        IpAddr::V6(_) => plan6::CLIENT.into(),
    };
    from_client(PacketBuilder::udp((client, 7), (address, 8)).data(*b"through").tos(0xb9))
}

/// The outer packet of either tunnel on the server link, around `inner`.
fn over(v6: bool, inner: &[u8]) -> PacketBuilder {
    let builder = match v6 {
        false => PacketBuilder::ipip(plan::OUR_SERVER_SIDE, plan::HOST, inner),
        true => PacketBuilder::ipip(plan6::OUR_SERVER_SIDE, plan6::HOST, inner),
    };
    builder.macs(HOST_MAC, World::mac(SERVER_LINK))
}

/// The same the other way.
fn back(v6: bool, inner: &[u8]) -> PacketBuilder {
    from_host(match v6 {
        false => PacketBuilder::ipip(plan::HOST, plan::OUR_SERVER_SIDE, inner),
        true => PacketBuilder::ipip(plan6::HOST, plan6::OUR_SERVER_SIDE, inner),
    })
}

#[test]
fn packets_enter_tunnels() {
    let mut harness = harness();
    for (address, v6) in [
        (IpAddr::from(BEHIND4), false),
        (BEHIND4_6.into(), false),
        (BEHIND6.into(), true),
        (BEHIND6_6.into(), true),
    ] {
        let (interface, sent) = harness.forward(CLIENT_LINK, &to(address).padding(&[9; 6]).build());
        assert_eq!(interface, SERVER_LINK);
        // One hop off, and nothing else changed.
        let inner = to(address).ttl(63).packet();
        assert_eq!(decapsulated(&sent[L2..]), inner);
        let outer = over(v6, &inner).tos(0xb9).ttl(64);
        let expected = match address {
            IpAddr::V4(_) if !v6 => outer.id(1),
            IpAddr::V6(_) if !v6 => outer.id(0).dont_fragment(),
            _ => outer,
        };
        assert_eq!(sent, expected.build(), "{address}");
    }
    let inner = to(BEHIND4.into()).ttl(63).dont_fragment().packet();
    let (_, sent) = harness.forward(CLIENT_LINK, &to(BEHIND4.into()).dont_fragment().build());
    assert_eq!(sent, over(false, &inner).tos(0xb9).id(0).dont_fragment().build());
    let stats = &harness.shared().interfaces[OVER4.index()];
    let len = (inner.len() * 2 + to(BEHIND4_6.into()).packet().len()) as u64;
    assert_eq!((stats.tx_packets.get(), stats.tx_bytes.get()), (3, len));
}

#[test]
fn a_tunnel_has_an_mtu_and_takes_a_hop() {
    let mut harness = harness();
    let fits = to(BEHIND4.into()).dont_fragment().data(vec![0; 1480 - 28]).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &fits);
    assert_eq!(sent.len(), L2 + 1500);
    let too_big = to(BEHIND4.into()).dont_fragment().data(vec![0; 1481 - 28]).build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &too_big);
    assert_eq!((interface, &sent[L2 + 20..L2 + 22]), (CLIENT_LINK, &[3, 4][..]));
    assert_eq!(sent[L2 + 26..L2 + 28], 1480_u16.to_be_bytes());
    let too_big = to(BEHIND4_6.into()).data(vec![0; 1481 - 48]).build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &too_big);
    assert_eq!((interface, &sent[L2 + 40..L2 + 42]), (CLIENT_LINK, &[2, 0][..]));
    let last = to(BEHIND6.into()).ttl(1).build();
    assert_eq!(harness.forward(CLIENT_LINK, &last).0, CLIENT_LINK);
}

#[test]
fn an_outer_packet_that_does_not_fit_ends() {
    let mut world = tunnel_world();
    world.interface(SERVER_LINK).mtu = 1400;
    let mut harness = Harness::new(world);
    let big = |address: IpAddr| to(address).data(vec![0; 1400]);
    harness.expect_drop(CLIENT_LINK, &big(BEHIND4.into()).build(), "ip4-rewrite", "mtu exceeded");
    let frame = big(BEHIND6.into()).build();
    let text = "no error about our own packet";
    harness.expect_drop(CLIENT_LINK, &frame, "ip6-icmp-error", text);
}

#[test]
fn a_far_end_without_a_route() {
    for (v6, node, address) in
        [(false, "ipip4-output", IpAddr::from(BEHIND4)), (true, "ipip6-output", BEHIND6_6.into())]
    {
        let mut world = plan6::world();
        let own: [(IpAddr, u8); 2] = [
            (Ipv4Addr::new(10, 67, 0, 1).into(), 24),
            (Ipv6Addr::new(0x2001, 0xdb8, 0x68, 0, 0, 0, 0, 1).into(), 64),
        ];
        match v6 {
            false => world.add_tunnel(plan::OUR_SERVER_SIDE, Ipv4Addr::new(9, 9, 9, 9), &own),
            true => world.add_tunnel(plan6::OUR_SERVER_SIDE, plan6::NOWHERE, &own),
        };
        let mut harness = Harness::new(world);
        let text = "no route to the tunnel destination";
        harness.expect_drop(CLIENT_LINK, &to(address).build(), node, text);
    }
}

#[test]
fn a_tunnel_into_a_tunnel_ends() {
    let mut world = tunnel_world();
    let own: [(IpAddr, u8); 1] = [(Ipv4Addr::new(10, 70, 0, 1).into(), 24)];
    world.add_tunnel(plan::OUR_SERVER_SIDE, BEHIND4, &own);
    let mut harness = Harness::new(world);
    let frame = to(Ipv4Addr::new(10, 70, 0, 9).into()).build();
    let text = "no route to the tunnel destination";
    harness.expect_drop(CLIENT_LINK, &frame, "ipip4-output", text);
}

#[test]
fn no_room_for_an_outer_header() {
    let mut harness = harness();
    for (address, node) in [(BEHIND4, "ipip4-output"), (BEHIND6, "ipip6-output")] {
        let frame = to(address.into()).build();
        let mut packet = harness.worker.io.pool.packet(&frame);
        assert!(packet.prepend(testkit::fake_mbuf::HEADROOM));
        packet.data_mut()[..frame.len()].copy_from_slice(&frame);
        packet.truncate(frame.len());
        harness.expect_packet_drop(CLIENT_LINK, packet, node, "no room for the outer header");
    }
}

#[test]
fn packets_come_out_of_tunnels() {
    let mut harness = harness();
    for (v6, node, tunnel) in [(false, "ip4-local", OVER4), (true, "ip6-local", OVER6)] {
        let from: [IpAddr; 2] = match v6 {
            false => [BEHIND4.into(), BEHIND4_6.into()],
            true => [BEHIND6.into(), BEHIND6_6.into()],
        };
        for source in from {
            let client: IpAddr = match source {
                IpAddr::V4(_) => plan::CLIENT.into(),
                IpAddr::V6(_) => plan6::CLIENT.into(),
            };
            let inner = PacketBuilder::udp((source, 8), (client, 7)).data(*b"out");
            let frame = back(v6, &inner.packet()).padding(&[7; 9]).build();
            let expected = inner.macs(CLIENT_MAC, World::mac(CLIENT_LINK)).ttl(63).build();
            assert_eq!(harness.forward(SERVER_LINK, &frame), (CLIENT_LINK, expected));
        }
        assert_eq!(harness.counter(node, "tunnel packets decapsulated"), 2);
        assert_eq!(harness.shared().interfaces[tunnel.index()].rx_packets.get(), 2);
    }
}

#[test]
fn what_comes_out_came_in_by_the_tunnel() {
    let mut harness = harness();
    // A ping of our address in the tunnel goes back into it.
    let own = Ipv4Addr::new(10, 67, 255, 1);
    let ping = PacketBuilder::icmp(BEHIND4, own, (8, 0), [0, 1, 0, 2]).data(*b"deep");
    let (interface, sent) = harness.forward(SERVER_LINK, &back(false, &ping.packet()).build());
    assert_eq!((interface, validated_packet(&sent[L2..]).0), (SERVER_LINK, 4));
    let pong = PacketBuilder::icmp(own, BEHIND4, (0, 0), [0, 1, 0, 2]).data(*b"deep");
    assert_eq!(decapsulated(&sent[L2..]), pong.packet());
    // An error comes from the tunnel's address.
    let lost = PacketBuilder::udp((BEHIND4, 1), (Ipv4Addr::new(8, 8, 8, 8), 2));
    let (_, sent) = harness.forward(SERVER_LINK, &back(false, &lost.packet()).build());
    let inner = decapsulated(&sent[L2..]);
    assert_eq!((&inner[12..16], &inner[20..22]), (&own.octets()[..], &[3, 0][..]));
    // Drops are the tunnel's.
    let spoofed = PacketBuilder::udp((own, 1), (plan::CLIENT, 2)).packet();
    assert_eq!(harness.receive(SERVER_LINK, &back(false, &spoofed).build()), []);
    assert_eq!(harness.counter("ip4-input", "ip4 spoofed local-address packet drops"), 1);
    assert_eq!((harness.drops(OVER4), harness.drops(SERVER_LINK)), (1, 0));
}

#[test]
fn congestion_on_the_way_is_told() {
    let mut harness = harness();
    // Inner, outer, result (RFC 6040 §4.2).
    for (v6, source) in [(false, IpAddr::from(BEHIND4)), (true, BEHIND6_6.into())] {
        let client: IpAddr = match source {
            IpAddr::V4(_) => plan::CLIENT.into(),
            IpAddr::V6(_) => plan6::CLIENT.into(),
        };
        for (inner, outer, expected) in
            [(0, 2, 0), (0, 1, 0), (2, 0, 2), (2, 1, 1), (1, 2, 1), (2, 3, 3), (1, 3, 3), (3, 0, 3)]
        {
            let packet = PacketBuilder::udp((source, 8), (client, 7)).tos(0xb8 | inner);
            let frame = back(v6, &packet.packet()).tos(outer).build();
            let (_, sent) = harness.forward(SERVER_LINK, &frame);
            let expected =
                packet.tos(0xb8 | expected).ttl(63).macs(CLIENT_MAC, World::mac(CLIENT_LINK));
            assert_eq!(sent, expected.build());
        }
        let packet = PacketBuilder::udp((source, 8), (client, 7)).packet();
        let node = if v6 { "ip6-local" } else { "ip4-local" };
        let frame = back(v6, &packet).tos(3).build();
        let text = "congestion experienced on a packet without ecn";
        harness.expect_drop(SERVER_LINK, &frame, node, text);
    }
}

#[test]
fn packets_of_nobodys_tunnel() {
    let mut harness = harness();
    let inner = PacketBuilder::udp((BEHIND4, 8), (plan::CLIENT, 7)).packet();
    let stranger = Ipv4Addr::new(192, 168, 1, 8);
    let frame = from_host(PacketBuilder::ipip(stranger, plan::OUR_SERVER_SIDE, &inner)).build();
    harness.expect_drop(SERVER_LINK, &frame, "ip4-local", "unknown ip protocol");
    let to_other_address = PacketBuilder::ipip(plan6::HOST, plan6::OUR_CLIENT_SIDE, &inner);
    let frame = from_host(to_other_address).build();
    harness.expect_drop(SERVER_LINK, &frame, "ip6-local", "unknown ip6 protocol");
}

#[test]
fn a_tunnel_can_be_down() {
    let mut world = tunnel_world();
    world.interface(OVER4).up = false;
    world.interface(OVER6).up = false;
    let mut harness = Harness::new(world);
    let inner = PacketBuilder::udp((BEHIND4, 8), (plan::CLIENT, 7)).packet();
    for (v6, node) in [(false, "ip4-local"), (true, "ip6-local")] {
        let frame = back(v6, &inner).build();
        harness.expect_drop(SERVER_LINK, &frame, node, "tunnel interface is down");
    }
}

#[test]
fn what_is_no_packet_is_sorted_out_at_the_input() {
    let mut harness = harness();
    let mut receive = |inner: &[u8], protocol: u8| {
        let outer = PacketBuilder::other(plan::HOST, plan::OUR_SERVER_SIDE, protocol).data(inner);
        assert_eq!(harness.receive(SERVER_LINK, &from_host(outer).build()), []);
    };
    receive(&[], 4);
    receive(&[0x45; 10], 4);
    receive(&[0x45; 39], 41);
    receive(&[0x45; 40], 41);
    assert_eq!(harness.counter("ip4-input", "ip4 length < 20 bytes"), 2);
    assert_eq!(harness.counter("ip6-input", "ip6 length < 40 bytes"), 1);
    assert_eq!(harness.counter("ip6-input", "ip6 version != 6"), 1);
    assert_eq!(harness.outstanding(), 0);
}
