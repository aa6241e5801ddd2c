//! `clear …`: what the counters showed then is taken off what they show later, so that workers
//! never have to write a counter that another thread writes too.

use std::collections::BTreeMap;

use crate::show::interfaces::InterfaceCounters;
use crate::show::vips::{ServerCounters, VipCounters};

/// Work of one node of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeWork {
    pub(super) calls: u64,
    pub(super) vectors: u64,
    pub(super) clocks: u64,
}

/// Packets of one worker over all interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) rx: u64,
    pub(super) tx: u64,
    pub(super) drops: u64,
    pub(super) punts: u64,
}

/// The counters at the last `clear`.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    /// When runtime was cleared, in milliseconds.
    pub(super) runtime_ms: u64,
    /// By worker, by node.
    pub(super) nodes: Vec<Vec<NodeWork>>,
    /// By worker.
    pub(super) traffic: Vec<Traffic>,
    /// By counter of the graph, over all workers.
    pub(super) errors: Vec<u64>,
    /// Claims of own addresses by others.
    pub(super) conflicts: u64,
    /// What is counted beside the nodes.
    pub(super) rare: [u64; 3],
    /// By interface index.
    pub(super) interfaces: BTreeMap<u16, InterfaceCounters>,
    /// By AS index: what its index had counted before it was this AS's.
    pub(super) servers: BTreeMap<u32, ServerCounters>,
    /// By VIP index: what its index had counted before it was this VIP's.
    pub(super) vips: BTreeMap<u32, VipCounters>,
}
