//! Random universes for proptest: interfaces, routes and VIPs. Everything is drawn from small sets
//! so that packets meet the same addresses, ports and flows again and again.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::config::{Config, Interface, Kind, NoMatch, NoMatchPrefix, Route, Timeouts};
use super::ip::{TCP, UDP};
use super::operator::{is_free, is_possible, possible_servers};
use super::route::is_on_link;
use super::scenario::Universe;
use super::scope::Scope;
use super::service::{Method, Mss, Ports, Scheduler, Server, Target, Vip, VipKey};
use super::tunnel_settings::{OuterDf, TooBig, TunnelSettings};

/// One of several, as often as its weight says; without those of weight 0.
pub(super) fn any_of<T: std::fmt::Debug + 'static>(
    options: Vec<(u32, BoxedStrategy<T>)>,
) -> BoxedStrategy<T> {
    let possible = options.into_iter().filter(|(weight, _)| *weight > 0).collect();
    prop::strategy::Union::new_weighted(possible).boxed()
}

/// True now and then, if at all.
fn sometimes(possible: bool) -> BoxedStrategy<bool> {
    if possible { prop::bool::weighted(0.3).boxed() } else { Just(false).boxed() }
}

pub(super) const fn ip(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// 2001:db8:`net`::`host`
pub(super) const fn ip6(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host))
}

/// A port: 10.0.`index`.254/24, 2001:db8:`index`::fe/64, and perhaps a second, smaller network.
fn port(index: u16, scope: Scope) -> impl Strategy<Value = Interface> {
    let net = index as u8;
    let second = prop_oneof![
        3 => Just(None),
        1 => Just(Some((ip(172, 16, net, 1), 30))),
        1 => Just(Some((ip(172, 17, net, 0), 31))),
        1 => Just(Some((ip(172, 18, net, 9), 32))),
        1 => Just(Some((ip(10, 9, net, 129), 25))),
    ];
    let mtus = if scope.ip6 {
        vec![1500_usize, 1500, 1500, 1320, 1320, 1280, 576, 100]
    } else {
        vec![1500, 1500, 1500, 576, 100]
    };
    let first = prop_oneof![19 => Just(Some((ip(10, 0, net, 254), 24))), 1 => Just(None)];
    let third = weighted(0.9, Just((ip6(index, 0xfe), 64)));
    let nat_in = (prop::bool::weighted(0.6), prop::bool::weighted(0.6));
    let parts = (first, second, third, select(mtus), prop::bool::weighted(0.95), nat_in);
    parts.prop_map(move |(first, second, third, mtu, up, (nat4_in, nat6_in))| Interface {
        // IPv6 needs 1280 bytes (RFC 8200 §5).
        addresses: first
            .into_iter()
            .chain(second)
            .chain(third.filter(|_| scope.ip6 && mtu >= 1280))
            .collect(),
        mac: [2, 0, 0, 0, 0xff, net],
        mtu,
        up,
        nat4_in,
        nat6_in: nat6_in && scope.ip6,
        kind: Kind::Port,
    })
}

/// Sub-interfaces of the first port: tagged once, tagged twice, by a provider.
fn vlans(scope: Scope) -> impl Strategy<Value = Vec<Interface>> {
    let tags =
        vec![(10, None, false), (11, None, true), (10, Some(20), false), (0xffe, None, false)];
    let count = if scope.vlan { 0..=3 } else { 0..=0 };
    let one = move |(outer, inner, service_tag): (u16, Option<u16>, bool)| {
        let net = (outer % 100) as u8 + if inner.is_some() { 100 } else { 0 };
        let mut addresses = vec![(ip(10, 1, net, 254), 24)];
        if scope.ip6 {
            addresses.push((ip6(0x100 + u16::from(net), 0xfe), 64));
        }
        Interface {
            addresses,
            mac: [2, 0, 0, 0, 0xff, 1],
            mtu: 1500,
            up: true,
            nat4_in: net.is_multiple_of(2),
            nat6_in: net.is_multiple_of(2) && scope.ip6,
            kind: Kind::Vlan { parent: 1, outer, inner, service_tag },
        }
    };
    let up = vec(prop::bool::weighted(0.9), 3);
    (subsequence(tags, count), up).prop_map(move |(tags, up)| {
        let links = tags.into_iter().map(one);
        links.zip(up).map(|(link, up)| Interface { up, ..link }).collect()
    })
}

