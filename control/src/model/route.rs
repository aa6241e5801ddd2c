//! The RIB: configured routes and what they resolve to.

use std::net::Ipv4Addr;

use dataplane::interface::InterfaceId;

use super::{InterfaceAddress, Model};

/// An IPv4 prefix with its host bits cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ip4Network {
    /// Network address.
    pub address: Ipv4Addr,
    /// 0..=32.
    pub prefix_len: u8,
}

impl Ip4Network {
    /// `address/prefix_len`, host bits cleared; a length above 32 counts as 32.
    pub fn new(address: Ipv4Addr, prefix_len: u8) -> Self {
        let prefix_len = prefix_len.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
        Self { address: Ipv4Addr::from(u32::from(address) & mask), prefix_len }
    }

    /// The network of an interface address.
    pub fn of(own: InterfaceAddress) -> Self {
        Self::new(own.address, own.prefix_len)
    }

    /// True when `address` lies in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        Self::new(address, self.prefix_len).address == self.address
    }

    /// True when the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Its highest address: the broadcast address of a network of /30 or shorter.
    pub fn last(self) -> Ipv4Addr {
        let host_bits = u32::MAX.checked_shr(u32::from(self.prefix_len)).unwrap_or(0);
        Ipv4Addr::from(u32::from(self.address) | host_bits)
    }

    /// True when a host of this network can have `address`: /31 (RFC 3021) and /32 have no network
    /// and broadcast address.
    pub fn is_host_address(self, address: Ipv4Addr) -> bool {
        self.contains(address)
            && (self.prefix_len >= 31 || (address != self.address && address != self.last()))
    }
}

impl std::fmt::Display for Ip4Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// A configured route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The router.
    pub next_hop: Ipv4Addr,
    /// The link it is on.
    pub interface: InterfaceId,
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
        /// The destination itself or its router.
        next_hop: Ipv4Addr,
    },
    /// Nowhere: no route, or its interface is down.
    Unreachable,
}

impl Model {
    /// Longest-prefix match over connected networks and routes.
    pub fn resolve(&self, address: Ipv4Addr) -> Destination {
        if let Some(owner) = self.owner_of(address) {
            return Destination::Local(owner.id);
        }
        let connected = self.interfaces.iter().flat_map(|interface| {
            let networks = interface.addresses.iter().map(|own| Ip4Network::of(*own));
            let on_link = networks.filter(|network| network.is_host_address(address));
            on_link.map(|network| (network.prefix_len, true, interface.id, address))
        });
        let routed = self.routes.iter().filter(|(network, _)| network.contains(address));
        let routed = routed
            .map(|(network, route)| (network.prefix_len, false, route.interface, route.next_hop));
        let best = connected.chain(routed).max_by_key(|(len, connected, ..)| (*len, *connected));
        match best {
            Some((_, _, interface, next_hop))
                if self.interface(interface).is_some_and(|i| i.up) =>
            {
                Destination::Neighbor { interface, next_hop }
            }
            _ => Destination::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(a: u8, b: u8, c: u8, d: u8, len: u8) -> Ip4Network {
        Ip4Network::new(Ipv4Addr::new(a, b, c, d), len)
    }

    #[test]
    fn host_bits_broadcast_and_overlap() {
        let net = network(10, 1, 2, 3, 24);
        assert_eq!(net.to_string(), "10.1.2.0/24");
        assert_eq!(net.last(), Ipv4Addr::new(10, 1, 2, 255));
        assert!(!net.is_host_address(net.last()) && !net.is_host_address(net.address));
        assert!(network(10, 1, 2, 4, 31).is_host_address(Ipv4Addr::new(10, 1, 2, 5)));
        assert!(network(0, 0, 0, 0, 0).overlaps(net) && net.overlaps(network(10, 1, 2, 9, 32)));
        assert!(!net.overlaps(network(10, 1, 3, 0, 24)));
        assert_eq!(network(0, 0, 0, 0, 0).last(), Ipv4Addr::BROADCAST);
    }
}
