//! Addresses, routes and neighbours.

use std::net::{IpAddr, Ipv4Addr};

use config::{Prefix, Problem, Spanned};
use dataplane::interface::{InterfaceId, MacAddress};

use super::{Effect, InterfaceAddress, Ip4Network, Model, NeighborKey, Route};

/// Why nobody can have `address`, if nobody can.
pub(super) fn unusable(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        _ if address.octets()[0] == 0 => Some("addresses in 0.0.0.0/8 belong to no host"),
        _ if address.is_loopback() => Some("addresses in 127.0.0.0/8 never leave a host"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        _ if address.octets()[0] >= 240 => Some("addresses from 240.0.0.0 on are reserved"),
        _ => None,
    }
}

/// The IPv4 address in `address`.
pub(crate) fn ip4(address: &Spanned<IpAddr>) -> Result<Ipv4Addr, Problem> {
    match address.value {
        IpAddr::V4(ip4) => Ok(ip4),
        IpAddr::V6(_) => Err(ip4_expected(address.span)),
    }
}

/// The IPv4 address and length in `prefix`.
pub(super) fn ip4_prefix(prefix: &Spanned<Prefix>) -> Result<(Ipv4Addr, u8), Problem> {
    match prefix.address() {
        IpAddr::V4(ip4) => Ok((ip4, prefix.length())),
        IpAddr::V6(_) => Err(ip4_expected(prefix.span)),
    }
}

fn ip4_expected(span: config::Span) -> Problem {
    Problem::new(span, "IPv6 is not supported yet").with_hint("use an IPv4 address")
}

impl Model {
    pub(super) fn add_address(
        &mut self,
        interface: &Spanned<String>,
        prefix: &Spanned<Prefix>,
    ) -> Result<(), Problem> {
        let id = self.interface_id(interface)?;
        let (address, prefix_len) = ip4_prefix(prefix)?;
        let own = InterfaceAddress { address, prefix_len };
        let network = Ip4Network::of(own);
        let problem = |reason: String| Err(Problem::new(prefix.span, reason));
        if id == InterfaceId::LOCAL0 {
            return Err(Problem::new(interface.span, "local0 carries no packets")
                .with_hint("give the address to the interface of a device"));
        }
        if let Some(why) = unusable(address) {
            return problem(format!("{address} cannot be an interface address: {why}"));
        }
        if !network.is_host_address(address) {
            let kind = if address == network.address { "network" } else { "broadcast" };
            return problem(format!("{address} is the {kind} address of {network}"));
        }
        for other in &self.interfaces {
            for theirs in &other.addresses {
                let name = &other.name;
                if other.id == id && *theirs == own {
                    // As it is wanted already: a saved configuration can be run again.
                    return Ok(());
                }
                if theirs.address == address {
                    return problem(format!("{name} already has the address {address}"));
                }
                let same = other.id == id && Ip4Network::of(*theirs) == network;
                if Ip4Network::of(*theirs).overlaps(network) && !same {
                    let (other, len) = (theirs.address, theirs.prefix_len);
                    return problem(format!("{network} overlaps with {other}/{len} of {name}"));
                }
            }
        }
        if self.lb.vips.values().any(|vip| vip.server(address).is_some_and(|s| !s.removed)) {
            return problem(format!("{address} is the address of an AS"));
        }
        if let Some(route) = self.routes.get(&network) {
            return Err(Problem::new(
                prefix.span,
                format!("{network} is routed via {}", route.next_hop),
            )
            .with_hint(format!("first: ip route del {network}")));
        }
        self.interfaces[id.index()].addresses.push(own);
        Ok(())
    }

