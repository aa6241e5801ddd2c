//! The balancing decision for a packet, without any header.

use std::hint::black_box;

use balancer::{Balancer, LbTables, MAX_SERVERS, StickyOwner, TcpFlags};

use super::kernel::Kernel;
use super::world::{BURST, FLOWS, Visits, buckets_for, instance, tables, tuple, vip_id};

const GROUP: &str = "select";
/// ASs.
const SERVERS: u16 = 16;
/// Seconds that pass between runs with new flows: they soon expire.
const STEP_S: u32 = 10;

/// Decides for a run of packets.
fn select(tables: &LbTables, owner: &mut StickyOwner, now_s: u32, mut flow: impl FnMut() -> u64) {
    let Some(vip) = tables.vip(vip_id()) else { return };
    let mut balancer = Balancer { tables, owner, peers: &[], now_s };
    for _ in 0..BURST {
        black_box(balancer.select(vip, &tuple(flow()), TcpFlags::NONE));
    }
}

fn owner(buckets: u64) -> StickyOwner {
    StickyOwner::new(buckets, instance(), MAX_SERVERS).expect("a power of two")
}

fn known(flows: u64, nat: bool) -> Kernel {
    let way = if nat { "nat" } else { "all ports" };
    let kernel = Kernel::new(GROUP, format!("known, {flows} flows, {way}"), BURST, move || {
        let (tables, mut owner) = (tables(SERVERS, nat), owner(buckets_for(flows)));
        let mut flow = 0;
        for _ in 0..flows.div_ceil(BURST as u64) {
            select(&tables, &mut owner, 0, || {
                flow += 1;
                (flow - 1) % flows
            });
        }
        let mut visits = Visits::of(flows);
        move || select(&tables, &mut owner, 0, || visits.step())
    });
    if flows == FLOWS[0] { kernel.and_counted() } else { kernel }
}

fn new(nat: bool) -> Kernel {
    let way = if nat { "nat" } else { "all ports" };
    Kernel::new(GROUP, format!("new, {way}"), BURST, move || {
        let (tables, mut owner) = (tables(SERVERS, nat), owner(4096));
        let (mut flow, mut now_s) = (0, 0);
        move || {
            now_s += STEP_S;
            select(&tables, &mut owner, now_s, || {
                flow += 1;
                flow
            });
        }
    })
    .and_counted()
}

/// Decisions for known and new flows.
pub(super) fn all() -> Vec<Kernel> {
    let known = FLOWS.iter().flat_map(|flows| [known(*flows, true), known(*flows, false)]);
    known.chain([new(true), new(false)]).collect()
}
