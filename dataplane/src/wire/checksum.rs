//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! The checksum is the complement of the one's complement sum of all 16-bit words. Two properties
//! carry this module: the sum can be taken over wider words and folded later, and a changed word
//! changes the sum by the difference of new and old. RFC 1624 eqn. 3, `HC' = ~(~HC + ~m + m')`,
//! does so without ever producing the wrong one of the two zeros of one's complement arithmetic
//! (as eqn. 2 of RFC 1141 does), so an updated checksum equals a recomputed one bit by bit.
//!
//! All values are in host order, as the big-endian header fields give them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A one's complement sum, not complemented: what has been summed up so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

/// The content of a checksum field, host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum(pub u16);

/// What a change of covered words adds to their sum: the sum of all `~m + m'`. Words may have 32
/// bits, as 2^32 - 1 is a multiple of 2^16 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta(u64);

/// One's complement sum of `bytes`; an odd last byte counts as if a zero byte followed.
#[inline]
pub fn sum(bytes: &[u8]) -> Sum {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_be_bytes(last));
    Sum(total)
}

/// An address that checksums cover: IPv4 or IPv6.
pub trait SummedAddress: Copy + Eq {
    /// Sum of the address's words.
    fn sum(self) -> Sum;
}

impl SummedAddress for Ipv4Addr {
    #[inline]
    fn sum(self) -> Sum {
        Sum(u64::from(self.to_bits()))
    }
}

impl SummedAddress for Ipv6Addr {
    #[inline]
    fn sum(self) -> Sum {
        let bits = self.to_bits();
        let word = |shift: u32| u64::from((bits >> shift) as u32);
        Sum(word(96) + word(64) + word(32) + word(0))
    }
}

/// Sum of the pseudo-header of TCP and UDP (RFC 9293 §3.1), which for IPv6 (RFC 8200 §8.1) covers
/// ICMPv6 too. `len` counts L4 header and payload; that IPv6 gives it and the protocol 32 bits
/// each does not change the sum.
#[inline]
pub fn pseudo_header_sum<A: SummedAddress>(
    source: A,
    destination: A,
    protocol: u8,
    len: u16,
) -> Sum {
    let rest = Sum(u64::from(protocol) + u64::from(len));
    source.sum().plus(destination.sum()).plus(rest)
}

/// The checksum of a whole TCP segment, UDP datagram or ICMPv6 message whose checksum field holds 0.
/// UDP sends it with [`Checksum::or_all_ones`].
#[inline]
pub fn transport_checksum<A: SummedAddress>(
    source: A,
    destination: A,
    protocol: u8,
    segment: &[u8],
) -> Checksum {
    pseudo_header_sum(source, destination, protocol, segment.len() as u16)
        .plus(sum(segment))
        .checksum()
}

/// True when the checksum inside a whole TCP segment, UDP datagram or ICMPv6 message is right.
/// A UDP checksum of 0 ("none") has to be told apart before.
#[inline]
pub fn is_transport_valid<A: SummedAddress>(
    source: A,
    destination: A,
    protocol: u8,
    segment: &[u8],
) -> bool {
    let pseudo = pseudo_header_sum(source, destination, protocol, segment.len() as u16);
    is_valid(pseudo.plus(sum(segment)))
}

/// True when the checksum inside these words is right: of an IPv4 header without options, say. The
/// order of bytes makes no difference to that (RFC 1071 §2), so the words are taken as they are.
#[inline]
pub fn are_words_valid<const N: usize>(words: &[[u8; 4]; N]) -> bool {
    is_valid(Sum(words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()))
}

/// True when `sum` covers a checksum field and the words it protects, and they agree.
#[inline]
pub fn is_valid(sum: Sum) -> bool {
    sum.fold() == 0xffff
}

impl Sum {
    /// This and another part; the parts must have even lengths except the last.
    #[inline]
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum of the same bytes at an odd offset of what is summed up: every byte counts in the
    /// other half of its word (RFC 1071 §2, byte order independence).
    #[inline]
    #[must_use]
    pub fn swapped(self) -> Self {
        Self(u64::from(self.fold().swap_bytes()))
    }

    /// The sum as 16 bits. Also what a sender leaves in the field when it counts on its network
    /// card to finish the checksum: the bare sum of the pseudo-header.
    #[inline]
    pub fn fold(self) -> u16 {
        // Both halves are added in the upper one, where the carry of the lower ends too.
        let wide = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        (wide.wrapping_add(wide.rotate_left(16)) >> 16) as u16
    }

