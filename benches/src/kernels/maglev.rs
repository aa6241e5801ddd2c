//! The new-flow table: its fill and its lookup.

use std::hint::black_box;

use balancer::{FlowHasher, HashKey, Member, NewFlowTable, TableLength};

use super::kernel::Kernel;
use super::world::{BURST, tuple};
use crate::site::server_address;

const GROUP: &str = "new-flow table";

fn members(count: u16) -> Vec<Member> {
    (0..count).map(|n| Member { address: server_address(n).into(), weight: 100 }).collect()
}

fn build(members: &[Member]) -> NewFlowTable {
    NewFlowTable::build(members, TableLength::DEFAULT, 1).expect("valid members")
}

/// Builds and lookups.
pub(super) fn all() -> Vec<Kernel> {
    let builds = [10, 100, 1000].into_iter().map(|count| {
        let name = format!("build, {count} ASs");
        let kernel = Kernel::new(GROUP, name, 1, move || {
            let members = members(count);
            move || _ = black_box(build(black_box(&members)))
        });
        if count == 100 { kernel.and_counted() } else { kernel }
    });
    let lookup = Kernel::new(GROUP, "lookup of a hash", BURST, || {
        let hasher = FlowHasher::new(&HashKey::default());
        let hashes: Vec<_> =
            (0..BURST as u64).map(|flow| hasher.hash(&tuple(flow), false)).collect();
        let table = build(&members(100));
        move || {
            for hash in &hashes {
                black_box(table.member_in_slot(table.slot_of(*hash)));
            }
        }
    });
    builds.chain([lookup.and_counted()]).collect()
}
