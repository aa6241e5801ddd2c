//! A limit per second, counted anew in each of the worker's one-second ticks: around a tick up to
//! twice the limit may pass within a second.

/// Allows so many per second.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    per_second: u32,
    used: u32,
    tick_s: u32,
}

impl RateLimit {
    /// `per_second` per tick.
    pub const fn new(per_second: u32) -> Self {
        Self { per_second, used: 0, tick_s: 0 }
    }

    /// True when one more is allowed in this second, which it uses up.
    #[inline]
    pub fn allow(&mut self, tick_s: u32) -> bool {
        if tick_s != self.tick_s {
            self.tick_s = tick_s;
            self.used = 0;
        }
        let ok = self.used < self.per_second;
        self.used += u32::from(ok);
        ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refills_each_second() {
        let mut limit = RateLimit::new(2);
        assert_eq!([limit.allow(5), limit.allow(5), limit.allow(5)], [true, true, false]);
        assert!(limit.allow(6));
    }
}
