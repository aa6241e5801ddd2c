//! How many of something there may be in one second.

/// How many of something there were in the present second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    second: u32,
    count: u32,
}

impl Rate {
    /// Counts one more; false when there were `limit` already.
    pub(super) fn allows(&mut self, now_s: u32, limit: u32) -> bool {
        if self.second != now_s {
            *self = Self { second: now_s, count: 0 };
        }
        let allowed = self.count < limit;
        self.count += u32::from(allowed);
        allowed
    }
}
