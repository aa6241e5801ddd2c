//! [`Pacer`]: when the next packets are due.

/// Turns a rate and the passing of time into packets.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// TSC clocks per second.
    hz: u64,
    /// Packets per second.
    rate: u64,
    last: u64,
    /// Share of a packet that is owed, in packets times `hz`.
    owed: u64,
    /// Clocks that a pause counts at most.
    longest_pause: u64,
    /// Packets that were not sent as a pause was too long.
    skipped: u64,
}

impl Pacer {
    /// Packets come `rate` times per second, beginning at `now` (TSC clocks).
    pub fn new(rate: u64, hz: u64, now: u64) -> Self {
        let (hz, longest_pause) = (hz.max(1), u64::MAX);
        Self { hz, rate, last: now, owed: 0, longest_pause, skipped: 0 }
    }

    /// After a pause longer than `clocks`, what was due before is skipped: it would come as one burst,
    /// which is another load than the rate says.
    #[must_use]
    pub fn skipping_after(self, clocks: u64) -> Self {
        Self { longest_pause: clocks, ..self }
    }

    /// Packets that have become due since the last call.
    #[inline]
    pub fn due(&mut self, now: u64) -> u64 {
        // The clock of another CPU may be behind by some clocks.
        let elapsed = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        let counted = elapsed.min(self.longest_pause);
        if counted < elapsed {
            self.skipped += self.packets(elapsed - counted);
        }
        let owed = u128::from(counted) * u128::from(self.rate) + u128::from(self.owed);
        self.owed = (owed % u128::from(self.hz)) as u64;
        (owed / u128::from(self.hz)) as u64
    }

    fn packets(&self, clocks: u64) -> u64 {
        (u128::from(clocks) * u128::from(self.rate) / u128::from(self.hz)) as u64
    }

    /// Packets that were never due, as pauses were too long.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Begins anew at `now`: nothing is due.
    pub fn restart(&mut self, now: u64) {
        (self.last, self.owed) = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_packets_as_the_rate_says() {
        for (rate, step) in [(1_000, 7), (333, 1_000), (999_999, 13), (1, 1_000_000)] {
            let hz = 1_000_000;
            let mut pacer = Pacer::new(rate, hz, 0);
            let total: u64 = (1..=10 * hz / step).map(|at| pacer.due(at * step)).sum();
            let last = pacer.due(10 * hz);
            assert_eq!(total + last, 10 * rate, "{rate} every {step}");
        }
    }

    #[test]
    fn a_long_pause_is_no_burst() {
        let mut pacer = Pacer::new(1_000_000, 1_000_000_000, 0).skipping_after(1_000_000);
        assert_eq!(pacer.due(500_000), 500);
        assert_eq!(pacer.due(500_000 + 10_000_000), 1_000);
        assert_eq!(pacer.skipped(), 9_000);
        let mut patient = Pacer::new(1_000_000, 1_000_000_000, 0);
        assert_eq!((patient.due(10_000_000), patient.skipped()), (10_000, 0));
    }

    #[test]
    fn a_clock_that_jumps_back_makes_no_packets() {
        let mut pacer = Pacer::new(1_000, 1_000, 100);
        assert_eq!((pacer.due(50), pacer.due(100), pacer.due(103)), (0, 0, 3));
        pacer.restart(1_000);
        assert_eq!((pacer.due(1_000), pacer.due(1_001)), (0, 1));
    }
}
