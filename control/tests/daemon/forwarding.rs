//! What workers get to read of VIPs and ASs: groups, ways, outer headers, policies.

use std::net::IpAddr;

use dataplane::fib::{FibDrop, FibEntry};
use dataplane::forwarding::{
    Entropy, Method, MssClamp, NoMatch, ServerPath, TooBig, TunnelDf, TunnelDscp, TunnelEcn,
};
use dataplane::interface::{InterfaceId, MacAddress};
use testkit::packet_builder::arp;

use crate::bench::{Bench, RIGHT_MAC};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn lookup(bench: &Bench, address: &str) -> FibEntry {
    match ip(address) {
        IpAddr::V4(address) => bench.control.snapshot().fib4.lookup(address),
        IpAddr::V6(address) => bench.control.snapshot().fib6.lookup(address),
    }
}

/// Both interfaces up, with addresses of both families.
fn dual() -> Bench {
    let mut bench = Bench::routed();
    bench.all(&[
        "set interface ip address left0 2001:db8::1/64",
        "set interface ip address GigabitEthernet0/9/0 2001:db8:1::1/64",
    ]);
    bench
}

/// The way to the AS with this address.
fn path(bench: &Bench, address: &str) -> Option<ServerPath> {
    let vips = bench.control.vips();
    let servers = vips.vips.iter().flat_map(|vip| &vip.servers);
    let index = servers.into_iter().find(|s| s.address == ip(address)).unwrap().index as usize;
    bench.control.snapshot().server_paths[index]
}

#[test]
fn every_encap_is_a_method_and_an_as_may_have_its_own() {
    let mut bench = dual();
    bench.all(&[
        "lb vip 90.0.0.0/8",
        "lb as 90.0.0.0/8 192.168.1.10",
        "lb as 90.0.0.0/8 192.168.1.11 encap ipip",
        "lb as 90.0.0.0/8 192.168.1.12 encap gue",
        "lb as 90.0.0.0/8 192.168.1.13 encap l3dsr dscp 9",
        "lb as 90.0.0.0/8 192.168.1.14 encap dr",
        "lb as 90.0.0.0/8 2001:db8:1::10 encap gre6",
        "lb vip 91.0.0.1/32 encap l3dsr dscp 7",
        "lb as 91.0.0.1/32 192.168.1.15",
        "lb vip 2001:db8:90::/48 protocol udp port 53 encap nat6",
        "lb as 2001:db8:90::/48 protocol udp port 53 2001:db8:1::11",
    ]);
    let method = |bench: &Bench, address: &str| path(bench, address).unwrap().method;
    for (address, expected) in [
        ("192.168.1.10", Method::Gre),
        ("192.168.1.11", Method::Ipip),
        ("192.168.1.12", Method::Gue),
        ("192.168.1.13", Method::L3dsr { dscp: 9 }),
        ("192.168.1.14", Method::DirectRouting),
        ("2001:db8:1::10", Method::Gre),
        ("192.168.1.15", Method::L3dsr { dscp: 7 }),
        ("2001:db8:1::11", Method::Nat),
    ] {
        assert_eq!(method(&bench, address), expected, "{address}");
    }
    // Back to the VIP's own way.
    bench.ok("lb as 90.0.0.0/8 192.168.1.11 encap gre4");
    assert_eq!(method(&bench, "192.168.1.11"), Method::Gre);
    assert!(!bench.config().join("\n").contains("192.168.1.11 encap"));
    // An update of the VIP takes those along that have no way of their own.
    bench.ok("lb vip 90.0.0.0/8 encap dr update");
    let error = bench.refused("lb vip 90.0.0.0/8 encap gre6 update");
    assert!(error.contains("AS 192.168.1.10: encap gre6 needs IPv6 ASs"), "{error}");
}

#[test]
fn outer_sources_are_configured_or_nearest_to_the_as() {
    let mut bench = dual();
    bench.all(&[
        "set interface ip address GigabitEthernet0/9/0 172.20.0.1/16",
        "ip route add 10.77.0.0/16 via 172.20.0.9",
        "lb vip 90.0.0.0/8 encap ipip",
        "lb as 90.0.0.0/8 192.168.1.10 172.20.0.10 10.77.0.1 2001:db8:1::10",
    ]);
    let source = |bench: &Bench, address: &str| path(bench, address).unwrap().tunnel_source;
    assert_eq!(source(&bench, "192.168.1.10"), Some(ip("192.168.1.254")));
    assert_eq!(source(&bench, "172.20.0.10"), Some(ip("172.20.0.1")), "of its own network");
    assert_eq!(source(&bench, "10.77.0.1"), Some(ip("192.168.1.254")), "the first");
    assert_eq!(source(&bench, "2001:db8:1::10"), Some(ip("2001:db8:1::1")));
    bench.ok("lb conf ip4-src-address 39.40.41.42 ip6-src-address 2004::1");
    assert_eq!(source(&bench, "172.20.0.10"), Some(ip("39.40.41.42")));
    assert_eq!(source(&bench, "2001:db8:1::10"), Some(ip("2004::1")));
    let policy = bench.control.snapshot().tunnel_policy;
    assert_eq!(policy.source4, Some("39.40.41.42".parse().unwrap()));
    assert_eq!(policy.source6, Some("2004::1".parse().unwrap()));
}

