//! What DPDK refuses, in words.

use std::ffi::CStr;

/// A DPDK call that failed: what was attempted and why it was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {reason}")]
pub struct DpdkError {
    /// What was attempted, for example `starting port GigabitEthernet0/9/0`.
    pub action: String,
    /// DPDK's text for the error number.
    pub reason: String,
}

impl DpdkError {
    /// From a positive or negative error number.
    pub fn from_errno(action: impl Into<String>, errno: i32) -> Self {
        if errno == 0 {
            // "Success" would be a strange reason.
            return Self::because(action, "refused without an error number");
        }
        // SAFETY: rte_strerror returns a NUL-terminated string for any number, in a per-thread
        // buffer that stays valid until its next call on this thread; it is copied at once.
        let reason = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(errno.abs())) };
        Self { action: action.into(), reason: reason.to_string_lossy().into_owned() }
    }

    /// From the calling thread's `rte_errno`.
    pub fn last(action: impl Into<String>) -> Self {
        // SAFETY: reads a thread-local integer.
        Self::from_errno(action, unsafe { dpdk_sys::shim_errno() })
    }

    /// With a reason of our own.
    pub fn because(action: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { action: action.into(), reason: reason.into() }
    }

    /// The same refusal under another action, with what DPDK logged and the arguments it was given.
    pub(super) fn with_details(self, action: &str, arguments: &[String], said: &[String]) -> Self {
        let mut reason = self.reason;
        if !said.is_empty() {
            reason.push_str(&format!("; DPDK said: {}", said.join(" / ")));
        }
        reason.push_str(&format!("; its arguments: {}", arguments.join(" ")));
        Self { action: action.into(), reason }
    }

    /// Turns a C status (negative: error number) into a result.
    pub(super) fn check(status: i32, action: impl FnOnce() -> String) -> Result<i32, Self> {
        if status < 0 { Err(Self::from_errno(action(), status)) } else { Ok(status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_action_and_the_errno() {
        let error = DpdkError::from_errno("opening port x", -libc::ENODEV);
        assert_eq!(error.to_string(), "opening port x: No such device");
    }

    #[test]
    fn a_refusal_is_never_called_success() {
        let error = DpdkError::from_errno("opening port x", 0);
        assert_eq!(error.to_string(), "opening port x: refused without an error number");
    }

    #[test]
    fn quotes_what_dpdk_said() {
        let said = ["EAL: bad".to_owned(), "EAL: worse".to_owned()];
        let error = DpdkError::because("y", "No such device");
        assert_eq!(
            error.with_details("starting", &["--no-pci".into()], &said).to_string(),
            "starting: No such device; DPDK said: EAL: bad / EAL: worse; its arguments: --no-pci"
        );
    }
}
