//! Runs each worker on a CPU of its own.

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
        std::thread::scope(|scope| {
            let threads: Vec<_> = lanes
                .iter_mut()
                .zip(&self.0)
                .map(|(lane, cpu)| {
                    let job = &job;
                    scope.spawn(move || {
                        core_affinity::set_for_current(CoreId { id: *cpu });
                        job(lane)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a worker panicked")).collect()
        })
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
        let caller = std::thread::current().id();
        assert_eq!(Cores::here().run(&mut [()], |()| std::thread::current().id()), [caller]);
    }
}
