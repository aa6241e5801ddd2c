//! Ethernet frames for tests, made and checked by smoltcp: an implementation of the wire formats
//! that shares nothing with ours.

mod body;
mod fragments;
mod neighbor;
mod tunnel;
mod validated;

use std::net::IpAddr;

use dataplane::interface::MacAddress;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet,
};

use body::Body;
pub use fragments::{fragments, reassembled};
pub use neighbor::{Station, Station6, arp, neighbor_advertisement, neighbor_solicitation};
pub use tunnel::{GUE_PORT, decapsulated, quote};
pub use validated::{validated, validated_packet, validated6};

/// Bytes of an Ethernet header.
pub const L2: usize = 14;

/// Describes an IP packet in an Ethernet frame; every length and checksum comes out right unless
/// asked otherwise. The addresses decide whether it is IPv4 or IPv6.
#[derive(Clone, Debug)]
pub struct PacketBuilder {
    destination_mac: MacAddress,
    source_mac: MacAddress,
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    tos: u8,
    /// IPv4 only.
    id: u16,
    /// IPv4 only.
    fragment: u16,
    /// IPv4 only.
    options: Vec<u8>,
    /// IPv4 only.
    bad_ip_checksum: bool,
    /// IPv6 only.
    flow_label: u32,
    /// IPv6 only: type, and the bytes behind "next header".
    extensions: Vec<(u8, Vec<u8>)>,
    ip_len: Option<u16>,
    body: Body,
    vlan: Vec<(u16, u16)>,
    padding: Vec<u8>,
    l4_checksum: Option<u16>,
}

impl PacketBuilder {
    fn new(source: IpAddr, destination: IpAddr, body: Body) -> Self {
        assert_eq!(source.is_ipv6(), destination.is_ipv6(), "one family");
        Self {
            destination_mac: MacAddress::default(),
            source_mac: MacAddress::default(),
            source,
            destination,
            ttl: 64,
            tos: 0,
            id: 0x1234,
            fragment: 0,
            options: Vec::new(),
            bad_ip_checksum: false,
            flow_label: 0,
            extensions: Vec::new(),
            ip_len: None,
            body,
            vlan: Vec::new(),
            padding: Vec::new(),
            l4_checksum: None,
        }
    }

    /// A TCP segment with these flag bits (octet 13).
    pub fn tcp(
        source: (impl Into<IpAddr>, u16),
        destination: (impl Into<IpAddr>, u16),
        flags: u8,
    ) -> Self {
        let ports = (source.1, destination.1);
        let (options, data) = (Vec::new(), Vec::new());
        let body = Body::Tcp { ports, flags, sequence: 0x0102_0304, options, data };
        Self::new(source.0.into(), destination.0.into(), body)
    }

    /// A UDP datagram.
    pub fn udp(source: (impl Into<IpAddr>, u16), destination: (impl Into<IpAddr>, u16)) -> Self {
        let body = Body::Udp { ports: (source.1, destination.1), data: Vec::new() };
        Self::new(source.0.into(), destination.0.into(), body)
    }

    /// An ICMP (ICMPv6 between IPv6 addresses) message; `rest` are bytes 4 to 7.
    pub fn icmp(
        source: impl Into<IpAddr>,
        destination: impl Into<IpAddr>,
        (kind, code): (u8, u8),
        rest: [u8; 4],
    ) -> Self {
        let body = Body::Icmp { kind, code, rest, data: Vec::new() };
        Self::new(source.into(), destination.into(), body)
    }

    /// A packet of another protocol.
    pub fn other(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, protocol: u8) -> Self {
        let body = Body::Other { protocol, data: Vec::new() };
        Self::new(source.into(), destination.into(), body)
    }

    /// Ethernet destination and source.
    #[must_use]
    pub fn macs(mut self, destination: MacAddress, source: MacAddress) -> Self {
        (self.destination_mac, self.source_mac) = (destination, source);
        self
    }

    /// Payload of TCP, UDP, ICMP or the other protocol.
    #[must_use]
    pub fn data(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body.set_data(bytes.into());
        self
    }

    /// TCP options; a multiple of 4 bytes.
    #[must_use]
    pub fn tcp_options(mut self, bytes: &[u8]) -> Self {
        if let Body::Tcp { options, .. } = &mut self.body {
            *options = bytes.to_vec();
        }
        self
    }

    /// Time to live or hop limit.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// DSCP and ECN.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// IPv4 identification.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// The whole IPv4 fragment field: DF 0x4000, MF 0x2000, offset in 8-byte units.
    #[must_use]
    pub fn fragment(mut self, field: u16) -> Self {
        self.fragment = field;
        self
    }

    /// Don't fragment.
    #[must_use]
    pub fn dont_fragment(self) -> Self {
        self.fragment(0x4000)
    }

    /// IPv4 options; a multiple of 4 bytes.
    #[must_use]
    pub fn ip_options(mut self, bytes: &[u8]) -> Self {
        self.options = bytes.to_vec();
        self
    }