    pub(super) fn remove_address(
        &mut self,
        interface: &Spanned<String>,
        prefix: &Spanned<Prefix>,
    ) -> Result<(), Problem> {
        let id = self.interface_id(interface)?;
        let (address, prefix_len) = ip4_prefix(prefix)?;
        let gone = InterfaceAddress { address, prefix_len };
        let own = &mut self.interfaces[id.index()];
        let Some(at) = own.addresses.iter().position(|a| *a == gone) else {
            let list: Vec<_> =
                own.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix_len)).collect();
            let hint = match list.is_empty() {
                true => "it has no address".to_owned(),
                false => format!("its addresses: {}", list.join(", ")),
            };
            let reason = format!("{} does not have the address {}", own.name, prefix.value);
            return Err(Problem::new(prefix.span, reason).with_hint(hint));
        };
        own.addresses.remove(at);
        let own = &self.interfaces[id.index()];
        let stranded =
            self.routes.iter().find(|(_, r)| r.interface == id && !own.is_connected_to(r.next_hop));
        if let Some((network, route)) = stranded {
            let via = route.next_hop;
            return Err(Problem::new(
                prefix.span,
                format!("the route {network} via {via} needs it"),
            )
            .with_hint(format!("first: ip route del {network}")));
        }
        let (interfaces, statics) = (&self.interfaces, &mut self.static_neighbors);
        statics.retain(|(id, address), _| interfaces[id.index()].is_connected_to(*address));
        Ok(())
    }

    pub(super) fn add_route(
        &mut self,
        prefix: &Spanned<Prefix>,
        via: Option<&Spanned<IpAddr>>,
        interface: Option<&Spanned<String>>,
    ) -> Result<(), Problem> {
        let (address, prefix_len) = ip4_prefix(prefix)?;
        let network = Ip4Network::new(address, prefix_len);
        let Some(via) = via else {
            return Err(Problem::new(prefix.span, "a route needs a next hop")
                .with_hint("ip route add <prefix> via <next hop> [<interface>]"));
        };
        let next_hop = ip4(via)?;
        let id = interface.map(|name| self.interface_id(name)).transpose()?;
        if let Some(own) = self.owner_of(next_hop) {
            let reason = format!("the next hop {next_hop} is our own address on {}", own.name);
            return Err(Problem::new(via.span, reason));
        }
        let link = match id {
            Some(id) => self.interface(id).filter(|i| i.is_connected_to(next_hop)),
            None => self.connected_to(next_hop),
        };
        let Some(link) = link else { return Err(self.not_connected(via.span, next_hop, id)) };
        if !link.addresses.iter().any(|own| Ip4Network::of(*own).is_host_address(next_hop)) {
            let reason = format!("no host can have the next hop {next_hop}");
            return Err(Problem::new(via.span, reason)
                .with_hint("it is the network or broadcast address of a connected network"));
        }
        let route = Route { next_hop, interface: link.id };
        let connected = self.interfaces.iter().find(|i| {
            i.addresses.iter().any(|own| {
                Ip4Network::of(*own) == network || Ip4Network::new(own.address, 32) == network
            })
        });
        if let Some(connected) = connected {
            let reason = format!("{network} is connected to {}", connected.name);
            return Err(Problem::new(prefix.span, reason));
        }
        match self.routes.get(&network) {
            Some(present) if *present != route => {
                let reason = format!("{network} is already routed via {}", present.next_hop);
                Err(Problem::new(prefix.span, reason)
                    .with_hint(format!("first: ip route del {network}")))
            }
            _ => {
                self.routes.insert(network, route);
                Ok(())
            }
        }
    }

    fn not_connected(
        &self,
        span: config::Span,
        next_hop: Ipv4Addr,
        id: Option<InterfaceId>,
    ) -> Problem {
        let on = id.and_then(|id| self.interface(id)).map(|i| format!(" on {}", i.name));
        let networks: Vec<_> = self
            .interfaces
            .iter()
            .filter(|i| id.is_none_or(|id| i.id == id))
            .flat_map(|i| i.addresses.iter().map(|own| (Ip4Network::of(*own), &i.name)))
            .map(|(network, name)| format!("{network} on {name}"))
            .collect();
        let hint = match networks.is_empty() {
            true => "no interface has an address yet".to_owned(),
            false => format!("connected: {}", networks.join(", ")),
        };
        let on = on.unwrap_or_default();
        Problem::new(span, format!("the next hop {next_hop} is not on a connected network{on}"))
            .with_hint(hint)
    }

    pub(super) fn remove_route(
        &mut self,
        prefix: &Spanned<Prefix>,
        via: Option<&Spanned<IpAddr>>,
        interface: Option<&Spanned<String>>,
    ) -> Result<(), Problem> {
        let (address, prefix_len) = ip4_prefix(prefix)?;
        let network = Ip4Network::new(address, prefix_len);
        let Some(route) = self.routes.get(&network).copied() else {
            let problem = Problem::new(prefix.span, format!("there is no route {network}"));
            let connected = self.interfaces.iter().find(|interface| {
                interface.addresses.iter().any(|own| Ip4Network::of(*own) == network)
            });
            return Err(match connected {
                Some(interface) => problem.with_hint(format!(
                    "it is connected, and goes with the address of {}",
                    interface.name
                )),
                None => problem,
            });
        };
        if let Some(via) = via
            && via.value != IpAddr::V4(route.next_hop)
        {
            let reason = format!("{network} is not routed via {}", via.value);
            return Err(Problem::new(via.span, reason)
                .with_hint(format!("it is routed via {}", route.next_hop)));
        }
        if let Some(name) = interface
            && self.interface_id(name)? != route.interface
        {
            let reason = format!("{network} is not routed through {}", name.value);
            let actual = &self.interfaces[route.interface.index()].name;
            return Err(
                Problem::new(name.span, reason).with_hint(format!("it is routed through {actual}"))
            );
        }
        self.routes.remove(&network);
        Ok(())
    }

    /// Adds a neighbour, or removes it when there is no `mac`.
    pub(super) fn set_neighbor(
        &mut self,
        interface: &Spanned<String>,
        address: &Spanned<IpAddr>,
        mac: Option<config::MacAddress>,
        is_static: bool,
    ) -> Result<(), Problem> {
        let id = self.interface_id(interface)?;
        let ip = ip4(address)?;
        let key: NeighborKey = (id, ip);
        let own = &self.interfaces[id.index()];
        let problem = |reason: String| Problem::new(address.span, reason);
        let Some(mac) = mac else {
            if self.static_neighbors.remove(&key).is_none() {
                if !self.learned_neighbors.contains_key(&key) {
                    return Err(problem(format!("{} has no neighbor {ip}", own.name)));
                }
                self.effects.push(Effect::Forget(key));
            }
            return Ok(());
        };
        if self.owner_of(ip).is_some() {
            return Err(problem(format!("{ip} is our own address")));
        }
        if !own.addresses.iter().any(|a| Ip4Network::of(*a).is_host_address(ip)) {
            return Err(self
                .not_connected(address.span, ip, Some(id))
                .into_neighbor(ip, &own.name));
        }
        let mac = MacAddress(mac.0);
        if is_static {
            self.static_neighbors.insert(key, mac);
        } else {
            self.static_neighbors.remove(&key);
            self.effects.push(Effect::Learn(key, mac));
        }
        Ok(())
    }
}

/// Turns the error about a next hop into one about a neighbour.
trait IntoNeighbor {
    fn into_neighbor(self, address: Ipv4Addr, interface: &str) -> Self;
}

impl IntoNeighbor for Problem {
    fn into_neighbor(mut self, address: Ipv4Addr, interface: &str) -> Self {
        self.reason = format!("{address} is not a host on a network of {interface}");
        self
    }
}
