//! The TOML file: what it means, and everything that is said about a broken one.

use config::{
    Command, Device, Hugepages, Poll, Protocol, Startup, Workers, defaults, parse_line, report,
};
use proptest::prelude::*;

/// The file of the walk-through.
const WALK_THROUGH: &str = r#"
[cpu]
main-core = 0
workers = 1                         # or corelist-workers = "1-3,8"
poll = "adaptive"                   # busy | adaptive
[dpdk]
hugepages = "auto"                  # auto | required | off
buffers-per-numa = 16_384
eal-args = []
[[dpdk.dev]]
name = "GigabitEthernet0/9/0"       # any name; used in every command
vdev = "net_af_packet0,iface=veth0" # or pci = "0000:02:00.0"
num-rx-queues = 1
[[dpdk.dev]]
name = "client0"
vdev = "net_af_packet1,iface=veth1"
[unix]
cli-listen = "/run/sluice/cli.sock"
exec = "/etc/sluice/startup.cli"
[[interface]]
name = "GigabitEthernet0/9/0"
address = ["192.168.1.254/24"]
state = "up"
lb-nat4-in = true
[[interface]]
name = "client0"
address = ["10.10.10.254/24"]
[[route]]
prefix = "0.0.0.0/0"
via = "10.10.10.1"
[[neighbor]]
interface = "client0"
address = "10.10.10.9"
mac = "02:00:00:00:00:09"
[lb]
ip4-src-address = "192.168.1.254"
buckets = 65536
timeout = 40
tcp-established-timeout = 900
tcp-closing-timeout = 120
[[vip]]
prefix = "10.10.2.2/32"
protocol = "tcp"
port = 8080
encap = "nat4"
type = "clusterip"
target-port = 80
as = ["192.168.1.1", { address = "192.168.1.3", weight = 50 }]
"#;

#[track_caller]
fn parse(text: &str) -> Startup {
    Startup::parse(text).unwrap_or_else(|p| panic!("{}", report("test.toml", text, &p)))
}

/// Checks that the file is refused for exactly these: (text at the carets, part of the message).
#[track_caller]
fn refused(text: &str, expected: &[(&str, &str)]) {
    let problems = Startup::parse(text).expect_err("a broken file was accepted");
    let shown = report("test.toml", text, &problems);
    assert_eq!(problems.len(), expected.len(), "{shown}");
    for (problem, (at, why)) in problems.iter().zip(expected) {
        assert_eq!(problem.span.text(text), *at, "{shown}");
        let message = format!("{} {}", problem.reason, problem.hint.as_deref().unwrap_or(""));
        assert!(message.contains(why), "`{why}` is not in:\n{shown}");
        let before = &text[..problem.span.start];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |n| n + 1) + 1;
        assert!(shown.contains(&format!("--> test.toml:{line}:{column}\n")), "{shown}");
    }
}

/// The walk-through with one line replaced.
fn with(line: &str, other: &str) -> String {
    assert_eq!(WALK_THROUGH.matches(line).count(), 1, "{line}");
    WALK_THROUGH.replace(line, other)
}

#[test]
fn the_walk_through_becomes_its_commands() {
    let startup = parse(WALK_THROUGH);
    let lines: Vec<String> = startup.commands.iter().map(|s| s.command.to_string()).collect();
    assert_eq!(
        lines,
        [
            "set interface ip address GigabitEthernet0/9/0 192.168.1.254/24",
            "set interface state GigabitEthernet0/9/0 up",
            "set interface ip address client0 10.10.10.254/24",
            "set interface state client0 up",
            "set ip neighbor client0 10.10.10.9 02:00:00:00:00:09 static",
            "ip route add 0.0.0.0/0 via 10.10.10.1",
            "lb conf ip4-src-address 192.168.1.254 buckets 65536 timeout 40 \
             tcp-established-timeout 900 tcp-closing-timeout 120",
            "lb set interface nat4 in GigabitEthernet0/9/0",
            "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80",
            "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1",
            "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 weight 50",
        ]
    );
    for statement in &startup.commands {
        assert_eq!(parse_line(&statement.command.to_string()).as_ref(), Ok(&statement.command));
        assert!(!statement.span.text(WALK_THROUGH).is_empty());
    }
    let Command::LbVipAdd(vip) = &startup.commands[8].command else { panic!("not the VIP") };
    assert_eq!(vip.key.prefix.span.text(WALK_THROUGH), "\"10.10.2.2/32\"");
    assert_eq!(vip.key.port.unwrap().protocol.value, Protocol::Tcp);
}

