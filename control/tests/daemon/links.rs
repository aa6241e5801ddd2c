//! Interfaces that commands make: VLAN sub-interfaces and IP-in-IP tunnels.

use std::net::IpAddr;

use dataplane::fib::{FibDrop, FibEntry};
use dataplane::interface::{InterfaceId, PortId};

use crate::bench::{Bench, LEFT_MAC};

fn lookup(bench: &Bench, address: &str) -> FibEntry {
    match address.parse().unwrap() {
        IpAddr::V4(address) => bench.control.snapshot().fib4.lookup(address),
        IpAddr::V6(address) => bench.control.snapshot().fib6.lookup(address),
    }
}

#[test]
fn sub_interfaces_carry_their_tags_and_follow_their_device() {
    let mut bench = Bench::routed();
    assert_eq!(bench.ok("create sub-interfaces left0 100"), "left0.100");
    assert_eq!(
        bench.ok("create sub-interfaces left0 7 dot1ad 200 inner-dot1q 30 exact-match"),
        "left0.7"
    );
    bench.all(&[
        "set interface ip address left0.100 10.100.0.1/24",
        "set interface state left0.100 up",
        "set interface ip address left0.7 10.7.0.1/24",
        "set interface state left0.7 up",
        "set ip neighbor left0.7 10.7.0.9 02:00:00:00:00:09 static",
    ]);
    let snapshot = bench.control.snapshot();
    let (parent, first) = (&snapshot.interfaces[1], &snapshot.interfaces[3]);
    assert_eq!((&*first.name, first.port, first.mac), ("left0.100", Some(PortId(0)), LEFT_MAC));
    let tags: Vec<_> =
        parent.sub_interfaces.iter().map(|s| (s.outer, s.inner, s.interface)).collect();
    assert_eq!(
        tags,
        [((0x8100, 100), None, InterfaceId(3)), ((0x88a8, 200), Some(30), InterfaceId(4))]
    );
    let FibEntry::Adjacency(id) = lookup(&bench, "10.7.0.9") else { panic!("no neighbor") };
    let rewrite = bench.control.snapshot().adjacency(id).unwrap().rewrite.unwrap();
    assert_eq!(rewrite.as_bytes()[12..], [0x88, 0xa8, 0, 200, 0x81, 0, 0, 30, 8, 0]);
    // What control itself sends is tagged too: the announcement of the address.
    bench.turn();
    let tagged: Vec<_> =
        bench.sent(0).into_iter().filter(|f| f[12..16] == [0x81, 0, 0, 100]).collect();
    assert_eq!(
        (tagged.len(), &tagged[0][16..18], &tagged[0][32..36]),
        (1, &[8, 6][..], &[10, 100, 0, 1][..])
    );
    bench.ok("set interface state left0 down");
    assert_eq!(lookup(&bench, "10.100.0.9"), FibEntry::Drop(FibDrop::Configured));
    assert!(!bench.control.snapshot().interfaces[3].up);
    bench.end();
}

#[test]
fn sub_interfaces_that_cannot_be() {
    let mut bench = Bench::routed();
    bench.all(&[
        "create sub-interfaces left0 100",
        "create ipip tunnel src 10.10.10.254 dst 10.9.9.9",
    ]);
    for (line, expected) in [
        ("create sub-interfaces nowhere 1", "nowhere: there is no interface nowhere"),
        ("create sub-interfaces left0 100", "100: left0.100 exists already"),
        ("create sub-interfaces left0 5 dot1q 100", "left0.100 has the tags dot1q 100 already"),
        ("create sub-interfaces left0.100 5", "left0.100 cannot have sub-interfaces"),
        ("create sub-interfaces local0 5", "local0 cannot have sub-interfaces"),
        ("delete sub-interface left0", "left0 is not a sub-interface"),
        ("delete sub-interface ipip0", "ipip0 is not a sub-interface"),
        ("delete sub-interface left0.5", "there is no interface left0.5"),
        ("delete ipip tunnel left0.100", "left0.100 is not a tunnel"),
    ] {
        let error = bench.refused(line);
        assert!(error.contains(expected), "{line}\n  says: {error}");
    }
}

