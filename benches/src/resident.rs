//! Memory that the process has in use.

/// Memory of this process that is in RAM, reserved hugepages included, in bytes; 0 where the kernel does
/// not say.
pub(crate) fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    resident_kib(&text) * 1024
}

/// The kernel counts hugepages apart (proc(5)).
fn resident_kib(status: &str) -> u64 {
    let of = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let counts = matches!(name, "VmRSS" | "HugetlbPages");
        value.trim().strip_suffix(" kB").filter(|_| counts)?.parse::<u64>().ok()
    };
    status.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_written_is_resident() {
        let status = "VmPeak:\t  90 kB\nVmRSS:\t    7 kB\nThreads:\t1\nHugetlbPages:\t 2048 kB\n";
        assert_eq!(resident_kib(status), 2055);
        assert_eq!(resident_kib("VmRSS: much"), 0);
        let before = resident_bytes();
        let kept = vec![1_u8; 64 << 20];
        assert!(resident_bytes() >= before + (32 << 20), "{}", kept.len());
    }
}
