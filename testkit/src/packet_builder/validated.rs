//! Checks of whole packets by smoltcp.

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Packet, IpAddress, IpProtocol, Ipv4Packet,
    Ipv6Packet, TcpPacket, UdpPacket,
};

use super::L2;
use super::tunnel::is_v6;

/// Checks lengths and checksums of the IPv4 packet in a frame by smoltcp, and gives the packet.
///
/// # Panics
/// When anything is wrong. A UDP checksum of 0 is right: the sender made none.
pub fn validated(frame: &[u8]) -> Ipv4Packet<&[u8]> {
    let ethernet = EthernetFrame::new_checked(frame).expect("a whole Ethernet header");
    assert_eq!(ethernet.ethertype(), EthernetProtocol::Ipv4);
    validated_packet(&frame[L2..]);
    Ipv4Packet::new_unchecked(&frame[L2..])
}

/// Checks lengths and checksums of the IPv6 packet in a frame by smoltcp, and gives the packet.
///
/// # Panics
/// When anything is wrong. A UDP checksum of 0 is (RFC 8200 §8.1), except in tunnels (RFC 6935),
/// which [`validated_packet`] lets pass.
pub fn validated6(frame: &[u8]) -> Ipv6Packet<&[u8]> {
    let ethernet = EthernetFrame::new_checked(frame).expect("a whole Ethernet header");
    assert_eq!(ethernet.ethertype(), EthernetProtocol::Ipv6);
    let (protocol, payload) = validated_packet(&frame[L2..]);
    assert!(protocol != 17 || payload[6..8] != [0, 0], "no UDP checksum");
    Ipv6Packet::new_unchecked(&frame[L2..])
}

/// Checks lengths and checksums of an IP packet of either version by smoltcp. Gives the protocol
/// number and the bytes behind options and extension headers. The payload of fragments is not
/// looked into.
///
/// # Panics
/// When anything is wrong.
pub fn validated_packet(packet: &[u8]) -> (u8, &[u8]) {
    if is_v6(packet) {
        let header = Ipv6Packet::new_checked(packet).expect("a whole IPv6 packet");
        let (mut protocol, mut payload) = (u8::from(header.next_header()), header.payload());
        while [0, 43, 44, 60].contains(&protocol) {
            let len = if protocol == 44 { 8 } else { 8 + usize::from(payload[1]) * 8 };
            let is_fragment = protocol == 44 && payload[2..4] != [0, 0];
            (protocol, payload) = (payload[0], &payload[len..]);
            if is_fragment {
                return (protocol, payload);
            }
        }
        check_l4(protocol, payload, header.src_addr().into(), header.dst_addr().into());
        return (protocol, payload);
    }
    let header = Ipv4Packet::new_checked(packet).expect("a whole IPv4 packet");
    assert_eq!(header.version(), 4);
    assert!(header.verify_checksum(), "IPv4 header checksum");
    let protocol = u8::from(header.next_header());
    let payload = &packet[usize::from(header.header_len())..usize::from(header.total_len())];
    if header.frag_offset() == 0 && !header.more_frags() {
        check_l4(protocol, payload, header.src_addr().into(), header.dst_addr().into());
    }
    (protocol, payload)
}

fn check_l4(protocol: u8, payload: &[u8], from: IpAddress, to: IpAddress) {
    match (IpProtocol::from(protocol), from, to) {
        (IpProtocol::Tcp, ..) => {
            let tcp = TcpPacket::new_checked(payload).expect("a whole TCP header");
            assert!(tcp.verify_checksum(&from, &to), "TCP checksum");
        }
        (IpProtocol::Udp, ..) => {
            let udp = UdpPacket::new_checked(payload).expect("a whole UDP datagram");
            assert!(udp.verify_checksum(&from, &to), "UDP checksum");
        }
        (IpProtocol::Icmp, ..) => {
            let icmp = Icmpv4Packet::new_checked(payload).expect("a whole ICMP message");
            assert!(icmp.verify_checksum(), "ICMP checksum");
        }
        (IpProtocol::Icmpv6, IpAddress::Ipv6(from), IpAddress::Ipv6(to)) => {
            let icmp = Icmpv6Packet::new_checked(payload).expect("a whole ICMPv6 message");
            assert!(icmp.verify_checksum(&from, &to), "ICMPv6 checksum");
        }
        _ => {}
    }
}
