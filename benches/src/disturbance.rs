//! [`Disturbance`]: tells whether the thread was taken off its CPU.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Ticks of `/proc/stat` per second (USER_HZ, which is 100 on x86).
const TICKS_PER_SECOND: u64 = 100;

/// Milliseconds that the hypervisor took from all CPUs since the start, as far as it says; in steps of
/// 10.
pub fn stolen_ms() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    stolen_ticks(&text).map(|ticks| ticks * 1000 / TICKS_PER_SECOND)
}

/// The eighth number of the first line (proc(5)).
fn stolen_ticks(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    line.split_ascii_whitespace().nth(7)?.parse().ok()
}

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
    fn stolen_time_is_read() {
        let text = "cpu  1 2 3 4 5 6 7 89 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(stolen_ticks(text), Some(89));
        assert_eq!(stolen_ticks("cpu 1 2\n"), None);
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
