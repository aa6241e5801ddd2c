//! The FIB: builds and lookups.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::adjacency::AdjacencyId;
use dataplane::fib::{Fib4, FibEntry, FibRoute};
use dataplane::fib6::{Fib6, FibRoute6};

use super::kernel::Kernel;
use super::world::BURST;

const GROUP: &str = "fib";
const ROUTES: u32 = 10_000;
/// Odd, so that multiples of it go around all addresses.
const SCRAMBLE: u32 = 0x9e37_79b1;

fn routes() -> Vec<FibRoute> {
    let route = |n: u32| FibRoute {
        network: Ipv4Addr::from(n.wrapping_mul(SCRAMBLE)),
        prefix_len: 16 + (n % 17) as u8,
        entry: FibEntry::Adjacency(AdjacencyId(n)),
    };
    (0..ROUTES).map(route).collect()
}

fn wide(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(address.to_bits()) << 64)
}

fn routes6() -> Vec<FibRoute6> {
    let route = |route: FibRoute| FibRoute6 {
        network: wide(route.network),
        prefix_len: 32 + route.prefix_len,
        entry: route.entry,
    };
    routes().into_iter().map(route).collect()
}

/// Of both families.
pub(super) fn all() -> Vec<Kernel> {
    let build = Kernel::new(GROUP, "ipv4 build, 10000 routes", 1, || {
        let routes = routes();
        move || _ = black_box(Fib4::build(black_box(&routes)))
    });
    let lookup = Kernel::new(GROUP, "ipv4 lookup, 10000 routes", BURST, || {
        let (fib, mut address) = (Fib4::build(&routes()), 0_u32);
        move || {
            for _ in 0..BURST {
                address = address.wrapping_add(SCRAMBLE);
                black_box(fib.lookup(Ipv4Addr::from(address)));
            }
        }
    });
    let lookup6 = Kernel::new(GROUP, "ipv6 lookup, 10000 routes", BURST, || {
        let (fib, mut address) = (Fib6::build(&routes6()), 0_u32);
        move || {
            for _ in 0..BURST {
                address = address.wrapping_add(SCRAMBLE);
                black_box(fib.lookup(wide(Ipv4Addr::from(address))));
            }
        }
    });
    vec![build, lookup.and_counted(), lookup6.and_counted()]
}
