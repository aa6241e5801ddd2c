//! Trace records that workers have made, kept until `clear trace`.

use dataplane::trace::TraceRecord;

use super::WorkerHandle;

/// Records kept per worker; later ones are lost.
const KEPT: usize = 65_536;

#[derive(Debug)]
pub(super) struct Traces(Vec<Vec<TraceRecord>>);

impl Traces {
    pub(super) fn new(workers: usize) -> Self {
        Self(vec![Vec::new(); workers])
    }

    /// Takes the records out of the workers' queues.
    pub(super) fn drain(&mut self, workers: &[WorkerHandle]) {
        for (kept, worker) in self.0.iter_mut().zip(workers) {
            while let Some(record) = worker.shared.next_trace() {
                if kept.len() < KEPT {
                    kept.push(record);
                }
            }
        }
    }

    /// By worker.
    pub(super) fn records(&self) -> &[Vec<TraceRecord>] {
        &self.0
    }

    /// Forgets everything and stops tracing.
    pub(super) fn clear(&mut self, workers: &[WorkerHandle]) {
        for worker in workers {
            worker.shared.disarm_trace();
        }
        self.drain(workers);
        self.0.iter_mut().for_each(Vec::clear);
    }
}
