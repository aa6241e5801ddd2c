//! TCP (RFC 9293).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::checksum::{Checksum, Delta};

/// The fixed part of the TCP header; options follow it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TcpHeader {
    /// Sender's port.
    pub source_port: U16,
    /// Receiver's port.
    pub destination_port: U16,
    /// Sequence number.
    pub sequence: U32,
    /// Acknowledgement number.
    pub acknowledgement: U32,
    /// Header length in 32-bit words (4 bits), reserved (4 bits).
    pub data_offset: u8,
    /// Bits of [`tcp_flag`].
    pub flags: u8,
    /// Receive window.
    pub window: U16,
    /// Checksum over pseudo-header, header and payload.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

impl Header for TcpHeader {}

/// Bits of [`TcpHeader::flags`].
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

impl TcpHeader {
    /// Bytes of the header with its options, as the header claims: 0..=60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.data_offset >> 4) * 4
    }

    /// Applies a change of what the checksum covers.
    #[inline]
    pub fn update_checksum(&mut self, delta: Delta) {
        self.checksum.set(Checksum(self.checksum.get()).updated(delta).0);
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
    use crate::wire::checksum::transport_checksum;

    #[test]
    fn reads_every_field() {
        let bytes = [
            0x1f, 0x90, 0x00, 0x50, // ports 8080, 80
            0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // sequence, acknowledgement
            0x80, 0x12, 0xfa, 0xf0, // 32 bytes, SYN ACK, window 64240
            0xbe, 0xef, 0x00, 0x07, // checksum, urgent
        ];
        let tcp = TcpHeader::at(&bytes, 0).unwrap();
        assert_eq!((tcp.source_port.get(), tcp.destination_port.get()), (8080, 80));
        assert_eq!((tcp.sequence.get(), tcp.acknowledgement.get()), (0x0102_0304, 0x0506_0708));
        assert_eq!((tcp.header_len(), tcp.flags), (32, tcp_flag::SYN | tcp_flag::ACK));
        assert_eq!((tcp.window.get(), tcp.checksum.get(), tcp.urgent.get()), (64240, 0xbeef, 7));
    }

    #[test]
    fn checksum_follows_a_change() {
        let mut tcp = TcpHeader::read_from_bytes(&[0; 20]).unwrap();
        tcp.checksum.set(0xdd2f);
        tcp.update_checksum(Delta::NONE.word(0x5555, 0x3285));
        // The example of RFC 1624 §4: the plus-zero trap of RFC 1141.
        assert_eq!(tcp.checksum.get(), 0x0000);
    }

    proptest! {
        /// Every setter leaves the checksum that a full computation gives.
        #[test]
        fn setters_equal_full_recompute(
            mut segment in prop::collection::vec(any::<u8>(), 20..64), ports: (u16, u16),
        ) {
            let full = |segment: &[u8]| {
                let mut segment = segment.to_vec();
                segment[16..18].fill(0);
                let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
                transport_checksum(from, to, 6, &segment).0
            };
            let before = full(&segment);
            let tcp = TcpHeader::at_mut(&mut segment, 0).unwrap();
            tcp.checksum.set(before);
            tcp.set_source_port(ports.0);
            tcp.set_destination_port(ports.1);
            prop_assert_eq!((tcp.source_port.get(), tcp.destination_port.get()), ports);
            let updated = tcp.checksum.get();
            prop_assert_eq!(updated, full(&segment));
        }
    }
}
