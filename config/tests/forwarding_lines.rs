//! Forwarding methods, ports, tunnels and sub-interfaces on the command line, and every refusal
//! that needs no more than the words.

use config::grammar::{Candidate, complete};
use config::{
    Command, Encap, LbAs, LbVipAdd, PortRange, Scheduler, Show, TargetPort, VlanKind,
    check_as_of_vip, parse_line, punt_needs_tap, report_line,
};

#[track_caller]
fn parsed(line: &str) -> Command {
    parse_line(line).unwrap_or_else(|error| panic!("{}", report_line(line, &error)))
}

#[track_caller]
fn vip(line: &str) -> LbVipAdd {
    match parsed(line) {
        Command::LbVipAdd(vip) => vip,
        other => panic!("`{line}` means {other:?}"),
    }
}

/// Checks that a line is refused at `token` for a reason (or hint) that contains `why`.
#[track_caller]
fn refused(line: &str, token: &str, why: &str) {
    let error = match parse_line(line) {
        Ok(command) => panic!("`{line}` means {command:?}"),
        Err(error) => error,
    };
    assert_eq!(error.token, token, "{line}: {error}");
    assert!(error.to_string().contains(why), "{line}: {error}");
}

#[test]
fn methods_and_families() {
    let any_port = |family: &str, encap: Encap| match encap {
        Encap::L3dsr => format!("lb vip {family} encap l3dsr dscp 7"),
        nat if nat.is_nat() => format!("lb vip {family} protocol tcp port 80 encap {nat}"),
        _ => format!("lb vip {family} encap {encap}"),
    };
    for (prefix, wrong, what) in
        [("90.0.0.0/8", Encap::Nat6, "NAT46"), ("2001:db8::/32", Encap::Nat4, "NAT64")]
    {
        for &encap in Encap::ALL {
            let line = any_port(prefix, encap);
            if encap == wrong {
                refused(&line, encap.word(), &format!("currently does not support {what}"));
            } else {
                assert_eq!(vip(&line).encap(), encap);
            }
        }
    }
    refused("lb vip 90.0.0.0/8 encap nat4", "nat4", "needs a protocol and port(s)");
    refused("lb vip 90.0.0.0/8 encap ipop", "ipop", "did you mean `ipip`?");
}

#[test]
fn words_known_from_elsewhere() {
    for (other, word) in [
        ("lb vip 90.0.0.0/8 encap tun", "lb vip 90.0.0.0/8 encap ipip"),
        ("lb vip 90.0.0.0/8 encap dsr", "lb vip 90.0.0.0/8 encap dr"),
        ("lb vip 90.0.0.0/8 scheduler mh", "lb vip 90.0.0.0/8 scheduler maglev"),
        ("lb vip 90.0.0.0/8 new-len 1024", "lb vip 90.0.0.0/8 new_len 1024"),
        ("lb vip 90.0.0.0/8 src-ip-sticky", "lb vip 90.0.0.0/8 src_ip_sticky"),
        ("lb vip 90.0.0.0/8 src_ip_sticky off", "lb vip 90.0.0.0/8"),
        ("lb conf ip4_src_address 1.2.3.4", "lb conf ip4-src-address 1.2.3.4"),
        ("create sub eth0 11", "create sub-interfaces eth0 11 dot1q 11"),
        ("show lb flow ::1 0 ::2 0 6", "show lb flow ::1 0 ::2 0 tcp"),
    ] {
        assert_eq!(parsed(other).to_string(), word);
    }
    assert_eq!(vip("lb vip 90.0.0.0/8 scheduler rr").scheduler(), Scheduler::RoundRobin);
}

#[test]
fn port_ranges() {
    let nat = |words: &str| format!("lb vip 1.2.3.4/32 protocol tcp {words} encap nat4");
    let range = vip(&nat("port 1000-2000 target_port 3000-4000"));
    assert_eq!(range.key.port.unwrap().ports.value, PortRange::new(1000, 2000).unwrap());
    assert_eq!(range.target(), TargetPort::From(3000));
    assert_eq!(vip(&nat("port 1000-2000 target_port 80")).target(), TargetPort::One(80));
    assert_eq!(vip(&nat("port 1000-2000")).target(), TargetPort::Keep);
    assert_eq!(parsed(&nat("port 80-80")).to_string(), nat("port 80"));
    refused(&nat("port 2000-1000"), "2000-1000", "write 1000-2000");
    refused(&nat("port 0-10"), "0-10", "between 1 and 65535, not 0");
    refused(&nat("port 10-"), "10-", "port must be a number");
    refused(&nat("port 1-70000"), "1-70000", "not 70000");
    refused(&nat("port 1-2-3"), "1-2-3", "port must be a number");
    refused(&nat("port 1-10 target_port 5-9"), "5-9", "5-14");
    refused(&nat("port 80 target_port 5-9"), "5-9", "such as 5-5");
    refused(&nat("port 1-10 target_port 65530-65535"), "65530-65535", "has 6 ports");
    for line in ["lb as 1.2.3.4/32 10.0.0.1", "lb flush vip 1.2.3.4/32", "show lb as 1.2.3.4/32"] {
        let line = format!("{line} protocol udp port 5-9");
        assert!(parsed(&line).to_string().contains("protocol udp port 5-9"));
    }
}

