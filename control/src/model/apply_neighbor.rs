//! Neighbours by command.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Problem, Spanned};
use dataplane::interface::MacAddress;

use super::{Effect, Model, NeighborKey};

impl Model {
    /// Adds a neighbour, or removes it when there is no `mac`.
    pub(super) fn set_neighbor(
        &mut self,
        interface: &Spanned<String>,
        address: &Spanned<IpAddr>,
        mac: Option<config::MacAddress>,
        is_static: bool,
    ) -> Result<(), Problem> {
        let id = self.interface_id(interface)?;
        let ip = address.value;
        let key: NeighborKey = (id, ip);
        let name = &interface.value;
        let problem = |reason: String| Problem::new(address.span, reason);
        let Some(mac) = mac else {
            if self.static_neighbors.contains_key(&key) {
                Arc::make_mut(&mut self.static_neighbors).remove(&key);
            } else {
                if !self.learned_neighbors.contains_key(&key) {
                    return Err(problem(format!("{name} has no neighbor {ip}")));
                }
                self.effects.push(Effect::Forget(key));
            }
            return Ok(());
        };
        if self.owner_of(ip).is_some() {
            return Err(problem(format!("{ip} is our own address")));
        }
        let link = self.interface(id).filter(|link| link.is_ethernet());
        if link.is_none() {
            let reason = format!("{name} has no neighbors with Ethernet addresses");
            return Err(Problem::new(interface.span, reason));
        }
        if !link.is_some_and(|link| link.can_have_neighbor(ip)) {
            let mut refused = self.not_connected(address.span, ip, Some(id));
            refused.reason = format!("{ip} is not a host on a network of {name}");
            return Err(refused);
        }
        let mac = MacAddress(mac.0);
        if is_static {
            Arc::make_mut(&mut self.static_neighbors).insert(key, mac);
        } else {
            Arc::make_mut(&mut self.static_neighbors).remove(&key);
            self.effects.push(Effect::Learn(key, mac));
        }
        Ok(())
    }
}
