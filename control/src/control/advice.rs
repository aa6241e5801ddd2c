//! What is allowed but hardly meant.

use std::collections::BTreeMap;
use std::net::IpAddr;

use balancer::AsId;
use dataplane::interface::InterfaceId;

use super::Control;

/// A link and the family of the replies on it.
pub(super) type NatLink = (InterfaceId, bool);

impl Control {
    /// Interfaces on which ASs of NAT VIPs answer without being translated back, each with one such
    /// AS: `lb set interface nat4 in` (`nat6 in` where the key says true) was forgotten, and no
    /// connection through them works.
    pub fn links_without_nat_in(&self) -> BTreeMap<(InterfaceId, bool), IpAddr> {
        let snapshot = self.publisher.current();
        let vips = self.model.lb.active().filter(|vip| vip.spec.encap().is_nat());
        let servers = vips.flat_map(|vip| vip.servers.iter().filter(|server| !server.removed));
        let links = servers.filter_map(|server| {
            let v6 = server.address.is_ipv6();
            let adjacency = snapshot.server_path(AsId::new(server.index)?)?.adjacency?;
            let link = snapshot.interface(snapshot.adjacency(adjacency)?.interface)?;
            let on = if v6 { link.nat6_in } else { link.nat4_in };
            (!on).then_some(((link.id, v6), server.address))
        });
        links.collect()
    }

    /// Logs each such interface once, when it becomes one.
    pub(super) fn advise(&mut self) {
        let links = self.links_without_nat_in();
        for (link, server) in &links {
            if self.advised.contains(link) {
                continue;
            }
            let name = self.model.name_of(link.0);
            let nat = if link.1 { "nat6" } else { "nat4" };
            tracing::warn!(
                "replies of AS {server} will not be translated: they arrive on {name}, which needs \
                 `lb set interface {nat} in {name}`"
            );
        }
        self.advised = links.into_keys().collect();
    }
}