#[test]
fn port_translation_takes_nat() {
    let line = |encap: &str, port: &str, target: &str| {
        format!("lb vip 1.2.3.4/32 protocol tcp port {port} encap {encap} target_port {target}")
    };
    for encap in ["gre4", "gre6", "ipip", "gue", "dr", "l3dsr dscp 3"] {
        let name = encap.split(' ').next().unwrap();
        let why = format!("no port translation in encap {name}");
        refused(&line(encap, "80", "81"), "81", &why);
        refused(&line(encap, "80-90", "81-91"), "81-91", &why);
        refused(&line(encap, "80-90", "80"), "80", "use encap nat4");
        assert_eq!(vip(&line(encap, "80", "80")).encap().word(), name, "nothing is translated");
        parsed(&line(encap, "80-90", "80-90"));
    }
    refused("lb vip 2001::/16 target_port 80", "80", "use encap nat6");
}

#[test]
fn node_ports() {
    let line = |words: &str| format!("lb vip 1.2.3.4/32 protocol udp {words}");
    let nat = |words: &str| line(&format!("port 53 encap nat4 {words}"));
    assert_eq!(vip(&nat("type nodeport")).node_port(), Some(53));
    assert_eq!(vip(&nat("type nodeport node_port 30053")).node_port(), Some(30_053));
    assert_eq!(vip(&nat("type clusterip")).node_port(), None);
    refused(&nat("node_port 30053"), "30053", "with type nodeport only");
    refused(&nat("type clusterip node_port 30053"), "30053", "with type nodeport only");
    refused(&nat("type nodeport node_port 0"), "0", "between 1 and 65535");
    refused(&line("port 53 type nodeport"), "nodeport", "write `encap nat4`");
    refused(&line("port 53-54 encap nat4 type nodeport"), "53-54", "needs one port");
}

#[test]
fn schedulers_and_mss() {
    let line = |words: &str| format!("lb vip 1.2.3.4/32 {words}");
    refused(&line("scheduler wrr"), "wrr", "did you mean `rr`?");
    refused(&line("scheduler rr src_ip_sticky"), "rr", "exclude each other");
    assert_eq!(parsed(&line("mss 1360")).to_string(), line("mss 1360"));
    refused(&line("mss 87"), "87", "between 88 and 9176");
    refused(&line("mss 9177"), "9177", "between 88 and 9176");
    refused(&line("mss atuo"), "atuo", "did you mean `auto`?");
    refused(&line("protocol udp port 53 mss auto"), "auto", "the VIP is for udp");
    parsed(&line("protocol tcp port 53 mss auto"));
}

#[test]
fn settings_of_outer_headers() {
    let conf = |words: &str| format!("lb conf {words}");
    for good in [
        "tunnel-ttl 255",
        "tunnel-dscp copy",
        "tunnel-dscp 63",
        "tunnel-ecn zero",
        "tunnel-df clear",
        "too-big fragment",
        "gue-port 6081",
        "ip4-src-entropy 10.0.0.0/8",
        "ip4-src-entropy off",
        "ip6-src-entropy 2001:db8::/64",
        "no-match punt",
    ] {
        assert_eq!(parsed(&conf(good)).to_string(), conf(good));
    }
    refused(&conf("tunnel-ttl 0"), "0", "between 1 and 255");
    refused(&conf("tunnel-ttl 256"), "256", "between 1 and 255");
    refused(&conf("tunnel-dscp 64"), "64", "between 0 and 63");
    refused(&conf("tunnel-dscp cpy"), "cpy", "did you mean `copy`?");
    refused(&conf("tunnel-ecn copy"), "copy", "one of rfc6040, zero");
    refused(&conf("tunnel-df 1"), "1", "one of copy, set, clear");
    refused(&conf("too-big fragmet"), "fragmet", "did you mean `fragment`?");
    refused(&conf("gue-port 0"), "0", "between 1 and 65535");
    refused(&conf("no-match reset"), "reset", "one of drop, rst, icmp, punt");
    refused(&conf("ip4-src-entropy 10.0.0.0/32"), "10.0.0.0/32", "between 8 and 31");
    refused(&conf("ip4-src-entropy 8.0.0.0/7"), "8.0.0.0/7", "between 8 and 31");
    refused(&conf("ip6-src-entropy ::/15"), "::/15", "between 16 and 127");
    refused(&conf("ip6-src-entropy 10.0.0.0/16"), "10.0.0.0/16", "not an IPv6 prefix");
    refused(&conf("ip4-src-entropy 224.0.0.0/8"), "224.0.0.0/8", "a multicast address");
    refused(&conf("ip4-src-entropy 10.0.0.0"), "10.0.0.0", "length is missing");
}