/// Tunnels from the first port's addresses.
fn tunnels(scope: Scope) -> impl Strategy<Value = Vec<Interface>> {
    let ends = vec![
        (ip(10, 0, 1, 254), ip(10, 0, 1, 2), 3_u8),
        (ip(10, 0, 1, 254), ip(20, 9, 9, 9), 4),
        (ip6(1, 0xfe), ip6(1, 2), 5),
    ];
    let ends: Vec<_> = ends.into_iter().filter(|(own, ..)| own.is_ipv4() || scope.ip6).collect();
    let count = if scope.tunnels { 0..=2 } else { 0..=0 };
    let up = vec(prop::bool::weighted(0.9), 3);
    (subsequence(ends, count), up).prop_map(move |(ends, up)| {
        let one = |((source, destination, net), up): ((IpAddr, IpAddr, u8), bool)| {
            let mut addresses = vec![(ip(10, 2, net, 1), 30)];
            // One of them speaks IPv4 only.
            if scope.ip6 && net != 4 {
                addresses.push((ip6(0x200 + u16::from(net), 1), 126));
            }
            Interface {
                addresses,
                mac: [0; 6],
                mtu: 1400,
                up,
                nat4_in: true,
                nat6_in: scope.ip6,
                kind: Kind::Tunnel { source, destination },
            }
        };
        ends.into_iter().zip(up).map(one).collect()
    })
}

/// One route that overlaps the connected networks and others.
pub(super) fn route(ports: u16, scope: Scope) -> impl Strategy<Value = Route> {
    let networks = vec![
        (ip(0, 0, 0, 0), 0),
        (ip(20, 0, 0, 0), 8),
        (ip(20, 20, 0, 0), 16),
        (ip(20, 20, 20, 1), 32),
        (ip(50, 0, 0, 0), 9),
        (ip(10, 0, 0, 0), 8),
        (ip(10, 0, 1, 0), 25),
        (ip(10, 0, 2, 0), 29),
        (ip(10, 0, 2, 2), 32),
        (ip(192, 0, 2, 0), 24),
    ];
    let networks6 = vec![
        (ip6(0, 0), 32),
        (ip6(0x20, 0), 48),
        (ip6(0x20, 1), 128),
        (ip6(1, 0), 72),
        (ip6(2, 0), 125),
        (ip6(0x50, 0), 49),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    ];
    let host = (1..=ports, select(vec![1_u16, 1, 2]), prop::bool::weighted(0.2), 3_u8..6);
    let tunnels = scope.tunnels;
    let v4 = (select(networks), host.clone()).prop_map(
        move |((network, prefix_len), (net, host, tunnel, far))| {
            let next_hop = match tunnel && tunnels {
                true => ip(10, 2, far, 2),
                false => ip(10, 0, net as u8, host as u8),
            };
            Route { network, prefix_len, next_hop }
        },
    );
    let v6 = (select(networks6), host).prop_map(
        move |((network, prefix_len), (net, host, tunnel, far))| {
            let next_hop = match tunnel && tunnels {
                true => ip6(0x200 + u16::from(far), 2),
                false => ip6(net, host),
            };
            Route { network, prefix_len, next_hop }
        },
    );
    any_of(vec![(3, v4.boxed()), (2 * u32::from(scope.ip6), v6.boxed())])
}

pub(super) fn servers(ports: u16, scope: Scope) -> Vec<IpAddr> {
    let mut servers = vec![ip(20, 3, 3, 3), ip(99, 9, 9, 9)];
    for net in 1..=ports {
        servers.extend([ip(10, 0, net as u8, 11), ip(10, 0, net as u8, 12)]);
        if scope.ip6 {
            servers.extend([ip6(net, 11), ip6(net, 12)]);
        }
    }
    if scope.ports {
        // Within VIPs of several addresses.
        servers.extend([ip(10, 0, 1, 76), ip(20, 20, 20, 12)]);
    }
    if scope.ip6 {
        servers.extend([ip6(0x20, 12), ip6(0x99, 9), ip6(1, 0x4c)]);
    }
    servers
}

