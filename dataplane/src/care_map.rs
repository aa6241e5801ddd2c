//! [`CareMap`]: which addresses are surely nobody's that a router has to care about.

use balancer::Address;

use crate::fib::FibEntry;

/// Bits of the map: 8 KiB stay in the first-level cache, where a FIB does not.
const BITS: u32 = 16;
const WORDS: usize = 1 << (BITS - 6);

/// A bit for each block of addresses, or for several of them: clear when all of the block's
/// addresses are those of others, as most packets' sources are. Blocks are /16 in IPv4 and /64 in
/// IPv6.
#[derive(Clone)]
pub(crate) struct CareMap(Box<[u64; WORDS]>);

impl std::fmt::Debug for CareMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let marked: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        write!(f, "CareMap({marked} blocks)")
    }
}

/// The length of a block's prefix.
const fn block_len(v6: bool) -> u8 {
    if v6 { 64 } else { BITS as u8 }
}

#[inline]
fn bit_of<A: Address>(address: A) -> usize {
    let block = (address.bits() >> (A::BITS - block_len(A::IS_V6))) as u64;
    if A::IS_V6 {
        (block.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize
    } else {
        block as usize
    }
}

/// Whether a source in a route's prefix may be forged.
fn is_of_care(entry: FibEntry) -> bool {
    use crate::fib::FibDrop;
    matches!(entry, FibEntry::Local | FibEntry::Vip { .. } | FibEntry::Drop(FibDrop::Broadcast))
}

impl CareMap {
    /// The map of these routes: network, prefix length, entry.
    pub(crate) fn new<A: Address>(routes: impl Iterator<Item = (A, u8, FibEntry)>) -> Self {
        let mut map = Self(Box::new([0; WORDS]));
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

    fn mark<A: Address>(&mut self, network: A, len: u8) {
        let more = block_len(A::IS_V6).saturating_sub(len);
        if u32::from(more) >= BITS {
            *self.0 = [u64::MAX; WORDS];
            return;
        }
        let shift = u32::from(A::BITS - block_len(A::IS_V6));
        let first = network.bits() >> shift >> more << more;
        for block in first..first + (1 << more) {
            let bit = bit_of(A::from_bits(block << shift));
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// False when the address is surely in no local, VIP or broadcast prefix.
    #[inline]
    pub(crate) fn may_hold<A: Address>(&self, address: A) -> bool {
        let bit = bit_of(address);
        self.0[bit / 64 % WORDS] >> (bit % 64) & 1 != 0
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
        ] {
            assert_eq!(map.may_hold(address(text)), marked, "{text}");
        }
    }

    #[test]
    fn everything_is_of_care_where_short_prefixes_are() {
        let routes = [(Ipv6Addr::UNSPECIFIED, 0, FibEntry::Vip { group: 0, local: false })];
        assert!(CareMap::new(routes.into_iter()).may_hold(Ipv6Addr::LOCALHOST));
        let routes = [(Ipv4Addr::UNSPECIFIED, 0, LOCAL)];
        assert!(CareMap::new(routes.into_iter()).may_hold(Ipv4Addr::new(255, 1, 1, 1)));
    }

    proptest! {
        /// No address of ours is ever missed.
        #[test]
        fn holds_what_routes_hold(network: u128, len in 0_u8..=128, host: u128) {
            let host_mask = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            let address = Ipv6Addr::from_bits(network & !host_mask | host & host_mask);
            let route = (Ipv6Addr::from_bits(network), len, LOCAL);
            prop_assert!(CareMap::new([route].into_iter()).may_hold(address));
            let len = len / 4;
            let host_mask = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            let address = Ipv4Addr::from_bits(network as u32 & !host_mask | host as u32 & host_mask);
            let route = (Ipv4Addr::from_bits(network as u32), len, LOCAL);
            prop_assert!(CareMap::new([route].into_iter()).may_hold(address));
        }
    }
}
