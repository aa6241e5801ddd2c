//! Properties: what is rendered parses back, and nothing makes the parsers panic.

use std::net::IpAddr;

use config::grammar::{complete, help};
use config::{
    Command, Encap, Family, FibQuery, HardwareDetail, LbAs, LbConf, LbVipAdd, MacAddress, Ping,
    Prefix, Protocol, ServiceType, Show, Span, Spanned, Startup, VipKey, VipPort, parse_line,
    report, report_line, unsupported,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

fn spanned<T: std::fmt::Debug>(s: impl Strategy<Value = T>) -> impl Strategy<Value = Spanned<T>> {
    s.prop_map(Spanned::from)
}

/// A unicast address no AS rule objects to.
fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Ip4 => {
            (1u8..=126, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| [a, b, c, d].into()).boxed()
        }
        Family::Ip6 => any::<[u16; 7]>()
            .prop_map(|t| [0x2001, t[0], t[1], t[2], t[3], t[4], t[5], t[6]].into())
            .boxed(),
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ip4), Just(Family::Ip6)]
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    family().prop_flat_map(address)
}

fn prefix_of(family: Family) -> impl Strategy<Value = Prefix> {
    (address(family), 0..=family.bits()).prop_map(|(a, l)| Prefix::new(a, l).unwrap().network())
}

fn name() -> impl Strategy<Value = Spanned<String>> {
    // The `x` keeps clear of words the commands have.
    spanned("x[a-zA-Z0-9/._-]{0,20}")
}

fn vip_port() -> impl Strategy<Value = VipPort> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    (spanned(protocol), spanned(1u16..)).prop_map(|(protocol, port)| VipPort { protocol, port })
}

fn vip_key() -> impl Strategy<Value = VipKey> {
    (spanned(family().prop_flat_map(prefix_of)), of(vip_port()))
        .prop_map(|(prefix, port)| VipKey { prefix, port })
}

fn vip() -> impl Strategy<Value = LbVipAdd> {
    let shape = (family(), 0usize..6, any::<bool>(), of(0u8..64), vip_port(), of(vip_port()));
    let rest = (of(1u16..), of(0u32..25), any::<bool>(), of(name()), any::<bool>());
    (shape, rest).prop_flat_map(|((family, encap, node_port, dscp, port, maybe_port), rest)| {
        let nat = if family == Family::Ip4 { Encap::Nat4 } else { Encap::Nat6 };
        let l3dsr = if family == Family::Ip4 { Encap::L3dsr } else { Encap::Gre4 };
        let encap =
            [None, Some(Encap::Gre4), Some(Encap::Gre6), Some(l3dsr), Some(nat), Some(nat)][encap];
        let is_nat = encap == Some(nat);
        let (target_port, log2, src_ip_sticky, name, with_type) = rest;
        prefix_of(family).prop_map(move |prefix| LbVipAdd {
            key: VipKey {
                prefix: prefix.into(),
                port: if is_nat { Some(port) } else { maybe_port },
            },
            encap: encap.map(Spanned::from),
            dscp: (encap == Some(Encap::L3dsr)).then(|| dscp.unwrap_or(0).into()),
            service_type: with_type.then(|| {
                let node_port = node_port && is_nat;
                if node_port { ServiceType::NodePort } else { ServiceType::ClusterIp }.into()
            }),
            target_port: target_port.filter(|_| is_nat).map(Spanned::from),
            new_len: log2.map(|n| (1 << n).into()),
            src_ip_sticky,
            name: name.clone(),
        })
    })
}

fn servers() -> impl Strategy<Value = LbAs> {
    let addresses = vec(any_address(), 1..5);
    (vip_key(), addresses, of(0u8..=100), any::<bool>(), any::<bool>())
        .prop_map(|(vip, mut addresses, weight, del, flush)| {
            addresses.sort_unstable();
            addresses.dedup();
            addresses.retain(|a| !vip.prefix.contains(*a));
            let addresses = addresses.into_iter().map(Spanned::from).collect();
            let weight = weight.filter(|_| !del).map(Spanned::from);
            LbAs { vip, addresses, weight, del, flush }
        })
        .prop_filter("an AS is left", |servers| !servers.addresses.is_empty())
}

fn conf() -> impl Strategy<Value = LbConf> {
    let timeout = || of(spanned(1u32..=32_000));
    let v4 = of(any::<u32>().prop_map(|a| std::net::Ipv4Addr::from_bits(a).into()));
    let v6 = of(any::<u128>().prop_map(|a| std::net::Ipv6Addr::from_bits(a).into()));
    let buckets = of((0u32..=24).prop_map(|n| (1 << n).into()));
    let file = of("/[a-z0-9/._-]{0,20}".prop_map(|f| std::path::PathBuf::from(f).into()));
    (v4, v6, buckets, timeout(), timeout(), timeout(), file)
        .prop_map(|(ip4, ip6, buckets, timeout, established, closing, hash_key_file)| LbConf {
            ip4_src_address: ip4,
            ip6_src_address: ip6,
            buckets,
            timeout_s: timeout,
            tcp_established_timeout_s: established,
            tcp_closing_timeout_s: closing,
            hash_key_file,
        })
        .prop_filter("says something", |conf| *conf != LbConf::default())
}

