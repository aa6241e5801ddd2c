//! [`Reference`]: the box, one packet at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::config::Config;
use super::flows::Flows;
use super::fragments::{Memory, Waiting};
use super::outcome::Outcome;
use super::rate::Rate;
use super::scope::Scope;
use super::service::VipKey;
use super::upper::Tuple;

/// What a new flow of a client comes to, as far as keyed hashes decide it.
///
/// This is the one thing that the reference does not work out itself: it is the new-flow table of
/// `balancer`, which has properties of its own (shares, permutations, disruption).
pub trait NewFlowOrder {
    /// ASs in the order in which the flow's slot and those behind it name them.
    fn order(&self, vip: &VipKey, tuple: &Tuple) -> Vec<IpAddr>;

    /// The flow's hash, which GUE's source port and the flow labels of outer headers are made of.
    fn entropy(&self, tuple: &Tuple) -> u64;
}

/// A packet inside the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transit {
    /// Interface it came by.
    pub(super) rx: u16,
    /// Ethernet source of its frame.
    pub(super) link_source: [u8; 6],
    /// Everything behind the Ethernet header.
    pub(super) packet: Vec<u8>,
    /// It was made here, so no error may be sent about it, and it keeps its hops.
    pub(super) originated: bool,
}

/// A packet that waits for a neighbour's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) interface: u16,
    pub(super) next_hop: IpAddr,
    pub(super) since_s: u32,
    pub(super) transit: Transit,
}

/// What exists once per family and worker.
#[derive(Clone, Debug, Default)]
pub(super) struct OfFamily {
    pub(super) held: Vec<Held>,
    /// When control was last asked for the neighbours that packets wait for.
    pub(super) asked_s: BTreeMap<(u16, IpAddr), u32>,
    pub(super) errors: Rate,
    pub(super) echoes: Rate,
    /// By interface: whole TCP and UDP packets seen, for sampling.
    pub(super) sampled: BTreeMap<u16, u64>,
    /// Identification of the last ICMP error made.
    pub(super) ip_id: u16,
    /// Whose first fragment went where, towards ASs.
    pub(super) to_servers: Memory,
    /// The same from ASs.
    pub(super) from_servers: Memory,
    /// Later fragments that came too early, towards ASs.
    pub(super) early_to_servers: Waiting,
    /// The same from ASs.
    pub(super) early_from_servers: Waiting,
}

/// What exists once per worker.
#[derive(Clone, Debug, Default)]
pub(super) struct PerWorker {
    pub(super) flows: Flows,
    pub(super) ip4: OfFamily,
    pub(super) ip6: OfFamily,
    pub(super) resets: Rate,
    pub(super) punts: Rate,
    /// Identification of the last outer header that needed one.
    pub(super) outer_id: u32,
}

impl PerWorker {
    pub(super) fn of(&mut self, v6: bool) -> &mut OfFamily {
        if v6 { &mut self.ip6 } else { &mut self.ip4 }
    }
}

/// The executable specification of the packet path.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The configuration in force.
    pub config: Config,
    /// What the graph it is held against can do already.
    pub scope: Scope,
    /// The clock, in seconds.
    pub now_s: u32,
    /// Workers; the one at work is the first of [`Self::receive_at`]'s arguments.
    pub(super) workers: Vec<PerWorker>,
    /// The worker at work.
    pub(super) me: usize,
    /// How often each AS of each VIP was flushed.
    pub(super) flushes: BTreeMap<(VipKey, IpAddr), u32>,
    /// Removed ASs that flows may still use, with how they are reached.
    pub(super) removed: BTreeMap<(VipKey, IpAddr), super::service::Server>,
    /// New flows of round-robin VIPs so far.
    pub(super) turns: BTreeMap<VipKey, u64>,
    pub(super) out: Outcome,
}

impl Reference {
    /// A box with one worker that has just been started.
    pub fn new(config: Config) -> Self {
        Self::with_workers(config, 1)
    }

    /// A box with so many workers.
    pub fn with_workers(config: Config, workers: usize) -> Self {
        Self {
            config,
            scope: Scope::ALL,
            now_s: 0,
            workers: vec![PerWorker::default(); workers],
            me: 0,
            flushes: BTreeMap::new(),
            removed: BTreeMap::new(),
            turns: BTreeMap::new(),
            out: Outcome::default(),
        }
    }

    /// A frame arrives on interface `rx` at the first worker.
    pub fn receive(&mut self, rx: u16, frame: &[u8], table: &dyn NewFlowOrder) -> Outcome {
        self.receive_at(0, rx, frame, table)
    }

    /// A frame arrives on interface `rx` at this worker.
    pub fn receive_at(
        &mut self,
        worker: usize,
        rx: u16,
        frame: &[u8],
        table: &dyn NewFlowOrder,
    ) -> Outcome {
        self.me = worker;
        self.ethernet_input(rx, frame, table);
        self.finish()
    }

    pub(super) fn finish(&mut self) -> Outcome {
        let mut outcome = std::mem::take(&mut self.out);
        outcome.held = self.workers.iter().map(PerWorker::waiting).sum();
        outcome
    }

    /// The worker at work.
    pub(super) fn mine(&mut self) -> &mut PerWorker {
        &mut self.workers[self.me]
    }

    /// What the worker at work has for this family.
    pub(super) fn family(&mut self, v6: bool) -> &mut OfFamily {
        self.mine().of(v6)
    }

    /// Seconds pass.
    pub fn wait(&mut self, seconds: u32) {
        self.now_s += seconds;
    }

    /// Flows alive per VIP and AS, in all workers' tables together; those of
    /// [`Goal::Direct`](super::flows::Goal) are not an AS's.
    pub fn live_flows(&self) -> BTreeMap<(VipKey, IpAddr), u64> {
        let mut live = BTreeMap::new();
        for worker in &self.workers {
            for (key, flow) in &worker.flows {
                if let super::flows::Goal::Vip(vip) = key.goal
                    && self.counts(key, flow)
                {
                    *live.entry((vip, flow.server)).or_default() += 1;
                }
            }
        }
        live
    }

    /// Addresses of all ASs, removed ones included while control remembers them.
    pub(super) fn servers(&self) -> BTreeSet<IpAddr> {
        let configured = self.config.vips.iter().flat_map(|vip| vip.servers.keys().copied());
        configured.chain(self.removed.keys().map(|(_, address)| *address)).collect()
    }
}

impl PerWorker {
    /// Packets on hold.
    fn waiting(&self) -> u64 {
        let of_family = |family: &OfFamily| {
            family.held.len() + family.early_to_servers.len() + family.early_from_servers.len()
        };
        (of_family(&self.ip4) + of_family(&self.ip6)) as u64
    }
}
