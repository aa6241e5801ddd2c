//! The flow hash: one keyed 64-bit hash that selects the slot of the new-flow table.
//!
//! The key belongs to the cluster: replicas with the same key, VIPs and ASs choose the same AS.
//! It is made of AES rounds (`aes_hash.rs`), whose keys, like everything else that is derived from
//! the cluster's key, are made with XXH3. Sticky tables do not use this hash but one keyed for each instance ([`InstanceKey`]), so that
//! buckets cannot be aimed at even by somebody who knows the cluster's key.
//!
//! [`InstanceKey`]: crate::InstanceKey

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::address::Address;
use crate::aes_hash::AesHash;
use crate::flow_tuple::FlowTuple;

/// The version of everything that decides a slot: the packing and hash of flows, the derivation
/// of round keys and seed, and the fill of tables. Replicas of different versions disagree.
pub const FLOW_HASH_VERSION: u32 = 2;

/// Domains keep the values derived from one key independent of each other.
const ROUNDS_DOMAIN: u64 = 0x526f_756e_6473_0000;
const TABLE_DOMAIN: u64 = 0x5461_626c_6500_0000;
const FINGERPRINT_DOMAIN: u64 = 0x5072_696e_7400_0000;

/// The cluster's hash key (`lb conf hash-key-file`).
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey(Box<[u8]>);

/// A key with too few or too many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a hash key has {min} to {max} bytes, not {0}",
    min = HashKey::MIN_BYTES,
    max = HashKey::MAX_BYTES
)]
pub struct HashKeyError(
    /// How many bytes were given.
    pub usize,
);

impl HashKey {
    /// The shortest key: 128 bits.
    pub const MIN_BYTES: usize = 16;

    /// The longest key.
    pub const MAX_BYTES: usize = 4096;

    /// The key when none is configured: public, so that replicas agree without any setup, but
    /// flows can then be aimed at an AS.
    pub const DEFAULT_BYTES: &'static [u8; 26] = b"sluice default hash key v1";

    /// The key in a file's bytes, all of which count, trailing newlines included.
    ///
    /// # Errors
    ///
    /// When there are fewer than [`MIN_BYTES`](Self::MIN_BYTES) or more than
    /// [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HashKeyError> {
        if (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes.len()) {
            Ok(Self(bytes.into()))
        } else {
            Err(HashKeyError(bytes.len()))
        }
    }

    /// 16 hexadecimal digits by which operators compare the keys of replicas.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", xxh3_64_with_seed(&self.0, FINGERPRINT_DOMAIN))
    }
}

impl Default for HashKey {
    fn default() -> Self {
        Self(Self::DEFAULT_BYTES.as_slice().into())
    }
}

/// Never prints the key.
impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashKey({})", self.fingerprint())
    }
}

/// Hashes flows with the cluster's key.
#[derive(Clone)]
pub struct FlowHasher {
    rounds: AesHash,
    table_seed: u64,
}

impl FlowHasher {
    /// The hasher of a key.
    #[must_use]
    pub fn new(key: &HashKey) -> Self {
        Self {
            rounds: AesHash::new(|word| xxh3_64_with_seed(&key.0, ROUNDS_DOMAIN | word)),
            table_seed: xxh3_64_with_seed(&key.0, TABLE_DOMAIN),
        }
    }

    /// The seed of new-flow tables, derived from the key: without it nobody can tell which AS a
    /// slot belongs to.
    #[must_use]
    pub fn table_seed(&self) -> u64 {
        self.table_seed
    }

    /// The hash of a flow towards a VIP: over the 5-tuple, or over the source address alone when
    /// the VIP is `src_ip_sticky`, so that a client keeps its AS on every port and address.
    #[inline]
    #[must_use]
    pub fn hash<A: Address>(&self, tuple: &FlowTuple<A>, src_ip_sticky: bool) -> u64 {
        if src_ip_sticky {
            return self.rounds.end(tuple.src, 0);
        }
        self.rounds.tuple(tuple)
    }
}

