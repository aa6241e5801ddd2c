//! IPv4 (RFC 791).

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::checksum::{Checksum, Delta, are_words_valid, sum};

/// IP protocol numbers, which are IPv6's next header values too (RFC 8200 §3).
pub mod protocol {
    /// IPv6 hop-by-hop options (RFC 8200 §4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// IPv4 inside IP (RFC 2003).
    pub const IPIP: u8 = 4;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// IPv6 inside IP (RFC 2473).
    pub const IPV6: u8 = 41;
    /// IPv6 routing header (RFC 8200 §4.4).
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header (RFC 8200 §4.5).
    pub const FRAGMENT: u8 = 44;
    /// Generic routing encapsulation (RFC 2784).
    pub const GRE: u8 = 47;
    /// Encapsulating security payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// Authentication header (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// Nothing follows (RFC 8200 §4.7).
    pub const NO_NEXT: u8 = 59;
    /// IPv6 destination options (RFC 8200 §4.6).
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// Types of IPv4 options (RFC 791 §3.1).
pub mod option {
    /// No options follow.
    pub const END: u8 = 0;
    /// A byte of padding; it has no length.
    pub const NO_OPERATION: u8 = 1;
    /// The packet visits these addresses.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// The packet visits these addresses and no others.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
}

/// The fixed part of the IPv4 header; options follow it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (4 bits) and header length in 32-bit words (4 bits).
    pub version_ihl: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub tos: u8,
    /// Bytes of header and payload.
    pub total_len: U16,
    /// Identification.
    pub id: U16,
    /// Reserved, DF, MF (1 bit each) and fragment offset in units of 8 bytes (13 bits).
    pub fragment: U16,
    /// Hops left.
    pub ttl: u8,
    /// See [`protocol`].
    pub protocol: u8,
    /// Header checksum.
    pub checksum: U16,
    /// Sender.
    pub source: [u8; 4],
    /// Receiver.
    pub destination: [u8; 4],
}

impl Header for Ipv4Header {}

impl Ipv4Header {
    /// Don't-fragment bit of [`Self::fragment`].
    pub const DONT_FRAGMENT: u16 = 0x4000;
    /// More-fragments bit of [`Self::fragment`].
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    /// Offset part of [`Self::fragment`].
    pub const OFFSET_MASK: u16 = 0x1fff;

