//! Addresses of interfaces.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Prefix, Problem, Spanned};
use dataplane::interface::{InterfaceAddress, InterfaceId};

use super::{InterfaceModel, LINK_LOCAL, Model, Network};

/// Why nobody can have `address`, if nobody can.
pub(super) fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) if address.octets()[0] == 0 => {
            Some("addresses in 0.0.0.0/8 belong to no host")
        }
        IpAddr::V4(address) if address.is_loopback() => {
            Some("addresses in 127.0.0.0/8 never leave a host")
        }
        IpAddr::V6(address) if address.is_unspecified() => Some("it means no address"),
        IpAddr::V6(address) if address.is_loopback() => Some("it never leaves a host"),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Some("it is an IPv4 address in IPv6 notation, which no packet carries")
        }
        _ if address.is_multicast() => Some("it is a multicast address"),
        IpAddr::V4(address) if address.octets()[0] >= 240 => {
            Some("addresses from 240.0.0.0 on are reserved")
        }
        _ => None,
    }
}

/// The same for an address that must be reached over routes.
pub(super) fn unroutable(address: IpAddr) -> Option<&'static str> {
    let link_local = LINK_LOCAL.contains(address);
    unusable(address).or(link_local.then_some("a link-local address is not routed"))
}

impl Model {
    pub(super) fn add_address(
        &mut self,
        interface: &Spanned<String>,
        prefix: &Spanned<Prefix>,
    ) -> Result<(), Problem> {
        let id = self.interface_id(interface)?;
        let own = InterfaceAddress { address: prefix.address(), prefix_len: prefix.length() };
        if id == InterfaceId::LOCAL0 {
            return Err(Problem::new(interface.span, "local0 carries no packets")
                .with_hint("give the address to the interface of a device"));
        }
        if self.interface(id).is_some_and(|interface| interface.addresses.contains(&own)) {
            // As it is wanted already: a saved configuration can be run again.
            return Ok(());
        }
        self.check_address(id, own).map_err(|reason| Problem::new(prefix.span, reason))?;
        let networks = [Network::of(own), Network::host(own.address)];
        let routed = networks.iter().find_map(|to| Some((to, self.routes.get(to)?)));
        if let Some((network, route)) = routed {
            let via = route.adjacent(*network);
            return Err(Problem::new(prefix.span, format!("{network} is routed via {via}"))
                .with_hint(format!("first: ip route del {network}")));
        }
        let interface = self.interface_mut(interface)?;
        interface.addresses.push(own);
        Ok(())
    }

    /// Why an interface cannot have this address, if so.
    fn check_address(&self, id: InterfaceId, own: InterfaceAddress) -> Result<(), String> {
        let (address, network) = (own.address, Network::of(own));
        if let Some(why) = unusable(address) {
            return Err(format!("{address} cannot be an interface address: {why}"));
        }
        if !network.is_host_address(address) {
            let kind = if address == network.address { "network" } else { "broadcast" };
            return Err(format!("{address} is the {kind} address of {network}"));
        }
        let link_local = LINK_LOCAL.contains(address);
        for other in self.interfaces.iter() {
            let name = &other.name;
            if other.has(address) && (other.id == id || !link_local) {
                return Err(format!("{name} already has the address {address}"));
            }
            // Link-local networks are the same on every link.
            let overlapping = other.addresses.iter().find(|theirs| {
                let theirs = Network::of(**theirs);
                let same = other.id == id && theirs == network;
                !link_local && theirs.overlaps(network) && !same
            });
            if let Some(theirs) = overlapping {
                let (other, len) = (theirs.address, theirs.prefix_len);
                return Err(format!("{network} overlaps with {other}/{len} of {name}"));
            }
        }
        if self.lb.served_by(address).is_some() {
            return Err(format!("{address} is the address of an AS"));
        }
        Ok(())
    }

    pub(super) fn remove_address(
        &mut self,
        interface: &Spanned<String>,
        prefix: &Spanned<Prefix>,
    ) -> Result<(), Problem> {
        let gone = InterfaceAddress { address: prefix.address(), prefix_len: prefix.length() };
        let own = self.interface_mut(interface)?;
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
        let id = own.id;
        let stranded = |link: &InterfaceModel| {
            let lost = |hop: Option<IpAddr>| hop.is_some_and(|hop| !link.is_connected_to(hop));
            self.routes.iter().find(|(_, r)| r.interface == id && lost(r.next_hop))
        };
        if let Some((network, route)) = self.interface(id).and_then(stranded) {
            let via = route.adjacent(*network);
            return Err(Problem::new(
                prefix.span,
                format!("the route {network} via {via} needs it"),
            )
            .with_hint(format!("first: ip route del {network}")));
        }
        let (interfaces, statics) = (&self.interfaces, Arc::make_mut(&mut self.static_neighbors));
        statics.retain(|(id, address), _| {
            interfaces.get(*id).is_some_and(|link| link.is_connected_to(*address))
        });
        Ok(())
    }
}
