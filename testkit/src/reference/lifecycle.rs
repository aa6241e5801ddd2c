//! What changes between packets: time, and what control does.

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
            }
            Change::RemoveServer { vip, server, flush } => {
                config.vips[vip].servers.remove(&server);
                if flush {
                    let service = config.vips[vip].service;
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

    /// A turn without a packet.
    pub fn turn(&mut self, table: &dyn NewFlowOrder) -> Outcome {
        self.release_held(table);
        self.finish()
    }
}
