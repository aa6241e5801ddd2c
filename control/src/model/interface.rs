//! Interfaces as configured.

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::interface::{InterfaceId, MacAddress, PortId};

/// An IPv4 address of an interface with the prefix length of its connected network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The interface's own address.
    pub address: Ipv4Addr,
    /// Length of the connected prefix, 0..=32.
    pub prefix_len: u8,
}

impl InterfaceAddress {
    /// True when `other` lies in the connected prefix.
    pub fn contains(&self, other: Ipv4Addr) -> bool {
        self.on_wire().contains(other.into())
    }

    /// As workers know it.
    pub fn on_wire(&self) -> dataplane::interface::InterfaceAddress {
        dataplane::interface::InterfaceAddress {
            address: self.address.into(),
            prefix_len: self.prefix_len,
        }
    }
}

/// One interface.
#[derive(Clone, Debug)]
pub struct InterfaceModel {
    /// Its index.
    pub id: InterfaceId,
    /// The name used in every command.
    pub name: Arc<str>,
    /// The port behind it; `None` for `local0`.
    pub port: Option<PortId>,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Largest IP packet it may send, in bytes.
    pub mtu: u16,
    /// `set interface state … up`.
    pub up: bool,
    /// `lb set interface nat4 in`.
    pub nat4_in: bool,
    /// Its addresses, first configured first.
    pub addresses: Vec<InterfaceAddress>,
}

impl InterfaceModel {
    /// The interface that exists before any device does and never carries packets.
    pub fn local0() -> Self {
        Self {
            id: InterfaceId::LOCAL0,
            name: "local0".into(),
            port: None,
            mac: MacAddress::default(),
            mtu: 0,
            up: false,
            nat4_in: false,
            addresses: Vec::new(),
        }
    }

    /// True when `address` lies in one of its connected networks.
    pub fn is_connected_to(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.contains(address))
    }

    /// The own address to use towards `target`: the one on the target's network, else the first.
    pub fn source_for(&self, target: Ipv4Addr) -> Option<Ipv4Addr> {
        let on_link = self.addresses.iter().find(|own| own.contains(target));
        on_link.or(self.addresses.first()).map(|own| own.address)
    }
}
