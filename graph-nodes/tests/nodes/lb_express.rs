use std::net::Ipv4Addr;

use balancer::{Protocol, Timeouts};
use dataplane::interface::MacAddress;
use testkit::harness::Harness;
use testkit::packet_builder::PacketBuilder;

use crate::plan::{
    CLIENT, CLIENT_LINK, HOST, OUR_CLIENT_SIDE, SERVER_LINK, SERVERS, VIP, balanced_harness,
    balanced_world, destination, from_client, from_host, from_server, vip_counts, world,
};

const NODE: &str = "lb-express";
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;

fn tcp(port: u16, flags: u8) -> PacketBuilder {
    from_client(PacketBuilder::tcp((CLIENT, port), (VIP, 8080), flags).data(*b"GET / HTTP/1.1"))
}

fn udp(port: u16) -> PacketBuilder {
    from_client(PacketBuilder::udp((CLIENT, port), (VIP, 20000)).data(*b"twelve bytes"))
}

fn on_the_express_way(harness: &Harness) -> u64 {
    harness.counter(NODE, "packets on the express way")
}

#[test]
fn ordinary_packets_of_both_directions_take_it() {
    let mut harness = balanced_harness();
    let (_, frame) = harness.forward(CLIENT_LINK, &tcp(4000, SYN).build());
    harness.forward(CLIENT_LINK, &tcp(4000, ACK).build());
    let server: Ipv4Addr = destination(&frame);
    let answer = PacketBuilder::tcp((server, 80), (CLIENT, 4000), ACK).data(*b"HTTP/1.1 200 OK");
    harness.forward(SERVER_LINK, &from_server(server, answer).build());
    harness.forward(CLIENT_LINK, &udp(5000).build());
    // The shortest frame that a virtual port can bring.
    let short = from_client(PacketBuilder::udp((CLIENT, 5000), (VIP, 20000)));
    harness.forward(CLIENT_LINK, &short.build());
    assert_eq!(on_the_express_way(&harness), 5, "{:?}", harness.counters());
    assert_eq!(harness.counter(NODE, "good nat4 in2out packets processed"), 1);
    assert_eq!(vip_counts(&harness, 0), [1, 1, 0, 0]);
    assert_eq!(vip_counts(&harness, 1), [1, 1, 0, 0]);
    assert_eq!(harness.shared().interfaces[CLIENT_LINK.index()].ip4.get(), 4);
    assert_eq!(harness.shared().interfaces[SERVER_LINK.index()].ip4.get(), 1);
    let info = harness.worker.graph.info();
    for plain in ["ethernet-input", "ip4-input", "lb4-vip", "lb4-nat4", "lb-nat4-in2out"] {
        let node = usize::from(info.node(plain).unwrap());
        assert_eq!(harness.shared().nodes[node].vectors.get(), 0, "{plain}");
    }
}

#[test]
fn whatever_is_not_ordinary_goes_to_the_other_nodes() {
    let mut harness = balanced_harness();
    harness.forward(CLIENT_LINK, &udp(5000).build());
    let taken = on_the_express_way(&harness);
    for (what, frame) in [
        ("options", udp(5000).ip_options(&[1, 1, 1, 1]).build()),
        ("no hop left", udp(5000).ttl(1).build()),
        ("a wrong checksum", udp(5000).bad_ip_checksum().build()),
        (
            "another station's",
            udp(5000).macs(MacAddress([2, 9, 9, 9, 9, 9]), MacAddress([2; 6])).build(),
        ),
        ("no VIP's port", from_client(PacketBuilder::udp((CLIENT, 5000), (VIP, 1))).build()),
        ("for us", from_client(PacketBuilder::udp((CLIENT, 5000), (SERVERS[0], 9))).build()),
        ("ARP", vec![0xff; 60]),
    ] {
        harness.receive(CLIENT_LINK, &frame);
        assert_eq!(on_the_express_way(&harness), taken, "{what}");
    }
    harness.forward(CLIENT_LINK, &udp(5000).build());
    assert_eq!(on_the_express_way(&harness), taken + 1);
}

