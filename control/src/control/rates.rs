//! How busy workers have been lately: samples once a second, rates over the last ten.

use std::collections::VecDeque;

use dataplane::graph::GraphInfo;

use super::WorkerHandle;

/// Seconds that rates are over, as VPP's.
const WINDOW: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_ms: u64,
    turns: u64,
    calls: u64,
    vectors: u64,
}

/// A worker's rates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    /// Seconds it is over.
    pub(super) interval_s: f64,
    /// Packets per call of a node.
    pub(super) vectors_per_call: f64,
    /// Turns per second.
    pub(super) turns_per_second: f64,
}

/// The samples of all workers.
#[derive(Debug)]
pub(super) struct Rates(Vec<VecDeque<Sample>>);

impl Rates {
    pub(super) fn new(workers: usize) -> Self {
        Self(vec![VecDeque::with_capacity(WINDOW + 1); workers])
    }

    pub(super) fn sample(&mut self, at_ms: u64, workers: &[WorkerHandle], graph: &GraphInfo) {
        for (samples, worker) in self.0.iter_mut().zip(workers) {
            let inner = worker.shared.nodes.iter().zip(&graph.inputs);
            let inner = inner.filter(|(_, input)| !**input).map(|(stats, _)| stats);
            let (calls, vectors) = inner.fold((0, 0), |(calls, vectors), stats| {
                (calls + stats.calls.get(), vectors + stats.vectors.get())
            });
            if samples.len() > WINDOW {
                samples.pop_front();
            }
            samples.push_back(Sample { at_ms, turns: worker.shared.turns.get(), calls, vectors });
        }
    }

    pub(super) fn of(&self, worker: usize) -> Rate {
        let samples = self.0.get(worker);
        let ends = samples.and_then(|samples| Some((samples.front()?, samples.back()?)));
        let Some((first, last)) = ends.filter(|(first, last)| last.at_ms > first.at_ms) else {
            return Rate::default();
        };
        let interval_s = (last.at_ms - first.at_ms) as f64 / 1_000.0;
        let calls = (last.calls - first.calls).max(1) as f64;
        Rate {
            interval_s,
            vectors_per_call: (last.vectors - first.vectors) as f64 / calls,
            turns_per_second: (last.turns - first.turns) as f64 / interval_s,
        }
    }
}