    /// The sum as 32 bits.
    #[inline]
    fn fold_to_u32(self) -> u32 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        ((sum >> 32) + (sum & 0xffff_ffff)) as u32
    }

    /// The checksum over what was summed up.
    #[inline]
    pub fn checksum(self) -> Checksum {
        Checksum(!self.fold())
    }
}

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// Adds the change of one word from `old` to `new`.
    #[inline]
    #[must_use]
    pub fn word(self, old: u16, new: u16) -> Self {
        Self(self.0 + u64::from(!old) + u64::from(new))
    }

    /// Adds the change of one word that starts at an odd offset: its bytes count in swapped places
    /// (RFC 1071 §2, byte order independence).
    #[inline]
    #[must_use]
    pub fn odd_word(self, old: u16, new: u16) -> Self {
        self.word(old.swap_bytes(), new.swap_bytes())
    }

    /// Adds the change of an address from `old` to `new`.
    #[inline]
    #[must_use]
    pub fn address<A: SummedAddress>(self, old: A, new: A) -> Self {
        self.sums(old.sum(), new.sum())
    }

    /// Adds the change of a whole part, at an even offset, whose sum was `old` and is `new`.
    #[inline]
    #[must_use]
    pub fn sums(self, old: Sum, new: Sum) -> Self {
        Self(self.0 + u64::from(!old.fold_to_u32()) + u64::from(new.fold_to_u32()))
    }

    /// This change and another one.
    #[inline]
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Checksum {
    /// The checksum after a change (RFC 1624 eqn. 3).
    #[inline]
    #[must_use]
    pub fn updated(self, delta: Delta) -> Self {
        Sum(u64::from(!self.0) + delta.0).checksum()
    }

    /// The checksum, with 0 replaced by 0xffff: the same value in one's complement, and what UDP
    /// sends since its 0 means "no checksum" (RFC 768).
    #[inline]
    #[must_use]
    pub fn or_all_ones(self) -> Self {
        Self(if self.0 == 0 { 0xffff } else { self.0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word with end-around carry.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |b| u32::from(*b));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes).fold(), 0xddf2);
        assert_eq!(sum(&bytes).checksum(), Checksum(0x220d));
    }

    #[test]
    fn example_of_rfc_1624() {
        // §4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000, where eqn. 2 gives 0xffff.
        assert_eq!(Checksum(0xdd2f).updated(Delta::NONE.word(0x5555, 0x3285)), Checksum(0));
    }

    #[test]
    fn nothing_sums_to_zero() {
        assert_eq!(sum(&[]).checksum(), Checksum(0xffff));
        assert_eq!(sum(&[0; 7]).fold(), 0);
    }

    #[test]
    fn captured_udp_datagram_is_valid() {
        // UDP 40.0.0.1:1111 > 90.0.0.1:20000 with 18 bytes of 'x'.
        let mut datagram = vec![0x04, 0x57, 0x4e, 0x20, 0x00, 0x1a, 0xef, 0x04];
        datagram.extend([0x78; 18]);
        let (from, to) = (Ipv4Addr::new(40, 0, 0, 1), Ipv4Addr::new(90, 0, 0, 1));
        let pseudo = pseudo_header_sum(from, to, 17, 26);
        assert!(is_valid(pseudo.plus(sum(&datagram))));
        datagram[9] ^= 1;
        assert!(!is_valid(pseudo.plus(sum(&datagram))));
    }

    #[test]
    fn folding_carries_around() {
        let cases = [
            (0, 0),
            (0xffff, 0xffff),
            (0x1_0000, 1),
            (0xffff_0001, 1),
            (0xffff_ffff, 0xffff),
            (0xffff_ffff_0000_0001, 1),
            (u64::MAX, 0xffff),
            (u64::MAX - 1, 0xfffe),
        ];
        for (sum, expected) in cases {
            assert_eq!(Sum(sum).fold(), expected, "{sum:#x}");
        }
    }

    proptest! {
        /// The definition: halves are added until one is empty.
        #[test]
        fn folding_equals_the_definition(sum: u64) {
            let mut folded = sum;
            while folded > 0xffff {
                folded = (folded >> 16) + (folded & 0xffff);
            }
            prop_assert_eq!(u64::from(Sum(sum).fold()), folded);
        }

        #[test]
        fn words_are_valid_when_their_sum_is(mut words: [[u8; 4]; 5], broken: bool) {
            words[2] = [0; 4];
            let checksum = sum(words.as_flattened()).checksum().0;
            words[2][2..].copy_from_slice(&checksum.to_be_bytes());
            words[4][1] ^= u8::from(broken);
            prop_assert_eq!(are_words_valid(&words), !broken);
            prop_assert_eq!(is_valid(sum(words.as_flattened())), !broken);
        }

        #[test]
        fn wide_sum_equals_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..1600)) {
            prop_assert_eq!(sum(&bytes).fold(), naive(&bytes));
        }

        /// F-01: changing words and updating equals changing words and recomputing.
        #[test]
        fn incremental_equals_full_recompute(
            // A first word that never changes and is not 0: sums of all zeros do not occur.
            mut words in prop::collection::vec(any::<u16>(), 1..60),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>()), 1..6),
        ) {
            words.insert(0, 0x4500);
            let full = |words: &[u16]| {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
                sum(&bytes).checksum()
            };
            let before = full(&words);
            let mut delta = Delta::NONE;
            for (index, new) in changes {
                let at = 1 + index.index(words.len() - 1);
                delta = delta.word(words[at], new);
                words[at] = new;
            }
            prop_assert_eq!(before.updated(delta), full(&words));
            // A sender of UDP may have written 0xffff for 0: the update comes out the same.
            prop_assert_eq!(
                before.or_all_ones().updated(delta).or_all_ones(),
                full(&words).or_all_ones()
            );
        }

        /// Changing an address in a packet, at an even offset, equals recomputing the checksum.
        #[test]
        fn address_change_equals_full_recompute(
            old: u128, new: u128, rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let with = |address: &[u8]| sum(&[&[0x45, 0], address, &rest].concat()).checksum();
            let delta = Delta::NONE.address(Ipv6Addr::from(old), Ipv6Addr::from(new));
            prop_assert_eq!(with(&old.to_be_bytes()).updated(delta), with(&new.to_be_bytes()));
            let (old, new) = (old as u32, new as u32);
            let delta = Delta::NONE.address(Ipv4Addr::from(old), Ipv4Addr::from(new));
            prop_assert_eq!(with(&old.to_be_bytes()).updated(delta), with(&new.to_be_bytes()));
        }

        #[test]
        fn parts_may_meet_at_odd_offsets(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
        ) {
            let (mut total, mut done) = (Sum::default(), 0);
            for part in &parts {
                let sum = sum(part);
                total = total.plus(if done % 2 == 0 { sum } else { sum.swapped() });
                done += part.len();
            }
            prop_assert_eq!(total.fold(), naive(&parts.concat()));
        }

        #[test]
        fn odd_words_equal_full_recompute(old: u16, new: u16, odd: u8, other: (u16, u16)) {
            let with = |value: u16, other: u16| {
                let bytes = [&[0x45, 0, odd][..], &value.to_be_bytes(), &[7], &other.to_be_bytes()];
                sum(&bytes.concat()).checksum()
            };
            let delta = Delta::NONE.odd_word(old, new).plus(Delta::NONE.word(other.0, other.1));
            prop_assert_eq!(with(old, other.0).updated(delta), with(new, other.1));
        }

        /// The checksum over the pseudo-header laid out byte by byte (RFC 8200 §8.1).
        #[test]
        fn transport_checksum_is_that_of_the_laid_out_pseudo_header(
            source: u128, destination: u128, protocol: u8,
            mut segment in prop::collection::vec(any::<u8>(), 8..600),
        ) {
            segment[6..8].fill(0);
            let len = segment.len() as u32;
            let pseudo = [
                &source.to_be_bytes()[..], &destination.to_be_bytes(), &len.to_be_bytes(),
                &[0, 0, 0, protocol], &segment,
            ];
            let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
            let checksum = transport_checksum(source, destination, protocol, &segment);
            prop_assert_eq!(checksum, sum(&pseudo.concat()).checksum());
            segment[6..8].copy_from_slice(&checksum.0.to_be_bytes());
            prop_assert!(is_transport_valid(source, destination, protocol, &segment));
            segment[7] ^= 1;
            prop_assert!(!is_transport_valid(source, destination, protocol, &segment));
        }
    }
}
