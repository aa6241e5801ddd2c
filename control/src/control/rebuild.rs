//! After a panic: control again, from what workers were given last.
//!
//! A panic may have left anything of control half changed. What cannot be made again is kept (the
//! publisher and the workers with their tables and where these move, the ports), and so are plain numbers and records
//! (counters' baselines, rates, traces, running flushes, events, waiting pings, what was announced).
//! Everything that is derived is made anew: the model is the one published last, the compiler starts
//! from the tables it had then, the builder of new-flow tables gets a new thread and its orders
//! again, and neighbours start from the addresses that workers use.

use std::ops::Range;
use std::sync::Arc;

use balancer::{HashKey, LbTables};

use super::Control;
use crate::compile::{Compiler, LbCompiler};
use crate::model::{Model, Shelf, Vip};
use crate::neighbor::NeighborTable;

/// What workers were given last, and all that is needed to go on from there.
pub(super) struct Published {
    model: Model,
    tables: Arc<LbTables>,
    /// The states of VIPs that `tables` has: some may wait for their new-flow tables.
    vips: Shelf<Vip>,
    /// Of `tables`.
    hash_key: HashKey,
    /// How many commits `model` has.
    commits: u64,
}

impl Published {
    /// A model that `compiler` has just compiled. What is copied is shared, but for one reference
    /// for each 64 VIPs.
    pub(super) fn new(
        model: &Model,
        compiler: &Compiler,
        hash_key: &HashKey,
        commits: u64,
    ) -> Self {
        Self {
            model: model.clone(),
            tables: compiler.lb.shared_tables(),
            vips: compiler.lb.compiled().clone(),
            hash_key: hash_key.clone(),
            commits,
        }
    }
}

/// What rebuilding has cost so far.
#[derive(Debug, Default)]
pub(super) struct Losses {
    rebuilt: u64,
    /// Numbers of commits that were never published.
    commits: Vec<Range<u64>>,
}

impl Control {
    /// How often control has been rebuilt after a panic.
    pub fn rebuilt(&self) -> u64 {
        self.losses.rebuilt
    }

    /// How many drafts have become the model so far, those included that were lost later.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// Whether one of the commits after the first `from` and among the first `to` was lost when
    /// control was rebuilt.
    pub fn has_lost(&self, from: u64, to: u64) -> bool {
        self.losses.commits.iter().any(|lost| lost.start <= to && from < lost.end - 1)
    }

    /// Makes control anew from what was published last, and publishes that. Workers forward on.
    pub fn rebuild(&mut self) {
        self.losses.rebuilt += 1;
        let (published, commits) = (self.published.commits, self.commits);
        if published < commits {
            self.losses.commits.push(published + 1..commits + 1);
        }
        self.model = self.published.model.clone();
        // A size that was asked for since is asked for no more.
        self.resize_sticky_tables();
        let hash_key = self.published.hash_key.clone();
        self.note_hash_key(&hash_key);
        let Published { tables, vips, hash_key, .. } = &self.published;
        let lb = std::mem::take(&mut self.compiler.lb);
        let lb = LbCompiler::resumed(lb, Arc::clone(tables), vips.clone(), hash_key.fingerprint());
        self.compiler = Compiler::resumed(lb);
        self.flushes.forget_noted();
        self.drains.resume(&self.model.lb);
        self.neighbors = NeighborTable::default();
        for (key, mac) in self.model.learned_neighbors.iter() {
            self.neighbors.seen(*key, *mac, self.now_ms);
        }
        (self.dirty, self.disturbed, self.ripened) = (true, true, false);
        self.publish();
    }
}
