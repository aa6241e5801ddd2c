//! [`Together`]: lets the workers of a measurement begin and end together, so that none is measured
//! while another already rests.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by the workers of one measurement.
#[derive(Debug)]
pub struct Together {
    start: Barrier,
    running: AtomicUsize,
}

impl Together {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self { start: Barrier::new(workers), running: AtomicUsize::new(workers) }
    }

    /// Waits until all are here.
    pub fn begin(&self) {
        self.start.wait();
    }

    /// Says that one has its figures.
    pub fn done(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// Does any still need the others' load?
    pub fn anyone_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_run_until_the_last_is_done() {
        let together = Together::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    together.begin();
                    assert!(together.anyone_running());
                    together.done();
                });
            }
        });
        assert!(!together.anyone_running());
    }
}