#[test]
fn the_host_sections() {
    let startup = parse(WALK_THROUGH);
    assert_eq!(startup.cpu.workers, Workers::Count(1.into()));
    assert_eq!(startup.dpdk.hugepages, Hugepages::Auto);
    assert_eq!(startup.dpdk.buffers_per_numa, 16_384);
    assert_eq!(startup.unix.exec.unwrap().to_str(), Some("/etc/sluice/startup.cli"));
    let [first, second] = &startup.dpdk.devs[..] else { panic!("two devices") };
    assert_eq!(first.name.value, "GigabitEthernet0/9/0");
    assert_eq!(second.device, Device::Vdev("net_af_packet1,iface=veth1".to_owned().into()));
    assert_eq!((second.num_rx_queues, second.num_tx_queues), (1, None));
}

#[test]
fn an_empty_file_is_all_defaults() {
    let startup = parse("");
    assert_eq!(startup.cpu.main_core.value, defaults::MAIN_CORE);
    assert_eq!(startup.cpu.workers, Workers::Count(defaults::WORKERS.into()));
    assert_eq!(startup.unix.cli_listen.to_str(), Some(defaults::CLI_LISTEN));
    assert_eq!(startup.unix.exec, None);
    assert_eq!(startup.commands, []);
}

#[test]
fn polling_follows_the_devices() {
    let dev = |name: &str, device: &str| format!("[[dpdk.dev]]\nname = \"{name}\"\n{device}\n");
    let veth = dev("a", "vdev = \"net_af_packet0,iface=v\"").replace("\"a\"", "\"veth\"");
    let tap = dev("tap", "vdev = \"net_tap0,iface=t\"");
    let nic = dev("nic", "pci = \"02:00.0\"");
    assert_eq!(parse(&format!("{veth}{tap}")).cpu.poll, Poll::Adaptive);
    assert_eq!(parse(&format!("{veth}{nic}")).cpu.poll, Poll::Busy);
    assert_eq!(parse(&format!("[cpu]\npoll = \"busy\"\n{veth}")).cpu.poll, Poll::Busy);
    assert_eq!(parse(&nic).dpdk.devs[0].device, Device::Pci("0000:02:00.0".to_owned().into()));
}

#[test]
fn every_mistake_is_reported_in_one_run() {
    refused(
        "[cpu]\nmain-core = 5000\npol = 1\n[dpdk]\nhugepages = \"atuo\"\n[[vip]]\nport = 0\n\
         encap = 3\n[vips]\n",
        &[
            ("5000", "main-core must be between 0 and 1023, not 5000"),
            ("pol", "unknown key `pol` in [cpu] did you mean `poll`?"),
            ("\"atuo\"", "did you mean `auto`?"),
            ("[[vip]]", "lacks `prefix`"),
            ("port", "port without a protocol"),
            ("0", "port must be between 1 and 65535, not 0"),
            ("3", "`encap` must be a string, not an integer"),
            ("vips", "did you mean `vip`?"),
        ],
    );
}

#[test]
fn text_that_is_not_toml() {
    let problems = Startup::parse("[cpu]\nmain-core = \nworkers = 1x\n").unwrap_err();
    assert!(problems.len() >= 2, "both lines are reported: {problems:?}");
    let problems = Startup::parse("[cpu]\nmain-core = 1\nmain-core = 2\n").unwrap_err();
    assert!(problems[0].reason.contains("duplicate key"), "{problems:?}");
}

#[test]
fn cpus() {
    let cpu = |text: &str| format!("[cpu]\n{text}\n");
    refused(&cpu("corelist-workers = \"0-1\""), &[("\"0-1\"", "CPU 0 is the main core")]);
    refused(&cpu("corelist-workers = \"3-1\""), &[("\"3-1\"", "runs backwards")]);
    refused(
        &cpu("workers = 2\ncorelist-workers = \"1\""),
        &[("\"1\"", "corelist-workers and workers exclude each other")],
    );
    refused(&cpu("workers = 0"), &[("0", "workers must be between 1 and 64")]);
    refused(&cpu("poll = \"lazy\""), &[("\"lazy\"", "one of busy, adaptive")]);
    refused("cpu = 3\n", &[("3", "[cpu] must be a table, not an integer")]);
}

