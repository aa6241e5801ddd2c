//! The TOML file's forwarding methods, tunnels, sub-interfaces and policies.

use config::{Command, Startup, parse_line, report};

const DEVICE: &str = "[[dpdk.dev]]\nname = \"eth0\"\nvdev = \"net_null0\"\n";

/// The commands of a file with the device `eth0`, as lines that mean the same.
#[track_caller]
fn lines(text: &str) -> Vec<String> {
    let text = format!("{DEVICE}{text}");
    let startup = Startup::parse(&text).unwrap_or_else(|p| panic!("{}", report("f", &text, &p)));
    let line = |command: &Command| {
        let line = command.to_string();
        assert_eq!(parse_line(&line).as_ref(), Ok(command));
        line
    };
    startup.commands.iter().map(|statement| line(&statement.command)).collect()
}

/// Checks what is said about a broken file with the device `eth0`: the place and part of the
/// message of every problem, in order.
#[track_caller]
fn refused(text: &str, expected: &[(&str, &str)]) {
    let text = format!("{DEVICE}{text}");
    let problems = Startup::parse(&text).expect_err(&text);
    let shown = report("f", &text, &problems);
    assert_eq!(problems.len(), expected.len(), "{shown}");
    for (problem, (token, why)) in problems.iter().zip(expected) {
        assert!(problem.span.text(&text).starts_with(token), "`{token}` is not at:\n{shown}");
        let message = format!("{} {}", problem.reason, problem.hint.as_deref().unwrap_or(""));
        assert!(message.contains(why), "`{why}` is not in:\n{shown}");
    }
}

#[test]
fn every_key_of_lb() {
    let text = "[lb]\nip6-src-address = \"2004::1\"\ntunnel-ttl = 32\ntunnel-dscp = 10\n\
                tunnel-ecn = \"zero\"\ntunnel-df = \"set\"\ntoo-big = \"fragment\"\n\
                gue-port = 6081\nip4-src-entropy = \"10.0.0.0/8\"\nip6-src-entropy = \"off\"\n\
                no-match = \"icmp\"\n";
    assert_eq!(
        lines(text),
        ["lb conf ip6-src-address 2004::1 tunnel-ttl 32 tunnel-dscp 10 tunnel-ecn zero \
          tunnel-df set too-big fragment gue-port 6081 ip4-src-entropy 10.0.0.0/8 \
          ip6-src-entropy off no-match icmp"]
    );
    assert_eq!(lines("[lb]\ntunnel-dscp = \"copy\"\n"), ["lb conf tunnel-dscp copy"]);
    let lb = |text: &str| format!("[lb]\n{text}\n");
    refused(&lb("tunnel-ttl = 0"), &[("0", "between 1 and 255")]);
    refused(&lb("tunnel-dscp = 64"), &[("64", "between 0 and 63")]);
    refused(&lb("tunnel-dscp = true"), &[("true", "must be an integer or a string")]);
    refused(&lb("tunnel-ecn = \"copy\""), &[("\"copy\"", "one of rfc6040, zero")]);
    refused(&lb("tunnel-df = 1"), &[("1", "must be a string")]);
    refused(&lb("gue-port = 0"), &[("0", "between 1 and 65535")]);
    refused(&lb("ip4-src-entropy = \"::/64\""), &[("\"::/64\"", "not an IPv4 prefix")]);
    refused(&lb("too_big = \"drop\""), &[("too_big", "did you mean `too-big`?")]);
}

