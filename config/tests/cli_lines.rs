//! What each line of the CLI means, and what is said about the ones that mean nothing.

use config::grammar::{Candidate, Kind, complete, help};
use config::{
    Command, Encap, FibQuery, FlowTimeout, IdleTime, Protocol, Show, TargetPort, parse_line,
    report_line,
};

/// The canonical form of a line that must parse.
#[track_caller]
fn canonical(line: &str) -> String {
    match parse_line(line) {
        Ok(command) => command.to_string(),
        Err(error) => panic!("{}", report_line(line, &error)),
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
    let at: String = line.chars().skip(error.column - 1).collect();
    assert!(at.starts_with(token), "{line}: column {} is not `{token}`", error.column);
}

#[test]
fn the_walk_through_of_the_vpp_documentation() {
    for line in [
        "lb set interface nat4 in GigabitEthernet0/9/0",
        "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 192.168.1.3",
    ] {
        let command = parse_line(line).unwrap();
        assert_eq!(command.to_string(), line);
    }
    let line = "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4";
    let Ok(Command::LbVipAdd(vip)) = parse_line(line) else { panic!("not a VIP") };
    assert_eq!(vip.encap(), Encap::Nat4);
    assert_eq!(vip.key.port.unwrap().protocol.value, Protocol::Tcp);
    assert_eq!(vip.target(), TargetPort::Keep, "the VIP's port stands in for the target port");
}

#[test]
fn options_come_in_any_order() {
    let line = "lb vip 10.10.2.2/32 protocol tcp port 80 encap nat4 new_len 1024 src_ip_sticky";
    for other in [
        "lb vip src_ip_sticky 10.10.2.2/32 port 80 new_len 1024 encap nat4 protocol tcp",
        "lb vip encap nat4 protocol tcp new_len 1024 port 80 src_ip_sticky 10.10.2.2/32",
    ] {
        assert_eq!(canonical(other), line);
    }
    assert_eq!(
        canonical("lb as 10.10.2.2/32 10.0.0.1 weight 5 10.0.0.2 port 80 flush protocol udp"),
        "lb as 10.10.2.2/32 protocol udp port 80 10.0.0.1 10.0.0.2 weight 5 flush"
    );
    assert_eq!(
        canonical("set ip neighbor static eth0 172.16.1.2 0200.0000.0102"),
        "set ip neighbor eth0 172.16.1.2 02:00:00:00:01:02 static"
    );
    assert_eq!(
        canonical("ip route 10.1.2.3/8 via 10.10.10.1 eth0"),
        "ip route add 10.0.0.0/8 via 10.10.10.1 eth0"
    );
}

#[test]
fn path_words_may_be_cut_short() {
    for (short, long) in [
        ("sh lb vip", "show lb vips"),
        ("show lb v verbose", "show lb vips verbose"),
        ("sho int", "show interface"),
        ("sh int addr", "show interface address"),
        ("sh hard eth0", "show hardware-interfaces eth0"),
        ("se in st eth0 up", "set interface state eth0 up"),
        ("cl ru", "clear runtime"),
        ("q", "quit"),
        ("show interface client0", "show interface client0"),
        ("show runtime json", "show runtime json"),
    ] {
        assert_eq!(canonical(short), long);
    }
    refused("s lb", "s", "could be save, set, show");
    refused("c", "c", "could be clear, comment, confirm, create");
    refused("show r", "r", "could be running-config, runtime");
    refused("set i", "i", "could be interface, ip");
}

#[test]
fn blank_lines_and_comments_do_nothing() {
    for line in ["", "   ", "# a comment", "  # lb vip", "comment lb vip"] {
        assert_eq!(parse_line(line), Ok(Command::Blank));
    }
    assert_eq!(canonical("show lb # what a line"), "show lb");
}

#[test]
fn ports_are_not_cut_to_16_bits() {
    refused("lb vip 1.2.3.4/32 protocol tcp port 70000", "70000", "between 1 and 65535");
    for all in ["port 0", "protocol tcp port 0"] {
        assert_eq!(canonical(&format!("lb vip 1.2.3.4/32 {all}")), canonical("lb vip 1.2.3.4/32"));
    }
    refused("lb vip 1.2.3.4/32 port 0 encap nat4", "nat4", "port");
    refused("lb vip 1.2.3.4/32 protocol tcp port -1", "-1", "between 1 and 65535");
    refused("lb vip 1.2.3.4/32 protocol tcp port http", "http", "must be a number");
    let nat = "lb vip 1.2.3.4/32 protocol tcp port 80 encap nat4";
    refused(&format!("{nat} target_port 65536"), "65536", "target_port must be between");
    refused(
        &format!("{nat} target_port 99999999999999999999999999999999999999999"),
        "99999999999999999999999999999999999999999",
        "between",
    );
}

#[test]
fn protocol_and_port_come_together() {
    refused("lb vip 1.2.3.4/32 port 80", "80", "write `protocol tcp port 80`");
    refused("lb vip 1.2.3.4/32 protocol udp", "udp", "write `protocol udp port <n>`");
    refused("lb as 1.2.3.4/32 port 80 10.0.0.1", "80", "port without a protocol");
    refused("lb flush vip 1.2.3.4/32 port 80", "80", "port without a protocol");
    refused("lb vip 1.2.3.4/32 protocol sctp port 80", "sctp", "one of tcp, udp");
    refused("lb vip 1.2.3.4/32 protocol tcp protocol udp port 1", "protocol", "twice");
    refused("lb vip 1.2.3.4/32 port", "port", "needs a value");
}

#[test]
fn a_junk_word_is_refused_at_once() {
    refused("lb flush vip 90.0.0.0/8 junk", "junk", "usage: lb flush vip");
    refused("lb vip 90.0.0.0/8 encpa nat4", "encpa", "did you mean `encap`?");
    refused("lb as 90.0.0.0/8 foo", "foo", "invalid as address");
    refused("lb as 90.0.0.0/8 10.0.0.1 wieght 3", "wieght", "did you mean `weight`?");
    refused("show lb vips verbos", "verbos", "did you mean `verbose`?");
    refused("shwo lb", "shwo", "did you mean `show`?");
    refused("lb conf foo", "foo", "usage: lb conf");
    refused("ip route add 10.0.0.0/8 via 10.0.0.1 a b", "b", "unknown input");
    refused("ip route del 10.0.0.0/8 eth0", "eth0", "unknown input");
}

#[test]
fn a_command_without_its_words_says_what_it_wants() {
    refused("lb vip", "", "usage: lb vip <vip-prefix>");
    refused("lb as", "", "usage: lb as <vip-prefix>");
    refused("lb as 90.0.0.0/8", "", "no AS address provided");
    refused("lb conf", "", "usage: lb conf");
    refused("lb set interface nat4", "", "in <interface> is missing");
    refused("lb", "", "next: as, conf, flush, no-match, set, vip");
    refused("set interface state eth0", "", "up|down is missing");
    refused("ip route add 10.0.0.0/8", "", "via <address> is missing");
    refused("set ip neighbor eth0 1.2.3.4", "", "<mac> is missing");
    let error = parse_line("lb vip").unwrap_err();
    assert_eq!(error.column, 7, "the place after the last word");
}

#[test]
fn a_vip_prefix_needs_its_length() {
    refused("lb vip 91.0.0.1", "91.0.0.1", "invalid vip prefix: the prefix length is missing");
    refused("lb vip 91.0.0.1", "91.0.0.1", "write 91.0.0.1/32");
    refused("lb vip 91.0.0.1/33 encap gre4", "91.0.0.1/33", "between 0 and 32");
    refused("lb vip 2001:db8::1/129", "2001:db8::1/129", "between 0 and 128");
    refused("lb as foo 10.0.0.1", "foo", "invalid vip prefix");
    assert_eq!(canonical("lb vip 90.1.2.3/8 encap gre4"), "lb vip 90.0.0.0/8 encap gre4");
}

#[test]
fn table_sizes_that_crash_vpp_are_refused() {
    refused("lb conf buckets 0", "0", "between 1 and 16777216");
    refused("lb conf buckets 1000", "1000", "nearest are 512 and 1024");
    refused("lb conf buckets 4294967296", "4294967296", "between 1 and 16777216");
    for n in ["25", "26", "31", "32"] {
        refused(&format!("lb conf buckets-log2 {n}"), n, "between 0 and 24");
    }
    refused("lb conf buckets 8 buckets-log2 3", "3", "the same thing");
    assert_eq!(canonical("lb conf buckets-log2 24"), "lb conf buckets 16777216");
    let vip = "lb vip 1.2.3.4/32 protocol tcp port 80 encap nat4 new_len";
    refused(&format!("{vip} 0"), "0", "between 1 and 16777216");
    refused(&format!("{vip} 1000"), "1000", "nearest are 997 and 1009");
    refused(&format!("{vip} 16777217"), "16777217", "between 1 and 16777216");
    for good in [1, 1009, 1024, 65_537, 1 << 24] {
        let Ok(Command::LbVipAdd(add)) = parse_line(&format!("{vip} {good}")) else {
            panic!("{good} is refused");
        };
        assert_eq!(add.new_len.unwrap().value, good);
    }
}

#[test]
fn timeouts_have_a_range() {
    for of in FlowTimeout::ALL {
        for command in ["lb conf", "lb vip 91.0.0.2/32"] {
            for bad in ["-1", "0", "32001", "4294967295"] {
                refused(&format!("{command} {of} {bad}"), bad, "between 1 and 32000");
            }
            refused(&format!("{command} {of} soon"), "soon", "must be a number, not `soon`");
        }
        let Ok(Command::LbConf(conf)) = parse_line(&format!("lb conf {of} 60")) else {
            panic!("not a timeout");
        };
        assert_eq!(conf.timeouts.seconds(*of), Some(60));
        let at = "lb conf ".len() + of.word().len() + 1;
        let span = conf.timeouts.get(*of).unwrap().span;
        assert_eq!((span.start, span.end, conf.timeouts.iter().count()), (at, at + 2, 1));
        let Ok(Command::LbVipUpdate(update)) =
            parse_line(&format!("lb vip 91.0.0.2/32 {of} default update"))
        else {
            panic!("not an update");
        };
        assert_eq!(update.timeouts.get(*of).unwrap().value, IdleTime::Default);
    }
}

#[test]
fn a_vip_has_no_timeouts_of_other_protocols() {
    let tcp = "lb vip 91.0.0.2/32 protocol tcp port 80";
    let udp = "lb vip 91.0.0.2/32 protocol udp port 53";
    refused(&format!("{tcp} udp-timeout 60"), "60", "about UDP, and the VIP is for tcp");
    refused(&format!("{udp} tcp-syn-timeout 61"), "61", "about TCP, and the VIP is for udp");
    refused(&format!("{tcp} other-timeout 62"), "62", "protocols without ports");
    for good in [
        format!("{tcp} timeout 60 tcp-close-timeout 5"),
        format!("{udp} timeout 60 udp-timeout 5 tcp-syn-timeout default"),
        "lb vip 91.0.0.2/32 udp-timeout 1 tcp-close-timeout 1 other-timeout 1".to_owned(),
    ] {
        assert!(matches!(parse_line(&good), Ok(Command::LbVipAdd(_))), "{good}");
    }
}

#[test]
fn vip_words_that_exclude_each_other() {
    let vip = |words: &str| format!("lb vip 91.0.0.2/32 {words}");
    refused(&vip("encap l3dsr"), "l3dsr", "needs a dscp");
    refused(&vip("encap l3dsr dscp 64"), "64", "between 0 and 63");
    refused(&vip("encap gre4 dscp 7"), "7", "with encap l3dsr only");
    refused(&vip("encap nat6"), "nat6", "currently does not support NAT46");
    refused("lb vip 2001:db8::1/128 encap nat4", "nat4", "currently does not support NAT64");
    refused(&vip("encap nat4"), "nat4", "needs a protocol and port(s)");
    refused(&vip("protocol tcp port 80 target_port 81"), "81", "no port translation in encap gre4");
    refused(&vip("encap gre4 type nodeport"), "nodeport", "with a NAT encap only");
    refused(&vip("type foo"), "foo", "one of nodeport, clusterip");
    refused(&vip("encap nat5"), "nat5", "did you mean `nat4`?");
}

#[test]
fn deleting_a_vip_takes_the_line_that_made_it() {
    let del = "lb vip 91.0.0.2/32 del";
    assert_eq!(canonical("lb vip 91.0.0.2/32 encap l3dsr del"), del);
    assert_eq!(canonical("lb vip 91.0.0.2/32 encap l3dsr dscp 9 del"), del);
    assert_eq!(
        canonical("lb vip 91.0.0.2/32 protocol udp port 53 encap nat4 target_port 5 del"),
        "lb vip 91.0.0.2/32 protocol udp port 53 del"
    );
}

#[test]
fn as_words() {
    let servers = |words: &str| format!("lb as 90.0.0.0/8 {words}");
    refused(&servers("10.0.0.6 weight 101"), "101", "weight must be between 0 and 100");
    refused(&servers("10.0.0.6 weight 10 del"), "10", "weight and del are mutually exclusive");
    refused(&servers("0.0.0.0"), "0.0.0.0", "unspecified");
    refused(&servers("::1"), "::1", "loopback");
    refused(&servers("::ffff:10.0.0.1"), "::ffff:10.0.0.1", "write it as IPv4");
    refused(&servers("224.0.0.1"), "224.0.0.1", "multicast");
    refused(&servers("10.0.0.300"), "10.0.0.300", "not an IP address");
    refused("lb as 90.1.1.1/32 90.1.1.1", "90.1.1.1", "is the VIP itself");
    assert_eq!(canonical(&servers("90.1.1.1")), servers("90.1.1.1"), "the FIB tells them apart");
    assert_eq!(
        canonical(&servers("10.0.0.4 10.0.0.4 10.0.0.5 10.0.0.4 del")),
        servers("10.0.0.4 10.0.0.5 del")
    );
}

#[test]
fn host_commands_check_their_values() {
    refused("set interface state eth0 upp", "upp", "did you mean `up`?");
    refused("set interface mtu 20 eth0", "20", "mtu must be between 68 and 9216");
    refused("set interface ip address eth0 10.0.0.0/24", "10.0.0.0/24", "the subnet itself");
    refused("set interface ip address eth0 10.0.0.255/24", "10.0.0.255/24", "broadcast");
    refused("set interface ip address eth0 10.0.0.1", "10.0.0.1", "length is missing");
    refused("set ip neighbor e 1.2.3.4 01:00:00:00:00:01", "01:00:00:00:00:01", "one station");
    refused("ip route add 10.0.0.0/8 via 2001:db8::1", "2001:db8::1", "family");
    refused("ip route add del 10.0.0.0/8", "del", "mutually exclusive");
    refused("ping 1.2.3.4 interval 0", "0", "between 0.001 and 60");
    refused("trace add dpdk-input 0", "0", "between 1 and 100000");
    refused("show ip fib 10.0.0.1 summary", "10.0.0.1", "summary counts all");
    refused("show hardware-interfaces brief verbose", "verbose", "mutually exclusive");
    assert_eq!(
        canonical("ping 1.2.3.4 interval 0.25 repeat 3"),
        "ping 1.2.3.4 interval 0.250 repeat 3"
    );
    assert_eq!(
        canonical("set interface ip address eth0 10.0.0.0/31"),
        "set interface ip address eth0 10.0.0.0/31"
    );
    let Ok(Command::Show {
        show: Show::Fib { query: FibQuery::Entry { longest_match, .. }, .. },
        json,
    }) = parse_line("show ip fib 10.0.0.1 json")
    else {
        panic!("not a FIB entry");
    };
    assert!(longest_match && json);
}

#[test]
fn help_lists_in_columns_like_vpp() {
    let text = help(&["lb"]);
    let firsts: Vec<&str> = text.lines().map(|l| l[2..42].trim_end()).collect();
    assert_eq!(
        firsts,
        [
            "lb as",
            "lb conf",
            "lb flush vip",
            "lb no-match",
            "lb set interface nat4",
            "lb set interface nat6",
            "lb vip"
        ]
    );
    let flush = format!(
        "  {:<40} {}\n",
        "lb flush vip", "lb flush vip <vip-prefix> [protocol (tcp|udp) port (<n>|<a>-<b>)]"
    );
    assert!(text.contains(&flush), "{text}");
    assert_eq!(parse_line("lb v?"), Ok(Command::Help { topic: vec!["lb".into(), "v".into()] }));
    assert_eq!(help(&["lb", "v"]).lines().count(), 2);
    assert_eq!(help(&["lb", "vip", "1.2.3.4/32"]), help(&["lb", "v"]));
    assert_eq!(help(&["frobnicate"]), "");
    assert!(help::<&str>(&[]).lines().count() > 30);
}

#[test]
fn completion_reads_the_same_grammar() {
    let words = |line: &str| -> Vec<&str> {
        let word = |c| match c {
            Candidate::Word(word) => word,
            Candidate::Value(slot) => slot.label,
        };
        complete(line).candidates.into_iter().map(word).collect()
    };
    assert_eq!(words("sh"), ["show"]);
    assert_eq!(words("show lb "), ["as", "balance", "flow", "flows", "no-match", "vips", "json"]);
    assert_eq!(words("lb vip 1.2.3.4/32 protocol "), ["tcp", "udp"]);
    assert_eq!(words("lb vip 1.2.3.4/32 protocol t"), ["tcp"]);
    assert_eq!(words("lb as 1.2.3.4/32 10.0.0.1 w"), ["<address>", "weight"]);
    assert_eq!(words("lb flush vip 1.2.3.4/32 port 5 "), ["protocol"]);
    assert_eq!(words("s lb "), Vec::<&str>::new(), "nothing follows an ambiguous word");
    let state = complete("set int state ");
    let Candidate::Value(slot) = state.candidates[0] else { panic!("not a value") };
    assert_eq!((state.start, slot.kind), (14, Kind::Interface));
    assert_eq!(complete("set int state eth").start, 14);
    assert_eq!(words("set int state eth0 "), ["up", "down"]);
}

#[test]
fn draining_has_words_of_its_own() {
    let servers = |rest: &str| format!("lb as 10.1.1.1/32 protocol tcp port 80 {rest}");
    for rest in ["10.0.0.1 10.0.0.2 drain", "10.0.0.1 drain then del", "10.0.0.1 undrain"] {
        assert_eq!(canonical(&servers(rest)), servers(rest));
        assert!(parse_line(&servers(rest)).unwrap().is_configuration());
    }
    assert_eq!(canonical(&servers("drain flush 10.0.0.1")), servers("10.0.0.1 drain flush"));
    assert_eq!(
        canonical(&servers("10.0.0.1 drain then del flush")),
        servers("10.0.0.1 drain then del flush")
    );
    for (rest, token, why) in [
        ("10.0.0.1 drain del", "del", "`drain then del` removes it after its last flow"),
        ("10.0.0.1 then del", "then", "write `drain then del`"),
        ("10.0.0.1 drain then", "then", "write `drain then del`"),
        ("10.0.0.1 del then drain", "then", "write `drain then del`"),
        ("10.0.0.1 drain undrain", "undrain", "undrain and drain are mutually exclusive"),
        ("10.0.0.1 undrain del", "del", "del and undrain are mutually exclusive"),
        ("10.0.0.1 drain drain", "drain", "given twice"),
        ("10.0.0.1 drain weight 5", "5", "weight and drain are mutually exclusive"),
        ("10.0.0.1 drain then del encap gre4", "gre4", "encap and drain then del are"),
        ("10.0.0.1 undrain flush", "flush", "flush and undrain are mutually exclusive"),
    ] {
        refused(&servers(rest), token, why);
    }
}

#[test]
fn waiting_and_listing() {
    let line = "wait drained 10.1.1.1/32 protocol tcp port 80-89 10.0.0.1 timeout 60";
    assert_eq!(canonical(line), line);
    assert_eq!(
        canonical("wait dr 10.1.1.1/32 timeout 0 2001::1"),
        "wait drained 10.1.1.1/32 2001::1 timeout 0"
    );
    refused("wait drained 10.1.1.1/32", "", "<address> is missing");
    refused("wait drained 10.1.1.1/32 10.0.0.1 timeout never", "never", "timeout must be a number");
    let line = "show lb flows vip 10.1.1.0/24 protocol udp port 53 as 10.0.0.1 client 10.9.0.0/16 limit 7 \
                cursor 2:4096 json";
    assert_eq!(canonical(line), line);
    assert_eq!(canonical("sh lb flows client 10.9.9.9"), "show lb flows client 10.9.9.9/32");
    assert_eq!(
        canonical("show lb flow 10.0.0.1 1 10.1.1.1 80 tcp"),
        "show lb flow 10.0.0.1 1 10.1.1.1 80 tcp"
    );
    refused("show lb flows port 80", "80", "port without a VIP");
    refused("show lb flows cursor 0:7", "0:7", "<thread>:<entry>");
    refused("show lb flows limit 10001", "10001", "between 1 and 10000");
}
