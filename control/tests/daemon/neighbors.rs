//! Neighbours over the wire of a box in memory.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::event::Event;
use dataplane::fib::FibEntry;
use dataplane::interface::{InterfaceId, MacAddress};
use testkit::packet_builder::arp;

use crate::bench::{Bench, LEFT_MAC, RIGHT_MAC, SERVER_MAC};

/// Target addresses of the ARP requests among `frames`, announcements left out.
fn asked(frames: &[Vec<u8>]) -> Vec<[u8; 4]> {
    let requests = frames.iter().filter(|f| f[12..14] == [8, 6] && f[20..22] == [0, 1]);
    let others = requests.filter(|f| f[28..32] != f[38..42]);
    others.map(|f| f[38..42].try_into().unwrap()).collect()
}

#[test]
fn an_interface_that_comes_up_announces_its_addresses_and_vips() {
    let mut bench = Bench::new(1);
    bench.all(&[
        "set interface ip address left0 10.10.10.254/24",
        "lb vip 10.10.10.100/32 protocol tcp port 80 encap nat4",
        "lb vip 10.10.2.2/32 protocol tcp port 80 encap nat4",
    ]);
    bench.turn();
    assert!(bench.sent(0).is_empty(), "the link is down");
    bench.ok("set interface state left0 up");
    bench.turn();
    let announced: Vec<_> = bench.sent(0).iter().map(|frame| frame[28..32].to_vec()).collect();
    assert_eq!(announced, [vec![10, 10, 10, 100], vec![10, 10, 10, 254]]);
    bench.turn();
    assert!(bench.sent(0).is_empty(), "once is enough");
    bench.ok("lb vip 10.10.10.101/32 protocol tcp port 80 encap nat4");
    bench.turn();
    let frame = bench.sent(0).remove(0);
    assert_eq!((&frame[..6], &frame[28..32]), (&[0xff; 6][..], &[10, 10, 10, 101][..]));
    assert_eq!(frame[6..12], LEFT_MAC.0);
    bench.end();
}

#[test]
fn routers_and_servers_are_looked_for_as_soon_as_they_are_configured() {
    let mut bench = Bench::walkthrough();
    bench.ok("ip route add 0.0.0.0/0 via 10.10.10.1");
    bench.turn();
    assert_eq!(asked(&bench.sent(0)), [[10, 10, 10, 1]]);
    assert_eq!(asked(&bench.sent(1)), [[192, 168, 1, 1], [192, 168, 1, 3]]);
    let reply =
        arp(false, (SERVER_MAC, [192, 168, 1, 1].into()), (RIGHT_MAC, [192, 168, 1, 254].into()));
    bench.arrive(1, &reply);
    let id = bench.control.snapshot().server_paths[1].unwrap().adjacency.unwrap();
    let rewrite = bench.control.snapshot().adjacency(id).unwrap().rewrite.unwrap();
    assert_eq!(rewrite.destination(), SERVER_MAC);
    assert!(bench.ok("show ip neighbors").contains("02:00:00:00:01:01 GigabitEthernet0/9/0"));
    // The others go on being asked for, a second apart.
    bench.pass(1_000);
    assert!(asked(&bench.sent(1)).is_empty());
    bench.turn();
    assert_eq!(asked(&bench.sent(1)), [[192, 168, 1, 3]]);
    bench.end();
}

#[test]
fn a_probe_is_answered_and_the_neighbor_stays() {
    let mut bench = Bench::walkthrough();
    let reply =
        arp(false, (SERVER_MAC, [192, 168, 1, 1].into()), (RIGHT_MAC, [192, 168, 1, 254].into()));
    bench.arrive(1, &reply);
    let mut probes = 0;
    for _ in 0..300 {
        bench.pass(1_000);
        for frame in bench.sent(1) {
            if frame[..6] == SERVER_MAC.0 && frame[12..14] == [8, 6] {
                probes += 1;
                bench.arrive(1, &reply);
            }
        }
        let neighbors = bench.control.neighbor_list(|_| true).neighbors;
        let server = neighbors.iter().find(|n| n.address == Ipv4Addr::new(192, 168, 1, 1)).unwrap();
        assert!(server.mac.is_some(), "{server:?}");
    }
    assert!((5..=11).contains(&probes), "{probes} probes in five minutes");
    bench.end();
}

#[test]
fn static_neighbors_are_not_asked_for_and_not_overruled() {
    let mut bench = Bench::routed();
    bench.all(&[
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.1 02:00:00:00:00:aa static",
        "lb vip 10.10.2.2/32 protocol tcp port 80 encap nat4",
        "lb as 10.10.2.2/32 protocol tcp port 80 192.168.1.1",
    ]);
    bench.turn();
    assert!(asked(&bench.sent(1)).is_empty());
    bench.arrive(
        1,
        &arp(
            true,
            (SERVER_MAC, [192, 168, 1, 1].into()),
            (MacAddress::default(), [192, 168, 1, 254].into()),
        ),
    );
    let text = bench.ok("show ip neighbors");
    assert!(text.contains("02:00:00:00:00:aa") && !text.contains("02:00:00:00:01:01"), "{text}");
    bench.ok("set ip neighbor del GigabitEthernet0/9/0 192.168.1.1");
    bench.turn();
    assert_eq!(asked(&bench.sent(1)), [[192, 168, 1, 1]], "now it has to be asked for");
    bench.end();
}

