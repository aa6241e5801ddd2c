//! How a flow finds, keeps and leaves its AS.

use std::sync::Arc;

use balancer::{
    ApplicationServer, Decision, LbConfig, LbTables, LbTablesError, NewFlowCache, Protocol,
    ServerState, Timeouts, VipCounter, VipSpec,
};

use crate::world::*;

#[test]
fn a_flow_stays_and_is_counted_as_vpp_does() {
    let mut world = World::one_vip(3);
    let first = world.send(1, 1000, SYN);
    let id = first.server().unwrap();
    assert_eq!(first, Decision::New(id));
    assert_eq!(first.counter(), Some(VipCounter::First));
    // D-04: a retransmitted SYN is of the same connection.
    for flags in [SYN, ACK, ACK] {
        let next = world.send(1, 1000, flags);
        assert_eq!((next, next.counter()), (Decision::Existing(id), Some(VipCounter::Existing)));
    }
    assert_eq!(world.live(id.get()), 1);
    assert_eq!(
        VipCounter::ALL.map(VipCounter::name),
        [
            "packet from existing sessions",
            "first session packet",
            "untracked packet",
            "no server configured"
        ]
    );
}

/// The AS of an established flow outlives any change of the table (D-07, E-02).
#[test]
fn flows_stay_when_the_table_changes() {
    let mut world = World::one_vip(2);
    let ids: Vec<_> = (0..50).map(|port| world.send(1, port, ACK).server().unwrap()).collect();
    world.servers.extend((2..9).map(|n| server(n, 1, n as u8 + 1)));
    world.server_mut(0).weight = 0;
    world.server_mut(1).state = ServerState::Removed;
    world.publish();
    for (port, id) in (0..50).zip(ids) {
        assert_eq!(world.send(1, port, ACK), Decision::Existing(id));
    }
    // New flows go to neither.
    for port in 100..200 {
        assert!(world.send(1, port, SYN).server().unwrap().get() >= 2);
    }
}

/// D-06: a SYN moves away from a removed AS, other packets do not. Re-adding revives.
#[test]
fn defect_25_removal_keeps_flows_until_they_end_at_index_0_too() {
    let mut world = World::one_vip(1);
    assert_eq!(world.send(1, 1, ACK), Decision::New(as_id(0)));
    world.server_mut(0).state = ServerState::Removed;
    world.publish();
    assert_eq!(world.send(1, 1, ACK), Decision::Existing(as_id(0)));
    assert_eq!(world.reply(1, 1, ACK), translate(1, as_id(0)), "tombstones still translate");
    assert_eq!(world.send(1, 1, SYN), Decision::NoServer);
    assert_eq!(world.send(1, 2, SYN), Decision::NoServer);
    assert_eq!(world.live(0), 1);
    world.server_mut(0).state = ServerState::Active;
    world.publish();
    assert_eq!(world.send(1, 1, SYN), Decision::Existing(as_id(0)));
}

/// E-03: `del flush` moves every flow with its next packet, and the sweep sets the count to 0.
#[test]
fn flush_moves_flows_at_once() {
    let mut world = World::one_vip(2);
    for port in 0..100 {
        world.send(1, port, ACK);
    }
    assert!(world.live(0) > 20 && world.live(0) + world.live(1) == 100);
    let server = world.server_mut(0);
    server.state = ServerState::Removed;
    server.epoch = server.epoch.wrapping_add(1);
    world.publish();
    for port in 0..50 {
        assert_eq!(world.send(1, port, ACK).server(), Some(as_id(1)));
    }
    let (tables, now_s) = (world.tables.clone(), world.now_s);
    world.workers[0].sweep(usize::MAX, now_s, |id| tables.epoch_of(id));
    assert_eq!(world.live(0), 0);
    // Back again: what is alive with AS 1 stays there.
    world.server_mut(0).state = ServerState::Active;
    world.publish();
    assert!((0..50).all(|port| world.send(1, port, ACK) == Decision::Existing(as_id(1))));
}

/// D-05, A-07: after FIN or RST of either side, a SYN is a new connection at once.
#[test]
fn a_closed_port_can_be_used_again_at_once() {
    let mut world = World::one_vip(5);
    let id = world.send(1, 7, SYN).server().unwrap();
    for (by_server, flags) in [(true, FIN), (true, RST), (false, FIN), (false, RST)] {
        world.send(1, 7, ACK);
        if by_server {
            let last = world.last_octet(id);
            assert_eq!(world.reply(last, 7, flags), translate(1, id));
        } else {
            assert_eq!(world.send(1, 7, flags), Decision::Existing(id));
        }
        // The last ACK is still of the old connection, and the new one on the same AS.
        assert_eq!(world.send(1, 7, ACK), Decision::Existing(id));
        assert_eq!(world.send(1, 7, SYN), Decision::New(id));
        assert_eq!(world.live(id.get()), 1);
    }
    // Without the AS in the table, the new connection goes elsewhere.
    world.send(1, 7, ACK);
    world.send(1, 7, RST);
    world.server_mut(id.get()).weight = 0;
    world.publish();
    let other = world.send(1, 7, SYN).server().unwrap();
    assert_ne!(other, id);
    assert_eq!((world.live(id.get()), world.live(other.get())), (0, 1));
}

