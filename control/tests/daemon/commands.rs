//! Commands and the model: VPP's answers, its error conditions, and all-or-nothing.

use proptest::prelude::*;

use crate::bench::Bench;

#[test]
fn the_walkthrough_answers_as_vpp_does() {
    let mut bench = Bench::routed();
    assert_eq!(bench.ok("lb set interface nat4 in GigabitEthernet0/9/0"), "");
    let vip = "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80";
    assert_eq!(bench.ok(vip), "lb_vip_add ok 1");
    let servers = "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 192.168.1.3";
    assert_eq!(bench.ok(servers), "");
    assert_eq!(bench.ok("lb flush vip 10.10.2.2/32 protocol tcp port 8080"), "lb_flush_vip ok 1");
    assert_eq!(
        bench.ok("show lb vips"),
        "ip4-nat4 10.10.2.2/32 new_size:65537 #as:2  protocol:6 port:8080  \
         type:clusterip port:8080 target_port:80\n"
    );
    bench.end();
}

#[test]
fn a_wrong_port_is_told_which_vips_the_address_has() {
    let mut bench = Bench::walkthrough();
    bench.ok("lb vip 10.10.2.2/32 protocol udp port 53 encap nat4");
    assert_eq!(
        bench.refused("lb as 10.10.2.2/32 protocol tcp port 8081 1.2.3.4"),
        "8081: there is no VIP 10.10.2.2/32 protocol tcp port 8081 \
         (VIPs on 10.10.2.2: tcp port 8080, udp port 53)"
    );
    let nothing = bench.refused("lb as 10.10.2.3/32 protocol tcp port 8080 1.2.3.4");
    assert!(nothing.starts_with("10.10.2.3/32: there is no VIP 10.10.2.3/32"), "{nothing}");
    assert!(nothing.contains("`show lb vips` lists them"), "{nothing}");
}

