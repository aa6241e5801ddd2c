//! The mutable desired state of the box, owned by control alone.
//!
//! A command is applied to a copy, which replaces the original only when every command of its
//! transaction was good: bad input changes nothing. The parts that grow large (VIPs and their ASs)
//! are shared between copies.

mod apply;
mod apply_ip;
mod apply_lb;
mod interface;
mod lb;
mod render;
mod route;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub(crate) use apply_ip::ip4;
pub use interface::{InterfaceAddress, InterfaceModel};
pub use lb::{LbModel, Server, Vip, VipKey};
pub use route::{Destination, Ip4Network, Route};

use dataplane::interface::{InterfaceId, MacAddress, PortId};

/// A neighbour's place: the link and its address there.
pub type NeighborKey = (InterfaceId, Ipv4Addr);

/// Something a command asks for beyond the desired state; done when its transaction is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `set ip neighbor` without `static`: as if ARP had told it.
    Learn(NeighborKey, MacAddress),
    /// `set ip neighbor del` of a learned neighbour.
    Forget(NeighborKey),
}

/// The desired state.
#[derive(Clone, Debug)]
pub struct Model {
    /// By [`InterfaceId`]; 0 is `local0`.
    pub interfaces: Vec<InterfaceModel>,
    /// Configured routes; connected ones follow from the interface addresses.
    pub routes: BTreeMap<Ip4Network, Route>,
    /// `set ip neighbor … static`: never aged, never overwritten by what ARP says.
    pub static_neighbors: BTreeMap<NeighborKey, MacAddress>,
    /// Neighbours that ARP knows at present; the neighbour table keeps this up to date.
    pub learned_neighbors: BTreeMap<NeighborKey, MacAddress>,
    /// The load balancer.
    pub lb: LbModel,
    /// What is to be done when this copy is committed.
    pub effects: Vec<Effect>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            interfaces: vec![InterfaceModel::local0()],
            routes: BTreeMap::new(),
            static_neighbors: BTreeMap::new(),
            learned_neighbors: BTreeMap::new(),
            lb: LbModel::default(),
            effects: Vec::new(),
        }
    }
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
        let id = InterfaceId(self.interfaces.len() as u16);
        self.interfaces.push(InterfaceModel {
            id,
            name: name.into(),
            port: Some(port),
            mac,
            mtu,
            up: false,
            nat4_in: false,
            addresses: Vec::new(),
        });
        id
    }

    /// The interface with this index.
    pub fn interface(&self, id: InterfaceId) -> Option<&InterfaceModel> {
        self.interfaces.get(id.index())
    }

    /// The interface called `name`.
    pub fn interface_named(&self, name: &str) -> Option<&InterfaceModel> {
        self.interfaces.iter().find(|interface| &*interface.name == name)
    }

    /// The interface that has `address` as its own.
    pub fn owner_of(&self, address: Ipv4Addr) -> Option<&InterfaceModel> {
        self.interfaces.iter().find(|i| i.addresses.iter().any(|a| a.address == address))
    }

    /// The interface with a connected network that holds `address`.
    pub fn connected_to(&self, address: Ipv4Addr) -> Option<&InterfaceModel> {
        self.interfaces.iter().find(|interface| interface.is_connected_to(address))
    }

    /// The Ethernet address of a neighbour, static entries first.
    pub fn neighbor(&self, key: NeighborKey) -> Option<MacAddress> {
        self.static_neighbors.get(&key).or_else(|| self.learned_neighbors.get(&key)).copied()
    }
}
