//! Runs each worker on a CPU of its own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use core_affinity::CoreId;

/// CPUs for workers; none for the calling thread, wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(Vec<usize>);

impl Cores {
    /// The CPUs `wanted`, or else the last `workers` of those that this process may use.
    ///
    /// # Errors
    ///
    /// A CPU that is not there, or fewer than workers.
    pub fn choose(wanted: &[usize], workers: usize) -> Result<Self, String> {
        let available = core_affinity::get_core_ids().unwrap_or_default();
        Self::among(&available.into_iter().map(|core| core.id).collect::<Vec<_>>(), wanted, workers)
    }

    /// The first CPU that this process may use.
    ///
    /// # Errors
    ///
    /// When the kernel names none.
    pub fn first() -> Result<usize, String> {
        let available = core_affinity::get_core_ids().unwrap_or_default();
        available.first().map(|core| core.id).ok_or_else(|| "there is no CPU".to_owned())
    }

    fn among(available: &[usize], wanted: &[usize], workers: usize) -> Result<Self, String> {
        if let Some(missing) = wanted.iter().find(|cpu| !available.contains(cpu)) {
            return Err(format!("CPU {missing} is not available; there are {available:?}"));
        }
        let from = if wanted.is_empty() { available } else { wanted };
        match from.len().checked_sub(workers) {
            // The last, as the kernel's own work prefers the first.
            Some(skip) => Ok(Self(from[skip..].to_vec())),
            None => Err(format!("{workers} workers need as many CPUs; there are {from:?}")),
        }
    }

    /// The calling thread, for ports that must be used by it.
    pub fn here() -> Self {
        Self(Vec::new())
    }

    /// The CPUs.
    pub fn cpus(&self) -> &[usize] {
        &self.0
    }

    /// Runs `job` for every lane at the same time, each on its CPU, and gives what comes out.
    ///
    /// # Panics
    /// When a job does.
    pub fn run<L: Send, R: Send>(
        &self,
        lanes: &mut [L],
        job: impl Fn(&mut L) -> R + Sync,
    ) -> Vec<R> {
        if self.0.is_empty() {
            return lanes.iter_mut().map(job).collect();
        }
        self.run_beside(lanes, job, |_| ()).0
    }

    /// The same, and runs `beside` meanwhile on the calling thread, which is told when the jobs have
    /// ended. It keeps away from the jobs' CPUs if there is another one.
    ///
    /// # Panics
    /// When a job does.
    pub fn run_beside<L: Send, R: Send, B>(
        &self,
        lanes: &mut [L],
        job: impl Fn(&mut L) -> R + Sync,
        beside: impl FnOnce(&AtomicBool) -> B,
    ) -> (Vec<R>, B) {
        let jobs = Jobs { running: AtomicUsize::new(lanes.len()), ended: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            let threads: Vec<_> = lanes
                .iter_mut()
                .zip(&self.0)
                .map(|(lane, cpu)| {
                    let (job, jobs) = (&job, &jobs);
                    scope.spawn(move || {
                        let _running = Running(jobs);
                        core_affinity::set_for_current(CoreId { id: *cpu });
                        job(lane)
                    })
                })
                .collect();
            let aside = beside(&jobs.ended);
            let results =
                threads.into_iter().map(|thread| thread.join().expect("a worker panicked"));
            (results.collect(), aside)
        })
    }

    /// Puts the calling thread on a CPU that no worker has; false if there is none.
    pub fn step_aside(&self) -> bool {
        let available = core_affinity::get_core_ids().unwrap_or_default();
        let free = available.into_iter().find(|core| !self.0.contains(&core.id));
        free.is_some_and(core_affinity::set_for_current)
    }
}

/// The jobs that are at work.
struct Jobs {
    running: AtomicUsize,
    ended: AtomicBool,
}

/// One of them; it ends with this, even by a panic.
struct Running<'a>(&'a Jobs);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.ended.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_last_cpus() {
        assert_eq!(Cores::among(&[0, 1, 2], &[], 2), Ok(Cores(vec![1, 2])));
        assert_eq!(Cores::among(&[0, 1, 2], &[0], 1), Ok(Cores(vec![0])));
        assert!(Cores::among(&[0, 1], &[7], 1).unwrap_err().contains("CPU 7"));
        assert!(Cores::among(&[0, 1], &[], 3).unwrap_err().contains("3 workers"));
    }

    #[test]
    fn every_lane_runs() {
        let cores = Cores::choose(&[], 1).unwrap();
        let mut lanes = [41];
        assert_eq!(cores.run(&mut lanes, |lane| std::mem::replace(lane, 42)), [41]);
        assert_eq!(lanes, [42]);
        let (results, aside) = cores.run_beside(
            &mut lanes,
            |lane| *lane + 1,
            |ended| {
                while !ended.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                "ended"
            },
        );
        assert_eq!((results, aside), (vec![43], "ended"));
        let caller = std::thread::current().id();
        assert_eq!(Cores::here().run(&mut [()], |()| std::thread::current().id()), [caller]);
    }
}
