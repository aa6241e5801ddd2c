//! [`PoolMemory`]: memory for a pool's packets where no hugepages are reserved.

use std::ptr::{NonNull, null_mut};

use libc::{MADV_HUGEPAGE, MADV_POPULATE_WRITE, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE};

/// Bytes of a transparent huge page on x86-64.
const HUGE_PAGE: usize = 2 << 20;

/// Memory that the kernel puts into transparent huge pages, unless it is told never to. EAL's own is
/// part of a file then, which the kernel keeps in ordinary pages, and each packet of a large pool costs
/// walks through the page tables.
#[derive(Debug)]
pub(super) struct PoolMemory {
    /// Of the mapping.
    start: NonNull<u8>,
    /// Of the mapping.
    mapped: usize,
    /// Bytes asked for.
    bytes: usize,
}

// SAFETY: it is plain memory, and belongs to this value alone.
unsafe impl Send for PoolMemory {}
// SAFETY: as above; the address is all it gives away.
unsafe impl Sync for PoolMemory {}

impl PoolMemory {
    /// So many bytes, zero and there at once; `None` when there is not so much.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let mapped = bytes.checked_next_multiple_of(HUGE_PAGE)?.checked_add(HUGE_PAGE)?;
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let start = unsafe { libc::mmap(null_mut(), mapped, access, flags, -1, 0) };
        let start = NonNull::new(start.cast()).filter(|_| start != MAP_FAILED)?;
        let memory = Self { start, mapped, bytes };
        let (packets, whole) = (memory.packets().cast(), bytes.next_multiple_of(HUGE_PAGE));
        // SAFETY: the range is in the mapping. The first advice may fail, and pages are ordinary then;
        // neither changes what is written.
        let there = unsafe {
            libc::madvise(packets, whole, MADV_HUGEPAGE);
            libc::madvise(packets, whole, MADV_POPULATE_WRITE) == 0
        };
        there.then_some(memory)
    }

    /// Where packets begin: at a huge page.
    pub(super) fn packets(&self) -> *mut u8 {
        let start = self.start.as_ptr();
        start.wrapping_add(start.align_offset(HUGE_PAGE))
    }

    /// Bytes from there on.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for PoolMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and its owner has no more use for what was in it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_writable_to_its_end() {
        for bytes in [1, HUGE_PAGE, HUGE_PAGE + 1, 3 * HUGE_PAGE - 1] {
            let memory = PoolMemory::new(bytes).unwrap();
            assert_eq!((memory.packets() as usize % HUGE_PAGE, memory.bytes()), (0, bytes));
            // SAFETY: the last byte of memory that nobody else knows.
            let last = unsafe { &mut *memory.packets().add(bytes - 1) };
            assert_eq!(std::mem::replace(last, 1), 0);
        }
    }

    #[test]
    fn there_is_not_so_much() {
        assert!(PoolMemory::new(usize::MAX).is_none());
        assert!(PoolMemory::new(1 << 60).is_none());
    }
}
