//! Random steps for proptest, and whole scenarios; `worlds` has what they happen in.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::flaw::{Cut, Flaw};
use super::frame::tcp_flag::{ACK, FIN, RST, SYN};
use super::ip::{GRE, ICMP, ICMP6, IP6IP, IPIP, TCP, UDP};
use super::scenario::{Scenario, Step, Universe};
use super::scope::Scope;
use super::service::Admin;
pub use super::worlds::universe;
use super::worlds::{any_of, ip, ip6, route, strange_addresses, timeouts, vip};

/// Something wrong or unusual.
pub fn flaw(scope: Scope) -> impl Strategy<Value = Flaw> {
    let ours: Vec<IpAddr> = [ip(10, 0, 1, 254), ip(20, 20, 20, 1)]
        .into_iter()
        .chain(scope.ip6.then(|| ip6(0x20, 1)))
        .collect();
    let cut = vec![0_u16, 1, 2, 185];
    let groups = vec![[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0xff, 9], [0; 6]];
    let vlans = match scope.vlan {
        true => vec![0_u16, 0xe000, 1, 0x2fff, 10, 11, 20],
        false => vec![0_u16, 0xe000, 1, 0x2fff],
    };
    let damage = prop_oneof![
        2 => (0_usize..100).prop_map(Flaw::Truncate),
        2 => (1_usize..20).prop_map(Flaw::Pad),
        3 => (1_u8..=10).prop_map(Flaw::Options),
        4 => Just(Flaw::DontFragment),
        3 => (0_u8..=2).prop_map(Flaw::Ttl),
        2 => (select(cut), any::<bool>()).prop_map(|(at, more)| Flaw::Fragment(at, more)),
        2 => select(strange_addresses(scope)).prop_map(Flaw::Source),
        1 => select(ours).prop_map(Flaw::Source),
    ];
    let sums = prop_oneof![
        1 => (1_u16..=0xffff).prop_map(Flaw::HeaderChecksum),
        2 => (1_u16..=0xffff).prop_map(Flaw::TransportChecksum),
        2 => Just(Flaw::NoChecksum),
        1 => Just(Flaw::PartialChecksum),
        1 => Just(Flaw::ComputesToZero),
        2 => (-60_i16..60).prop_map(Flaw::TotalLen),
        1 => any::<u8>().prop_map(Flaw::VersionIhl),
    ];
    let frames = prop_oneof![
        2 => select(groups).prop_map(Flaw::Destination),
        2 => (select(vec![0x8100_u16, 0x88a8]), select(vlans))
            .prop_map(|(tpid, tci)| Flaw::Vlan(tpid, tci)),
        1 => select(vec![0x0800_u16, 0x0806, 0x86dd, 0x88cc, 0x0026]).prop_map(Flaw::EtherType),
        3 => (0_usize..100, 1_u8..=255).prop_map(|(at, bits)| Flaw::Flip(at, bits)),
    ];
    let marks = any::<u8>().prop_map(Flaw::Tos);
    let routes = prop_oneof![
        2 => select(vec![131_u8, 137, 7]).prop_map(Flaw::SourceRoute),
        1 => Just(Flaw::LongExtension),
    ];
    any_of(vec![
        (19, damage.boxed()),
        (10, sums.boxed()),
        (8, frames.boxed()),
        (3 * u32::from(scope.encaps), marks.boxed()),
        (3 * u32::from(scope.mss), segment_size().boxed()),
        (u32::from(scope.checks), routes.boxed()),
        (2 * u32::from(scope.no_match), (0_u8..16).prop_map(Flaw::DataOffset).boxed()),
    ])
}

fn flaws(scope: Scope) -> impl Strategy<Value = Vec<Flaw>> + Clone {
    let one = flaw(scope).boxed();
    any_of(vec![
        (5, Just(Vec::new()).boxed()),
        (2, vec(one.clone(), 1).boxed()),
        (1, vec(one, 2..4).boxed()),
    ])
}

