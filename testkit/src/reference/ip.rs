//! An IP header of either family read byte by byte (RFC 791, RFC 8200), without any view or offset
//! shared with the graph.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of IPv4 in IP.
pub const IPIP: u8 = 4;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of IPv6 in IP.
pub const IP6IP: u8 = 41;
/// Protocol number of GRE.
pub const GRE: u8 = 47;
/// Protocol number of ICMPv6.
pub const ICMP6: u8 = 58;

/// Two bytes, big-endian.
pub fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) << 8 | u16::from(bytes[at + 1])
}

/// Four bytes, big-endian.
pub fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

/// Four bytes as an address.
pub fn address4(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

/// Sixteen bytes as an address.
pub fn address6(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    Ipv6Addr::from(octets)
}

/// The bytes of an address as they are on the wire.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// True for protocols whose headers start with ports.
pub fn has_ports(protocol: u8) -> bool {
    protocol == TCP || protocol == UDP
}

/// True for an address that is good on its link alone (RFC 4291 §2.5.6).
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfe80)
}

/// What the fixed part of an IPv4 or IPv6 header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// True for IPv6.
    pub v6: bool,
    /// Bytes of the header: with options for IPv4, without extension headers for IPv6.
    pub header_len: usize,
    /// Bytes of the packet as the header claims.
    pub total_len: usize,
    /// DSCP and ECN: the TOS octet or the traffic class.
    pub tos: u8,
    /// May not be fragmented here: IPv4 with DF, any IPv6.
    pub dont_fragment: bool,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Protocol number, or for IPv6 the first next header.
    pub protocol: u8,
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
}

impl Header {
    /// Reads at least 20 bytes of IPv4 or 40 of IPv6, by the version; no judgement.
    pub fn of(packet: &[u8]) -> Self {
        if packet[0] >> 4 == 6 {
            return Self {
                v6: true,
                header_len: 40,
                total_len: 40 + usize::from(word(packet, 4)),
                tos: packet[0] << 4 | packet[1] >> 4,
                dont_fragment: true,
                ttl: packet[7],
                protocol: packet[6],
                source: address6(packet, 8).into(),
                destination: address6(packet, 24).into(),
            };
        }
        Self {
            v6: false,
            header_len: usize::from(packet[0] & 0x0f) * 4,
            total_len: usize::from(word(packet, 2)),
            tos: packet[1],
            dont_fragment: word(packet, 6) & 0x4000 != 0,
            ttl: packet[8],
            protocol: packet[9],
            source: address4(packet, 12).into(),
            destination: address4(packet, 16).into(),
        }
    }

    /// The protocol number of ICMP in this family.
    pub fn icmp(&self) -> u8 {
        if self.v6 { ICMP6 } else { ICMP }
    }
}

/// Overwrites the source address; checksums stay as they are.
pub fn set_source(packet: &mut [u8], address: IpAddr) {
    let at = if packet[0] >> 4 == 6 { 8 } else { 12 };
    let bytes = octets(address);
    packet[at..at + bytes.len()].copy_from_slice(&bytes);
}

/// Overwrites the destination address; checksums stay as they are.
pub fn set_destination(packet: &mut [u8], address: IpAddr) {
    let at = if packet[0] >> 4 == 6 { 24 } else { 16 };
    let bytes = octets(address);
    packet[at..at + bytes.len()].copy_from_slice(&bytes);
}

/// Overwrites TTL or hop limit; checksums stay as they are.
pub fn set_ttl(packet: &mut [u8], ttl: u8) {
    let at = if packet[0] >> 4 == 6 { 7 } else { 8 };
    packet[at] = ttl;
}

/// Overwrites DSCP and ECN; checksums stay as they are.
pub fn set_tos(packet: &mut [u8], tos: u8) {
    if packet[0] >> 4 == 6 {
        packet[0] = 0x60 | tos >> 4;
        packet[1] = tos << 4 | packet[1] & 0x0f;
    } else {
        packet[1] = tos;
    }
}

/// Overwrites two bytes.
pub fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
