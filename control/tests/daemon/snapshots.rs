//! What workers get to read.

use std::net::Ipv4Addr;
use std::sync::Arc;

use balancer::VipId;
use dataplane::fib::{FibDrop, FibEntry};
use dataplane::interface::InterfaceId;

use crate::bench::Bench;

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn lookup(bench: &Bench, address: &str) -> FibEntry {
    bench.control.snapshot().fib4.lookup(ip(address))
}

#[test]
fn connected_networks_and_what_is_special_in_them() {
    let bench = Bench::routed();
    assert_eq!(lookup(&bench, "10.10.10.254"), FibEntry::Local);
    assert_eq!(lookup(&bench, "10.10.10.7"), FibEntry::Glean(InterfaceId(1)));
    for dropped in ["10.10.10.0", "10.10.10.255", "224.0.0.1", "255.255.255.255", "0.0.0.0"] {
        assert_eq!(lookup(&bench, dropped), FibEntry::Drop(FibDrop::Broadcast), "{dropped}");
    }
    assert_eq!(lookup(&bench, "8.8.8.8"), FibEntry::Drop(FibDrop::NoRoute));
    assert_eq!(lookup(&bench, "127.0.0.1"), FibEntry::Drop(FibDrop::Configured));
}

#[test]
fn short_networks_have_no_broadcast_address() {
    let mut bench = Bench::routed();
    bench.all(&[
        "set interface ip address left0 10.1.0.0/31",
        "set interface ip address left0 10.2.0.1/32",
    ]);
    assert_eq!(lookup(&bench, "10.1.0.0"), FibEntry::Local);
    assert_eq!(lookup(&bench, "10.1.0.1"), FibEntry::Glean(InterfaceId(1)));
    assert_eq!(lookup(&bench, "10.2.0.1"), FibEntry::Local);
}

#[test]
fn routes_neighbors_and_links_that_go_down() {
    let mut bench = Bench::routed();
    bench.all(&[
        "ip route add 0.0.0.0/0 via 10.10.10.1",
        "ip route add 10.99.0.0/16 via 192.168.1.9 GigabitEthernet0/9/0",
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.9 02:00:00:00:00:09 static",
    ]);
    let FibEntry::Adjacency(default) = lookup(&bench, "8.8.8.8") else { panic!("no default") };
    let FibEntry::Adjacency(via) = lookup(&bench, "10.99.1.1") else { panic!("no route") };
    assert_eq!(lookup(&bench, "192.168.1.9"), FibEntry::Adjacency(via));
    let snapshot = bench.control.snapshot();
    assert_eq!(snapshot.adjacency(default).unwrap().rewrite, None);
    let rewrite = snapshot.adjacency(via).unwrap().rewrite.unwrap();
    assert_eq!(rewrite.as_bytes(), [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 2, 8, 0]);
    assert_eq!(snapshot.adjacency_of(InterfaceId(2), ip("192.168.1.9").into()), Some(via));
    bench.ok("set interface state GigabitEthernet0/9/0 down");
    assert_eq!(lookup(&bench, "10.99.1.1"), FibEntry::Drop(FibDrop::Configured));
    assert_eq!(lookup(&bench, "192.168.1.9"), FibEntry::Drop(FibDrop::Configured));
    assert_eq!(lookup(&bench, "192.168.1.254"), FibEntry::Local);
}

#[test]
fn vips_and_their_servers() {
    let mut bench = Bench::walkthrough();
    bench.all(&[
        "lb vip 10.10.10.254/32 protocol tcp port 2020 encap nat4 target_port 80",
        "lb as 10.10.10.254/32 protocol tcp port 2020 192.168.1.1 10.77.0.1",
    ]);
    assert_eq!(lookup(&bench, "10.10.2.2"), FibEntry::Vip { group: 0, local: false });
    assert_eq!(lookup(&bench, "10.10.10.254"), FibEntry::Vip { group: 1, local: true });
    let FibEntry::AsDirect(direct) = lookup(&bench, "192.168.1.1") else { panic!("not direct") };
    let resolved = |bench: &Bench, vip: usize, at: usize| {
        let index = bench.control.vips().vips[vip].servers[at].index as usize;
        bench.control.snapshot().server_paths[index].and_then(|path| path.adjacency)
    };
    assert_eq!(resolved(&bench, 0, 0), Some(direct));
    assert_eq!(resolved(&bench, 1, 0), Some(direct));
    assert_eq!(resolved(&bench, 1, 1), None, "no route yet");
    assert_eq!(lookup(&bench, "10.77.0.1"), FibEntry::Drop(FibDrop::NoRoute));
    // A server behind a router goes there, and so does whoever reaches it directly.
    bench.ok("ip route add 10.77.0.0/16 via 192.168.1.9");
    let router = resolved(&bench, 1, 1).unwrap();
    assert_eq!(bench.control.snapshot().adjacency(router).unwrap().next_hop, ip("192.168.1.9"));
    assert_eq!(lookup(&bench, "10.77.0.1"), FibEntry::AsDirect(router));
}

