//! How the daemon ended, and what follows from it.

use std::fmt::{self, Display, Formatter};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

/// Exit status of a daemon whose configuration or command line is wrong, so that another start would
/// end the same.
pub const WRONG_CONFIGURATION: u8 = 1;
/// What the parser of the command line exits with.
const WRONG_USAGE: i32 = 2;
/// Exit status of a daemon that failed otherwise: another start may help.
pub const FAILED: u8 = 75;

/// How a daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End(pub(super) ExitStatus);

impl End {
    /// Whether another start may do better.
    pub(super) fn is_abnormal(self) -> bool {
        let final_codes = [Some(0), Some(i32::from(WRONG_CONFIGURATION)), Some(WRONG_USAGE)];
        !final_codes.contains(&self.0.code())
    }

    /// What the supervisor exits with when it ends with this daemon, as a shell would.
    pub(super) fn code(self) -> u8 {
        let signal = || 128 + self.0.signal().unwrap_or_default();
        self.0.code().unwrap_or_else(signal) as u8
    }
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(0), _) => f.write_str("ended"),
            (Some(code), _) => write!(f, "failed with exit code {code}"),
            (None, Some(number)) => {
                match Signal::try_from(number) {
                    Ok(signal) => write!(f, "was killed by {signal}")?,
                    Err(_) => write!(f, "was killed by signal {number}")?,
                }
                if self.0.core_dumped() { f.write_str(" (core dumped)") } else { Ok(()) }
            }
            (None, None) => write!(f, "ended with {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_and_failures_are_abnormal_and_wrong_configuration_is_not() {
        let code = |code: i32| End(ExitStatus::from_raw(code << 8));
        let signal = |signal: Signal| End(ExitStatus::from_raw(signal as i32));
        assert!(!code(0).is_abnormal() && !code(1).is_abnormal() && !code(2).is_abnormal());
        assert!(code(101).is_abnormal() && code(i32::from(FAILED)).is_abnormal());
        assert!(signal(Signal::SIGKILL).is_abnormal() && signal(Signal::SIGABRT).is_abnormal());
        assert_eq!(signal(Signal::SIGKILL).to_string(), "was killed by SIGKILL");
        assert_eq!(
            End(ExitStatus::from_raw(0x86)).to_string(),
            "was killed by SIGABRT (core dumped)"
        );
        assert_eq!(code(75).to_string(), "failed with exit code 75");
        assert_eq!((signal(Signal::SIGKILL).code(), code(1).code()), (137, 1));
    }
}
