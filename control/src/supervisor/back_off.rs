//! How long to wait before the daemon is started again.

use std::time::Duration;

/// The first wait that is not none.
const FIRST: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST: Duration = Duration::from_secs(10);
/// A daemon that ran for so long had started well.
const GOOD: Duration = Duration::from_secs(60);

/// Waits that grow while the daemon keeps ending.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    next: Duration,
}

impl BackOff {
    /// The wait after a daemon that ran for so long: none for the first time, then twice as long
    /// each time, up to ten seconds; none again after one that ran for a minute.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= GOOD {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = (wait * 2).clamp(FIRST, LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_begin_anew_after_a_minute() {
        let mut waits = BackOff::default();
        let short = Duration::from_secs(59);
        let seen: Vec<_> = (0..8).map(|_| waits.after(short).as_millis()).collect();
        assert_eq!(seen, [0, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(waits.after(GOOD), Duration::ZERO);
        assert_eq!(waits.after(short), FIRST);
    }
}
