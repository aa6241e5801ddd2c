//! Flows of VIPs of every kind: IPv6, prefixes, port ranges, all ports, node ports; with replies
//! past us and through us.

use std::net::{Ipv4Addr, Ipv6Addr};

use balancer::{
    Address, ApplicationServer, Decision, FlowTuple, Ports, Prefix, Protocol, ReplyVerdict,
    TargetPort, TcpFlags, VipSpec, Why,
};

use crate::world::*;

const RANGE: Ports = Ports::Range { protocol: Protocol::Tcp, first: 100, last: 199 };

fn vip(n: u32, address: &str, len: u8, ports: Ports, target: TargetPort, nat: bool) -> VipSpec {
    let prefix = Prefix::new(address.parse().unwrap(), len).unwrap();
    let key = balancer::VipKey { prefix, ports };
    VipSpec { key, target, nat, ..spec(n, Protocol::Tcp) }
}

fn server_at(id: u32, vip: u32, address: &str) -> ApplicationServer {
    ApplicationServer { address: address.parse().unwrap(), ..server(id, vip, 0) }
}

fn tuple<A: Address>(client: &str, port: u16, dst: &str, dst_port: u16) -> FlowTuple<A> {
    let [src, dst] = [client, dst].map(|text| A::from_ip(text.parse().unwrap()).unwrap());
    FlowTuple { src, dst, src_port: port, dst_port, protocol: 6 }
}

fn v4(port: u16, dst: &str, dst_port: u16) -> FlowTuple<Ipv4Addr> {
    tuple("10.10.10.1", port, dst, dst_port)
}

fn v6(port: u16, dst: &str, dst_port: u16) -> FlowTuple<Ipv6Addr> {
    tuple("2001:db8:c::1", port, dst, dst_port)
}

/// The AS stays when the new-flow table changes, on every worker, until it is flushed.
fn sticks<A: Address>(world: &mut World, flows: &[FlowTuple<A>]) {
    let ids: Vec<_> = flows.iter().map(|t| world.forward(0, t, ACK).server().unwrap()).collect();
    let template = world.servers[0];
    let address = |n: u32| match template.address {
        std::net::IpAddr::V4(_) => Ipv4Addr::new(192, 168, 9, n as u8).into(),
        std::net::IpAddr::V6(_) => Ipv6Addr::from(0x2001_0db8_00ff << 80 | u128::from(n)).into(),
    };
    for n in 20..30 {
        world.servers.push(ApplicationServer { id: as_id(n), address: address(n), ..template });
    }
    world.publish();
    for (flow, &id) in flows.iter().zip(&ids) {
        assert_eq!(world.forward(0, flow, ACK), Decision::Existing(id), "{flow:?}");
        assert_eq!(world.forward(1, flow, ACK), Decision::Existing(id), "adopted: {flow:?}");
    }
    for id in ids {
        let server = world.server_mut(id.get());
        server.epoch = 1;
        server.weight = 0;
    }
    world.publish();
    for flow in flows {
        assert!(world.forward(0, flow, ACK).server().unwrap().get() >= 20, "{flow:?}");
    }
}

#[test]
fn flows_stick_without_nat() {
    let specs = [
        vip(1, "20.0.0.1", 32, Ports::one(Protocol::Tcp, 80), TargetPort::Keep, false),
        vip(2, "20.0.1.0", 24, Ports::All, TargetPort::Keep, false),
        vip(3, "20.0.0.1", 32, RANGE, TargetPort::Keep, false),
    ];
    let flows = [v4(1, "20.0.0.1", 80), v4(1, "20.0.1.7", 5), v4(1, "20.0.0.1", 150)];
    for (spec, flow) in specs.into_iter().zip(flows) {
        let servers = vec![server(0, spec.id.get(), 1), server(1, spec.id.get(), 2)];
        let mut world = World::new(vec![spec], servers, 64);
        let flows: Vec<_> = (0..40).map(|port| FlowTuple { src_port: port, ..flow }).collect();
        sticks(&mut world, &flows);
    }
}

#[test]
fn ipv6_flows_stick() {
    for nat in [false, true] {
        let ports = Ports::one(Protocol::Tcp, 80);
        let spec = vip(1, "2001:db8:20::1", 128, ports, TargetPort::Keep, nat);
        let servers = vec![server_at(0, 1, "2001:db8:5::1"), server_at(1, 1, "2001:db8:5::2")];
        let mut world = World::new(vec![spec], servers, 64);
        let flows: Vec<_> = (0..40).map(|port| v6(port, "2001:db8:20::1", 80)).collect();
        sticks(&mut world, &flows);
    }
}

