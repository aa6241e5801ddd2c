//! How many instructions a packet takes: fixed work, counted by Callgrind, compared with a baseline
//! that is part of the sources.
//!
//! Instructions are not time, but they are the same on every machine and in every run, where time is
//! not. So `./test.sh` can fail when a change makes packets more expensive by a few percent.

mod baseline;
mod callgrind;
mod counter;
pub(crate) mod frames;
mod replay_port;
mod rig;
mod still_clock;
mod workload;

pub use baseline::{Baseline, Comparison, Verdict};
pub use counter::{Counter, build};
pub use workload::{Workload, all as all_workloads};