/// Flags as conversations have them, and some that they have not.
fn flags() -> impl Strategy<Value = u8> + Clone {
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
fn len(scope: Scope) -> impl Strategy<Value = usize> + Clone {
    let more = u32::from(scope.ip6);
    any_of(vec![
        (6, (0_usize..12).boxed()),
        (1, (40_usize..64).boxed()),
        (1, (520_usize..560).boxed()),
        (1, (1410_usize..1500).boxed()),
        (more, (1200_usize..1300).boxed()),
        (more, (1230_usize..1260).boxed()),
    ])
}

fn host() -> std::ops::Range<usize> {
    0..64
}

/// A client's packet to a VIP.
pub fn to_vip(scope: Scope) -> impl Strategy<Value = Step> + Clone {
    let parts = (host(), 0_usize..3, host(), host(), flags(), len(scope), flaws(scope));
    parts.prop_map(|(client, port, vip, within, flags, len, flaws)| Step::ToVip {
        client,
        port,
        vip,
        within,
        flags,
        len,
        flaws,
    })
}

/// Any bytes, more or less disguised as a packet.
pub fn bytes(scope: Scope) -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        1 => Just(None),
        3 => Just(Some(0x0800)),
        if scope.ip6 { 3 } else { 1 } => Just(Some(0x86dd)),
        1 => Just(Some(0x0806)),
        1 => Just(Some(0x8100)),
        1 => any::<u16>().prop_map(Some),
    ];
    let random = (host(), kind, any::<bool>(), vec(any::<u8>(), 0..160)).prop_map(
        |(interface, ether_type, fixed, bytes)| Step::Bytes { interface, ether_type, fixed, bytes },
    );
    let flips = vec((0_usize..110, 1_u8..=255).prop_map(|(at, bits)| Flaw::Flip(at, bits)), 1..4);
    let damaged = (to_vip(scope), flips).prop_map(|(mut step, flips)| {
        if let Step::ToVip { flaws, .. } = &mut step {
            flaws.extend(flips);
        }
        step
    });
    prop_oneof![random, damaged]
}

/// Packets of conversations.
fn talk(scope: Scope) -> BoxedStrategy<Step> {
    let zero_sum = (host(), 0_usize..3, host(), host())
        .prop_map(|(client, port, vip, server)| Step::ToVipZeroSum { client, port, vip, server });
    let to_server = (host(), 0_usize..3, host(), host(), flags(), flaws(scope)).prop_map(
        |(client, port, vip, server, flags, flaws)| Step::ToServer {
            client,
            port,
            vip,
            server,
            flags,
            flaws,
        },
    );
    let node = (host(), 0_usize..3, host(), host(), flags(), flaws(scope)).prop_map(
        |(client, port, vip, own, flags, flaws)| Step::ToNodePort {
            client,
            port,
            vip,
            own,
            flags,
            flaws,
        },
    );
    let from_server = (host(), host(), host(), 0_usize..3, flags(), flaws(scope)).prop_map(
        |(vip, server, client, port, flags, flaws)| Step::FromServer {
            vip,
            server,
            client,
            port,
            flags,
            flaws,
        },
    );
    let again = (0_usize..4, flags(), 0_usize..8).prop_map(|(back, flags, len)| Step::Again {
        back,
        flags,
        len,
    });
    any_of(vec![
        (12, to_vip(scope).boxed()),
        (3, zero_sum.boxed()),
        (5, to_server.boxed()),
        (14, reply(scope).boxed()),
        (4, from_server.boxed()),
        (8, again.boxed()),
        (5 * u32::from(scope.node_ports), node.boxed()),
        (5 * u32::from(scope.encaps), big(scope)),
        (4 * u32::from(scope.mss), handshake(scope)),
    ])
}

fn segment_size() -> impl Strategy<Value = Flaw> {
    let size = (select(vec![536_u16, 1220, 1460, 9000, 20]), 0_u8..4);
    size.prop_map(|(size, padding)| Flaw::Mss(size, padding))
}

/// A SYN that tells of segment sizes, or the answer to one.
fn handshake(scope: Scope) -> BoxedStrategy<Step> {
    let step = prop_oneof![to_vip(scope), reply(scope)];
    (step, segment_size())
        .prop_map(|(mut step, size)| {
            if let Step::ToVip { flags, flaws, .. } | Step::Reply { flags, flaws, .. } = &mut step {
                *flags = SYN | (*flags & ACK);
                *flaws = vec![size];
            }
            step
        })
        .boxed()
}

/// A client's packet that may not fit the way to its AS.
fn big(scope: Scope) -> BoxedStrategy<Step> {
    let lens = prop_oneof![
        2 => 1410_usize..1490,
        u32::from(scope.ip6) + 1 => 1170_usize..1290,
        1 => 530_usize..570,
    ];
    let marks = prop_oneof![Just(Vec::new()), Just(vec![Flaw::DontFragment])];
    (to_vip(scope), lens, marks)
        .prop_map(|(mut step, more, marks)| {
            if let Step::ToVip { len, flaws, .. } = &mut step {
                (*len, *flaws) = (more, marks);
            }
            step
        })
        .boxed()
}

fn reply(scope: Scope) -> impl Strategy<Value = Step> + Clone {
    let zero_sum = prop::bool::weighted(0.2);
    (0_usize..6, flags(), len(scope), zero_sum, flaws(scope)).prop_map(
        |(back, flags, len, zero_sum, flaws)| Step::Reply { back, flags, len, zero_sum, flaws },
    )
}

