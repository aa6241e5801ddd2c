//! Ethernet frames for tests, made and checked by smoltcp: an implementation of the wire formats
//! that shares nothing with ours.

use std::net::Ipv4Addr;

use dataplane::interface::MacAddress;
use smoltcp::wire::{
    ArpHardware, ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame,
    EthernetProtocol, Icmpv4Packet, IpAddress, IpProtocol, Ipv4Packet, TcpPacket, TcpSeqNumber,
    UdpPacket,
};

/// Bytes of an Ethernet header.
pub const L2: usize = 14;

/// What an IPv4 packet carries.
#[derive(Clone, Debug)]
enum Body {
    Tcp { ports: (u16, u16), flags: u8, sequence: u32, options: Vec<u8>, data: Vec<u8> },
    Udp { ports: (u16, u16), data: Vec<u8> },
    Icmp { kind: u8, code: u8, rest: [u8; 4], data: Vec<u8> },
    Other { protocol: u8, data: Vec<u8> },
}

/// Describes an IPv4 packet in an Ethernet frame; every length and checksum comes out right unless
/// asked otherwise.
#[derive(Clone, Debug)]
pub struct PacketBuilder {
    destination_mac: MacAddress,
    source_mac: MacAddress,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    tos: u8,
    id: u16,
    fragment: u16,
    options: Vec<u8>,
    body: Body,
    vlan: Vec<(u16, u16)>,
    padding: Vec<u8>,
    bad_ip_checksum: bool,
    l4_checksum: Option<u16>,
}

