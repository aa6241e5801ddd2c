//! What tells a record from what was there before, or half of it.

/// A sum of words in which every bit counts: FNV-1a, 64 bits, over words instead of octets, with a
/// last step that brings the high bits down. Against accidents, not against forgery.
pub(super) fn checksum(words: impl IntoIterator<Item = u64>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let step = |sum: u64, word: u64| {
        let sum = (sum ^ word).wrapping_mul(PRIME);
        sum ^ sum >> 29
    };
    let sum = words.into_iter().fold(OFFSET, step).wrapping_mul(PRIME);
    sum ^ sum >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_and_the_order_count() {
        let base = checksum([1, 2, 3]);
        assert_eq!(checksum([1, 2, 3]), base);
        assert_ne!(checksum([2, 1, 3]), base);
        assert_ne!(checksum([1, 2, 3, 0]), base);
        for word in 0..3 {
            for bit in 0..64 {
                let mut words = [1, 2, 3];
                words[word] ^= 1 << bit;
                let sum = checksum(words);
                assert_ne!(sum, base);
                assert_ne!(sum & 0xff_ffff, base & 0xff_ffff, "the part that records have");
            }
        }
    }
}