/// D-08, over the wrap of 16-bit ticks.
#[test]
fn states_time_out_each_in_its_time() {
    for (flags, timeout_s) in [(&[SYN][..], 40), (&[SYN, ACK], 900), (&[SYN, ACK, FIN], 120)] {
        let mut world = World::one_vip(1);
        for &flags in flags {
            world.send(1, 1, flags);
        }
        world.now_s += timeout_s - 1;
        let before = world.balancer(0).owner.used();
        let (tables, now_s) = (world.tables.clone(), world.now_s);
        assert_eq!(world.workers[0].sweep(usize::MAX, now_s, |id| tables.epoch_of(id)), 0);
        world.now_s += 1;
        assert_eq!(world.send(1, 1, ACK), Decision::New(as_id(0)), "{flags:?}");
        assert_eq!((before, world.live(0)), (1, 1));
    }
}

/// VPP's defect 1: such a flow was never tracked afterwards.
#[test]
fn nothing_is_kept_of_a_flow_without_server() {
    let mut world = World::one_vip(0);
    for flags in [SYN, ACK, RST] {
        let decision = world.send(1, 1, flags);
        assert_eq!((decision, decision.server()), (Decision::NoServer, None));
        assert_eq!(decision.counter(), Some(VipCounter::NoServer));
    }
    assert_eq!(world.workers[0].used(), 0);
    world.servers.push(server(0, 1, 1));
    world.publish();
    assert_eq!(world.send(1, 1, ACK), Decision::New(as_id(0)));
    assert_eq!(world.send(1, 1, ACK), Decision::Existing(as_id(0)));
}

/// Another protocol or port is no VIP (VPP's defect 2), and TCP is not UDP (defect 36).
#[test]
fn only_exact_destinations_are_vips() {
    let mut other = spec(2, Protocol::Udp);
    other.key.prefix = spec(1, Protocol::Tcp).key.prefix;
    let world = World::new(vec![spec(1, Protocol::Tcp), other], vec![], 1);
    let group = world.tables.group_of(other.key.prefix).unwrap();
    assert_eq!(world.tables.find_vip(group, 6, 2020), Some(vip_id(1)));
    assert_eq!(world.tables.find_vip(group, 17, 2020), Some(vip_id(2)));
    assert_eq!(world.tables.find_vip(group, 6, 2021), None);
}

#[test]
fn a_source_address_can_be_what_sticks() {
    let mut world = World::one_vip(8);
    world.vips[0].src_ip_sticky = true;
    world.publish();
    let id = world.send(1, 1, SYN).server();
    assert!((2..100).all(|port| world.send(1, port, SYN).server() == id));
    // Every flow has an entry of its own; they do not crowd two buckets.
    assert_eq!(world.workers[0].used(), 99);
}

/// The NIC may move a flow to another worker: its AS stays, even if the table says otherwise.
#[test]
fn a_moved_flow_is_adopted() {
    let mut world = World::one_vip(2);
    let ids: Vec<_> = (0..20).map(|port| world.send(1, port, ACK).server().unwrap()).collect();
    world.servers.extend((2..9).map(|n| server(n, 1, n as u8 + 1)));
    world.publish();
    for (port, id) in (0..20).zip(ids) {
        assert_eq!(world.send_at(1, 1, port, ACK), Decision::Existing(id));
        assert!(world.workers[1].used() > u32::from(port));
    }
}

#[test]
fn tables_share_what_did_not_change() {
    let vips = (1..=100).map(|n| spec(n, Protocol::Tcp)).collect();
    let servers = (0..300).map(|n| server(n, n / 3 + 1, (n % 3) as u8)).collect::<Vec<_>>();
    let mut world = World::new(vips, servers, 1);
    assert_eq!(world.cache.built(), 1, "equal ASs share a table");
    let before = Arc::clone(&world.tables.vip(vip_id(5)).unwrap().table);
    world.server_mut(0).weight = 50;
    world.publish();
    assert_eq!(world.cache.built(), 2);
    assert!(Arc::ptr_eq(&before, &world.tables.vip(vip_id(5)).unwrap().table));
}

#[test]
fn impossible_configurations_are_refused() {
    let world = World::one_vip(0);
    let build = |vips: &[VipSpec], servers: &[ApplicationServer]| {
        let hasher = world.tables.hasher.clone();
        let config = LbConfig { vips, servers, hasher, timeouts: Timeouts::default() };
        LbTables::build(&config, &world.tables, &mut NewFlowCache::new()).unwrap_err()
    };
    let vip = spec(1, Protocol::Tcp);
    let twin = VipSpec { id: vip_id(2), ..vip };
    let heavy = ApplicationServer { weight: 101, ..server(0, 1, 1) };
    assert_eq!(build(&[vip, vip], &[]), LbTablesError::DuplicateVip(vip.id));
    assert_eq!(build(&[vip, twin], &[]), LbTablesError::DuplicateKey(vip.key));
    assert_eq!(build(&[vip], &[server(0, 9, 1)]), LbTablesError::NoSuchVip(as_id(0)));
    assert_eq!(build(&[vip], &[heavy]), LbTablesError::Weight(as_id(0)));
    for twins in [[server(0, 1, 1), server(0, 1, 2)], [server(0, 1, 1), server(1, 1, 1)]] {
        assert_eq!(build(&[vip], &twins), LbTablesError::DuplicateServer(twins[1].id));
    }
}
