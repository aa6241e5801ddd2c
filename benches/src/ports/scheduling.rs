//! [`Scheduling`]: how long a thread had its CPU to itself.

use std::fs;

use serde::{Deserialize, Serialize};

/// Times per second that a thread may be taken off its CPU before figures of a pair are worthless:
/// the other side goes on meanwhile, and queues run over.
const SWITCHES_PER_SECOND: f64 = 1.0;
/// Share of the time that a thread may wait for its CPU.
const WAIT_SHARE: f64 = 0.001;

/// What the kernel says about a thread, since it began or between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scheduling {
    /// Times it was taken off its CPU against its will.
    pub involuntary_switches: u64,
    /// Nanoseconds it was ready to run and had no CPU.
    pub waited_ns: u64,
    /// Seconds between the two looks.
    pub seconds: f64,
}

impl Scheduling {
    /// The calling thread until now. Kernels without scheduler statistics count no waiting.
    pub fn of_this_thread() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            involuntary_switches: switches(&read("/proc/thread-self/status")),
            waited_ns: waited(&read("/proc/thread-self/schedstat")),
            seconds: 0.0,
        }
    }

    /// What has happened since `before`, `seconds` ago.
    #[must_use]
    pub fn since(self, before: Self, seconds: f64) -> Self {
        Self {
            involuntary_switches: self.involuntary_switches - before.involuntary_switches,
            waited_ns: self.waited_ns.saturating_sub(before.waited_ns),
            seconds,
        }
    }

    /// Share of the time that it waited for a CPU.
    pub fn wait_share(&self) -> f64 {
        if self.seconds > 0.0 { self.waited_ns as f64 / 1e9 / self.seconds } else { 0.0 }
    }

    /// Are figures of a pair valid that were measured meanwhile?
    pub fn is_quiet(&self) -> bool {
        let switches = self.involuntary_switches as f64;
        switches <= (SWITCHES_PER_SECOND * self.seconds).max(1.0) && self.wait_share() <= WAIT_SHARE
    }
}

fn switches(status: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    value.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The second number: nanoseconds waiting for a CPU.
fn waited(schedstat: &str) -> u64 {
    schedstat.split_ascii_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t12\n";
        assert_eq!((switches(status), switches("")), (12, 0));
        assert_eq!((waited("10 20 30\n"), waited("")), (20, 0));
        let here = Scheduling::of_this_thread();
        assert_eq!(here.since(here, 1.0).involuntary_switches, 0);
    }

    #[test]
    fn a_thread_that_often_lost_its_cpu_makes_figures_invalid() {
        let of = |involuntary_switches, waited_ns| Scheduling {
            involuntary_switches,
            waited_ns,
            seconds: 2.0,
        };
        assert!(of(2, 0).is_quiet() && of(0, 2_000_000).is_quiet());
        assert!(!of(3, 0).is_quiet() && !of(0, 2_000_001).is_quiet());
        assert_eq!(of(0, 1_000_000_000).wait_share(), 0.5);
        let short = Scheduling { seconds: 0.1, ..of(1, 0) };
        assert!(short.is_quiet() && !Scheduling { involuntary_switches: 2, ..short }.is_quiet());
    }
}
