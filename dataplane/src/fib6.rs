//! The IPv6 FIB of the data plane: one exact-match table per prefix length in use, asked from the
//! longest to the shortest (the shape of VPP's ip6 FIB). Built by control from the RIB, immutable,
//! shared by reference.
//!
//! A multi-bit trie as IPv4's would be up to 16 dependent loads deep; a box has routes of a handful
//! of lengths. Most of them do not hold a destination, which a bit of a small filter tells.

use std::net::Ipv6Addr;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::care_map::{CareMap, Marks};
use crate::fib::{FibDrop, FibEntry};

/// A destination prefix and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibRoute6 {
    /// Network address; host bits are ignored.
    pub network: Ipv6Addr,
    /// 0..=128; more counts as 128.
    pub prefix_len: u8,
    /// The verdict.
    pub entry: FibEntry,
}

/// All prefixes of one length.
#[derive(Clone, Debug)]
struct Level {
    mask: u128,
    entries: HashTable<(u128, FibEntry)>,
}

/// A hash of a network. What is in a FIB comes from configuration, so that it needs no key.
#[inline]
fn hash_of(network: u128) -> u64 {
    let high = ((network >> 64) as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    let product = (high ^ network as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // Tables take the low bits, and only the high ones depend on all.
    product ^ product >> 32
}

impl Level {
    fn new(mask: u128) -> Self {
        Self { mask, entries: HashTable::new() }
    }

    fn insert(&mut self, network: u128, entry: FibEntry) {
        let same = |known: &(u128, FibEntry)| known.0 == network;
        match self.entries.entry(hash_of(network), same, |(network, _)| hash_of(*network)) {
            Entry::Occupied(mut known) => known.get_mut().1 = entry,
            Entry::Vacant(vacant) => _ = vacant.insert((network, entry)),
        }
    }

    fn remove(&mut self, network: u128) {
        if let Ok(known) = self.entries.find_entry(hash_of(network), |known| known.0 == network) {
            known.remove();
        }
    }

    #[inline]
    fn get(&self, network: u128, hash: u64) -> Option<FibEntry> {
        self.entries.find(hash, |known| known.0 == network).map(|(_, entry)| *entry)
    }
}

/// Bits of a filter: 8 KiB stay in the first-level cache.
const FILTER_BITS: u32 = 16;

/// A bit for each hash of a network of any length; one that is clear is of none.
#[derive(Clone, Debug)]
struct Filter(Box<[u64; 1 << (FILTER_BITS - 6)]>);

impl Filter {
    fn new() -> Self {
        Self(Box::new([0; _]))
    }

    /// The word and bit of a hash.
    #[inline]
    fn place(hash: u64) -> (usize, u64) {
        let bit = hash >> (64 - FILTER_BITS);
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn add(&mut self, hash: u64) {
        let (word, bit) = Self::place(hash);
        self.0[word] |= bit;
    }

    #[inline]
    fn may_hold(&self, hash: u64) -> bool {
        let (word, bit) = Self::place(hash);
        self.0[word] & bit != 0
    }
}

/// Longest-prefix match over IPv6 destinations.
#[derive(Clone, Debug)]
pub struct Fib6 {
    /// Longest prefixes first; `::/0` is not among them.
    levels: Box<[Level]>,
    /// The networks of all levels; of some that are gone, too.
    filter: Filter,
    default: FibEntry,
    /// Where the entry may change from one address to the next: those behind it, in rising order.
    bounds: Vec<u128>,
    care: CareMap,
}

impl Default for Fib6 {
    fn default() -> Self {
        Self::build(&[])
    }
}

impl Fib6 {
    /// Builds the tables. The order of `routes` matters only for equal prefixes, where the last
    /// wins. What no route covers is `Drop(NoRoute)`.
    pub fn build(routes: &[FibRoute6]) -> Self {
        let mut default = FibEntry::Drop(FibDrop::NoRoute);
        let mut levels: Vec<Level> = Vec::new();
        let mut filter = Filter::new();
        for route in routes {
            let Some(mask) = mask(route.prefix_len) else {
                default = route.entry;
                continue;
            };
            let found = levels.iter().position(|level| level.mask == mask);
            let at = found.unwrap_or_else(|| {
                levels.push(Level::new(mask));
                levels.len() - 1
            });
            let network = route.network.to_bits() & mask;
            levels[at].insert(network, route.entry);
            filter.add(hash_of(network));
        }
        // A longer mask is a larger number.
        levels.sort_by_key(|level| std::cmp::Reverse(level.mask));
        let care = CareMap::new(
            routes.iter().map(|route| (route.network, route.prefix_len.min(128), route.entry)),
        );
        let mut bounds: Vec<u128> = routes
            .iter()
            .filter_map(|route| Some((route.network.to_bits(), mask(route.prefix_len)?)))
            .flat_map(|(network, mask)| ends(network & mask, network | !mask))
            .collect();
        bounds.sort_unstable();
        bounds.dedup();
        Self { levels: levels.into_boxed_slice(), filter, default, bounds, care }
    }

    /// This FIB, whose [marks](Self::marks) hold these prefixes (network, length), too.
    #[must_use]
    pub fn caring_for(mut self, prefixes: impl Iterator<Item = (Ipv6Addr, u8)>) -> Self {
        prefixes.for_each(|(network, len)| self.care.mark(network, len.min(128)));
        self
    }

    /// This FIB with other entries for some addresses by themselves, or none of their own. Costs a
    /// copy.
    pub fn with_hosts(&self, hosts: &[(Ipv6Addr, Option<FibEntry>)]) -> Self {
        let mut fib = self.clone();
        if fib.levels.first().is_none_or(|level| level.mask != u128::MAX) {
            let mut levels = fib.levels.into_vec();
            levels.insert(0, Level::new(u128::MAX));
            fib.levels = levels.into();
        }
        for (address, entry) in hosts {
            let (level, network) = (&mut fib.levels[0], address.to_bits());
            let Some(entry) = entry else {
                level.remove(network);
                continue;
            };
            level.insert(network, *entry);
            fib.filter.add(hash_of(network));
            fib.care.add_host(*address, *entry);
            fib.bounds.extend(ends(network, network));
        }
        // Nearly in order, which a stable sort makes use of.
        fib.bounds.sort();
        fib.bounds.dedup();
        fib
    }

    /// Which addresses are surely in no local or VIP prefix, or a group's: cheaper to ask than
    /// [`lookup`](Self::lookup).
    #[inline(always)]
    pub fn marks(&self) -> Marks<'_> {
        self.care.marks()
    }

    /// The entry of the longest prefix that covers `address`.
    #[inline]
    pub fn lookup(&self, address: Ipv6Addr) -> FibEntry {
        let bits = address.to_bits();
        for level in &self.levels {
            let network = bits & level.mask;
            let hash = hash_of(network);
            if self.filter.may_hold(hash)
                && let Some(entry) = level.get(network, hash)
            {
                return entry;
            }
        }
        self.default
    }

    /// The first and the last of the addresses around this one that surely have its entry, too.
    pub fn around(&self, address: Ipv6Addr) -> (Ipv6Addr, Ipv6Addr) {
        let behind = self.bounds.partition_point(|bound| *bound <= address.to_bits());
        let first = behind.checked_sub(1).and_then(|at| self.bounds.get(at)).copied();
        let last = self.bounds.get(behind).map_or(u128::MAX, |bound| bound - 1);
        (Ipv6Addr::from_bits(first.unwrap_or(0)), Ipv6Addr::from_bits(last))
    }
}

/// The bounds of a range: its first address, and the one behind its last, if there is one.
fn ends(first: u128, last: u128) -> impl Iterator<Item = u128> {
    [Some(first), last.checked_add(1)].into_iter().flatten()
}

/// The network bits of a prefix of this length; `None` for `::/0`.
fn mask(prefix_len: u8) -> Option<u128> {
    (prefix_len > 0).then(|| u128::MAX << (128 - u32::from(prefix_len.min(128))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adjacency::AdjacencyId;

    fn route(prefix: &str, id: u32) -> FibRoute6 {
        let (network, prefix_len) = prefix.split_once('/').unwrap();
        FibRoute6 {
            network: network.parse().unwrap(),
            prefix_len: prefix_len.parse().unwrap(),
            entry: FibEntry::Adjacency(AdjacencyId(id)),
        }
    }

    fn found(fib: &Fib6, address: &str) -> Option<u32> {
        match fib.lookup(address.parse().unwrap()) {
            FibEntry::Adjacency(AdjacencyId(id)) => Some(id),
            entry => {
                assert_eq!(entry, FibEntry::Drop(FibDrop::NoRoute));
                None
            }
        }
    }

    #[test]
    fn the_longest_prefix_wins() {
        let fib = Fib6::build(&[
            route("2001:db8::/32", 1),
            route("2001:db8:0:1::/64", 2),
            route("2001:db8:0:1::5/128", 3),
        ]);
        assert_eq!(found(&fib, "2001:db8:0:1::5"), Some(3));
        assert_eq!(found(&fib, "2001:db8:0:1::6"), Some(2));
        assert_eq!(found(&fib, "2001:db8:0:2::6"), Some(1));
        assert_eq!(found(&fib, "2001:db9::"), None);
        assert_eq!(found(&Fib6::default(), "::1"), None);
    }

    #[test]
    fn host_bits_are_ignored_and_the_last_of_equals_wins() {
        let fib = Fib6::build(&[
            route("2001:db8::5/32", 1),
            route("::/0", 2),
            route("2001:db8::9/32", 3),
            route("::1/0", 4),
        ]);
        assert_eq!(found(&fib, "2001:db8::"), Some(3));
        assert_eq!(found(&fib, "::"), Some(4));
    }

    /// The oracle: scan all routes for the longest match.
    fn naive(routes: &[FibRoute6], address: Ipv6Addr) -> FibEntry {
        let mut best: Option<&FibRoute6> = None;
        for route in routes {
            let differing = route.network.to_bits() ^ address.to_bits();
            let inside = differing.leading_zeros() >= u32::from(route.prefix_len);
            if inside && best.is_none_or(|b| b.prefix_len <= route.prefix_len) {
                best = Some(route);
            }
        }
        best.map_or(FibEntry::Drop(FibDrop::NoRoute), |route| route.entry)
    }

    /// Nobody around an address has another entry.
    fn check_around(fib: &Fib6, routes: &[FibRoute6], probe: Ipv6Addr) {
        let (first, last) = fib.around(probe);
        assert!((first..=last).contains(&probe));
        let inside = |route: &&FibRoute6| (first..=last).contains(&route.network);
        let entry = naive(routes, probe);
        for address in
            [first, last].into_iter().chain(routes.iter().filter(inside).map(|r| r.network))
        {
            assert_eq!(naive(routes, address), entry, "{address} around {probe}");
        }
    }

    #[test]
    fn what_is_around_an_address_ends_where_others_begin() {
        let fib = Fib6::build(&[
            route("::/0", 1),
            route("2001:db8:1::/48", 2),
            route("2001:db8:1::7/128", 3),
            route("ff00::/8", 4),
        ]);
        let around = |fib: &Fib6, text: &str| {
            let (first, last) = fib.around(text.parse().unwrap());
            format!("{first} {last}")
        };
        assert_eq!(around(&fib, "2001::"), ":: 2001:db8:0:ffff:ffff:ffff:ffff:ffff");
        let wide = "2001:db8:2:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(around(&fib, "2a00::1"), wide);
        assert_eq!(around(&fib, "2001:db8:1::7"), "2001:db8:1::7 2001:db8:1::7");
        assert_eq!(around(&fib, "2001:db8:1::6"), "2001:db8:1:: 2001:db8:1::6");
        let max = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(around(&fib, max), format!("ff00:: {max}"));
        assert_eq!(around(&Fib6::default(), "::1"), format!(":: {max}"));
        let changed = fib.with_hosts(&[("2a00::1".parse().unwrap(), Some(FibEntry::Local))]);
        assert_eq!(around(&changed, "2a00::1"), "2a00::1 2a00::1");
        assert_eq!(around(&changed, "2a00::"), "2001:db8:2:: 2a00::");
    }

    proptest! {
        #[test]
        fn equals_a_linear_scan(
            routes in prop::collection::vec((0_u32..0x10_0000, 0_u8..=128, 0_u32..9), 0..40),
            probes in prop::collection::vec(0_u32..0x10_0000, 40),
        ) {
            // Few bits at both ends and in the middle make prefixes nest and collide.
            let spread = |a: u32| {
                let a = u128::from(a);
                Ipv6Addr::from_bits((a & 0xff) << 120 | (a >> 8 & 0xf) << 62 | a >> 12)
            };
            let routes: Vec<_> = routes
                .into_iter()
                .map(|(network, prefix_len, id)| FibRoute6 {
                    network: spread(network),
                    prefix_len,
                    entry: FibEntry::Adjacency(AdjacencyId(id)),
                })
                .collect();
            let fib = Fib6::build(&routes);
            for probe in probes.iter().map(|p| spread(*p)).chain(routes.iter().map(|r| r.network)) {
                prop_assert_eq!(fib.lookup(probe), naive(&routes, probe));
                check_around(&fib, &routes, probe);
            }
            // Hosts on top of it, some of them taken back.
            let hosts: Vec<_> =
                probes.iter().map(|p| (spread(*p), Some(FibEntry::Local))).collect();
            let back: Vec<_> = hosts.iter().step_by(3).map(|(host, _)| (*host, None)).collect();
            let cared = routes.iter().map(|route| (route.network, route.prefix_len));
            let changed = fib.caring_for(cared).with_hosts(&hosts).with_hosts(&back);
            for network in routes.iter().map(|route| route.network) {
                prop_assert!(changed.marks().may_hold(network) || network.is_multicast());
            }
            let wider: Vec<_> =
                routes.iter().filter(|route| route.prefix_len < 128).copied().collect();
            for (host, _) in &hosts {
                let expected = match back.iter().any(|(other, _)| other == host) {
                    true => naive(&wider, *host),
                    false => FibEntry::Local,
                };
                prop_assert_eq!(changed.lookup(*host), expected);
                prop_assert!(changed.marks().may_hold(*host) || host.is_multicast());
                prop_assert!(expected != FibEntry::Local || changed.around(*host) == (*host, *host));
            }
            for probe in routes.iter().map(|route| route.network) {
                if hosts.iter().all(|(host, _)| *host != probe) {
                    prop_assert_eq!(changed.lookup(probe), naive(&routes, probe));
                }
            }
        }
    }
}
