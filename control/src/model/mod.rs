//! The mutable desired state of the box, owned by control alone.
//!
//! A command is applied to a copy, which replaces the original only when every command of its
//! transaction was good: bad input changes nothing. The parts that grow large are shared between
//! copies, so that a command costs the same whatever else is configured.

mod apply;
mod apply_address;
mod apply_link;
mod apply_neighbor;
mod apply_route;
mod apply_server;
mod apply_vip;
mod directory;
mod interface;
mod interfaces;
mod lb;
mod merge;
mod network;
mod render;
mod reserved;
mod route;
mod settings;
mod shelf;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use apply_server::not_a_server;
pub use apply_vip::canonical;
pub use directory::Directory;
pub use interface::{InterfaceModel, Kind, VlanTags};
pub use interfaces::Interfaces;
pub use lb::{LbModel, Server, Vip};
pub use network::{LINK_LOCAL, Network};
pub use reserved::{Reserved, ReservedServer, ReservedVip};
pub use route::{Destination, Route, unspecified};
pub use settings::LbSettings;
pub use shelf::{Difference, Shelf};

use dataplane::interface::{InterfaceId, MacAddress, PortId};

/// A neighbour's place: the link and its address there.
pub type NeighborKey = (InterfaceId, IpAddr);

/// Something a command asks for beyond the desired state; done when its transaction is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `set ip neighbor` without `static`: as if the neighbour had told it.
    Learn(NeighborKey, MacAddress),
    /// `set ip neighbor del` of a learned neighbour.
    Forget(NeighborKey),
}

/// The desired state.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// All interfaces.
    pub interfaces: Arc<Interfaces>,
    /// Configured routes; connected ones follow from the interface addresses.
    pub routes: Arc<BTreeMap<Network, Route>>,
    /// `set ip neighbor … static`: never aged, never overwritten by what neighbours say.
    pub static_neighbors: Arc<BTreeMap<NeighborKey, MacAddress>>,
    /// Neighbours that are known at present; the neighbour table keeps this up to date.
    pub learned_neighbors: Arc<BTreeMap<NeighborKey, MacAddress>>,
    /// The load balancer.
    pub lb: LbModel,
    /// What is to be done when this copy is committed.
    pub effects: Vec<Effect>,
}

impl Model {
    /// Adds the interface of a device that has come up and returns its index. It starts down,
    /// without addresses.
    pub fn add_device(
        &mut self,
        name: &str,
        port: PortId,
        mac: MacAddress,
        mtu: u16,
    ) -> InterfaceId {
        let id = self.interfaces.free_id().unwrap_or_default();
        let kind = Kind::Device(port);
        Arc::make_mut(&mut self.interfaces).insert(InterfaceModel::new(id, name, kind, mac, mtu));
        id
    }

    /// Adds the tap to the kernel, which is up from the start.
    pub fn add_punt(&mut self, name: &str, port: PortId, mac: MacAddress) -> InterfaceId {
        let id = self.interfaces.free_id().unwrap_or_default();
        let kind = Kind::Punt(port);
        let mtu = config::defaults::MTU;
        let up = true;
        let new = InterfaceModel::new(id, name, kind, mac, mtu);
        Arc::make_mut(&mut self.interfaces).insert(InterfaceModel { up, ..new });
        id
    }

    /// The tap to the kernel, if there is one.
    pub fn punt(&self) -> Option<&InterfaceModel> {
        self.interfaces.iter().find(|interface| matches!(interface.kind, Kind::Punt(_)))
    }

    /// The interface with this index.
    pub fn interface(&self, id: InterfaceId) -> Option<&InterfaceModel> {
        self.interfaces.get(id)
    }

    /// The name of an interface.
    pub fn name_of(&self, id: InterfaceId) -> &str {
        self.interface(id).map_or("?", |interface| &interface.name)
    }

    /// The port behind an interface, a sub-interface's being its parent's.
    pub fn port_of(&self, interface: &InterfaceModel) -> Option<PortId> {
        match interface.kind {
            Kind::Device(port) | Kind::Punt(port) => Some(port),
            Kind::SubInterface { parent, .. } => match self.interface(parent)?.kind {
                Kind::Device(port) => Some(port),
                _ => None,
            },
            Kind::Local | Kind::Tunnel { .. } => None,
        }
    }

    /// True when an interface is up, and so is the one it is part of.
    pub fn is_up(&self, id: InterfaceId) -> bool {
        self.interface(id).is_some_and(|interface| match interface.kind {
            Kind::SubInterface { parent, .. } => {
                interface.up && self.interface(parent).is_some_and(|parent| parent.up)
            }
            _ => interface.up,
        })
    }

    /// True unless the device behind an interface has no link.
    pub fn has_link(&self, id: InterfaceId) -> bool {
        self.interface(id).is_some_and(|interface| match interface.kind {
            Kind::SubInterface { parent, .. } => {
                self.interface(parent).is_some_and(|parent| parent.link_up)
            }
            _ => interface.link_up,
        })
    }

    /// Changes what is known of an interface's device.
    pub fn change_interface(&mut self, id: InterfaceId, change: impl FnOnce(&mut InterfaceModel)) {
        if let Some(interface) = Arc::make_mut(&mut self.interfaces).get_mut(id) {
            change(interface);
        }
    }

    /// The interface that has `address` as its own.
    pub fn owner_of(&self, address: IpAddr) -> Option<&InterfaceModel> {
        self.interfaces.iter().find(|interface| interface.has(address))
    }

    /// The interface with a connected network that holds `address`. Link-local addresses say
    /// nothing of their link and are on none.
    pub fn connected_to(&self, address: IpAddr) -> Option<&InterfaceModel> {
        let link_local = LINK_LOCAL.contains(address);
        self.interfaces.iter().find(|link| !link_local && link.is_connected_to(address))
    }

    /// The Ethernet address of a neighbour, static entries first.
    pub fn neighbor(&self, key: NeighborKey) -> Option<MacAddress> {
        self.static_neighbors.get(&key).or_else(|| self.learned_neighbors.get(&key)).copied()
    }
}