#[test]
fn a_dynamic_entry_by_command_ages_like_a_learned_one() {
    let mut bench = Bench::routed();
    bench.ok("set ip neighbor left0 10.10.10.5 02:00:00:00:00:05");
    assert!(bench.ok("show ip neighbors left0").contains("  D    02:00:00:00:00:05"));
    assert!(!bench.config().iter().any(|line| line.contains("neighbor")), "not configuration");
    bench.ok("set ip neighbor del left0 10.10.10.5");
    assert!(!bench.ok("show ip neighbors").contains("10.10.10.5"));
}

#[test]
fn ipv6_addresses_are_probed_for_and_then_announced() {
    let mut bench = Bench::new(1);
    bench.all(&["set interface ip address left0 2001:db8::1/64", "set interface state left0 up"]);
    bench.turn();
    let probes = bench.sent(0);
    // Our own and the link-local address that goes with it: `::` asks their groups.
    assert_eq!(probes.len(), 2);
    for probe in &probes {
        assert_eq!(
            (&probe[12..14], probe[20], &probe[22..38]),
            (&[0x86, 0xdd][..], 58, &[0; 16][..])
        );
        assert_eq!((probe[54], &probe[..3]), (135, &[0x33, 0x33, 0xff][..]));
    }
    bench.turn();
    assert!(bench.sent(0).is_empty());
    bench.pass(1_000);
    bench.turn();
    let told = bench.sent(0);
    assert_eq!(told.len(), 2);
    for advertisement in &told {
        assert_eq!((advertisement[54], &advertisement[..6]), (136, &[0x33, 0x33, 0, 0, 0, 1][..]));
        assert_eq!(advertisement[22..38], advertisement[62..78], "from the target itself");
        assert_eq!(advertisement[80..86], LEFT_MAC.0);
    }
    bench.pass(5_000);
    assert!(bench.sent(0).is_empty(), "once is enough");
    bench.end();
}

#[test]
fn an_address_that_somebody_else_has_is_not_announced_but_reported() {
    let mut bench = Bench::new(1);
    bench.all(&["set interface ip address left0 2001:db8::1/64", "set interface state left0 up"]);
    bench.turn();
    bench.sent(0);
    let event = |mac| Event::NeighborSeen {
        interface: InterfaceId(1),
        address: "2001:db8::1".parse().unwrap(),
        mac,
    };
    bench.workers[0].state.shared.post(event(SERVER_MAC)).unwrap();
    // Our own message, come back to us, is none.
    bench.workers[0].state.shared.post(event(LEFT_MAC)).unwrap();
    bench.turn();
    bench.pass(1_000);
    bench.turn();
    let told = bench.sent(0);
    assert_eq!(told.len(), 1, "the link-local address alone");
    assert_eq!(told[0][22..24], [0xfe, 0x80]);
    let text = bench.ok("show errors");
    let line = text.lines().find(|line| line.contains("address of ours claimed")).unwrap();
    assert!(line.contains(" 1 ") && line.contains("control"), "{line}");
    assert!(!bench.ok("show ip neighbors").contains("02:00:00:00:01:01"));
    bench.ok("clear errors");
    assert!(!bench.ok("show errors").contains("address of ours claimed"));
    bench.end();
}

#[test]
fn ipv6_routers_are_solicited_and_kept_fresh() {
    let mut bench = Bench::new(1);
    bench.all(&[
        "set interface ip address left0 2001:db8::1/64",
        "set interface state left0 up",
        "ip route add ::/0 via 2001:db8::fe",
    ]);
    bench.turn();
    let frames = bench.sent(0);
    let asked: Vec<_> = frames.iter().filter(|f| f[54] == 135 && f[22..38] != [0; 16]).collect();
    assert_eq!(asked.len(), 1);
    let target: Ipv6Addr = "2001:db8::fe".parse().unwrap();
    assert_eq!(asked[0][62..78], target.octets());
    assert_eq!(asked[0][..6], [0x33, 0x33, 0xff, 0, 0, 0xfe]);
    assert_eq!(asked[0][22..38], "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    bench.workers[0]
        .state
        .shared
        .post(Event::NeighborSeen {
            interface: InterfaceId(1),
            address: target.into(),
            mac: SERVER_MAC,
        })
        .unwrap();
    bench.turn();
    let FibEntry::Adjacency(id) = bench.control.snapshot().fib6.lookup("2600::1".parse().unwrap())
    else {
        panic!("no default route")
    };
    let rewrite = bench.control.snapshot().adjacency(id).unwrap().rewrite.unwrap();
    assert_eq!((rewrite.destination(), &rewrite.as_bytes()[12..]), (SERVER_MAC, &[0x86, 0xdd][..]));
    let mut probes = 0;
    for _ in 0..90 {
        bench.pass(1_000);
        let frames = bench.sent(0);
        probes += frames.iter().filter(|f| f[..6] == SERVER_MAC.0 && f[54] == 135).count();
    }
    assert_eq!(probes, 3, "asked alone before it is given up");
    bench.end();
}
