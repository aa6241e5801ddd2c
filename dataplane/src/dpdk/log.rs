//! What EAL and the drivers have to say: line by line to the daemon's log, instead of to standard
//! error and syslog; and kept, so that a failed start can quote the reason.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, Once, PoisonError};

use crate::dpdk::error::DpdkError;

/// Receives one line, without its line end.
pub type Sink = fn(&str);

/// Lines kept until there is a sink.
const KEPT_LINES: usize = 64;
/// Longest line; the rest of a longer one comes as a line of its own.
const LINE_MAX: usize = 1024;

struct Lines {
    sink: Option<Sink>,
    /// Keep lines although there is a sink.
    held: bool,
    kept: VecDeque<String>,
    partial: Vec<u8>,
}

// Only start-up, control and a driver in trouble write here; DPDK itself locks its stream for that.
static LINES: Mutex<Lines> =
    Mutex::new(Lines { sink: None, held: false, kept: VecDeque::new(), partial: Vec::new() });

impl Lines {
    /// Takes bytes in and returns the lines they complete.
    fn complete(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.partial.push(byte);
            }
            if byte == b'\n' || self.partial.len() == LINE_MAX {
                let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
                self.partial.clear();
                if !line.is_empty() {
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// Keeps lines for which there is no sink yet; the oldest give way.
    fn keep(&mut self, lines: Vec<String>) {
        for line in lines {
            if self.kept.len() == KEPT_LINES {
                self.kept.pop_front();
            }
            self.kept.push_back(line);
        }
    }
}

fn write(bytes: &[u8]) {
    let mut state = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = state.complete(bytes);
    let sink = state.sink.filter(|_| !state.held);
    let Some(sink) = sink else { return state.keep(lines) };
    // The sink may be slow, or log through DPDK itself.
    drop(state);
    for line in &lines {
        sink(line);
    }
}

extern "C" fn write_callback(_: *mut c_void, bytes: *const c_char, len: usize) -> i64 {
    // SAFETY: stdio passes `len` readable bytes.
    write(unsafe { std::slice::from_raw_parts(bytes.cast(), len) });
    len as i64
}

/// Sends all lines to `sink` from now on, those kept so far first.
pub fn set_sink(sink: Sink) {
    let mut state = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    state.sink = Some(sink);
    let kept = std::mem::take(&mut state.kept);
    drop(state);
    for line in kept {
        sink(&line);
    }
}

/// Keeps lines instead of passing them on, until [`release`].
pub(super) fn hold() {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).held = true;
}

/// Ends [`hold`] and returns what was kept. With `deliver` the lines go to the sink too, or stay
/// for the one to come.
pub(super) fn release(deliver: bool) -> Vec<String> {
    let mut state = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    state.held = false;
    let said: Vec<String> = state.kept.iter().cloned().collect();
    let sink = state.sink;
    if sink.is_some() || !deliver {
        state.kept.clear();
    }
    drop(state);
    if let Some(sink) = sink.filter(|_| deliver) {
        said.iter().for_each(|line| sink(line));
    }
    said
}

/// Writes a line of our own beside those of DPDK.
pub(super) fn note(line: &str) {
    write(format!("{line}\n").as_bytes());
}

/// Makes DPDK write here. The stream lives as long as the process: DPDK may log until its end.
pub(super) fn capture() -> Result<(), DpdkError> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| result = open_stream());
    result
}

fn open_stream() -> Result<(), DpdkError> {
    let action = "redirecting the log of DPDK";
    let functions = dpdk_sys::cookie_io_functions_t {
        write: Some(write_callback),
        ..dpdk_sys::cookie_io_functions_t::default()
    };
    // SAFETY: the mode is a valid string; the callback needs no cookie, and a missing close callback
    // means that there is nothing to close.
    let stream = unsafe { dpdk_sys::fopencookie(std::ptr::null_mut(), c"w".as_ptr(), functions) };
    if stream.is_null() {
        return Err(DpdkError::because(action, "out of memory"));
    }
    // SAFETY: the stream is open and never closed.
    let status: c_int = unsafe { dpdk_sys::rte_openlog_stream(stream) };
    DpdkError::check(status, || action.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        Lines { sink: None, held: false, kept: VecDeque::new(), partial: Vec::new() }
    }

    #[test]
    fn lines_are_put_together() {
        let mut lines = lines();
        assert_eq!(lines.complete(b"EAL: no"), [""; 0]);
        assert_eq!(lines.complete(b" pages\n\nnext \nrest"), ["EAL: no pages", "next"]);
        assert_eq!(lines.complete(b"\n"), ["rest"]);
    }

    #[test]
    fn length_and_number_are_bounded() {
        let mut lines = lines();
        let completed = lines.complete(&[b'x'; 3 * LINE_MAX]);
        assert_eq!(completed.len(), 3);
        for n in 0..100 {
            lines.keep(vec![n.to_string()]);
        }
        assert_eq!(lines.kept.len(), KEPT_LINES);
        assert_eq!(lines.kept.back().unwrap(), "99");
    }
}
