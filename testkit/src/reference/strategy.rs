//! Random universes and steps for proptest. Everything is drawn from small sets so that packets
//! meet the same addresses, ports and flows again and again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::config::{Config, Interface, Route, Service, Timeouts, Vip};
use super::frame::Flaw;
use super::frame::tcp_flag::{ACK, FIN, RST, SYN};
use super::ip4::{ICMP, TCP, UDP};
use super::route::{connected, is_on_link};
use super::scenario::{Scenario, Step, Universe};

const fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// An interface: 10.0.`index`.254/24 and perhaps a second, smaller network.
fn interface(index: u16) -> impl Strategy<Value = Interface> {
    let net = index as u8;
    let second = prop_oneof![
        3 => Just(None),
        1 => Just(Some((ip(172, 16, net, 1), 30))),
        1 => Just(Some((ip(172, 17, net, 0), 31))),
        1 => Just(Some((ip(172, 18, net, 9), 32))),
        1 => Just(Some((ip(10, 9, net, 129), 25))),
    ];
    let mtu = prop_oneof![3 => Just(1500_usize), 1 => Just(576), 1 => Just(100)];
    let first = prop_oneof![19 => Just(Some((ip(10, 0, net, 254), 24))), 1 => Just(None)];
    ((first, second), mtu, prop::bool::weighted(0.95), prop::bool::weighted(0.6)).prop_map(
        move |((first, second), mtu, up, nat4_in)| Interface {
            addresses: first.into_iter().chain(second).collect(),
            mac: [2, 0, 0, 0, 0xff, net],
            mtu,
            up,
            nat4_in,
        },
    )
}

/// Routes that overlap the connected networks and one another.
fn routes(interfaces: u16) -> impl Strategy<Value = Vec<Route>> {
    let next_hop =
        (1..=interfaces, select(vec![1, 1, 2])).prop_map(|(net, host)| ip(10, 0, net as u8, host));
    let prefix = select(vec![
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
    ]);
    btree_map(prefix, next_hop, 0..6).prop_map(|routes| {
        let route = |((network, prefix_len), next_hop)| Route { network, prefix_len, next_hop };
        routes.into_iter().map(route).collect()
    })
}

fn servers(interfaces: u16) -> Vec<Ipv4Addr> {
    let mut servers = vec![ip(20, 3, 3, 3), ip(99, 9, 9, 9)];
    for net in 1..=interfaces as u8 {
        servers.extend([ip(10, 0, net, 11), ip(10, 0, net, 12)]);
    }
    servers
}

fn vips(interfaces: u16) -> impl Strategy<Value = Vec<Vip>> {
    // One of ours, one on a connected network, one routed to us.
    let address = select(vec![ip(10, 0, 1, 254), ip(10, 0, 1, 77), ip(20, 20, 20, 1)]);
    let service = (address, select(vec![TCP, UDP]), select(vec![80_u16, 8080, 2020]))
        .prop_map(|(address, protocol, port)| Service { address, protocol, port });
    let weight = prop_oneof![6 => Just(100_u8), 2 => 1_u8..=100, 1 => Just(0)];
    let server = (select(servers(interfaces)), weight);
    // Few target ports: VIPs share (AS, target port) often.
    let vip = (select(vec![80_u16, 80, 53]), vec(server, 0..4));
    btree_map(service, vip, 1..5).prop_map(|vips| {
        let vip = |(service, (target_port, servers)): (_, (_, Vec<_>))| Vip {
            service,
            target_port,
            servers: servers.into_iter().collect(),
        };
        vips.into_iter().map(vip).collect()
    })
}

/// A configuration and its surroundings.
pub fn universe() -> impl Strategy<Value = Universe> {
    (1_u16..=4).prop_flat_map(|count| {
        let interfaces: Vec<_> = (1..=count).map(interface).collect();
        let hosts: Vec<(u16, Ipv4Addr)> = (1..=count)
            .flat_map(|i| [1, 2, 9, 11, 12].map(|host| (i, ip(10, 0, i as u8, host))))
            .collect();
        let known = subsequence(hosts.clone(), 0..=hosts.len());
        let timeouts = select(vec![(40, 900, 120), (5, 20, 10), (1, 1, 1)]);
        (interfaces, routes(count), known, vips(count), timeouts).prop_map(
            move |(interfaces, routes, known, vips, (timeout_s, established_s, closing_s))| {
                let mac =
                    |(i, address): (u16, Ipv4Addr)| [2, i as u8, 0, 0, 0, address.octets()[3]];
                let neighbors: BTreeMap<_, _> = known.iter().map(|at| (*at, mac(*at))).collect();
                let mut clients: Vec<(u16, Ipv4Addr)> = hosts
                    .iter()
                    .copied()
                    .filter(|(_, address)| [1, 9, 11].contains(&address.octets()[3]))
                    .collect();
                clients.push((1, ip(50, 0, 0, 1)));
                let timeouts = Timeouts { timeout_s, established_s, closing_s };
                let mut config = Config { interfaces, routes, neighbors, vips, timeouts };
                // An interface may have no address; its neighbours and routers are not connected.
                let all = config.clone();
                config.neighbors.retain(|(i, address), _| is_on_link(&all, *i, *address));
                config.routes.retain(|route| connected(&all, route.next_hop).is_some());
                Universe {
                    config,
                    clients,
                    servers: servers(count),
                    neighbors: hosts.clone(),
                    targets: strange_addresses(),
                }
            },
        )
    })
}

