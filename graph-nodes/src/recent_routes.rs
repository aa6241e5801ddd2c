//! [`RecentRoutes`]: what the IPv6 FIB said of the last destinations, remembered.

use std::net::Ipv4Addr;

use balancer::Address;
use dataplane::adjacency::AdjacencyId;
use dataplane::family::Family;
use dataplane::fib::{Fib4Finder, FibDrop, FibEntry};
use dataplane::snapshot::Snapshot;

/// How many ranges of addresses are remembered.
const RANGES: usize = 64;

/// IPv6 addresses with one entry.
#[derive(Clone, Copy, Debug)]
struct Range {
    /// Of the snapshot that says so; 0 in an empty one.
    generation: u64,
    first: u128,
    /// The last one less the first.
    width: u128,
    entry: FibEntry,
}

impl Range {
    const EMPTY: Self =
        Self { generation: 0, first: 0, width: 0, entry: FibEntry::Drop(FibDrop::NoRoute) };

    fn new<A: Address>(generation: u64, (first, last): (A, A), entry: FibEntry) -> Self {
        Self { generation, first: first.bits(), width: last.bits() - first.bits(), entry }
    }

    #[inline(always)]
    fn holds(&self, generation: u64, bits: u128) -> bool {
        self.generation == generation && bits.wrapping_sub(self.first) <= self.width
    }

    /// The range around an address.
    #[cold]
    #[inline(never)]
    fn around<F: Family>(snapshot: &Snapshot, address: F::Address) -> Self {
        let entry = F::lookup(snapshot, address);
        Self::new(snapshot.generation, F::around(snapshot, address), entry)
    }
}

/// Where an address's range is: of each /48 the last one, as neighbours most often have one in common.
#[inline(always)]
fn position(bits: u128) -> usize {
    let network = (bits >> 80) as u64;
    (network.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % RANGES
}

/// Says what is remembered, and all of IPv4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteFinder<'a> {
    fib4: Fib4Finder<'a>,
    ranges: &'a [Range; RANGES],
    generation: u64,
}

impl RouteFinder<'_> {
    /// What the FIB says of a destination; `None` if it has to be asked.
    #[inline(always)]
    pub(crate) fn find<F: Family>(&self, address: F::Address) -> Option<UsualRoute> {
        let bits = address.bits();
        if !F::V6 {
            let route = Route(self.fib4.number(Ipv4Addr::from_bits(bits as u32)));
            return Some(UsualRoute { route, ..UsualRoute::NONE });
        }
        let range = &self.ranges[position(bits)];
        let is_there = range.holds(self.generation, bits);
        let Range { first, width, entry, .. } = *range;
        if is_there { Some(UsualRoute { route: Route::to(entry), first, width }) } else { None }
    }

    /// Whether it says the same as before, as far as that is told at once.
    #[inline(always)]
    pub(crate) fn is_usual<F: Family>(&self, address: F::Address, usual: &UsualRoute) -> bool {
        let bits = address.bits();
        if F::V6 {
            return bits.wrapping_sub(usual.first) <= usual.width;
        }
        self.fib4.is_plainly(Ipv4Addr::from_bits(bits as u32), usual.route.0)
    }
}

/// What the FIB said of a destination: most often it says the same of the next one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsualRoute {
    pub(crate) route: Route,
    /// In IPv6 the range of which that is said.
    first: u128,
    width: u128,
}

impl UsualRoute {
    /// No route; only an address that is no host's has it.
    pub(crate) const NONE: Self = Self { route: Route::NOWHERE, first: u128::MAX, width: 0 };
}

/// What the FIB says of some destinations, as a number: in IPv4 that of its entry, in IPv6 the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route(pub(crate) u32);

impl Route {
    /// There is no next hop.
    const NOWHERE: Self = Self(u32::MAX);

    #[inline(always)]
    fn to(entry: FibEntry) -> Self {
        if let FibEntry::Adjacency(hop) = entry { Self(hop.0) } else { Self::NOWHERE }
    }

    /// The next hop, if there is one.
    pub(crate) fn hop<F: Family>(self, snapshot: &Snapshot) -> Option<AdjacencyId> {
        if F::V6 {
            return (self != Self::NOWHERE).then_some(AdjacencyId(self.0));
        }
        match snapshot.fib4.entry(self.0) {
            Some(FibEntry::Adjacency(hop)) => Some(hop),
            _ => None,
        }
    }
}

/// Made of what the FIB says: another snapshot empties it. Most addresses are behind the default
/// route, in a few wide ranges between the prefixes of others.
#[derive(Debug)]
pub(crate) struct RecentRoutes(Box<[Range; RANGES]>);

impl Default for RecentRoutes {
    fn default() -> Self {
        Self(Box::new([Range::EMPTY; RANGES]))
    }
}

