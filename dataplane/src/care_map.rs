//! [`Marks`]: which addresses are surely nobody's that a router has to care about.

use balancer::Address;

use crate::fib::FibEntry;

/// Bits of the map: 8 KiB stay in the first-level cache, where a FIB does not.
const BITS: u32 = 16;
const WORDS: usize = 1 << (BITS - 6);

/// A bit for each block of addresses, or for several of them: clear when all of the block's
/// addresses are those of others, as most packets' sources are. Blocks are /16 in IPv4 and /64 in
/// IPv6; there, addresses by themselves have bits of their own, as hosts of others are their
/// neighbours.
///
/// Addresses that no host has (RFC 1122 §3.2.1.3) are marked in IPv4. IPv6 groups (RFC 4291 §2.7) are
/// not: that they are no sources is told without a map.
#[derive(Clone)]
pub(crate) struct CareMap {
    bits: Box<[u64; WORDS]>,
    /// Blocks of IPv6 have bits, not addresses by themselves alone.
    blocks6: bool,
}

impl std::fmt::Debug for CareMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let marked: u32 = self.bits.iter().map(|word| word.count_ones()).sum();
        write!(f, "CareMap({marked} bits)")
    }
}

/// The length of a block's prefix.
#[inline(always)]
const fn block_len<A: Address>() -> u8 {
    if A::IS_V6 { 64 } else { BITS as u8 }
}

/// The bit of an address's block. That of an IPv4 one has the bytes in the order in which packets do.
#[inline(always)]
fn bit_of_block<A: Address>(address: A) -> usize {
    if A::IS_V6 {
        scattered((address.bits() >> (A::BITS - block_len::<A>())) as u64)
    } else {
        usize::from(address.wire_bits() as u16)
    }
}

/// The bit of an IPv6 address by itself.
#[inline(always)]
fn bit_of_host<A: Address>(address: A) -> usize {
    let bits = address.bits();
    scattered((bits >> 64) as u64 ^ (bits as u64).rotate_left(32))
}

#[inline(always)]
fn scattered(word: u64) -> usize {
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize
}

/// Whether a source in a route's prefix may be forged.
fn is_of_care(entry: FibEntry) -> bool {
    use crate::fib::FibDrop;
    matches!(entry, FibEntry::Local | FibEntry::Vip { .. } | FibEntry::Drop(FibDrop::Broadcast))
}

/// Whether all addresses of a prefix are those of groups: within `ff00::/8`.
fn is_of_groups<A: Address>(network: A, len: u8) -> bool {
    A::IS_V6 && len >= 8 && network.bits() >> 120 == 0xff
}

impl CareMap {
    /// The map of these routes: network, prefix length, entry.
    pub(crate) fn new<A: Address>(routes: impl Iterator<Item = (A, u8, FibEntry)>) -> Self {
        let mut map = Self { bits: Box::new([0; WORDS]), blocks6: false };
        if !A::IS_V6 {
            // "This" network, loopback; groups, reserved and broadcast.
            for (first_octet, len) in [(0, 8), (127, 8), (224, 3)] {
                map.mark(A::from_bits(first_octet << 24), len);
            }
        }
        for (network, len, _) in routes.filter(|&(_, _, entry)| is_of_care(entry)) {
            map.mark(network, len);
        }
        map
    }

    /// Takes one more address into account.
    pub(crate) fn add_host<A: Address>(&mut self, address: A, entry: FibEntry) {
        if is_of_care(entry) {
            self.mark(address, A::BITS);
        }
    }

    /// Takes all addresses of a prefix into account.
    pub(crate) fn mark<A: Address>(&mut self, network: A, len: u8) {
        if is_of_groups(network, len) {
            return;
        }
        if A::IS_V6 && len == A::BITS {
            return self.set(bit_of_host(network));
        }
        self.blocks6 |= A::IS_V6;
        let more = block_len::<A>().saturating_sub(len);
        if u32::from(more) >= BITS {
            *self.bits = [u64::MAX; WORDS];
            return;
        }
        let shift = u32::from(A::BITS - block_len::<A>());
        let first = network.bits() >> shift >> more << more;
        for block in first..first + (1 << more) {
            self.set(bit_of_block(A::from_bits(block << shift)));
        }
    }

    fn set(&mut self, bit: usize) {
        self.bits[bit / 64 % WORDS] |= 1 << (bit % 64);
    }

    /// What a loop needs to ask.
    #[inline(always)]
    pub(crate) fn marks(&self) -> Marks<'_> {
        Marks { bits: &self.bits, blocks6: self.blocks6 }
    }
}

/// The marks of a FIB, close at hand.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    bits: &'a [u64; WORDS],
    blocks6: bool,
}

