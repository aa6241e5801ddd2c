//! Counters with one writer: a relaxed load and store instead of a locked add, which costs many
//! times as much. Control sums them when it reads.

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

/// `len` counters at zero.
pub fn counters(len: usize) -> Box<[Counter]> {
    (0..len).map(|_| Counter::new()).collect()
}