#[test]
fn policies_for_unknown_ports() {
    assert_eq!(parsed("lb no-match 10.1.2.3/8 rst").to_string(), "lb no-match 10.0.0.0/8 rst");
    assert_eq!(parsed("lb no-match ::/0 rst del").to_string(), "lb no-match ::/0 del");
    refused("lb no-match 10.0.0.0/8", "", "drop|rst|icmp|punt is missing");
    refused("lb no-match 10.0.0.0/8 rts", "rts", "did you mean `rst`?");
    refused("lb no-match rst", "rst", "invalid prefix");
    for (line, punts) in [
        ("lb no-match 10.0.0.0/8 punt", Some("punt")),
        ("lb conf no-match punt", Some("punt")),
        ("lb conf no-match drop", None),
        ("lb no-match 10.0.0.0/8 punt del", None),
        ("lb vip 10.0.0.0/8", None),
    ] {
        assert_eq!(parsed(line).punts().map(|span| span.text(line)), punts, "{line}");
    }
    assert!(punt_needs_tap(config::Span::default()).hint.unwrap().contains("[punt]"));
}

#[test]
fn methods_of_one_as() {
    let servers = |words: &str| format!("lb as 90.0.0.0/8 protocol tcp port 80 {words}");
    let Command::LbAs(LbAs { encap, dscp, .. }) =
        parsed(&servers("10.0.0.1 weight 5 dscp 9 encap l3dsr"))
    else {
        panic!("not an AS");
    };
    assert_eq!((encap.unwrap().value, dscp.unwrap().value), (Encap::L3dsr, 9));
    parsed(&servers("10.0.0.1 2001:db8::1"));
    parsed(&servers("10.0.0.1 2001:db8::1 encap gue"));
    parsed(&servers("10.0.0.1 dscp 9"));
    refused(&servers("10.0.0.1 encap gre4 dscp 9"), "9", "with encap l3dsr only");
    refused(&servers("10.0.0.1 encap gre6"), "10.0.0.1", "encap gre6 needs IPv6 ASs");
    refused(&servers("2001:db8::1 encap gre4"), "2001:db8::1", "encap gre4 needs IPv4 ASs");
    refused(&servers("2001:db8::1 encap l3dsr"), "2001:db8::1", "needs IPv4 ASs");
    refused(&servers("2001:db8::1 encap dr"), "2001:db8::1", "ipip and gue reach ASs of either");
    refused(&servers("2001:db8::1 encap nat4"), "2001:db8::1", "does not support NAT46");
    refused(&servers("10.0.0.1 encap nat6"), "nat6", "does not support NAT46");
    refused("lb as 90.0.0.0/8 10.0.0.1 encap nat4", "nat4", "needs a protocol and port(s)");
    refused(&servers("10.0.0.1 encap gre4 del"), "gre4", "encap and del are mutually exclusive");
    refused(&servers("10.0.0.1 dscp 4 del"), "4", "dscp and del are mutually exclusive");
    refused("lb as 10.0.0.1/32 10.0.0.1", "10.0.0.1", "the VIP itself");
    refused("lb as 2001:db8::1/128 2001:db8::1", "2001:db8::1", "the VIP itself");
    parsed("lb as 10.0.0.0/31 10.0.0.1");
}

