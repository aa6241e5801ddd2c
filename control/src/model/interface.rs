//! Interfaces as configured.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dataplane::adjacency::L2Header;
use dataplane::interface::{InterfaceAddress, InterfaceId, MacAddress, PortId};

use super::{LINK_LOCAL, Network};

/// VLAN tags of a sub-interface's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTags {
    /// Protocol (0x8100 or 0x88a8) and identifier of the outer tag.
    pub outer: (u16, u16),
    /// Identifier of the 802.1Q tag inside, if there is one.
    pub inner: Option<u16>,
}

impl VlanTags {
    /// The tags from the outside in, as frames carry them.
    pub fn on_wire(self) -> Vec<(u16, u16)> {
        /// EtherType of 802.1Q.
        const DOT1Q: u16 = 0x8100;
        std::iter::once(self.outer).chain(self.inner.map(|inner| (DOT1Q, inner))).collect()
    }
}

/// What an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `local0`, which never carries packets.
    Local,
    /// A DPDK port.
    Device(PortId),
    /// A VLAN of a device.
    SubInterface {
        /// The device's interface.
        parent: InterfaceId,
        /// Its number, the part of its name behind the dot.
        number: u32,
        /// The tags of its frames.
        tags: VlanTags,
    },
    /// An IP-in-IP tunnel. Both ends are of one family.
    Tunnel {
        /// Our end.
        source: IpAddr,
        /// The far end.
        destination: IpAddr,
        /// The number in its name.
        instance: u32,
    },
    /// The tap through which the kernel gets packets (`[punt]`).
    Punt(PortId),
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceModel {
    /// Its index.
    pub id: InterfaceId,
    /// The name used in every command.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Its Ethernet address; all zero where there is none.
    pub mac: MacAddress,
    /// Largest IP packet it may send, in bytes.
    pub mtu: u16,
    /// Its device takes packets, as far as is known; no part of the configuration.
    pub link_up: bool,
    /// `set interface state … up`.
    pub up: bool,
    /// `lb set interface nat4 in`.
    pub nat4_in: bool,
    /// `lb set interface nat6 in`.
    pub nat6_in: bool,
    /// Its configured addresses, first configured first.
    pub addresses: Vec<InterfaceAddress>,
}

impl InterfaceModel {
    /// An interface that is down, without addresses.
    pub fn new(id: InterfaceId, name: &str, kind: Kind, mac: MacAddress, mtu: u16) -> Self {
        Self {
            id,
            name: name.into(),
            kind,
            mac,
            mtu,
            up: false,
            nat4_in: false,
            nat6_in: false,
            link_up: true,
            addresses: Vec::new(),
        }
    }

    /// The interface that exists before any device does and never carries packets.
    pub fn local0() -> Self {
        Self::new(InterfaceId::LOCAL0, "local0", Kind::Local, MacAddress::default(), 0)
    }

    /// True when no command makes or unmakes it.
    pub fn is_device(&self) -> bool {
        matches!(self.kind, Kind::Device(_) | Kind::Punt(_) | Kind::Local)
    }

    /// True when it has neighbours, with Ethernet addresses.
    pub fn is_ethernet(&self) -> bool {
        matches!(self.kind, Kind::Device(_) | Kind::SubInterface { .. } | Kind::Punt(_))
    }

    /// The Ethernet header of its frames to `to`.
    pub fn l2_header(&self, to: MacAddress, ether_type: u16) -> L2Header {
        let tags = match self.kind {
            Kind::SubInterface { tags, .. } => tags.on_wire(),
            _ => Vec::new(),
        };
        L2Header::new(to, self.mac, &tags, ether_type)
    }

    /// The link-local address that goes with its IPv6 addresses, made from its Ethernet address
    /// (RFC 4291 appendix A). None without IPv6, and none when one was configured.
    pub fn derived_link_local(&self) -> Option<InterfaceAddress> {
        let mut ip6 = self.addresses.iter().filter(|own| own.address.is_ipv6()).peekable();
        let present = ip6.peek().is_some();
        if !present || !self.is_ethernet() || ip6.any(|own| LINK_LOCAL.contains(own.address)) {
            return None;
        }
        let [a, b, c, d, e, f] = self.mac.0;
        let halves = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&[0xfe, 0x80]);
        octets[8..].copy_from_slice(&halves);
        Some(InterfaceAddress { address: Ipv6Addr::from(octets).into(), prefix_len: 64 })
    }

    /// All its addresses: those configured, and the link-local one that goes with them.
    pub fn own_addresses(&self) -> impl Iterator<Item = InterfaceAddress> {
        self.addresses.iter().copied().chain(self.derived_link_local())
    }

    /// True when `address` is its own.
    pub fn has(&self, address: IpAddr) -> bool {
        self.own_addresses().any(|own| own.address == address)
    }

    /// True when `address` lies in one of its connected networks.
    pub fn is_connected_to(&self, address: IpAddr) -> bool {
        self.own_addresses().any(|own| own.contains(address))
    }

    /// True when a host on one of its connected networks can have `address`.
    pub fn can_have_neighbor(&self, address: IpAddr) -> bool {
        self.own_addresses().any(|own| Network::of(own).is_host_address(address))
    }

    /// The own address to use towards `target`: the one on the target's network, else the first of
    /// its family.
    pub fn source_for(&self, target: IpAddr) -> Option<IpAddr> {
        let mut own = self.own_addresses().filter(|a| a.address.is_ipv4() == target.is_ipv4());
        let first = own.next()?;
        let on_link = std::iter::once(first).chain(own).find(|own| own.contains(target));
        Some(on_link.unwrap_or(first).address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(addresses: &[&str]) -> InterfaceModel {
        let mac = MacAddress([2, 0, 0, 0x12, 0x34, 0x56]);
        let kind = Kind::Device(PortId(0));
        let mut link = InterfaceModel::new(InterfaceId(1), "eth0", kind, mac, 1500);
        link.addresses = addresses.iter().map(|text| own(text)).collect();
        link
    }

    fn own(text: &str) -> InterfaceAddress {
        let (address, len) = text.split_once('/').unwrap();
        InterfaceAddress { address: address.parse().unwrap(), prefix_len: len.parse().unwrap() }
    }

    #[test]
    fn ipv6_brings_a_link_local_address_unless_one_is_given() {
        assert_eq!(link(&["10.0.0.1/24"]).derived_link_local(), None);
        let link_local = link(&["10.0.0.1/24", "2001:db8::1/64"]).derived_link_local();
        // The universal bit of the Ethernet address is set: it is cleared here.
        assert_eq!(link_local, Some(own("fe80::ff:fe12:3456/64")));
        assert_eq!(link(&["2001:db8::1/64", "fe80::7/64"]).derived_link_local(), None);
    }

    #[test]
    fn the_source_is_of_the_targets_network_or_at_least_family() {
        let link = link(&["10.0.0.1/24", "10.9.0.1/16", "2001:db8::1/64"]);
        let source = |target: &str| {
            link.source_for(target.parse().unwrap()).map(|address| address.to_string())
        };
        assert_eq!(source("10.9.1.1").unwrap(), "10.9.0.1");
        assert_eq!(source("192.0.2.1").unwrap(), "10.0.0.1");
        assert_eq!(source("2001:db8:7::1").unwrap(), "2001:db8::1");
        assert_eq!(source("fe80::9").unwrap(), "fe80::ff:fe12:3456");
    }
}
