//! Counters with one writer: a relaxed load and store instead of a locked add, which costs many
//! times as much. Control sums them when it reads.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromZeros;

/// A 64-bit counter that one thread writes and any thread may read.
#[derive(Debug, Default, FromZeros)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`. Only the owning thread may call it: two writers would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Replaces the value (gauges). Only the owning thread may call it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The present value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// `len` values of zeros in memory that the system clears when it is first touched: for arrays
/// most of whose elements are never used.
///
/// # Panics
/// When there is no memory; for use at start only.
pub fn zeroed<T: FromZeros>(len: usize) -> Box<[T]> {
    <[T]>::new_box_zeroed_with_elems(len).expect("memory for counters")
}

/// Counters at zero that share no cache line with anything else: one worker writes them all the
/// time, and who else had a part of their first or last line would wait for it.
#[derive(Debug)]
pub struct OwnCounters {
    /// The counters, and unused ones before and behind them.
    padded: Box<[Counter]>,
}

impl OwnCounters {
    /// Unused counters on each side: two cache lines, as processors fetch lines in pairs.
    const PADDING: usize = 128 / size_of::<Counter>();

    /// `len` counters.
    pub fn new(len: usize) -> Self {
        Self { padded: (0..len + 2 * Self::PADDING).map(|_| Counter::new()).collect() }
    }
}

impl Deref for OwnCounters {
    type Target = [Counter];

    #[inline]
    fn deref(&self) -> &[Counter] {
        &self.padded[Self::PADDING..self.padded.len() - Self::PADDING]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_counters_are_far_from_the_ends_of_their_memory() {
        for len in [0, 1, 100] {
            let own = OwnCounters::new(len);
            assert_eq!(own.len(), len);
            let (memory, counters) = (own.padded.as_ptr_range(), own.as_ptr_range());
            let before = counters.start.addr() - memory.start.addr();
            let behind = memory.end.addr() - counters.end.addr();
            assert!(before >= 128 && behind >= 128);
        }
    }
}
