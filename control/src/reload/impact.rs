//! [`Impact`]: what a change does to flows and memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use balancer::{HashKey, Member, NewFlowTable, TableLength, VipId};
use config::Scheduler;
use serde::Serialize;

use crate::compile::{length, members};
use crate::control::Control;
use crate::model::{LbModel, Model, Vip};

/// What is said of another key of the flow hash, which no command shows: a file may keep its name.
pub(super) const REHASHED: &str = "hash key: new flows of all VIPs are distributed anew";

/// What a change does to new flows of one VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VipImpact {
    /// Its addresses and ports.
    pub vip: String,
    /// Slots of its new-flow table that another AS gets, of `slots`: such a part of its new flows
    /// goes elsewhere than before.
    pub slots_moved: u32,
    /// Slots of the longer of its new-flow tables, before and after.
    pub slots: u32,
}

/// What a change does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Impact {
    /// VIPs whose new flows go elsewhere than before.
    pub vips: Vec<VipImpact>,
    /// Another key hashes flows: new flows of all VIPs go elsewhere than before.
    pub rehashed: bool,
    /// Live flows of VIPs that go, or have to be made anew. Packets of theirs that still come are
    /// balanced like those of new flows, or find no VIP.
    pub flows_reselected: u64,
    /// Live flows of ASs that go, and keep them until they end.
    pub flows_kept: u64,
    /// Bytes of new-flow tables.
    pub table_bytes_before: u64,
    /// Bytes of new-flow tables.
    pub table_bytes_after: u64,
    /// Bytes of sticky tables.
    pub sticky_bytes_before: u64,
    /// Bytes of sticky tables.
    pub sticky_bytes_after: u64,
}

/// What a new-flow table is made of.
type Contents = (Vec<Member>, TableLength);

/// What is needed to work out an [`Impact`], which takes as long as building the tables: that is for
/// another thread.
#[derive(Debug)]
pub struct ImpactPlan {
    impact: Impact,
    tables: Vec<(String, Arc<NewFlowTable>, Contents)>,
    seed: u64,
    /// Before and after.
    models: [LbModel; 2],
}

impl Control {
    /// Counts what can be counted at once of the impact of becoming `new`, which
    /// [`Model::towards`] has made.
    pub fn plan_impact(&self, new: &Model, key: &HashKey) -> ImpactPlan {
        let old = self.model();
        let rehashed = key.fingerprint() != self.hash_fingerprint();
        let mut impact = Impact { rehashed, ..Impact::default() };
        let mut tables = Vec::new();
        for (_, before, after) in new.lb.vips.since(&old.lb.vips) {
            let Some(before) = before.filter(|vip| !vip.removed) else { continue };
            let flows = |index| self.live_flows(index);
            let Some(after) = after.filter(|vip| !vip.removed) else {
                let servers = before.servers.iter();
                impact.flows_reselected += servers.map(|server| flows(server.index)).sum::<u64>();
                continue;
            };
            let leaving = after.servers.iter().filter(|server| {
                let was = before.server(server.address);
                server.removed && was.is_some_and(|was| !was.removed)
            });
            impact.flows_kept += leaving.map(|server| flows(server.index)).sum::<u64>();
            tables.extend(self.changed_table(before, after).filter(|_| !rehashed));
        }
        let sticky: u64 = self.workers().iter().map(|worker| worker.sticky.bytes() as u64).sum();
        let buckets = |model: &Model| u64::from(model.lb.settings.buckets);
        impact.sticky_bytes_before = sticky;
        impact.sticky_bytes_after = sticky / buckets(old).max(1) * buckets(new);
        let seed = self.snapshot().lb.hasher.table_seed();
        ImpactPlan { impact, tables, seed, models: [old.lb.clone(), new.lb.clone()] }
    }

    /// The table that a VIP has, and what it is to be made of, if that changes.
    fn changed_table(
        &self,
        before: &Vip,
        after: &Vip,
    ) -> Option<(String, Arc<NewFlowTable>, Contents)> {
        let maglev = |vip: &Vip| vip.spec.scheduler() == Scheduler::Maglev;
        let contents = contents(after);
        if !(maglev(before) && maglev(after)) || self::contents(before) == contents {
            return None;
        }
        let compiled = self.snapshot().lb.vip(VipId::new(before.index)?)?;
        Some((after.key.to_string(), Arc::clone(&compiled.table), contents))
    }
}

/// What the new-flow table of a VIP is made of.
fn contents(vip: &Vip) -> Contents {
    let mut members = members(vip);
    members.sort_unstable();
    (members, length(vip))
}

/// VIPs with equal ASs share a table.
fn table_bytes(lb: &LbModel) -> u64 {
    let tables: BTreeMap<_, _> = lb
        .active()
        .map(|vip| {
            let (members, length) = contents(vip);
            let bytes = NewFlowTable::bytes_for(members.len(), length);
            ((members, length.get()), bytes as u64)
        })
        .collect();
    tables.values().sum()
}

impl ImpactPlan {
    /// Builds the tables and compares them with those in use.
    pub fn work_out(self) -> Impact {
        let Self { mut impact, tables, seed, models } = self;
        [impact.table_bytes_before, impact.table_bytes_after] = models.each_ref().map(table_bytes);
        let mut built: HashMap<Contents, Option<Arc<NewFlowTable>>> = HashMap::new();
        for (vip, before, contents) in tables {
            let (members, length) = &contents;
            let build = || NewFlowTable::build(members, *length, seed).ok().map(Arc::new);
            let after = match built.get(&contents) {
                Some(after) => after.clone(),
                None => {
                    let table = build();
                    built.insert(contents.clone(), table.clone());
                    table
                }
            };
            let Some(after) = after else { continue };
            let (slots_moved, slots) = moved(&before, &after);
            impact.vips.push(VipImpact { vip, slots_moved, slots });
        }
        impact
    }
}

/// In how many slots of the longer of two tables the ASs differ, and how many it has.
fn moved(old: &NewFlowTable, new: &NewFlowTable) -> (u32, u32) {
    let slots = old.length().get().max(new.length().get());
    let holder = |table: &NewFlowTable, hash| {
        let member = table.member_in_slot(table.slot_of(hash))?;
        table.members().get(member).map(|member| member.address)
    };
    let differs = |slot: &u32| {
        // A flow whose hash is in the middle of the slot.
        let hash = ((u128::from(*slot) * 2 + 1) << 63) / u128::from(slots);
        holder(old, hash as u64) != holder(new, hash as u64)
    };
    ((0..slots).filter(differs).count() as u32, slots)
}

impl Display for Impact {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for VipImpact { vip, slots_moved, slots } in &self.vips {
            writeln!(f, "vip {vip}: {slots_moved} of {slots} slots move")?;
        }
        if self.rehashed {
            writeln!(f, "{REHASHED}")?;
        }
        let (gone, kept) = (self.flows_reselected, self.flows_kept);
        writeln!(f, "live flows: {gone} re-selected, {kept} stay on removed ASs until they end")?;
        let kinds = [
            ("new-flow tables", self.table_bytes_before, self.table_bytes_after),
            ("sticky tables", self.sticky_bytes_before, self.sticky_bytes_after),
        ];
        let kinds = kinds.map(|(what, before, after)| format!("{what} {before} → {after} bytes"));
        writeln!(f, "memory: {}", kinds.join(", "))
    }
}