/// What an interface brings for the station of another one is not for us, though it be like what that
/// one brings.
#[test]
fn packets_from_another_interface_fit_no_pattern() {
    let mut harness = balanced_harness();
    harness.forward(CLIENT_LINK, &udp(5000).build());
    for link in [CLIENT_LINK, SERVER_LINK, CLIENT_LINK] {
        harness.arrive(link, &udp(5000).build());
    }
    assert_eq!(harness.turn().len(), 2);
}

/// Nobody else has our addresses, nor those that outer headers come from, though all else be as it should.
#[test]
fn packets_from_our_own_addresses_fit_no_pattern() {
    let mut world = balanced_world();
    let outer = Ipv4Addr::new(203, 0, 113, 9);
    world.tunnel_policy.source4 = Some(outer);
    let mut harness = Harness::new(world);
    harness.forward(CLIENT_LINK, &udp(5000).build());
    let from = |source: Ipv4Addr, port: u16| {
        let packet = PacketBuilder::udp((source, port), (VIP, 20000)).data(*b"twelve bytes");
        from_client(packet).build()
    };
    for (source, port) in
        [(CLIENT, 6000), (OUR_CLIENT_SIDE, 6001), (CLIENT, 6002), (outer, 6003), (CLIENT, 6004)]
    {
        harness.arrive(CLIENT_LINK, &from(source, port));
    }
    let sent = harness.turn();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|(_, frame)| SERVERS.contains(&destination(frame))));
    assert_eq!(harness.counter("ip4-input", "ip4 spoofed local-address packet drops"), 2);
    assert_eq!(vip_counts(&harness, 1), [0, 4, 0, 0]);
    assert_eq!(on_the_express_way(&harness), 4);
}

/// Two patterns, whose packets leave by different interfaces.
#[test]
fn packets_of_two_vips_in_turns_leave_where_their_servers_are() {
    let mut world = world();
    let near = Ipv4Addr::from_bits(OUR_CLIENT_SIDE.to_bits() ^ 0x40);
    for (link, server, port) in [(SERVER_LINK, SERVERS[0], 20000), (CLIENT_LINK, near, 20001)] {
        world.add_neighbor(link, server, MacAddress([2, 0, 0, 0, 3, 7]));
        let vip = world.balanced.add_vip(VIP, Protocol::Udp, port, 3307);
        world.balanced.add_server(vip, server);
    }
    let mut harness = Harness::new(world);
    let to =
        |vip_port| from_client(PacketBuilder::udp((CLIENT, 5000), (VIP, vip_port)).data(*b"one"));
    let mut expected = Vec::new();
    for port in [20000, 20001, 20000, 20001] {
        expected.push(harness.forward(CLIENT_LINK, &to(port).build()));
    }
    assert_eq!(expected[0].0, SERVER_LINK);
    assert_eq!(expected[1].0, CLIENT_LINK);
    for port in [20000, 20001, 20000, 20001] {
        harness.arrive(CLIENT_LINK, &to(port).build());
    }
    let mut sent = harness.turn();
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected);
    assert_eq!(on_the_express_way(&harness), 8);
}

/// In one group, each by the interface of its AS.
#[test]
fn packets_of_one_vip_leave_where_their_servers_are() {
    let mut world = world();
    let near = Ipv4Addr::from_bits(OUR_CLIENT_SIDE.to_bits() ^ 0x40);
    let vip = world.balanced.add_vip(VIP, Protocol::Udp, 20000, 3307);
    for (link, server) in [(SERVER_LINK, SERVERS[0]), (CLIENT_LINK, near)] {
        world.add_neighbor(link, server, MacAddress([2, 0, 0, 0, 3, 7]));
        world.balanced.add_server(vip, server);
    }
    let mut harness = Harness::new(world);
    let mut expected: Vec<_> =
        (6000..6020).map(|port| harness.forward(CLIENT_LINK, &udp(port).build())).collect();
    (6000..6020).for_each(|port| harness.arrive(CLIENT_LINK, &udp(port).build()));
    let mut sent = harness.turn();
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected);
    for (link, server) in [(SERVER_LINK, SERVERS[0]), (CLIENT_LINK, near)] {
        assert!(sent.iter().any(|(of, frame)| *of == link && destination(frame) == server));
    }
    assert_eq!(on_the_express_way(&harness), 40);
}

