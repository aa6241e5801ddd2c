//! Neighbours over the wire of a box in memory.

use dataplane::interface::MacAddress;
use testkit::packet_builder::arp;

use crate::bench::{Bench, LEFT_MAC, RIGHT_MAC};

const SERVER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);

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
    let id = bench.control.snapshot().server_paths[1].unwrap().adjacency;
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
        let neighbors = bench.control.neighbor_list(None).neighbors;
        let server = neighbors.iter().find(|n| n.address.octets() == [192, 168, 1, 1]).unwrap();
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
