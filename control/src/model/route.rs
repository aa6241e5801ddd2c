//! The RIB: configured routes and what they resolve to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::interface::InterfaceId;

use super::{Kind, Model, Network};

/// A configured route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The router; `None` for a tunnel, which has only one other end.
    pub next_hop: Option<IpAddr>,
    /// The link it is on.
    pub interface: InterfaceId,
}

impl Route {
    /// The next hop as adjacencies have it: a tunnel's is the unspecified address of the family of
    /// `network`.
    pub fn adjacent(self, network: Network) -> IpAddr {
        self.next_hop.unwrap_or(unspecified(network.address.is_ipv6()))
    }
}

/// The next hop of a tunnel's adjacency for packets of this family.
pub fn unspecified(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// Where a packet of our own would go, the load balancer's entries aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// One of our own addresses.
    Local(InterfaceId),
    /// To this neighbour.
    Neighbor {
        /// Link it is on.
        interface: InterfaceId,
        /// The destination itself, its router, or the unspecified address on a tunnel.
        next_hop: IpAddr,
    },
    /// Nowhere: no route, or its interface is down.
    Unreachable,
}

impl Model {
    /// Longest-prefix match over connected networks and routes.
    pub fn resolve(&self, address: IpAddr) -> Destination {
        if let Some(owner) = self.owner_of(address) {
            return Destination::Local(owner.id);
        }
        let connected = self.interfaces.iter().flat_map(|interface| {
            let tunnel = matches!(interface.kind, Kind::Tunnel { .. });
            let next_hop = if tunnel { unspecified(address.is_ipv6()) } else { address };
            let networks = interface.addresses.iter().map(|own| Network::of(*own));
            let on_link = networks.filter(move |network| network.is_host_address(address));
            on_link.map(move |network| (network.prefix_len, true, interface.id, next_hop))
        });
        let routed = self.routes.iter().filter(|(network, _)| network.contains(address));
        let routed = routed.map(|(network, route)| {
            (network.prefix_len, false, route.interface, route.adjacent(*network))
        });
        let best = connected.chain(routed).max_by_key(|(len, connected, ..)| (*len, *connected));
        match best {
            Some((_, _, interface, next_hop)) if self.is_up(interface) => {
                Destination::Neighbor { interface, next_hop }
            }
            _ => Destination::Unreachable,
        }
    }
}
