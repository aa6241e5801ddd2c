//! ICMP for IPv6 (RFC 4443).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::checksum::{Checksum, Delta};

/// The 8 bytes that errors and echoes start with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Icmpv6Header {
    /// See [`icmpv6_type`].
    pub kind: u8,
    /// Subtype; see [`unreachable_code`].
    pub code: u8,
    /// Checksum over pseudo-header and message.
    pub checksum: U16,
    /// Identifier of an echo; high half of the MTU of "packet too big"; unused (0) elsewhere.
    pub id: U16,
    /// Sequence number of an echo; low half of the MTU of "packet too big".
    pub sequence: U16,
}

impl Header for Icmpv6Header {}

/// Message types.
pub mod icmpv6_type {
    /// Destination unreachable; see [`super::unreachable_code`].
    pub const UNREACHABLE: u8 = 1;
    /// Too big for the next link; carries that link's MTU.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded; code 0 is "hop limit exceeded in transit".
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem; carries the offset of the byte at fault.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Answer to an echo request.
    pub const ECHO_REPLY: u8 = 129;
    /// Router solicitation (RFC 4861 §4.1).
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement (RFC 4861 §4.2).
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation (RFC 4861 §4.3).
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement (RFC 4861 §4.4).
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// Redirect (RFC 4861 §4.5).
    pub const REDIRECT: u8 = 137;
}

/// Codes of [`icmpv6_type::UNREACHABLE`].
pub mod unreachable_code {
    /// No route to the destination.
    pub const NO_ROUTE: u8 = 0;
    /// Forbidden by policy.
    pub const PROHIBITED: u8 = 1;
    /// The host does not answer.
    pub const ADDRESS: u8 = 3;
    /// Nobody listens on the port.
    pub const PORT: u8 = 4;
}

/// Codes of [`icmpv6_type::PARAMETER_PROBLEM`].
pub mod parameter_code {
    /// A header field has an impossible value.
    pub const FIELD: u8 = 0;
    /// A next header value is not known.
    pub const NEXT_HEADER: u8 = 1;
}

impl Icmpv6Header {
    /// Applies a change of what the checksum covers. Unlike UDP's, a computed 0 is sent as it is
    /// (RFC 4443 §2.3 knows no "none").
    #[inline]
    pub fn update_checksum(&mut self, delta: Delta) {
        self.checksum.set(Checksum(self.checksum.get()).updated(delta).0);
    }

    /// True for error messages, about which no error may be sent (RFC 4443 §2.1, §2.4 e).
    #[inline]
    pub fn is_error(&self) -> bool {
        self.kind < 128
    }

    /// The MTU of "packet too big" (or the pointer of "parameter problem"), in bytes.
    #[inline]
    pub fn mtu(&self) -> u32 {
        u32::from(self.id.get()) << 16 | u32::from(self.sequence.get())
    }

    /// Writes the MTU of "packet too big" (or the pointer of "parameter problem"), in bytes.
    /// Leaves the checksum alone.
    #[inline]
    pub fn set_mtu(&mut self, mtu: u32) {
        self.id.set((mtu >> 16) as u16);
        self.sequence.set(mtu as u16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_field() {
        let bytes = [0x80, 0, 0x4d, 0x5a, 0x00, 0x01, 0x00, 0x02];
        let icmp = Icmpv6Header::at(&bytes, 0).unwrap();
        let head = (icmp.kind, icmp.code, icmp.checksum.get());
        assert_eq!(head, (icmpv6_type::ECHO_REQUEST, 0, 0x4d5a));
        assert_eq!((icmp.id.get(), icmp.sequence.get(), icmp.mtu()), (1, 2, 0x1_0002));
    }

    #[test]
    fn the_mtu_is_32_bits_wide() {
        let mut bytes = [2, 0, 0, 0, 0, 0, 0, 0];
        Icmpv6Header::at_mut(&mut bytes, 0).unwrap().set_mtu(0x0102_0304);
        assert_eq!(bytes, [2, 0, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn checksum_follows_a_change_of_type() {
        let mut icmp = Icmpv6Header::read_from_bytes(&[128, 0, 0x12, 0x34, 0, 1, 0, 2]).unwrap();
        icmp.kind = icmpv6_type::ECHO_REPLY;
        icmp.update_checksum(Delta::NONE.word(0x8000, 0x8100));
        assert_eq!(icmp.checksum.get(), 0x1134);
    }

    #[test]
    fn errors_and_queries_are_told_apart() {
        let error = |kind: u8| {
            Icmpv6Header::read_from_bytes(&[kind, 0, 0, 0, 0, 0, 0, 0]).unwrap().is_error()
        };
        assert!([1, 2, 3, 4, 99, 127].into_iter().all(error));
        assert!(![128, 129, 133, 135, 136, 255].into_iter().any(error));
    }
}