#[test]
fn a_change_to_one_vip_costs_one_table() {
    let mut bench = Bench::walkthrough();
    bench.all(&[
        "lb vip 10.10.2.3/32 protocol tcp port 80 encap nat4",
        "lb as 10.10.2.3/32 protocol tcp port 80 192.168.1.7",
    ]);
    let table = |bench: &Bench, index| {
        let vip = bench.control.snapshot().lb.vip(VipId::new(index).unwrap()).unwrap();
        Arc::clone(&vip.table)
    };
    let (first, second) = (table(&bench, 1), table(&bench, 2));
    bench.ok("lb as 10.10.2.3/32 protocol tcp port 80 192.168.1.8");
    assert!(Arc::ptr_eq(&first, &table(&bench, 1)));
    assert!(!Arc::ptr_eq(&second, &table(&bench, 2)));
    // Equal sets share one table, in whatever order they were made.
    bench.all(&[
        "lb vip 10.10.2.4/32 protocol tcp port 80 encap nat4",
        "lb as 10.10.2.4/32 protocol tcp port 80 192.168.1.3 192.168.1.1",
    ]);
    assert!(Arc::ptr_eq(&first, &table(&bench, 3)));
}

#[test]
fn a_removed_server_stays_known_until_its_flows_are_gone() {
    let mut bench = Bench::walkthrough();
    let before = bench.control.snapshot().lb.servers.iter().flatten().count();
    assert_eq!(before, 2);
    bench.ok("lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 del");
    assert_eq!(bench.control.snapshot().lb.servers.iter().flatten().count(), 2);
    // It has no flows: the next look takes it away.
    bench.turn();
    bench.pass(1_000);
    bench.pass(1_000);
    assert_eq!(bench.control.snapshot().lb.servers.iter().flatten().count(), 1);
    assert_eq!(bench.control.vips().vips[0].servers.len(), 1);
}

#[test]
fn a_resize_moves_the_flows_and_loses_none() {
    let mut bench = Bench::walkthrough();
    bench.ok("set ip neighbor GigabitEthernet0/9/0 192.168.1.1 02:00:00:00:01:01 static");
    bench.ok("set ip neighbor GigabitEthernet0/9/0 192.168.1.3 02:00:00:00:01:03 static");
    for port in 0..50 {
        bench.arrive(0, &crate::defects::syn(40_000 + port, ("10.10.2.2", 8080)));
    }
    let flows = |bench: &Bench| -> u64 {
        bench.control.vips().vips[0].servers.iter().map(|server| server.flows).sum()
    };
    assert_eq!(flows(&bench), 50);
    bench.ok("lb conf buckets 4096");
    bench.turn();
    assert_eq!(flows(&bench), 50);
    assert!(bench.ok("show lb").contains("usage: 50 / 16384"), "{}", bench.ok("show lb"));
    bench.end();
}

#[test]
fn whoever_gets_an_index_again_inherits_nothing() {
    let mut bench = Bench::walkthrough();
    bench.arrive(0, &crate::defects::syn(4000, ("10.10.2.2", 8080)));
    let before = bench.control.vips().vips[0].clone();
    assert_eq!(before.counters.first_session_packets, 1);
    let epoch = |bench: &Bench, index: u32| {
        bench.control.snapshot().lb.servers[index as usize].map(|server| server.epoch)
    };
    let (low, high) = (before.servers[0].index, before.servers[1].index);
    let epochs = (epoch(&bench, low), epoch(&bench, high));
    bench.ok("lb vip 10.10.2.2/32 protocol tcp port 8080 del");
    // Its entries are swept, then it is collected.
    (0..100).for_each(|_| bench.turn());
    bench.pass(1_000);
    bench.pass(1_000);
    let add = "lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4";
    assert_eq!(bench.ok(add), "lb_vip_add ok 1");
    bench.ok("lb as 10.10.2.9/32 protocol tcp port 80 192.168.1.7 192.168.1.8");
    let after = bench.control.vips().vips[0].clone();
    assert_eq!(after.counters.first_session_packets, 0);
    let mut indices: Vec<_> = after.servers.iter().map(|server| server.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, [low, high]);
    // Deleting counted the epoch up once already; its next owner starts beyond that.
    let after = (epoch(&bench, low), epoch(&bench, high));
    assert_eq!(after, (epochs.0.map(|e| e + 2), epochs.1.map(|e| e + 2)));
    bench.end();
}

