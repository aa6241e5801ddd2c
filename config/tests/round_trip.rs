//! Properties: what is rendered parses back, and nothing makes the parsers panic.

use std::net::IpAddr;

use config::grammar::{complete, help};
use config::{
    Admin, Command, Debug, Encap, Family, FibQuery, FlowQuery, FlowTimeout, FlowTimeouts,
    FlowsCursor, FlowsQuery, HardwareDetail, IdleTime, LbAs, LbConf, LbNoMatch, LbVipAdd,
    LbVipUpdate, MacAddress, Mss, NoMatch, PanicPlace, Ping, PortRange, Prefix, Protocol,
    Scheduler, ServiceType, Show, Span, Spanned, SrcEntropy, Startup, SubInterface, TooBig,
    TunnelDf, TunnelDscp, TunnelEcn, VipKey, VipPort, VlanKind, VlanTags, WaitDrained, check_vip,
    parse_line, report, report_line,
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

/// One of the words a setting can have.
fn any_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> BoxedStrategy<Spanned<T>> {
    select(all).prop_map(Spanned::from).boxed()
}

fn ports() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        (1u16..).prop_map(PortRange::one),
        (1u16.., 1u16..).prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap()),
    ]
}

fn vip_port() -> impl Strategy<Value = VipPort> {
    (any_of(Protocol::ALL), spanned(ports()))
        .prop_map(|(protocol, ports)| VipPort { protocol, ports })
}

fn vip_key() -> impl Strategy<Value = VipKey> {
    (spanned(family().prop_flat_map(prefix_of)), of(vip_port()))
        .prop_map(|(prefix, port)| VipKey { prefix, port })
}

fn mss() -> impl Strategy<Value = Spanned<Mss>> {
    let bytes = (88u16..=9_176).prop_map(Mss::Bytes);
    spanned(prop_oneof![Just(Mss::Off), Just(Mss::Auto), bytes])
}

fn timeouts() -> impl Strategy<Value = FlowTimeouts> {
    let idle = prop_oneof![
        4 => (1u32..=32_000).prop_map(IdleTime::Seconds),
        1 => Just(IdleTime::Default),
    ];
    vec(of(spanned(idle)), FlowTimeout::ALL.len()).prop_map(|idle| {
        let mut timeouts = FlowTimeouts::default();
        for (of, idle) in FlowTimeout::ALL.iter().zip(idle) {
            timeouts.set(*of, idle);
        }
        timeouts
    })
}

fn new_len() -> impl Strategy<Value = Spanned<u32>> {
    spanned((0u32..25).prop_map(|n| 1 << n))
}

/// Any words of `lb vip`, whether or not they go together.
fn update() -> impl Strategy<Value = LbVipUpdate> {
    let shape = (vip_key(), of(any_of(Encap::ALL)), of(spanned(0u8..64)));
    let services = (of(any_of(ServiceType::ALL)), of(spanned(1u16..)), of(spanned(ports())));
    let flows = (of(new_len()), of(spanned(any::<bool>())), of(any_of(Scheduler::ALL)));
    (shape, services, flows, (of(mss()), timeouts()), of(name())).prop_map(
        |(
            (key, encap, dscp),
            services,
            (new_len, src_ip_sticky, scheduler),
            (mss, timeouts),
            name,
        )| {
            let (service_type, node_port, target_port) = services;
            LbVipUpdate {
                key,
                encap,
                dscp,
                service_type,
                node_port,
                target_port,
                new_len,
                src_ip_sticky,
                scheduler,
                mss,
                timeouts,
                name,
            }
        },
    )
}

/// A VIP that can be: words that do not go with the others are left out.
fn vip() -> impl Strategy<Value = LbVipAdd> {
    (update(), vip_port(), any::<bool>()).prop_map(|(words, port, same_length)| {
        let family = words.key.prefix.family();
        let encap = words.encap.map(|encap| match encap.value {
            nat if nat.is_nat() => Encap::nat(family).into(),
            _ => encap,
        });
        let is_nat = encap.is_some_and(|encap| encap.is_nat());
        let l3dsr = encap.is_some_and(|encap| encap.value == Encap::L3dsr);
        let mut vip = LbVipAdd {
            encap,
            dscp: l3dsr.then(|| words.dscp.unwrap_or_default()),
            service_type: words.service_type,
            node_port: words.node_port,
            target_port: words.target_port.filter(|_| is_nat),
            new_len: words.new_len,
            src_ip_sticky: words.src_ip_sticky.is_some_and(|sticky| sticky.value),
            scheduler: words.scheduler,
            mss: words.mss,
            timeouts: words.timeouts.alone(),
            name: words.name,
            ..LbVipAdd::new(words.key)
        };
        if is_nat {
            vip.key.port = vip.key.port.or(Some(port));
        }
        if same_length && !is_nat {
            vip.target_port = vip.key.port.map(|port| port.ports);
        }
        if vip.target_port.is_some_and(|target| !target.is_one()) && is_nat {
            vip.target_port = vip.key.port.map(|port| port.ports);
        }
        if !is_nat || vip.key.port.is_some_and(|port| !port.ports.is_one()) {
            vip.service_type = vip.service_type.map(|_| ServiceType::ClusterIp.into());
        }
        if vip.service_type() == ServiceType::ClusterIp {
            vip.node_port = None;
        }
        if vip.src_ip_sticky {
            vip.scheduler = vip.scheduler.map(|_| Scheduler::Maglev.into());
        }
        if let Some(port) = vip.key.port {
            for of in FlowTimeout::ALL {
                let own = of.protocol().is_none_or(|p| p == port.protocol.value.number());
                if !own || *of == FlowTimeout::Other {
                    vip.timeouts.set(*of, None);
                }
            }
        }
        if vip.key.port.is_some_and(|port| port.protocol.value == Protocol::Udp) {
            vip.mss = None;
        }
        vip
    })
}