    /// IPv6 flow label: 20 bits.
    #[must_use]
    pub fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label;
        self
    }

    /// One more IPv6 extension header: its type and its bytes behind "next header", whatever they
    /// are.
    #[must_use]
    pub fn extension(mut self, kind: u8, bytes: &[u8]) -> Self {
        self.extensions.push((kind, bytes.to_vec()));
        self
    }

    /// One more IPv6 extension header of `units` + 1 times 8 bytes: hop-by-hop (0), routing (43) or
    /// destination options (60). Its content is one option of padding, or a routing type no router
    /// acts on.
    #[must_use]
    pub fn padded_extension(self, kind: u8, units: u8) -> Self {
        let len = (usize::from(units) + 1) * 8;
        let mut bytes = vec![0; len - 1];
        // Option PadN of so many bytes; in a routing header: type 1 (deprecated), nothing left.
        (bytes[0], bytes[1], bytes[2]) = (units, 1, if kind == 43 { 0 } else { (len - 4) as u8 });
        self.extension(kind, &bytes)
    }

    /// An IPv6 fragment header; the offset counts bytes. The body is what this fragment carries,
    /// with the checksum it would have alone.
    #[must_use]
    pub fn fragment_header(self, offset: u16, more: bool, id: u32) -> Self {
        let field = (offset & !7 | u16::from(more)).to_be_bytes();
        let bytes = [&[0], &field[..], &id.to_be_bytes()].concat();
        self.extension(44, &bytes)
    }

    /// One more VLAN tag: its type and TCI; the outermost first.
    #[must_use]
    pub fn vlan(mut self, kind: u16, tci: u16) -> Self {
        self.vlan.push((kind, tci));
        self
    }

    /// Bytes behind the IP packet.
    #[must_use]
    pub fn padding(mut self, bytes: &[u8]) -> Self {
        self.padding = bytes.to_vec();
        self
    }

    /// Makes the IPv4 header checksum wrong.
    #[must_use]
    pub fn bad_ip_checksum(mut self) -> Self {
        self.bad_ip_checksum = true;
        self
    }

    /// Writes this into the TCP, UDP or ICMP checksum field.
    #[must_use]
    pub fn l4_checksum(mut self, value: u16) -> Self {
        self.l4_checksum = Some(value);
        self
    }

    /// Writes this into IPv4's total length or IPv6's payload length.
    #[must_use]
    pub fn ip_len(mut self, value: u16) -> Self {
        self.ip_len = Some(value);
        self
    }

    /// The IP packet's bytes.
    pub fn packet(&self) -> Vec<u8> {
        let l4 = self.body.bytes(self.source, self.destination, self.l4_checksum);
        match (self.source, self.destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (next_header, payload) = self.behind_ip6(&l4);
                let mut ip = [vec![0; 40], payload].concat();
                let payload_len = self.ip_len.unwrap_or((ip.len() - 40) as u16);
                let mut packet = Ipv6Packet::new_unchecked(&mut ip);
                packet.set_version(6);
                packet.set_traffic_class(self.tos);
                packet.set_flow_label(self.flow_label);
                packet.set_payload_len(payload_len);
                packet.set_next_header(IpProtocol::from(next_header));
                packet.set_hop_limit(self.ttl);
                packet.set_src_addr(source);
                packet.set_dst_addr(destination);
                ip
            }
            _ => [self.ip4_header(l4.len()), l4].concat(),
        }
    }

    fn ip4_header(&self, l4_len: usize) -> Vec<u8> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            return Vec::new();
        };
        let mut ip = [vec![0; 20], self.options.clone()].concat();
        let (header_len, total_len) = (ip.len() as u8, (ip.len() + l4_len) as u16);
        let mut packet = Ipv4Packet::new_unchecked(&mut ip);
        packet.set_version(4);
        packet.set_header_len(header_len);
        packet.set_dscp(self.tos >> 2);
        packet.set_ecn(self.tos & 3);
        packet.set_total_len(self.ip_len.unwrap_or(total_len));
        packet.set_ident(self.id);
        packet.set_hop_limit(self.ttl);
        packet.set_next_header(IpProtocol::from(self.body.protocol(false)));
        packet.set_src_addr(source);
        packet.set_dst_addr(destination);
        ip[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        ip = ip4_checksummed(ip);
        if self.bad_ip_checksum {
            ip[10] ^= 0x5a;
        }
        ip
    }

    /// First next header value, and the extension headers in front of the L4 bytes.
    fn behind_ip6(&self, l4: &[u8]) -> (u8, Vec<u8>) {
        let (mut next, mut bytes) = (self.body.protocol(true), l4.to_vec());
        for (kind, extension) in self.extensions.iter().rev() {
            bytes = [&[next], &extension[..], &bytes].concat();
            next = *kind;
        }
        (next, bytes)
    }

    /// The frame's bytes.
    pub fn build(&self) -> Vec<u8> {
        self.frame(&self.packet())
    }

    /// This builder's frame around another packet of the same family.
    fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let ether_type = if self.source.is_ipv6() { 0x86dd } else { 0x0800 };
        let mut frame = ethernet(self.destination_mac, self.source_mac, ether_type, packet);
        for (kind, tci) in self.vlan.iter().rev() {
            let tag = [kind.to_be_bytes(), tci.to_be_bytes()].concat();
            frame.splice(12..12, tag);
        }
        frame.extend_from_slice(&self.padding);
        frame
    }
}

/// An Ethernet frame.
pub fn ethernet(
    destination: MacAddress,
    source: MacAddress,
    ether_type: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; L2 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_dst_addr(EthernetAddress(destination.0));
    frame.set_src_addr(EthernetAddress(source.0));
    frame.set_ethertype(EthernetProtocol::from(ether_type));
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

/// The IPv4 header (with anything behind it) with its checksum made right.
fn ip4_checksummed(mut header: Vec<u8>) -> Vec<u8> {
    Ipv4Packet::new_unchecked(&mut header).fill_checksum();
    header
}

#[cfg(test)]
mod tests;
