//! Fetching a cache line ahead of its use.

#![allow(unsafe_code)]

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

/// Starts to fetch the first line of a value into the second-level cache; no effect but on time. Lines on
/// their way to the first level would take the places for those that packets miss there meanwhile: work of
/// `nat4` with 1 M flows 82 → 78 cycles, and groups can be fetched at once.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    // SAFETY: a prefetch never faults and changes nothing, and the address is that of a reference.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(value).cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_stays_as_it_is() {
        let value = [7u64; 8];
        prefetch(&value);
        assert_eq!(value, [7; 8]);
    }
}