fn strange_addresses() -> Vec<Ipv4Addr> {
    vec![
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
    ]
}

/// Something wrong or unusual.
pub fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![
        2 => (0_usize..80).prop_map(Flaw::Truncate),
        2 => (1_usize..20).prop_map(Flaw::Pad),
        3 => (1_u8..=10).prop_map(Flaw::Options),
        4 => Just(Flaw::DontFragment),
        3 => (0_u8..=2).prop_map(Flaw::Ttl),
        2 => (select(vec![0_u16, 1, 2, 185]), any::<bool>()).prop_map(|(at, more)| Flaw::Fragment(at, more)),
        2 => select(strange_addresses()).prop_map(Flaw::Source),
        1 => select(vec![ip(10, 0, 1, 254), ip(20, 20, 20, 1)]).prop_map(Flaw::Source),
        1 => (1_u16..=0xffff).prop_map(Flaw::HeaderChecksum),
        2 => (1_u16..=0xffff).prop_map(Flaw::TransportChecksum),
        2 => Just(Flaw::NoChecksum),
        1 => Just(Flaw::PartialChecksum),
        1 => Just(Flaw::ComputesToZero),
        2 => (-60_i16..60).prop_map(Flaw::TotalLen),
        1 => any::<u8>().prop_map(Flaw::VersionIhl),
        2 => select(vec![[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0xff, 9], [0; 6]])
            .prop_map(Flaw::Destination),
        2 => (select(vec![0x8100_u16, 0x88a8]), select(vec![0_u16, 0xe000, 1, 0x2fff]))
            .prop_map(|(tpid, tci)| Flaw::Vlan(tpid, tci)),
        1 => select(vec![0x0800_u16, 0x0806, 0x86dd, 0x88cc, 0x0026]).prop_map(Flaw::EtherType),
        3 => (0_usize..80, 1_u8..=255).prop_map(|(at, bits)| Flaw::Flip(at, bits)),
    ]
}

fn flaws() -> impl Strategy<Value = Vec<Flaw>> {
    prop_oneof![5 => Just(Vec::new()), 2 => vec(flaw(), 1), 1 => vec(flaw(), 2..4)]
}

/// Flags as conversations have them, and some that they have not.
fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => Just(SYN),
        5 => Just(ACK),
        2 => Just(SYN | ACK),
        2 => Just(FIN | ACK),
        1 => Just(RST),
        1 => any::<u8>(),
    ]
}

/// Data lengths around the MTUs of [`universe`].
fn len() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0_usize..12, 1 => 40_usize..64, 1 => 520_usize..560, 1 => 1440_usize..1500]
}

fn host() -> std::ops::Range<usize> {
    0..64
}

/// A client's packet to a VIP.
pub fn to_vip() -> impl Strategy<Value = Step> {
    let parts = (host(), 0_usize..3, host(), flags(), len(), flaws());
    parts.prop_map(|(client, port, vip, flags, len, flaws)| Step::ToVip {
        client,
        port,
        vip,
        flags,
        len,
        flaws,
    })
}

/// Any bytes, more or less disguised as a packet.
pub fn bytes() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        1 => Just(None),
        3 => Just(Some(0x0800)),
        1 => Just(Some(0x0806)),
        1 => Just(Some(0x8100)),
        1 => any::<u16>().prop_map(Some),
    ];
    let random = (host(), kind, any::<bool>(), vec(any::<u8>(), 0..120)).prop_map(
        |(interface, ether_type, fixed, bytes)| Step::Bytes { interface, ether_type, fixed, bytes },
    );
    let flips = vec((0_usize..90, 1_u8..=255).prop_map(|(at, bits)| Flaw::Flip(at, bits)), 1..4);
    let damaged = (to_vip(), flips).prop_map(|(step, flips)| match step {
        Step::ToVip { client, port, vip, flags, len, flaws } => {
            let flaws = flaws.into_iter().chain(flips).collect();
            Step::ToVip { client, port, vip, flags, len, flaws }
        }
        other => other,
    });
    prop_oneof![random, damaged]
}