fn key(scope: Scope) -> impl Strategy<Value = VipKey> {
    // One of ours, one on a connected network, one routed to us.
    let mut prefixes =
        vec![(ip(10, 0, 1, 254), 32), (ip(10, 0, 1, 77), 32), (ip(20, 20, 20, 1), 32)];
    if scope.ports {
        prefixes.extend([(ip(20, 20, 20, 0), 24), (ip(10, 0, 1, 64), 28), (ip(20, 0, 0, 0), 8)]);
    }
    if scope.vip6 {
        prefixes.extend([(ip6(1, 0xfe), 128), (ip6(1, 0x77), 128), (ip6(0x20, 1), 128)]);
    }
    if scope.vip6 && scope.ports {
        prefixes.extend([(ip6(0x20, 0), 64), (ip6(1, 0x40), 122)]);
    }
    let single = (select(vec![TCP, UDP]), select(vec![80_u16, 8080, 2020]))
        .prop_map(|(protocol, port)| Ports::Range { protocol, first: port, last: port });
    let range =
        (select(vec![TCP, UDP]), select(vec![(79_u16, 82_u16), (2000, 2100), (8079, 8081)]))
            .prop_map(|(protocol, (first, last))| Ports::Range { protocol, first, last });
    let more = u32::from(scope.ports);
    let all = Just(Ports::All);
    let ports = any_of(vec![(4, single.boxed()), (more, range.boxed()), (more, all.boxed())]);
    (select(prefixes), ports).prop_map(|((network, prefix_len), ports)| VipKey {
        network,
        prefix_len,
        ports,
    })
}

fn method(scope: Scope) -> impl Strategy<Value = Method> {
    let others = u32::from(scope.encaps);
    any_of(vec![
        (4, Just(Method::Nat).boxed()),
        (others, Just(Method::Gre4).boxed()),
        (others, Just(Method::Ipip).boxed()),
        (others, Just(Method::Gue).boxed()),
        (others, (0_u8..64).prop_map(|dscp| Method::L3dsr { dscp }).boxed()),
        (others, Just(Method::Dr).boxed()),
        (u32::from(scope.encaps && scope.ip6), Just(Method::Gre6).boxed()),
    ])
}

/// How long flows live: as usual, or so that waits of a few seconds tell states apart.
pub(super) fn timeouts() -> impl Strategy<Value = Timeouts> + Clone {
    let apart = Timeouts {
        udp_s: 4,
        other_s: 6,
        syn_s: 8,
        established_s: 20,
        fin_wait_s: 10,
        close_wait_s: 12,
        time_wait_s: 14,
        close_s: 2,
    };
    let long = Timeouts { udp_s: 300, close_s: 10, syn_s: 60, ..Timeouts::new(40, 900, 120) };
    let usual = Timeouts::new(40, 900, 120);
    select(vec![usual, apart, apart, long, Timeouts::new(5, 20, 10), Timeouts::new(1, 1, 1)])
}

/// A VIP.
pub(super) fn vip(ports: u16, scope: Scope) -> impl Strategy<Value = Vip> {
    let weight = prop_oneof![6 => Just(100_u8), 2 => 1_u8..=100, 1 => Just(0)];
    let chosen = vec((any::<prop::sample::Index>(), weight, weighted(0.2, method(scope))), 0..4);
    let one = select(vec![80_u16, 80, 53]);
    let target = prop_oneof![
        4 => one.clone().prop_map(Target::One),
        1 => Just(Target::Keep),
        1 => one.prop_map(Target::From),
    ];
    let node = sometimes(scope.node_ports).prop_flat_map(|with| {
        select(vec![30_000_u16, 80]).prop_map(move |port| with.then_some(port))
    });
    let (turns, sticky) = (sometimes(scope.round_robin), sometimes(scope.src_ip_sticky));
    let own_timeouts = weighted(0.3, timeouts());
    let mss = if scope.mss {
        prop_oneof![3 => Just(Mss::Keep), 1 => Just(Mss::Auto), 1 => (88_u16..1500).prop_map(Mss::At)]
            .boxed()
    } else {
        Just(Mss::Keep).boxed()
    };
    let all = servers(ports, scope);
    (key(scope), method(scope), target, node, (turns, sticky), (mss, own_timeouts), chosen)
        .prop_map(
            move |(
                key,
                method,
                target,
                node_port,
                (turns, src_ip_sticky),
                (mss, timeouts),
                chosen,
            )| {
                let all_ports = key.ports == Ports::All;
                let nat = method == Method::Nat && !(all_ports && scope.encaps);
                let plain = if nat { Method::Nat } else { Method::Ipip };
                let method = if method == Method::Nat { plain } else { method };
                // Few target ports: VIPs share (AS, target port) often.
                let target = match target {
                    _ if !nat => Target::Keep,
                    _ if scope.ports => target,
                    _ => Target::One(if target == Target::Keep { 53 } else { 80 }),
                };
                let mut vip = Vip {
                    key,
                    method,
                    target,
                    node_port: node_port.filter(|_| nat && key.is_single()),
                    src_ip_sticky,
                    scheduler: if turns { Scheduler::RoundRobin } else { Scheduler::Maglev },
                    mss,
                    timeouts,
                    servers: BTreeMap::new(),
                };
                let possible = possible_servers(&all, &vip);
                for (at, weight, own) in chosen.iter().filter(|_| !possible.is_empty()) {
                    let server = possible[at.index(possible.len())];
                    let other = |own: &Method| {
                        !nat && *own != Method::Nat && own.reaches(key.network, server)
                    };
                    let method = own.filter(|own| other(own)).unwrap_or(method);
                    vip.servers.insert(server, Server::new(*weight, method));
                }
                vip
            },
        )
}

