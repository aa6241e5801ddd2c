//! What is allowed but hardly meant.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use balancer::AsId;
use dataplane::interface::InterfaceId;

use super::Control;

impl Control {
    /// Interfaces on which ASs of nat4 VIPs answer without being translated back, each with one
    /// such AS: `lb set interface nat4 in` was forgotten, and no connection through them works.
    pub fn links_without_nat4_in(&self) -> BTreeMap<InterfaceId, Ipv4Addr> {
        let snapshot = self.publisher.current();
        let vips = self.model.lb.vips.values().filter(|vip| !vip.removed);
        let servers = vips.flat_map(|vip| vip.servers.iter().filter(|server| !server.removed));
        let links = servers.filter_map(|server| {
            let adjacency = snapshot.server_path(AsId::new(server.index)?)?.adjacency;
            let link = snapshot.interface(snapshot.adjacency(adjacency)?.interface)?;
            (!link.nat4_in).then_some((link.id, server.address))
        });
        links.collect()
    }

    /// Logs each such interface once, when it becomes one.
    pub(super) fn advise(&mut self) {
        let links = self.links_without_nat4_in();
        for (link, server) in &links {
            if self.advised.contains(link) {
                continue;
            }
            let name = self.model.name_of(*link);
            tracing::warn!(
                "replies of AS {server} will not be translated: they arrive on {name}, which needs \
                 `lb set interface nat4 in {name}`"
            );
        }
        self.advised = links.into_keys().collect();
    }
}
