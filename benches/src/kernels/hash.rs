//! Hashes of flows.

use std::hint::black_box;
use std::net::Ipv6Addr;

use balancer::{FlowHasher, FlowKey, FlowTuple, HashKey, StickyOwner};

use super::kernel::Kernel;
use super::world::{BURST, instance, key, tuple, vip_id};

const GROUP: &str = "hash";

fn tuple6(flow: u64) -> FlowTuple<Ipv6Addr> {
    let FlowTuple { src, dst, src_port, dst_port, protocol } = tuple(flow);
    let (src, dst) = (src.to_ipv6_mapped(), dst.to_ipv6_mapped());
    FlowTuple { src, dst, src_port, dst_port, protocol }
}

/// The hashes.
pub(super) fn all() -> Vec<Kernel> {
    let flows = || 0..BURST as u64;
    let hasher = || FlowHasher::new(&HashKey::default());
    vec![
        Kernel::new(GROUP, "ipv4 5-tuple", BURST, move || {
            let (hasher, tuples) = (hasher(), flows().map(tuple).collect::<Vec<_>>());
            move || tuples.iter().for_each(|tuple| _ = black_box(hasher.hash(tuple, false)))
        })
        .and_counted(),
        Kernel::new(GROUP, "ipv6 5-tuple", BURST, move || {
            let (hasher, tuples) = (hasher(), flows().map(tuple6).collect::<Vec<_>>());
            move || tuples.iter().for_each(|tuple| _ = black_box(hasher.hash(tuple, false)))
        })
        .and_counted(),
        Kernel::new(GROUP, "ipv4 source alone", BURST, move || {
            let (hasher, tuples) = (hasher(), flows().map(tuple).collect::<Vec<_>>());
            move || tuples.iter().for_each(|tuple| _ = black_box(hasher.hash(tuple, true)))
        }),
        Kernel::new(GROUP, "sticky key of an ipv4 5-tuple", BURST, move || {
            let (instance, vip) = (instance(), vip_id());
            let tuples: Vec<_> = flows().map(tuple).collect();
            move || {
                for tuple in &tuples {
                    black_box(FlowKey::tag(&instance, tuple, vip));
                }
            }
        })
        .and_counted(),
        Kernel::new(GROUP, "sticky key of an ipv6 5-tuple", BURST, move || {
            let (instance, vip) = (instance(), vip_id());
            let tuples: Vec<_> = flows().map(tuple6).collect();
            move || {
                for tuple in &tuples {
                    black_box(FlowKey::tag(&instance, tuple, vip));
                }
            }
        })
        .and_counted(),
        Kernel::new(GROUP, "buckets of a sticky key", BURST, move || {
            let owner = StickyOwner::new(1024, instance(), 1).expect("a power of two");
            let keys: Vec<_> = flows().map(key).collect();
            move || keys.iter().for_each(|key| _ = black_box(owner.table().bucket_of(key)))
        })
        .and_counted(),
    ]
}
