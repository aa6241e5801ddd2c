//! `show lb flow` and what becomes of flows when a VIP changes; and replicas that agree.

use crate::bench::Bench;
use crate::defects::{served, syn};

const VIP: &str = "10.10.2.2/32 protocol tcp port 8080";

/// `why`, the worker and the AS of the client's flow from this port.
fn why(bench: &mut Bench, port: u16) -> (String, Option<u64>, String) {
    let path = format!("lb/flow/10.10.10.1/{port}/10.10.2.2/8080/tcp");
    let body = bench.control.api(&path).unwrap();
    let flow: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&flow["why"]), flow["thread"].as_u64(), text(&flow["as"]["address"]))
}

#[test]
fn a_flow_is_explained_before_and_after_its_first_packet() {
    let mut bench = served();
    let (reason, thread, server) = why(&mut bench, 4000);
    assert_eq!((&*reason, thread), ("table", None));
    bench.arrive(0, &syn(4000, ("10.10.2.2", 8080)));
    assert_eq!(why(&mut bench, 4000), ("sticky".into(), Some(1), server.clone()));
    let text = bench.ok("show lb flow 10.10.10.1 4000 10.10.2.2 8080 tcp");
    assert!(
        text.starts_with("10.10.10.1 port 4000 -> 10.10.2.2 port 8080 tcp\n  vip [1]: ip4-nat4")
    );
    assert!(text.contains("  why: sticky: thread 1 knows the flow\n"), "{text}");
    assert!(text.contains(&format!("]: {server} port 80 encap nat4 weight:100 used\n")), "{text}");
    assert!(text.contains(&format!("  path: via {server} GigabitEthernet0/9/0, resolved\n")));
    // The flow stays where it is when the AS takes no more new ones, and says so.
    bench.ok(&format!("lb as {VIP} {server} del"));
    assert_eq!(why(&mut bench, 4000), ("sticky".into(), Some(1), server));
    assert!(bench.ok("show lb flow 10.10.10.1 4000 10.10.2.2 8080 tcp").contains(" removed\n"));
    bench.ok(&format!("lb flush vip {VIP}"));
    assert_eq!(why(&mut bench, 4000).0, "table");
    bench.arrive(0, &syn(4000, ("10.10.2.2", 8080)));
    assert_eq!(why(&mut bench, 4000).0, "sticky");
    bench.ok("test lb flowtable flush");
    assert_eq!(why(&mut bench, 4000).0, "table");
    bench.ok(&format!("lb as {VIP} 192.168.1.1 192.168.1.3 del flush").replace(" 192.168.1.1 ", " "));
    bench.end();
}

#[test]
fn flows_that_no_as_gets() {
    let mut bench = Bench::walkthrough();
    bench.ok("lb conf no-match rst");
    let text = bench.ok("show lb flow 10.10.10.1 1 10.10.2.2 8081 tcp");
    assert!(text.contains("no VIP of the address takes this protocol and port: no-match rst"));
    bench.ok("lb vip 192.168.1.254/32 protocol tcp port 80 encap dr");
    let text = bench.ok("show lb flow 10.10.10.1 1 192.168.1.254 81 tcp");
    assert!(text.ends_with("protocol and port: the address is our own\n"), "{text}");
    let text = bench.ok("show lb flow 10.10.10.1 1 8.8.8.8 53 udp");
    assert!(text.ends_with("  why: no VIP has this address\n"), "{text}");
    bench.ok(&format!("lb as {VIP} 192.168.1.1 192.168.1.3 del flush"));
    let text = bench.ok("show lb flow 10.10.10.1 1 10.10.2.2 8080 tcp");
    assert!(text.ends_with("  why: dropped: no AS takes new flows\n"), "{text}");
    let error = bench.refused("show lb flow 10.10.10.1 1 2001:db8::1 8080 tcp");
    assert!(error.contains("2001:db8::1"), "{error}");
}

#[test]
fn turns_and_node_ports_are_explained() {
    let mut bench = Bench::routed();
    bench.all(&[
        "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type nodeport node_port 30000 \
         target_port 80 scheduler rr",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 192.168.1.1 192.168.1.2",
    ]);
    for _ in 0..2 {
        let text = bench.ok("show lb flow 10.10.10.1 1 10.10.10.254 30000 tcp");
        assert!(text.contains("  why: a new flow: the next in turn\n"), "{text}");
        assert!(text.contains("192.168.1.1 port 80 "), "asking takes no turn: {text}");
    }
    let text = bench.ok("show lb flow 10.10.10.1 1 10.10.10.254 30001 tcp");
    assert!(text.contains("no VIP has this address"), "{text}");
}