fn settings(scope: Scope) -> impl Strategy<Value = TunnelSettings> {
    let source4 = weighted(0.6, select(vec![ip(39, 40, 41, 42), ip(10, 0, 1, 254)]));
    let source6 = weighted(0.6, Just(ip6(0x2004, 1)));
    let df = select(vec![OuterDf::Copy, OuterDf::Copy, OuterDf::Set, OuterDf::Clear]);
    let too_big = select(vec![TooBig::Drop, TooBig::Fragment]);
    let marks =
        (weighted(0.3, 0_u8..64), prop::bool::weighted(0.8), select(vec![64_u8, 64, 1, 255]));
    let gue_port = select(vec![6080_u16, 6081]);
    (source4, source6, df, too_big, marks, gue_port).prop_map(
        move |(source4, source6, df, too_big, (dscp, ecn, ttl), gue_port)| {
            if !scope.encaps {
                return TunnelSettings::default();
            }
            let source4 = source4.and_then(|source| match source {
                IpAddr::V4(source) => Some(source),
                IpAddr::V6(_) => None,
            });
            let source6 = source6.and_then(|source| match source {
                IpAddr::V6(source) => Some(source),
                IpAddr::V4(_) => None,
            });
            TunnelSettings { source4, source6, ttl, dscp, ecn, df, too_big, gue_port }
        },
    )
}

fn no_match(scope: Scope) -> impl Strategy<Value = (NoMatch, Vec<NoMatchPrefix>)> {
    let policies = match scope.no_match {
        true => vec![NoMatch::Drop, NoMatch::Reset, NoMatch::Icmp],
        false => vec![NoMatch::Drop],
    };
    let mut networks = vec![(ip(20, 0, 0, 0), 8), (ip(20, 20, 20, 1), 32), (ip(10, 0, 1, 64), 26)];
    if scope.ip6 {
        networks.extend([(ip6(0, 0), 32), (ip6(0x20, 0), 64)]);
    }
    let one = select(policies.clone());
    let count = if scope.no_match { 0..3_usize } else { 0..1 };
    (select(policies), btree_map(select(networks), one, count)).prop_map(|(all, prefixes)| {
        let prefix =
            |((network, prefix_len), policy)| NoMatchPrefix { network, prefix_len, policy };
        (all, prefixes.into_iter().map(prefix).collect())
    })
}