/// What came behind it would overtake a packet that took the long way.
#[test]
fn packets_behind_one_that_is_not_ordinary_follow_it() {
    let mut harness = balanced_harness();
    harness.forward(CLIENT_LINK, &tcp(4000, SYN).build());
    let taken = on_the_express_way(&harness);
    harness.arrive(CLIENT_LINK, &tcp(4000, ACK).ip_options(&[1, 1, 1, 1]).build());
    harness.arrive(CLIENT_LINK, &tcp(4000, FIN_ACK).build());
    let sent = harness.turn();
    let lengths: Vec<usize> = sent.iter().map(|(_, frame)| frame.len()).collect();
    assert_eq!(lengths.len(), 2);
    assert!(lengths[0] > lengths[1], "the one with options comes first: {lengths:?}");
    assert_eq!(on_the_express_way(&harness), taken);
    harness.forward(CLIENT_LINK, &tcp(4000, ACK).build());
    assert_eq!(on_the_express_way(&harness), taken + 1);
}

/// Most packets of a burst are the first of their flows in a second: each flow lives on from then.
#[test]
fn flows_of_a_burst_live_on_from_its_second() {
    let timeout_s = u32::from(Timeouts::default().udp_s);
    let mut harness = balanced_harness();
    let mut turn = |after_s: u32, ports: &[u16]| {
        harness.wait(after_s);
        ports.iter().for_each(|port| harness.arrive(CLIENT_LINK, &udp(*port).build()));
        assert_eq!(harness.turn().len(), ports.len());
        let [existing, new, ..] = vip_counts(&harness, 1);
        (existing, new)
    };
    let all: Vec<u16> = (6000..6020).collect();
    assert_eq!(turn(0, &all), (0, 20));
    assert_eq!(turn(timeout_s - 1, &all), (20, 20));
    assert_eq!(turn(timeout_s - 1, &all), (40, 20));
    assert_eq!(turn(1, &all[..7]), (47, 20));
    // The second half comes too late, between those that live.
    let mixed: Vec<u16> = (0..7).flat_map(|at| [all[at], all[at + 7]]).collect();
    assert_eq!(turn(timeout_s - 1, &mixed), (54, 27));
}

/// It is left as it came, among those of its group.
#[test]
fn a_packet_of_a_known_flow_that_is_too_long_goes_to_the_other_nodes() {
    let mut harness = balanced_harness();
    for port in 6000..6010 {
        harness.forward(CLIENT_LINK, &udp(port).build());
    }
    let taken = on_the_express_way(&harness);
    let long = PacketBuilder::udp((CLIENT, 6004), (VIP, 20000)).data([7; 1480]).dont_fragment();
    for port in 6000..6010 {
        let frame = if port == 6004 { from_client(long.clone()) } else { udp(port) };
        harness.arrive(CLIENT_LINK, &frame.build());
    }
    let sent = harness.turn();
    let (to_servers, back): (Vec<_>, Vec<_>) =
        sent.iter().partition(|(link, _)| *link == SERVER_LINK);
    assert_eq!((to_servers.len(), back.len()), (9, 1));
    assert!(to_servers.iter().all(|(_, frame)| SERVERS.contains(&destination(frame))));
    assert_eq!(destination(&back[0].1), CLIENT, "it is told so");
    assert_eq!(on_the_express_way(&harness), taken + 4, "those behind it are of the same client");
}