#[test]
fn policies_and_their_tap() {
    let policy = "[[no-match]]\nprefix = \"10.0.0.0/8\"\npolicy = \"punt\"\n";
    let punt = "[punt]\ntap = \"sluice0\"\n";
    assert_eq!(lines(&format!("{punt}{policy}")), ["lb no-match 10.0.0.0/8 punt"]);
    let startup = Startup::parse(punt).unwrap();
    assert_eq!(startup.punt.unwrap().tap.value, "sluice0");
    assert_eq!(Startup::parse("").unwrap().punt, None);
    refused(policy, &[("\"punt\"", "add `[punt]`")]);
    refused("[lb]\nno-match = \"punt\"\n", &[("\"punt\"", "add `[punt]`")]);
    refused(&format!("[punt]\n{policy}"), &[("[punt]", "lacks `tap`")]);
    for name in ["", "a b", "a/b", "sixteen-letters-", ".."] {
        let tap = format!("[punt]\ntap = \"{name}\"\n");
        refused(&tap, &[(&format!("\"{name}\""), "cannot be the name of a kernel interface")]);
    }
    refused(
        "[[dpdk.dev]]\nname = \"t\"\nvdev = \"net_tap0,iface=sluice0\"\n[punt]\ntap = \"sluice0\"\n",
        &[("\"sluice0\"", "the device t has the kernel interface sluice0")],
    );
    refused(
        "[[no-match]]\nprefix = \"10.0.0.0/8\"\n[[no-match]]\nprefix = \"10.0.0.0/8\"\n\
         policy = \"rts\"\n",
        &[
            ("[[no-match]]", "lacks `policy`"),
            ("\"10.0.0.0/8\"", "given twice"),
            ("\"rts\"", "did you mean `rst`?"),
        ],
    );
    refused("[lb]\nno-match = []\n", &[("[]", "must be a string")]);
}

#[test]
fn sub_interfaces() {
    let sub = |text: &str| format!("[[sub-interface]]\ninterface = \"eth0\"\n{text}\n");
    assert_eq!(
        lines(&format!(
            "{}{}[[interface]]\nname = \"eth0.11\"\naddress = [\"10.0.11.1/24\"]\nlb-nat6-in = true\n\
             [[interface]]\nname = \"eth0\"\naddress = [\"10.0.0.1/24\"]\n\
             [[neighbor]]\ninterface = \"eth0.11\"\naddress = \"10.0.11.2\"\n\
             mac = \"02:00:00:00:00:01\"\n",
            sub("id = 11"),
            sub("id = 7\ndot1ad = 100\ninner-dot1q = 200"),
        )),
        [
            "set interface ip address eth0 10.0.0.1/24",
            "set interface state eth0 up",
            "create sub-interfaces eth0 11 dot1q 11",
            "create sub-interfaces eth0 7 dot1ad 100 inner-dot1q 200",
            "set interface ip address eth0.11 10.0.11.1/24",
            "set interface state eth0.11 up",
            "set ip neighbor eth0.11 10.0.11.2 02:00:00:00:00:01 static",
            "lb set interface nat6 in eth0.11",
        ]
    );
    refused(&sub(""), &[("[[sub-interface]]", "lacks `id`")]);
    refused(&sub("id = 5000"), &[("5000", "add `dot1q <1-4094>`")]);
    refused(&sub("id = 5\ndot1q = 4095"), &[("4095", "between 1 and 4094")]);
    refused(&sub("id = 5\ndot1q = 1\ndot1ad = 2"), &[("2", "exclude each other")]);
    refused(&sub("id = 5\ninner-dot1q = 2"), &[("2", "without an outer one")]);
    refused(&format!("{}{}", sub("id = 5"), sub("id = 5")), &[("5", "eth0.5 is given twice")]);
    refused(
        &format!("{}{}", sub("id = 5"), sub("id = 6\ndot1q = 5")),
        &[("6", "eth0.5 has dot1q 5 already")],
    );
    refused(
        "[[sub-interface]]\ninterface = \"eth1\"\nid = 5\n",
        &[("\"eth1\"", "there is no device called `eth1`")],
    );
    refused(
        "[[dpdk.dev]]\nname = \"eth0.5\"\nvdev = \"net_null1\"\n[[sub-interface]]\n\
         interface = \"eth0\"\nid = 5\n",
        &[("5", "a device is called `eth0.5`, too")],
    );
}

