//! Sticky tables of another size (`lb conf buckets`), while packets flow.
//!
//! For a worker in three steps. Its new table is announced: all workers get a snapshot that has it,
//! as they look into each other's tables. Then the worker gets it, and moves its flows over in
//! slices, while everybody looks into both tables. When the last flow has followed, the worker gives
//! the old table back. Another size that is asked for meanwhile waits until then; only the last one
//! counts.

use std::io;
use std::sync::Arc;

use balancer::{StickyOwner, StickyTable};
use dataplane::event::Request;
use dataplane::worker::{MIGRATE_BUCKETS, SWEEP_BUCKETS_BUSY};

use super::WorkerHandle;

/// How far a worker is.
#[derive(Debug, Default)]
enum Step {
    /// It has the table that it shall have.
    #[default]
    Settled,
    /// Its new table is in the snapshots from this version on, if one is published yet.
    Announced { owner: Box<StickyOwner>, since: Option<u64> },
    /// Flows are on their way out of this table.
    Moving(Arc<StickyTable>),
}

/// The workers on their way to sticky tables of another size.
#[derive(Debug, Default)]
pub(super) struct Resize {
    /// By worker.
    steps: Vec<Step>,
}

impl Resize {
    /// All of them have the table they shall have.
    pub(super) fn new(workers: usize) -> Self {
        Self { steps: (0..workers).map(|_| Step::Settled).collect() }
    }

    /// Announces new tables to the workers that have others and are free to change; true if there
    /// is anything to publish. `make` makes an empty table of this size for a worker.
    ///
    /// # Errors
    ///
    /// There is no memory: the tables that are there stay.
    pub(super) fn want(
        &mut self,
        buckets: u32,
        workers: &[WorkerHandle],
        mut make: impl FnMut(usize) -> io::Result<StickyOwner>,
    ) -> io::Result<bool> {
        let mut changed = false;
        for (index, (step, worker)) in self.steps.iter_mut().zip(workers).enumerate() {
            let has = match step {
                Step::Settled => &worker.sticky,
                Step::Announced { owner, .. } => owner.table(),
                Step::Moving(_) => continue,
            };
            if has.buckets() == buckets as usize {
                continue;
            }
            changed = true;
            *step = Step::Settled;
            if worker.sticky.buckets() != buckets as usize {
                *step = Step::Announced { owner: Box::new(make(index)?), since: None };
            }
        }
        Ok(changed)
    }

    /// A snapshot with all that [`Self::tables`] gave was published as this version.
    pub(super) fn published(&mut self, version: u64) {
        for step in &mut self.steps {
            if let Step::Announced { since, .. } = step {
                since.get_or_insert(version);
            }
        }
    }

    /// Gives workers the tables that all workers know by now: `adopted` is the version that all have
    /// at least.
    pub(super) fn proceed(&mut self, adopted: u64, workers: &mut [WorkerHandle]) {
        for (step, worker) in self.steps.iter_mut().zip(workers) {
            if !matches!(step, Step::Announced { since: Some(since), .. } if *since <= adopted) {
                continue;
            }
            let Step::Announced { owner, since } = std::mem::take(step) else { continue };
            let table = Arc::clone(owner.table());
            *step = match worker.shared.request(Request::ReplaceStickyTable(owner)) {
                Ok(()) => Step::Moving(std::mem::replace(&mut worker.sticky, table)),
                // Its mailbox is full of packets; next time.
                Err(Request::ReplaceStickyTable(owner)) => Step::Announced { owner, since },
                Err(_) => Step::Settled,
            };
        }
    }

    /// A worker has given its old table back.
    pub(super) fn retired(&mut self, worker: usize) {
        if let Some(step @ Step::Moving(_)) = self.steps.get_mut(worker) {
            *step = Step::Settled;
        }
    }

    /// True while some worker is on its way.
    pub(super) fn is_under_way(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step, Step::Settled))
    }

    /// All sticky tables with the numbers of their workers, those that flows leave before those that
    /// they go to: who looks in this order misses none.
    pub(super) fn tables<'a>(
        &'a self,
        workers: &'a [WorkerHandle],
    ) -> impl Iterator<Item = (usize, &'a Arc<StickyTable>)> {
        self.steps.iter().zip(workers).enumerate().flat_map(|(index, (step, worker))| {
            let (before, after) = match step {
                Step::Settled => (None, None),
                Step::Announced { owner, .. } => (None, Some(owner.table())),
                Step::Moving(before) => (Some(before), None),
            };
            let all = before.into_iter().chain([&worker.sticky]).chain(after);
            all.map(move |table| (index, table))
        })
    }

    /// Flows of a worker that have not followed into its new table yet.
    pub(super) fn flows_moving(&self, worker: usize) -> u64 {
        match self.steps.get(worker) {
            Some(Step::Moving(before)) => before.used().into(),
            _ => 0,
        }
    }

    /// The turns in which a worker surely comes by all entries that it has now.
    pub(super) fn round(&self, worker: usize, workers: &[WorkerHandle]) -> u64 {
        let of_worker = self.tables(workers).filter(|(index, _)| *index == worker);
        let buckets: usize = of_worker.map(|(_, table)| table.buckets()).sum();
        buckets.div_ceil(SWEEP_BUCKETS_BUSY.min(MIGRATE_BUCKETS)) as u64
    }
}