/// The walk-through without its first line: nothing works, and the log must say why.
#[test]
fn servers_behind_a_link_without_nat4_in_are_noticed() {
    let mut bench = Bench::walkthrough();
    assert!(bench.control.links_without_nat_in().is_empty());
    bench.ok("lb set interface nat4 in GigabitEthernet0/9/0 del");
    let links = bench.control.links_without_nat_in();
    assert_eq!(links.keys().collect::<Vec<_>>(), [&(InterfaceId(2), false)]);
    let vip = "10.10.2.2/32 protocol tcp port 8080";
    bench.ok(&format!("lb as {vip} 192.168.1.1 192.168.1.3 del"));
    assert!(bench.control.links_without_nat_in().is_empty(), "removed ASs get no new flows");
}

#[test]
fn ipv6_networks_and_what_is_special_in_ipv6() {
    let mut bench = Bench::routed();
    let lookup = |bench: &Bench, address: &str| {
        bench.control.snapshot().fib6.lookup(address.parse().unwrap())
    };
    assert_eq!(lookup(&bench, "2001:db8::1"), FibEntry::Drop(FibDrop::NoRoute));
    bench.all(&[
        "set interface ip address left0 2001:db8::1/64",
        "set interface ip address GigabitEthernet0/9/0 2001:db8:1::1/64",
        "ip route add 2001:db8:77::/48 via 2001:db8:1::9",
        "ip route add 2001:db8:88::/48 via fe80::9 GigabitEthernet0/9/0",
        "set ip neighbor left0 2001:db8::7 02:00:00:00:00:07 static",
        "set ip neighbor left0 fe80::7 02:00:00:00:00:07 static",
    ]);
    for local in ["2001:db8::1", "2001:db8:1::1", "fe80::ff:fe00:1"] {
        assert_eq!(lookup(&bench, local), FibEntry::Local, "{local}");
    }
    assert_eq!(lookup(&bench, "2001:db8::9"), FibEntry::Glean(InterfaceId(1)));
    assert_eq!(lookup(&bench, "2001:db8:1::"), FibEntry::Glean(InterfaceId(2)));
    for (dropped, why) in [
        ("::", FibDrop::Configured),
        ("ff02::1", FibDrop::Broadcast),
        ("ff0e::1", FibDrop::Broadcast),
        ("::1", FibDrop::Configured),
        ("::ffff:10.0.0.1", FibDrop::Configured),
        ("fe80::1234", FibDrop::Configured),
    ] {
        assert_eq!(lookup(&bench, dropped), FibEntry::Drop(why), "{dropped}");
    }
    let next_hop = |bench: &Bench, address: &str| match lookup(bench, address) {
        FibEntry::Adjacency(id) => {
            let adjacency = bench.control.snapshot().adjacency(id).unwrap();
            (adjacency.next_hop.to_string(), adjacency.interface.0)
        }
        other => panic!("{address}: {other:?}"),
    };
    assert_eq!(next_hop(&bench, "2001:db8:77::1"), ("2001:db8:1::9".into(), 2));
    assert_eq!(next_hop(&bench, "2001:db8:88::1"), ("fe80::9".into(), 2));
    assert_eq!(next_hop(&bench, "2001:db8::7"), ("2001:db8::7".into(), 1));
    assert_eq!(next_hop(&bench, "fe80::7"), ("fe80::7".into(), 1));
    bench.ok("set interface state left0 down");
    assert_eq!(lookup(&bench, "2001:db8::9"), FibEntry::Drop(FibDrop::Configured));
    assert_eq!(lookup(&bench, "2001:db8::1"), FibEntry::Local);
}
