//! Interfaces that commands make and unmake: tunnels and sub-interfaces.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Problem, Spanned, SubInterface, VlanKind, defaults};
use dataplane::interface::{InterfaceId, MacAddress};

use super::apply_address::unroutable;
use super::{InterfaceModel, Kind, Model, VlanTags};

/// Largest packet of a new tunnel, in bytes, as in VPP; the way to its far end limits it further.
pub(super) const TUNNEL_MTU: u16 = 9_000;

impl Model {
    /// `create ipip tunnel`; gives the name of the interface.
    pub(super) fn create_tunnel(
        &mut self,
        source: &Spanned<IpAddr>,
        destination: &Spanned<IpAddr>,
        instance: Option<&Spanned<u32>>,
    ) -> Result<String, Problem> {
        for end in [source, destination] {
            if let Some(why) = unroutable(end.value) {
                let reason = format!("{} cannot be the end of a tunnel: {why}", end.value);
                return Err(Problem::new(end.span, reason));
            }
        }
        if let Some(own) = self.owner_of(destination.value) {
            let reason = format!("{} is our own address on {}", destination.value, own.name);
            return Err(Problem::new(destination.span, reason).with_hint("dst is the far end"));
        }
        let tunnels = || {
            self.interfaces.iter().filter_map(|link| match link.kind {
                Kind::Tunnel { source, destination, instance } => {
                    Some((instance, &link.name, (source, destination)))
                }
                _ => None,
            })
        };
        if let Some((_, name, _)) =
            tunnels().find(|(.., ends)| *ends == (source.value, destination.value))
        {
            return Err(Problem::new(destination.span, format!("{name} has these ends already")));
        }
        let number = match instance {
            Some(instance) => {
                if let Some((_, name, _)) = tunnels().find(|(n, ..)| *n == instance.value) {
                    return Err(Problem::new(instance.span, format!("{name} exists already"))
                        .with_hint("leave `instance` out for the lowest free number"));
                }
                instance.value
            }
            None => (0..).find(|n| tunnels().all(|(taken, ..)| taken != *n)).unwrap_or_default(),
        };
        let kind =
            Kind::Tunnel { source: source.value, destination: destination.value, instance: number };
        self.create(&format!("ipip{number}"), source.span, kind, MacAddress::default(), TUNNEL_MTU)
    }

    /// `create sub-interfaces`; gives the name of the interface.
    pub(super) fn create_sub_interface(&mut self, sub: &SubInterface) -> Result<String, Problem> {
        let parent = self.interface_id(&sub.parent)?;
        let Some(link) = self.interface(parent) else { return Ok(String::new()) };
        let Kind::Device(_) = link.kind else {
            let reason = format!("{} cannot have sub-interfaces", link.name);
            return Err(Problem::new(sub.parent.span, reason)
                .with_hint("VLANs are those of a device; a second tag is `inner-dot1q <vlan>`"));
        };
        let protocol = match sub.tags.kind {
            VlanKind::Dot1q => 0x8100,
            VlanKind::Dot1ad => 0x88a8,
        };
        let tags = VlanTags { outer: (protocol, sub.tags.outer), inner: sub.tags.inner };
        for other in self.interfaces.iter() {
            let Kind::SubInterface { parent: of, number, tags: taken } = other.kind else {
                continue;
            };
            if of == parent && number == sub.id.value {
                return Err(Problem::new(sub.id.span, format!("{} exists already", other.name)));
            }
            if of == parent && taken == tags {
                let reason = format!("{} has the tags {} already", other.name, sub.tags.value);
                return Err(Problem::new(sub.tags.span, reason));
            }
        }
        let kind = Kind::SubInterface { parent, number: sub.id.value, tags };
        self.create(&sub.name(), sub.id.span, kind, link.mac, defaults::MTU)
    }

    fn create(
        &mut self,
        name: &str,
        span: config::Span,
        kind: Kind,
        mac: MacAddress,
        mtu: u16,
    ) -> Result<String, Problem> {
        if self.interfaces.named(name).is_some() {
            return Err(Problem::new(span, format!("there is an interface {name} already")));
        }
        let Some(id) = self.interfaces.free_id() else {
            let limit = dataplane::interface::MAX_INTERFACES;
            return Err(Problem::new(
                span,
                format!("there are {limit} interfaces, which is the limit"),
            ));
        };
        Arc::make_mut(&mut self.interfaces).insert(InterfaceModel::new(id, name, kind, mac, mtu));
        Ok(name.to_owned())
    }

    pub(super) fn delete_tunnel(&mut self, name: &Spanned<String>) -> Result<(), Problem> {
        let id = self.interface_id(name)?;
        match self.interface(id).map(|link| link.kind) {
            Some(Kind::Tunnel { .. }) => self.delete(id, name),
            _ => Err(Problem::new(name.span, format!("{} is not a tunnel", name.value))
                .with_hint("`show ipip tunnel` lists them")),
        }
    }

    pub(super) fn delete_sub_interface(&mut self, name: &Spanned<String>) -> Result<(), Problem> {
        let id = self.interface_id(name)?;
        match self.interface(id).map(|link| link.kind) {
            Some(Kind::SubInterface { .. }) => self.delete(id, name),
            _ => Err(Problem::new(name.span, format!("{} is not a sub-interface", name.value))
                .with_hint("`show interface` lists them")),
        }
    }

    /// Takes an interface away with its addresses and static neighbours. Routes through it would
    /// go in silence, so they go first.
    fn delete(&mut self, id: InterfaceId, name: &Spanned<String>) -> Result<(), Problem> {
        if let Some((network, _)) = self.routes.iter().find(|(_, route)| route.interface == id) {
            let reason = format!("the route {network} goes through {}", name.value);
            return Err(
                Problem::new(name.span, reason).with_hint(format!("first: ip route del {network}"))
            );
        }
        Arc::make_mut(&mut self.static_neighbors).retain(|(interface, _), _| *interface != id);
        Arc::make_mut(&mut self.interfaces).remove(id);
        Ok(())
    }
}
