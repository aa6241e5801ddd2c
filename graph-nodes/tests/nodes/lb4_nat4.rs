use std::net::{IpAddr, Ipv4Addr};

use balancer::{Protocol, ServerState};
use dataplane::event::Event;
use dataplane::trace::TraceDetail;
use proptest::prelude::*;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, validated};

use crate::plan::{
    CLIENT, CLIENT_LINK, OUR_CLIENT_SIDE, SERVER_LINK, SERVERS, VIP, balanced_harness,
    balanced_world, destination, from_client, server_mac, to_server, vip_counts,
};

const NODE: &str = "lb4-nat4";
const VIP_NODE: &str = "lb4-vip";
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn tcp(client_port: u16, destination: (Ipv4Addr, u16), flags: u8) -> PacketBuilder {
    PacketBuilder::tcp((CLIENT, client_port), destination, flags)
        .tcp_options(&[2, 4, 5, 0xb4, 1, 3, 3, 7])
        .data(*b"GET / HTTP/1.1\r\n\r\nodd")
}

fn udp(client_port: u16, destination: (Ipv4Addr, u16)) -> PacketBuilder {
    PacketBuilder::udp((CLIENT, client_port), destination).data(*b"question")
}

#[test]
fn defect_05_tcp_is_translated_byte_for_byte() {
    let mut harness = balanced_harness();
    for flags in [SYN, ACK, 0x18, 0x11] {
        let tune = |builder: PacketBuilder| builder.tos(0xb9).dont_fragment().padding(&[7; 3]);
        let frame = tune(from_client(tcp(4000, (VIP, 8080), flags))).build();
        let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
        assert_eq!(interface, SERVER_LINK);
        let server = destination(&sent);
        let expected = tune(to_server(server, tcp(4000, (server, 80), flags))).ttl(63).build();
        assert_eq!(sent, expected);
    }
    assert_eq!(vip_counts(&harness, 0), [3, 1, 0, 0]);
}

#[test]
fn defect_04_the_checksum_knows_of_the_new_port() {
    let mut harness = balanced_harness();
    let frame = from_client(udp(4000, (VIP, 20000))).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    let server = destination(&sent);
    let expected = to_server(server, udp(4000, (server, 3307))).ttl(63).build();
    assert_eq!(sent, expected);
}

#[test]
fn defect_04_an_absent_udp_checksum_stays_absent() {
    let mut harness = balanced_harness();
    let frame = from_client(udp(4000, (VIP, 20000)).l4_checksum(0)).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(sent[L2 + 26..L2 + 28], [0, 0]);
}

#[test]
fn a_udp_checksum_that_computes_to_zero_is_sent_as_all_ones() {
    let mut harness = balanced_harness();
    let mut found = false;
    for filler in 0..=u16::MAX {
        let builder = udp(4000, (VIP, 20000)).data(filler.to_be_bytes());
        let after = udp(4000, (SERVERS[0], 3307)).data(filler.to_be_bytes()).build();
        if after[L2 + 26..L2 + 28] != [0xff, 0xff] {
            continue;
        }
        found = true;
        // One AS left, so that the choice is known.
        for id in [2, 3] {
            let id = balancer::AsId::new(id).unwrap();
            harness.world.balanced.server(id).weight = 0;
        }
        harness.publish();
        let (_, sent) = harness.forward(CLIENT_LINK, &from_client(builder).build());
        assert_eq!(sent[L2 + 26..L2 + 28], [0xff, 0xff]);
        break;
    }
    assert!(found, "some filler makes the checksum zero");
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut harness = balanced_harness();
    let mut frame = from_client(tcp(4000, (VIP, 8080), SYN)).build();
    frame[L2 + 36] ^= 0x40;
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    let tcp = smoltcp::wire::TcpPacket::new_checked(&sent[L2 + 20..]).unwrap();
    assert!(!tcp.verify_checksum(
        &CLIENT.into(),
        &Ipv4Addr::from_octets(sent[30..34].try_into().unwrap()).into()
    ));
}