#[test]
fn tunnels() {
    let tunnel = |src: &str, dst: &str, rest: &str| {
        format!("[[tunnel]]\nsrc = \"{src}\"\ndst = \"{dst}\"\n{rest}\n")
    };
    let first = tunnel("10.0.0.1", "10.0.0.2", "");
    assert_eq!(
        lines(&format!(
            "{}{first}{}[[interface]]\nname = \"ipip0\"\naddress = [\"10.255.0.1/30\"]\n\
             [[interface]]\nname = \"eth0\"\naddress = [\"10.0.0.1/24\"]\n\
             [[route]]\nprefix = \"10.9.0.0/16\"\ninterface = \"ipip0\"\n\
             [[route]]\nprefix = \"10.8.0.0/16\"\nvia = \"10.255.0.2\"\ninterface = \"ipip0\"\n",
            tunnel("2001::1", "2001::2", "instance = 1"),
            tunnel("10.0.0.1", "10.0.0.3", ""),
        )),
        [
            "set interface ip address eth0 10.0.0.1/24",
            "set interface state eth0 up",
            "create ipip tunnel src 2001::1 dst 2001::2 instance 1",
            "create ipip tunnel src 10.0.0.1 dst 10.0.0.2 instance 0",
            "create ipip tunnel src 10.0.0.1 dst 10.0.0.3 instance 2",
            "set interface ip address ipip0 10.255.0.1/30",
            "set interface state ipip0 up",
            "ip route add 10.9.0.0/16 via ipip0",
            "ip route add 10.8.0.0/16 via 10.255.0.2 ipip0",
        ]
    );
    refused(&format!("{first}{first}"), &[("\"10.0.0.1\"", "given twice")]);
    let numbered = |dst| tunnel("10.0.0.1", dst, "instance = 3");
    let two = format!("{}{}", numbered("10.0.0.2"), numbered("10.0.0.3"));
    refused(&two, &[("3", "two tunnels have the instance 3")]);
    refused(&tunnel("10.0.0.1", "::2", ""), &[("\"::2\"", "src 10.0.0.1 is IPv4")]);
    refused(&tunnel("10.0.0.1", "10.0.0.1", ""), &[("\"10.0.0.1\"", "are the same")]);
    refused("[[tunnel]]\nsrc = \"10.0.0.1\"\n", &[("[[tunnel]]", "lacks `dst`")]);
    refused(
        "[[dpdk.dev]]\nname = \"ipip7\"\nvdev = \"net_null1\"\n",
        &[("\"ipip7\"", "how tunnels are called")],
    );
}

#[test]
fn routes_and_neighbours_of_ipv6() {
    let own = "[[interface]]\nname = \"eth0\"\naddress = [\"2001:db8::1/64\", \"fe80::1/64\"]\n";
    let route = |text: &str| format!("{own}[[route]]\nprefix = \"::/0\"\n{text}\n");
    assert_eq!(
        lines(&format!(
            "{}[[neighbor]]\ninterface = \"eth0\"\naddress = \"fe80::2\"\n\
             mac = \"02:00:00:00:00:02\"\n",
            route("via = \"fe80::2\"\ninterface = \"eth0\"")
        ))[3..],
        [
            "set ip neighbor eth0 fe80::2 02:00:00:00:00:02 static",
            "ip route add ::/0 via fe80::2 eth0",
        ]
    );
    refused(&route("via = \"fe80::2\""), &[("\"fe80::2\"", "say on which interface")]);
    refused(&route("via = \"2001:db9::2\""), &[("\"2001:db9::2\"", "not on a connected subnet")]);
    refused(&route("interface = \"eth0\""), &[("\"eth0\"", "needs its next hop")]);
    refused(&route("interface = \"eth1\"\nvia = \"2001:db8::2\""), &[("\"eth1\"", "no device")]);
    refused(&route(""), &[("[[route]]", "lacks `via`")]);
    refused(&route("via = 3"), &[("3", "must be a string")]);
}

