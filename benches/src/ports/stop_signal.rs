//! [`StopSignal`]: lets a run end cleanly when somebody interrupts it.

use std::sync::atomic::{AtomicBool, Ordering};

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    STOPPED.store(true, Ordering::Relaxed);
}

/// Proof that signals are caught.
#[derive(Clone, Copy, Debug)]
pub struct StopSignal(());

impl StopSignal {
    /// From now on SIGINT, SIGTERM and SIGHUP are remembered instead of ending the process.
    pub fn catch() -> Self {
        let handler: extern "C" fn(libc::c_int) = note;
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the handler stores to an atomic variable, which a signal handler may.
            unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        }
        Self(())
    }

    /// Has there been one?
    pub fn came(self) -> bool {
        STOPPED.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_remembered() {
        let stop = StopSignal::catch();
        assert!(!stop.came());
        // SAFETY: the signal is caught.
        unsafe { libc::raise(libc::SIGHUP) };
        assert!(stop.came());
        STOPPED.store(false, Ordering::Relaxed);
    }
}