#[test]
fn what_does_not_fit_the_model_is_refused_with_word_reason_and_remedy() {
    let mut bench = Bench::walkthrough();
    bench.ok("ip route add 172.16.0.0/12 via 10.10.10.1");
    bench.ok("lb vip 10.10.2.3/32 protocol udp port 53 encap nat4");
    let vip = "10.10.2.2/32 protocol tcp port 8080";
    for (line, expected) in [
        (
            "set interface state nowhere up",
            "nowhere: there is no interface nowhere (interfaces: local0, left0, GigabitEthernet0/9/0)",
        ),
        ("set interface ip address left0 10.10.10.7/25", "overlaps with 10.10.10.254/24 of left0"),
        (
            "set interface ip address GigabitEthernet0/9/0 10.10.10.253/24",
            "overlaps with 10.10.10.254/24 of left0",
        ),
        (
            "set interface ip address GigabitEthernet0/9/0 10.10.10.254/24",
            "left0 already has the address 10.10.10.254",
        ),
        ("set interface ip address left0 10.1.1.0/24", "is the address of the subnet itself"),
        ("set interface ip address left0 10.1.1.255/24", "10.1.1.255 is"),
        ("set interface ip address left0 224.0.0.1/24", "a multicast address"),
        ("set interface ip address left0 127.0.0.1/8", "127.0.0.1"),
        ("set interface ip address local0 10.1.1.1/24", "local0 carries no packets"),
        ("set interface ip address left0 192.168.1.1/32", "overlaps"),
        (
            "set interface ip address del left0 10.10.10.254/24",
            "the route 172.16.0.0/12 via 10.10.10.1 needs it",
        ),
        ("set interface ip address del left0 10.10.10.253/24", "its addresses: 10.10.10.254/24"),
        (
            "ip route add 1.0.0.0/8 via 203.0.113.1",
            "connected: 10.10.10.0/24 on left0, 192.168.1.0/24 on GigabitEthernet0/9/0",
        ),
        (
            "ip route add 1.0.0.0/8 via 10.10.10.1 GigabitEthernet0/9/0",
            "not on a connected network on GigabitEthernet0/9/0",
        ),
        ("ip route add 1.0.0.0/8 via 10.10.10.254", "is our own address on left0"),
        ("ip route add 1.0.0.0/8 via fe80::1", "not of the prefix's family"),
        ("ip route add 2001:db8::/32 via 2001:db8::1", "no interface has an IPv6 address yet"),
        ("ip route add 2001:db8::/32 via fe80::1", "say on which interface it is"),
        ("ip route add 2001:db8::/32 via fe80::1 left0", "not on a connected network on left0"),
        ("set interface ip address left0 ::1/64", "a loopback address"),
        ("set interface ip address left0 ::ffff:1.2.3.4/128", "write it as IPv4"),
        ("set interface ip address left0 ff02::7/64", "a multicast address"),
        ("lb conf ip6-src-address fe80::1", "a link-local address is not routed"),
        ("ip route add 1.0.0.0/8 via 10.10.10.255", "no host can have the next hop"),
        ("ip route add 10.10.10.0/24 via 192.168.1.1", "is connected to left0"),
        ("ip route add 172.16.0.0/12 via 192.168.1.1", "already routed via 10.10.10.1"),
        ("ip route del 172.16.0.0/13", "there is no route 172.16.0.0/13"),
        ("ip route del 172.16.0.0/12 via 10.10.10.2", "it is routed via 10.10.10.1"),
        (
            "set ip neighbor left0 10.10.11.1 02:00:00:00:00:09 static",
            "not a host on a network of left0",
        ),
        ("set ip neighbor left0 10.10.10.254 02:00:00:00:00:09 static", "our own address"),
        ("set ip neighbor del left0 10.10.10.77", "left0 has no neighbor 10.10.10.77"),
        ("lb set interface nat4 in left0 del", "left0 is not nat4 in"),
        (
            "lb vip 192.168.1.1/32 protocol tcp port 80 encap nat4",
            "192.168.1.1 is an AS of the VIP 10.10.2.2/32",
        ),
        ("lb vip 224.1.1.1/32 protocol tcp port 80 encap nat4", "a multicast address"),
        (&format!("lb vip {vip} encap nat4"), "exists already"),
        (&format!("lb as {vip} 10.10.2.2"), "the AS 10.10.2.2 is the VIP itself"),
        (&format!("lb as {vip} 10.10.2.3"), "10.10.2.3 is the address of the VIP"),
        (&format!("lb as {vip} 10.10.10.254"), "is our own address on left0"),
        (&format!("lb as {vip} 192.168.1.1"), "already an AS of the VIP"),
        (&format!("lb as {vip} 192.168.1.9 del"), "its ASs: 192.168.1.1, 192.168.1.3"),
        ("lb vip 10.9.9.9/32 protocol tcp port 80 del", "there is no VIP 10.9.9.9/32"),
        ("trace add no-such-node 5", "input nodes: dpdk-input"),
        ("show interface nowhere", "there is no interface nowhere"),
        ("lb conf hash-key-file /nonexistent/key", "cannot read the hash key /nonexistent/key"),
    ] {
        let error = bench.refused(line);
        assert!(error.contains(expected), "{line}\n  says: {error}");
    }
    bench.end();
}

#[test]
fn commands_that_say_what_is_so_already_are_welcome() {
    let mut bench = Bench::walkthrough();
    bench.ok("ip route add 0.0.0.0/0 via 10.10.10.1 left0");
    bench.ok("set ip neighbor left0 10.10.10.9 02:00:00:00:00:09 static");
    let before = bench.config();
    let is_lb = |line: &&String| line.starts_with("lb vip") || line.starts_with("lb as");
    for line in before.iter().filter(|line| !is_lb(line)) {
        bench.ok(line);
    }
    assert_eq!(bench.config(), before);
}

