//! [`Pages`]: zeroed memory of ordinary or huge pages.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use zerocopy::FromZeros;

const HUGE_PAGE: usize = 2 << 20;

/// A slice of values whose bytes are all zero, aligned to 2 MiB.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    memory: NonNull<T>,
    len: usize,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone, like that of a box.
unsafe impl<T: Send> Send for Pages<T> {}

impl<T: FromZeros> Pages<T> {
    /// `len` values. With `huge`, the kernel is asked for huge pages; it is free to refuse.
    pub(crate) fn zeroed(len: usize, huge: bool) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).expect("less than all memory");
        let layout = Layout::from_size_align(bytes.max(1).next_multiple_of(HUGE_PAGE), HUGE_PAGE)
            .expect("less than all memory");
        // SAFETY: the layout's size is not 0.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: the range is the allocation just made, and the advice changes no content.
        unsafe { libc::madvise(memory.as_ptr().cast(), layout.size(), advice) };
        Self { memory: memory.cast(), len, layout }
    }

    /// Keeps the memory for as long as the process lives.
    pub(crate) fn leak(self) -> &'static mut [T] {
        let kept = std::mem::ManuallyDrop::new(self);
        // SAFETY: as in `as_mut_slice`; nobody frees the memory any more.
        unsafe { NonNull::slice_from_raw_parts(kept.memory, kept.len).as_mut() }
    }

    /// The values.
    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: the allocation has room for `len` values, all bytes are initialised, zero is a
        // valid value of `T`, and `&self` keeps writers away.
        unsafe { NonNull::slice_from_raw_parts(self.memory, self.len).as_ref() }
    }

    /// The values, writable.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`; `&mut self` makes the access exclusive.
        unsafe { NonNull::slice_from_raw_parts(self.memory, self.len).as_mut() }
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        // SAFETY: the memory came from the global allocator with this layout and nobody has it any
        // more. Values that own something are not made of zeros.
        unsafe { dealloc(self.memory.as_ptr().cast(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_aligned_and_writable() {
        for huge in [false, true] {
            let mut pages = Pages::<u64>::zeroed(300_000, huge);
            assert!(pages.as_slice().iter().all(|value| *value == 0));
            assert_eq!(pages.as_slice().as_ptr() as usize % HUGE_PAGE, 0);
            pages.as_mut_slice()[299_999] = 7;
            assert_eq!((pages.as_slice()[299_999], pages.as_slice().len()), (7, 300_000));
        }
        assert!(Pages::<u64>::zeroed(0, true).as_slice().is_empty());
        let kept = Pages::<u64>::zeroed(10, false).leak();
        kept[9] = 1;
        assert_eq!(kept.iter().sum::<u64>(), 1);
    }
}