/// One client port, many addresses and ports of one VIP: each is a flow of its own.
#[test]
fn a_flow_is_its_whole_tuple() {
    for nat in [false, true] {
        let spec = vip(1, "20.0.1.0", 24, RANGE, TargetPort::Keep, nat);
        let servers = (0..8).map(|n| server(n, 1, n as u8 + 1)).collect();
        let mut world = World::new(vec![spec], servers, 64);
        let flows: Vec<_> = (0..6u16).map(|n| v4(7, &format!("20.0.1.{n}"), 100 + n)).collect();
        for flow in &flows {
            assert!(matches!(world.forward(0, flow, SYN), Decision::New(_)));
        }
        assert_eq!(world.workers[0].used(), 6);
        for flow in &flows {
            let Decision::Existing(id) = world.forward(0, flow, ACK) else { panic!("{flow:?}") };
            if nat {
                let vip = world.vip_of(flow).unwrap();
                let reply = world.reply_tuple(&vip, flow, id);
                let expected = ReplyVerdict::Translate {
                    vip: vip_id(1),
                    as_id: id,
                    address: flow.dst,
                    port: flow.dst_port,
                };
                assert_eq!(world.balancer(0).attribute_reply(&reply, ACK), expected);
                assert_eq!(world.balancer(1).attribute_reply(&reply, ACK), expected);
            }
        }
    }
}

/// Replies to node ports leave from the address that the client used.
#[test]
fn node_ports_answer_from_the_address_used() {
    let ports = Ports::one(Protocol::Tcp, 443);
    let spec = vip(1, "20.0.0.1", 32, ports, TargetPort::One(8443), true);
    let spec = VipSpec { node_port: Some(30_443), ..spec };
    let mut world = World::new(vec![spec], vec![server(0, 1, 1), server(1, 1, 2)], 64);
    let tables = &world.tables;
    assert_eq!(tables.find_node_port(false, 6, 30_443), Some(vip_id(1)));
    for (v6, protocol, port) in [(true, 6, 30_443), (false, 17, 30_443), (false, 6, 443)] {
        assert_eq!(tables.find_node_port(v6, protocol, port), None);
    }
    let vip = tables.vip(vip_id(1)).unwrap().clone();
    assert_eq!((vip.target_port(30_443), vip.target_port(443)), (8443, 8443));
    for (n, flow) in
        [v4(1, "10.10.1.1", 30_443), v4(2, "10.10.2.1", 30_443), v4(3, "20.0.0.1", 443)]
            .into_iter()
            .enumerate()
    {
        let decision = world.balancer(n % 2).select(&vip, &flow, SYN);
        let Decision::New(as_id) = decision else { panic!("{decision:?}") };
        let reply = world.reply_tuple(&vip, &flow, as_id);
        assert_eq!(reply.src_port, 8443);
        let (address, port) = (flow.dst, flow.dst_port);
        let expected = ReplyVerdict::Translate { vip: vip_id(1), as_id, address, port };
        for worker in [0, 1] {
            assert_eq!(world.balancer(worker).attribute_reply(&reply, ACK), expected);
        }
        let unknown = FlowTuple { dst_port: 99, ..reply };
        assert_eq!(world.balancer(0).attribute_reply(&unknown, ACK), ReplyVerdict::NoFlow);
    }
}

/// Where an AS's port names one port of the VIP, no entry is needed.
#[test]
fn ranges_translate_back_without_flows() {
    let spec = vip(1, "20.0.0.1", 32, RANGE, TargetPort::From(8100), true);
    let mut world = World::new(vec![spec], vec![server(0, 1, 1)], 64);
    let reply = v4(0, "10.10.10.1", 5);
    let reply = FlowTuple { src: Ipv4Addr::new(192, 168, 1, 1), src_port: 8142, ..reply };
    let address = Ipv4Addr::new(20, 0, 0, 1);
    let expected = ReplyVerdict::Translate { vip: vip_id(1), as_id: as_id(0), address, port: 142 };
    assert_eq!(world.balancer(0).attribute_reply(&reply, ACK), expected);
    for src_port in [8099, 8200] {
        let stranger = FlowTuple { src_port, ..reply };
        let verdict = world.balancer(0).attribute_reply(&stranger, ACK);
        assert_eq!(verdict, ReplyVerdict::NotMapped);
    }
}

/// D-03 and its exception, for full entries: without one nobody could tell whom a reply answers.
#[test]
fn full_buckets_drop_only_what_needs_an_entry() {
    for (prefix, len, nat, late) in [
        ("20.0.1.0", 24, true, None),
        ("20.0.1.1", 32, true, Some(())),
        ("20.0.1.0", 24, false, Some(())),
    ] {
        let spec = vip(1, prefix, len, RANGE, TargetPort::Keep, nat);
        let mut world = World::new(vec![spec], vec![server(0, 1, 1)], 1);
        for port in 0..4 {
            let decision = world.forward(0, &v4(port, "20.0.1.1", 100), ACK);
            assert_eq!(decision, Decision::New(as_id(0)));
        }
        let decision = world.forward(0, &v4(9, "20.0.1.1", 100), ACK);
        let expected = late.map_or(Decision::TableFullDrop, |()| Decision::Untracked(as_id(0)));
        assert_eq!(decision, expected, "{prefix}/{len} nat {nat}");
    }
}

