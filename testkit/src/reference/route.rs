//! Where a destination leads: a scan over every prefix that there is, longest match first.

use std::net::IpAddr;

use super::config::{Config, Kind, covers, width};
use super::model::Reference;

/// What becomes of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// No prefix covers it.
    NoRoute,
    /// The link to it is down.
    LinkDown,
    /// A network or broadcast address.
    Broadcast,
    /// Ours.
    Local,
    /// A VIP's.
    Vip,
    /// On a link, or behind a router on a link.
    Neighbor {
        /// The link.
        interface: u16,
        /// Whose Ethernet address is needed.
        next_hop: IpAddr,
    },
}

/// The connected network that `address` lies in and its length; networks do not overlap.
pub fn connected(config: &Config, address: IpAddr) -> Option<(u16, u8)> {
    config.indices().find_map(|index| {
        let mut own = config.interface(index).addresses.iter();
        own.find(|(own, len)| covers(*own, *len, address)).map(|(_, len)| (index, *len))
    })
}

/// True for the first and the last address of a connected IPv4 network of more than two addresses.
pub fn is_broadcast(config: &Config, address: IpAddr) -> bool {
    let IpAddr::V4(bits) = address else { return false };
    config.interfaces.iter().any(|interface| {
        interface.addresses.iter().any(|(own, prefix_len)| {
            let host_bits = 32_u32.saturating_sub(u32::from(*prefix_len));
            let last = 1_u32.checked_shl(host_bits).map_or(u32::MAX, |span| span - 1);
            let host = u32::from(bits) & last;
            host_bits >= 2 && covers(*own, *prefix_len, address) && (host == 0 || host == last)
        })
    })
}

/// The length of the prefix that leads to `address` without VIPs, and where to.
fn best(config: &Config, address: IpAddr) -> (u8, Destination) {
    if config.is_own(address) {
        return (width(address), Destination::Local);
    }
    if is_broadcast(config, address) {
        return (width(address), Destination::Broadcast);
    }
    let network = connected(config, address);
    let route = config
        .routes
        .iter()
        .filter(|route| covers(route.network, route.prefix_len, address))
        .max_by_key(|route| route.prefix_len)
        // A connected network beats a static route to the very same prefix.
        .filter(|route| network.is_none_or(|(_, len)| len < route.prefix_len));
    let next_hop = route.map_or(address, |route| route.next_hop);
    let len = route.map(|route| route.prefix_len).or(network.map(|(_, len)| len));
    let to = match connected(config, next_hop) {
        Some((interface, _)) if is_up(config, interface) => {
            Destination::Neighbor { interface, next_hop }
        }
        Some(_) => Destination::LinkDown,
        None => Destination::NoRoute,
    };
    (len.unwrap_or(0), to)
}

/// What becomes of `address` if there were no VIPs: the way to an AS.
pub fn route(config: &Config, address: IpAddr) -> Destination {
    best(config, address).1
}

/// True while packets can leave by an interface: a VLAN's port must be up too.
pub fn is_up(config: &Config, interface: u16) -> bool {
    let this = config.interface(interface);
    this.up
        && match this.kind {
            Kind::Vlan { parent, .. } => config.interface(parent).up,
            Kind::Port | Kind::Tunnel { .. } => true,
        }
}

/// True when a host with `address` can be on this link.
pub fn is_on_link(config: &Config, interface: u16, address: IpAddr) -> bool {
    let here = connected(config, address).is_some_and(|(index, _)| index == interface);
    here && !is_broadcast(config, address) && !config.is_own(address)
}

impl Reference {
    /// What becomes of `address`, VIPs included. The longest prefix decides; among equals, a VIP
    /// comes first. An AS is no part of a VIP's prefix that it lies in.
    pub(super) fn destination(&self, address: IpAddr) -> Destination {
        let (len, to) = best(&self.config, address);
        let vip = self.config.vips.iter().filter(|vip| vip.key.has(address));
        let Some(vip) = vip.map(|vip| vip.key.prefix_len).max() else { return to };
        let host = width(address);
        let is_server = matches!(to, Destination::Neighbor { .. }) && self.is_server(address);
        if vip >= len && (vip == host || !is_server) { Destination::Vip } else { to }
    }

    /// True for an address that a VIP listens on.
    pub(super) fn is_vip(&self, address: IpAddr) -> bool {
        self.destination(address) == Destination::Vip
    }

    /// True for the address of an AS.
    pub(super) fn is_server(&self, address: IpAddr) -> bool {
        self.servers().contains(&address)
    }
}
