//! What is saved as TOML is read back as the same.

use config::{Command, Fixed, Startup, TomlFile, parse, report};

const FIXED: &str = "\
[cpu]
workers = 1
[[dpdk.dev]]
name = \"left0\"
vdev = \"net_null0\"
[[dpdk.dev]]
name = \"right0\"
vdev = \"net_null1\"
[punt]
tap = \"sluice0\"
";

fn fixed() -> Fixed {
    Startup::parse(FIXED).unwrap().fixed
}

fn saved(lines: &[&str]) -> String {
    let commands: Vec<Command> = lines.iter().map(|line| parse(line).unwrap()).collect();
    TomlFile::render(&fixed(), &commands)
}

/// The commands of a text, sorted: a file has an order of its own.
fn read(text: &str) -> Vec<String> {
    let startup = Startup::parse(text)
        .unwrap_or_else(|problems| panic!("{}", report("saved", text, &problems)));
    let mut lines: Vec<_> = startup.commands.iter().map(|s| s.command.to_string()).collect();
    lines.sort();
    lines
}

#[test]
fn every_kind_of_object_has_its_place_in_a_file() {
    let mut lines = [
        "set interface mtu packet 1400 left0",
        "set interface ip address left0 10.0.0.1/24",
        "set interface ip address left0 2001:db8::1/64",
        "set interface ip address left0 fe80::1/64",
        "set interface state left0 up",
        "set interface ip address right0 10.1.0.1/24",
        "set interface ip address right0 fe80::1/64",
        "set interface state right0 down",
        "set interface ip address sluice0 10.9.0.1/24",
        "set interface state sluice0 up",
        "create sub-interfaces left0 7 dot1ad 100 inner-dot1q 200",
        "set interface state left0.7 up",
        "create sub-interfaces left0 8 dot1q 8",
        "create ipip tunnel src 10.0.0.1 dst 10.0.0.9 instance 3",
        "set interface ip address ipip3 10.3.0.1/30",
        "set interface state ipip3 up",
        "set ip neighbor left0 10.0.0.7 02:00:00:00:00:07 static",
        "ip route add 0.0.0.0/0 via 10.0.0.7 left0",
        "ip route add 10.5.0.0/16 via ipip3",
        "ip route add 2001:db8:5::/48 via fe80::5 left0",
        "lb conf ip4-src-address 10.0.0.1 buckets 4096 timeout 50 other-timeout 70 tcp-syn-timeout 9 hash-key-file /etc/key \
         tunnel-dscp 10 too-big fragment ip4-src-entropy 10.99.0.0/16 no-match rst",
        "lb set interface nat4 in right0",
        "lb set interface nat6 in right0",
        "lb vip 10.10.0.0/16 encap gre4 src_ip_sticky",
        "lb as 10.10.0.0/16 10.1.0.5",
        "lb vip 10.10.2.2/32 protocol tcp port 80-90 encap nat4 target_port 180-190 mss 1400 name 17",
        "lb as 10.10.2.2/32 protocol tcp port 80-90 10.1.0.5 10.1.0.6 weight 50",
        "lb as 10.10.2.2/32 protocol tcp port 80-90 10.1.0.7",
        "lb as 10.10.2.2/32 protocol tcp port 80-90 10.1.0.6 drain",
        "lb as 10.10.2.2/32 protocol tcp port 80-90 10.1.0.7 drain then del",
        "lb vip 10.10.2.3/32 protocol udp port 53 encap nat4 type nodeport node_port 3053 \
         target_port 5353 new_len 1021 scheduler rr udp-timeout 5",
        "lb vip 2001:db8:9::1/128 encap l3dsr dscp 7",
        "lb as 2001:db8:9::1/128 2001:db8::5 dscp 9",
        "lb as 2001:db8:9::1/128 10.1.0.9 encap gre4",
        "lb no-match 10.10.0.0/16 punt",
    ];
    let text = saved(&lines);
    lines.sort_unstable();
    let read = read(&text);
    for line in &lines {
        assert!(read.iter().any(|other| other == line), "{line} is not in\n{text}\n{read:#?}");
    }
    assert_eq!(read.len(), lines.len(), "{text}\n{read:#?}");
    assert_eq!(Startup::parse(&text).unwrap().fixed, fixed());
}

#[test]
fn deletions_and_questions_have_none() {
    let nothing = saved(&["lb vip 10.0.0.1/32 del", "show lb", "ip route del 0.0.0.0/0", "save"]);
    assert_eq!(nothing, TomlFile::render(&fixed(), &[]));
}
