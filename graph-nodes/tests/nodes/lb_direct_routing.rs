use std::net::IpAddr;

use balancer::{Ports, Prefix};
use dataplane::forwarding::Method;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, quote, validated_packet};

use crate::plan::{CLIENT_LINK, SERVER_LINK};
use crate::services::{
    SERVER_MAC, all_ports, arriving, client, datagram, dual_world, leaving, only_server, segment,
    server, service, source, vip,
};

const METHOD: Method = Method::DirectRouting;

fn node(v6: bool) -> &'static str {
    if v6 { "lb6-dr" } else { "lb4-dr" }
}

#[test]
fn only_ethernet_addresses_change() {
    for v6 in [false, true] {
        let mut harness = all_ports(v6, v6, METHOD);
        for builder in [
            datagram(v6).tos(0xff),
            segment(v6, 2).ttl(1),
            segment(v6, 0x10).l4_checksum(0xbad),
            datagram(v6).l4_checksum(0),
            PacketBuilder::other(client(v6), vip(v6), 47).data([9; 30]),
        ] {
            let sent = harness.forward(CLIENT_LINK, &arriving(builder.clone()));
            assert_eq!(sent, (SERVER_LINK, leaving(builder)));
        }
    }
}

#[test]
fn an_icmp_error_reaches_the_server_as_it_is() {
    for v6 in [false, true] {
        let mut harness = all_ports(v6, v6, METHOD);
        let answer = PacketBuilder::tcp((vip(v6), 80), (client(v6), 4000), 0x10).packet();
        let error = PacketBuilder::too_big(client(v6), vip(v6), 1300, quote(&answer, 8));
        let sent = harness.forward(CLIENT_LINK, &arriving(error.clone()));
        assert_eq!(sent, (SERVER_LINK, leaving(error)));
    }
}

#[test]
fn an_unresolved_server_is_waited_for_and_costs_no_hop() {
    for v6 in [false, true] {
        let mut world = service(Ports::All, v6, v6, METHOD);
        world.forget_neighbor(SERVER_LINK, server(v6));
        let mut harness = Harness::new(world);
        assert_eq!(harness.receive(CLIENT_LINK, &arriving(datagram(v6))), []);
        harness.world.add_neighbor(SERVER_LINK, server(v6), SERVER_MAC);
        harness.publish();
        assert_eq!(harness.turn(), [(SERVER_LINK, leaving(datagram(v6)))]);
    }
}

#[test]
fn what_does_not_fit_and_what_has_no_way() {
    for v6 in [false, true] {
        let mut world = service(Ports::All, v6, v6, METHOD);
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
        let nowhere = if v6 { "2001:db9::1" } else { "8.8.8.8" };
        harness.world.balanced.server(only_server()).address = nowhere.parse().unwrap();
        harness.publish();
        let frame = arriving(datagram(v6));
        harness.expect_drop(CLIENT_LINK, &frame, node(v6), "no route to the server");
    }
}

/// Clients from everywhere come to a VIP of every address, in which they are themselves.
#[test]
fn defect_16_a_vip_of_every_address_has_clients() {
    for v6 in [false, true] {
        let mut world = dual_world();
        let [client, to]: [IpAddr; 2] = match v6 {
            true => ["3fff::1", "3fff:1::1"],
            false => ["198.18.7.7", "198.19.8.8"],
        }
        .map(|address| address.parse().unwrap());
        let everything = Prefix::new(to, 0).unwrap();
        let id = world.balanced.add_vip_without_nat(everything, Ports::All);
        world.balanced.add_server_by(id, server(v6), Method::DirectRouting);
        let mut harness = Harness::new(world);
        let packet = |from: IpAddr| PacketBuilder::udp((from, 4000), (to, 20000)).data(*b"x");
        let sent = harness.forward(CLIENT_LINK, &arriving(packet(client)));
        assert_eq!(sent, (SERVER_LINK, leaving(packet(client))));
        let node = if v6 { "ip6-input" } else { "ip4-input" };
        let text = format!("ip{} spoofed local-address packet drops", if v6 { 6 } else { 4 });
        harness.expect_drop(CLIENT_LINK, &arriving(packet(source(v6))), node, &text);
    }
}
