//! Interfaces as the graph sees them: what control configured on top of a DPDK port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most interfaces that can exist at once, `local0` included.
pub const MAX_INTERFACES: usize = 256;

/// Index of an interface (VPP's `sw_if_index`). 0 is `local0`, which never carries packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct InterfaceId(pub u16);

impl InterfaceId {
    /// `local0`: the interface that exists before any device does.
    pub const LOCAL0: Self = Self(0);

    /// Position in per-interface arrays.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// DPDK port number (`port_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct PortId(pub u16);

/// Receive or transmit queue of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct QueueId(pub u16);

/// Ethernet address, in wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// True for group addresses (the low bit of the first byte), broadcast included.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An address of an interface with the prefix length of its connected network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The interface's own address.
    pub address: IpAddr,
    /// Length of the connected prefix, at most 32 or 128.
    pub prefix_len: u8,
}

impl InterfaceAddress {
    /// True when `other` lies in the connected prefix, which no address of the other family does.
    pub fn contains(&self, other: IpAddr) -> bool {
        let len = u32::from(self.prefix_len);
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(len)).unwrap_or(0);
                (u32::from(own) ^ u32::from(other)) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(len)).unwrap_or(0);
                (u128::from(own) ^ u128::from(other)) & mask == 0
            }
            _ => false,
        }
    }
}

/// A VLAN of an interface's port that is an interface of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubInterface {
    /// Protocol and identifier of the outer tag.
    pub outer: (u16, u16),
    /// Identifier of the 802.1Q tag inside, if there is one.
    pub inner: Option<u16>,
    /// The interface.
    pub interface: InterfaceId,
}

/// What workers need to know of one interface; part of the [`Snapshot`](crate::snapshot::Snapshot).
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its index.
    pub id: InterfaceId,
    /// The name used in every command.
    pub name: Box<str>,
    /// The port behind it, a sub-interface's being its parent's; `None` for `local0` and tunnels.
    pub port: Option<PortId>,
    /// Of a sub-interface: the interface whose VLAN it is.
    pub parent: Option<InterfaceId>,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Largest IP packet it may send, in bytes (no Ethernet header).
    pub mtu: u16,
    /// Administrative state (`set interface state`).
    pub up: bool,
    /// Its link takes packets: false while the device behind it has no carrier or is gone.
    pub link_up: bool,
    /// `lb set interface nat4 in`: replies of nat4 ASs arrive here.
    pub nat4_in: bool,
    /// `lb set interface nat6 in`: replies of nat6 ASs arrive here.
    pub nat6_in: bool,
    /// `[punt] tap`: packets for the kernel leave here, and its own come in from here.
    pub punt: bool,
    /// Its addresses of both families, first configured first.
    pub addresses: Box<[InterfaceAddress]>,
    /// Its VLANs.
    pub sub_interfaces: Box<[SubInterface]>,
}

impl Interface {
    /// Whether packets may leave by it.
    #[inline]
    pub fn sends(&self) -> bool {
        self.up & self.link_up
    }

    /// Its own IPv4 address to speak to `target` from: the one in the target's network, else the
    /// first.
    pub fn source4(&self, target: Ipv4Addr) -> Option<Ipv4Addr> {
        match self.source(target.into())? {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    /// The same for IPv6.
    pub fn source6(&self, target: Ipv6Addr) -> Option<Ipv6Addr> {
        match self.source(target.into())? {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }

    fn source(&self, target: IpAddr) -> Option<IpAddr> {
        let mut own = self.addresses.iter().filter(|a| a.address.is_ipv4() == target.is_ipv4());
        let first = own.clone().next();
        own.find(|own| own.contains(target)).or(first).map(|own| own.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_addresses_of_their_family() {
        let own = |address: &str, prefix_len| InterfaceAddress {
            address: address.parse().unwrap(),
            prefix_len,
        };
        let holds = |own: InterfaceAddress, other: &str| own.contains(other.parse().unwrap());
        assert!(holds(own("10.0.0.1", 24), "10.0.0.254"));
        assert!(!holds(own("10.0.0.1", 24), "10.0.1.1"));
        assert!(holds(own("10.0.0.1", 0), "192.0.2.1"));
        assert!(!holds(own("0.0.0.0", 0), "::1"));
        assert!(holds(own("2001:db8::1", 64), "2001:db8::ffff"));
        assert!(!holds(own("2001:db8::1", 64), "2001:db8:0:1::1"));
        assert!(holds(own("2001:db8::1", 128), "2001:db8::1"));
        assert!(!holds(own("2001:db8::1", 128), "2001:db8::2"));
    }
}
