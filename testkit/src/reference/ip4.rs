//! An IPv4 header read byte by byte (RFC 791), without any view or offset shared with the graph.

use std::net::Ipv4Addr;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

/// Two bytes, big-endian.
pub fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) << 8 | u16::from(bytes[at + 1])
}

/// Four bytes as an address.
pub fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

/// The fields that decide about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header, options included.
    pub header_len: usize,
    /// Bytes of the packet as the header claims.
    pub total_len: usize,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// More fragments follow, or this is not the first one.
    pub fragment: bool,
    /// Place of this fragment in its datagram, in units of 8 bytes.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Source.
    pub source: Ipv4Addr,
    /// Destination.
    pub destination: Ipv4Addr,
}

impl Header {
    /// Reads at least 20 bytes; no judgement.
    pub fn of(packet: &[u8]) -> Self {
        let flags = word(packet, 6);
        Self {
            header_len: usize::from(packet[0] & 0x0f) * 4,
            total_len: usize::from(word(packet, 2)),
            dont_fragment: flags & 0x4000 != 0,
            fragment: flags & 0x3fff != 0,
            fragment_offset: flags & 0x1fff,
            ttl: packet[8],
            protocol: packet[9],
            source: address(packet, 12),
            destination: address(packet, 16),
        }
    }

    /// True for the two protocols whose headers start with ports.
    pub fn has_ports(&self) -> bool {
        self.protocol == TCP || self.protocol == UDP
    }
}
