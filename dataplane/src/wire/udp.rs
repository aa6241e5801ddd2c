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
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