#[test]
fn weights_flags_and_revival() {
    let mut bench = Bench::walkthrough();
    let servers = "lb as 10.10.2.2/32 protocol tcp port 8080";
    bench.ok(&format!("{servers} 192.168.1.1 weight 50"));
    bench.ok(&format!("{servers} 192.168.1.3 weight 0"));
    assert_eq!(
        bench.config().last().unwrap(),
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 weight 0"
    );
    let vips = bench.control.vips();
    let buckets: Vec<_> = vips.vips[0].servers.iter().map(|server| server.buckets).collect();
    assert_eq!(buckets, [65_537, 0]);
    let index = vips.vips[0].servers[0].index;
    bench.ok(&format!("{servers} 192.168.1.1 del"));
    assert!(bench.control.vips().vips[0].servers[0].removed);
    bench.ok(&format!("{servers} 192.168.1.1"));
    let back = bench.control.vips().vips[0].servers[0].clone();
    assert_eq!((back.index, back.weight, back.removed), (index, 100, false));
}

#[test]
fn a_second_address_of_a_network_and_unnumbered_hosts() {
    let mut bench = Bench::routed();
    bench.ok("set interface ip address left0 10.10.10.253/24");
    bench.ok("set interface ip address left0 172.31.0.1/32");
    bench.ok("set interface ip address left0 172.31.1.0/31");
    bench.ok("set interface ip address del left0 10.10.10.254/24");
    assert!(bench.ok("show interface address left0").contains("  L3 10.10.10.253/24\n"));
}

/// A VIP: few addresses, prefixes and ports of both families.
fn any_vip() -> impl Strategy<Value = String> {
    let prefix = prop_oneof![
        (0_u8..3).prop_map(|host| format!("10.20.0.{host}/32")),
        Just("10.20.0.0/24".to_owned()),
        Just("192.168.1.0/28".to_owned()),
        (1_u8..3).prop_map(|host| format!("2001:db8:20::{host}/128")),
        Just("2001:db8:20::/48".to_owned()),
    ];
    let ports = prop_oneof![
        1 => Just(String::new()),
        3 => (prop_oneof!["tcp", "udp"], 1_u16..4).prop_map(|(p, port)| format!(" protocol {p} port {port}")),
        1 => (1_u16..4, 4_u16..6).prop_map(|(a, b)| format!(" protocol tcp port {a}-{b}")),
    ];
    (prefix, ports).prop_map(|(prefix, ports)| format!("{prefix}{ports}"))
}

fn any_encap() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("nat4"),
        Just("nat6"),
        Just("gre4"),
        Just("gre6"),
        Just("ipip"),
        Just("gue"),
        Just("dr"),
        Just("l3dsr dscp 7"),
    ]
}

fn any_options() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just(""),
        1 => Just(" scheduler rr"),
        1 => Just(" src_ip_sticky"),
        1 => Just(" mss auto"),
        1 => Just(" mss 1300 name some"),
        1 => Just(" target_port 80"),
        1 => Just(" type nodeport node_port 30000"),
    ]
}

fn any_lb_line() -> impl Strategy<Value = String> {
    let server = prop_oneof![
        (1_u8..6).prop_map(|host| format!("192.168.1.{host}")),
        (1_u8..4).prop_map(|host| format!("2001:db8:1::{host}")),
    ];
    let tail = prop_oneof![
        3 => Just(String::new()),
        1 => Just(" del".to_owned()),
        1 => Just(" del flush".to_owned()),
        2 => (0_u8..=100).prop_map(|weight| format!(" weight {weight}")),
        2 => any_encap().prop_map(|encap| format!(" encap {encap}")),
    ];
    let policy = prop_oneof![Just("drop"), Just("rst"), Just("icmp"), Just("punt"), Just("del")];
    let setting = prop_oneof![
        Just("tunnel-ttl 9 tunnel-dscp 3"),
        Just("tunnel-df set too-big fragment"),
        Just("no-match rst ip4-src-entropy 10.99.0.0/16"),
        Just("ip4-src-address 39.40.41.42 timeout 7"),
        Just("gue-port 7000 tunnel-ecn zero buckets 64"),
    ];
    prop_oneof![
        6 => (any_vip(), any_encap(), any_options())
            .prop_map(|(vip, encap, options)| format!("lb vip {vip} encap {encap}{options} new_len 17")),
        2 => (any_vip(), any_encap(), any_options())
            .prop_map(|(vip, encap, options)| format!("lb vip {vip} encap {encap}{options} update")
                .replace("src_ip_sticky", "src_ip_sticky on")),
        1 => any_vip().prop_map(|vip| format!("lb vip {vip} del")),
        8 => (any_vip(), server, tail).prop_map(|(v, s, t)| format!("lb as {v} {s}{t}")),
        1 => any_vip().prop_map(|vip| format!("lb flush vip {vip}")),
        1 => (0_u8..3, policy).prop_map(|(net, policy)| format!("lb no-match 10.{net}.0.0/16 {policy}")),
        1 => setting.prop_map(|setting| format!("lb conf {setting}")),
    ]
}