#[test]
fn a_deleted_interface_takes_its_addresses_along_but_not_its_routes() {
    let mut bench = Bench::routed();
    bench.all(&[
        "create sub-interfaces left0 100",
        "set interface ip address left0.100 10.100.0.1/24",
        "set interface state left0.100 up",
        "set ip neighbor left0.100 10.100.0.9 02:00:00:00:00:09 static",
        "ip route add 10.200.0.0/16 via 10.100.0.9",
    ]);
    let error = bench.refused("delete sub-interface left0.100");
    assert!(error.contains("the route 10.200.0.0/16 goes through left0.100"), "{error}");
    bench.ok("ip route del 10.200.0.0/16");
    bench.ok("delete sub-interface left0.100");
    assert_eq!(lookup(&bench, "10.100.0.1"), FibEntry::Drop(FibDrop::NoRoute));
    assert!(!bench.config().join("\n").contains("left0.100"));
    // Its index is free for another, which counts from 0.
    bench.ok("create sub-interfaces GigabitEthernet0/9/0 5");
    assert_eq!(bench.control.snapshot().interfaces.len(), 4);
    assert_eq!(&*bench.control.snapshot().interfaces[3].name, "GigabitEthernet0/9/0.5");
    bench.end();
}

#[test]
fn tunnels_resolve_their_far_end_and_never_through_a_tunnel() {
    let mut bench = Bench::routed();
    assert_eq!(bench.ok("create ipip tunnel src 192.168.1.254 dst 10.50.0.1"), "ipip0");
    assert_eq!(bench.ok("create ipip tunnel src 192.168.1.254 dst 10.60.0.1 instance 7"), "ipip7");
    bench.all(&[
        "set interface ip address ipip0 172.30.0.1/30",
        "set interface ip address ipip0 2001:db8:30::1/64",
        "set interface state ipip0 up",
        "set interface state ipip7 up",
        "ip route add 10.88.0.0/16 via ipip0",
        "ip route add 10.60.0.0/16 via ipip0",
        "ip route add 10.99.0.0/16 via ipip7",
    ]);
    let adjacency = |bench: &Bench, address: &str| match lookup(bench, address) {
        FibEntry::Adjacency(id) => bench.control.snapshot().adjacency(id).unwrap().clone(),
        other => panic!("{address}: {other:?}"),
    };
    let unresolved = adjacency(&bench, "10.88.0.1").tunnel.unwrap();
    assert_eq!(unresolved.underlay, None, "there is no route yet");
    assert!(bench.ok("show ipip tunnel").contains("no route"));
    bench.all(&[
        "ip route add 10.50.0.0/16 via 192.168.1.9",
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.9 02:00:00:00:00:09 static",
    ]);
    let through = adjacency(&bench, "10.88.0.1");
    let tunnel = through.tunnel.unwrap();
    assert_eq!((through.mtu, through.next_hop.to_string()), (1480, "0.0.0.0".into()));
    assert_eq!(tunnel.destination.to_string(), "10.50.0.1");
    let underlay = bench.control.snapshot().adjacency(tunnel.underlay.unwrap()).unwrap();
    assert_eq!(underlay.next_hop.to_string(), "192.168.1.9");
    // Its connected networks go through it, of both families.
    assert_eq!(adjacency(&bench, "172.30.0.2").tunnel, Some(tunnel));
    // What comes out of it is found by its outer addresses.
    let ends = (tunnel.source, tunnel.destination);
    assert_eq!(bench.control.snapshot().tunnels.get(&ends), Some(&through.interface));
    let six = adjacency(&bench, "2001:db8:30::2");
    assert_eq!((six.tunnel, six.next_hop.to_string()), (Some(tunnel), "::".into()));
    assert_eq!(adjacency(&bench, "10.99.0.1").tunnel.unwrap().underlay, None, "through ipip0");
    assert_eq!(
        bench.ok("show ipip tunnel"),
        "[0] instance 0 src 192.168.1.254 dst 10.50.0.1 table-ID 0 sw-if-idx 3 flags [none] dscp \
         CS0 mtu 1480 via 192.168.1.9 GigabitEthernet0/9/0\n\
         [1] instance 7 src 192.168.1.254 dst 10.60.0.1 table-ID 0 sw-if-idx 4 flags [none] dscp \
         CS0 mtu 9000 no route\n"
    );
    let text = bench.ok("show ip fib 10.88.0.1");
    assert!(
        text.contains(
            "ipip via ipip0: mtu:1480 192.168.1.254 -> 10.50.0.1, then ipv4 via 192.168.1.9"
        ),
        "{text}"
    );
    bench.ok("set interface mtu packet 1400 ipip0");
    assert_eq!(adjacency(&bench, "10.88.0.1").mtu, 1400);
    bench.end();
}