fn network_command() -> impl Strategy<Value = Command> {
    let interfaces = vec(name(), 1..4);
    let nat = (family(), interfaces, any::<bool>()).prop_map(|(family, interfaces, del)| {
        Command::LbSetInterfaceNat { family, interfaces, del }
    });
    let state = (name(), any::<bool>())
        .prop_map(|(interface, up)| Command::SetInterfaceState { interface, up });
    let mtu = (name(), spanned(68u16..=9216))
        .prop_map(|(interface, mtu)| Command::SetInterfaceMtu { interface, mtu });
    let own = (address(Family::Ip4), 1u8..=32)
        .prop_map(|(a, l)| Prefix::new(a, l).unwrap())
        .prop_filter("is a host", |p| {
            p.length() > 30 || (p.address() != p.network().address() && p.address() != p.last())
        });
    let own = (name(), spanned(own), any::<bool>()).prop_map(|(interface, address, del)| {
        Command::SetInterfaceIpAddress { interface, address, del }
    });
    let route = family().prop_flat_map(|family| {
        let via = of((spanned(address(family)), of(name())));
        (spanned(prefix_of(family)), spanned(address(family)), via, any::<bool>()).prop_map(
            |(prefix, hop, via, del)| {
                let (via, interface) = match via {
                    Some((via, interface)) => (Some(via), interface),
                    None => ((!del).then_some(hop), None),
                };
                Command::IpRoute { prefix, via, interface, del }
            },
        )
    });
    let mac = any::<[u8; 6]>().prop_map(|mut mac| {
        mac[0] = mac[0] & 0xfe | 2;
        Spanned::from(MacAddress(mac))
    });
    let neighbor = (name(), spanned(any_address()), of(mac), any::<bool>()).prop_map(
        |(interface, address, mac, is_static)| {
            let del = mac.is_none();
            Command::SetIpNeighbor { interface, address, mac, is_static, del }
        },
    );
    prop_oneof![nat, state, mtu, own, route, neighbor]
}

fn show() -> impl Strategy<Value = Show> {
    let names = || vec(name(), 0..3);
    let detail = prop_oneof![
        Just(HardwareDetail::Brief),
        Just(HardwareDetail::Normal),
        Just(HardwareDetail::Verbose)
    ];
    let host = spanned(any_address().prop_map(Prefix::host));
    prop_oneof![
        Just(Show::Lb),
        any::<bool>().prop_map(|verbose| Show::LbVips { verbose }),
        Just(Show::LbAs),
        names().prop_map(|names| Show::Interface { names }),
        names().prop_map(|names| Show::InterfaceAddress { names }),
        (detail, names()).prop_map(|(detail, names)| Show::HardwareInterfaces { detail, names }),
        Just(Show::IpFib(FibQuery::All)),
        Just(Show::IpFib(FibQuery::Summary)),
        host.prop_map(|prefix| Show::IpFib(FibQuery::Entry { prefix, longest_match: true })),
        spanned(family().prop_flat_map(prefix_of))
            .prop_map(|prefix| Show::IpFib(FibQuery::Entry { prefix, longest_match: false })),
        of(name()).prop_map(|interface| Show::IpNeighbors { interface }),
        any::<bool>().prop_map(|verbose| Show::Version { verbose }),
        Just(Show::Threads),
        any::<bool>().prop_map(|verbose| Show::Runtime { verbose }),
        Just(Show::Errors),
        Just(Show::Buffers),
        of(1u32..=100_000).prop_map(|max| Show::Trace { max }),
        Just(Show::RunningConfig),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let ping =
        (spanned(any_address()), of(name()), of(0u16..=1400), of(1u32..=60_000), of(1u32..=1000))
            .prop_map(|(address, source, size, interval_ms, repeat)| {
                Command::Ping(Ping { address, source, size, interval_ms, repeat })
            });
    let trace = (name(), spanned(1u32..=100_000))
        .prop_map(|(node, count)| Command::TraceAdd { node, count });
    let exec = "/[a-z0-9/._-]{0,20}"
        .prop_map(|f| Command::Exec { file: std::path::PathBuf::from(f).into() });
    prop_oneof![
        3 => vip().prop_map(Command::LbVipAdd),
        3 => servers().prop_map(Command::LbAs),
        1 => vip_key().prop_map(Command::LbVipDel),
        1 => vip_key().prop_map(Command::LbFlushVip),
        2 => conf().prop_map(Command::LbConf),
        4 => network_command(),
        4 => (show(), any::<bool>()).prop_map(|(show, json)| Command::Show { show, json }),
        1 => ping,
        1 => trace,
        1 => exec,
        1 => vec("[a-z]{1,5}", 0..3).prop_map(|topic| Command::Help { topic }),
        1 => prop_oneof![
            Just(Command::Blank),
            Just(Command::ClearTrace),
            Just(Command::ClearRuntime),
            Just(Command::ClearErrors),
            Just(Command::ClearInterfaces),
            Just(Command::Quit)
        ],
    ]
}

/// Words of the grammar and values, in any order: nonsense that gets far.
fn nonsense() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "(show|set|lb|vip|vips|as|conf|ip|route|flush|interface|address|state|nat4|in|del|via)",
        "(port|protocol|tcp|udp|encap|nat4|target_port|new_len|weight|dscp|type|buckets|timeout)",
        "(1\\.2\\.3\\.4|10\\.0\\.0\\.0/8|::|2001:db8::/32|0|-1|70000|4294967296|/|\\?|#|é)",
        "\\PC{0,6}",
    ];
    vec(word, 0..9).prop_map(|words| words.join(" "))
}

