//! [`Strays`]: which flows may be in their second bucket.

use std::hint::black_box;

use crate::sticky_owner::StickyOwner;

/// By first bucket a bit, which is set if a flow may be in its second one. It fits into a cache where the
/// table does not: most flows that have no entry are spared the look into a bucket that is far away.
///
/// Nobody clears a bit when a flow goes. But the sweep comes by all entries, and at the end of a round
/// only those bits stay that it has met a flow for, or that were set since the round began.
#[derive(Debug)]
pub(crate) struct Strays {
    /// Those that are asked.
    known: Box<[u64]>,
    /// Those of this round.
    met: Box<[u64]>,
    /// Those of the next round; cleared behind the sweep.
    next: Box<[u64]>,
}

/// The word and the bit of a bucket.
#[inline(always)]
const fn place(bucket: u32) -> (usize, u64) {
    ((bucket / u64::BITS) as usize, 1 << (bucket % u64::BITS))
}

impl Strays {
    /// There are none in so many buckets.
    pub(crate) fn new(buckets: usize) -> Self {
        let none = || {
            let mut words = vec![0; buckets.div_ceil(u64::BITS as usize)];
            // Written here, so that no worker has to wait for the kernel's pages.
            black_box(&mut words).fill(0);
            words.into_boxed_slice()
        };
        Self { known: none(), met: none(), next: none() }
    }

    /// Whether a flow whose first bucket is this may be in its second one.
    #[inline(always)]
    pub(crate) fn may_be(&self, first: u32) -> bool {
        let (word, bit) = place(first);
        self.known.get(word).is_none_or(|word| word & bit != 0)
    }

    /// A flow with this first bucket gets an entry in its second one.
    #[inline]
    pub(crate) fn add(&mut self, first: u32) {
        let (word, bit) = place(first);
        for words in [&mut self.known, &mut self.met] {
            if let Some(word) = words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// The sweep meets such a flow.
    #[inline]
    pub(crate) fn meet(&mut self, first: u32) {
        let (word, bit) = place(first);
        if let Some(word) = self.met.get_mut(word) {
            *word |= bit;
        }
    }

    /// The sweep leaves a bucket.
    #[inline]
    pub(crate) fn leave(&mut self, bucket: u32) {
        if let Some(word) = self.next.get_mut(place(bucket).0) {
            *word = 0;
        }
    }

    /// The sweep has left all buckets.
    pub(crate) fn end_round(&mut self) {
        std::mem::swap(&mut self.known, &mut self.met);
        std::mem::swap(&mut self.met, &mut self.next);
    }
}

impl StickyOwner {
    /// Before a flow gets an entry in one of its buckets.
    pub(crate) fn note_stray(&mut self, word: u64, bucket: u32) {
        let first = self.table().buckets_of(word).first;
        if bucket != first {
            self.strays.add(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of the sweep that meets these.
    fn sweep(strays: &mut Strays, met: &[u32]) {
        for bucket in 0..100 {
            met.iter().filter(|first| **first == bucket).for_each(|first| strays.meet(*first));
            strays.leave(bucket);
        }
        strays.end_round();
    }

    fn all(strays: &Strays) -> Vec<u32> {
        (0..100).filter(|first| strays.may_be(*first)).collect()
    }

    #[test]
    fn strays_stay_as_long_as_they_are_met() {
        let mut strays = Strays::new(100);
        assert!(all(&strays).is_empty());
        for first in [0, 63, 64, 99] {
            strays.add(first);
        }
        assert_eq!(all(&strays), [0, 63, 64, 99]);
        // They came in the round that ends now.
        sweep(&mut strays, &[63]);
        assert_eq!(all(&strays), [0, 63, 64, 99]);
        strays.meet(5);
        assert_eq!(all(&strays), [0, 63, 64, 99], "it was there before, or else it was added");
        sweep(&mut strays, &[63, 64]);
        assert_eq!(all(&strays), [5, 63, 64]);
        strays.add(7);
        sweep(&mut strays, &[64]);
        assert_eq!(all(&strays), [7, 64]);
        for _ in 0..3 {
            sweep(&mut strays, &[]);
        }
        assert!(all(&strays).is_empty());
    }
}
