//! [`TurnGaps`]: how long a worker is away from its queues between the ends of two turns.

use dataplane::clock::read_tsc;

use crate::disturbance::Disturbance;
use crate::histogram::Histogram;

/// Gaps longer than this share of a second (10 µs) are looked into: nothing takes a thread off its CPU
/// and puts it back in less.
const SUSPICIOUS_SHARE: u64 = 100_000;

/// The gaps of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnGaps {
    /// TSC clocks of gaps during which the thread was on its CPU.
    pub clocks: Histogram,
    /// Gaps during which the kernel took the thread off its CPU; their lengths are not counted.
    pub switched: u64,
}

impl TurnGaps {
    /// Adds another worker's, or another time's.
    pub fn merge(&mut self, other: &Self) {
        self.clocks.merge(&other.clocks);
        self.switched += other.switched;
    }
}

/// Watches the turns of the calling thread.
#[derive(Debug)]
pub struct GapWatch {
    gaps: TurnGaps,
    disturbance: Disturbance,
    suspicious: u64,
    last_end: u64,
}

impl GapWatch {
    /// `hz` is the TSC's.
    pub fn new(hz: u64) -> Self {
        let (mut gaps, disturbance) = (TurnGaps::default(), Disturbance::of_this_thread());
        gaps.clocks.make_room();
        Self { gaps, disturbance, suspicious: hz / SUSPICIOUS_SHARE, last_end: read_tsc() }
    }

    /// Says that the bench itself was at work: the next gap begins now.
    pub fn restart(&mut self) {
        self.disturbance.happened();
        self.last_end = read_tsc();
    }

    /// Says that a turn has ended at `now` (TSC clocks).
    #[inline]
    pub fn turn_ended(&mut self, now: u64) {
        let gap = now.wrapping_sub(self.last_end);
        self.last_end = now;
        if gap < self.suspicious {
            self.gaps.clocks.add(gap);
        } else {
            self.look_into(gap);
        }
    }

    #[cold]
    fn look_into(&mut self, gap: u64) {
        if self.disturbance.happened() {
            self.gaps.switched += 1;
        } else {
            self.gaps.clocks.add(gap);
        }
        // Asking the kernel took some time too.
        self.last_end = read_tsc();
    }

    /// What was seen.
    pub fn into_gaps(self) -> TurnGaps {
        self.gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_between_ends_of_turns() {
        let mut watch = GapWatch::new(u64::MAX);
        let start = watch.last_end;
        for end in [100, 250, 1250] {
            watch.turn_ended(start + end);
        }
        let gaps = watch.into_gaps();
        assert_eq!((gaps.clocks.count(), gaps.clocks.quantile(1.0), gaps.switched), (3, 1000, 0));
    }

    #[test]
    fn a_nap_is_counted_apart() {
        // Every gap is suspicious.
        let mut watch = GapWatch::new(0);
        watch.restart();
        std::thread::sleep(std::time::Duration::from_millis(1));
        watch.turn_ended(read_tsc());
        if Disturbance::of_this_thread().is_known() {
            let gaps = watch.into_gaps();
            assert_eq!((gaps.switched, gaps.clocks.count()), (1, 0));
        }
    }

    #[test]
    fn merged_gaps_are_those_of_both() {
        let mut one = TurnGaps { switched: 1, ..TurnGaps::default() };
        one.clocks.add(5);
        let mut both = one.clone();
        both.merge(&one);
        assert_eq!((both.switched, both.clocks.count()), (2, 2));
    }
}
