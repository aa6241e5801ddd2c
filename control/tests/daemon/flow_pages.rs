//! `show lb flows`: every flow is met once, pages are bounded, filters filter.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control::show::flows::Flows;
use testkit::packet_builder::PacketBuilder;
use testkit::reference::frame::tcp_flag::SYN;

use crate::bench::{Bench, CLIENT_MAC, LEFT_MAC};
use crate::defects::served;

pub(crate) fn page(bench: &mut Bench, words: &str) -> Flows {
    match config::parse(&format!("show lb flows {words}")) {
        Ok(config::Command::Show { show: config::Show::LbFlows(query), .. }) => {
            bench.control.flows(&query).unwrap_or_else(|problem| panic!("{words}: {problem:?}"))
        }
        other => panic!("{words}: {other:?}"),
    }
}

/// All pages of a query; none has more lines than asked for.
fn pages(bench: &mut Bench, words: &str, limit: usize) -> Vec<Flows> {
    let mut all = vec![page(bench, &format!("{words} limit {limit}"))];
    while let Some(cursor) = all.last().unwrap().cursor.clone() {
        let next = page(bench, &format!("{words} limit {limit} cursor {cursor}"));
        assert!(next.flows.len() <= limit);
        all.push(next);
    }
    all
}

fn arrive(bench: &mut Bench, client: (Ipv4Addr, u16), to: (&str, u16)) {
    let to = (to.0.parse::<Ipv4Addr>().unwrap(), to.1);
    let frame = PacketBuilder::tcp(client, to, SYN).macs(LEFT_MAC, CLIENT_MAC).build();
    bench.arrive(0, &frame);
}

/// Three VIPs whose entries keep different things of their flows.
fn busy() -> Bench {
    let mut bench = served();
    bench.all(&[
        "ip route add 10.20.0.0/16 via 10.10.10.1",
        "lb vip 10.10.3.0/24 protocol tcp port 80-89 encap nat4",
        "lb as 10.10.3.0/24 protocol tcp port 80-89 192.168.1.3",
        "lb conf ip4-src-address 192.168.1.254",
        "lb vip 10.10.4.0/24 encap gre4",
        "lb as 10.10.4.0/24 192.168.1.1",
    ]);
    for n in 0..300 {
        let client = (Ipv4Addr::new(10, 20, (n % 3) as u8, 1), 2_000 + n);
        arrive(&mut bench, client, ("10.10.2.2", 8080));
    }
    for n in 0..40 {
        let client = (Ipv4Addr::new(10, 20, 1, 1), 4_000 + n);
        arrive(&mut bench, client, ("10.10.3.7", 80 + n % 10));
        arrive(&mut bench, client, ("10.10.4.7", 80));
    }
    bench
}

#[test]
fn every_flow_is_met_once() {
    let mut bench = busy();
    for limit in [1, 7, 100, 10_000] {
        let all: Vec<_> = pages(&mut bench, "", limit).into_iter().flat_map(|p| p.flows).collect();
        assert_eq!(all.len(), 380, "limit {limit}");
        let exact = all.iter().filter(|flow| flow.vip_index == Some(1));
        let ports: BTreeSet<_> = exact.filter_map(|flow| flow.client_port).collect();
        assert_eq!(ports, (2_000..2_300).collect());
    }
    let text = bench.ok("show lb flows limit 1");
    let line: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((line[0], line.len() >= 7), ("1", true), "{text}");
    assert!(text.contains(" buckets looked at; more: show lb flows limit 1 cursor 1:"), "{text}");
    assert!(!bench.ok("show lb flows limit 10000").contains("more:"));
    bench.end();
}

#[test]
fn filters_leave_out_what_is_not_meant() {
    let mut bench = busy();
    let count = |bench: &mut Bench, words: &str| -> usize {
        pages(bench, words, 50).iter().map(|page| page.flows.len()).sum()
    };
    assert_eq!(count(&mut bench, "vip 10.10.2.2/32 protocol tcp port 8080"), 300);
    assert_eq!(count(&mut bench, "vip 10.10.3.0/24"), 40);
    assert_eq!(count(&mut bench, "client 10.20.2.0/24"), 100);
    assert_eq!(count(&mut bench, "client 10.20.1.1"), 140);
    assert_eq!(count(&mut bench, "client 10.20.1.1 vip 10.10.3.0/24 as 192.168.1.3"), 40);
    assert_eq!(count(&mut bench, "vip 10.10.3.0/24 client 10.20.2.0/24"), 0);
    let one = bench.control.live_flows(1) as usize;
    let words = "vip 10.10.2.2/32 protocol tcp port 8080 as 192.168.1.1";
    assert_eq!(count(&mut bench, words), one);
    // Entries of an all-port prefix keep a hash; a filter says how many it could not judge.
    let tags = page(&mut bench, "vip 10.10.4.0/24");
    assert!(tags.flows.iter().all(|flow| flow.client.is_none() && flow.protocol.is_none()));
    assert_eq!(tags.flows.len(), 40);
    assert_eq!(page(&mut bench, "vip 10.10.4.0/24 client 10.20.0.0/16").without_client, 40);
    let text = bench.ok("show lb flows client 10.20.1.1 vip 10.10.4.0/24");
    assert!(text.contains("40 flows left out: their entries keep no client\n"), "{text}");
    let full = page(&mut bench, "vip 10.10.3.0/24 limit 1").flows.remove(0);
    assert_eq!(full.client, Some(IpAddr::from([10, 20, 1, 1])));
    assert_eq!(
        (full.protocol.as_deref(), full.server.to_string().as_str()),
        (Some("tcp"), "192.168.1.3")
    );
    bench.end();
}