fn servers() -> impl Strategy<Value = LbAs> {
    let key = (vip_key(), vip_port(), of(any_of(Encap::ALL)), of(spanned(0u8..64)));
    (key, any::<bool>(), of(0u8..=100), any::<bool>(), any::<bool>())
        .prop_flat_map(|((mut vip, port, encap, dscp), other, weight, del, flush)| {
            let family = vip.prefix.family();
            let encap = encap.filter(|_| !del).map(|encap| match encap.value {
                nat if nat.is_nat() => Encap::nat(family).into(),
                _ => encap,
            });
            if encap.is_some_and(|encap| encap.is_nat()) {
                vip.port = vip.port.or(Some(port));
            }
            let l3dsr = encap.is_none_or(|encap| encap.value == Encap::L3dsr);
            let either = if other { Family::Ip4 } else { Family::Ip6 };
            let family = encap.and_then(|e| e.as_family(family)).unwrap_or(either);
            let dscp = dscp.filter(|_| !del && l3dsr);
            let weight = weight.filter(|_| !del).map(Spanned::from);
            vec(address(family), 1..5).prop_map(move |mut addresses| {
                addresses.sort_unstable();
                addresses.dedup();
                addresses.retain(|a| vip.prefix.value != Prefix::host(*a));
                let addresses = addresses.into_iter().map(Spanned::from).collect();
                let admin = None;
                LbAs { vip, addresses, weight, encap, dscp, admin, del, flush }
            })
        })
        .prop_flat_map(|servers| (Just(servers), of(any_of(Admin::ALL))))
        .prop_map(|(mut servers, admin)| {
            let alone = !servers.del
                && servers.weight.is_none()
                && servers.encap.is_none()
                && servers.dscp.is_none();
            servers.admin =
                admin.filter(|admin| alone && !(servers.flush && admin.value == Admin::Up));
            servers
        })
        .prop_filter("an AS is left", |servers| !servers.addresses.is_empty())
}

fn entropy(family: Family) -> impl Strategy<Value = Spanned<SrcEntropy>> {
    let lengths = if family == Family::Ip4 { 8..=31u8 } else { 16..=127 };
    let prefix = (address(family), lengths)
        .prop_map(|(a, l)| SrcEntropy::Prefix(Prefix::new(a, l).unwrap().network()));
    spanned(prop_oneof![Just(SrcEntropy::Off), prefix])
}

fn conf() -> impl Strategy<Value = LbConf> {
    let v4 = of(any::<u32>().prop_map(|a| std::net::Ipv4Addr::from_bits(a).into()));
    let v6 = of(any::<u128>().prop_map(|a| std::net::Ipv6Addr::from_bits(a).into()));
    let buckets = of((0u32..=24).prop_map(|n| (1 << n).into()));
    let file = of("/[a-z0-9/._-]{0,20}".prop_map(|f| std::path::PathBuf::from(f).into()));
    let dscp = prop_oneof![Just(TunnelDscp::Copy), (0u8..64).prop_map(TunnelDscp::Set)];
    let header = (of(spanned(1u8..)), of(spanned(dscp)), of(any_of(TunnelEcn::ALL)));
    let sizes = (of(any_of(TunnelDf::ALL)), of(any_of(TooBig::ALL)), of(spanned(1u16..)));
    let entropies = (of(entropy(Family::Ip4)), of(entropy(Family::Ip6)));
    let general = (v4, v6, buckets, timeouts(), file);
    (general, header, sizes, entropies, of(any_of(NoMatch::ALL)))
        .prop_map(|(general, header, sizes, entropies, no_match)| LbConf {
            ip4_src_address: general.0,
            ip6_src_address: general.1,
            buckets: general.2,
            timeouts: general.3,
            hash_key_file: general.4,
            tunnel_ttl: header.0,
            tunnel_dscp: header.1,
            tunnel_ecn: header.2,
            tunnel_df: sizes.0,
            too_big: sizes.1,
            gue_port: sizes.2,
            ip4_src_entropy: entropies.0,
            ip6_src_entropy: entropies.1,
            no_match,
        })
        .prop_filter("says something", |conf| *conf != LbConf::default())
}