#[test]
fn an_as_and_its_vip() {
    let check = |vip_words: &str, as_words: &str| {
        let vip = vip(&format!("lb vip 90.0.0.0/8 protocol tcp port 80 {vip_words}"));
        let line = format!("lb as 90.0.0.0/8 protocol tcp port 80 {as_words}");
        let Command::LbAs(LbAs { addresses, encap, dscp, .. }) = parsed(&line) else {
            panic!("not an AS");
        };
        let problems = check_as_of_vip(&vip, addresses[0], encap, dscp);
        problems.first().map(|p| (p.span.text(&line).to_owned(), p.reason.clone()))
    };
    let refused = |vip_words: &str, as_words: &str, token: &str, why: &str| {
        let (at, reason) = check(vip_words, as_words).expect(as_words);
        assert_eq!(at, token, "{reason}");
        assert!(reason.contains(why), "{reason}");
    };
    assert_eq!(check("encap gre4", "10.0.0.1 encap ipip"), None);
    assert_eq!(check("encap gre4", "2001:db8::1 encap gue"), None);
    assert_eq!(check("encap l3dsr dscp 7", "10.0.0.1 encap gre4"), None);
    assert_eq!(check("encap l3dsr dscp 7", "10.0.0.1 dscp 8"), None);
    assert_eq!(check("encap l3dsr dscp 7", "10.0.0.1 encap l3dsr"), None);
    assert_eq!(check("encap gre4", "10.0.0.1 encap l3dsr dscp 8"), None);
    refused("encap gre4", "10.0.0.1 encap l3dsr", "l3dsr", "the VIP has none");
    refused("encap gre4", "10.0.0.1 dscp 8", "8", "with encap l3dsr only");
    refused("encap gre4", "2001:db8::1", "2001:db8::1", "needs IPv4 ASs");
    refused("encap gre4", "10.0.0.1 encap nat4", "nat4", "does not go with the VIP's encap gre4");
    refused("encap nat4", "10.0.0.1 encap dr", "dr", "replies of NAT ASs come back through here");
}

#[test]
fn vips_that_cannot_be_together() {
    let key = |words: &str| vip(&format!("lb vip {words}")).key;
    let tcp = |ports: &str| key(&format!("1.2.3.4/32 protocol tcp port {ports}"));
    let clash = |a, b| config::VipKey::conflicts(&a, &b);
    assert!(clash(tcp("80"), tcp("80")) && clash(key("1.2.3.4/32"), key("1.2.3.4/32")));
    assert!(clash(tcp("80-90"), tcp("90-100")));
    assert!(!clash(tcp("80-90"), tcp("91-100")));
    assert!(!clash(tcp("80-90"), tcp("85")), "one port goes before a range");
    assert!(!clash(tcp("80"), key("1.2.3.4/32")), "and both before all ports");
    assert!(!clash(tcp("80"), key("1.2.3.4/32 protocol udp port 80")));
    assert!(
        !clash(tcp("80"), key("1.2.3.0/24 protocol tcp port 80")),
        "the longer prefix goes first"
    );
}

#[test]
fn tunnels_and_sub_interfaces() {
    let Command::CreateSubInterface(sub) =
        parsed("create sub-interfaces eth0 7 dot1ad 100 inner-dot1q 200 exact-match")
    else {
        panic!("not a sub-interface");
    };
    assert_eq!(sub.name(), "eth0.7");
    assert_eq!((sub.tags.kind, sub.tags.outer, sub.tags.inner), (VlanKind::Dot1ad, 100, Some(200)));
    refused("create sub-interfaces eth0 0", "0", "the sub-interface id must be between 1");
    refused("create sub-interfaces eth0 4095", "4095", "add `dot1q <1-4094>`");
    refused(
        "create sub-interfaces eth0 5 dot1q 4095",
        "4095",
        "the VLAN must be between 1 and 4094",
    );
    refused("create sub-interfaces eth0 5 dot1q any", "any", "the VLAN must be a number");
    refused("create sub-interfaces eth0 5 dot1q 1 dot1ad 2", "2", "exclude each other");
    refused("create sub-interfaces eth0 5 inner-dot1q 2", "2", "without an outer one");
    refused("create sub-interfaces eth0", "", "<id> is missing");
    let long = format!("create sub-interfaces {} 5", "x".repeat(62));
    refused(&long, &"x".repeat(62), "longer than 63 bytes");
    parsed("create ipip tunnel src 1.2.3.4 dst 1.2.3.5 instance 16383");
    parsed("create ipip tunnel dst 2001:db8::2 src 2001:db8::1");
    let ipip = "create ipip tunnel";
    refused(ipip, "", "src <address> is missing");
    refused(&format!("{ipip} src 1.2.3.4"), "", "dst <address> is missing");
    refused(&format!("{ipip} src 1.2.3.4 dst ::5"), "::5", "src 1.2.3.4 is IPv4");
    refused(&format!("{ipip} src 1.2.3.4 dst 1.2.3.4"), "1.2.3.4", "are the same");
    refused(&format!("{ipip} src 127.0.0.1 dst 1.2.3.4"), "127.0.0.1", "loopback");
    refused(&format!("{ipip} src 1.2.3.4 dst 1.2.3.5 instance 16384"), "16384", "0 and 16383");
    refused("delete ipip tunnel", "", "<interface> is missing");
    refused("create", "", "next: ipip, sub-interfaces");
}

