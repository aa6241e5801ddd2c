//! The IPv4 FIB of the data plane: an immutable 16-8-8 multi-bit trie (the shape of VPP's
//! ip4 mtrie), built by control from the RIB and shared by reference.

use std::net::Ipv4Addr;

use zerocopy::FromZeros;

use crate::adjacency::AdjacencyId;
use crate::care_map::{CareMap, Marks};
use crate::interface::InterfaceId;

/// Why the FIB drops a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FibDrop {
    /// No route covers it.
    NoRoute,
    /// A route says so (`via drop`), or its next hop is unusable.
    Configured,
    /// A broadcast or network address of a connected prefix, or a group address.
    Broadcast,
}

/// What the FIB says of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FibEntry {
    /// Not to be forwarded.
    Drop(FibDrop),
    /// One of our own addresses.
    Local,
    /// Forward to this neighbour.
    Adjacency(AdjacencyId),
    /// On a connected network, neighbour not known yet: resolve the destination itself.
    Glean(InterfaceId),
    /// A prefix with VIPs; `local` when it is an interface address too, so that what no VIP
    /// matches is ours.
    Vip {
        /// Number of the prefix among those with VIPs ([`VipGroupId`](balancer::VipGroupId)).
        group: u32,
        /// Also one of our interface addresses.
        local: bool,
    },
    /// An AS of a nat4 VIP, reached directly by a client through us as its router.
    AsDirect(AdjacencyId),
}

/// A destination prefix and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibRoute {
    /// Network address; host bits are ignored.
    pub network: Ipv4Addr,
    /// 0..=32.
    pub prefix_len: u8,
    /// The verdict.
    pub entry: FibEntry,
}

const ROOT_SLOTS: usize = 1 << 16;
const PLY_SLOTS: usize = 1 << 8;
/// Set in a slot that points to a ply instead of an entry.
const PLY: u32 = 1 << 31;

/// Longest-prefix match over IPv4 destinations.
#[derive(Clone)]
pub struct Fib4 {
    root: Box<[u32; ROOT_SLOTS]>,
    plies: Vec<[u32; PLY_SLOTS]>,
    entries: Vec<FibEntry>,
    care: CareMap,
}

impl std::fmt::Debug for Fib4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fib4({} entries, {} plies)", self.entries.len(), self.plies.len())
    }
}

impl Default for Fib4 {
    fn default() -> Self {
        Self::build(&[])
    }
}

impl Fib4 {
    /// Builds the trie. The order of `routes` matters only for equal prefixes, where the last wins.
    /// What no route covers is `Drop(NoRoute)`.
    pub fn build(routes: &[FibRoute]) -> Self {
        let mut fib = Self {
            // Not by way of the stack, which has no room for it everywhere.
            root: FromZeros::new_box_zeroed().expect("memory for a FIB"),
            plies: Vec::new(),
            entries: vec![FibEntry::Drop(FibDrop::NoRoute)],
            care: CareMap::new(
                routes.iter().map(|route| (route.network, route.prefix_len.min(32), route.entry)),
            ),
        };
        let mut known = hashbrown::HashMap::new();
        let mut sorted: Vec<&FibRoute> = routes.iter().collect();
        // Shorter prefixes first, so that longer ones overwrite their part; the sort is stable.
        sorted.sort_by_key(|route| route.prefix_len);
        for route in sorted {
            let entry = *known.entry(route.entry).or_insert_with(|| {
                fib.entries.push(route.entry);
                fib.entries.len() as u32 - 1
            });
            fib.insert(u32::from(route.network), route.prefix_len.min(32), entry);
        }
        fib
    }

    /// This FIB, whose [marks](Self::marks) hold these prefixes (network, length), too.
    #[must_use]
    pub fn caring_for(mut self, prefixes: impl Iterator<Item = (Ipv4Addr, u8)>) -> Self {
        prefixes.for_each(|(network, len)| self.care.mark(network, len.min(32)));
        self
    }

