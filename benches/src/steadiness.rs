//! How evenly workers run: gaps between turns, and what changes of ASs do to them.

use serde::{Deserialize, Serialize};

use crate::churn::Changes;
use crate::experiment::ModeOutcome;
use crate::histogram::Latency;
use crate::slice::Slice;
use crate::statistics::Range;
use crate::turn_gaps::TurnGaps;

/// Time between the ends of turns, of all workers and repeats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GapResult {
    /// Nanoseconds; without those gaps in which the worker was taken off its CPU.
    pub ns: Latency,
    /// Of these, gaps of more than 50 µs. Those that `io` has too are the machine's: interrupts, and
    /// what the hypervisor does.
    pub over_50_us: u64,
    /// Gaps in which the worker was taken off its CPU.
    pub switched: u64,
    /// Milliseconds that the hypervisor says it took from all CPUs of the machine meanwhile, in steps
    /// of 10. It says nothing on many hosts.
    pub stolen_ms: u64,
}

impl GapResult {
    /// Of everything that was measured of a mode.
    pub fn of(outcome: &ModeOutcome, tsc_hz: f64) -> Self {
        let mut gaps = TurnGaps::default();
        outcome.slices.iter().flatten().for_each(|slice| gaps.merge(&slice.gaps));
        Self {
            ns: gaps.clocks.latency(tsc_hz).unwrap_or_default(),
            over_50_us: gaps.clocks.above((tsc_hz * 50e-6) as u64),
            switched: gaps.switched,
            stolen_ms: outcome.stolen_ms,
        }
    }

    /// One line.
    pub fn text(&self) -> String {
        let us = |ns: f64| ns / 1000.0;
        let Latency { p50, p99, p999, max, .. } = self.ns;
        format!(
            "    turn gaps p50/p99/p99.9/max {:.1}/{:.1}/{:.1}/{:.1} µs; {} of {} above 50 µs; {} with a \
             context switch left out; {} ms stolen\n",
            us(p50),
            us(p99),
            us(p999),
            us(max),
            self.over_50_us,
            self.ns.packets,
            self.switched,
            self.stolen_ms
        )
    }
}

/// What changes of ASs did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChurnResult {
    /// Packets per second, as a share of those without changes in the same repeat.
    pub of_steady: Range,
    /// Changes per second that were made.
    pub per_second: f64,
    /// Milliseconds from command to publication, mean.
    pub mean_ms: f64,
    /// Milliseconds of the slowest change.
    pub slowest_ms: f64,
}

impl ChurnResult {
    /// Of a mode with changes, against the same without.
    pub fn of(outcome: &ModeOutcome, steady: &ModeOutcome) -> Self {
        let Changes { count, seconds, slowest_s, elapsed_s } = outcome.changes;
        let clocks = |slices: &Vec<Slice>| total(slices).clocks_per_packet();
        let pairs = steady.slices.iter().zip(&outcome.slices);
        Self {
            of_steady: Range::of(pairs.map(|(steady, own)| clocks(steady) / clocks(own))),
            per_second: if elapsed_s > 0.0 { count as f64 / elapsed_s } else { 0.0 },
            mean_ms: seconds * 1000.0 / count.max(1) as f64,
            slowest_ms: slowest_s * 1000.0,
        }
    }

    /// One line.
    pub fn text(&self) -> String {
        let Range { min, median, max } = self.of_steady;
        format!(
            "    {median:.3} of the steady rate ({min:.3} to {max:.3}); {:.1} changes/s, each {:.2} ms \
             of control, the slowest {:.2}\n",
            self.per_second, self.mean_ms, self.slowest_ms
        )
    }
}

/// All workers together.
pub fn total(slices: &[Slice]) -> Slice {
    slices.iter().fold(Slice::default(), |all, one| all.plus(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Mode;

    fn outcome(clocks: &[u64], changes: Changes) -> ModeOutcome {
        let slice = |clocks: &u64| {
            let mut gaps = TurnGaps { switched: 1, ..TurnGaps::default() };
            gaps.clocks.add(clocks * 1000);
            vec![Slice { clocks: *clocks, packets: 10, gaps, ..Slice::default() }]
        };
        ModeOutcome {
            mode: Mode::LbNat4,
            churn: 100,
            workers: 1,
            changes,
            received: 0,
            lost: 0,
            latencies: Vec::new(),
            stolen_ms: 30,
            slices: clocks.iter().map(slice).collect(),
            node_names: Vec::new(),
        }
    }

    #[test]
    fn a_slower_repeat_has_a_smaller_share() {
        let changes = Changes { count: 50, seconds: 0.1, slowest_s: 0.004, elapsed_s: 0.5 };
        let steady = outcome(&[100, 100, 200], Changes::default());
        let churn = ChurnResult::of(&outcome(&[125, 200, 200], changes), &steady);
        assert_eq!(churn.of_steady, Range { min: 0.5, median: 0.8, max: 1.0 });
        assert_eq!((churn.per_second, churn.mean_ms, churn.slowest_ms), (100.0, 2.0, 4.0));
        assert!(
            churn.text().contains("0.800 of the steady rate (0.500 to 1.000); 100.0 changes/s")
        );
    }

    #[test]
    fn gaps_of_all_repeats_count() {
        let result = GapResult::of(&outcome(&[100, 300], Changes::default()), 1e9);
        assert_eq!((result.ns.packets, result.ns.max, result.switched), (2, 300_000.0, 2));
        let text = result.text();
        assert!(text.contains("/300.0 µs; 2 of 2 above 50 µs; 2 with a context switch"), "{text}");
        assert!(text.ends_with("left out; 30 ms stolen\n"), "{text}");
    }
}
