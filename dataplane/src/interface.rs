//! Interfaces as the graph sees them: what control configured on top of a DPDK port.

use std::net::Ipv4Addr;

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
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0);
        (u32::from(self.address) ^ u32::from(other)) & mask == 0
    }
}

/// What workers need to know of one interface; part of the [`Snapshot`](crate::snapshot::Snapshot).
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its index.
    pub id: InterfaceId,
    /// The name used in every command.
    pub name: Box<str>,
    /// The port behind it; `None` for `local0`.
    pub port: Option<PortId>,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Largest IP packet it may send, in bytes (no Ethernet header).
    pub mtu: u16,
    /// Administrative state (`set interface state`).
    pub up: bool,
    /// `lb set interface nat4 in`: replies of nat4 ASs arrive here.
    pub nat4_in: bool,
    /// Its IPv4 addresses, first configured first.
    pub addresses: Box<[InterfaceAddress]>,
}
