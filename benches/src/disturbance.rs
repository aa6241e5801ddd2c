//! [`Disturbance`]: tells whether the thread was taken off its CPU.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The kernel's count of the times a thread was put on a CPU.
#[derive(Debug)]
pub struct Disturbance {
    file: Option<File>,
    seen: Option<u64>,
}

impl Disturbance {
    /// Watches the calling thread.
    pub fn of_this_thread() -> Self {
        let file = File::open("/proc/thread-self/schedstat").ok();
        let mut new = Self { file, seen: None };
        new.seen = new.read();
        new
    }

    /// Can it be told at all? Kernels without scheduler statistics do not say.
    pub fn is_known(&self) -> bool {
        self.seen.is_some()
    }

    /// True when the thread was off its CPU since the last call, as far as that is known.
    pub fn happened(&mut self) -> bool {
        let now = self.read();
        let happened = now != self.seen;
        self.seen = now;
        happened
    }

    fn read(&self) -> Option<u64> {
        let mut text = [0; 128];
        let len = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        times(std::str::from_utf8(&text[..len]).ok()?)
    }
}

/// The third number: nanoseconds on a CPU, nanoseconds waiting for one, times put on one.
fn times(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_is_read() {
        assert_eq!(times("123 456 789\n"), Some(789));
        assert_eq!(times("0 0 0\n"), Some(0));
        assert_eq!(times(""), None);
        assert_eq!(times("1 2"), None);
    }

    #[test]
    fn a_nap_is_noticed() {
        let mut disturbance = Disturbance::of_this_thread();
        if disturbance.is_known() {
            std::thread::sleep(std::time::Duration::from_millis(1));
            assert!(disturbance.happened());
        }
    }
}
