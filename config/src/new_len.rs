//! Which lengths a new-flow table may have.

use crate::defaults::NEW_LEN_RANGE;

/// A power of two (as VPP) or a prime (as the Maglev paper), within [`NEW_LEN_RANGE`].
pub(crate) fn is_valid(len: u32) -> bool {
    NEW_LEN_RANGE.contains(&len) && (len.is_power_of_two() || is_prime(len))
}

/// The valid lengths next below and next above an invalid one.
pub(crate) fn nearest(len: u32) -> (Option<u32>, Option<u32>) {
    let below = (*NEW_LEN_RANGE.start()..len).rev().find(|&n| is_valid(n));
    let above = (len.saturating_add(1)..=*NEW_LEN_RANGE.end()).find(|&n| is_valid(n));
    (below, above)
}

fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_and_primes() {
        for good in [1, 2, 3, 16, 1024, 1009, 65_536, 65_537, 1 << 24] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [0, 6, 9, 1000, 65_535, (1 << 24) + 1, 1 << 25, u32::MAX] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert_eq!(nearest(1000), (Some(997), Some(1009)));
        assert_eq!(nearest(0), (None, Some(1)));
    }
}
