//! The random key that places flows in the buckets of this instance's sticky tables.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::address::Address;
use crate::aes_hash::AesHash;
use crate::flow_tuple::FlowTuple;

/// Keeps the round keys independent of other uses of the key.
const ROUNDS_DOMAIN: u64 = 0x5461_6752_6f75_0000;

/// A key of this process, best random; the same for the tables of all workers and all sizes, as
/// they look for each other's flows.
///
/// Flows are recognised by a hash of their 5-tuple under this key where that is enough, so it is
/// never shown, nor anything made with it. A flow's key word is hashed with it once more, and
/// buckets are picked from the two ends of the result: traffic cannot be aimed at a bucket without
/// the key, and regular traffic (one client, consecutive ports) spreads as random traffic does; a
/// bare CRC leaves 75 % of such flows out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InstanceKey(AesHash);

/// The two buckets in which a flow may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketPair {
    /// Where a lookup starts.
    pub first: u32,
    /// Where a lookup goes on after a miss; differs from `first` unless there is one bucket only.
    pub second: u32,
}

impl BucketPair {
    /// The buckets of a hash in a table of `mask + 1` buckets, a power of two up to 2^28.
    #[inline]
    pub(crate) const fn of(hash: u64, mask: u32) -> Self {
        let first = (hash >> 32) as u32 & mask;
        let second = hash as u32 & mask;
        // Equal choices would be one choice.
        Self { first, second: second ^ ((first == second) as u32 & mask) }
    }
}

impl InstanceKey {
    /// The key in 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(AesHash::new(|word| xxh3_64_with_seed(&bytes, ROUNDS_DOMAIN | word)))
    }

    /// The hash of a 5-tuple, which strangers can neither predict nor make collide.
    #[inline]
    pub(crate) fn hash_tuple<A: Address>(&self, tuple: &FlowTuple<A>) -> u64 {
        self.0.wire_tuple(tuple)
    }

    /// The same of an IPv4 packet's bytes from the source address on, of which the last four do not count.
    #[inline]
    pub(crate) fn hash_ends(&self, ends: &[u8; 16], protocol: u8) -> u64 {
        self.0.wire_ends(ends, protocol)
    }

    /// The hash of an address and port (host byte order).
    #[inline]
    pub(crate) fn hash_end<A: Address>(&self, address: A, port: u16) -> u64 {
        self.0.wire_end(address, port)
    }

    /// The hash of a flow's key word, for [`BucketPair::of`].
    #[inline]
    pub(crate) fn hash(&self, word: u64) -> u64 {
        self.0.word(word)
    }

    /// The buckets of a key word in a table of `mask + 1` buckets, a power of two up to 2^28.
    #[inline]
    pub(crate) fn buckets(&self, word: u64, mask: u32) -> BucketPair {
        BucketPair::of(self.hash(word), mask)
    }
}

impl std::fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstanceKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_key::FlowKey;
    use crate::vip::VipId;
    use std::net::Ipv4Addr;

    fn key(port: u16) -> u64 {
        FlowKey::exact(Ipv4Addr::new(10, 0, 0, 1), port, VipId::new(0).unwrap()).word()
    }

    #[test]
    fn the_two_buckets_differ() {
        let instance = InstanceKey::from_bytes([7; 32]);
        for mask in [1, 3, 1023] {
            for port in 0..5000 {
                let pair = instance.buckets(key(port), mask);
                assert_ne!(pair.first, pair.second);
                assert!(pair.first <= mask && pair.second <= mask);
            }
        }
        assert_eq!(instance.buckets(key(1), 0), BucketPair { first: 0, second: 0 });
    }

    /// Flows that differ in the port only fill buckets as random ones would: of 4096 buckets and
    /// 65 536 flows, 16 are expected in each and the spread is that of a Poisson variable.
    #[test]
    fn regular_traffic_spreads() {
        for byte in [0, 1, 0x55, 0xff] {
            let instance = InstanceKey::from_bytes([byte; 32]);
            let mut counts = [vec![0u32; 4096], vec![0u32; 4096]];
            for port in 0..=u16::MAX {
                let pair = instance.buckets(key(port), 4095);
                counts[0][pair.first as usize] += 1;
                counts[1][pair.second as usize] += 1;
            }
            for counts in counts {
                let variance: f64 =
                    counts.iter().map(|&n| (f64::from(n) - 16.0).powi(2)).sum::<f64>() / 4096.0;
                assert!((8.0..24.0).contains(&variance), "{variance}");
            }
        }
    }
}
