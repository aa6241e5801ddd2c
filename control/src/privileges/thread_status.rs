//! What the kernel says of a thread's privileges.

use std::io;

/// The part of `/proc/PID/task/TID/status` (proc(5)) that is about privileges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadStatus {
    /// Effective user.
    pub(super) uid: u32,
    /// Masks of capabilities.
    pub(super) inheritable: u64,
    pub(super) permitted: u64,
    pub(super) effective: u64,
    pub(super) ambient: u64,
    /// Executing a program gains nothing.
    pub(super) no_new_privileges: bool,
    /// A filter of system calls is in force.
    pub(super) filtered: bool,
}

impl ThreadStatus {
    /// The calling process's first thread.
    pub(super) fn of_process() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/status")?))
    }

    /// Every thread of this process, with its name.
    pub(super) fn of_threads() -> io::Result<Vec<(String, Self)>> {
        let mut threads = Vec::new();
        for task in std::fs::read_dir("/proc/self/task")? {
            // A thread that ended meanwhile has no privileges.
            let Ok(text) = std::fs::read_to_string(task?.path().join("status")) else { continue };
            let name = text.lines().next().and_then(|line| line.strip_prefix("Name:"));
            threads.push((name.unwrap_or_default().trim().to_owned(), Self::parse(&text)));
        }
        Ok(threads)
    }

    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim()
        };
        let mask = |name| u64::from_str_radix(field(name), 16).unwrap_or(u64::MAX);
        Self {
            // Real, effective, saved, and that of files.
            uid: field("Uid").split('\t').nth(1).and_then(|uid| uid.parse().ok()).unwrap_or(0),
            inheritable: mask("CapInh"),
            permitted: mask("CapPrm"),
            effective: mask("CapEff"),
            ambient: mask("CapAmb"),
            no_new_privileges: field("NoNewPrivs") == "1",
            filtered: field("Seccomp") == "2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_understood_and_what_is_missing_counts_as_kept() {
        let text = "Name:\tx\nUid:\t1\t2\t3\t4\nCapInh:\t0000000000000000\nCapPrm:\t0000000000006000\n\
                    CapEff:\t0000000000004000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let expected = ThreadStatus {
            uid: 2,
            inheritable: 0,
            permitted: 0x6000,
            effective: 0x4000,
            ambient: 0,
            no_new_privileges: true,
            filtered: true,
        };
        assert_eq!(ThreadStatus::parse(text), expected);
        let nothing = ThreadStatus::parse("");
        assert_eq!((nothing.permitted, nothing.no_new_privileges), (u64::MAX, false));
    }
}