fn link_command() -> impl Strategy<Value = Command> {
    let tunnel = family()
        .prop_flat_map(|family| (address(family), address(family), of(spanned(0u32..=16_383))))
        .prop_filter("has two ends", |(source, destination, _)| source != destination)
        .prop_map(|(source, destination, instance)| Command::CreateIpipTunnel {
            source: source.into(),
            destination: destination.into(),
            instance,
        });
    let tags = (select(VlanKind::ALL), 1u16..=4094, of(1u16..=4094))
        .prop_map(|(kind, outer, inner)| VlanTags { kind, outer, inner });
    let sub = (name(), spanned(1u32..), spanned(tags)).prop_map(|(parent, id, tags)| {
        Command::CreateSubInterface(SubInterface { parent, id, tags })
    });
    prop_oneof![
        tunnel,
        sub,
        name().prop_map(|interface| Command::DeleteIpipTunnel { interface }),
        name().prop_map(|interface| Command::DeleteSubInterface { interface }),
    ]
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
        let hops = (spanned(address(family)), via, of(name()));
        (spanned(prefix_of(family)), hops, any::<bool>()).prop_map(
            |(prefix, (hop, via, through), del)| {
                let (via, interface) = match via {
                    Some((via, interface)) => (Some(via), interface),
                    None if del => (None, None),
                    None if through.is_some() => (None, through),
                    None => (Some(hop), None),
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
    let entry = |family, longest_match| {
        let length = move |prefix: Prefix| match longest_match {
            true => Prefix::host(prefix.address()),
            false => prefix,
        };
        spanned(prefix_of(family).prop_map(length))
            .prop_map(move |prefix| FibQuery::Entry { prefix, longest_match })
    };
    let fib = family().prop_flat_map(move |family| {
        let entries = prop_oneof![entry(family, true), entry(family, false)];
        prop_oneof![Just(FibQuery::All), Just(FibQuery::Summary), entries]
            .prop_map(move |query| Show::Fib { family, query })
    });
    let protocol = prop_oneof![Just(6u8), Just(17), any::<u8>()];
    let flow = (family().prop_flat_map(|f| (address(f), address(f))), any::<[u16; 2]>(), protocol)
        .prop_map(|((source, destination), ports, protocol)| {
            let ports = if matches!(protocol, 6 | 17) { ports } else { [0; 2] };
            Show::LbFlow(FlowQuery {
                source: source.into(),
                source_port: ports[0].into(),
                destination: destination.into(),
                destination_port: ports[1].into(),
                protocol: protocol.into(),
            })
        });
    prop_oneof![
        Just(Show::Lb),
        any::<bool>().prop_map(|verbose| Show::LbVips { verbose }),
        of(vip_key()).prop_map(|vip| Show::LbAs { vip }),
        flow,
        flows(),
        Just(Show::LbNoMatch),
        Just(Show::IpipTunnel),
        names().prop_map(|names| Show::Interface { names }),
        names().prop_map(|names| Show::InterfaceAddress { names }),
        (detail, names()).prop_map(|(detail, names)| Show::HardwareInterfaces { detail, names }),
        fib,
        (family(), of(name()))
            .prop_map(|(family, interface)| Show::Neighbors { family, interface }),
        any::<bool>().prop_map(|verbose| Show::Version { verbose }),
        Just(Show::Threads),
        any::<bool>().prop_map(|verbose| Show::Runtime { verbose }),
        Just(Show::Errors),
        Just(Show::Buffers),
        of(1u32..=100_000).prop_map(|max| Show::Trace { max }),
        Just(Show::RunningConfig),
        Just(Show::Events),
    ]
}

fn debug() -> impl Strategy<Value = Command> {
    prop_oneof![
        select(PanicPlace::ALL).prop_map(Debug::ControlPanic),
        spanned(1u16..=600).prop_map(Debug::ControlHang),
        spanned(any::<u16>()).prop_map(Debug::WorkerPanic),
    ]
    .prop_map(Command::Debug)
}

fn flows() -> impl Strategy<Value = Show> {
    let client = of(spanned(family().prop_flat_map(prefix_of)));
    let cursor = (1u16.., any::<u32>()).prop_map(|(thread, entry)| FlowsCursor { thread, entry });
    let (limit, cursor) = (of(spanned(1u32..=10_000)), of(spanned(cursor)));
    (of(vip_key()), of(spanned(any_address())), client, limit, cursor).prop_map(
        |(vip, server, client, limit, cursor)| {
            Show::LbFlows(FlowsQuery { vip, server, client, limit, cursor })
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let ping =
        (spanned(any_address()), of(name()), of(0u16..=1400), of(1u32..=60_000), of(1u32..=1000))
            .prop_map(|(address, source, size, interval_ms, repeat)| {
                Command::Ping(Ping { address, source, size, interval_ms, repeat })
            });
    let wait = (vip_key(), spanned(any_address()), of(spanned(0u32..=31_536_000))).prop_map(
        |(vip, server, timeout_s)| Command::WaitDrained(WaitDrained { vip, server, timeout_s }),
    );
    let trace = (name(), spanned(1u32..=100_000))
        .prop_map(|(node, count)| Command::TraceAdd { node, count });
    let no_match = (spanned(family().prop_flat_map(prefix_of)), of(any_of(NoMatch::ALL)))
        .prop_map(|(prefix, policy)| Command::LbNoMatch(LbNoMatch { prefix, policy }));
    let exec = "/[a-z0-9/._-]{0,20}"
        .prop_map(|f| Command::Exec { file: std::path::PathBuf::from(f).into() });
    let file = || of("/[a-z0-9/._-]{0,20}".prop_map(|f| std::path::PathBuf::from(f).into()));
    let reload = (file(), of(spanned(1u32..=86_400)))
        .prop_map(|(file, confirm_s)| Command::Reload { file, confirm_s });
    let files = prop_oneof![
        reload,
        file().prop_map(|file| Command::Diff { file }),
        file().prop_map(|file| Command::Save { file }),
    ];
    prop_oneof![
        1 => files,
        3 => vip().prop_map(Command::LbVipAdd),
        3 => servers().prop_map(Command::LbAs),
        1 => vip_key().prop_map(Command::LbVipDel),
        1 => vip_key().prop_map(Command::LbFlushVip),
        1 => Just(Command::LbFlushAll),
        2 => update()
            .prop_filter("says something", |update| *update != LbVipUpdate::new(update.key))
            .prop_map(Command::LbVipUpdate),
        1 => no_match,
        2 => link_command(),
        2 => conf().prop_map(Command::LbConf),
        4 => network_command(),
        4 => (show(), any::<bool>()).prop_map(|(show, json)| Command::Show { show, json }),
        1 => ping,
        1 => wait,
        1 => trace,
        1 => debug(),
        1 => exec,
        1 => vec("[a-z]{1,5}", 0..3).prop_map(|topic| Command::Help { topic }),
        1 => prop_oneof![
            Just(Command::Blank),
            Just(Command::ReloadCancel),
            Just(Command::Confirm),
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
        "(show|set|lb|vip|vips|as|drain|then|undrain|wait|drained|flows|conf|ip|route|flush|interface|address|state|nat4|in|del|via)",
        "(port|protocol|tcp|udp|encap|nat4|target_port|new_len|weight|dscp|type|buckets|timeout)",
        "(create|delete|sub-interfaces|ipip|tunnel|src|dst|dot1q|inner-dot1q|no-match|flow|fib|ip6)",
        "(gre4|l3dsr|node_port|mss|auto|scheduler|rr|src_ip_sticky|off|update|1-2|5-3|0-9|tunnel-ttl)",
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
    fn a_vip_that_can_be_stays_one_when_updated(vip in vip(), words in update()) {
        prop_assert_eq!(check_vip(&vip), []);
        let words = LbVipUpdate { key: vip.key, ..words };
        match words.onto(&vip) {
            Ok(new) => {
                prop_assert_eq!(check_vip(&new), []);
                prop_assert_eq!(new.key, vip.key);
                prop_assert_eq!(new.encap().is_nat(), vip.encap().is_nat());
                prop_assert_eq!((new.target(), new.node_port()), (vip.target(), vip.node_port()));
                prop_assert_eq!(parse_line(&new.to_string()), Ok(Command::LbVipAdd(new)));
            }
            Err(problem) => prop_assert!(problem.hint.is_some(), "{problem:?}"),
        }
        let nothing = LbVipUpdate::new(vip.key).onto(&vip);
        prop_assert_eq!(nothing, Ok(vip));
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
        // A whole word beats the longer ones it begins, ip6 and ipip.
        prop_assume!(words[1] != "ip" || line.starts_with("show ip "));
        let short = words.join(" ");
        match parse_line(&short) {
            Ok(parsed) => prop_assert_eq!(parsed, full),
            Err(error) => prop_assert!(error.reason.contains("ambiguous"), "{short}: {error}"),
        }
    }

    #[test]
    fn no_line_makes_the_cli_panic(line in prop_oneof![nonsense(), ".{0,60}"]) {
        match parse_line(&line) {
            Ok(_) => {}
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