#[test]
fn while_a_node_waits_for_packets_to_trace_nobody_takes_it() {
    let mut harness = balanced_harness();
    let node = harness.node("lb4-nat4");
    harness.shared().arm_trace(node, 1);
    harness.forward(CLIENT_LINK, &udp(5000).build());
    assert_eq!(on_the_express_way(&harness), 0);
    harness.forward(CLIENT_LINK, &udp(5000).build());
    assert_eq!(on_the_express_way(&harness), 1, "the node has its packet");
    let node = harness.node(NODE);
    harness.shared().arm_trace(node, 1);
    harness.forward(CLIENT_LINK, &udp(5000).build());
    assert_eq!(on_the_express_way(&harness), 2, "it can be traced itself");
}

/// Where packets are only routed, trying all of them would cost as much as a node.
#[test]
fn frames_without_anything_for_it_go_past_for_a_while() {
    let mut harness = balanced_harness();
    harness.forward(CLIENT_LINK, &udp(5000).build());
    let vectors =
        |harness: &Harness| harness.shared().nodes[usize::from(harness.node(NODE))].vectors.get();
    let before = vectors(&harness);
    for _ in 0..40 {
        harness.arrive(CLIENT_LINK, &crate::plan::transit().build());
    }
    assert_eq!(harness.turn().len(), 40);
    assert_eq!(vectors(&harness), before + 40);
    let taken = on_the_express_way(&harness);
    for _ in 0..15 {
        harness.forward(CLIENT_LINK, &udp(5000).build());
    }
    assert_eq!(on_the_express_way(&harness), taken);
    harness.forward(CLIENT_LINK, &udp(5000).build());
    assert_eq!(on_the_express_way(&harness), taken + 1);
}

/// A service of one VIP names it; a reply needs no flow then, and leaves none.
#[test]
fn replies_without_a_flow_take_it_where_the_service_says_it_all() {
    let mut harness = balanced_harness();
    let answer =
        PacketBuilder::tcp((SERVERS[0], 80), (CLIENT, 4000), ACK).data(*b"HTTP/1.1 200 OK");
    let (link, frame) = harness.forward(SERVER_LINK, &from_server(SERVERS[0], answer).build());
    assert_eq!(link, CLIENT_LINK);
    let source = testkit::packet_builder::validated(&frame).src_addr();
    assert_eq!((source, on_the_express_way(&harness)), (VIP, 1));
    assert_eq!(harness.worker.state.sticky.used(), 0);
}

/// Each of nine VIPs has timeouts of its own, which is two more than the express way keeps: their
/// packets go the other way, and all flows live as long as their VIP says, whichever way it is and
/// whoever has spoken last.
#[test]
fn vips_with_one_set_of_timeouts_too_many_go_past_it() {
    const COUNT: u16 = 9;
    let mut world = balanced_world();
    let (server, usual) = (SERVERS[0], Timeouts::default());
    for n in 0..COUNT {
        let id = world.balanced.add_vip(VIP, Protocol::Udp, 21_000 + n, 4000 + n);
        world.balanced.add_server(id, server);
        world.balanced.vip(id).timeouts = Some(Timeouts { udp_s: 10 + n, ..usual });
    }
    let mut harness = Harness::new(world);
    for n in 0..COUNT {
        let ask = PacketBuilder::udp((CLIENT, 5000), (VIP, 21_000 + n)).data(*b"twelve bytes");
        let answer = PacketBuilder::udp((server, 4000 + n), (CLIENT, 5000)).data(*b"bytes twelve");
        let (ask, answer) = (from_client(ask).build(), from_server(server, answer).build());
        let timeout_s = u32::from(10 + n);
        let before = on_the_express_way(&harness);
        for (link, frame, after_s, counts) in [
            (CLIENT_LINK, &ask, 0, [0, 1, 0, 0]),
            (CLIENT_LINK, &ask, timeout_s - 1, [1, 1, 0, 0]),
            (SERVER_LINK, &answer, timeout_s - 1, [1, 1, 0, 0]),
            (CLIENT_LINK, &ask, timeout_s - 1, [2, 1, 0, 0]),
            (CLIENT_LINK, &ask, timeout_s, [2, 2, 0, 0]),
        ] {
            harness.wait(after_s);
            harness.forward(link, frame);
            assert_eq!(vip_counts(&harness, 2 + usize::from(n)), counts, "VIP {n}");
        }
        let taken = on_the_express_way(&harness) - before;
        assert_eq!(taken, if n < 7 { 5 } else { 0 }, "VIP {n}");
    }
}