impl Marks<'_> {
    /// A bit of the map, as the lowest of these.
    #[inline(always)]
    fn from(&self, bit: usize) -> u64 {
        self.bits[bit / 64 % WORDS] >> (bit % 64)
    }

    /// The lowest bit is what [`may_hold`](Self::may_hold) says: a loop can collect many answers before
    /// it looks at them.
    #[inline(always)]
    pub fn hint<A: Address>(&self, address: A) -> u64 {
        if !A::IS_V6 {
            return self.from(bit_of_block(address));
        }
        let block = if self.blocks6 { self.from(bit_of_block(address)) } else { 0 };
        self.from(bit_of_host(address)) | block
    }

    /// False when the address is surely in no local, VIP or broadcast prefix, and in IPv4 may be a
    /// host's.
    #[inline(always)]
    pub fn may_hold<A: Address>(&self, address: A) -> bool {
        self.hint(address) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::adjacency::AdjacencyId;
    use crate::fib::FibDrop;

    const LOCAL: FibEntry = FibEntry::Local;
    const OTHERS: FibEntry = FibEntry::Adjacency(AdjacencyId(1));

    #[test]
    fn only_blocks_with_something_of_ours_are_marked() {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let broadcast = FibEntry::Drop(FibDrop::Broadcast);
        let routes = [
            (address("10.1.2.3"), 32, LOCAL),
            (address("10.2.0.0"), 15, FibEntry::Vip { group: 0, local: false }),
            (address("10.9.9.255"), 32, broadcast),
            (address("20.0.0.0"), 8, OTHERS),
        ];
        let map = CareMap::new(routes.into_iter());
        for (text, marked) in [
            ("10.1.255.255", true),
            ("10.0.255.255", false),
            ("10.3.255.255", true),
            ("10.4.0.0", false),
            ("10.9.0.1", true),
            ("20.1.2.3", false),
            // What no host has.
            ("0.255.255.255", true),
            ("1.0.0.0", false),
            ("126.255.255.255", false),
            ("127.0.0.1", true),
            ("128.0.0.0", false),
            ("223.255.255.255", false),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
        ] {
            assert_eq!(map.marks().may_hold(address(text)), marked, "{text}");
        }
    }

    /// Groups are of no care, though they are among the routes of every box; nor is a host's
    /// neighbour.
    #[test]
    fn neighbours_of_ours_and_groups_are_not_of_care() {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let vip = FibEntry::Vip { group: 0, local: false };
        let routes = [
            (address("ff00::"), 8, FibEntry::Drop(FibDrop::Broadcast)),
            (address("2001:db8:1::fffe"), 128, LOCAL),
            (address("2001:db8:90::1"), 128, vip),
        ];
        let addresses = ["2001:db8:1::fffe", "2001:db8:90::1", "2001:db8:1::fffd", "2001:db8:7::1"];
        let held = |routes: &[(Ipv6Addr, u8, FibEntry)]| {
            let map = CareMap::new(routes.iter().copied());
            addresses.map(|text| map.marks().may_hold(address(text)))
        };
        assert_eq!(held(&routes), [true, true, false, false]);
        // A prefix takes all of its hosts with it.
        let wide = (address("2001:db8:7::"), 80, vip);
        assert_eq!(held(&[&routes[..], &[wide]].concat()), [true, true, false, true]);
        let mut map = CareMap::new(routes.into_iter());
        map.add_host(address("2001:db8:1::fffd"), vip);
        assert!(map.marks().may_hold(address("2001:db8:1::fffd")));
    }

    #[test]
    fn everything_is_of_care_where_short_prefixes_are() {
        let routes = [(Ipv6Addr::UNSPECIFIED, 0, FibEntry::Vip { group: 0, local: false })];
        assert!(CareMap::new(routes.into_iter()).marks().may_hold(Ipv6Addr::LOCALHOST));
        let routes = [(Ipv4Addr::UNSPECIFIED, 0, LOCAL)];
        assert!(CareMap::new(routes.into_iter()).marks().may_hold(Ipv4Addr::new(255, 1, 1, 1)));
    }

    proptest! {
        /// No address of ours is ever missed.
        #[test]
        fn holds_what_routes_hold(network: u128, len in 0_u8..=128, host: u128) {
            let host_mask = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            let address = Ipv6Addr::from_bits(network & !host_mask | host & host_mask);
            let route = (Ipv6Addr::from_bits(network), len, LOCAL);
            let held = CareMap::new([route].into_iter()).marks().may_hold(address);
            prop_assert!(held || address.is_multicast());
            let len = len / 4;
            let host_mask = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            let address = Ipv4Addr::from_bits(network as u32 & !host_mask | host as u32 & host_mask);
            let route = (Ipv4Addr::from_bits(network as u32), len, LOCAL);
            prop_assert!(CareMap::new([route].into_iter()).marks().may_hold(address));
        }
    }
}