    /// This FIB with other entries for some addresses by themselves. An address that is to be as
    /// its surroundings gets their entry. Costs a copy; what goes leaves its memory behind, so that
    /// a FIB that has changed often is to be [built](Self::build) again.
    pub fn with_hosts(&self, hosts: &[(Ipv4Addr, FibEntry)]) -> Self {
        let mut fib = self.clone();
        for (address, entry) in hosts {
            fib.care.add_host(*address, *entry);
            fib.entries.push(*entry);
            fib.insert(u32::from(*address), 32, fib.entries.len() as u32 - 1);
        }
        fib
    }

    fn insert(&mut self, network: u32, prefix_len: u8, entry: u32) {
        let high = (network >> 16) as usize;
        if prefix_len <= 16 {
            let span = 1 << (16 - prefix_len);
            let start = high & !(span - 1);
            self.root[start..start + span].fill(entry);
            return;
        }
        let second = self.ply_under_root(high);
        let middle = (network >> 8 & 0xff) as usize;
        if prefix_len <= 24 {
            let span = 1 << (24 - prefix_len);
            let start = middle & !(span - 1);
            self.plies[second][start..start + span].fill(entry);
            return;
        }
        let third = self.ply_under(second, middle);
        let low = (network & 0xff) as usize;
        let span = 1 << (32 - prefix_len);
        let start = low & !(span - 1);
        self.plies[third][start..start + span].fill(entry);
    }

    fn ply_under_root(&mut self, slot: usize) -> usize {
        let value = self.root[slot];
        if value & PLY != 0 {
            return (value & !PLY) as usize;
        }
        self.plies.push([value; PLY_SLOTS]);
        self.root[slot] = PLY | (self.plies.len() as u32 - 1);
        self.plies.len() - 1
    }

    fn ply_under(&mut self, ply: usize, slot: usize) -> usize {
        let value = self.plies[ply][slot];
        if value & PLY != 0 {
            return (value & !PLY) as usize;
        }
        self.plies.push([value; PLY_SLOTS]);
        let new = self.plies.len() - 1;
        self.plies[ply][slot] = PLY | new as u32;
        new
    }

    /// Which addresses are surely in no local, VIP or broadcast prefix: cheaper to ask than
    /// [`lookup`](Self::lookup).
    #[inline(always)]
    pub fn marks(&self) -> Marks<'_> {
        self.care.marks()
    }

    /// The entry of the longest prefix that covers `address`.
    #[inline]
    pub fn lookup(&self, address: Ipv4Addr) -> FibEntry {
        self.finder().lookup(address)
    }

    /// The entry of a [number](Fib4Finder::number); there is none of others.
    #[inline]
    pub fn entry(&self, number: u32) -> Option<FibEntry> {
        self.entries.get(number as usize).copied()
    }

    /// What a loop over packets needs for [`lookup`](Self::lookup), close at hand.
    #[inline(always)]
    pub fn finder(&self) -> Fib4Finder<'_> {
        Fib4Finder { root: &self.root, plies: &self.plies, entries: &self.entries }
    }
}

/// Looks up IPv4 destinations in a [`Fib4`].
#[derive(Clone, Copy, Debug)]
pub struct Fib4Finder<'a> {
    root: &'a [u32; ROOT_SLOTS],
    plies: &'a [[u32; PLY_SLOTS]],
    entries: &'a [FibEntry],
}

