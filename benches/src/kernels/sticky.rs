//! The sticky table: probes of known and unknown flows, and new entries.

use std::hint::black_box;

use balancer::{AsId, FlowState, NewEntry, StickyOwner};

use super::kernel::Kernel;
use super::world::{BURST, FLOWS, Visits, buckets_for, instance, key};

const GROUP: &str = "sticky table";
/// Flows from here on have no entry.
const STRANGERS: u64 = 1 << 32;
/// Seconds that pass between runs of insertions: what was inserted has soon expired.
const STEP_S: u32 = 10;
/// How long an entry lives, s.
const LIFE_S: u32 = 40;

fn entry(now_s: u32) -> NewEntry {
    let as_id = AsId::new(0).expect("a valid index");
    let expiry_tick = now_s.wrapping_add(LIFE_S) as u16;
    NewEntry { as_id, epoch: 0, state: FlowState::Udp, expiry_tick }
}

/// A table with so many flows.
fn filled(flows: u64) -> StickyOwner {
    let mut owner = StickyOwner::new(buckets_for(flows), instance(), 1).expect("a power of two");
    for flow in 0..flows {
        // A flow without a place is one of a few in a million: its probe is a miss.
        let _ = owner.insert(&key(flow), entry(0), 0, |_| Some(0));
    }
    owner
}

/// Finds a burst of flows one after the other.
fn find_each(owner: &StickyOwner, mut flow: impl FnMut() -> u64) {
    for _ in 0..BURST {
        black_box(owner.find(&key(flow())));
    }
}

/// Probes of a table with so many flows.
fn probes(flows: u64) -> Vec<Kernel> {
    let probe = move |name: &str, first: u64, find: fn(&StickyOwner, &mut dyn FnMut() -> u64)| {
        let kernel = Kernel::new(GROUP, format!("{name}, {flows} flows"), BURST, move || {
            let (owner, mut visits) = (filled(flows), Visits::of(flows));
            move || find(&owner, &mut || first + visits.step())
        });
        if flows == FLOWS[0] { kernel.and_counted() } else { kernel }
    };
    vec![
        probe("hit", 0, |owner, flow| find_each(owner, flow)),
        probe("miss", STRANGERS, |owner, flow| find_each(owner, flow)),
    ]
}

/// Flows that are in the second of their buckets, of a table that is three quarters full.
fn in_second_bucket() -> (StickyOwner, Vec<u64>) {
    let mut owner = StickyOwner::new(1024, instance(), 1).expect("a power of two");
    for flow in 0..3072 {
        let _ = owner.insert(&key(flow), entry(0), 0, |_| Some(0));
    }
    let is_second = |flow: &u64| {
        let (key, table) = (key(*flow), owner.table());
        owner.find(&key).is_some_and(|(slot, _)| slot.bucket() == table.bucket_of(&key).second)
    };
    let flows = (0..3072).filter(is_second).collect();
    (owner, flows)
}

/// Probes and insertions.
pub(super) fn all() -> Vec<Kernel> {
    let second = Kernel::new(GROUP, "hit in the second bucket", BURST, || {
        let (owner, flows) = in_second_bucket();
        let mut flows = flows.into_iter().cycle();
        move || find_each(&owner, || flows.next().unwrap_or(0))
    });
    let insert = Kernel::new(GROUP, "insert, 4096 buckets", BURST, || {
        let mut owner = StickyOwner::new(4096, instance(), 1).expect("a power of two");
        let (mut flow, mut now_s) = (0, 0);
        move || {
            now_s += STEP_S;
            for _ in 0..BURST {
                flow += 1;
                black_box(owner.insert(&key(flow), entry(now_s), now_s, |_| Some(0)).is_ok());
            }
        }
    });
    let probes = FLOWS.iter().flat_map(|flows| probes(*flows));
    probes.chain([second.and_counted(), insert.and_counted()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_hit_and_misses_miss() {
        let owner = filled(1000);
        let found = |flow: u64| owner.find(&key(flow)).is_some();
        assert!((0..1000).filter(|flow| found(*flow)).count() > 990);
        assert!(!(0..1000).any(|flow| found(STRANGERS + flow)));
    }

    #[test]
    fn some_flows_are_in_their_second_bucket() {
        let (owner, flows) = in_second_bucket();
        assert!(flows.len() > 100 && flows.len() < 2000, "{}", flows.len());
        assert!(flows.iter().all(|flow| owner.find(&key(*flow)).is_some()));
    }
}
