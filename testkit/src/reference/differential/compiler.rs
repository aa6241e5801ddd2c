//! [`Compiler`]: what stands between a configuration and the workers.

use std::sync::Arc;

use balancer::{AsId, Prefix, Protocol, StickyTable, VipId};
use dataplane::snapshot::Snapshot;

use crate::reference::config::Config;
use crate::reference::ip::TCP;
use crate::reference::scenario::Change;
use crate::reference::service::{Ports, VipKey};

/// What stands between a configuration and the workers: control, or something simpler.
pub trait Compiler {
    /// A box with this configuration.
    fn start(config: &Config) -> Self;
    /// Makes a change; false if it was refused.
    fn change(&mut self, change: &Change) -> bool;
    /// Forgets removed ASs without flows; `live_flows` is by AS. True if that changed anything.
    fn collect(&mut self, live_flows: &dyn Fn(AsId) -> u32) -> bool;
    /// The state for the workers.
    fn snapshot(&mut self, generation: u64, tables: Vec<Arc<StickyTable>>) -> Snapshot;
    /// The id of a VIP.
    fn vip(&self, key: &VipKey) -> VipId;
}

/// A key as the product has it.
pub fn product_key(key: &VipKey) -> balancer::VipKey {
    let prefix = Prefix { network: key.network, len: key.prefix_len };
    let ports = match key.ports {
        Ports::All => balancer::Ports::All,
        Ports::Range { protocol, first, last } => {
            let protocol = if protocol == TCP { Protocol::Tcp } else { Protocol::Udp };
            balancer::Ports::Range { protocol, first, last }
        }
    };
    balancer::VipKey { prefix, ports }
}

/// A key as the reference has it.
pub(super) fn reference_key(key: &balancer::VipKey) -> VipKey {
    let ports = match key.ports {
        balancer::Ports::All => Ports::All,
        balancer::Ports::Range { protocol, first, last } => {
            Ports::Range { protocol: protocol.number(), first, last }
        }
    };
    VipKey { network: key.prefix.network, prefix_len: key.prefix.len, ports }
}
