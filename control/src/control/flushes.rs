//! Flows that a flush has killed and the sweep has not taken away yet.
//!
//! A flush counts an AS's epoch up, which ends its flows at once; their entries go as the sweep
//! comes by. Until then they would still be counted as flows, so control takes them off.

use std::collections::BTreeMap;
use std::sync::Arc;

use balancer::{AsId, StickyTable};

use super::WorkerHandle;
use super::resize::Resize;
use crate::model::LbModel;

/// Turns within which a worker surely runs with a snapshot that was published.
pub(super) const ADOPTION_TURNS: u64 = 2;

#[derive(Debug)]
struct Flush {
    /// Entries that were there when the flush was published.
    dead: u64,
    /// By worker: the turn at which the sweep has been everywhere since.
    swept_at: Vec<u64>,
}

/// The flushes that the sweep has not caught up with.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    /// AS indices of flushes that are not published yet.
    noted: Vec<u32>,
    /// By AS index.
    running: BTreeMap<u32, Flush>,
}

/// The entries of an AS over all sticky tables, dead ones included.
pub(super) fn entries_of(server: u32, tables: &[Arc<StickyTable>]) -> u64 {
    let Some(id) = AsId::new(server) else { return 0 };
    tables.iter().map(|table| u64::from(table.live_flows().of(id))).sum()
}

impl Flushes {
    /// Notes the ASs whose epochs differ.
    pub(super) fn note(&mut self, old: &LbModel, new: &LbModel) {
        for (_, before, vip) in new.vips.since(&old.vips) {
            let (Some(before), Some(vip)) = (before, vip) else { continue };
            let epochs: BTreeMap<u32, u8> =
                before.servers.iter().map(|server| (server.index, server.epoch)).collect();
            let flushed = vip.servers.iter().filter(|server| {
                epochs.get(&server.index).is_some_and(|epoch| *epoch != server.epoch)
            });
            self.noted.extend(flushed.map(|server| server.index));
        }
    }

    /// The flushes noted before will not be published.
    pub(super) fn forget_noted(&mut self) {
        self.noted.clear();
    }

    /// The flushes noted before are published now.
    pub(super) fn begin(&mut self, workers: &[WorkerHandle], resize: &Resize) {
        let tables: Vec<_> = resize.tables(workers).map(|(_, table)| Arc::clone(table)).collect();
        for server in self.noted.drain(..) {
            let swept_at = workers.iter().enumerate().map(|(index, worker)| {
                worker.shared.turns.get() + ADOPTION_TURNS + resize.round(index, workers)
            });
            let flush = Flush { dead: entries_of(server, &tables), swept_at: swept_at.collect() };
            if flush.dead > 0 {
                self.running.insert(server, flush);
            }
        }
    }

    /// Forgets those that are over.
    pub(super) fn end(&mut self, workers: &[WorkerHandle]) {
        self.running.retain(|_, flush| {
            let swept = workers.iter().zip(&flush.swept_at);
            !swept.into_iter().all(|(worker, at)| worker.shared.turns.get() >= *at)
        });
    }

    /// The flows of an AS that are alive. While a sweep is under way they may be too few by those
    /// that began after the flush, never too many.
    pub(super) fn live(&self, server: u32, tables: &[Arc<StickyTable>]) -> u64 {
        let dead = self.running.get(&server).map_or(0, |flush| flush.dead);
        entries_of(server, tables).saturating_sub(dead)
    }
}