/// What is remembered of services has a place for each by a hash: two of a burst may have the same.
#[test]
fn replies_of_many_services_come_from_the_vips_they_are_of() {
    const SERVICES: u16 = 200;
    /// Many ports that differ by this have the same place.
    const APART: u16 = 3791;
    let port = |service: u16| 1001 + 37 * (service / 2) + service % 2 * APART;
    let mut world = balanced_world();
    for service in 0..SERVICES {
        let vip = world.balanced.add_vip(VIP, Protocol::Udp, 30_000 + service, port(service));
        world.balanced.add_server(vip, SERVERS[0]);
    }
    let mut harness = Harness::new(world);
    // Each round in another order, so that any two are in one group sooner or later.
    for step in (1..60).step_by(2).filter(|step| !SERVICES.is_multiple_of(*step)) {
        for at in 0..SERVICES {
            let service = at * step % SERVICES;
            let from = (SERVERS[0], port(service));
            let answer = PacketBuilder::udp(from, (CLIENT, 2000 + service)).data(*b"twelve bytes");
            harness.arrive(SERVER_LINK, &from_server(SERVERS[0], answer).build());
        }
        let sent = harness.turn();
        assert_eq!(sent.len(), usize::from(SERVICES));
        for (_, frame) in sent {
            let packet = testkit::packet_builder::validated(&frame);
            assert_eq!(packet.src_addr(), VIP);
            let ports = [34, 36].map(|at| u16::from_be_bytes([frame[at], frame[at + 1]]));
            assert_eq!(ports[0] - 30_000, ports[1] - 2000, "round {step}");
        }
    }
    assert!(on_the_express_way(&harness) > 0);
}

/// More clients on the link than next hops are remembered, whose Ethernet addresses change.
#[test]
fn replies_go_where_the_last_snapshot_says() {
    const CLIENTS: u8 = 100;
    let client = |number| Ipv4Addr::new(10, 10, 10, 100 + number);
    let mut harness = balanced_harness();
    for step in [1, 3, 7] {
        let mac = |number: u8| MacAddress([2, 0, 0, step, 4, number]);
        for number in 0..CLIENTS {
            harness.world.add_neighbor(CLIENT_LINK, client(number), mac(number));
        }
        harness.publish();
        for _ in 0..3 {
            for at in 0..CLIENTS {
                let number = (u16::from(at) * u16::from(step) % u16::from(CLIENTS)) as u8;
                let ends = ((SERVERS[0], 3307), (client(number), 4000));
                let answer = PacketBuilder::udp(ends.0, ends.1).data(*b"twelve bytes");
                harness.arrive(SERVER_LINK, &from_server(SERVERS[0], answer).build());
            }
            let sent = harness.turn();
            assert_eq!(sent.len(), usize::from(CLIENTS));
            for (link, frame) in sent {
                let number = destination(&frame).octets()[3] - 100;
                assert_eq!((link, &frame[..6]), (CLIENT_LINK, &mac(number).0[..]));
            }
        }
    }
    assert_eq!(on_the_express_way(&harness), 9 * u64::from(CLIENTS));
    harness.world.interface(CLIENT_LINK).mtu = 30;
    harness.publish();
    let answer = PacketBuilder::udp((SERVERS[0], 3307), (client(0), 4000)).data(*b"twelve bytes");
    harness.receive(SERVER_LINK, &from_server(SERVERS[0], answer).build());
    assert_eq!(on_the_express_way(&harness), 9 * u64::from(CLIENTS));
}