#[test]
fn routes_of_both_families() {
    for line in [
        "ip route add ::/0 via fe80::1 eth0",
        "ip route add 10.0.0.0/8 via ipip0",
        "ip route del 10.0.0.0/8 via ipip0",
        "ip route add 10.0.0.0/8 via eth0.100",
    ] {
        assert_eq!(parsed(line).to_string(), line);
    }
    refused("ip route add ::/0 via fe80::1", "fe80::1", "say on which interface it is");
    refused("ip route add ::/0 via 10.0.0.1", "10.0.0.1", "not of the prefix's family, IPv6");
    refused("ip route add 10.0.0.0/8 via 10.0.0.300", "10.0.0.300", "not an IP address");
    refused("ip route add ::/0 via fe80::g", "fe80::g", "not an IP address");
    refused("ip route add 10.0.0.0/8 via ipip0 eth0", "eth0", "unknown input");
}

#[test]
fn questions_about_flows_and_tables() {
    for line in [
        "show lb flow 10.0.0.1 1 10.0.0.2 0 udp json",
        "show lb flow 10.0.0.1 0 10.0.0.2 0 132",
        "show ip6 fib summary",
        "show ip6 fib 2001:db8::/32",
        "show ip6 neighbors eth0",
        "show ipip tunnel",
        "show lb no-match json",
        "show lb as 10.0.0.0/8 json",
    ] {
        assert_eq!(parsed(line).to_string(), line);
    }
    let Command::Show { show: Show::LbFlow(flow), .. } = parsed("show lb flow ::1 1 ::2 2 tcp")
    else {
        panic!("not a flow");
    };
    assert_eq!(
        (flow.source_port.value, flow.destination_port.value, flow.protocol.value),
        (1, 2, 6)
    );
    refused("show lb flow 10.0.0.1 1 10.0.0.2 2 132", "1", "write 0 for both ports");
    refused("show lb flow 10.0.0.1 1 ::2 2 tcp", "::2", "the source 10.0.0.1 is IPv4");
    refused("show lb flow 10.0.0.1 65536 10.0.0.2 2 tcp", "65536", "the source port must be");
    refused("show lb flow 10.0.0.1 1 10.0.0.2 2 256", "256", "between 0 and 255");
    refused("show lb flow 10.0.0.1 1 10.0.0.2 2 tpc", "tpc", "did you mean `tcp`?");
    refused("show lb flow 10.0.0.1 1 10.0.0.2 2", "", "tcp|udp|<protocol> is missing");
    refused("show lb as protocol tcp port 80", "", "<vip-prefix> is missing");
    refused("show ip fib 2001:db8::1", "2001:db8::1", "write `show ip6 fib`");
    refused("show ip6 fib 10.0.0.0/8", "10.0.0.0/8", "write `show ip fib`");
}

#[test]
fn completion_knows_the_new_words() {
    let words = |line: &str| -> Vec<&str> {
        let word = |c| match c {
            Candidate::Word(word) => word,
            Candidate::Value(slot) => slot.label,
        };
        complete(line).candidates.into_iter().map(word).collect()
    };
    assert_eq!(words("lb vip 1.2.3.4/32 encap g"), ["gre6", "gre4", "gue"]);
    assert_eq!(words("lb vip 1.2.3.4/32 scheduler "), ["maglev", "rr"]);
    assert_eq!(words("lb no-match 1.2.3.4/32 "), ["drop", "rst", "icmp", "punt", "del"]);
    assert_eq!(words("lb conf too-big "), ["drop", "fragment"]);
    assert_eq!(words("create s"), ["sub-interfaces"]);
    assert_eq!(words("show lb flow 1.2.3.4 5 1.2.3.5 6 "), ["tcp", "udp", "json"]);
    let after_switch = words("lb vip 1.2.3.4/32 src_ip_sticky off ");
    assert!(after_switch.contains(&"encap") && !after_switch.contains(&"src_ip_sticky"));
    assert!(!words("lb vip 1.2.3.4/32 new-len 5 ").contains(&"new_len"), "it was given");
}
