//! What changes between packets: time, and what control does.

use super::config::{Interface, Route};
use super::flows::Goal;
use super::model::{NewFlowOrder, Reference};
use super::outcome::Outcome;
use super::scenario::Change;
use super::service::{Admin, VipKey};

impl Reference {
    fn interface_mut(&mut self, index: u16) -> &mut Interface {
        &mut self.config.interfaces[usize::from(index) - 1]
    }

    /// Control makes a change; packets held for a neighbour that is now known leave in the next
    /// [`Reference::turn`].
    pub fn change(&mut self, change: &Change) {
        let config = &mut self.config;
        match change.clone() {
            Change::AddServer { vip, server, with } => {
                config.vips[vip].servers.insert(server, with);
                self.removed.remove(&(config.vips[vip].key, server));
            }
            Change::RemoveServer { vip, server, flush } => {
                let key = config.vips[vip].key;
                if let Some(was) = config.vips[vip].servers.remove(&server) {
                    self.removed.insert((key, server), was);
                }
                if flush {
                    *self.flushes.entry((key, server)).or_default() += 1;
                    self.forget_fragments(|vip, of| (vip, of) == (key, server));
                }
            }
            Change::SetAdmin { vip, server, admin } => {
                if let Some(server) = config.vips[vip].servers.get_mut(&server) {
                    server.admin = admin;
                }
            }
            Change::AddVip(vip) => config.vips.push(vip),
            Change::RemoveVip(key) => self.remove_vip(key),
            Change::SetTimeouts { vip, timeouts } => config.vips[vip].timeouts = timeouts,
            Change::AddRoute(route) => config.routes.push(route),
            Change::RemoveRoute(route) => config.routes.retain(|other: &Route| *other != route),
            Change::Learn { interface, address, mac } => {
                config.neighbors.insert((interface, address), mac);
            }
            Change::Forget { interface, address } => {
                config.neighbors.remove(&(interface, address));
            }
            Change::SetUp { interface, up } => self.interface_mut(interface).up = up,
            Change::SetNat4In { interface, on } => self.interface_mut(interface).nat4_in = on,
            Change::SetNat6In { interface, on } => self.interface_mut(interface).nat6_in = on,
        }
    }

    /// A VIP goes, with all that is known of its flows and ASs.
    fn remove_vip(&mut self, key: VipKey) {
        self.config.vips.retain(|vip| vip.key != key);
        self.removed.retain(|(vip, _), _| *vip != key);
        self.flushes.retain(|(vip, _), _| *vip != key);
        self.turns.remove(&key);
        for worker in &mut self.workers {
            worker.flows.retain(|flow, _| flow.goal != Goal::Vip(key));
        }
        self.forget_fragments(|vip, _| vip == key);
    }

    /// Control notices which removed ASs have no flows any more, and forgets them, as it does those
    /// that were to be drained and then removed. What clients have
    /// with a service that no VIP leads to any more is not the balancer's business.
    pub fn collect(&mut self) {
        let live = self.live_flows();
        for vip in &mut self.config.vips {
            let key = vip.key;
            let drained = vip.servers.extract_if(.., |address, server| {
                server.admin == Admin::DrainThenDel && !live.contains_key(&(key, *address))
            });
            self.removed.extend(drained.map(|(address, server)| ((key, address), server)));
        }
        let mut gone = std::mem::take(&mut self.removed);
        self.removed = gone.extract_if(.., |server, _| live.contains_key(server)).collect();
        self.forget_fragments(|vip, server| gone.contains_key(&(vip, server)));
        for worker in 0..self.workers.len() {
            let mut flows = std::mem::take(&mut self.workers[worker].flows);
            flows.retain(|key, _| match key.goal {
                Goal::Vip(_) => true,
                Goal::Direct => {
                    let to = key.tuple;
                    self.is_target(to.destination, to.protocol, to.destination_port)
                }
            });
            self.workers[worker].flows = flows;
        }
    }

    /// A turn of every worker without a packet.
    pub fn turn(&mut self, table: &dyn NewFlowOrder) -> Outcome {
        for worker in 0..self.workers.len() {
            self.me = worker;
            for v6 in [false, true] {
                self.release_held(v6, table);
                self.expire_fragments(v6);
            }
        }
        self.finish()
    }
}