impl Fib4Finder<'_> {
    /// The entry of the longest prefix that covers `address`.
    #[inline(always)]
    pub fn lookup(&self, address: Ipv4Addr) -> FibEntry {
        self.entries[self.number(address) as usize]
    }

    /// The number of that [entry](Fib4::entry). Few addresses have entries of other numbers that are equal.
    #[inline(always)]
    pub fn number(&self, address: Ipv4Addr) -> u32 {
        let address = u32::from(address);
        let mut value = self.root[(address >> 16) as usize];
        if value & PLY != 0 {
            value = self.plies[(value & !PLY) as usize][(address >> 8 & 0xff) as usize];
            if value & PLY != 0 {
                value = self.plies[(value & !PLY) as usize][(address & 0xff) as usize];
            }
        }
        value
    }

    /// Whether that is this number, if the first two bytes of the address alone tell; else false. For where
    /// it was this number before.
    #[inline(always)]
    pub fn is_plainly(&self, address: Ipv4Addr, number: u32) -> bool {
        self.root[(u32::from(address) >> 16) as usize] == number
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn adjacency(id: u32) -> FibEntry {
        FibEntry::Adjacency(AdjacencyId(id))
    }

    #[test]
    fn empty_fib_has_no_route() {
        let fib = Fib4::default();
        assert_eq!(fib.lookup(Ipv4Addr::LOCALHOST), FibEntry::Drop(FibDrop::NoRoute));
    }

    #[test]
    fn last_of_two_equal_prefixes_wins() {
        let route = |id| FibRoute {
            network: Ipv4Addr::new(10, 0, 0, 0),
            prefix_len: 8,
            entry: adjacency(id),
        };
        let fib = Fib4::build(&[route(1), route(2)]);
        assert_eq!(fib.lookup(Ipv4Addr::new(10, 1, 2, 3)), adjacency(2));
    }

    /// The oracle: scan all routes for the longest match.
    fn naive(routes: &[FibRoute], address: Ipv4Addr) -> FibEntry {
        let mut best: Option<&FibRoute> = None;
        for route in routes {
            let mask = u32::MAX.checked_shl(32 - u32::from(route.prefix_len)).unwrap_or(0);
            let inside = (u32::from(route.network) ^ u32::from(address)) & mask == 0;
            if inside && best.is_none_or(|b| b.prefix_len <= route.prefix_len) {
                best = Some(route);
            }
        }
        best.map_or(FibEntry::Drop(FibDrop::NoRoute), |route| route.entry)
    }

    proptest! {
        #[test]
        fn equals_a_linear_scan(
            routes in prop::collection::vec((0_u32..0x0400_0000, 0_u8..=32, 0_u32..9), 0..40),
            probes in prop::collection::vec(0_u32..0x0400_0000, 40),
        ) {
            // A narrow address range makes prefixes nest and collide.
            let spread = |a: u32| Ipv4Addr::from((a & 0x3ff_0000) << 6 | (a & 0xffff));
            let routes: Vec<_> = routes
                .into_iter()
                .map(|(network, prefix_len, id)| FibRoute {
                    network: spread(network),
                    prefix_len,
                    entry: adjacency(id),
                })
                .collect();
            let fib = Fib4::build(&routes);
            for probe in probes.iter().map(|p| spread(*p)).chain(routes.iter().map(|r| r.network)) {
                prop_assert_eq!(fib.lookup(probe), naive(&routes, probe));
            }
            // Hosts on top of it, some of them taken back.
            let hosts: Vec<_> = probes.iter().map(|p| (spread(*p), FibEntry::Local)).collect();
            let back: Vec<_> =
                hosts.iter().step_by(3).map(|(host, _)| (*host, naive(&routes, *host))).collect();
            let cared = routes.iter().map(|route| (route.network, route.prefix_len));
            let changed = fib.caring_for(cared).with_hosts(&hosts).with_hosts(&back);
            prop_assert!(routes.iter().all(|route| changed.marks().may_hold(route.network)));
            for (host, _) in &hosts {
                let taken_back = back.iter().find(|(other, _)| other == host);
                let expected = taken_back.map_or(FibEntry::Local, |(_, entry)| *entry);
                prop_assert_eq!(changed.lookup(*host), expected);
                prop_assert!(changed.marks().may_hold(*host));
            }
            for probe in routes.iter().map(|route| route.network) {
                if hosts.iter().all(|(host, _)| *host != probe) {
                    prop_assert_eq!(changed.lookup(probe), naive(&routes, probe));
                }
            }
        }
    }
}