#[test]
fn devices() {
    let with = |line, other| with(line, other);
    refused(
        &with("name = \"client0\"\nvdev", "name = \"GigabitEthernet0/9/0\"\nvdev"),
        &[
            ("\"GigabitEthernet0/9/0\"", "two devices are called `GigabitEthernet0/9/0`"),
            ("\"client0\"", "there is no device called `client0`"),
            ("\"client0\"", "there is no device called `client0`"),
        ],
    );
    refused(
        &with("net_af_packet1,iface=veth1", "net_af_packet0,iface=veth1"),
        &[("\"net_af_packet0,iface=veth1\"", "net_af_packet0 is used twice")],
    );
    refused(
        &with("net_af_packet1,iface=veth1", "net_af_packet1,iface=veth0"),
        &[("\"net_af_packet1,iface=veth0\"", "iface=veth0 is used twice")],
    );
    refused(
        &with("eal-args = []", "eal-args = [\"--lcores=1\", \"-v\"]"),
        &[("\"--lcores=1\"", "set by [cpu]")],
    );
    let dev = |text: &str| format!("[[dpdk.dev]]\n{text}\n");
    refused(&dev("name = \"e0\""), &[("[[dpdk.dev]]", "lacks `vdev` or `pci`")]);
    refused(&dev("pci = \"02:00.0\""), &[("[[dpdk.dev]]", "lacks `name`")]);
    refused(&dev("name = \"e0\"\npci = \"eth0\""), &[("\"eth0\"", "not a PCI address")]);
    refused(&dev("name = \"e0\"\nvdev = \"eth0\""), &[("\"eth0\"", "not a DPDK network vdev")]);
    refused(
        &dev("name = \"e0\"\nvdev = \"net_af_packet0\""),
        &[("\"net_af_packet0\"", "lacks the kernel interface")],
    );
    refused(&dev("name = \"e 0\"\nvdev = \"net_null0\""), &[("\"e 0\"", "must be one word")]);
    refused(&dev("name = \"json\"\nvdev = \"net_null0\""), &[("\"json\"", "for the word `json`")]);
    refused("[dpdk.dev]\nname = \"e0\"\n", &[("[dpdk.dev]", "write [[dpdk.dev]]")]);
}

#[test]
fn interfaces_routes_and_neighbors() {
    refused(
        &with("name = \"client0\"\naddress", "name = \"client1\"\naddress"),
        &[("\"client1\"", "did you mean `client0`?"), ("\"client0\"", "is on client1")],
    );
    refused(
        &with("[\"10.10.10.254/24\"]", "\"10.10.10.254/24\""),
        &[
            ("\"10.10.10.254/24\"", "must be an array, such as [\"192.168.1.254/24\"]"),
            ("\"10.10.10.1\"", "is not on a connected subnet"),
            ("\"10.10.10.9\"", "is not on a connected subnet"),
        ],
    );
    refused(
        &with("[\"10.10.10.254/24\"]", "[\"10.10.10.254/24\", \"192.168.1.7/16\"]"),
        &[("\"192.168.1.7/16\"", "overlaps 192.168.1.254/24 on GigabitEthernet0/9/0")],
    );
    refused(
        &with("[\"10.10.10.254/24\"]", "[\"10.10.10.254/24\", \"192.168.1.254/24\"]"),
        &[("\"192.168.1.254/24\"", "the address 192.168.1.254 is given twice")],
    );
    refused(
        &with("via = \"10.10.10.1\"", "via = \"10.10.11.1\""),
        &[("\"10.10.11.1\"", "connected are 192.168.1.0/24 (GigabitEthernet0/9/0), 10.10.10.0/24")],
    );
    refused(
        &with("via = \"10.10.10.1\"", "via = \"10.10.10.254\""),
        &[("\"10.10.10.254\"", "our own address on client0")],
    );
    refused(
        &with("\"0.0.0.0/0\"", "\"10.1.2.3/8\""),
        &[("\"10.1.2.3/8\"", "write 10.0.0.0/8 for the network")],
    );
    refused(&with("\"0.0.0.0/0\"", "\"0.0.0.0\""), &[("\"0.0.0.0\"", "length is missing")]);
    refused(
        &with(
            "via = \"10.10.10.1\"",
            "via = \"10.10.10.1\"\n[[route]]\nprefix = \"0.0.0.0/0\"\nvia = \"10.10.10.2\"",
        ),
        &[("\"0.0.0.0/0\"", "given twice")],
    );
    refused(&with("02:00:00:00:00:09", "02:00"), &[("\"02:00\"", "six hexadecimal octets")]);
    refused(
        &with("interface = \"client0\"", "interface = \"GigabitEthernet0/9/0\""),
        &[("\"GigabitEthernet0/9/0\"", "10.10.10.9 is on client0")],
    );
    refused(&with("state = \"up\"", "state = \"on\""), &[("\"on\"", "one of up, down")]);
    refused(
        &with("lb-nat4-in = true", "lb-nat4-in = \"yes\""),
        &[("\"yes\"", "must be true or false, not a string")],
    );
    refused(
        &with("[\"10.10.10.254/24\"]", "[\"10.10.10.254/24\"]\n[[interface]]\nname = \"client0\""),
        &[("\"client0\"", "configured twice")],
    );
}

