//! IPv6 (RFC 8200).

use std::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::checksum::Delta;
use crate::interface::MacAddress;

/// Smallest MTU of any link that carries IPv6 (RFC 8200 §5), in bytes.
pub const MINIMUM_MTU: u16 = 1280;

/// All nodes of the link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The solicited-node groups without their low 24 bits.
const SOLICITED_NODE: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;

/// The fixed IPv6 header; extension headers and the payload follow it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: U32,
    /// Bytes of all that follows this header, extension headers included.
    pub payload_len: U16,
    /// What follows; see [`protocol`](super::protocol).
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Sender.
    pub source: [u8; 16],
    /// Receiver.
    pub destination: [u8; 16],
}

impl Header for Ipv6Header {}

impl Ipv6Header {
    const FLOW_LABEL_MASK: u32 = 0x000f_ffff;
    const CLASS_SHIFT: u32 = 20;

    /// The header's first word: version 6, this traffic class, the low 20 bits of `flow_label`.
    #[inline]
    pub const fn first_word(traffic_class: u8, flow_label: u32) -> u32 {
        6 << 28 | (traffic_class as u32) << Self::CLASS_SHIFT | (flow_label & Self::FLOW_LABEL_MASK)
    }

    /// 6, or the packet is something else.
    #[inline]
    pub fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// DSCP (6 bits) and ECN (2 bits).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> Self::CLASS_SHIFT) as u8
    }

    /// Differentiated services code point: 0..=63.
    #[inline]
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// Explicit congestion notification bits: 0..=3.
    #[inline]
    pub fn ecn(&self) -> u8 {
        self.traffic_class() & 3
    }

    /// What the sender calls the flow: 20 bits (RFC 6437).
    #[inline]
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & Self::FLOW_LABEL_MASK
    }

    /// Sender.
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        self.source.into()
    }

    /// Receiver.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        self.destination.into()
    }

    /// Replaces DSCP and ECN. No checksum covers them.
    #[inline]
    pub fn set_traffic_class(&mut self, class: u8) {
        let others = self.version_class_flow.get() & !(0xff << Self::CLASS_SHIFT);
        self.version_class_flow.set(others | u32::from(class) << Self::CLASS_SHIFT);
    }

    /// Replaces the DSCP (the low 6 bits of `dscp`) and leaves the ECN bits alone.
    #[inline]
    pub fn set_dscp(&mut self, dscp: u8) {
        self.set_traffic_class(dscp << 2 | self.ecn());
    }

    /// Replaces the flow label by the low 20 bits of `label`.
    #[inline]
    pub fn set_flow_label(&mut self, label: u32) {
        let others = self.version_class_flow.get() & !Self::FLOW_LABEL_MASK;
        self.version_class_flow.set(others | label & Self::FLOW_LABEL_MASK);
    }

    /// Takes one hop off. The hop limit must be above 0.
    #[inline]
    pub fn decrement_hop_limit(&mut self) {
        self.hop_limit = self.hop_limit.wrapping_sub(1);
    }

    /// Replaces the sender. Returns the change, which checksums over the pseudo-header need.
    #[inline]
    pub fn set_source(&mut self, new: Ipv6Addr) -> Delta {
        let delta = Delta::NONE.address(self.source(), new);
        self.source = new.octets();
        delta
    }

    /// Replaces the receiver. Returns the change, which checksums over the pseudo-header need.
    #[inline]
    pub fn set_destination(&mut self, new: Ipv6Addr) -> Delta {
        let delta = Delta::NONE.address(self.destination(), new);
        self.destination = new.octets();
        delta
    }
}

/// The group that a neighbour solicitation for `address` goes to (RFC 4291 §2.7.1).
#[inline]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(SOLICITED_NODE | address.to_bits() & 0x00ff_ffff)
}

/// True for the groups that neighbour solicitations go to: ff02::1:ff00:0/104.
#[inline]
pub fn is_solicited_node(group: Ipv6Addr) -> bool {
    group.to_bits() & !0x00ff_ffff == SOLICITED_NODE
}

/// The Ethernet address of an IPv6 group (RFC 2464 §7).
#[inline]
pub fn group_mac(group: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = group.octets();
    MacAddress([0x33, 0x33, a, b, c, d])
}

/// The link-local address that an interface with this Ethernet address gives itself
/// (RFC 4291 §2.5.6 and appendix A).
#[inline]
pub fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::checksum::transport_checksum;

    /// Traffic class 0xb9 (EF, ECT(1)), flow label 0x54321, 26 bytes of UDP, hop limit 64.
    const HEADER: [u8; 40] = [
        0x6b, 0x95, 0x43, 0x21, 0x00, 0x1a, 0x11, 0x40, //
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
        0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
    ];

    #[test]
    fn reads_every_field() {
        let header = Ipv6Header::at(&HEADER, 0).unwrap();
        assert_eq!((header.version(), header.traffic_class()), (6, 0xb9));
        assert_eq!((header.dscp(), header.ecn()), (46, 1));
        assert_eq!(header.flow_label(), 0x54321);
        assert_eq!((header.payload_len.get(), header.next_header, header.hop_limit), (26, 17, 64));
        assert_eq!(header.source(), "2001:db8::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(header.destination(), "2001:db8:1::2".parse::<Ipv6Addr>().unwrap());
        assert_eq!(header.version_class_flow.get(), Ipv6Header::first_word(0xb9, 0x54321));
    }

    #[test]
    fn parts_of_the_first_word_do_not_disturb_each_other() {
        let mut header = *Ipv6Header::at(&HEADER, 0).unwrap();
        header.set_dscp(0xff);
        assert_eq!(header.version_class_flow.get(), Ipv6Header::first_word(0xfd, 0x54321));
        header.set_flow_label(0xfff0_0001);
        assert_eq!(header.version_class_flow.get(), Ipv6Header::first_word(0xfd, 1));
        header.set_traffic_class(0);
        assert_eq!(header.version_class_flow.get(), 0x6000_0001);
        header.decrement_hop_limit();
        assert_eq!(header.hop_limit, 63);
    }

    #[test]
    fn groups_and_own_addresses_follow_the_standards() {
        // The example of RFC 4291 §2.7.1.
        let address: Ipv6Addr = "4037::01:800:200e:8c6c".parse().unwrap();
        let group = solicited_node(address);
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
        assert!(is_solicited_node(group) && !is_solicited_node(ALL_NODES));
        assert_eq!(group_mac(group), MacAddress([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]));
        assert_eq!(group_mac(ALL_NODES), MacAddress([0x33, 0x33, 0, 0, 0, 1]));
        // The example of RFC 2464 §4.
        let own = link_local(MacAddress([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]));
        assert_eq!(own, "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
    }

    proptest! {
        /// The change that a setter returns carries a transport checksum over.
        #[test]
        fn setters_equal_full_recompute(
            addresses: [u128; 4], segment in prop::collection::vec(any::<u8>(), 1..200),
        ) {
            let mut header = *Ipv6Header::at(&HEADER, 0).unwrap();
            header.source = addresses[0].to_be_bytes();
            header.destination = addresses[1].to_be_bytes();
            let full = |h: &Ipv6Header| {
                transport_checksum(h.source(), h.destination(), h.next_header, &segment)
            };
            let before = full(&header);
            let from = header.set_source(addresses[2].into());
            prop_assert_eq!(before.updated(from), full(&header));
            let to = header.set_destination(addresses[3].into());
            prop_assert_eq!(before.updated(from).updated(to), full(&header));
            prop_assert_eq!(before.updated(from.plus(to)), full(&header));
        }
    }
}