#[test]
fn ipv6_flows_of_any_protocol_are_explained() {
    let mut bench = Bench::routed();
    bench.all(&[
        "set interface ip address GigabitEthernet0/9/0 2001:db8:1::1/64",
        "lb vip 2001:db8:90::/48 encap gre6",
        "lb as 2001:db8:90::/48 2001:db8:1::10 2001:db8:1::11",
    ]);
    for protocol in ["tcp", "udp", "132"] {
        let text = bench.ok(&format!("show lb flow 2001::1 0 2001:db8:90::7 0 {protocol}"));
        assert!(text.contains("slot ") && text.contains("encap gre6"), "{text}");
    }
}

#[test]
fn an_update_in_place_keeps_the_flows() {
    let mut bench = served();
    for port in 0..20 {
        bench.arrive(0, &syn(5000 + port, ("10.10.2.2", 8080)));
    }
    let before: Vec<_> = (0..20).map(|port| why(&mut bench, 5000 + port)).collect();
    assert!(before.iter().all(|(reason, ..)| reason == "sticky"));
    bench.ok(&format!("lb vip {VIP} new_len 17 scheduler rr mss auto name web update"));
    let after: Vec<_> = (0..20).map(|port| why(&mut bench, 5000 + port)).collect();
    assert_eq!(before, after);
    let vip = bench.control.vips().vips.remove(0);
    assert_eq!((vip.new_len, vip.scheduler, &*vip.mss), (17, "rr", "auto"));
    assert_eq!(vip.counters.first_session_packets, 20, "the same VIP");
    assert!(bench.config().contains(&format!(
        "lb vip {VIP} encap nat4 type clusterip target_port 80 new_len 17 scheduler rr mss auto \
         name web"
    )));
    bench.ok(&format!("lb vip {VIP} scheduler maglev src_ip_sticky on mss off update"));
    assert!(bench.control.vips().vips[0].src_ip_sticky);
    bench.end();
}

/// D-08: an update counts for a flow from its next packet on; what a VIP does not say itself follows
/// `lb conf`.
#[test]
fn timeouts_of_a_vip_change_while_its_flows_live() {
    let mut bench = served();
    let frame = syn(4000, ("10.10.2.2", 8080));
    let sticks = |bench: &mut Bench| why(bench, 4000).0 == "sticky";
    bench.arrive(0, &frame);
    bench.ok(&format!("lb vip {VIP} tcp-syn-timeout 5 update"));
    bench.pass(39_000);
    assert!(sticks(&mut bench), "no packet since");
    for (line, timeout_s) in [
        ("lb conf timeout 30".to_owned(), 5),
        (format!("lb vip {VIP} tcp-syn-timeout default update"), 30),
        ("lb conf tcp-syn-timeout 50".to_owned(), 50),
        (format!("lb vip {VIP} timeout 7 update"), 7),
    ] {
        bench.ok(&line);
        bench.arrive(0, &frame);
        bench.pass(timeout_s * 1000 - 1000);
        assert!(sticks(&mut bench), "{line}");
        // Control's clock is a second behind the worker's here.
        bench.pass(2000);
        assert!(!sticks(&mut bench), "{line}");
    }
    bench.ok("lb conf tcp-close-timeout 3 tcp-time-wait-timeout 4");
    let vip = bench.control.vips().vips.remove(0);
    assert_eq!((vip.timeouts.tcp_syn_s, vip.timeouts.tcp_close_s), (7, 3));
    assert_eq!(vip.own_timeouts, std::collections::BTreeMap::from([("timeout", 7)]));
    let lb = &bench.control.snapshot().lb;
    let profile = lb.vip(balancer::VipId::new(1).unwrap()).unwrap().profile;
    let timeouts = lb.timeouts.of(profile);
    assert_eq!((timeouts.syn_s, timeouts.close_s, timeouts.time_wait_s), (7, 3, 4));
    let config = bench.config();
    let conf = "lb conf timeout 30 tcp-syn-timeout 50 tcp-time-wait-timeout 4 tcp-close-timeout 3";
    assert!(config.iter().any(|line| line == conf), "{config:?}");
    let line = format!("lb vip {VIP} encap nat4 type clusterip target_port 80 timeout 7");
    assert!(config.contains(&line), "{config:?}");
    let text = bench.ok("show lb vips verbose");
    assert!(text.contains("  timeouts in seconds: udp:7 other:7 tcp-syn:7 "), "{text}");
    assert!(bench.ok("show lb").contains(" tcp-syn:50 tcp-established:900 "));
    bench.end();
}

