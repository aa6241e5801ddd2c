//! [`Observer`]: what can be seen of the workers.

use std::collections::BTreeMap;

use balancer::VipId;
use dataplane::event::Event;
use dataplane::graph::GraphInfo;
use dataplane::worker::WorkerShared;

use super::compiler::Compiler;
use super::workers::{Workers, port};
use crate::fake_mbuf;
use crate::reference::config::{Config, Kind};
use crate::reference::ip::Header;
use crate::reference::outcome::{Outcome, Reason, VipCounts};
use crate::reference::reason;

/// Looks at the workers, and knows what it saw the last time.
pub(super) struct Observer {
    info: GraphInfo,
    /// By worker: counter values at the last look.
    counters: Vec<Vec<u64>>,
    /// By worker and VIP: what a VIP that comes back counts begins anew.
    vips: BTreeMap<(usize, VipId), VipCounts>,
    /// At the last look.
    pub(super) totals: Totals,
}

impl Observer {
    /// Of so many workers, before they did anything.
    pub(super) fn new(info: GraphInfo, workers: usize) -> Self {
        let counters = vec![vec![0; info.counters.len()]; workers];
        Self { info, counters, vips: BTreeMap::new(), totals: Totals::default() }
    }

    /// Everything that the workers did since the last look.
    pub(super) fn observe<C: Compiler>(
        &mut self,
        workers: &mut Workers,
        config: &Config,
        compiler: &C,
    ) -> Outcome {
        let mut seen = Outcome::default();
        let mut totals = Totals::default();
        for (at, worker) in workers.0.iter_mut().enumerate() {
            for index in config.ports() {
                let frames = worker.io.sent(port(index));
                seen.sent.extend(frames.into_iter().map(|frame| (index, frame)));
            }
            let shared = &worker.state.shared;
            observe_events(shared, &mut seen);
            self.observe_counters(at, shared, &mut seen);
            self.observe_vips(at, shared, config, compiler, &mut seen);
            totals.add(shared, config);
        }
        seen.drops = totals.drops - self.totals.drops;
        self.totals = totals;
        seen.consumed = reason::CONSUMING.iter().filter_map(|reason| seen.counts.get(reason)).sum();
        seen.held = workers.outstanding();
        seen
    }

    fn observe_counters(&mut self, worker: usize, shared: &WorkerShared, seen: &mut Outcome) {
        for (at, info) in self.info.counters.iter().enumerate() {
            let value = shared.counters[at].get();
            let before = std::mem::replace(&mut self.counters[worker][at], value);
            let reason: Reason = (self.info.nodes[usize::from(info.node)], info.text);
            if value > before
                && let Some(reason) = reason::of_plain(reason)
            {
                *seen.counts.entry(reason).or_default() += value - before;
            }
        }
    }

    fn observe_vips<C: Compiler>(
        &mut self,
        worker: usize,
        shared: &WorkerShared,
        config: &Config,
        compiler: &C,
        seen: &mut Outcome,
    ) {
        for (at, vip) in config.vips.iter().enumerate() {
            let id = compiler.vip(&vip.key);
            let stats = &shared.vips[id.index()];
            let now = VipCounts {
                existing: stats.existing.get(),
                first: stats.first.get(),
                untracked: stats.untracked.get(),
                no_server: stats.no_server.get(),
            };
            let before = self.vips.insert((worker, id), now).unwrap_or_default();
            seen.vips.entry(at).or_default().add(now.since(before));
        }
    }
}

fn observe_events(shared: &WorkerShared, seen: &mut Outcome) {
    while let Some(event) = shared.next_event() {
        match event {
            Event::NeighborNeeded { interface, address } => {
                seen.needed.push((interface.0, address));
            }
            Event::NeighborSeen { interface, address, mac } => {
                seen.seen.push((interface.0, address, mac.0));
            }
            Event::Punt { interface, l3_offset, packet } => {
                let bytes = fake_mbuf::free(packet).split_off(usize::from(l3_offset));
                let len = Header::of(&bytes).total_len;
                seen.punted.push((interface.0, bytes[..len].to_vec()));
            }
            Event::StickyTableRetired(_) => {}
        }
    }
}

/// The interface counters, summed up. A frame of a VLAN is received by its port too, and one that
/// enters or leaves a tunnel counts there too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rx: u64,
    pub(super) tx: u64,
    drops: u64,
}

impl Totals {
    fn add(&mut self, shared: &WorkerShared, config: &Config) {
        for stats in &shared.interfaces {
            self.drops += stats.drops.get();
        }
        for index in config.indices() {
            let stats = &shared.interfaces[usize::from(index)];
            let kind = &config.interface(index).kind;
            if matches!(kind, Kind::Port) {
                self.rx += stats.rx_packets.get();
                self.tx += stats.tx_packets.get();
            }
        }
    }
}
