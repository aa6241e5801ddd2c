//! Routes.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Prefix, Problem, Span, Spanned};
use dataplane::interface::InterfaceId;

use super::{InterfaceModel, Kind, Model, Network, Route};

impl Model {
    pub(super) fn add_route(
        &mut self,
        prefix: &Spanned<Prefix>,
        via: Option<&Spanned<IpAddr>>,
        interface: Option<&Spanned<String>>,
    ) -> Result<(), Problem> {
        let network = Network::new(prefix.address(), prefix.length());
        let route = match (via, interface) {
            (Some(via), interface) => self.route_via(network, via, interface)?,
            (None, Some(interface)) => self.route_through(interface)?,
            (None, None) => {
                return Err(Problem::new(prefix.span, "a route needs a next hop")
                    .with_hint("ip route add <prefix> via <next hop> [<interface>]"));
            }
        };
        if let Some(connected) = self.connected_by(network) {
            let reason = format!("{network} is connected to {}", connected.name);
            return Err(Problem::new(prefix.span, reason));
        }
        match self.routes.get(&network) {
            Some(present) if *present != route => {
                let via = present.adjacent(network);
                let through = self.name_of(present.interface);
                let reason = format!("{network} is already routed via {via} {through}");
                Err(Problem::new(prefix.span, reason)
                    .with_hint(format!("first: ip route del {network}")))
            }
            _ => {
                Arc::make_mut(&mut self.routes).insert(network, route);
                Ok(())
            }
        }
    }

    /// The interface that has this very network, or its one address.
    fn connected_by(&self, network: Network) -> Option<&InterfaceModel> {
        self.interfaces.iter().find(|link| {
            let is = |own| Network::of(own) == network || Network::host(own.address) == network;
            link.own_addresses().any(is)
        })
    }

    fn route_via(
        &self,
        network: Network,
        via: &Spanned<IpAddr>,
        interface: Option<&Spanned<String>>,
    ) -> Result<Route, Problem> {
        let next_hop = via.value;
        let problem = |reason: String| Problem::new(via.span, reason);
        let id = interface.map(|name| self.interface_id(name)).transpose()?;
        if next_hop.is_ipv4() != network.address.is_ipv4() {
            return Err(problem(format!("the next hop {next_hop} is not of the prefix's family")));
        }
        if let Some(own) = self.owner_of(next_hop) {
            return Err(problem(format!(
                "the next hop {next_hop} is our own address on {}",
                own.name
            )));
        }
        let link = match id {
            Some(id) => self.interface(id).filter(|link| link.is_connected_to(next_hop)),
            None => self.connected_to(next_hop),
        };
        let Some(link) = link else { return Err(self.not_connected(via.span, next_hop, id)) };
        if matches!(link.kind, Kind::Tunnel { .. }) {
            return Ok(Route { next_hop: None, interface: link.id });
        }
        if !link.can_have_neighbor(next_hop) {
            return Err(problem(format!("no host can have the next hop {next_hop}"))
                .with_hint("it is the network or broadcast address of a connected network"));
        }
        Ok(Route { next_hop: Some(next_hop), interface: link.id })
    }

    fn route_through(&self, interface: &Spanned<String>) -> Result<Route, Problem> {
        let id = self.interface_id(interface)?;
        match self.interface(id).map(|link| link.kind) {
            Some(Kind::Tunnel { .. }) => Ok(Route { next_hop: None, interface: id }),
            _ => {
                let reason = format!("a route through {} needs a next hop", interface.value);
                Err(Problem::new(interface.span, reason).with_hint(
                    "write `via <next hop> <interface>`; only a tunnel has a single other end",
                ))
            }
        }
    }

    pub(super) fn not_connected(
        &self,
        span: Span,
        next_hop: IpAddr,
        id: Option<InterfaceId>,
    ) -> Problem {
        let on = id.map(|id| format!(" on {}", self.name_of(id))).unwrap_or_default();
        let networks: Vec<_> = self
            .interfaces
            .iter()
            .filter(|i| id.is_none_or(|id| i.id == id))
            .flat_map(|i| i.addresses.iter().map(|own| (Network::of(*own), &i.name)))
            .filter(|(network, _)| network.address.is_ipv4() == next_hop.is_ipv4())
            .map(|(network, name)| format!("{network} on {name}"))
            .collect();
        let hint = match networks.is_empty() {
            true if next_hop.is_ipv4() => "no interface has an address yet".to_owned(),
            true => "no interface has an IPv6 address yet".to_owned(),
            false => format!("connected: {}", networks.join(", ")),
        };
        Problem::new(span, format!("the next hop {next_hop} is not on a connected network{on}"))
            .with_hint(hint)
    }

    pub(super) fn remove_route(
        &mut self,
        prefix: &Spanned<Prefix>,
        via: Option<&Spanned<IpAddr>>,
        interface: Option<&Spanned<String>>,
    ) -> Result<(), Problem> {
        let network = Network::new(prefix.address(), prefix.length());
        let Some(route) = self.routes.get(&network).copied() else {
            let problem = Problem::new(prefix.span, format!("there is no route {network}"));
            let connected = self.interfaces.iter().find(|interface| {
                interface.addresses.iter().any(|own| Network::of(*own) == network)
            });
            return Err(match connected {
                Some(interface) => problem.with_hint(format!(
                    "it is connected, and goes with the address of {}",
                    interface.name
                )),
                None => problem,
            });
        };
        // A tunnel has but one other end, whatever address of its network names it.
        let is_its_end = |via: IpAddr| {
            let link = self.interface(route.interface);
            route.next_hop.is_none() && link.is_some_and(|link| link.is_connected_to(via))
        };
        if let Some(via) = via
            && Some(via.value) != route.next_hop
            && !is_its_end(via.value)
        {
            let reason = format!("{network} is not routed via {}", via.value);
            return Err(Problem::new(via.span, reason)
                .with_hint(format!("it is routed via {}", route.adjacent(network))));
        }
        if let Some(name) = interface
            && self.interface_id(name)? != route.interface
        {
            let reason = format!("{network} is not routed through {}", name.value);
            let actual = self.name_of(route.interface);
            return Err(
                Problem::new(name.span, reason).with_hint(format!("it is routed through {actual}"))
            );
        }
        Arc::make_mut(&mut self.routes).remove(&network);
        Ok(())
    }
}