#[test]
fn without_an_address_of_the_family_there_is_no_outer_source() {
    let mut bench = Bench::routed();
    bench.all(&[
        "set interface ip address GigabitEthernet0/9/0 fe80::1/64",
        "ip route add 2001:db8:77::/48 via fe80::9 GigabitEthernet0/9/0",
        "lb vip 90.0.0.0/8 encap ipip",
        "lb as 90.0.0.0/8 2001:db8:77::1",
    ]);
    assert_eq!(path(&bench, "2001:db8:77::1").unwrap().tunnel_source, None);
    let text = bench.ok("show lb as");
    assert!(text.contains("used, no tunnel source"), "{text}");
}

#[test]
fn vip_prefixes_are_groups_and_cover_the_neighbors_inside() {
    let mut bench = Bench::routed();
    bench.all(&[
        "set ip neighbor left0 10.10.10.100 02:00:00:00:00:64 static",
        "set ip neighbor left0 10.10.10.10 02:00:00:00:00:0a static",
        "lb vip 10.10.10.96/28 encap gre4",
        "lb vip 10.0.0.0/8 encap gre4",
        "lb vip 10.10.10.254/32 protocol tcp port 80 encap gre4",
    ]);
    let group = |bench: &Bench, address: &str| match lookup(bench, address) {
        FibEntry::Vip { group, local } => (group, local),
        other => panic!("{address}: {other:?}"),
    };
    assert_eq!(group(&bench, "10.10.10.100"), (1, false), "not the neighbor");
    assert_eq!(group(&bench, "10.99.0.1"), (0, false));
    assert_eq!(group(&bench, "10.10.10.254"), (2, true));
    assert!(matches!(lookup(&bench, "10.10.10.10"), FibEntry::Adjacency(_)), "outside of the /28");
    assert_eq!(lookup(&bench, "10.10.10.11"), FibEntry::Glean(InterfaceId(1)));
    // The whole of a connected network can be a VIP too.
    bench.ok("lb vip 10.10.10.0/24 encap gre4");
    assert!(matches!(lookup(&bench, "10.10.10.10"), FibEntry::Vip { .. }));
    assert!(matches!(lookup(&bench, "10.10.10.254"), FibEntry::Vip { local: true, .. }));
    assert_eq!(lookup(&bench, "10.10.10.255"), FibEntry::Drop(FibDrop::Broadcast));
    bench.end();
}

#[test]
fn defect_16_an_as_inside_its_vip_prefix_is_reached_past_the_vip() {
    let mut bench = Bench::routed();
    bench.all(&[
        "lb vip 192.168.1.0/24 encap dr",
        "lb as 192.168.1.0/24 192.168.1.10",
        "lb vip 0.0.0.0/0 encap gre4",
        "lb as 0.0.0.0/0 10.10.10.9",
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.10 02:00:00:00:00:0a static",
    ]);
    let way = path(&bench, "192.168.1.10").unwrap();
    let adjacency = bench.control.snapshot().adjacency(way.adjacency.unwrap()).unwrap();
    assert_eq!((adjacency.interface, adjacency.next_hop), (InterfaceId(2), ip("192.168.1.10")));
    assert!(adjacency.rewrite.is_some());
    assert_eq!(lookup(&bench, "192.168.1.10"), FibEntry::Adjacency(way.adjacency.unwrap()));
    assert!(matches!(lookup(&bench, "192.168.1.11"), FibEntry::Vip { .. }));
    let way = path(&bench, "10.10.10.9").unwrap();
    assert_eq!(bench.control.snapshot().adjacency(way.adjacency.unwrap()).unwrap().interface.0, 1);
    // An AS that only the VIP's own prefix covers has no way, and is told so.
    bench.ok("lb as 0.0.0.0/0 8.8.8.8");
    assert_eq!(path(&bench, "8.8.8.8").unwrap().adjacency, None);
    assert!(bench.ok("show lb as").contains("used, no route"));
}