/// They are found by a hash of their client, which is kept all the same.
#[test]
fn flows_of_one_ipv6_service_show_their_clients() {
    const VIP: &str = "2001:db8:90::1/128 protocol tcp port 80";
    let mut bench = served();
    bench.all(&[
        "set interface ip address left0 2001:db8:10::1/64",
        "set interface ip address GigabitEthernet0/9/0 2001:db8:1::1/64",
        &format!("lb vip {VIP} encap nat6 type clusterip target_port 8080"),
        &format!("lb as {VIP} 2001:db8:1::10 2001:db8:1::11"),
    ]);
    let client = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, n % 2, 9);
    for n in 0..20 {
        let to = (Ipv6Addr::new(0x2001, 0xdb8, 0x90, 0, 0, 0, 0, 1), 80);
        let syn = PacketBuilder::tcp((client(n), 3_000 + n), to, SYN);
        bench.arrive(0, &syn.macs(LEFT_MAC, CLIENT_MAC).build());
    }
    let all = page(&mut bench, &format!("vip {VIP}"));
    let mut ends: Vec<_> = all.flows.iter().map(|flow| (flow.client_port, flow.client)).collect();
    ends.sort();
    let expected = (0..20).map(|n| (Some(3_000 + n), Some(client(n).into())));
    assert_eq!(ends, expected.collect::<Vec<_>>());
    let some = page(&mut bench, "client 2001:db8:10::1:0/112");
    assert_eq!((some.flows.len(), some.without_client), (10, 0));
    bench.end();
}

#[test]
fn what_is_over_is_not_listed() {
    let mut bench = busy();
    bench.ok("lb as 10.10.3.0/24 protocol tcp port 80-89 192.168.1.3 flush");
    assert_eq!(page(&mut bench, "vip 10.10.3.0/24").flows.len(), 0, "flushed");
    bench.ok("lb vip 10.10.4.0/24 del");
    assert_eq!(page(&mut bench, "limit 10000").flows.len(), 300, "gone with the VIP");
    for worker in &mut bench.workers {
        worker.clock.advance(10_000);
    }
    bench.pass(10_000_000);
    assert_eq!(page(&mut bench, "limit 10000").flows.len(), 0, "expired");
    bench.end();
}

#[test]
fn a_page_is_bounded_work() {
    let mut bench = served();
    bench.ok("lb conf buckets 262144");
    while bench.control.is_resizing() {
        bench.turn();
    }
    let pages = pages(&mut bench, "", 100);
    assert!(pages.iter().all(|page| page.buckets_read <= 65_536));
    assert_eq!(pages.iter().map(|page| page.buckets_read).sum::<u64>(), 262_144);
    bench.end();
}

/// A box whose flows are listed all the while does what another does.
#[test]
fn listing_disturbs_nobody() {
    let (mut listed, mut other) = (served(), served());
    for bench in [&mut listed, &mut other] {
        bench.ok("ip route add 10.20.0.0/16 via 10.10.10.1");
    }
    for n in 0..200 {
        let client = (Ipv4Addr::new(10, 20, 0, 1), 2_000 + n % 90);
        for bench in [&mut listed, &mut other] {
            arrive(bench, client, ("10.10.2.2", 8080));
        }
        if n % 10 == 0 {
            pages(&mut listed, "client 10.20.0.0/16", 3);
        }
        assert_eq!(listed.sent(1), other.sent(1), "packet {n}");
    }
    let servers = |bench: &Bench| {
        let servers = bench.control.vips().vips.remove(0).servers;
        servers.iter().map(|s| (s.address, s.flows, s.counters)).collect::<Vec<_>>()
    };
    assert_eq!(servers(&listed), servers(&other));
    listed.end();
    other.end();
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let mut bench = Bench::walkthrough();
    for (line, expected) in [
        ("show lb flows cursor 2:0", "2:0: there is no worker thread 2 (the last one is 1)"),
        ("show lb flows cursor 7", "7: `7` is no cursor (<thread>:<entry>, as the page before"),
        ("show lb flows vip 10.9.9.9/32", "there is no VIP 10.9.9.9/32"),
        ("show lb flows as 192.168.1.7", "192.168.1.7 is not an AS of the VIP 10.10.2.2/32"),
        ("show lb flows protocol tcp port 80", "tcp: protocol without a VIP"),
        ("show lb flows limit 0", "limit must be between 1 and 10000"),
    ] {
        let error = bench.refused(line);
        assert!(error.contains(expected), "{line}\n  says: {error}");
    }
    assert_eq!(page(&mut bench, "cursor 1:4000000000").flows.len(), 0);
    bench.ok("lb vip 10.10.3.3/32 encap gre4");
    let error = bench.refused("show lb flows as 192.168.1.7");
    assert!(error.contains("no VIP has an AS 192.168.1.7 (`show lb as`"), "{error}");
}
