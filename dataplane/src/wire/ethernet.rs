//! Ethernet II and IEEE 802.1Q.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use crate::interface::MacAddress;

/// EtherType values, host order.
pub mod ether_type {
    /// IPv4 (RFC 894).
    pub const IPV4: u16 = 0x0800;
    /// ARP (RFC 826).
    pub const ARP: u16 = 0x0806;
    /// IEEE 802.1Q customer tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6 (RFC 2464).
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// Below this the field is the length of an IEEE 802.3 frame with an LLC header.
    pub const FIRST: u16 = 0x0600;
}

/// The untagged Ethernet header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EthernetHeader {
    /// Receiver.
    pub destination: [u8; 6],
    /// Sender.
    pub source: [u8; 6],
    /// What follows; see [`ether_type`].
    pub ether_type: U16,
}

impl Header for EthernetHeader {}

impl EthernetHeader {
    /// Receiver.
    #[inline]
    pub fn destination(&self) -> MacAddress {
        MacAddress(self.destination)
    }

    /// Sender.
    #[inline]
    pub fn source(&self) -> MacAddress {
        MacAddress(self.source)
    }
}

/// What stands between the source address and the payload when a frame is tagged.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VlanHeader {
    /// Priority (3 bits), drop eligible (1), VLAN identifier (12).
    pub tci: U16,
    /// What follows.
    pub ether_type: U16,
}

impl Header for VlanHeader {}

/// VLAN identifier of a tag's TCI (host order). 0 means a priority tag: no VLAN at all.
#[inline]
pub const fn vlan_id(tci: u16) -> u16 {
    tci & 0x0fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_tagged_frame() {
        let bytes = [
            0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x81, 0x00, // Ethernet
            0xe0, 0x64, 0x08, 0x00, // priority 7, VLAN 100, IPv4
        ];
        let ethernet = EthernetHeader::at(&bytes, 0).unwrap();
        assert_eq!(ethernet.destination(), MacAddress([2, 0, 0, 0, 0, 1]));
        assert_eq!(ethernet.source(), MacAddress([2, 0, 0, 0, 0, 2]));
        assert_eq!(ethernet.ether_type.get(), ether_type::VLAN);
        let tag = VlanHeader::at(&bytes, EthernetHeader::LEN).unwrap();
        assert_eq!((vlan_id(tag.tci.get()), tag.ether_type.get()), (100, ether_type::IPV4));
    }

    #[test]
    fn a_priority_tag_has_no_vlan() {
        assert_eq!(vlan_id(0xa000), 0);
    }
}