impl RecentRoutes {
    /// What the FIB says of a destination. IPv4's is as cheap to ask as this.
    #[inline]
    pub(crate) fn lookup<F: Family>(
        &mut self,
        snapshot: &Snapshot,
        address: F::Address,
    ) -> FibEntry {
        if !F::V6 {
            return F::lookup(snapshot, address);
        }
        let around = || Range::around::<F>(snapshot, address);
        self.find(snapshot.generation, address.bits(), around)
    }

    /// The same as a number.
    #[inline]
    pub(crate) fn route<F: Family>(&mut self, snapshot: &Snapshot, to: F::Address) -> Route {
        if F::V6 {
            return Route::to(self.lookup::<F>(snapshot, to));
        }
        Route(snapshot.fib4.finder().number(Ipv4Addr::from_bits(to.bits() as u32)))
    }

    /// What a loop needs to ask for what is remembered.
    #[inline(always)]
    pub(crate) fn finder<'a>(&'a self, snapshot: &'a Snapshot) -> RouteFinder<'a> {
        let (ranges, generation) = (&*self.0, snapshot.generation);
        RouteFinder { fib4: snapshot.fib4.finder(), ranges, generation }
    }

    #[inline]
    fn find(&mut self, generation: u64, bits: u128, around: impl FnOnce() -> Range) -> FibEntry {
        let range = &mut self.0[position(bits)];
        if !range.holds(generation, bits) {
            *range = around();
        }
        range.entry
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use dataplane::family::Ip6;
    use dataplane::fib::Fib4;
    use dataplane::fib6::{Fib6, FibRoute6};

    use super::*;

    fn fib(routes: &[(&str, u8, u32)]) -> Fib6 {
        let route = |&(network, prefix_len, id): &(&str, u8, u32)| FibRoute6 {
            network: network.parse().unwrap(),
            prefix_len,
            entry: FibEntry::Adjacency(AdjacencyId(id)),
        };
        Fib6::build(&routes.iter().map(route).collect::<Vec<_>>())
    }

    /// Asked again and again for neighbours with other routes, and after changes.
    #[test]
    fn says_what_the_fib_says() {
        let first = fib(&[("::", 0, 1), ("2001:db8:1::", 48, 2), ("2001:db8:1::7", 128, 3)]);
        let second = fib(&[("::", 0, 4), ("2001:db8:1::", 64, 5)]);
        let addresses = ["::", "2001:db8:1::7", "2001:db8:1::8", "2001:db8:1:1::7", "2a00::1"];
        let (mut routes, mut asked) = (RecentRoutes::default(), 0);
        for (generation, fib) in [(1, &first), (2, &second), (3, &first)] {
            for at in 0..200 {
                let address: Ipv6Addr = addresses[at / 20 * at % addresses.len()].parse().unwrap();
                let around = || {
                    asked += 1;
                    Range::new(generation, fib.around(address), fib.lookup(address))
                };
                let entry = routes.find(generation, address.to_bits(), around);
                assert_eq!(entry, fib.lookup(address), "{address}");
            }
        }
        assert!(asked < 300, "remembered half of the time: {asked}");
    }

    /// Where the usual route is said to be that of an address, it is what the FIB says.
    #[test]
    fn only_addresses_of_the_usual_route_have_it() {
        let fib = fib(&[("::", 0, 1), ("2001:db8:1::", 48, 2), ("2001:db8:1::7", 128, 3)]);
        let ends =
            ["::", "2001:db8:0:ffff:ffff::", "2001:db8:1::", "2001:db8:1::7", "2001:db8:2::"];
        let bits = ends.map(|end| end.parse::<Ipv6Addr>().unwrap().to_bits());
        let near = |bits: u128| [bits.wrapping_sub(1), bits, bits + 1].map(Ipv6Addr::from_bits);
        let addresses: Vec<Ipv6Addr> = bits.into_iter().flat_map(near).collect();
        let (mut routes, fib4, mut usually) = (RecentRoutes::default(), Fib4::default(), 0);
        for &address in &addresses {
            let around = || Range::new(1, fib.around(address), fib.lookup(address));
            routes.find(1, address.to_bits(), around);
            let finder = RouteFinder { fib4: fib4.finder(), ranges: &routes.0, generation: 1 };
            let usual = finder.find::<Ip6>(address).expect("is remembered");
            assert!(finder.is_usual::<Ip6>(address, &usual));
            for &other in &addresses {
                let is_usual = finder.is_usual::<Ip6>(other, &usual);
                assert!(!is_usual || usual.route == Route::to(fib.lookup(other)), "{other}");
                usually += u32::from(is_usual);
            }
        }
        assert!(usually > 2 * addresses.len() as u32, "{usually}");
    }
}
