//! [`BenchClock`]: real time that can be made to jump.

use dataplane::clock::{Clock, Now, TscClock};

/// The CPU's clock, with seconds added to it.
#[derive(Debug)]
pub struct BenchClock {
    clock: TscClock,
    skipped_s: u32,
}

impl BenchClock {
    /// A clock whose second 0 is `start` (TSC clocks), with `hz` TSC clocks per second.
    pub fn new(start: u64, hz: u64) -> Self {
        Self { clock: TscClock::new(start, hz), skipped_s: 0 }
    }

    /// Skips seconds, so that flows expire.
    pub fn skip(&mut self, seconds: u32) {
        self.skipped_s = self.skipped_s.wrapping_add(seconds);
    }
}

impl Clock for BenchClock {
    #[inline]
    fn now(&mut self) -> Now {
        let now = self.clock.now();
        Now { tick_s: now.tick_s.wrapping_add(self.skipped_s), ..now }
    }

    #[inline]
    fn tsc(&self) -> u64 {
        self.clock.tsc()
    }
}

#[cfg(test)]
mod tests {
    use dataplane::clock::read_tsc;

    use super::*;

    #[test]
    fn skips_seconds() {
        let mut clock = BenchClock::new(read_tsc(), u64::MAX / 2);
        assert_eq!(clock.now().tick_s, 0);
        clock.skip(100);
        assert_eq!(clock.now().tick_s, 100);
        assert!(clock.tsc() > 0);
    }
}