#[test]
fn vips() {
    refused(&with("port = 8080", ""), &[("protocol", "add `port = <n>`")]);
    refused(
        &with("protocol = \"tcp\"\nport = 8080", ""),
        &[("\"nat4\"", "needs a protocol and port(s)")],
    );
    refused(&with("\"nat4\"", "\"nat5\""), &[("\"nat5\"", "did you mean `nat4`?")]);
    refused(
        &with("\"nat4\"\ntype", "\"gre4\"\ntype"),
        &[("80", "no port translation in encap gre4")],
    );
    assert_eq!(
        parse(&with("encap = \"nat4\"\ntype = \"clusterip\"\ntarget-port = 80", "")).commands.len(),
        11
    );
    refused(
        &with("target-port = 80", "target_port = 80"),
        &[("target_port", "did you mean `target-port`?")],
    );
    refused(
        &with("target-port = 80", "new-len = 1000"),
        &[("1000", "997 and 1009, the next power of two is 1024")],
    );
    refused(
        &with("weight = 50", "weight = 101"),
        &[("101", "weight must be between 0 and 100, not 101")],
    );
    refused(
        &with("address = \"192.168.1.3\", weight", "weight"),
        &[("{ weight = 50 }", "an AS lacks `address`")],
    );
    refused(
        &with("{ address = \"192.168.1.3\", weight = 50 }", "\"192.168.1.1\", 7"),
        &[("\"192.168.1.1\"", "listed twice"), ("7", "a string or a table, not an integer")],
    );
    refused(
        &with("\"192.168.1.3\"", "\"2001:db8::1\""),
        &[("\"2001:db8::1\"", "encap nat4 needs IPv4 ASs")],
    );
    refused(
        &with("\"192.168.1.3\"", "\"192.168.1.254\""),
        &[("\"192.168.1.254\"", "our own address on GigabitEthernet0/9/0")],
    );
    refused(&with("\"192.168.1.3\"", "\"10.10.2.2\""), &[("\"10.10.2.2\"", "is the VIP itself")]);
    refused(&with("\"10.10.2.2/32\"", "\"10.10.2.2\""), &[("\"10.10.2.2\"", "10.10.2.2/32")]);
    refused(&with("\"10.10.2.2/32\"", "\"10.10.2.2/24\""), &[("\"10.10.2.2/24\"", "10.10.2.0/24")]);
    let again = format!(
        "{WALK_THROUGH}name = \"web\"\n[[vip]]\nprefix = \"10.10.2.2/32\"\nprotocol = \"tcp\"\n\
         port = 8080\nencap = \"nat4\"\nname = \"web\"\n"
    );
    refused(&again, &[("\"10.10.2.2/32\"", "given twice"), ("\"web\"", "two VIPs are called")]);
    let vip = &again[again.rfind("[[vip]]").unwrap()..].replace("\"web\"", "\"third\"");
    let twice = ("\"10.10.2.2/32\"", "given twice");
    refused(&format!("{again}{vip}"), &[twice, ("\"web\"", "two VIPs are called"), twice]);
}

#[test]
fn lb_settings() {
    let lb = |text: &str| format!("[lb]\n{text}\n");
    refused(&lb("buckets = 0"), &[("0", "between 1 and 16777216")]);
    refused(&lb("buckets = 1000"), &[("1000", "512 and 1024")]);
    refused(&lb("timeout = -1"), &[("-1", "between 1 and 32000")]);
    refused(&lb("timeout = \"40\""), &[("\"40\"", "must be an integer, not a string")]);
    refused(&lb("ip4-src-address = \"::1\""), &[("\"::1\"", "not an IPv4 address")]);
    refused(&lb("hash-key-file = \"a b\""), &[("\"a b\"", "one word")]);
    assert_eq!(parse("[lb]\n").commands, [], "an empty section asks for nothing");
}

