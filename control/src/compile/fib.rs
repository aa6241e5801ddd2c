//! The FIB as a list of prefixes, each with where it comes from.

use std::net::Ipv4Addr;

use dataplane::adjacency::AdjacencyId;
use dataplane::fib::{FibDrop, FibEntry, FibRoute};

use super::adjacency::Adjacencies;
use crate::model::{Ip4Network, Model};

/// Who put a prefix into the FIB, in rising order of preference for equal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// There always.
    Special,
    /// A neighbour.
    Adjacency,
    /// `ip route add`.
    Cli,
    /// An interface address.
    Interface,
    /// The load balancer.
    Lb,
}

impl Source {
    /// As VPP's `show ip fib` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Special => "special",
            Self::Adjacency => "adjacency",
            Self::Cli => "CLI",
            Self::Interface => "interface",
            Self::Lb => "lb",
        }
    }
}

/// One prefix of the FIB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibRow {
    /// Destination.
    pub network: Ip4Network,
    /// Where it comes from.
    pub source: Source,
    /// What becomes of its packets.
    pub entry: FibEntry,
}

/// Prefixes that no packet is ever forwarded to, as VPP has them.
const SPECIAL: [(Ipv4Addr, u8, FibDrop); 6] = [
    (Ipv4Addr::UNSPECIFIED, 0, FibDrop::NoRoute),
    (Ipv4Addr::UNSPECIFIED, 32, FibDrop::Broadcast),
    (Ipv4Addr::new(127, 0, 0, 0), 8, FibDrop::Configured),
    (Ipv4Addr::new(224, 0, 0, 0), 4, FibDrop::Broadcast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, FibDrop::Broadcast),
    (Ipv4Addr::BROADCAST, 32, FibDrop::Broadcast),
];

/// Everything but neighbours and the load balancer: special prefixes, routes, interface addresses.
pub(super) fn base_rows(model: &Model, adjacencies: &mut Adjacencies) -> Vec<FibRow> {
    let row = |address, len, source, entry| FibRow {
        network: Ip4Network::new(address, len),
        source,
        entry,
    };
    let mut rows: Vec<FibRow> = SPECIAL
        .iter()
        .map(|(address, len, why)| row(*address, *len, Source::Special, FibEntry::Drop(*why)))
        .collect();
    for (network, route) in &model.routes {
        let id = adjacencies.need(model, (route.interface, route.next_hop));
        let entry = id.map_or(FibEntry::Drop(FibDrop::Configured), FibEntry::Adjacency);
        rows.push(FibRow { network: *network, source: Source::Cli, entry });
    }
    for interface in &model.interfaces {
        let link = match interface.up {
            true => FibEntry::Glean(interface.id),
            false => FibEntry::Drop(FibDrop::Configured),
        };
        for own in &interface.addresses {
            let network = Ip4Network::of(*own);
            let ours = |address, len, entry| row(address, len, Source::Interface, entry);
            if network.prefix_len < 32 {
                rows.push(ours(network.address, network.prefix_len, link));
            }
            if network.prefix_len < 31 {
                let broadcast = FibEntry::Drop(FibDrop::Broadcast);
                rows.push(ours(network.address, 32, broadcast));
                rows.push(ours(network.last(), 32, broadcast));
            }
            rows.push(ours(own.address, 32, FibEntry::Local));
        }
    }
    rows
}

/// VIPs, and the ASs that clients may reach past them. `servers` is by AS index.
pub(super) fn add_lb_rows(model: &Model, servers: &[Option<AdjacencyId>], rows: &mut Vec<FibRow>) {
    let mut lb = std::collections::BTreeMap::new();
    for vip in model.lb.vips.values() {
        for server in &vip.servers {
            if let Some(Some(id)) = servers.get(server.index as usize) {
                lb.insert(server.address, FibEntry::AsDirect(*id));
            }
        }
    }
    for vip in model.lb.vips.values().filter(|vip| !vip.removed) {
        let local = model.owner_of(vip.key.address).is_some();
        lb.insert(vip.key.address, FibEntry::Vip { group: 0, local });
    }
    rows.extend(lb.into_iter().map(|(address, entry)| FibRow {
        network: Ip4Network::new(address, 32),
        source: Source::Lb,
        entry,
    }));
}

/// What the data plane's trie is built from: of equal prefixes the preferred source comes last.
pub(super) fn routes(rows: &[FibRow]) -> Vec<FibRoute> {
    let mut sorted: Vec<&FibRow> = rows.iter().collect();
    sorted.sort_by_key(|row| row.source);
    sorted
        .into_iter()
        .map(|row| FibRoute {
            network: row.network.address,
            prefix_len: row.network.prefix_len,
            entry: row.entry,
        })
        .collect()
}