impl PacketBuilder {
    fn new(source: Ipv4Addr, destination: Ipv4Addr, body: Body) -> Self {
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
            body,
            vlan: Vec::new(),
            padding: Vec::new(),
            bad_ip_checksum: false,
            l4_checksum: None,
        }
    }

    /// A TCP segment with these flag bits (octet 13).
    pub fn tcp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), flags: u8) -> Self {
        let ports = (source.1, destination.1);
        let (options, data) = (Vec::new(), Vec::new());
        let body = Body::Tcp { ports, flags, sequence: 0x0102_0304, options, data };
        Self::new(source.0, destination.0, body)
    }

    /// A UDP datagram.
    pub fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Self {
        let body = Body::Udp { ports: (source.1, destination.1), data: Vec::new() };
        Self::new(source.0, destination.0, body)
    }

    /// An ICMP message; `rest` are bytes 4 to 7.
    pub fn icmp(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        (kind, code): (u8, u8),
        rest: [u8; 4],
    ) -> Self {
        Self::new(source, destination, Body::Icmp { kind, code, rest, data: Vec::new() })
    }

    /// A packet of another protocol.
    pub fn other(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self::new(source, destination, Body::Other { protocol, data: Vec::new() })
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
        let (Body::Tcp { data, .. }
        | Body::Udp { data, .. }
        | Body::Icmp { data, .. }
        | Body::Other { data, .. }) = &mut self.body;
        *data = bytes.into();
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

    /// Time to live.
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

    /// The whole fragment field: DF 0x4000, MF 0x2000, offset in 8-byte units.
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

    /// Makes the header checksum wrong.
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

    fn protocol(&self) -> u8 {
        match self.body {
            Body::Tcp { .. } => 6,
            Body::Udp { .. } => 17,
            Body::Icmp { .. } => 1,
            Body::Other { protocol, .. } => protocol,
        }
    }

    fn l4(&self) -> Vec<u8> {
        let (from, to): (IpAddress, IpAddress) = (self.source.into(), self.destination.into());
        match &self.body {
            Body::Tcp { ports, flags, sequence, options, data } => {
                let header_len = 20 + options.len();
                let mut bytes = vec![0; header_len + data.len()];
                bytes[20..header_len].copy_from_slice(options);
                bytes[header_len..].copy_from_slice(data);
                let mut tcp = TcpPacket::new_unchecked(&mut bytes);
                tcp.set_src_port(ports.0);
                tcp.set_dst_port(ports.1);
                tcp.set_seq_number(TcpSeqNumber(*sequence as i32));
                tcp.set_ack_number(TcpSeqNumber(0x0506_0708));
                tcp.set_header_len(header_len as u8);
                tcp.set_window_len(64240);
                bytes[13] = *flags;
                let mut tcp = TcpPacket::new_unchecked(&mut bytes);
                tcp.fill_checksum(&from, &to);
                if let Some(value) = self.l4_checksum {
                    tcp.set_checksum(value);
                }
                bytes
            }
            Body::Udp { ports, data } => {
                let mut bytes = vec![0; 8 + data.len()];
                bytes[8..].copy_from_slice(data);
                let len = bytes.len() as u16;
                let mut udp = UdpPacket::new_unchecked(&mut bytes);
                udp.set_src_port(ports.0);
                udp.set_dst_port(ports.1);
                udp.set_len(len);
                udp.fill_checksum(&from, &to);
                if let Some(value) = self.l4_checksum {
                    udp.set_checksum(value);
                }
                bytes
            }
            Body::Icmp { kind, code, rest, data } => {
                let mut bytes = vec![*kind, *code, 0, 0];
                bytes.extend_from_slice(rest);
                bytes.extend_from_slice(data);
                let mut icmp = Icmpv4Packet::new_unchecked(&mut bytes);
                icmp.fill_checksum();
                if let Some(value) = self.l4_checksum {
                    icmp.set_checksum(value);
                }
                bytes
            }
            Body::Other { data, .. } => data.clone(),
        }
    }

    /// The frame's bytes.
    pub fn build(&self) -> Vec<u8> {
        let l4 = self.l4();
        let header_len = 20 + self.options.len();
        let mut ip = vec![0; header_len + l4.len()];
        ip[20..header_len].copy_from_slice(&self.options);
        ip[header_len..].copy_from_slice(&l4);
        let total_len = ip.len() as u16;
        let mut packet = Ipv4Packet::new_unchecked(&mut ip);
        packet.set_version(4);
        packet.set_header_len(header_len as u8);
        packet.set_dscp(self.tos >> 2);
        packet.set_ecn(self.tos & 3);
        packet.set_total_len(total_len);
        packet.set_ident(self.id);
        packet.set_hop_limit(self.ttl);
        packet.set_next_header(IpProtocol::from(self.protocol()));
        packet.set_src_addr(self.source);
        packet.set_dst_addr(self.destination);
        ip[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        Ipv4Packet::new_unchecked(&mut ip).fill_checksum();
        if self.bad_ip_checksum {
            ip[10] ^= 0x5a;
        }
        let mut frame = ethernet(self.destination_mac, self.source_mac, 0x0800, &ip);
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

/// One side of an ARP message.
pub type Station = (MacAddress, Ipv4Addr);

/// An ARP frame; requests go to everybody, replies to the target.
pub fn arp(request: bool, sender: Station, target: Station) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: if request { ArpOperation::Request } else { ArpOperation::Reply },
        source_hardware_addr: EthernetAddress(sender.0.0),
        source_protocol_addr: sender.1,
        target_hardware_addr: EthernetAddress(target.0.0),
        target_protocol_addr: target.1,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    let mut packet = ArpPacket::new_unchecked(&mut bytes);
    repr.emit(&mut packet);
    debug_assert_eq!(packet.hardware_type(), ArpHardware::Ethernet);
    ethernet(if request { MacAddress::BROADCAST } else { target.0 }, sender.0, 0x0806, &bytes)
}

/// Checks lengths and checksums of the IPv4 packet in a frame by smoltcp, and gives the packet.
///
/// # Panics
/// When anything is wrong. A UDP checksum of 0 is right: the sender made none.
pub fn validated(frame: &[u8]) -> Ipv4Packet<&[u8]> {
    let ethernet = EthernetFrame::new_checked(frame).expect("a whole Ethernet header");
    assert_eq!(ethernet.ethertype(), EthernetProtocol::Ipv4);
    let packet = Ipv4Packet::new_checked(&frame[L2..]).expect("a whole IPv4 packet");
    assert!(packet.verify_checksum(), "IPv4 header checksum");
    let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
    let payload =
        &frame[L2 + usize::from(packet.header_len())..L2 + usize::from(packet.total_len())];
    if packet.frag_offset() > 0 || packet.more_frags() {
        return packet;
    }
    match packet.next_header() {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).expect("a whole TCP header");
            assert!(tcp.verify_checksum(&from, &to), "TCP checksum");
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).expect("a whole UDP datagram");
            assert!(udp.verify_checksum(&from, &to), "UDP checksum");
        }
        IpProtocol::Icmp => {
            let icmp = Icmpv4Packet::new_checked(payload).expect("a whole ICMP message");
            assert!(icmp.verify_checksum(), "ICMP checksum");
        }
        _ => {}
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn what_is_built_is_valid() {
        let options = [1, 1, 1, 0];
        for builder in [
            PacketBuilder::tcp((A, 1), (B, 2), 0x02).tcp_options(&options).data(*b"hello"),
            PacketBuilder::udp((A, 1), (B, 2)).data(*b"odd").ip_options(&options),
            PacketBuilder::icmp(A, B, (8, 0), [0, 1, 0, 2]).data(*b"ping"),
        ] {
            let frame = builder.build();
            assert_eq!(validated(&frame).dst_addr(), B);
        }
    }

    #[test]
    #[should_panic(expected = "IPv4 header checksum")]
    fn a_bad_header_checksum_is_seen() {
        validated(&PacketBuilder::udp((A, 1), (B, 2)).bad_ip_checksum().build());
    }

    #[test]
    #[should_panic(expected = "UDP checksum")]
    fn a_bad_udp_checksum_is_seen() {
        validated(&PacketBuilder::udp((A, 1), (B, 2)).l4_checksum(0x1234).build());
    }

    #[test]
    fn tags_stand_before_the_type() {
        let frame = PacketBuilder::udp((A, 1), (B, 2)).vlan(0x88a8, 5).vlan(0x8100, 6).build();
        assert_eq!(frame[12..22], [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]);
    }
}
