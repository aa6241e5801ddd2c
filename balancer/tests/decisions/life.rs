//! The life of a flow: states by what is seen, their timeouts, who makes room for whom.

use std::net::Ipv4Addr;

use balancer::{
    Decision, DirectDecision, FlowKey, FlowState, FlowTuple, Protocol, Scheduler, TcpFlags,
    Timeouts, VipCounter, VipSpec,
};

use crate::world::*;

/// The state of the flow of a client's port to a VIP that [`spec`] makes.
fn state(world: &World, vip: u32, port: u16) -> Option<FlowState> {
    let key = FlowKey::exact(CLIENT, port, vip_id(vip));
    world.workers[0].lookup(&key, world.now_s).map(|value| value.state())
}

fn without_nat(n: u32) -> VipSpec {
    VipSpec { nat: false, target: balancer::TargetPort::Keep, ..spec(n, Protocol::Tcp) }
}

/// One VIP whose replies pass us, and one whose replies do not, with one AS each.
fn both_ways(buckets: u64) -> World {
    let vips = vec![spec(1, Protocol::Tcp), without_nat(2)];
    World::new(vips, vec![server(0, 1, 1), server(1, 2, 2)], buckets)
}

/// D-09, D-10: what the client closes is CLOSE_WAIT where the AS is seen, FIN_WAIT where it is not;
/// and only there does the AS's word count.
#[test]
fn states_follow_what_is_seen() {
    use FlowState::{Close, CloseWait, Established, FinWait, SynReceived, TimeWait};
    let mut world = both_ways(64);
    for (vip, closed) in [(1, CloseWait), (2, FinWait)] {
        for (flags, expected) in [
            (SYN, SynReceived),
            (SYN, SynReceived),
            (ACK, Established),
            (SYN, Established),
            (FIN, closed),
            (ACK, closed),
            (RST, Close),
            (ACK, Close),
        ] {
            world.send(vip, 7, flags);
            assert_eq!(state(&world, vip, 7), Some(expected), "VIP {vip} after {flags:?}");
        }
    }
    world.send(1, 8, SYN);
    for (by_server, flags, expected) in [
        (true, SYN.with(ACK), SynReceived),
        (false, ACK, Established),
        (true, FIN, FinWait),
        (false, ACK, FinWait),
        (false, FIN, TimeWait),
        (true, ACK, TimeWait),
    ] {
        if by_server {
            world.reply(1, 8, flags);
        } else {
            world.send(1, 8, flags);
        }
        assert_eq!(state(&world, 1, 8), Some(expected), "after {flags:?}");
    }
}

