//! UDP (RFC 768).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::checksum::{Checksum, Delta};

/// The UDP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpHeader {
    /// Sender's port.
    pub source_port: U16,
    /// Receiver's port.
    pub destination_port: U16,
    /// Bytes of header and payload.
    pub len: U16,
    /// Checksum over pseudo-header, header and payload; 0 when the sender made none.
    pub checksum: U16,
}

impl Header for UdpHeader {}

impl UdpHeader {
    /// Applies a change of what the checksum covers, by the zero rules of RFC 768: a checksum of 0
    /// means "none" and stays 0, and one that computes to 0 is sent as 0xffff.
    #[inline]
    pub fn update_checksum(&mut self, delta: Delta) {
        if let old @ 1.. = self.checksum.get() {
            self.checksum.set(Checksum(old).updated(delta).or_all_ones().0);
        }
    }

    /// Replaces the sender's port, keeping the checksum right. Returns the change.
    #[inline]
    pub fn set_source_port(&mut self, new: u16) -> Delta {
        let delta = Delta::NONE.word(self.source_port.get(), new);
        self.source_port.set(new);
        self.update_checksum(delta);
        delta
    }

    /// Replaces the receiver's port, keeping the checksum right. Returns the change.
    #[inline]
    pub fn set_destination_port(&mut self, new: u16) -> Delta {
        let delta = Delta::NONE.word(self.destination_port.get(), new);
        self.destination_port.set(new);
        self.update_checksum(delta);
        delta
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::checksum::{is_transport_valid, transport_checksum};

    const HEADER: [u8; 8] = [0x04, 0x57, 0x4e, 0x20, 0x00, 0x1a, 0xef, 0x04];

    #[test]
    fn reads_every_field() {
        let udp = UdpHeader::at(&HEADER, 0).unwrap();
        assert_eq!((udp.source_port.get(), udp.destination_port.get()), (1111, 20000));
        assert_eq!((udp.len.get(), udp.checksum.get()), (26, 0xef04));
    }

    #[test]
    fn no_checksum_stays_none() {
        let mut udp = *UdpHeader::at(&HEADER, 0).unwrap();
        udp.checksum.set(0);
        udp.update_checksum(Delta::NONE.word(1, 2));
        assert_eq!(udp.checksum.get(), 0);
    }

    #[test]
    fn a_computed_zero_is_sent_as_all_ones() {
        let mut udp = *UdpHeader::at(&HEADER, 0).unwrap();
        // A word that grows by 0xef04 brings the checksum 0xef04 down to 0.
        udp.update_checksum(Delta::NONE.word(0, 0xef04));
        assert_eq!(udp.checksum.get(), 0xffff);
    }

    proptest! {
        /// Every setter leaves a right checksum and never 0, unless there was none.
        #[test]
        fn setters_equal_full_recompute(
            mut datagram in prop::collection::vec(any::<u8>(), 8..64), ports: (u16, u16),
        ) {
            let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
            datagram[6..8].fill(0);
            let checksum = transport_checksum(from, to, 17, &datagram).or_all_ones();
            let udp = UdpHeader::at_mut(&mut datagram, 0).unwrap();
            udp.checksum.set(checksum.0);
            udp.set_source_port(ports.0);
            udp.set_destination_port(ports.1);
            prop_assert_eq!((udp.source_port.get(), udp.destination_port.get()), ports);
            prop_assert_ne!(udp.checksum.get(), 0);
            let mut none = *udp;
            none.checksum.set(0);
            none.set_source_port(1);
            prop_assert_eq!(none.checksum.get(), 0);
            prop_assert!(is_transport_valid(from, to, 17, &datagram));
        }
    }
}
