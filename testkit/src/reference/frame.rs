//! Frames for the reference's tests, made from a plain description. Everything a sender may get
//! wrong on the way is a [`Flaw`](super::flaw::Flaw) that is applied afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;
use super::ip::{ICMP, ICMP6, TCP, UDP, octets, set_word};

/// TCP flag bits as they are on the wire (RFC 9293 §3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A TCP segment.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Bits of [`tcp_flag`].
        flags: u8,
        /// Data bytes.
        data: Vec<u8>,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Data bytes.
        data: Vec<u8>,
    },
    /// An ICMP message, or in an IPv6 packet an ICMPv6 message, with a right checksum.
    Icmp {
        /// Type (8 is an echo request).
        kind: u8,
        /// Code.
        code: u8,
        /// Everything behind the checksum.
        rest: Vec<u8>,
    },
    /// Another protocol.
    Other {
        /// Protocol number.
        protocol: u8,
        /// Payload.
        data: Vec<u8>,
    },
}

/// A whole valid IP packet in its Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Destination and source Ethernet address.
    pub macs: ([u8; 6], [u8; 6]),
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Don't fragment; IPv6 has no such bit.
    pub dont_fragment: bool,
    /// The rest.
    pub body: Body,
}

impl Description {
    /// Protocol number and bytes of the body; no checksums yet.
    fn segment(&self) -> (u8, Vec<u8>) {
        match &self.body {
            Body::Tcp { source, destination, flags, data } => {
                let mut segment = vec![0; 20];
                segment[..2].copy_from_slice(&source.to_be_bytes());
                segment[2..4].copy_from_slice(&destination.to_be_bytes());
                segment[4..12].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
                segment[12..16].copy_from_slice(&[0x50, *flags, 0x20, 0x00]);
                segment.extend_from_slice(data);
                (TCP, segment)
            }
            Body::Udp { source, destination, data } => {
                let mut segment = Vec::new();
                segment.extend_from_slice(&source.to_be_bytes());
                segment.extend_from_slice(&destination.to_be_bytes());
                segment.extend_from_slice(&(data.len() as u16 + 8).to_be_bytes());
                segment.extend_from_slice(&[0, 0]);
                segment.extend_from_slice(data);
                (UDP, segment)
            }
            Body::Icmp { kind, code, rest } => {
                let mut message = vec![*kind, *code, 0, 0];
                message.extend_from_slice(rest);
                if self.source.is_ipv6() {
                    return (ICMP6, message);
                }
                let sum = checksum::of(&message);
                set_word(&mut message, 2, sum);
                (ICMP, message)
            }
            Body::Other { protocol, data } => (*protocol, data.clone()),
        }
    }

    /// The IP packet's bytes; every length and checksum is right.
    pub fn packet(&self) -> Vec<u8> {
        let (protocol, segment) = self.segment();
        let mut packet;
        if self.source.is_ipv6() {
            packet = vec![0x60, 0, 0, 0, 0, 0, protocol, self.ttl];
            set_word(&mut packet, 4, segment.len() as u16);
        } else {
            let flags = if self.dont_fragment { 0x40 } else { 0 };
            packet = vec![0x45, 0, 0, 0, 0xab, 0xcd, flags, 0, self.ttl, protocol, 0, 0];
            set_word(&mut packet, 2, 20 + segment.len() as u16);
        }
        packet.extend(octets(self.source));
        packet.extend(octets(self.destination));
        packet.extend(segment);
        checksum::seal(&mut packet);
        packet
    }

    /// The frame's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let kind: u16 = if self.source.is_ipv6() { 0x86dd } else { 0x0800 };
        let mut frame = Vec::new();
        frame.extend_from_slice(&self.macs.0);
        frame.extend_from_slice(&self.macs.1);
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend(self.packet());
        frame
    }
}

/// A complete ARP frame (RFC 826).
pub fn arp(
    macs: ([u8; 6], [u8; 6]),
    operation: u16,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&macs.0);
    frame.extend_from_slice(&macs.1);
    frame.extend_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4]);
    frame.extend_from_slice(&operation.to_be_bytes());
    frame.extend_from_slice(&sender.0);
    frame.extend_from_slice(&sender.1.octets());
    frame.extend_from_slice(&target.0);
    frame.extend_from_slice(&target.1.octets());
    frame
}

/// A neighbour solicitation (135) or advertisement (136) with a right checksum (RFC 4861 §4.3, §4.4);
/// `flags` are those of an advertisement, `option` the link-layer address it tells, `odd` as in
/// [`Step::Discovery`](super::scenario::Step::Discovery).
pub fn neighbor_message(
    macs: ([u8; 6], [u8; 6]),
    (kind, flags): (u8, u8),
    (source, destination): (Ipv6Addr, Ipv6Addr),
    target: Ipv6Addr,
    option: Option<[u8; 6]>,
    odd: usize,
) -> Vec<u8> {
    let mut rest = vec![flags, 0, 0, 0];
    rest.extend_from_slice(&target.octets());
    if let Some(mac) = option {
        let units = if odd == 3 { 0 } else { 1 };
        rest.extend_from_slice(&[if kind == 135 { 1 } else { 2 }, units]);
        rest.extend_from_slice(&mac);
    }
    if odd == 2 {
        rest.truncate(16);
    }
    let body = Body::Icmp { kind, code: u8::from(odd == 1), rest };
    let (source, destination) = (source.into(), destination.into());
    Description { macs, source, destination, ttl: 255, dont_fragment: false, body }.bytes()
}

/// Puts VLAN tags behind the Ethernet addresses, the outer one first.
pub fn tag(frame: &mut Vec<u8>, tags: &[(u16, u16)]) {
    if frame.len() < 12 {
        return;
    }
    for (tpid, tci) in tags.iter().rev() {
        let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
        frame.splice(12..12, tag);
    }
}