/// D-08: each state of each VIP has its own timeout, kept to the second over the wrap of 16-bit
/// ticks.
#[test]
fn every_state_and_vip_has_its_timeout() {
    let timeouts = |s: u16| Timeouts {
        udp_s: s,
        other_s: s + 1,
        syn_s: s + 2,
        established_s: s + 3,
        fin_wait_s: s + 4,
        close_wait_s: s + 5,
        time_wait_s: s + 6,
        close_s: s + 7,
    };
    type Path<'p> = &'p [(bool, TcpFlags)];
    let (syn, ack, fin, rst) = ((false, SYN), (false, ACK), (false, FIN), (false, RST));
    let paths: [(Path<'_>, u16); 6] = [
        (&[syn], 2),
        (&[syn, ack], 3),
        (&[ack, (true, FIN)], 4),
        (&[syn, ack, fin], 5),
        (&[ack, (true, FIN), fin], 6),
        (&[ack, rst], 7),
    ];
    for own in [None, Some(timeouts(50))] {
        for (path, after) in paths {
            let mut world = World::new(
                vec![VipSpec { timeouts: own, ..spec(1, Protocol::Tcp) }, without_nat(2)],
                vec![server(0, 1, 1), server(1, 2, 2)],
                64,
            );
            world.tables = world.tables.with_timeouts(timeouts(10));
            for (by_server, flags) in path {
                if *by_server {
                    world.reply(1, 1, *flags);
                } else {
                    world.send(1, 1, *flags);
                }
            }
            let timeout_s = own.map_or(10, |own| own.udp_s) + after;
            world.now_s += u32::from(timeout_s) - 1;
            assert!(state(&world, 1, 1).is_some(), "{path:?} lives {timeout_s} s");
            world.now_s += 1;
            assert_eq!(state(&world, 1, 1), None, "{path:?} dies after {timeout_s} s");
            assert_eq!(world.send(1, 1, ACK), Decision::New(as_id(0)));
        }
    }
}

/// D-08: UDP and other protocols have their own; a change of a VIP's timeouts counts from the next
/// packet on, and other VIPs keep theirs.
#[test]
fn timeouts_of_a_vip_change_while_its_flows_live() {
    let vips = vec![spec(1, Protocol::Udp), spec(2, Protocol::Udp)];
    let mut world = World::new(vips, vec![server(0, 1, 1), server(1, 2, 2)], 64);
    world.send(1, 1, TcpFlags::NONE);
    world.send(2, 1, TcpFlags::NONE);
    world.vips[0].timeouts = Some(Timeouts { udp_s: 5, ..Timeouts::default() });
    world.publish();
    world.now_s += 39;
    assert_eq!(world.send(1, 1, TcpFlags::NONE), Decision::Existing(as_id(0)));
    assert_eq!(world.send(2, 1, TcpFlags::NONE), Decision::Existing(as_id(1)));
    world.now_s += 5;
    assert_eq!(world.send(1, 1, TcpFlags::NONE), Decision::New(as_id(0)));
    assert_eq!(world.send(2, 1, TcpFlags::NONE), Decision::Existing(as_id(1)));
    let profiles = [1, 2].map(|vip| world.tables.vip(vip_id(vip)).unwrap().profile.index());
    assert_eq!(profiles, [1, 0]);
}

/// D-04: a retransmitted SYN stays on its AS, whatever the new-flow table says by then; so does one
/// after the client's RST, which IPVS does not take for the end.
#[test]
fn a_retransmitted_syn_stays() {
    for world in [World::one_vip(3), {
        let servers = (0..3).map(|n| server(n, 1, n as u8 + 1)).collect();
        World::new(vec![without_nat(1)], servers, 64)
    }] {
        let mut world = world;
        let ids: Vec<_> = (0..30).map(|p| world.send(1, p, SYN).server().unwrap()).collect();
        (3..9).for_each(|n| world.servers.push(server(n, 1, n as u8 + 1)));
        world.publish();
        let mut moved = 0;
        for (port, id) in (0..30).zip(ids) {
            moved += u32::from(world.wish(1, port) != id);
            world.send(1, port, RST);
            world.now_s += 1;
            assert_eq!(world.send(1, port, SYN), Decision::Existing(id));
            assert_eq!(state(&world, 1, port), Some(FlowState::SynReceived));
        }
        assert!(moved > 10, "the table has changed: {moved}");
    }
}

/// D-05: a SYN on a closing flow, in each of the closing states that there are, or on an expired one
/// finds its AS anew at once.
#[test]
fn a_syn_on_what_is_over_selects_anew() {
    type Path<'p> = &'p [(bool, TcpFlags)];
    let paths: [(Path<'_>, FlowState); 4] = [
        (&[(false, ACK), (true, FIN)], FlowState::FinWait),
        (&[(false, ACK), (false, FIN)], FlowState::CloseWait),
        (&[(false, ACK), (true, FIN), (false, FIN)], FlowState::TimeWait),
        (&[(false, ACK), (true, RST)], FlowState::Close),
    ];
    for (path, closing) in paths {
        let mut world = World::one_vip(2);
        let mut id = as_id(0);
        for (by_server, flags) in path {
            if *by_server {
                world.reply(world.last_octet(id), 7, *flags);
            } else {
                id = world.send(1, 7, *flags).server().unwrap();
            }
        }
        assert_eq!(state(&world, 1, 7), Some(closing));
        world.server_mut(id.get()).weight = 0;
        world.publish();
        let other = as_id(1 - id.get());
        assert_eq!(world.send(1, 7, ACK), Decision::Existing(id), "no SYN");
        assert_eq!(world.send(1, 7, SYN), Decision::New(other), "{closing:?}");
        assert_eq!(state(&world, 1, 7), Some(FlowState::SynReceived));
        assert_eq!((world.live(id.get()), world.live(other.get())), (0, 1));
        // Expired, in place.
        world.server_mut(id.get()).weight = 100;
        world.server_mut(other.get()).weight = 0;
        world.publish();
        world.now_s += 40;
        assert_eq!(world.send(1, 7, SYN), Decision::New(id));
        assert_eq!((world.workers[0].used(), world.live(id.get())), (1, 1));
    }
}

/// D-06: a SYN leaves an AS that was removed, half-open or not, and one that is gone altogether.
/// Other packets stay with a removed AS, and leave one that is gone.
#[test]
fn a_syn_leaves_a_removed_server() {
    for flags in [SYN, ACK] {
        for gone in [false, true] {
            let mut world = World::one_vip(2);
            let id = world.send(1, 7, flags).server().unwrap();
            let other = as_id(1 - id.get());
            if gone {
                world.servers.retain(|server| server.id != id);
            } else {
                world.server_mut(id.get()).state = balancer::ServerState::Removed;
            }
            world.publish();
            let expected = if gone { Decision::New(other) } else { Decision::Existing(id) };
            assert_eq!(world.send(1, 7, ACK), expected, "{flags:?}");
            let stays = gone.then_some(Decision::Existing(other));
            assert_eq!(world.send(1, 7, SYN), stays.unwrap_or(Decision::New(other)));
        }
    }
}

/// D-07: what comes from the middle of a connection that nobody knows goes where the table says and
/// is remembered: as established, or as closed when that is all that is seen.
#[test]
fn mid_stream_packets_are_picked_up() {
    let servers = (0..5).map(|n| server(n, 1, n as u8 + 1)).collect();
    let mut world = World::new(vec![spec(1, Protocol::Tcp)], servers, 64);
    for (port, (flags, expected)) in (100..).zip([
        (ACK, FlowState::Established),
        (FIN, FlowState::Close),
        (RST, FlowState::Close),
        (SYN.with(ACK), FlowState::SynReceived),
        (TcpFlags::NONE, FlowState::Close),
    ]) {
        let wish = world.wish(1, port);
        assert_eq!(world.send(1, port, flags), Decision::New(wish));
        assert_eq!(state(&world, 1, port), Some(expected), "{flags:?}");
        assert_eq!(world.send(1, port, ACK), Decision::Existing(wish));
    }
}

/// A SYN of a client that nobody has seen, one of very many.
fn stranger(n: u32) -> FlowTuple<Ipv4Addr> {
    let src = Ipv4Addr::from(0x6400_0000 + (n >> 10));
    let src_port = 1024 + (n & 0x3ff) as u16;
    FlowTuple { src, src_port, dst: vip_address(1), dst_port: 2020, protocol: 6 }
}

/// D-02: ten million SYNs (a tenth of them without optimisation) against a table that is half full
/// of connections: none of those is lost or moved, with NAT or without, by hash or in turn; and whoever
/// answers the handshake in the midst of it is remembered, but where there are only connections.
#[test]
fn d_02_a_flood_of_syns_evicts_no_established_flow() {
    let syns = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
    let kinds = [
        (spec(1, Protocol::Tcp), 1),
        (VipSpec { scheduler: Scheduler::RoundRobin, ..without_nat(1) }, 10),
    ];
    for (spec, part) in kinds {
        let servers = (0..4).map(|n| server(n, 1, n as u8 + 1)).collect();
        let mut world = World::new(vec![spec], servers, 1 << 12);
        let established: Vec<_> = (0..8000)
            .map(|port| {
                let id = world.send(1, port, SYN).server().unwrap();
                assert_eq!(world.send(1, port, ACK), Decision::Existing(id));
                id
            })
            .collect();
        // The table would now send many of them elsewhere.
        world.servers.extend((4..8).map(|n| server(n, 1, n as u8 + 1)));
        world.publish();
        let vip = world.tables.vip(vip_id(1)).unwrap().clone();
        let (mut tracked, mut untracked, mut promoted) = (0, 0, 0);
        for n in 0..syns / part {
            let tuple = stranger(n);
            match world.balancer(0).select(&vip, &tuple, SYN) {
                Decision::New(_) => tracked += 1,
                Decision::Untracked(id) => {
                    untracked += 1;
                    let hash = world.tables.hasher.hash(&tuple, false);
                    assert_eq!(Some(id), vip.server_for(hash));
                }
                other => panic!("{other:?}"),
            }
            if n % 10_000 == 5000 {
                let answer = world.balancer(0).select(&vip, &tuple, ACK);
                let id = answer.server().unwrap();
                let next = world.balancer(0).select(&vip, &tuple, ACK);
                // Where there are only connections in its buckets, it stays as it is.
                let full = Decision::Untracked(id);
                let expected = if answer == full { full } else { Decision::Existing(id) };
                assert_eq!(next, expected);
                promoted += u32::from(next != full);
            }
        }
        let answered = syns / part / 10_000;
        assert!(promoted * 10 >= answered * 9, "{promoted} of {answered} who answered");
        assert!(tracked <= 4 << 12 && untracked > syns / part / 2, "{tracked} {untracked}");
        let live: u32 = (0..8).map(|id| world.live(id)).sum();
        assert_eq!((live, world.workers[0].used()), (4 << 12, 4 << 12), "counts are exact");
        for (port, id) in (0..8000).zip(established) {
            assert_eq!(world.send(1, port, ACK), Decision::Existing(id));
        }
    }
}

/// D-03: with a table full of connections all others are forwarded by the new-flow table, packet
/// after packet, and counted.
#[test]
fn d_03_a_full_table_forwards_and_counts() {
    let servers = (0..4).map(|n| server(n, 1, n as u8 + 1)).collect();
    let mut world = World::new(vec![without_nat(1)], servers, 4);
    let mut kept = Vec::new();
    for port in 0..200 {
        if let Decision::New(id) = world.send(1, port, ACK) {
            kept.push((port, id));
        }
    }
    assert_eq!(kept.len(), 16, "all places are taken");
    for port in 1000..1200 {
        let wish = world.wish(1, port);
        for flags in [SYN, SYN, ACK, ACK, FIN, RST] {
            let decision = world.send(1, port, flags);
            assert_eq!(decision, Decision::Untracked(wish));
            assert_eq!(decision.counter(), Some(VipCounter::Untracked));
        }
    }
    for (port, id) in kept {
        assert_eq!(world.send(1, port, ACK), Decision::Existing(id));
    }
}

/// Who takes whose place in two full buckets: nobody that of a connection or of UDP; a connection
/// that of the half-open or closing flow nearest its end; a SYN and a FIN that of a closing one only.
#[test]
fn who_makes_room_for_whom() {
    let full_of_syns = || {
        let mut world = both_ways(1);
        for port in 0..4 {
            world.send(2, port, SYN);
            world.now_s += 1;
        }
        world
    };
    for (flags, takes) in [(SYN, false), (FIN, false), (RST, false), (ACK, true)] {
        let mut world = full_of_syns();
        let expected = if takes { Decision::New(as_id(1)) } else { Decision::Untracked(as_id(1)) };
        assert_eq!(world.send(2, 9, flags), expected, "{flags:?}");
        let left: Vec<_> = (0..4).map(|port| state(&world, 2, port).is_some()).collect();
        assert_eq!(left, [!takes, true, true, true], "the oldest goes: {flags:?}");
    }
    for flags in [SYN, FIN, RST, ACK] {
        let mut world = full_of_syns();
        world.send(2, 2, ACK);
        world.send(2, 2, FIN);
        // Of a connection that is over, 120 s are left; of the oldest SYN 36.
        assert_eq!(world.send(2, 9, flags), Decision::New(as_id(1)));
        let gone: Vec<_> = (0..4).filter(|port| state(&world, 2, *port).is_none()).collect();
        assert_eq!(gone, [if flags == ACK { 0 } else { 2 }], "{flags:?}");
    }
    let mut world = World::new(vec![spec(1, Protocol::Udp)], vec![server(0, 1, 1)], 1);
    (0..4).for_each(|port| assert!(world.send(1, port, TcpFlags::NONE).server().is_some()));
    assert_eq!(world.send(1, 9, TcpFlags::NONE), Decision::Untracked(as_id(0)));
}

/// Where a reply could not be attributed without an entry, a SYN takes the place of the oldest SYN,
/// so that handshakes get through while a flood goes on; but of nothing that is at work.
#[test]
fn handshakes_that_need_an_entry_get_through_a_flood() {
    let mut world = World::two_vips(1);
    world.send(1, 1, ACK);
    world.send(2, 2, ACK);
    for port in 10..60 {
        let vip = 1 + u32::from(port % 2);
        let Decision::New(id) = world.send(vip, port, SYN) else { panic!("port {port}") };
        let last = world.last_octet(id);
        assert_eq!(world.reply(last, port, SYN.with(ACK)), translate(vip, id));
        world.now_s += 1;
    }
    assert!(world.direct(1, 99, SYN) == DirectDecision::New);
    assert!(matches!(world.send(1, 1, ACK), Decision::Existing(_)));
    assert!(matches!(world.send(2, 2, ACK), Decision::Existing(_)));
    // With the last two places taken by connections there is no more room.
    world.send(1, 61, ACK);
    world.send(1, 62, ACK);
    assert_eq!(world.send(1, 63, SYN), Decision::TableFullDrop);
    assert_eq!(world.send(2, 64, FIN), Decision::TableFullDrop);
}
