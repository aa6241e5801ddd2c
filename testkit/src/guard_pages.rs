//! [`GuardPages`]: memory between two pages that nobody may touch, so that a read or write of one
//! byte too many ends the process instead of going unnoticed.

use std::ptr::NonNull;

const PAGE: usize = 4096;

/// Some pages that may be used, and a forbidden one on either side.
#[derive(Debug)]
pub struct GuardPages {
    /// The first forbidden page.
    start: NonNull<u8>,
    /// Bytes that may be used: a multiple of pages.
    len: usize,
}

// SAFETY: it owns its mapping, which no thread but the one with the value uses.
unsafe impl Send for GuardPages {}

impl GuardPages {
    /// Room for at least `len` bytes, all zero.
    ///
    /// # Panics
    /// When the kernel has no memory.
    pub fn new(len: usize) -> Self {
        let len = len.next_multiple_of(PAGE).max(PAGE);
        let (anonymous, nowhere) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, std::ptr::null_mut());
        // SAFETY: a new mapping, wherever the kernel likes, touches nobody's memory.
        let start =
            unsafe { libc::mmap(nowhere, len + 2 * PAGE, libc::PROT_NONE, anonymous, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "no memory for guard pages");
        let start = NonNull::new(start.cast::<u8>()).expect("a mapping is not at 0");
        // SAFETY: the pages between the first and the last of the mapping that was just made.
        let opened = unsafe {
            let usable = start.as_ptr().add(PAGE).cast();
            libc::mprotect(usable, len, libc::PROT_READ | libc::PROT_WRITE)
        };
        assert_eq!(opened, 0, "the pages between the guards cannot be opened");
        Self { start, len }
    }

    fn usable(&mut self) -> &mut [u8] {
        // SAFETY: `new` made these bytes readable and writable, they are zero or were written, they
        // stay until `drop`, and `&mut self` lets nobody else have them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(PAGE), self.len) }
    }

    /// A copy of `bytes` right before the guard behind.
    ///
    /// # Panics
    /// When they are more than there is room for.
    pub fn at_end(&mut self, bytes: &[u8]) -> &mut [u8] {
        let at = self.len - bytes.len();
        let place = &mut self.usable()[at..];
        place.copy_from_slice(bytes);
        place
    }

    /// A copy of `bytes` right behind the guard in front.
    ///
    /// # Panics
    /// When they are more than there is room for.
    pub fn at_start(&mut self, bytes: &[u8]) -> &mut [u8] {
        let place = &mut self.usable()[..bytes.len()];
        place.copy_from_slice(bytes);
        place
    }
}

impl Drop for GuardPages {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which ends with its only owner.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len + 2 * PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says about the page of an address: `rw-p`, `---p`.
    fn permissions(at: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| {
            let (range, _) = line.split_once(' ').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|end| usize::from_str_radix(end, 16).unwrap());
            (from..to).contains(&at)
        });
        line.and_then(|line| line.split(' ').nth(1)).unwrap_or("----").to_owned()
    }

    #[test]
    fn bytes_lie_between_pages_that_nobody_may_touch() {
        let mut pages = GuardPages::new(5000);
        let end = pages.at_end(b"the end").as_ptr_range();
        assert_eq!(permissions(end.start.addr()), "rw-p");
        assert_eq!(permissions(end.end.addr()), "---p");
        let start = pages.at_start(b"the start").as_ptr_range();
        assert_eq!(permissions(start.end.addr()), "rw-p");
        assert_eq!(permissions(start.start.addr() - 1), "---p");
        assert_eq!(pages.at_end(b"again"), b"again");
    }
}