#[test]
fn updates_that_would_cut_flows_off_are_refused() {
    let mut bench = Bench::walkthrough();
    bench.ok("lb vip 10.10.2.3/32 protocol tcp port 80 encap nat4 name other");
    for (line, expected) in [
        (format!("lb vip {VIP} encap gre4 update"), "replies of its flows go another way"),
        (format!("lb vip {VIP} target_port 81 update"), "change their port in mid-connection"),
        (format!("lb vip {VIP} type nodeport update"), "its flows would lose their entry"),
        (format!("lb vip {VIP} new_len 1 update"), "new_len 1 has no slot for each of 2 ASs"),
        (format!("lb vip {VIP} name other update"), "is called other already"),
        ("lb vip 10.9.9.9/32 mss auto update".into(), "there is no VIP 10.9.9.9/32"),
    ] {
        let error = bench.refused(&line);
        assert!(error.contains(expected), "{line}\n  says: {error}");
    }
}

/// Two load balancers that get the same configuration in different orders give every new flow to the
/// same AS.
#[test]
fn two_daemons_with_the_same_configuration_in_different_command_orders_show_the_same_digests() {
    let links = [
        "set interface ip address left0 10.10.10.254/24",
        "set interface state left0 up",
        "set interface ip address GigabitEthernet0/9/0 192.168.1.254/24",
        "set interface ip address GigabitEthernet0/9/0 2001:db8:1::1/64",
        "set interface state GigabitEthernet0/9/0 up",
    ];
    let vips = [
        "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 target_port 80",
        "lb vip 90.0.0.0/8 encap gre4 new_len 1024",
        "lb vip 2001:db8:90::/48 protocol udp port 50-59 encap gre6",
        "lb vip 90.0.0.0/8 protocol tcp port 1-99 encap ipip",
    ];
    let servers = [
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 192.168.1.3 192.168.1.2",
        "lb as 90.0.0.0/8 192.168.1.9 weight 50",
        "lb as 90.0.0.0/8 192.168.1.4",
        "lb as 90.0.0.0/8 10.10.10.3",
        "lb as 2001:db8:90::/48 protocol udp port 50-59 2001:db8:1::2 2001:db8:1::1:1",
        "lb as 90.0.0.0/8 protocol tcp port 1-99 2001:db8:1::9 192.168.1.9 weight 30",
    ];
    let mut first = Bench::new(1);
    first.all(&links);
    first.all(&vips);
    first.all(&servers);
    let mut second = Bench::new(2);
    vips.iter().rev().for_each(|line| drop(second.ok(line)));
    // One that comes and goes leaves no trace.
    second.ok("lb as 90.0.0.0/8 10.10.10.77");
    servers.iter().rev().for_each(|line| drop(second.ok(line)));
    second.ok("lb as 90.0.0.0/8 10.10.10.77 del flush");
    links.iter().for_each(|line| drop(second.ok(line)));
    let digests = |bench: &Bench| {
        let mut all: Vec<_> = bench
            .control
            .vips()
            .vips
            .into_iter()
            .map(|vip| (vip.title(), vip.new_flow_table_digest))
            .collect();
        all.sort();
        all
    };
    assert_eq!(digests(&first), digests(&second));
    assert_eq!(digests(&first).len(), 4);
    for port in 1..20 {
        for (vip, to) in [("10.10.2.2", 8080), ("90.1.2.3", 50), ("90.1.2.3", 5000)] {
            let line = format!("show lb flow 10.10.10.1 {port} {vip} {to} tcp");
            let address = |text: String| {
                let line = text.lines().find(|line| line.starts_with("  as [")).unwrap().to_owned();
                line.split(' ').nth(4).unwrap().to_owned()
            };
            assert_eq!(address(first.ok(&line)), address(second.ok(&line)), "{line}");
        }
    }
}
