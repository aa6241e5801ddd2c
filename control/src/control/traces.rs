//! Trace records that workers have made, kept until `clear trace`.

use std::sync::atomic::Ordering;

use dataplane::trace::TraceRecord;

use super::WorkerHandle;

/// Records kept per worker; later ones are lost.
const KEPT: usize = 65_536;

/// Seconds after the last packet was marked until workers stop looking for marks: longer than any
/// packet waits for its neighbour.
const QUIET_S: u32 = 5;

#[derive(Debug)]
pub(super) struct Traces {
    /// By worker.
    kept: Vec<Vec<TraceRecord>>,
    quiet_s: u32,
}

impl Traces {
    pub(super) fn new(workers: usize) -> Self {
        Self { kept: vec![Vec::new(); workers], quiet_s: 0 }
    }

    /// Takes the records out of the workers' queues.
    pub(super) fn drain(&mut self, workers: &[WorkerHandle]) {
        for (kept, worker) in self.kept.iter_mut().zip(workers) {
            while let Some(record) = worker.shared.next_trace() {
                if kept.len() < KEPT {
                    kept.push(record);
                }
            }
        }
    }

    /// To be called every second: takes the load of looking for marks off the workers when all
    /// packets that were to be traced have been marked.
    pub(super) fn every_second(&mut self, workers: &[WorkerHandle]) {
        self.drain(workers);
        let armed = |worker: &WorkerHandle| {
            worker.shared.trace_arm.iter().any(|arm| arm.load(Ordering::Relaxed) > 0)
        };
        self.quiet_s = if workers.iter().any(armed) { 0 } else { self.quiet_s.saturating_add(1) };
        if self.quiet_s == QUIET_S {
            workers.iter().for_each(|worker| worker.shared.disarm_trace());
        }
    }

    /// By worker.
    pub(super) fn records(&self) -> &[Vec<TraceRecord>] {
        &self.kept
    }

    /// Forgets everything and stops tracing.
    pub(super) fn clear(&mut self, workers: &[WorkerHandle]) {
        for worker in workers {
            worker.shared.disarm_trace();
        }
        self.drain(workers);
        self.kept.iter_mut().for_each(Vec::clear);
    }
}
