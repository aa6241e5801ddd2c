//! Changing to another configuration as a whole: `reload`, `confirm`, `diff`, `save`.
//!
//! A file is read and checked as at a start, and turned into a model of its own. The running state
//! then becomes that model in one transaction, which keeps what both have in common; see
//! [`Model::towards`](crate::model::Model::towards).

mod candidate;
mod changes;
mod hangup;
mod impact;
mod mistakes;
mod outcome;
mod pending;
mod save;

use std::path::PathBuf;

use config::Fixed;

pub use candidate::{Candidate, Checked, Source};
pub use changes::{Change, Changes, Sign};
pub use hangup::Hangup;
pub use impact::{Impact, ImpactPlan, VipImpact};
pub use mistakes::{Mistake, Mistakes};
pub use outcome::{Diff, Reloaded};
pub use pending::Reloads;
pub use save::{text, write};

/// What the daemon was started with, and only another start changes.
#[derive(Clone, Debug, Default)]
pub struct Started {
    /// The configuration file, absolute.
    pub file: PathBuf,
    /// Its sections that only a start takes up.
    pub fixed: Fixed,
    /// The CPUs the daemon could have used.
    pub cpus: Vec<u16>,
}
