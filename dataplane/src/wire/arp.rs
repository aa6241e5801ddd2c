//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::ethernet::ether_type;
use crate::interface::MacAddress;

/// An ARP message; only [`ArpHeader::is_ip4_over_ethernet`] ones have these fields.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ArpHeader {
    /// 1 for Ethernet.
    pub hardware_type: U16,
    /// 0x0800 for IPv4.
    pub protocol_type: U16,
    /// 6 for Ethernet.
    pub hardware_len: u8,
    /// 4 for IPv4.
    pub protocol_len: u8,
    /// [`ArpHeader::REQUEST`] or [`ArpHeader::REPLY`].
    pub operation: U16,
    /// Sender's Ethernet address.
    pub sender_mac: [u8; 6],
    /// Sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227 §2.1.1).
    pub sender_address: [u8; 4],
    /// Target's Ethernet address; meaningless in a request.
    pub target_mac: [u8; 6],
    /// Target's IPv4 address.
    pub target_address: [u8; 4],
}

impl Header for ArpHeader {}

impl ArpHeader {
    /// Operation "who has the target address".
    pub const REQUEST: u16 = 1;
    /// Operation "the sender address is at the sender's Ethernet address".
    pub const REPLY: u16 = 2;
    /// Hardware type Ethernet.
    pub const ETHERNET: u16 = 1;

    /// True when types and lengths are those of IPv4 over Ethernet.
    #[inline]
    pub fn is_ip4_over_ethernet(&self) -> bool {
        self.hardware_type.get() == Self::ETHERNET
            && self.protocol_type.get() == ether_type::IPV4
            && (self.hardware_len, self.protocol_len) == (6, 4)
    }

    /// Sender's IPv4 address.
    #[inline]
    pub fn sender(&self) -> Ipv4Addr {
        self.sender_address.into()
    }

    /// Target's IPv4 address.
    #[inline]
    pub fn target(&self) -> Ipv4Addr {
        self.target_address.into()
    }

    /// Turns a request into the reply that gives `mac` for the address asked for.
    #[inline]
    pub fn answer(&mut self, mac: MacAddress) {
        self.operation.set(Self::REPLY);
        self.target_mac = self.sender_mac;
        std::mem::swap(&mut self.sender_address, &mut self.target_address);
        self.sender_mac = mac.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; 28] = [
        0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, request
        2, 0, 0, 0, 0, 9, 10, 10, 10, 1, // sender
        0, 0, 0, 0, 0, 0, 10, 10, 10, 254, // target
    ];

    #[test]
    fn parses_and_answers_a_request() {
        let mut bytes = REQUEST;
        let arp = ArpHeader::at_mut(&mut bytes, 0).unwrap();
        assert!(arp.is_ip4_over_ethernet());
        assert_eq!(arp.operation.get(), ArpHeader::REQUEST);
        assert_eq!(arp.sender(), Ipv4Addr::new(10, 10, 10, 1));
        assert_eq!(arp.target(), Ipv4Addr::new(10, 10, 10, 254));
        arp.answer(MacAddress([2, 0, 0, 0, 0, 1]));
        let reply = [
            0, 1, 8, 0, 6, 4, 0, 2, //
            2, 0, 0, 0, 0, 1, 10, 10, 10, 254, //
            2, 0, 0, 0, 0, 9, 10, 10, 10, 1,
        ];
        assert_eq!(bytes, reply);
    }

    #[test]
    fn each_type_and_length_matters() {
        for (at, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16)] {
            let mut bytes = REQUEST;
            bytes[at] = value;
            assert!(!ArpHeader::at(&bytes, 0).unwrap().is_ip4_over_ethernet(), "byte {at}");
        }
    }
}