#[test]
fn defect_11_options_do_not_hide_the_ports() {
    let mut harness = balanced_harness();
    let options = [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let frame = from_client(udp(4000, (VIP, 20000))).ip_options(&options).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    let server = destination(&sent);
    let expected = to_server(server, udp(4000, (server, 3307))).ip_options(&options).ttl(63);
    assert_eq!(sent, expected.build());
}

#[test]
fn flows_stick_and_spread() {
    let mut harness = balanced_harness();
    let mut chosen = std::collections::BTreeMap::new();
    for port in 1000..1064 {
        let frame = from_client(tcp(port, (VIP, 8080), SYN)).build();
        let server = destination(&harness.forward(CLIENT_LINK, &frame).1);
        for _ in 0..2 {
            let frame = from_client(tcp(port, (VIP, 8080), ACK)).build();
            assert_eq!(destination(&harness.forward(CLIENT_LINK, &frame).1), server);
        }
        *chosen.entry(server).or_insert(0) += 1;
    }
    assert!(SERVERS.iter().all(|server| chosen[server] >= 16), "{chosen:?}");
    assert_eq!(vip_counts(&harness, 0), [128, 64, 0, 0]);
}

#[test]
fn no_server() {
    let mut world = balanced_world();
    world.balanced.add_vip(VIP, Protocol::Tcp, 9090, 80);
    let mut harness = Harness::new(world);
    let frame = from_client(tcp(4000, (VIP, 9090), SYN)).build();
    harness.expect_drop(CLIENT_LINK, &frame, VIP_NODE, "no server configured");
    assert_eq!(vip_counts(&harness, 2), [0, 0, 0, 1]);
    assert_eq!(harness.worker.state.sticky.used(), 0);
}

#[test]
fn defect_16_an_unroutable_server_is_counted() {
    let mut world = balanced_world();
    let vip = world.balanced.add_vip(VIP, Protocol::Tcp, 9090, 80);
    world.balanced.add_server(vip, Ipv4Addr::new(8, 8, 8, 8));
    let mut harness = Harness::new(world);
    let frame = from_client(tcp(4000, (VIP, 9090), SYN)).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "no route to the server");
}

#[test]
fn defect_16_a_server_with_a_vips_address_makes_no_loop() {
    let mut world = balanced_world();
    let vip = world.balanced.add_vip(VIP, Protocol::Tcp, 9090, 8080);
    world.balanced.add_server(vip, VIP);
    let mut harness = Harness::new(world);
    let frame = from_client(tcp(4000, (VIP, 9090), SYN)).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "no route to the server");
}

#[test]
fn a_full_table_forwards_untracked() {
    let mut world = balanced_world();
    world.balanced.buckets = 1;
    let mut harness = Harness::new(world);
    for port in 1..=6 {
        let frame = from_client(tcp(port, (VIP, 8080), SYN)).build();
        assert_eq!(harness.forward(CLIENT_LINK, &frame).0, SERVER_LINK);
    }
    assert_eq!(vip_counts(&harness, 0), [0, 4, 2, 0]);
}

/// Two VIPs to the same port of the same AS.
fn shared_world() -> testkit::world::World {
    let mut world = balanced_world();
    let vip = world.balanced.add_vip(VIP, Protocol::Tcp, 9090, 80);
    for server in SERVERS {
        world.balanced.add_server(vip, server);
    }
    world
}

#[test]
fn a_full_table_drops_where_replies_need_an_entry() {
    let mut world = shared_world();
    world.balanced.buckets = 1;
    let mut harness = Harness::new(world);
    for port in 1..=4 {
        let frame = from_client(tcp(port, (VIP, 8080), ACK)).build();
        harness.forward(CLIENT_LINK, &frame);
    }
    let frame = from_client(tcp(5, (VIP, 8080), SYN)).build();
    harness.expect_drop(CLIENT_LINK, &frame, VIP_NODE, "sticky table full");
}

#[test]
fn defect_22_one_client_port_never_means_two_flows_at_one_server() {
    let mut harness = Harness::new(shared_world());
    let mut through = |port, vip_port| {
        let frame = from_client(tcp(port, (VIP, vip_port), SYN)).build();
        destination(&harness.forward(CLIENT_LINK, &frame).1)
    };
    for port in 1000..1032 {
        assert_ne!(through(port, 8080), through(port, 9090));
    }
}

#[test]
fn the_client_port_may_be_in_use_at_every_server() {
    let mut world = shared_world();
    let vip = world.balanced.add_vip(VIP, Protocol::Tcp, 9191, 80);
    for server in SERVERS {
        world.balanced.add_server(vip, server);
    }
    let mut harness = Harness::new(world);
    for vip_port in [8080, 9090] {
        harness.forward(CLIENT_LINK, &from_client(tcp(1000, (VIP, vip_port), SYN)).build());
    }
    let frame = from_client(tcp(1000, (VIP, 9191), SYN)).build();
    harness.expect_drop(CLIENT_LINK, &frame, VIP_NODE, "nat tuple in use");
}

#[test]
fn defect_14_mtu_is_checked_before_the_translation() {
    let mut world = balanced_world();
    world.interface(SERVER_LINK).mtu = 600;
    let mut harness = Harness::new(world);
    let big = |builder: PacketBuilder| from_client(builder.data(vec![1; 600]));
    let frame = big(tcp(4000, (VIP, 8080), ACK)).dont_fragment().build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(interface, CLIENT_LINK);
    validated(&sent);
    assert_eq!(sent[L2 + 20..L2 + 28][..2], [3, 4]);
    assert_eq!(sent[L2 + 26..L2 + 28], 600_u16.to_be_bytes());
    assert_eq!(sent[L2 + 28..], frame[L2..L2 + 548]);
    assert_eq!(harness.counter(NODE, "ip4 MTU exceeded and DF set"), 1);
    let frame = big(tcp(4000, (VIP, 8080), ACK)).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "mtu exceeded");
}