/// Addresses that are no ordinary host's.
pub(super) fn strange_addresses(scope: Scope) -> Vec<IpAddr> {
    let mut strange = vec![
        ip(50, 0, 0, 1),
        ip(192, 0, 2, 1),
        ip(10, 0, 1, 0),
        ip(10, 0, 1, 255),
        ip(172, 16, 1, 3),
        ip(224, 0, 0, 1),
        ip(255, 255, 255, 255),
        ip(127, 0, 0, 1),
        ip(0, 0, 0, 0),
        ip(240, 0, 0, 1),
        ip(169, 254, 1, 1),
    ];
    if scope.encaps {
        strange.push(ip(39, 40, 41, 42));
    }
    if scope.tunnels {
        strange.extend([ip(10, 2, 3, 2), ip(10, 2, 4, 2), ip(10, 2, 5, 2)]);
    }
    if scope.tunnels && scope.ip6 {
        strange.extend([ip6(0x203, 2), ip6(0x205, 2)]);
    }
    if scope.ip6 {
        let special = ["::", "::1", "ff02::1", "ff02::1:ff00:77", "ff05::2", "fe80::1", "fc00::1"];
        strange.extend(special.map(|text| text.parse::<IpAddr>().expect("an address")));
        strange.extend([ip6(1, 0), ip6(0x50, 1), ip6(0x2004, 1)]);
    }
    strange
}

/// The hosts behind each interface that has a network.
fn hosts(config: &Config) -> Vec<(u16, IpAddr)> {
    let mut hosts = Vec::new();
    for index in config.indices() {
        let link = config.interface(index);
        if matches!(link.kind, Kind::Tunnel { .. }) {
            continue;
        }
        for host in [1_u8, 2, 9, 11, 12] {
            hosts.extend(link.addresses.iter().filter_map(|(own, len)| match (own, len) {
                (IpAddr::V4(own), 24) => {
                    let [a, b, c, _] = own.octets();
                    Some((index, ip(a, b, c, host)))
                }
                (IpAddr::V6(own), 64) => Some((index, ip6(own.segments()[2], host.into()))),
                _ => None,
            }));
        }
    }
    hosts
}

/// A configuration and its surroundings.
pub fn universe(scope: Scope) -> impl Strategy<Value = Universe> {
    (1_u16..=4).prop_flat_map(move |count| {
        let ports: Vec<_> = (1..=count).map(|index| port(index, scope)).collect();
        let links = (ports, vlans(scope), tunnels(scope));
        let balancing = (
            vec(vip(count, scope), 1..if scope.ports { 8 } else { 5 }),
            settings(scope),
            no_match(scope),
        );
        let known = vec(prop::bool::weighted(0.6), 64);
        let routes = vec(route(count, scope), 0..6);
        (links, routes, known, balancing, timeouts()).prop_map(
            move |((ports, vlans, tunnels), routes, known, balancing, timeouts)| {
                let mut config = Config::new(timeouts);
                config.interfaces = ports.into_iter().chain(vlans).chain(tunnels).collect();
                fill(&mut config, routes, &known, balancing);
                surround(config, count, scope)
            },
        )
    })
}

/// Adds everything that makes sense.
fn fill(
    config: &mut Config,
    routes: Vec<Route>,
    known: &[bool],
    (vips, settings, (no_match, prefixes)): (
        Vec<Vip>,
        TunnelSettings,
        (NoMatch, Vec<NoMatchPrefix>),
    ),
) {
    let mac = |(i, address): (u16, IpAddr)| {
        [2, i as u8, 0, 0, 0, super::ip::octets(address).last().copied().unwrap_or(0)]
    };
    for (at, known) in hosts(config).into_iter().zip(known) {
        if *known && is_on_link(config, at.0, at.1) {
            config.neighbors.insert(at, mac(at));
        }
    }
    for route in routes {
        if is_possible(config, &route) {
            config.routes.push(route);
        }
    }
    for vip in vips {
        if is_free(config, &vip) {
            config.vips.push(vip);
        }
    }
    config.tunnels = settings;
    config.no_match = no_match;
    config.no_match_prefixes = prefixes;
}

fn surround(config: Config, count: u16, scope: Scope) -> Universe {
    let neighbors = hosts(&config);
    let low = |address: &IpAddr| super::ip::octets(*address).last().copied();
    let mut clients: Vec<(u16, IpAddr)> = neighbors
        .iter()
        .copied()
        .filter(|(_, address)| matches!(low(address), Some(1 | 9 | 11)))
        .collect();
    clients.push((1, ip(50, 0, 0, 1)));
    if scope.ip6 {
        clients.push((1, ip6(0x50, 1)));
    }
    Universe {
        scope,
        config,
        clients,
        servers: servers(count, scope),
        neighbors,
        targets: strange_addresses(scope),
    }
}