/// Packets that nobody asked for.
fn noise(scope: Scope) -> BoxedStrategy<Step> {
    let kind =
        prop_oneof![4 => Just(8_u8), 1 => Just(0), 1 => Just(3), 1 => Just(11), 1 => any::<u8>()];
    let code = prop_oneof![4 => Just(0_u8), 1 => any::<u8>()];
    let icmp = (host(), host(), kind, code, len(scope), flaws(scope)).prop_map(
        |(client, target, kind, code, len, flaws)| Step::Icmp {
            client,
            target,
            kind,
            code,
            len: len + 4,
            flaws,
        },
    );
    let others = select(vec![ICMP, ICMP6, IPIP, IP6IP, GRE, 50, 132]);
    let protocol =
        prop_oneof![2 => Just(TCP), 2 => Just(UDP), 1 => Just(ICMP), 1 => others, 1 => any::<u8>()];
    let port = select(vec![80_u16, 53, 8080, 2020, 1]);
    let plain = (host(), host(), protocol, port, len(scope), any::<bool>(), flaws(scope)).prop_map(
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
    let arp = (host(), operation, host(), host(), any::<bool>(), 0_u8..12, flaws(scope)).prop_map(
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
    let about = (host(), host(), any::<bool>(), 0_u8..12, prop::bool::weighted(0.8));
    let kind = select(vec![135_u8, 136]);
    let advertised = select(vec![0x60_u8, 0x20, 0x40, 0, 0xe0, 0xa0]);
    let odd = prop_oneof![6 => Just(0_usize), 1 => 1_usize..4];
    let discovery = (host(), kind, about, (advertised, odd), flaws(scope)).prop_map(
        |(interface, kind, (sender, target, unicast, mac, option), (flags, odd), flaws)| {
            Step::Discovery {
                odd,
                interface,
                kind,
                sender,
                target,
                unicast,
                mac,
                option,
                flags,
                flaws,
            }
        },
    );
    any_of(vec![
        (5, icmp.boxed()),
        (5, plain.boxed()),
        (4, arp.boxed()),
        (1, bytes(scope).boxed()),
        (5 * u32::from(scope.ip6), discovery.boxed()),
    ])
}

/// ICMP errors about what was sent.
fn errors(scope: Scope) -> BoxedStrategy<Step> {
    let quoted = prop_oneof![3 => Just(28_usize), 2 => Just(48), 3 => Just(1000), 1 => 0_usize..80];
    let about = (0_usize..6, host(), 0_usize..14, quoted.clone(), flaws(scope)).prop_map(
        |(back, reporter, kind, quoted, flaws)| Step::ErrorAbout {
            back,
            reporter,
            kind,
            quoted,
            flaws,
        },
    );
    let to_vip = (0_usize..6, host(), 0_usize..14, quoted, flaws(scope), flaws(scope)).prop_map(
        |(back, reporter, kind, quoted, quote_flaws, flaws)| Step::ErrorToVip {
            back,
            reporter,
            kind,
            quoted,
            quote_flaws,
            flaws,
        },
    );
    prop_oneof![about, to_vip].boxed()
}

/// Other packets in pieces, or in a tunnel.
fn wrapped(scope: Scope) -> BoxedStrategy<Step> {
    let whole = (to_vip(scope), 20_usize..80).prop_map(|(mut step, more)| {
        if let Step::ToVip { len, .. } = &mut step {
            *len += more;
        }
        step
    });
    let answer = (reply(scope), 20_usize..80).prop_map(|(mut step, more)| {
        if let Step::Reply { len, .. } = &mut step {
            *len += more;
        }
        step
    });
    let lost = prop_oneof![5 => Just(0_usize), 1 => 1_usize..3];
    // In any order, or the first one last.
    let order = prop_oneof![5 => vec(0_usize..8, 0..6), 1 => Just(vec![1; 12])];
    let cut = (1_usize..8, 1_u16..4, order, lost).prop_map(|(size, id, order, lost)| Cut {
        size,
        id,
        order,
        lost,
    });
    let cut_step = (prop_oneof![3 => whole, 2 => answer], cut)
        .prop_map(|(step, cut)| Step::InPieces(Box::new(step), cut));
    let inner = any_of(vec![(3, talk(scope)), (2, noise(scope))]);
    let tunnelled =
        (inner, 0_usize..3, any::<u8>(), flaws(scope)).prop_map(|(step, tunnel, tos, flaws)| {
            Step::InTunnel { step: Box::new(step), tunnel, tos, flaws }
        });
    any_of(vec![
        (3 * u32::from(scope.fragments), cut_step.boxed()),
        (2 * u32::from(scope.tunnels), tunnelled.boxed()),
        (1, Just(Step::Audit).boxed()),
    ])
}

/// What time and the operator do.
fn events(scope: Scope) -> BoxedStrategy<Step> {
    let wait = prop_oneof![3 => 0_u32..3, 3 => 3_u32..50, 1 => 50_u32..1000];
    let weight = prop_oneof![3 => Just(100_u8), 1 => 0_u8..=100];
    let add = (host(), host(), weight).prop_map(|(v, s, w)| Step::AddServer(v, s, w));
    let remove = (host(), host(), any::<bool>()).prop_map(|(v, s, f)| Step::RemoveServer(v, s, f));
    let admins = vec![Admin::Up, Admin::Drain, Admin::Drain, Admin::DrainThenDel];
    let drain =
        (host(), host(), select(admins)).prop_map(|(v, s, admin)| Step::SetAdmin(v, s, admin));
    let learn = (host(), 0_u8..3).prop_map(|(n, mac)| Step::Learn(n, mac));
    let on = || prop::bool::weighted(0.8);
    let changes = u32::from(scope.changes);
    let retime = (host(), weighted(0.7, timeouts()));
    let retime = retime.prop_map(|(vip, timeouts)| Step::SetTimeouts(vip, timeouts));
    any_of(vec![
        (2, Just(Step::Audit).boxed()),
        (4, wait.prop_map(Step::Wait).boxed()),
        // Not so many that a next hop's queue fills up in the middle of a burst: a vector of first
        // fragments is through before those that waited for them follow.
        (1, (1_usize..60).prop_map(Step::Repeat).boxed()),
        (2, add.boxed()),
        (2, remove.boxed()),
        (1, drain.boxed()),
        (4, learn.boxed()),
        (1, host().prop_map(Step::Forget).boxed()),
        (1, (host(), on()).prop_map(|(i, up)| Step::SetUp(i, up)).boxed()),
        (1, (host(), on()).prop_map(|(i, on)| Step::SetNat4In(i, on)).boxed()),
        (u32::from(scope.ip6), (host(), on()).prop_map(|(i, on)| Step::SetNat6In(i, on)).boxed()),
        (2 * changes, vip(4, scope).prop_map(|vip| Step::AddVip(Box::new(vip))).boxed()),
        (changes, host().prop_map(Step::RemoveVip).boxed()),
        (2 * changes, retime.boxed()),
        (2 * changes, route(4, scope).prop_map(Step::AddRoute).boxed()),
        (changes, host().prop_map(Step::RemoveRoute).boxed()),
        (1, (8_u32..12).prop_map(Step::Resize).boxed()),
    ])
}

/// One step.
pub fn step(scope: Scope) -> impl Strategy<Value = Step> {
    let wrapping = u32::from(scope.fragments || scope.tunnels);
    any_of(vec![
        (46, talk(scope)),
        (15 + 5 * u32::from(scope.ip6), noise(scope)),
        (8 * u32::from(scope.icmp_errors), errors(scope)),
        (10 * wrapping, wrapped(scope)),
        (18, events(scope)),
    ])
}

/// A universe and up to `steps` steps in it.
pub fn scenario(scope: Scope, steps: usize) -> impl Strategy<Value = Scenario> {
    (universe(scope), vec(step(scope), 1..=steps))
        .prop_map(|(universe, steps)| Scenario { universe, steps })
}

/// A universe and packets of clients, for one burst.
pub fn burst(scope: Scope, packets: usize) -> impl Strategy<Value = (Universe, Vec<Step>)> {
    (universe(scope), vec(to_vip(scope), 1..packets))
}

/// Packets that hardly fit, and pieces of them, where links are narrow.
pub fn narrow(scope: Scope, steps: usize) -> impl Strategy<Value = Scenario> {
    let large = (reply(scope), 1170_usize..1290, prop::bool::weighted(0.5)).prop_map(
        |(mut step, more, whole)| {
            if let Step::Reply { len, flaws, .. } = &mut step {
                (*len, *flaws) = (more, if whole { vec![Flaw::DontFragment] } else { Vec::new() });
            }
            step
        },
    );
    let learn = (host(), 0_u8..3).prop_map(|(n, mac)| Step::Learn(n, mac));
    let step = any_of(vec![
        (6, big(scope)),
        (2, large.boxed()),
        (2, wrapped(scope)),
        (2, to_vip(scope).boxed()),
        (1, learn.boxed()),
    ]);
    (universe(scope), vec(step, 1..=steps)).prop_map(|(mut universe, steps)| {
        for (at, link) in universe.config.interfaces.iter_mut().enumerate() {
            link.mtu = if link.mtu >= 1280 { [1320, 1280, 1500][at % 3] } else { link.mtu };
        }
        Scenario { universe, steps }
    })
}
