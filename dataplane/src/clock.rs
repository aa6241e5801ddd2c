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
    next_tick: u64,
}

impl TscClock {
    /// A clock whose tick 0 is `start` (TSC clocks), ticking every `hz` TSC clocks. All workers of a
    /// process get the same `start`, so that their ticks agree.
    pub fn new(start: u64, hz: u64) -> Self {
        let second = hz.max(1);
        Self { start, second, tick_s: 0, next_tick: start.wrapping_add(second) }
    }
}

impl Clock for TscClock {
    #[inline]
    fn now(&mut self) -> Now {
        let tsc = self.tsc();
        if tsc >= self.next_tick {
            let seconds = tsc.wrapping_sub(self.start) / self.second;
            self.tick_s = seconds as u32;
            self.next_tick = self.start.wrapping_add((seconds + 1).wrapping_mul(self.second));
        }
        Now { tsc, tick_s: self.tick_s }
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
    fn tsc_clock_advances_and_ticks() {
        let mut clock = TscClock::new(read_tsc(), 1_000);
        let first = clock.now();
        while clock.now().tick_s < first.tick_s + 2 {}
        assert!(clock.now().tsc > first.tsc);
    }
}