/// One step.
pub fn step() -> impl Strategy<Value = Step> {
    let zero_sum = (host(), 0_usize..3, host(), host())
        .prop_map(|(client, port, vip, server)| Step::ToVipZeroSum { client, port, vip, server });
    let to_server = (host(), 0_usize..3, host(), host(), flags(), flaws()).prop_map(
        |(client, port, vip, server, flags, flaws)| Step::ToServer {
            client,
            port,
            vip,
            server,
            flags,
            flaws,
        },
    );
    let reply = (0_usize..6, flags(), len(), prop::bool::weighted(0.2), flaws()).prop_map(
        |(back, flags, len, zero_sum, flaws)| Step::Reply { back, flags, len, zero_sum, flaws },
    );
    let from_server = (host(), host(), host(), 0_usize..3, flags(), flaws()).prop_map(
        |(vip, server, client, port, flags, flaws)| Step::FromServer {
            vip,
            server,
            client,
            port,
            flags,
            flaws,
        },
    );
    let kind =
        prop_oneof![4 => Just(8_u8), 1 => Just(0), 1 => Just(3), 1 => Just(11), 1 => any::<u8>()];
    let icmp =
        (host(), host(), kind, prop_oneof![4 => Just(0_u8), 1 => any::<u8>()], len(), flaws())
            .prop_map(|(client, target, kind, code, len, flaws)| Step::Icmp {
                client,
                target,
                kind,
                code,
                len: len + 4,
                flaws,
            });
    let protocol = prop_oneof![2 => Just(TCP), 2 => Just(UDP), 1 => Just(ICMP), 1 => any::<u8>()];
    let port = select(vec![80_u16, 53, 8080, 2020, 1]);
    let plain = (host(), host(), protocol, port, len(), any::<bool>(), flaws()).prop_map(
        |(client, target, protocol, port, len, dont_fragment, flaws)| Step::Plain {
            client,
            target,
            protocol,
            port,
            len,
            dont_fragment,
            flaws,
        },
    );
    let operation = prop_oneof![5 => Just(1_u16), 3 => Just(2), 1 => any::<u16>()];
    let arp = (host(), operation, host(), host(), any::<bool>(), 0_u8..12, flaws()).prop_map(
        |(interface, operation, sender, target, unicast, mac, flaws)| Step::Arp {
            interface,
            operation,
            sender,
            target,
            unicast,
            mac,
            flaws,
        },
    );
    let again = (0_usize..4, flags(), 0_usize..8).prop_map(|(back, flags, len)| Step::Again {
        back,
        flags,
        len,
    });
    let wait = prop_oneof![3 => 0_u32..3, 3 => 3_u32..50, 1 => 50_u32..1000];
    let weight = prop_oneof![3 => Just(100_u8), 1 => 0_u8..=100];
    prop_oneof![
        12 => to_vip(),
        3 => zero_sum,
        5 => to_server,
        14 => reply,
        4 => from_server,
        5 => icmp,
        5 => plain,
        4 => arp,
        1 => bytes(),
        8 => again,
        2 => Just(Step::Audit),
        4 => wait.prop_map(Step::Wait),
        1 => (1_usize..80).prop_map(Step::Repeat),
        2 => (host(), host(), weight).prop_map(|(v, s, w)| Step::AddServer(v, s, w)),
        2 => (host(), host(), any::<bool>()).prop_map(|(v, s, f)| Step::RemoveServer(v, s, f)),
        4 => (host(), 0_u8..3).prop_map(|(n, mac)| Step::Learn(n, mac)),
        1 => host().prop_map(Step::Forget),
        1 => (host(), prop::bool::weighted(0.8)).prop_map(|(i, up)| Step::SetUp(i, up)),
        1 => (host(), prop::bool::weighted(0.8)).prop_map(|(i, on)| Step::SetNat4In(i, on)),
    ]
}

/// A universe and up to `steps` steps in it.
pub fn scenario(steps: usize) -> impl Strategy<Value = Scenario> {
    (universe(), vec(step(), 1..=steps)).prop_map(|(universe, steps)| Scenario { universe, steps })
}
