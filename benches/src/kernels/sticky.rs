//! The sticky table: probes of known and unknown flows, one after the other or fetched ahead, new
//! entries, and taking stock after a restart.

use std::fs::File;
use std::hint::black_box;

use balancer::{AsId, FlowState, KeyKind, Located, NewEntry, StickyOwner, TableFiles};

use super::kernel::Kernel;
use super::world::{BURST, FLOWS, Visits, buckets_for, instance, key, tuple, vip_id};

const GROUP: &str = "sticky table";
/// Flows from here on have no entry.
const STRANGERS: u64 = 1 << 32;
/// Seconds that pass between runs of insertions: what was inserted has soon expired.
const STEP_S: u32 = 10;
/// How long an entry lives, s.
const LIFE_S: u32 = 40;
/// Flows that are fetched ahead together, as `lb-express` does.
const STAGE: usize = 32;

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

/// Finds a burst of flows in stages: all lines of a stage are fetched before the first is needed.
fn find_staged(owner: &StickyOwner, mut flow: impl FnMut() -> u64) {
    let (kind, vip) = (KeyKind::Exact, vip_id());
    let mut stage = [Located::default(); STAGE];
    for _ in 0..BURST / STAGE {
        for located in &mut stage {
            *located = owner.locate(kind, vip, &tuple(flow()));
            owner.prefetch(located, kind);
        }
        if owner.is_large() {
            stage.iter().for_each(|located| owner.prefetch_second(located));
        }
        for located in &stage {
            black_box(owner.known::<std::net::Ipv4Addr>(located, None, 0));
        }
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
        probe("hit, fetched ahead", 0, |owner, flow| find_staged(owner, flow)),
        probe("miss", STRANGERS, |owner, flow| find_each(owner, flow)),
        probe("miss, fetched ahead", STRANGERS, |owner, flow| find_staged(owner, flow)),
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
    probes.chain([second.and_counted(), insert.and_counted(), stock()]).collect()
}

/// What a restart takes for each flow.
fn stock() -> Kernel {
    let flows = FLOWS.get(2).copied().unwrap_or(FLOWS[0]);
    Kernel::new(GROUP, format!("stock of {flows} flows, per flow"), flows as usize, move || {
        let mut owner = kept(flows);
        move || {
            let stock = owner.take_stock(0, |_| Some((vip_id(), 0)));
            assert!(stock.kept > 0 && stock.torn == 0, "{stock:?}");
        }
    })
}

/// A table with so many flows in files, whose names are gone already.
fn kept(flows: u64) -> StickyOwner {
    let files = ["buckets", "cells"].map(|kind| {
        let path = format!("/dev/shm/sluice-bench-{}-{kind}", std::process::id());
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(&path);
        let _ = std::fs::remove_file(&path);
        file.expect("a file in /dev/shm")
    });
    let files = TableFiles { buckets: &files[0], cells: &files[1] };
    let mut owner = StickyOwner::in_files(buckets_for(flows), &files, instance(), 1)
        .expect("the memory of a table");
    for flow in 0..flows {
        let _ = owner.insert(&key(flow), entry(0), 0, |_| Some(0));
    }
    owner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_hit_and_misses_miss() {
        let owner = filled(1000);
        let found = |flow: u64| owner.find(&key(flow)).is_some();
        let known = |flow: u64| {
            let located = owner.locate(KeyKind::Exact, vip_id(), &tuple(flow));
            owner.known::<std::net::Ipv4Addr>(&located, None, 0).is_some()
        };
        assert!((0..1000).filter(|flow| found(*flow)).count() > 990);
        assert!((0..1000).all(|flow| found(flow) == known(flow)));
        assert!(!(0..1000).any(|flow| found(STRANGERS + flow) || known(STRANGERS + flow)));
    }

    #[test]
    fn some_flows_are_in_their_second_bucket() {
        let (owner, flows) = in_second_bucket();
        assert!(flows.len() > 100 && flows.len() < 2000, "{}", flows.len());
        assert!(flows.iter().all(|flow| owner.find(&key(*flow)).is_some()));
    }
}
