//! ICMP for IPv4 (RFC 792).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::checksum::{Checksum, Delta};

/// The 8 bytes every ICMP message starts with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Icmpv4Header {
    /// See [`icmp_type`].
    pub kind: u8,
    /// Subtype; see [`unreachable_code`].
    pub code: u8,
    /// Checksum over the whole message.
    pub checksum: U16,
    /// Identifier of an echo; unused (0) in errors.
    pub id: U16,
    /// Sequence number of an echo; next-hop MTU of "fragmentation needed" (RFC 1191 §4).
    pub sequence: U16,
}

impl Header for Icmpv4Header {}

/// Message types.
pub mod icmp_type {
    /// Answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable; see [`super::unreachable_code`].
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (deprecated by RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded; code 0 is "in transit".
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Codes of [`icmp_type::UNREACHABLE`].
pub mod unreachable_code {
    /// No route to the network.
    pub const NET: u8 = 0;
    /// The host does not answer.
    pub const HOST: u8 = 1;
    /// Nobody takes the protocol.
    pub const PROTOCOL: u8 = 2;
    /// Nobody listens on the port.
    pub const PORT: u8 = 3;
    /// Too big for the next link and must not be fragmented.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
}

impl Icmpv4Header {
    /// Applies a change of what the checksum covers.
    #[inline]
    pub fn update_checksum(&mut self, delta: Delta) {
        self.checksum.set(Checksum(self.checksum.get()).updated(delta).0);
    }

    /// True for error messages, about which no error may be sent (RFC 1812 §4.3.2.7). Types that
    /// are not known count as errors, to be safe from loops.
    #[inline]
    pub fn is_error(&self) -> bool {
        // Echo, router discovery, timestamp, information and address mask are queries.
        !matches!(self.kind, 0 | 8..=10 | 13..=18)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_field() {
        let bytes = [8, 0, 0x4d, 0x5a, 0x00, 0x01, 0x00, 0x02];
        let icmp = Icmpv4Header::at(&bytes, 0).unwrap();
        assert_eq!(
            (icmp.kind, icmp.code, icmp.checksum.get()),
            (icmp_type::ECHO_REQUEST, 0, 0x4d5a)
        );
        assert_eq!((icmp.id.get(), icmp.sequence.get()), (1, 2));
    }

    #[test]
    fn checksum_follows_a_change_of_type() {
        let mut bytes = [8, 0, 0xf7, 0xfc, 0x00, 0x01, 0x00, 0x02];
        let icmp = Icmpv4Header::at_mut(&mut bytes, 0).unwrap();
        icmp.kind = icmp_type::ECHO_REPLY;
        icmp.update_checksum(Delta::NONE.word(0x0800, 0x0000));
        assert_eq!(icmp.checksum.get(), 0xfffc);
    }

    #[test]
    fn errors_and_queries_are_told_apart() {
        let error = |kind: u8| {
            Icmpv4Header::read_from_bytes(&[kind, 0, 0, 0, 0, 0, 0, 0]).unwrap().is_error()
        };
        for kind in [icmp_type::UNREACHABLE, 4, 5, icmp_type::TIME_EXCEEDED, 12, 99] {
            assert!(error(kind), "{kind}");
        }
        for kind in [icmp_type::ECHO_REPLY, icmp_type::ECHO_REQUEST, 9, 10, 13, 18] {
            assert!(!error(kind), "{kind}");
        }
    }
}
