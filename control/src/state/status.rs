//! What `show lb` says of state that is kept.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use balancer::Stock;
use serde::Serialize;

use super::folder::Folder;
use super::header::Unusable;

/// Whether flows outlive the daemon, and how many of the last one's are here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateStatus {
    /// Whether there is a `[state] dir`.
    pub kept: bool,
    /// Which; absent without one.
    pub dir: Option<String>,
    /// Why nothing of an earlier daemon is here; absent when its state is used.
    pub not_used: Option<String>,
    /// Flows of the earlier daemon that go on.
    pub restored: u64,
    /// Entries of it that had expired.
    pub expired: u64,
    /// Entries of ASs that were gone or flushed.
    pub dead: u64,
    /// Entries that were not whole.
    pub torn: u64,
    /// Flows that had two entries, each counted once.
    pub duplicate: u64,
    /// How long all this took, in microseconds.
    pub restored_in_us: u64,
    /// Tables that belong to no worker any more and still have flows.
    pub orphan_tables: usize,
    /// Flows in them.
    pub orphan_flows: u64,
}

impl StateStatus {
    pub(super) fn new(folder: &Folder, unusable: Option<Unusable>) -> Self {
        Self {
            kept: true,
            dir: Some(folder.path().display().to_string()),
            not_used: unusable.map(|why| why.to_string()),
            ..Self::default()
        }
    }

    /// Notes what was found, and logs it.
    pub(super) fn tell(&mut self, stock: &Stock, orphans: usize, took: Duration) {
        self.restored = stock.kept;
        self.expired = stock.expired;
        self.dead = stock.dead;
        self.torn = stock.torn;
        self.duplicate = stock.duplicate;
        self.restored_in_us = took.as_micros() as u64;
        self.orphan_tables = orphans;
        let dir = self.dir.as_deref().unwrap_or_default();
        match &self.not_used {
            Some(why) => tracing::info!("state not used: {why}; {dir} starts empty"),
            None => tracing::info!(
                "state of {dir}: {} flows restored in {} ms; not restored: {} expired, {} dead, {} \
                 torn, {} there twice; {orphans} tables without a worker",
                stock.kept,
                took.as_millis(),
                stock.expired,
                stock.dead,
                stock.torn,
                stock.duplicate
            ),
        }
    }
}

/// One line of `show lb`.
impl Display for StateStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(dir) = &self.dir else { return f.write_str("not kept: no [state] dir") };
        write!(f, "kept in {dir}")?;
        match &self.not_used {
            Some(why) => write!(f, ", started empty: {why}"),
            None => write!(f, ", {} flows restored", self.restored),
        }?;
        if self.orphan_tables > 0 {
            let Self { orphan_tables, orphan_flows, .. } = self;
            write!(f, ", {orphan_flows} flows in {orphan_tables} tables without a worker")?;
        }
        Ok(())
    }
}