impl fmt::Debug for FlowHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seed and round keys are as good as the key; a hash of nothing tells hashers apart.
        write!(f, "FlowHasher({:016x})", self.rounds.word(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn tuple() -> FlowTuple<Ipv4Addr> {
        FlowTuple {
            src: Ipv4Addr::new(10, 10, 10, 1),
            dst: Ipv4Addr::new(10, 10, 2, 2),
            src_port: 40_000,
            dst_port: 8080,
            protocol: 6,
        }
    }

    #[test]
    fn golden_values_of_version_2() {
        assert_eq!(FLOW_HASH_VERSION, 2);
        let key = HashKey::default();
        assert_eq!(key.fingerprint(), "ad80071b75129b88");
        let hasher = FlowHasher::new(&key);
        let hashes =
            [hasher.hash(&tuple(), false), hasher.hash(&tuple(), true), hasher.table_seed()];
        assert_eq!(
            format!("{hashes:016x?}"),
            "[909dc9ad2e0fdc39, 64c7f8398cb97628, fb13193e3dcda08d]"
        );
    }

    fn tuple6() -> FlowTuple<Ipv6Addr> {
        FlowTuple {
            src: "2001:db8:a::1".parse().unwrap(),
            dst: "2001:db8:b::2".parse().unwrap(),
            src_port: 40_000,
            dst_port: 8080,
            protocol: 6,
        }
    }

    #[test]
    fn golden_values_of_version_2_for_ipv6() {
        let hasher = FlowHasher::new(&HashKey::default());
        let hashes = [hasher.hash(&tuple6(), false), hasher.hash(&tuple6(), true)];
        assert_eq!(format!("{hashes:016x?}"), "[63586ee9ccb6d131, 3f68484d58da57b0]");
    }

    #[test]
    fn every_field_counts_in_ipv6() {
        let hasher = FlowHasher::new(&HashKey::default());
        let base = tuple6();
        for changed in [
            FlowTuple { src: "2001:db8:a::2".parse().unwrap(), ..base },
            FlowTuple { src: "2001:db9:a::1".parse().unwrap(), ..base },
            FlowTuple { dst: "2001:db8:b::3".parse().unwrap(), ..base },
            FlowTuple { src_port: 40_001, ..base },
            FlowTuple { dst_port: 8081, ..base },
            FlowTuple { protocol: 17, ..base },
        ] {
            assert_ne!(hasher.hash(&changed, false), hasher.hash(&base, false), "{changed:?}");
        }
    }

    #[test]
    fn every_field_counts() {
        let hasher = FlowHasher::new(&HashKey::default());
        let base = tuple();
        let hash = hasher.hash(&base, false);
        for changed in [
            FlowTuple { src: Ipv4Addr::new(10, 10, 10, 2), ..base },
            FlowTuple { dst: Ipv4Addr::new(10, 10, 2, 3), ..base },
            FlowTuple { src_port: 40_001, ..base },
            FlowTuple { dst_port: 8081, ..base },
            FlowTuple { protocol: 17, ..base },
        ] {
            assert_ne!(hasher.hash(&changed, false), hash, "{changed:?}");
        }
    }

    /// VPP hashes source and destination address there.
    #[test]
    fn defect_36_src_ip_sticky_looks_at_the_source_only() {
        let hasher = FlowHasher::new(&HashKey::default());
        let base = tuple();
        let other = FlowTuple {
            src: base.src,
            dst: Ipv4Addr::new(1, 2, 3, 4),
            src_port: 1,
            dst_port: 2,
            protocol: 17,
        };
        assert_eq!(hasher.hash(&base, true), hasher.hash(&other, true));
        let stranger = FlowTuple { src: Ipv4Addr::new(10, 10, 10, 2), ..base };
        assert_ne!(hasher.hash(&base, true), hasher.hash(&stranger, true));
    }

    #[test]
    fn the_key_matters_and_is_never_printed() {
        let key = HashKey::from_bytes(b"0123456789abcdef").unwrap();
        let (ours, default) = (FlowHasher::new(&key), FlowHasher::new(&HashKey::default()));
        assert_ne!(ours.hash(&tuple(), false), default.hash(&tuple(), false));
        assert_ne!(ours.hash(&tuple(), true), default.hash(&tuple(), true));
        assert_ne!(ours.table_seed(), default.table_seed());
        assert_ne!(key.fingerprint(), HashKey::default().fingerprint());
        assert!(!format!("{key:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn short_and_long_keys_are_refused() {
        assert_eq!(HashKey::from_bytes(&[0; 15]), Err(HashKeyError(15)));
        assert!(HashKey::from_bytes(&[0; 4096]).is_ok());
        let error = HashKey::from_bytes(&[0; 4097]).unwrap_err();
        assert_eq!(error.to_string(), "a hash key has 16 to 4096 bytes, not 4097");
    }
}