#[test]
fn vips_of_every_kind() {
    let text = "[[vip]]\nprefix = \"90.0.0.0/8\"\n\
                as = [\"10.0.0.1\", { address = \"90.0.0.9\", encap = \"l3dsr\", dscp = 4 }, \
                { address = \"2001:db8::1\", encap = \"gre6\", weight = 7 }]\n\
                [[lb.vip]]\nprefix = \"90.0.0.1/32\"\nprotocol = \"tcp\"\nport = \"10-20\"\n\
                encap = \"nat4\"\ntarget-port = \"30-40\"\nscheduler = \"rr\"\nmss = 1360\n\
                [[vip]]\nprefix = \"90.0.0.1/32\"\nprotocol = \"tcp\"\nport = 15\nencap = \"nat4\"\n\
                type = \"nodeport\"\nnode-port = 0x7530\ntarget-port = 80\nmss = \"auto\"\n\
                [[lb.vip.as]]\naddress = \"10.0.0.1\"\nweight = 5\n";
    assert_eq!(
        lines(text),
        [
            "lb vip 90.0.0.0/8",
            "lb as 90.0.0.0/8 10.0.0.1",
            "lb as 90.0.0.0/8 90.0.0.9 encap l3dsr dscp 4",
            "lb as 90.0.0.0/8 2001:db8::1 weight 7 encap gre6",
            "lb vip 90.0.0.1/32 protocol tcp port 15 encap nat4 type nodeport node_port 30000 \
             target_port 80 mss auto",
            "lb vip 90.0.0.1/32 protocol tcp port 10-20 encap nat4 target_port 30-40 scheduler rr \
             mss 1360",
            "lb as 90.0.0.1/32 protocol tcp port 10-20 10.0.0.1 weight 5",
        ]
    );
}

#[test]
fn vips_that_cannot_be() {
    let vip = |words: &str| format!("[[vip]]\nprefix = \"90.0.0.1/32\"\n{words}\n");
    let tcp = |port: &str, words: &str| vip(&format!("protocol = \"tcp\"\nport = {port}\n{words}"));
    refused(&tcp("\"9-1\"", ""), &[("\"9-1\"", "write 1-9")]);
    refused(&tcp("0", ""), &[("0", "port must be between 1 and 65535, not 0")]);
    refused(&tcp("true", ""), &[("true", "must be an integer or a string")]);
    refused(&tcp("80", "target-port = 81"), &[("81", "no port translation in encap gre4")]);
    refused(
        &tcp("80", "encap = \"nat4\"\nnode-port = 81"),
        &[("81", "goes with type nodeport only")],
    );
    refused(&vip("encap = \"nat6\""), &[("\"nat6\"", "does not support NAT46")]);
    refused(&vip("scheduler = \"rr\"\nsrc-ip-sticky = true"), &[("\"rr\"", "exclude each other")]);
    refused(&vip("mss = 12"), &[("12", "between 88 and 9176")]);
    refused(
        &format!("{}{}", tcp("\"10-20\"", ""), tcp("\"20-30\"", "")),
        &[("\"90.0.0.1/32\"", "overlap those of 90.0.0.1/32 protocol tcp port 10-20")],
    );
    let node = |port| tcp(port, "encap = \"nat4\"\ntype = \"nodeport\"\nnode-port = 30000");
    refused(
        &format!("{}{}", node("1"), node("2")),
        &[("30000", "two VIPs have the node port 30000")],
    );
    refused(
        &vip("as = [{ address = \"10.0.0.1\", encap = \"dr\", dscp = 3 }, \
              { address = \"2001::1\", encap = \"dr\" }, { address = \"2001::1\" }, \
              { address = \"10.0.0.2\", encap = \"l3dsr\" }]"),
        &[
            ("3", "with encap l3dsr only"),
            ("\"2001::1\"", "encap dr needs IPv4 ASs"),
            ("\"2001::1\"", "listed twice"),
            ("\"2001::1\"", "encap gre4 needs IPv4 ASs"),
            ("\"l3dsr\"", "the VIP has none"),
        ],
    );
    refused(
        &tcp("80", "encap = \"nat4\"\nas = [{ address = \"10.0.0.1\", encap = \"ipip\" }]"),
        &[("\"ipip\"", "does not go with the VIP's encap nat4")],
    );
    refused(
        &format!("{}[[vip]]\nprefix = \"91.0.0.0/8\"\nas = [\"90.0.0.1\"]\n", vip("")),
        &[("\"90.0.0.1\"", "is the address of the VIP 90.0.0.1/32")],
    );
    refused(&vip("encap = \"gre5\"\nas = [\"2001::1\"]"), &[("\"gre5\"", "did you mean `gre6`?")]);
}
