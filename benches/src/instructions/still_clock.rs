//! [`StillClock`]: time that stands still, so that every run does the same.

use dataplane::clock::{Clock, Now};

/// A clock that shows one second for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct StillClock {
    /// The second that it shows.
    pub(super) tick_s: u32,
}

impl Clock for StillClock {
    #[inline]
    fn now(&mut self) -> Now {
        Now { tsc: 0, tick_s: self.tick_s }
    }

    #[inline]
    fn tsc(&self) -> u64 {
        0
    }
}
