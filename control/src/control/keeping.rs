//! State that outlives the daemon, as control keeps it.

use std::sync::Arc;

use balancer::{StickyOwner, StickyTable};
use dataplane::clock::read_tsc;

use super::{Control, Ticks, TscBase};
use crate::state::{Keeper, StateStatus};

impl Control {
    /// The second on the workers' clocks.
    pub fn tick_s(&self) -> u32 {
        match self.ticks {
            Ticks::Tsc(TscBase { start, hz }) => {
                (read_tsc().saturating_sub(start) / hz.max(1)) as u32
            }
            Ticks::From(first) => first.wrapping_add((self.now_ms / 1_000) as u32),
        }
    }

    /// Everything is configured that is so from the start: flows of an earlier daemon whose VIP is
    /// not there are swept from now on, and indices that nobody asked for become free.
    pub fn settle_state(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        keeper.settle();
        self.model.lb.settle();
        for worker in &self.workers {
            worker.shared.hold_sweep(false);
        }
        self.dirty = true;
        self.publish();
    }

    /// Gives the files of kept state to the user and group that the daemon is to become.
    ///
    /// # Errors
    ///
    /// Why that is not possible.
    pub fn give_state_to(&self, owner: (u32, u32)) -> Result<(), String> {
        let given = self.keeper.as_ref().map(|keeper| keeper.give_to(owner));
        given
            .unwrap_or(Ok(()))
            .map_err(|error| format!("giving the state to another user: {error}"))
    }

    /// What `show lb` says.
    pub(super) fn state_status(&self) -> StateStatus {
        self.keeper.as_ref().map(|keeper| keeper.status()).unwrap_or_default()
    }

    /// All sticky tables: by worker, where one that changes its table has two, and those that have
    /// no worker.
    pub(super) fn sticky_tables(&self) -> Vec<Arc<StickyTable>> {
        let own = self.resize.tables(&self.workers).map(|(_, table)| table);
        own.chain(self.keeper.iter().flat_map(|keeper| keeper.orphans())).cloned().collect()
    }

    /// Writes what is about to be published, so that entries never name what is not written.
    pub(super) fn keep_state(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            if keeper.is_settled() {
                // Control may have been rebuilt since.
                self.model.lb.settle();
            }
            keeper.note(&self.model.lb, self.compiler.lb.fingerprint());
        }
    }

    /// Frees the files of tables that no worker has any more.
    pub(super) fn forget_tables(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            let used: Vec<_> = self.resize.tables(&self.workers).map(|(_, table)| table).collect();
            keeper.forget_tables(|table| !used.iter().any(|other| Arc::ptr_eq(other, table)));
        }
    }

    /// Takes a part of the tables without a worker further.
    pub(super) fn sweep_orphans(&mut self) {
        let tick_s = self.tick_s();
        // Before that it is not known whose flows are over.
        let ready = |keeper: &&mut Keeper| keeper.is_settled() && keeper.orphans().next().is_some();
        let Some(keeper) = self.keeper.as_mut().filter(ready) else { return };
        let own = self.resize.tables(&self.workers).map(|(_, table)| table);
        let others: Vec<_> = own.cloned().collect();
        let lb = &self.publisher.current().lb;
        self.dirty |= keeper.sweep_orphans(tick_s, |id| lb.epoch_of(id), &others);
    }
}

/// An empty table of so many buckets for a worker, with the key of the one it has.
pub(super) fn new_table(
    keeper: Option<&mut Keeper>,
    present: &StickyTable,
    worker: usize,
    buckets: u32,
) -> std::io::Result<StickyOwner> {
    match keeper {
        Some(keeper) => keeper.new_table(worker, buckets),
        None => StickyOwner::resized(present, buckets.into()).map_err(std::io::Error::other),
    }
}