/// The servers of a VIP may be behind a tunnel.
#[test]
fn an_as_behind_a_tunnel() {
    let mut bench = Bench::routed();
    bench.all(&[
        "create ipip tunnel src 192.168.1.254 dst 192.168.1.9",
        "set interface ip address ipip0 172.30.0.1/24",
        "set interface state ipip0 up",
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.9 02:00:00:00:00:09 static",
        "lb vip 90.0.0.1/32 encap dr",
        "lb as 90.0.0.1/32 172.30.0.9",
    ]);
    let server = bench.control.vips().vips[0].servers[0].clone();
    assert_eq!((server.path, server.interface.as_deref()), ("resolved", Some("ipip0")));
    bench.end();
}

#[test]
fn tunnels_that_cannot_be() {
    let mut bench = Bench::routed();
    bench.ok("create ipip tunnel src 192.168.1.254 dst 10.50.0.1");
    for (line, expected) in [
        ("create ipip tunnel src 192.168.1.254 dst 10.50.0.1", "ipip0 has these ends already"),
        (
            "create ipip tunnel src 192.168.1.254 dst 10.50.0.2 instance 0",
            "0: ipip0 exists already",
        ),
        ("create ipip tunnel src 192.168.1.254 dst 10.10.10.254", "is our own address on left0"),
        ("create ipip tunnel src 192.168.1.254 dst 224.0.0.1", "a multicast address"),
        ("create ipip tunnel src 192.168.1.254 dst 2001:db8::1", "2001:db8::1"),
        ("delete ipip tunnel left0", "left0 is not a tunnel"),
        ("ip route add 10.0.0.0/8 via left0", "a route through left0 needs a next hop"),
        (
            "set ip neighbor ipip0 10.50.0.1 02:00:00:00:00:01",
            "no neighbors with Ethernet addresses",
        ),
    ] {
        let error = bench.refused(line);
        assert!(error.contains(expected), "{line}\n  says: {error}");
    }
    bench.ok("delete ipip tunnel ipip0");
    assert_eq!(bench.ok("show ipip tunnel"), "No IPIP tunnels configured...\n");
}

#[test]
fn a_route_over_a_tunnel_goes_by_the_words_that_made_it() {
    let mut bench = Bench::routed();
    bench.all(&[
        "create ipip tunnel src 192.168.1.254 dst 192.168.1.1",
        "set interface ip address ipip0 172.30.0.1/30",
        "set interface state ipip0 up",
        "ip route add 10.88.0.0/16 via 172.30.0.2",
    ]);
    let error = bench.refused("ip route del 10.88.0.0/16 via 192.168.1.1");
    assert!(error.contains("10.88.0.0/16 is not routed via 192.168.1.1"), "{error}");
    bench.ok("ip route del 10.88.0.0/16 via 172.30.0.2");
    assert_eq!(lookup(&bench, "10.88.0.1"), FibEntry::Drop(FibDrop::NoRoute));
}
