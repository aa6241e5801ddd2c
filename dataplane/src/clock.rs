//! Time as workers see it: read once per turn and handed down, so that a run can be replayed.

/// The time of one worker turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Timestamp counter, in TSC clocks.
    pub tsc: u64,
    /// Seconds since the worker started; the unit of flow timeouts.
    pub tick_s: u32,
}

/// A source of [`Now`].
pub trait Clock: Send {
    /// The present.
    fn now(&mut self) -> Now;
    /// Only the timestamp counter, for the cycle accounting of nodes.
    fn tsc(&self) -> u64;
}

/// The CPU's timestamp counter.
#[derive(Debug)]
pub struct TscClock {
    start: u64,
    second: u64,
    tick_s: u32,
    /// TSC clocks from the start to the next tick.
    next_tick: u64,
}

impl TscClock {
    /// A clock whose tick 0 is `start` (TSC clocks), ticking every `hz` TSC clocks. All workers of a
    /// process get the same `start`, so that their ticks agree.
    pub fn new(start: u64, hz: u64) -> Self {
        let second = hz.max(1);
        Self { start, second, tick_s: 0, next_tick: second }
    }

    /// The time when the counter shows `tsc`. It may pass 2^64 on its way; where it goes back (a
    /// virtual machine that moved), the seconds stand still until it is there again.
    #[inline]
    fn at(&mut self, tsc: u64) -> Now {
        let passed = tsc.wrapping_sub(self.start);
        if passed >= self.next_tick && passed < 1 << 63 {
            let seconds = passed / self.second;
            self.tick_s = seconds as u32;
            self.next_tick = (seconds + 1).saturating_mul(self.second);
        }
        Now { tsc, tick_s: self.tick_s }
    }
}

impl Clock for TscClock {
    #[inline]
    fn now(&mut self) -> Now {
        let tsc = self.tsc();
        self.at(tsc)
    }

    #[inline]
    fn tsc(&self) -> u64 {
        read_tsc()
    }
}

/// Reads the timestamp counter. Not for every packet: it takes longer than parsing one.
#[inline]
pub fn read_tsc() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 CPU and has no operands.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_pass_where_the_counter_wraps() {
        // Two and a half seconds before 2^64.
        let start = 0_u64.wrapping_sub(2_500);
        let mut clock = TscClock::new(start, 1_000);
        let seconds = |clock: &mut TscClock, passed: u64| {
            let tsc = start.wrapping_add(passed);
            assert_eq!(clock.at(tsc).tsc, tsc);
            clock.at(tsc).tick_s
        };
        // The last one before comes again after, and none is left out on the way.
        for passed in [0, 999, 1_000, 1_999, 2_000, 2_499, 2_500, 2_999, 3_000, 9_999, 10_000] {
            assert_eq!(seconds(&mut clock, passed), (passed / 1_000) as u32);
        }
        // Over it in one leap.
        let mut clock = TscClock::new(start, 1_000);
        assert_eq!(seconds(&mut clock, 2_400), 2);
        assert_eq!(seconds(&mut clock, 7_100), 7);
    }

    #[test]
    fn a_counter_that_goes_back_stops_the_seconds_and_no_more() {
        let mut clock = TscClock::new(50_000, 1_000);
        assert_eq!(clock.at(60_000).tick_s, 10);
        for tsc in [59_999, 55_000, 50_000, 49_999, 0] {
            assert_eq!(clock.at(tsc).tick_s, 10);
        }
        assert_eq!(clock.at(60_999).tick_s, 10);
        assert_eq!(clock.at(61_000).tick_s, 11);
    }

    #[test]
    fn seconds_wrap_at_2_to_the_32() {
        let mut clock = TscClock::new(7, 1_000);
        let last = u64::from(u32::MAX);
        assert_eq!(clock.at(7 + last * 1_000).tick_s, u32::MAX);
        assert_eq!(clock.at(7 + (last + 1) * 1_000).tick_s, 0);
        assert_eq!(clock.at(7 + (last + 2) * 1_000).tick_s, 1);
    }

    #[test]
    fn tsc_clock_advances_and_ticks() {
        let mut clock = TscClock::new(read_tsc(), 1_000);
        let first = clock.now();
        while clock.now().tick_s < first.tick_s + 2 {}
        assert!(clock.now().tsc > first.tsc);
    }
}
