//! The FIB as a list of prefixes, each with where it comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::fib::{Fib4, FibDrop, FibEntry, FibRoute};
use dataplane::fib6::{Fib6, FibRoute6};

use super::adjacency::Adjacencies;
use crate::model::{InterfaceModel, Kind, Model, Network, unspecified};

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
    /// All, in rising order of preference.
    pub(super) const ALL: [Self; 5] =
        [Self::Special, Self::Adjacency, Self::Cli, Self::Interface, Self::Lb];

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
    pub network: Network,
    /// Where it comes from.
    pub source: Source,
    /// What becomes of its packets.
    pub entry: FibEntry,
}

const NO_ROUTE: FibEntry = FibEntry::Drop(FibDrop::NoRoute);
const CONFIGURED: FibEntry = FibEntry::Drop(FibDrop::Configured);
const GROUP: FibEntry = FibEntry::Drop(FibDrop::Broadcast);

/// Prefixes that no packet is ever forwarded to, as VPP has them.
const SPECIAL4: [(Ipv4Addr, u8, FibEntry); 6] = [
    (Ipv4Addr::UNSPECIFIED, 0, NO_ROUTE),
    (Ipv4Addr::UNSPECIFIED, 32, GROUP),
    (Ipv4Addr::new(127, 0, 0, 0), 8, CONFIGURED),
    (Ipv4Addr::new(224, 0, 0, 0), 4, GROUP),
    (Ipv4Addr::new(240, 0, 0, 0), 4, GROUP),
    (Ipv4Addr::BROADCAST, 32, GROUP),
];

/// The same for IPv6. Packets to groups of ours are taken out before they are routed. `::` is no
/// group: hosts that look whether an address is free (RFC 4862 §5.4.2) send from it.
const SPECIAL6: [(Ipv6Addr, u8, FibEntry); 6] = [
    (Ipv6Addr::UNSPECIFIED, 0, NO_ROUTE),
    (Ipv6Addr::UNSPECIFIED, 128, CONFIGURED),
    (Ipv6Addr::LOCALHOST, 128, CONFIGURED),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, CONFIGURED),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, CONFIGURED),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, GROUP),
];

/// Everything but neighbours and the load balancer: special prefixes, routes, interface addresses.
pub(super) fn base_rows(model: &Model, adjacencies: &mut Adjacencies) -> Vec<FibRow> {
    let special = |network, entry| FibRow { network, source: Source::Special, entry };
    let special4 =
        SPECIAL4.iter().map(|(ip, len, e)| special(Network::new((*ip).into(), *len), *e));
    let special6 =
        SPECIAL6.iter().map(|(ip, len, e)| special(Network::new((*ip).into(), *len), *e));
    let mut rows: Vec<FibRow> = special4.chain(special6).collect();
    for (network, route) in model.routes.iter() {
        let id = adjacencies.need(model, (route.interface, route.adjacent(*network)));
        let entry = id.map_or(CONFIGURED, FibEntry::Adjacency);
        rows.push(FibRow { network: *network, source: Source::Cli, entry });
    }
    for interface in model.interfaces.iter() {
        interface_rows(model, interface, adjacencies, &mut rows);
    }
    rows
}

/// The connected networks and own addresses of an interface.
fn interface_rows(
    model: &Model,
    interface: &InterfaceModel,
    adjacencies: &mut Adjacencies,
    rows: &mut Vec<FibRow>,
) {
    let ours = |network, entry| FibRow { network, source: Source::Interface, entry };
    for own in &interface.addresses {
        let network = Network::of(*own);
        if !network.is_host() && !crate::model::LINK_LOCAL.contains(own.address) {
            let v6 = own.address.is_ipv6();
            let link = match (model.is_up(interface.id), interface.kind) {
                (false, _) => CONFIGURED,
                (true, Kind::Tunnel { .. }) => adjacencies
                    .need(model, (interface.id, unspecified(v6)))
                    .map_or(CONFIGURED, FibEntry::Adjacency),
                (true, _) => FibEntry::Glean(interface.id),
            };
            rows.push(ours(network, link));
        }
        if !network.is_host_address(network.address) {
            rows.push(ours(Network::host(network.address), GROUP));
            rows.push(ours(Network::host(network.last()), GROUP));
        }
    }
    let own = interface.own_addresses();
    rows.extend(own.map(|own| ours(Network::host(own.address), FibEntry::Local)));
}

/// Where packets of our own go: destinations without neighbours and the load balancer.
#[derive(Debug)]
pub struct Base {
    pub(super) fib4: Fib4,
    pub(super) fib6: Fib6,
}

impl Base {
    /// Of rows with equal prefixes the one of the preferred source counts.
    pub(super) fn build(rows: &[FibRow]) -> Self {
        let mut sorted: Vec<&FibRow> = rows.iter().collect();
        sorted.sort_by_key(|row| row.source);
        let (mut routes4, mut routes6) = (Vec::new(), Vec::new());
        for FibRow { network: Network { address, prefix_len }, entry, .. } in sorted {
            let (prefix_len, entry) = (*prefix_len, *entry);
            match *address {
                IpAddr::V4(network) => routes4.push(FibRoute { network, prefix_len, entry }),
                IpAddr::V6(network) => routes6.push(FibRoute6 { network, prefix_len, entry }),
            }
        }
        Self { fib4: Fib4::build(&routes4), fib6: Fib6::build(&routes6) }
    }

    /// The entry of the longest prefix that covers `address`.
    pub fn lookup(&self, address: IpAddr) -> FibEntry {
        match address {
            IpAddr::V4(address) => self.fib4.lookup(address),
            IpAddr::V6(address) => self.fib6.lookup(address),
        }
    }
}
