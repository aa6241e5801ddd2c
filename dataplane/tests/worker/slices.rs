//! The work of a turn is bounded: it does not grow with what waits, nor with tables.

use std::net::Ipv4Addr;
use std::sync::Arc;

use balancer::{AsId, FlowKey, FlowState, NewEntry, StickyOwner};
use dataplane::event::{Event, Request};
use dataplane::interface::InterfaceId;
use dataplane::worker::{MIGRATE_BUCKETS, REQUESTS_PER_TURN, SWEEP_BUCKETS, SWEEP_BUCKETS_BUSY};
use testkit::harness::Harness;
use testkit::world::World;

const LINK: InterfaceId = InterfaceId(1);
/// Entries in a bucket.
const WAYS: usize = balancer::StickyTable::WAYS;

fn harness() -> Harness {
    let mut world = World::new();
    world.add_interface(&[(Ipv4Addr::new(10, 0, 0, 254), 24)]);
    Harness::new(world)
}

/// A direct flow: it stays alive without any AS.
fn key(sticky: &StickyOwner, n: u32) -> FlowKey {
    let tuple = balancer::FlowTuple {
        src: Ipv4Addr::from(0x0a00_0000 + n),
        dst: Ipv4Addr::new(192, 168, 1, 1),
        src_port: 1000,
        dst_port: 80,
        protocol: 6,
    };
    FlowKey::direct(sticky.instance(), &tuple)
}

fn fill(sticky: &mut StickyOwner, flows: u32, expiry_tick: u16) {
    for n in 0..flows {
        let key = key(sticky, n);
        let as_id = AsId::new(0).unwrap();
        let entry = NewEntry { as_id, epoch: 0, state: FlowState::Established, expiry_tick };
        sticky.insert(&key, entry, 1000, |_| None).unwrap();
    }
}

/// A worker whose table of so many buckets is half full of flows that expire at a second.
fn filled(buckets: u64, expiry_tick: u16) -> (Harness, u32) {
    let mut harness = harness();
    let sticky = &mut harness.worker.state.sticky;
    *sticky = StickyOwner::resized(sticky.table(), buckets).unwrap();
    let flows = sticky.table().capacity() as u32 / 2;
    fill(sticky, flows, expiry_tick);
    (harness, flows)
}

#[test]
fn a_turn_takes_up_so_many_requests_and_no_more() {
    let mut harness = harness();
    for _ in 0..100 {
        let packet = harness.worker.io.pool.packet(&[0; 60]);
        let request = Request::Transmit { interface: LINK, packet };
        harness.shared().request(request).expect("room in the mailbox");
    }
    let mut sent = Vec::new();
    while sent.iter().sum::<usize>() < 100 {
        sent.push(harness.turn().len());
        assert!(sent.len() < 10, "{sent:?}");
    }
    assert_eq!(sent[..3], [REQUESTS_PER_TURN; 3]);
}

#[test]
fn requests_for_tables_count_among_them() {
    let mut harness = harness();
    let table = Arc::clone(harness.worker.state.sticky.table());
    for _ in 0..REQUESTS_PER_TURN {
        let owner = StickyOwner::resized(&table, 64).unwrap();
        let request = Request::ReplaceStickyTable(Box::new(owner));
        harness.shared().request(request).expect("room in the mailbox");
    }
    let packet = harness.worker.io.pool.packet(&[0; 60]);
    let request = Request::Transmit { interface: LINK, packet };
    harness.shared().request(request).expect("room in the mailbox");
    assert_eq!((harness.turn().len(), harness.turn().len()), (0, 1));
}

#[test]
fn a_turn_moves_the_flows_of_so_many_buckets_whatever_the_size() {
    for buckets in [256, 8192] {
        let (mut harness, flows) = filled(buckets, 2000);
        let before = Arc::clone(harness.worker.state.sticky.table());
        let bigger = StickyOwner::resized(&before, 2 * buckets).unwrap();
        let after = Arc::clone(bigger.table());
        let request = Request::ReplaceStickyTable(Box::new(bigger));
        harness.shared().request(request).expect("room in the mailbox");
        let mut turns = 0;
        while before.used() > 0 {
            let left = before.used();
            harness.turn();
            turns += 1;
            let moved = (left - before.used()) as usize;
            assert!(moved <= MIGRATE_BUCKETS * WAYS, "{moved} flows in a turn");
            assert_eq!(before.used() + after.used(), flows);
        }
        assert_eq!(turns, buckets as usize / MIGRATE_BUCKETS);
    }
}

#[test]
fn a_turn_sweeps_so_many_buckets_whatever_the_size() {
    let cases = [(false, SWEEP_BUCKETS), (true, SWEEP_BUCKETS_BUSY)];
    for (buckets, (is_busy, per_turn)) in
        [256, 8192].into_iter().flat_map(|buckets| cases.map(|case| (buckets, case)))
    {
        let (mut harness, _) = filled(buckets, 1010);
        harness.wait(20);
        let table = Arc::clone(harness.worker.state.sticky.table());
        let mut turns = 0;
        while table.used() > 0 {
            let left = table.used();
            if is_busy {
                harness.arrive(LINK, &[0; 60]);
            }
            harness.turn();
            turns += 1;
            let swept = (left - table.used()) as usize;
            assert!(swept <= per_turn * WAYS, "{swept} flows in a turn");
        }
        assert_eq!(turns, buckets as usize / per_turn);
    }
}

#[test]
fn a_table_that_control_has_no_room_for_waits_and_is_not_freed_by_the_worker() {
    let (mut harness, _) = filled(64, 2000);
    let before = Arc::downgrade(harness.worker.state.sticky.table());
    let bigger = StickyOwner::resized(harness.worker.state.sticky.table(), 128).unwrap();
    let request = Request::ReplaceStickyTable(Box::new(bigger));
    // Nobody takes events up.
    let neighbor =
        || Event::NeighborNeeded { interface: LINK, address: Ipv4Addr::LOCALHOST.into() };
    while harness.shared().post(neighbor()).is_ok() {}
    let lost = harness.shared().events_lost.get();
    harness.publish_with_peers(&[]);
    harness.shared().request(request).expect("room in the mailbox");
    (0..20).for_each(|_| drop(harness.turn()));
    harness.publish_with_peers(&[]);
    harness.turn();
    assert!(before.upgrade().is_some(), "the worker freed it");
    assert_eq!(harness.shared().events_lost.get(), lost, "it was not lost");
    while harness.event().is_some() {}
    harness.turn();
    match harness.event() {
        Some(Event::StickyTableRetired(owner)) => assert_eq!(owner.used(), 0),
        other => panic!("unexpected {other:?}"),
    }
    // The snapshots that had it go when the next one comes.
    harness.turn();
    harness.publish_with_peers(&[]);
    assert!(before.upgrade().is_none());
}