/// An AS that says something about a client's connection to another one.
#[test]
fn replies_of_another_server_do_nothing_to_a_flow() {
    let mut harness = balanced_harness();
    let (_, frame) = harness.forward(CLIENT_LINK, &tcp(4000, SYN).build());
    let server: Ipv4Addr = destination(&frame);
    let other = if server == SERVERS[0] { SERVERS[1] } else { SERVERS[0] };
    let answer = |from, flags| {
        let answer =
            PacketBuilder::tcp((from, 80), (CLIENT, 4000), flags).data(*b"HTTP/1.1 200 OK");
        from_server(from, answer).build()
    };
    for _ in 0..3 {
        harness.forward(SERVER_LINK, &answer(server, ACK));
        harness.forward(CLIENT_LINK, &tcp(4000, ACK).build());
    }
    let entries = |harness: &Harness| {
        let table = harness.worker.state.sticky.table();
        (0..table.capacity()).filter_map(|at| table.entry(at)).collect::<Vec<_>>()
    };
    let before = entries(&harness);
    assert_eq!(before.len(), 1);
    let taken = on_the_express_way(&harness);
    harness.forward(SERVER_LINK, &answer(other, FIN_ACK));
    assert_eq!(on_the_express_way(&harness), taken + 1);
    assert_eq!(entries(&harness), before);
    harness.forward(SERVER_LINK, &answer(server, FIN_ACK));
    assert_ne!(entries(&harness), before);
}

/// With one arm, requests and replies come from one link, between each other.
#[test]
fn requests_and_replies_of_one_link_take_it_together() {
    let mut harness = balanced_harness();
    let from = |at: u16| (HOST, 5000 + at);
    let request = |at: u16| {
        let packet = PacketBuilder::udp(from(at), (VIP, 20000)).data(*b"what time is it, please?");
        from_host(packet).build()
    };
    for round in 0..3 {
        let before = on_the_express_way(&harness);
        for at in 0..20 {
            harness.arrive(SERVER_LINK, &request(at));
            if round > 0 {
                let answer = PacketBuilder::udp((SERVERS[0], 3307), from(at)).data([7; 24]);
                harness.arrive(SERVER_LINK, &from_server(SERVERS[0], answer).build());
            }
        }
        let sent = harness.turn();
        assert_eq!(sent.len(), if round > 0 { 40 } else { 20 });
        for (_, frame) in &sent {
            let packet = testkit::packet_builder::validated(frame);
            let (source, target) = (packet.src_addr(), packet.dst_addr());
            let right = if target == HOST { source == VIP } else { SERVERS.contains(&target) };
            assert!(right, "{source} to {target}");
        }
        assert_eq!(on_the_express_way(&harness) - before, sent.len() as u64, "round {round}");
    }
}

/// More services at once than patterns are kept, and some of them again and again.
#[test]
fn packets_to_many_services_in_any_order() {
    const SERVICES: u16 = 40;
    let mut world = balanced_world();
    for service in 0..SERVICES {
        let vip = world.balanced.add_vip(VIP, Protocol::Udp, 30_000 + service, 1000 + service);
        world.balanced.add_server(vip, SERVERS[usize::from(service) % 2]);
    }
    let mut harness = Harness::new(world);
    let mut random = 1_u32;
    for services in [2, 5, SERVICES, 3, SERVICES, 4] {
        for _ in 0..60 {
            let mut wanted = Vec::new();
            for packet in 0..50 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let service = (random >> 16) as u16 % services;
                let from = (CLIENT, 4000 + packet % 7);
                let request = PacketBuilder::udp(from, (VIP, 30_000 + service));
                harness.arrive(CLIENT_LINK, &from_client(request.data([7; 24])).build());
                wanted.push((SERVERS[usize::from(service) % 2], 1000 + service));
            }
            let sent = harness.turn();
            let got = sent
                .iter()
                .map(|(_, frame)| (destination(frame), u16::from_be_bytes([frame[36], frame[37]])));
            assert_eq!(got.collect::<Vec<_>>(), wanted, "{services} services");
        }
    }
    assert_eq!(on_the_express_way(&harness), 6 * 60 * 50);
    let counted: u64 = (0..usize::from(SERVICES) + 2)
        .map(|vip| vip_counts(&harness, vip).iter().sum::<u64>())
        .sum();
    assert_eq!(counted, 6 * 60 * 50);
}