const SECTIONS: [&str; 9] =
    ["cpu", "dpdk", "unix", "lb", "[dpdk.dev]", "[interface]", "[route]", "[vip]", "[neighbor]"];

const KEYS: [&str; 19] = [
    "main-core",
    "workers",
    "corelist-workers",
    "poll",
    "eal-args",
    "name",
    "vdev",
    "pci",
    "address",
    "mtu",
    "prefix",
    "via",
    "port",
    "protocol",
    "as",
    "buckets",
    "mac",
    "interface",
    "encap",
];

const VALUES: [&str; 20] = [
    "\"\"",
    "\"1-3\"",
    "\"10.0.0.1/24\"",
    "\"10.0.0.1\"",
    "\"tcp\"",
    "\"nat4\"",
    "-1",
    "0",
    "1",
    "99999999999999999999",
    "0xff",
    "1.5",
    "true",
    "[]",
    "[1]",
    "[\"10.0.0.1\"]",
    "{}",
    "[{}]",
    "[{address=3}]",
    "1979-05-27",
];

proptest! {
    #[test]
    fn a_rendered_command_parses_back(command in command()) {
        let line = command.to_string();
        match parse_line(&line) {
            Ok(parsed) => prop_assert_eq!(parsed, command),
            Err(error) => prop_assert!(false, "{}", report_line(&line, &error)),
        }
    }

    #[test]
    fn spans_point_at_the_words(servers in servers()) {
        let line = servers.to_string();
        let Ok(Command::LbAs(parsed)) = parse_line(&line) else {
            panic!("{line}");
        };
        prop_assert_eq!(parsed.vip.prefix.span.text(&line), parsed.vip.prefix.to_string());
        for address in parsed.addresses {
            prop_assert_eq!(address.span.text(&line), address.to_string());
        }
    }

    #[test]
    fn cutting_path_words_short_changes_nothing(
        show in show(),
        cuts in vec(any::<prop::sample::Index>(), 2),
    ) {
        let line = format!("show {show}");
        let full = parse_line(&line).unwrap();
        let mut words: Vec<&str> = line.split(' ').collect();
        // Only the path may be cut, and only `show` and the word after it surely belong to it.
        for (word, cut) in words.iter_mut().zip(cuts).take(2) {
            *word = &word[..=cut.index(word.len())];
        }
        // As in VPP, where no other word begins so: runtime, not running-config.
        prop_assume!(words[1] != "run");
        let short = words.join(" ");
        match parse_line(&short) {
            Ok(parsed) => prop_assert_eq!(parsed, full),
            Err(error) => prop_assert!(error.reason.contains("ambiguous"), "{short}: {error}"),
        }
    }

    #[test]
    fn no_line_makes_the_cli_panic(line in prop_oneof![nonsense(), ".{0,60}"]) {
        match parse_line(&line) {
            Ok(command) => drop(unsupported(&command)),
            Err(error) => {
                let text = report_line(&line, &error);
                prop_assert!(text.contains(&error.reason));
                let at: String = line.chars().skip(error.column - 1).collect();
                prop_assert!(at.starts_with(&error.token));
            }
        }
        let completion = complete(&line);
        prop_assert!(line.is_char_boundary(completion.start));
        help(&line.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn no_text_makes_the_toml_reader_panic(text in ".{0,200}") {
        if let Err(problems) = Startup::parse(&text) {
            prop_assert!(!problems.is_empty());
            report("f.toml", &text, &problems);
        }
    }

    #[test]
    fn no_value_makes_the_toml_reader_panic(
        section in select(&SECTIONS[..]),
        entries in vec((select(&KEYS[..]), select(&VALUES[..])), 0..6),
    ) {
        let mut text = format!("[{section}]\n");
        for (key, value) in entries {
            text += &format!("{key} = {value}\n");
        }
        if let Err(problems) = Startup::parse(&text) {
            report("f.toml", &text, &problems);
            for problem in problems {
                let Span { start, end } = problem.span;
                prop_assert!(start <= end && end <= text.len(), "{problem:?}");
            }
        }
    }
}
