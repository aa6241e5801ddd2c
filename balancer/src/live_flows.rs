//! How many flows each AS has in one sticky table.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::application_server::AsId;

/// Counts written by the table's owner alone, readable by all: the number of entries for each AS,
/// including those that expired and were not swept yet.
#[derive(Debug)]
pub struct LiveFlows {
    by_server: Box<[AtomicU32]>,
    totals: Totals,
}

/// On a line of its own: peers read `direct` for each new flow.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Totals {
    used: AtomicU32,
    direct: AtomicU32,
}

/// The only writer needs no locked instruction.
#[inline(always)]
fn add(count: &AtomicU32, delta: u32) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(delta), Ordering::Relaxed);
}

impl LiveFlows {
    pub(crate) fn new(servers_max: usize) -> Self {
        Self {
            by_server: (0..servers_max).map(|_| AtomicU32::new(0)).collect(),
            totals: Totals::default(),
        }
    }

    /// The flows of an AS.
    #[must_use]
    pub fn of(&self, as_id: AsId) -> u32 {
        self.by_server.get(as_id.index()).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// All entries in use, direct flows included.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.totals.used.load(Ordering::Relaxed)
    }

    /// The direct flows, which go past a VIP and count for no AS.
    #[must_use]
    pub fn direct(&self) -> u32 {
        self.totals.direct.load(Ordering::Relaxed)
    }

    /// How many ASs can be counted.
    #[must_use]
    pub fn servers_max(&self) -> usize {
        self.by_server.len()
    }

    /// Counts one more entry, of an AS or direct. Only for the owner.
    #[inline(always)]
    pub(crate) fn enter(&self, as_id: AsId, direct: bool) {
        self.count(as_id, direct, 1);
    }

    /// Counts one entry less. Only for the owner.
    pub(crate) fn leave(&self, as_id: AsId, direct: bool) {
        self.count(as_id, direct, u32::MAX);
    }

    #[inline(always)]
    fn count(&self, as_id: AsId, direct: bool, delta: u32) {
        add(&self.totals.used, delta);
        if direct {
            add(&self.totals.direct, delta);
        } else if let Some(count) = self.by_server.get(as_id.index()) {
            add(count, delta);
        }
    }
}
