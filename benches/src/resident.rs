//! Memory that the process has in use.

/// Bytes of a page of `/proc/self/statm` (x86-64).
const PAGE: u64 = 4096;

/// Resident memory of this process, in bytes; 0 where the kernel does not say.
pub(crate) fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    resident_pages(&text).unwrap_or(0) * PAGE
}

/// The second number (proc(5)).
fn resident_pages(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_written_is_resident() {
        assert_eq!(resident_pages("10 7 3 1 0 2 0\n"), Some(7));
        assert_eq!(resident_pages("x"), None);
        let before = resident_bytes();
        let kept = vec![1_u8; 64 << 20];
        assert!(resident_bytes() >= before + (32 << 20), "{}", kept.len());
    }
}