    /// 4, or the packet is something else.
    #[inline]
    pub fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Bytes of the header with its options, as the header claims: 0..=60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0x0f) * 4
    }

    /// Sender.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        self.source.into()
    }

    /// Receiver.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        self.destination.into()
    }

    /// True for any fragment of a datagram, the first included.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & (Self::MORE_FRAGMENTS | Self::OFFSET_MASK) != 0
    }

    /// True for a fragment that does not carry the start of the payload, hence no L4 header.
    #[inline]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.get() & Self::OFFSET_MASK != 0
    }

    /// True when routers must not fragment the packet.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment.get() & Self::DONT_FRAGMENT != 0
    }

    /// True when the header checksum is right; only for a header without options.
    #[inline]
    pub fn is_checksum_right(&self) -> bool {
        let words: &[[u8; 4]; 5] = zerocopy::transmute_ref!(self);
        are_words_valid(words)
    }

    /// Takes one hop off and keeps the header checksum right (RFC 1624 eqn. 3). The TTL must be
    /// above 0.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        // Whatever the TTL was, its word, in whose upper half it is, becomes smaller by as much.
        self.update_checksum(Delta::NONE.word(0x0100, 0));
        self.ttl = self.ttl.wrapping_sub(1);
    }

    /// Replaces the TTL, keeping the header checksum right.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        let word = |ttl: u8| u16::from_be_bytes([ttl, self.protocol]);
        let delta = Delta::NONE.word(word(self.ttl), word(ttl));
        self.ttl = ttl;
        self.update_checksum(delta);
    }

    /// Replaces the sender, keeping the header checksum right. Returns the change, which the
    /// checksum over the pseudo-header needs too.
    #[inline]
    pub fn set_source(&mut self, new: Ipv4Addr) -> Delta {
        let delta = Delta::NONE.address(self.source(), new);
        self.source = new.octets();
        self.update_checksum(delta);
        delta
    }

    /// Replaces the receiver, keeping the header checksum right. Returns the change, which the
    /// checksum over the pseudo-header needs too.
    #[inline]
    pub fn set_destination(&mut self, new: Ipv4Addr) -> Delta {
        let delta = Delta::NONE.address(self.destination(), new);
        self.destination = new.octets();
        self.update_checksum(delta);
        delta
    }

    /// Differentiated services code point: 0..=63.
    #[inline]
    pub fn dscp(&self) -> u8 {
        self.tos >> 2
    }

    /// Explicit congestion notification bits: 0..=3.
    #[inline]
    pub fn ecn(&self) -> u8 {
        self.tos & 3
    }

    /// Replaces DSCP and ECN, keeping the header checksum right.
    #[inline]
    pub fn set_tos(&mut self, tos: u8) {
        let word = |tos: u8| u16::from_be_bytes([self.version_ihl, tos]);
        let delta = Delta::NONE.word(word(self.tos), word(tos));
        self.tos = tos;
        self.update_checksum(delta);
    }

    /// Replaces the DSCP (the low 6 bits of `dscp`) and leaves the ECN bits alone, keeping the
    /// header checksum right.
    #[inline]
    pub fn set_dscp(&mut self, dscp: u8) {
        self.set_tos(dscp << 2 | self.ecn());
    }

    /// Replaces the total length, keeping the header checksum right.
    #[inline]
    pub fn set_total_len(&mut self, len: u16) {
        self.update_checksum(Delta::NONE.word(self.total_len.get(), len));
        self.total_len.set(len);
    }

    /// Replaces the identification, keeping the header checksum right.
    #[inline]
    pub fn set_id(&mut self, id: u16) {
        self.update_checksum(Delta::NONE.word(self.id.get(), id));
        self.id.set(id);
    }

    /// Replaces flags and fragment offset, keeping the header checksum right.
    #[inline]
    pub fn set_fragment(&mut self, fragment: u16) {
        self.update_checksum(Delta::NONE.word(self.fragment.get(), fragment));
        self.fragment.set(fragment);
    }

    /// Computes the checksum of a header without options.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.checksum.set(0);
        self.checksum.set(sum(self.as_bytes()).checksum().0);
    }

    #[inline]
    fn update_checksum(&mut self, delta: Delta) {
        self.checksum.set(Checksum(self.checksum.get()).updated(delta).0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::checksum::is_valid;

    /// A captured header: 20 bytes, TTL 64, UDP, 40.0.0.1 -> 90.0.0.1.
    const HEADER: [u8; 20] = [
        0x45, 0x00, 0x00, 0x2e, 0x00, 0x01, 0x00, 0x00, 0x40, 0x11, 0xf8, 0xbc, 0x28, 0x00, 0x00,
        0x01, 0x5a, 0x00, 0x00, 0x01,
    ];

    #[test]
    fn reads_every_field() {
        let header = Ipv4Header::at(&HEADER, 0).unwrap();
        assert_eq!((header.version(), header.header_len()), (4, 20));
        assert_eq!(header.total_len.get(), 46);
        assert_eq!((header.ttl, header.protocol), (64, protocol::UDP));
        assert_eq!(header.source(), Ipv4Addr::new(40, 0, 0, 1));
        assert_eq!(header.destination(), Ipv4Addr::new(90, 0, 0, 1));
        assert!(!header.is_fragment() && !header.dont_fragment());
        assert!(is_valid(sum(&HEADER)));
    }

    #[test]
    fn fragments_are_told_apart() {
        let with = |fragment: u16| {
            let mut bytes = HEADER;
            bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
            let header = *Ipv4Header::at(&bytes, 0).unwrap();
            (header.is_fragment(), header.is_later_fragment(), header.dont_fragment())
        };
        assert_eq!(with(0x4000), (false, false, true));
        assert_eq!(with(0x2000), (true, false, false));
        assert_eq!(with(0x2001), (true, true, false));
        assert_eq!(with(0x00b9), (true, true, false));
    }

    #[test]
    fn changes_keep_the_checksum_right() {
        let mut bytes = HEADER;
        let header = Ipv4Header::at_mut(&mut bytes, 0).unwrap();
        header.decrement_ttl();
        assert_eq!((header.ttl, header.checksum.get()), (63, 0xf9bc));
        header.set_source(Ipv4Addr::new(10, 10, 2, 2));
        header.set_destination(Ipv4Addr::new(255, 255, 255, 255));
        assert_eq!(header.source(), Ipv4Addr::new(10, 10, 2, 2));
        assert!(is_valid(sum(&bytes)));
    }
    #[test]
    fn dscp_and_ecn_share_a_byte() {
        let mut header = *Ipv4Header::at(&HEADER, 0).unwrap();
        header.set_tos(0b1011_1001);
        assert_eq!((header.dscp(), header.ecn()), (46, 1));
        header.set_dscp(0xc7);
        assert_eq!((header.tos, header.ecn()), (0b0001_1101, 1));
        assert_eq!(header.version_ihl, 0x45);
    }

    proptest! {
        /// Every setter leaves the checksum that a full computation gives.
        #[test]
        fn setters_equal_full_recompute(
            bytes: [u8; 20], address: u32, word: u16, byte: u8, setter in 0..9,
        ) {
            let mut header = Ipv4Header::read_from_bytes(&bytes).unwrap();
            header.version_ihl = 0x45;
            // Routers drop what arrives with 0, so that nothing takes a hop off it.
            header.ttl = header.ttl.max(1);
            header.fill_checksum();
            prop_assert!(is_valid(sum(header.as_bytes())));
            match setter {
                0 => header.set_ttl(byte),
                1 => header.decrement_ttl(),
                2 => drop(header.set_source(address.into())),
                3 => drop(header.set_destination(address.into())),
                4 => header.set_tos(byte),
                5 => header.set_dscp(byte),
                6 => header.set_total_len(word),
                7 => header.set_id(word),
                _ => header.set_fragment(word),
            }
            let mut full = header;
            full.fill_checksum();
            prop_assert_eq!(header.checksum.get(), full.checksum.get());
        }
    }
}
