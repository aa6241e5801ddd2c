//! What changes between packets: time, and what control does.

use super::flows::Goal;
use super::model::{NewFlowOrder, Reference};
use super::outcome::Outcome;
use super::scenario::Change;

impl Reference {
    /// Control makes a change; packets held for a neighbour that is now known leave in the next
    /// [`Reference::turn`].
    pub fn change(&mut self, change: &Change) {
        let config = &mut self.config;
        match *change {
            Change::AddServer { vip, server, weight } => {
                config.vips[vip].servers.insert(server, weight);
                self.removed.remove(&(config.vips[vip].service, server));
            }
            Change::RemoveServer { vip, server, flush } => {
                let service = config.vips[vip].service;
                config.vips[vip].servers.remove(&server);
                self.removed.insert((service, server));
                if flush {
                    *self.flushes.entry((service, server)).or_default() += 1;
                }
            }
            Change::Learn { interface, address, mac } => {
                config.neighbors.insert((interface, address), mac);
            }
            Change::Forget { interface, address } => {
                config.neighbors.remove(&(interface, address));
            }
            Change::SetUp { interface, up } => {
                config.interfaces[usize::from(interface) - 1].up = up;
            }
            Change::SetNat4In { interface, on } => {
                config.interfaces[usize::from(interface) - 1].nat4_in = on;
            }
        }
    }

    /// Control notices which removed ASs have no flows any more, and forgets them. What clients have
    /// with a service that no VIP leads to any more is not the balancer's business.
    pub fn collect(&mut self) {
        let live = self.live_flows();
        self.removed.retain(|server| live.contains_key(server));
        let mut flows = std::mem::take(&mut self.flows);
        flows.retain(|key, _| match key.goal {
            Goal::Vip(_) => true,
            Goal::Direct(service) => !self.candidates(service).is_empty(),
        });
        self.flows = flows;
    }

    /// A turn without a packet.
    pub fn turn(&mut self, table: &dyn NewFlowOrder) -> Outcome {
        self.release_held(table);
        self.finish()
    }
}