/// Protocols without ports are hashed by their addresses, and live as UDP does.
#[test]
fn other_protocols_go_to_all_port_vips() {
    let spec = vip(1, "20.0.1.0", 24, Ports::All, TargetPort::Keep, false);
    let servers = (0..4).map(|n| server(n, 1, n as u8 + 1)).collect();
    let mut world = World::new(vec![spec], servers, 64);
    for protocol in [50, 132, 47] {
        let flow = FlowTuple { protocol, ..v4(0, "20.0.1.9", 0) };
        let id = world.forward(0, &flow, TcpFlags::NONE).server().unwrap();
        assert_eq!(world.forward(0, &flow, TcpFlags::NONE), Decision::Existing(id));
        let others: Vec<_> = (0..64)
            .map(|n| {
                world.forward(
                    0,
                    &FlowTuple { src: Ipv4Addr::new(9, 9, 9, n), ..flow },
                    TcpFlags::NONE,
                )
            })
            .collect();
        assert!((0..4).all(|n| others.contains(&Decision::New(as_id(n)))), "spread over all");
        world.now_s += 39;
        assert_eq!(world.forward(0, &flow, TcpFlags::NONE), Decision::Existing(id));
        world.now_s += 40;
        assert_eq!(world.forward(0, &flow, TcpFlags::NONE), Decision::New(id));
    }
}

/// A UDP flow that the NIC moves keeps its AS as well.
#[test]
fn moved_udp_flows_are_adopted() {
    let mut world =
        World::new(vec![spec(1, Protocol::Udp)], vec![server(0, 1, 1), server(1, 1, 2)], 64);
    let ids: Vec<_> =
        (0..20).map(|port| world.send(1, port, TcpFlags::NONE).server().unwrap()).collect();
    world.servers.extend((2..9).map(|n| server(n, 1, n as u8 + 1)));
    world.publish();
    for (port, &id) in (0..20).zip(&ids) {
        assert_eq!(world.send_at(1, 1, port, TcpFlags::NONE), Decision::Existing(id));
    }
    // What is over at the peer is not alive here.
    world.now_s += 41;
    let moved = (0..20).map(|port| world.send_at(1, 1, port, TcpFlags::NONE));
    assert!(moved.collect::<Vec<_>>().iter().all(|decision| matches!(decision, Decision::New(_))));
}

/// To ask changes nothing.
#[test]
fn explanations_tell_where_and_why() {
    let mut world = World::one_vip(3);
    let vip = world.tables.vip(vip_id(1)).unwrap().clone();
    let flow = v4(77, "20.20.20.1", 2020);
    let wish = world.wish(1, 77);
    let asked = world.balancer(0).peek(&vip, &flow);
    let hash = world.tables.hasher.hash(&flow, false);
    assert_eq!((asked.server, asked.why), (Some(wish), Why::Slot(vip.table.slot_of(hash))));
    assert_eq!(world.workers[0].used(), 0);
    world.send(1, 77, SYN);
    world.server_mut(wish.get()).weight = 0;
    world.publish();
    let vip = world.tables.vip(vip_id(1)).unwrap().clone();
    let asked = world.balancer(0).peek(&vip, &flow);
    assert_eq!((asked.server, asked.why), (Some(wish), Why::Own));
    let asked = world.balancer(1).peek(&vip, &flow);
    assert_eq!((asked.server, asked.why), (Some(wish), Why::Peer(0)));
    assert_eq!(world.workers[1].used(), 0);
    // Questions do not keep a flow alive: only its own packets do.
    world.now_s += 39;
    let server = Ipv4Addr::new(192, 168, 1, world.last_octet(wish));
    let reply = FlowTuple { src: server, src_port: 80, ..flow.reversed() };
    assert_eq!(world.balancer(0).peek_reply(&reply), translate(1, wish));
    assert_eq!(world.balancer(0).peek(&vip, &flow).why, Why::Own);
    world.now_s += 1;
    assert_ne!(world.balancer(0).peek(&vip, &flow).server, Some(wish));
}

/// The NAT of one family never meets an AS of the other; other methods may.
#[test]
fn families_mix_only_without_nat() {
    let ports = Ports::one(Protocol::Tcp, 80);
    let spec = vip(1, "20.0.0.1", 32, ports, TargetPort::Keep, false);
    let servers = vec![server_at(0, 1, "2001:db8:5::1"), server(1, 1, 1)];
    let mut world = World::new(vec![spec], servers, 64);
    let ids: Vec<_> =
        (0..50).map(|port| world.forward(0, &v4(port, "20.0.0.1", 80), SYN)).collect();
    assert!(ids.contains(&Decision::New(as_id(0))) && ids.contains(&Decision::New(as_id(1))));
    assert!(world.tables.reverse.endpoints().next().is_none());
}
