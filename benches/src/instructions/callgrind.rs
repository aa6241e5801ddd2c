//! Requests to Callgrind, under which the program may run: when to count, and a name for the count.
//!
//! They are a sequence of instructions that does nothing on a CPU and that Valgrind recognises
//! (`valgrind.h`, `callgrind.h`; the Valgrind manual, "The Client Request mechanism"). So counting
//! begins and ends exactly where the program says, whatever the compiler inlines.

use std::ffi::{CStr, CString};

/// `VG_USERREQ_TOOL_BASE('C','T')`, the first of Callgrind's own requests.
const CALLGRIND: u64 = (b'C' as u64) << 24 | (b'T' as u64) << 16;
/// `VG_USERREQ__TOGGLE_COLLECT`.
const TOGGLE_COLLECT: u64 = CALLGRIND + 2;
/// `VG_USERREQ__DUMP_STATS_AT`.
const DUMP_STATS_AT: u64 = CALLGRIND + 3;
/// `VG_USERREQ__START_INSTRUMENTATION`.
const START_INSTRUMENTATION: u64 = CALLGRIND + 4;
/// `VG_USERREQ__STOP_INSTRUMENTATION`.
const STOP_INSTRUMENTATION: u64 = CALLGRIND + 5;

/// Makes a request; returns the answer, which is 0 outside Valgrind.
#[inline(always)]
fn request(number: u64, argument: u64) -> u64 {
    let arguments: [u64; 6] = [number, argument, 0, 0, 0, 0];
    let mut answer = 0_u64;
    // SAFETY: the four rotations of RDI add up to 128 bits, and so leave it as it was; exchanging
    // RBX with itself does nothing. Valgrind reads the six words that RAX points to and writes RDX.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") answer,
        );
    }
    answer
}

/// From now on code is made ready for counting, which makes it some ten times slower.
fn start() {
    request(START_INSTRUMENTATION, 0);
}

/// Ends what [`start`] began.
fn stop() {
    request(STOP_INSTRUMENTATION, 0);
}

/// Counts from here on, or no longer. Between [`start`] and [`stop`] only; the program starts with
/// counting off (`--collect-atstart=no`).
#[inline(always)]
pub(super) fn toggle() {
    request(TOGGLE_COLLECT, 0);
}

/// Writes what was counted since the last time to a file, under a name, and begins at 0 again.
fn dump(name: &CStr) {
    request(DUMP_STATS_AT, name.as_ptr() as u64);
}

/// Counts what `work` does, and dumps it under a name.
///
/// # Errors
///
/// A name with a zero byte.
pub(super) fn counted<R>(name: &str, work: impl FnOnce() -> R) -> Result<R, String> {
    let name = CString::new(name).map_err(|error| error.to_string())?;
    start();
    toggle();
    let result = work();
    toggle();
    dump(&name);
    stop();
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `VG_USERREQ__RUNNING_ON_VALGRIND`.
    const RUNNING_ON_VALGRIND: u64 = 0x1001;

    #[test]
    fn requests_do_nothing_on_a_cpu() {
        // Unless somebody runs the tests themselves under Valgrind.
        let preloaded = std::env::var("LD_PRELOAD").is_ok_and(|names| names.contains("valgrind"));
        assert_eq!(request(RUNNING_ON_VALGRIND, 0) != 0, preloaded);
        let before: Vec<u64> = (0..16).collect();
        let sum = std::hint::black_box(&before).iter().sum::<u64>();
        start();
        toggle();
        dump(c"nothing");
        toggle();
        stop();
        assert_eq!(std::hint::black_box(&before).iter().sum::<u64>(), sum);
    }
}
