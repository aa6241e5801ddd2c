//! [`VirtualClock`]: time that passes when the test says so.

use dataplane::clock::{Clock, Now};

/// TSC clocks per second of virtual time.
pub const TSC_HZ: u64 = 1_000_000_000;

/// A clock that stands still until it is moved.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    now: Now,
}

impl VirtualClock {
    /// A clock at this second.
    pub fn at(tick_s: u32) -> Self {
        Self { now: Now { tsc: u64::from(tick_s) * TSC_HZ, tick_s } }
    }

    /// Lets seconds pass.
    pub fn advance(&mut self, seconds: u32) {
        self.now.tick_s = self.now.tick_s.wrapping_add(seconds);
        self.now.tsc = self.now.tsc.wrapping_add(u64::from(seconds) * TSC_HZ);
    }
}

impl Clock for VirtualClock {
    fn now(&mut self) -> Now {
        self.now
    }

    fn tsc(&self) -> u64 {
        self.now.tsc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_when_told() {
        let mut clock = VirtualClock::at(u32::MAX);
        assert_eq!(clock.now(), clock.now());
        clock.advance(2);
        assert_eq!(clock.now().tick_s, 1);
    }
}