#[test]
fn a_ttl_that_runs_out_is_told_to_the_client_in_its_own_words() {
    let mut harness = balanced_harness();
    let frame = from_client(tcp(4000, (VIP, 8080), SYN)).ttl(1).build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(interface, CLIENT_LINK);
    let packet = validated(&sent);
    assert_eq!((packet.src_addr(), packet.dst_addr()), (OUR_CLIENT_SIDE, CLIENT));
    assert_eq!(sent[L2 + 28..], frame[L2..]);
    assert_eq!(harness.counter(VIP_NODE, "ip4 ttl <= 1"), 1);
    assert_eq!(harness.worker.state.sticky.used(), 0);
}

#[test]
fn a_server_that_is_not_resolved_is_waited_for() {
    let mut harness = balanced_harness();
    for server in SERVERS {
        harness.world.forget_neighbor(SERVER_LINK, server);
    }
    harness.publish();
    let frame = from_client(tcp(4000, (VIP, 8080), SYN)).build();
    assert_eq!(harness.receive(CLIENT_LINK, &frame), []);
    let Some(Event::NeighborNeeded { interface: SERVER_LINK, address: IpAddr::V4(address) }) =
        harness.event()
    else {
        panic!("nobody asked for the server")
    };
    harness.world.add_neighbor(SERVER_LINK, address, server_mac(address));
    harness.publish();
    let sent = harness.turn();
    let expected = to_server(address, tcp(4000, (address, 80), SYN)).ttl(63).build();
    assert_eq!(sent, [(SERVER_LINK, expected)]);
}

#[test]
fn a_new_connection_from_the_same_port_works_at_once() {
    let mut harness = balanced_harness();
    let mut send = |flags| {
        let frame = from_client(tcp(4000, (VIP, 8080), flags)).build();
        destination(&harness.forward(CLIENT_LINK, &frame).1)
    };
    let server = send(SYN);
    send(ACK);
    send(0x11);
    assert_eq!(send(SYN), server);
    assert_eq!(vip_counts(&harness, 0), [2, 2, 0, 0]);
}

#[test]
fn a_removed_server_keeps_its_flows_unless_flushed() {
    let mut harness = balanced_harness();
    let frame = from_client(tcp(4000, (VIP, 8080), SYN)).build();
    let server = destination(&harness.forward(CLIENT_LINK, &frame).1);
    let id = balancer::AsId::new(if server == SERVERS[0] { 0 } else { 2 }).unwrap();
    harness.world.balanced.server(id).state = ServerState::Removed;
    harness.publish();
    let frame = from_client(tcp(4000, (VIP, 8080), ACK)).build();
    assert_eq!(destination(&harness.forward(CLIENT_LINK, &frame).1), server);
    harness.world.balanced.server(id).epoch += 1;
    harness.publish();
    assert_ne!(destination(&harness.forward(CLIENT_LINK, &frame).1), server);
}

#[test]
fn a_packet_without_vip_is_dropped() {
    let mut harness = balanced_harness();
    let frame = from_client(tcp(1, (VIP, 8080), SYN)).build();
    assert_eq!(harness.inject(NODE, CLIENT_LINK, &frame, |lanes| lanes.vip[0] = 4711), []);
    assert_eq!(harness.counter(NODE, "VIP missing"), 1);
}

#[test]
fn a_trace_names_vip_and_server() {
    let mut harness = balanced_harness();
    let node = harness.node("dpdk-input");
    harness.shared().arm_trace(node, 1);
    let frame = from_client(tcp(4000, (VIP, 8080), SYN)).build();
    let server = destination(&harness.forward(CLIENT_LINK, &frame).1);
    let id = if server == SERVERS[0] { 0 } else { 2 };
    let mut details = Vec::new();
    while let Some(record) = harness.shared().next_trace() {
        if let TraceDetail::Lb { vip, server } = record.detail {
            details.push((vip, server));
        }
    }
    assert_eq!(details, [(Some(0), Some(id)); 2]);
}

proptest! {
    #[test]
    fn any_packet_there_equals_a_full_recompute(
        client: [u8; 3],
        port: u16,
        flags: u8,
        is_udp: bool,
        data in prop::collection::vec(any::<u8>(), 0..64),
        ttl in 2..=255_u8,
    ) {
        let client = Ipv4Addr::new(20, client[0], client[1], client[2]);
        let build = |to: Ipv4Addr, ports: [u16; 2]| {
            let builder = if is_udp {
                PacketBuilder::udp((client, port), (to, ports[1]))
            } else {
                PacketBuilder::tcp((client, port), (to, ports[0]), flags)
            };
            builder.data(data.clone())
        };
        let mut harness = balanced_harness();
        let frame = from_client(build(VIP, [8080, 20000])).ttl(ttl).build();
        let (_, sent) = harness.forward(CLIENT_LINK, &frame);
        let server = destination(&sent);
        let expected = to_server(server, build(server, [80, 3307])).ttl(ttl - 1).build();
        prop_assert_eq!(sent, expected);
    }
}