/// Lines of which many fail in any order.
fn any_line() -> impl Strategy<Value = String> {
    let link = || {
        prop_oneof![
            2 => Just("left0"),
            2 => Just("GigabitEthernet0/9/0"),
            1 => Just("left0.5"),
            1 => Just("ipip3"),
        ]
    };
    prop_oneof![
        10 => any_lb_line(),
        1 => (link(), any::<bool>()).prop_map(|(link, up)| {
            format!("set interface state {link} {}", if up { "up" } else { "down" })
        }),
        2 => (link(), 0_u8..4, any::<bool>(), any::<bool>()).prop_map(|(link, net, del, v6)| {
            let del = if del { "del " } else { "" };
            match v6 {
                true => format!("set interface ip address {del}{link} 2001:db8:3{net}::1/64"),
                false => format!("set interface ip address {del}{link} 10.30.{net}.1/24"),
            }
        }),
        2 => (0_u8..4, 0_u8..4, any::<bool>(), any::<bool>()).prop_map(|(net, via, del, v6)| {
            let verb = if del { "del" } else { "add" };
            match v6 {
                true => format!("ip route {verb} 2001:db8:4{net}::/48 via 2001:db8:3{via}::9"),
                false => format!("ip route {verb} 10.40.{net}.0/24 via 10.30.{via}.9"),
            }
        }),
        1 => (0_u8..4, any::<bool>()).prop_map(|(net, del)| {
            let verb = if del { "del" } else { "add" };
            format!("ip route {verb} 10.50.{net}.0/24 via ipip3")
        }),
        1 => (link(), 0_u8..4, any::<bool>()).prop_map(|(link, net, del)| match del {
            true => format!("set ip neighbor del {link} 10.30.{net}.8"),
            false => format!("set ip neighbor {link} 10.30.{net}.8 02:00:00:00:00:08 static"),
        }),
        1 => (link(), any::<bool>(), any::<bool>()).prop_map(|(link, del, v6)| {
            let nat = if v6 { "nat6" } else { "nat4" };
            format!("lb set interface {nat} in {link}{}", if del { " del" } else { "" })
        }),
        1 => prop_oneof![
            Just("create sub-interfaces left0 5 dot1ad 7 inner-dot1q 8"),
            Just("delete sub-interface left0.5"),
            Just("create ipip tunnel src 192.168.1.254 dst 10.30.1.9 instance 3"),
            Just("delete ipip tunnel ipip3"),
            Just("set interface mtu packet 1400 ipip3"),
            Just("set interface mtu packet 1300 left0.5"),
        ].prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Whatever is typed: refused lines change nothing, nothing panics, every snapshot works, and
    /// the running configuration makes the same box again.
    #[test]
    fn any_commands_leave_a_box_that_its_configuration_describes(
        lines in proptest::collection::vec(any_line(), 1..60),
    ) {
        let mut bench = Bench::routed();
        for line in &lines {
            let before = bench.config();
            let Ok(command) = config::parse(line) else { continue };
            if bench.control.execute(&command).is_err() {
                prop_assert_eq!(&bench.config(), &before, "{} was refused", line);
            }
            bench.turn();
        }
        let config = bench.config();
        let mut again = Bench::new(1);
        for line in &config {
            again.ok(line);
        }
        prop_assert_eq!(again.config(), config);
        let digests = |bench: &Bench| {
            let vips = bench.control.vips().vips.into_iter();
            let mut all: Vec<_> = vips.map(|vip| (vip.title(), vip.new_flow_table_digest)).collect();
            all.sort();
            all
        };
        prop_assert_eq!(digests(&bench), digests(&again));
        bench.end();
    }
}