/// What such an AS says of itself over ARP is believed, and nobody answers in its place.
#[test]
fn an_as_inside_its_vip_prefix_is_found_by_arp() {
    let mut bench = Bench::routed();
    bench.all(&["lb vip 192.168.1.0/24 encap dr", "lb as 192.168.1.0/24 192.168.1.10"]);
    bench.turn();
    let (server, own) = ("192.168.1.10".parse().unwrap(), "192.168.1.254".parse().unwrap());
    let mac = MacAddress([2, 0, 0, 0, 0, 0x0a]);
    bench.arrive(1, &arp(false, (mac, server), (RIGHT_MAC, own)));
    assert_eq!(bench.control.vips().vips[0].servers[0].path, "resolved");
    bench.sent(1);
    let other = MacAddress([2, 0, 0, 0, 0, 0x0b]);
    let asked = |address: &str| {
        let somebody = "192.168.1.200".parse().unwrap();
        arp(true, (other, somebody), (MacAddress::default(), address.parse().unwrap()))
    };
    bench.arrive(1, &asked("192.168.1.10"));
    assert!(bench.sent(1).is_empty(), "it is not ours");
    bench.end();
}

#[test]
fn only_nat_has_direct_entries() {
    let mut bench = Bench::walkthrough();
    bench.all(&["lb vip 90.0.0.1/32 encap gre4", "lb as 90.0.0.1/32 192.168.1.10"]);
    assert!(matches!(lookup(&bench, "192.168.1.1"), FibEntry::AsDirect(_)));
    assert!(!matches!(lookup(&bench, "192.168.1.10"), FibEntry::AsDirect(_)));
}

#[test]
fn settings_reach_the_workers() {
    let mut bench = Bench::routed();
    bench.all(&[
        "lb conf tunnel-ttl 7 tunnel-dscp 46 tunnel-ecn zero tunnel-df clear too-big fragment",
        "lb conf gue-port 6635 ip4-src-entropy 10.99.0.0/16 ip6-src-entropy 2001:db8:e::/64",
        "lb vip 90.0.0.1/32 protocol tcp port 80 encap gre4 mss auto",
        "lb vip 90.0.0.1/32 protocol tcp port 81 encap gre4 mss 1200",
        "lb vip 90.0.0.1/32 protocol tcp port 82 encap gre4",
    ]);
    let snapshot = bench.control.snapshot();
    let policy = snapshot.tunnel_policy;
    assert_eq!((policy.ttl, policy.dscp, policy.ecn), (7, TunnelDscp::Fixed(46), TunnelEcn::Zero));
    assert_eq!((policy.df, policy.too_big), (TunnelDf::Clear, TooBig::Fragment));
    assert_eq!(policy.gue_port, 6635);
    let network = "10.99.0.0".parse().unwrap();
    assert_eq!(policy.entropy4, Some(Entropy { network, prefix_len: 16 }));
    assert_eq!(policy.entropy6.unwrap().prefix_len, 64);
    let mss: Vec<_> = snapshot.vip_policies.iter().map(|policy| policy.mss).collect();
    assert_eq!(mss[1..], [MssClamp::Auto, MssClamp::At(1200), MssClamp::Keep]);
    bench.ok("lb conf tunnel-ttl 64 tunnel-dscp copy tunnel-ecn rfc6040 tunnel-df copy");
    bench.ok("lb conf too-big drop gue-port 6080 ip4-src-entropy off ip6-src-entropy off");
    assert!(!bench.config().iter().any(|line| line.starts_with("lb conf")), "all defaults again");
}

#[test]
fn the_longest_prefix_decides_what_unmatched_packets_get() {
    let mut bench = Bench::routed();
    bench.all(&[
        "lb vip 10.1.0.0/16 protocol tcp port 80 encap gre4",
        "lb vip 10.1.2.3/32 protocol tcp port 80 encap gre4",
        "lb vip 20.0.0.1/32 protocol tcp port 80 encap gre4",
        "lb conf no-match icmp",
        "lb no-match 10.0.0.0/8 rst",
        "lb no-match 10.1.2.3/32 drop",
    ]);
    let policies = |bench: &Bench| bench.control.snapshot().no_match.to_vec();
    assert_eq!(policies(&bench), [NoMatch::Reset, NoMatch::Drop, NoMatch::Icmp]);
    assert_eq!(
        bench.ok("show lb no-match"),
        "default: icmp\n10.0.0.0/8: rst (10.1.0.0/16)\n10.1.2.3/32: drop (10.1.2.3/32)\n"
    );
    bench.ok("lb no-match 10.1.2.3/32 del");
    assert_eq!(policies(&bench), [NoMatch::Reset, NoMatch::Reset, NoMatch::Icmp]);
    for (line, expected) in [
        ("lb no-match 10.1.2.3/32 del", "10.1.2.3/32 has no policy of its own"),
        ("lb no-match 10.1.9.0/24 drop", "10.1.9.0/24 is a part of the VIP prefix 10.1.0.0/16"),
        ("lb no-match 10.1.0.0/16 punt", "punt needs a tap"),
        ("lb conf no-match punt", "punt needs a tap"),
    ] {
        let error = bench.refused(line);
        assert!(error.contains(expected), "{line}\n  says: {error}");
    }
}
