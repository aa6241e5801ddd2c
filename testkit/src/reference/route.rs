//! Where a destination leads: a scan over every prefix that there is, longest match first.

use std::net::Ipv4Addr;

use super::config::Config;

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
        next_hop: Ipv4Addr,
    },
}

/// True when the first `prefix_len` bits agree.
pub fn covers(network: Ipv4Addr, prefix_len: u8, address: Ipv4Addr) -> bool {
    (0..u32::from(prefix_len)).all(|bit| {
        let mask = 1_u32 << (31 - bit);
        u32::from(network) & mask == u32::from(address) & mask
    })
}

/// The connected network that `address` lies in and its length; networks do not overlap.
pub fn connected(config: &Config, address: Ipv4Addr) -> Option<(u16, u8)> {
    config.indices().find_map(|index| {
        let mut own = config.interface(index).addresses.iter();
        own.find(|(own, len)| covers(*own, *len, address)).map(|(_, len)| (index, *len))
    })
}

/// True for the first and the last address of a connected network of more than two addresses.
pub fn is_broadcast(config: &Config, address: Ipv4Addr) -> bool {
    config.interfaces.iter().any(|interface| {
        interface.addresses.iter().any(|(own, prefix_len)| {
            let host_bits = 32_u32.saturating_sub(u32::from(*prefix_len));
            let last = 1_u32.checked_shl(host_bits).map_or(u32::MAX, |span| span - 1);
            let host = u32::from(address) & last;
            host_bits >= 2 && covers(*own, *prefix_len, address) && (host == 0 || host == last)
        })
    })
}

/// What becomes of `address`, VIPs included.
pub fn destination(config: &Config, address: Ipv4Addr) -> Destination {
    if config.is_vip(address) {
        return Destination::Vip;
    }
    route(config, address)
}

/// What becomes of `address` if there were no VIPs: the way to an AS.
pub fn route(config: &Config, address: Ipv4Addr) -> Destination {
    if config.is_own(address) {
        return Destination::Local;
    }
    if is_broadcast(config, address) {
        return Destination::Broadcast;
    }
    let network = connected(config, address);
    let best = config
        .routes
        .iter()
        .filter(|route| covers(route.network, route.prefix_len, address))
        .max_by_key(|route| route.prefix_len)
        // A connected network beats a static route to the very same prefix.
        .filter(|route| network.is_none_or(|(_, len)| len < route.prefix_len));
    let next_hop = best.map_or(address, |route| route.next_hop);
    match connected(config, next_hop) {
        Some((interface, _)) if config.interface(interface).up => {
            Destination::Neighbor { interface, next_hop }
        }
        Some(_) => Destination::LinkDown,
        None => Destination::NoRoute,
    }
}

/// True when a host with `address` can be on this link.
pub fn is_on_link(config: &Config, interface: u16, address: Ipv4Addr) -> bool {
    let here = connected(config, address).is_some_and(|(index, _)| index == interface);
    here && !is_broadcast(config, address) && !config.is_own(address)
}
