//! A table without a worker.

use std::sync::Arc;

use balancer::{AsId, StickyOwner, StickyTable};

use super::folder::TableName;

/// Buckets that control looks at in one go: less than a millisecond's work.
const BUCKETS_AT_ONCE: usize = 1024;

/// Its flows go on: workers look into it as into each other's tables, and take over what they meet.
/// Control, its only writer, takes out what they have taken over and what has expired.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) name: TableName,
    pub(super) owner: StickyOwner,
}

impl Orphan {
    pub(super) fn new(name: TableName, owner: StickyOwner) -> Self {
        Self { name, owner }
    }

    /// Sweeps the next part.
    pub(super) fn sweep(
        &mut self,
        tick_s: u32,
        epoch_of: &impl Fn(AsId) -> Option<u8>,
        others: &[Arc<StickyTable>],
    ) {
        self.owner.sweep_followed(BUCKETS_AT_ONCE, tick_s, epoch_of, others);
    }
}
