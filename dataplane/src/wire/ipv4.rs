//! IPv4 (RFC 791).

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::checksum::{Checksum, Delta};

/// IP protocol numbers.
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
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

    /// Takes one hop off and keeps the header checksum right (RFC 1624 eqn. 3). The TTL must be
    /// above 0.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        self.set_ttl(self.ttl.wrapping_sub(1));
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

    #[inline]
    fn update_checksum(&mut self, delta: Delta) {
        self.checksum.set(Checksum(self.checksum.get()).updated(delta).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::{is_valid, sum};

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
}