proptest! {
    /// TOML → commands → CLI lines → commands is the same.
    #[test]
    fn a_file_and_its_lines_mean_the_same(
        vips in proptest::collection::btree_map(
            (1u8..=9, any::<bool>(), 1u16..),
            (
                proptest::collection::btree_set(1u8..=253, 0..6),
                proptest::option::of(0u8..=100),
                any::<bool>(),
            ),
            0..6,
        ),
        buckets in proptest::option::of(0u32..=24),
        mtu in proptest::option::of(68u16..=9216),
    ) {
        let mut text = String::from(
            "[[dpdk.dev]]\nname = \"e0\"\nvdev = \"net_null0\"\n[[interface]]\nname = \"e0\"\n\
             address = [\"192.168.1.254/24\"]\nlb-nat4-in = true\n",
        );
        text += &mtu.map_or(String::new(), |mtu| format!("mtu = {mtu}\n"));
        text += &buckets.map_or(String::new(), |n| format!("[lb]\nbuckets = {}\n", 1u32 << n));
        for ((host, tcp, port), (servers, weight, sticky)) in &vips {
            let protocol = if *tcp { "tcp" } else { "udp" };
            text += &format!(
                "[[vip]]\nprefix = \"10.0.0.{host}/32\"\nprotocol = \"{protocol}\"\nport = {port}\n\
                 encap = \"nat4\"\nsrc-ip-sticky = {sticky}\nas = ["
            );
            for server in servers {
                text += &match weight {
                    Some(w) if server % 2 == 0 => {
                        format!("{{ address = \"192.168.1.{server}\", weight = {w} }}, ")
                    }
                    _ => format!("\"192.168.1.{server}\", "),
                };
            }
            text += "]\n";
        }
        let startup = parse(&text);
        let servers: usize = startup.commands.iter().map(|s| match &s.command {
            Command::LbAs(servers) => servers.addresses.len(),
            _ => 0,
        }).sum();
        prop_assert_eq!(servers, vips.values().map(|(servers, ..)| servers.len()).sum::<usize>());
        for statement in startup.commands {
            let line = statement.command.to_string();
            prop_assert_eq!(parse_line(&line), Ok(statement.command), "{}", line);
        }
    }
}

#[test]
fn an_as_can_drain_from_the_start() {
    let server = |rest: &str| {
        with(
            "{ address = \"192.168.1.3\", weight = 50 }",
            &format!("{{ address = \"192.168.1.3\"{rest} }}"),
        )
    };
    let lines = |text: &str| -> Vec<String> {
        let commands = parse(text).commands.into_iter().map(|s| s.command.to_string());
        commands.filter(|line| line.starts_with("lb as")).collect()
    };
    let vip = "lb as 10.10.2.2/32 protocol tcp port 8080";
    assert_eq!(
        lines(&server(", weight = 50, admin = \"drain\"")),
        [
            format!("{vip} 192.168.1.1"),
            format!("{vip} 192.168.1.3 weight 50"),
            format!("{vip} 192.168.1.3 drain")
        ]
    );
    assert_eq!(
        lines(&server(", admin = \"drain-then-del\"")),
        [format!("{vip} 192.168.1.1 192.168.1.3"), format!("{vip} 192.168.1.3 drain then del")]
    );
    assert_eq!(lines(&server(", admin = \"up\"")), [format!("{vip} 192.168.1.1 192.168.1.3")]);
    refused(
        &server(", admin = \"drian\""),
        &[("\"drian\"", "did you mean `drain`? admin is one of up, drain")],
    );
}

#[test]
fn the_state_directory_is_a_path_from_the_root() {
    let with = |state: &str| Startup::parse(&format!("{WALK_THROUGH}\n{state}"));
    let startup = with("[state]\ndir = \"/run/sluice/state\"").unwrap();
    assert_eq!(startup.state.unwrap().dir.value.to_str(), Some("/run/sluice/state"));
    assert_eq!(parse(WALK_THROUGH).state, None);
    for (state, expected) in [
        ("[state]", "lacks `dir`"),
        ("[state]\ndir = \"state\"", "`state` cannot be the state directory"),
        ("[state]\ndir = \"/\"", "`/` cannot be the state directory"),
        ("[state]\ndir = 5", "`dir` must be a string"),
        ("[state]\ndri = \"/run/x\"\ndir = \"/run/x\"", "unknown key `dri` in [state]"),
    ] {
        let problems = with(state).unwrap_err();
        assert!(problems.iter().any(|p| p.reason.contains(expected)), "{state}: {problems:?}");
    }
}
