//! Frames for the reference's tests, made from a plain description. Everything a sender may get
//! wrong on the way is a [`Flaw`] that is applied afterwards.

use std::net::Ipv4Addr;

use super::checksum;
use super::ip4::{Header, ICMP, TCP, UDP, word};

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

/// What an IPv4 packet carries.
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
    /// An ICMP message with a right checksum.
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

/// A whole valid IPv4 packet in its Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Destination and source Ethernet address.
    pub macs: ([u8; 6], [u8; 6]),
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// The rest.
    pub body: Body,
}

impl Description {
    /// The frame's bytes; every length and checksum is right.
    pub fn bytes(&self) -> Vec<u8> {
        let (protocol, segment) = match &self.body {
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
                let sum = checksum::of(&message);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                (ICMP, message)
            }
            Body::Other { protocol, data } => (*protocol, data.clone()),
        };
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(20 + segment.len() as u16).to_be_bytes());
        packet[4..6].copy_from_slice(&[0xab, 0xcd]);
        packet[6] = if self.dont_fragment { 0x40 } else { 0 };
        packet[8] = self.ttl;
        packet[9] = protocol;
        packet[12..16].copy_from_slice(&self.source.octets());
        packet[16..20].copy_from_slice(&self.destination.octets());
        packet.extend_from_slice(&segment);
        checksum::seal(&mut packet);
        let mut frame = Vec::new();
        frame.extend_from_slice(&self.macs.0);
        frame.extend_from_slice(&self.macs.1);
        frame.extend_from_slice(&[0x08, 0x00]);
        frame.extend_from_slice(&packet);
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

/// Something unusual about a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The frame ends here.
    Truncate(usize),
    /// Bytes behind the IP packet.
    Pad(usize),
    /// IPv4 options: so many words of no-operation, checksum right.
    Options(u8),
    /// Don't-fragment is set, checksum right.
    DontFragment,
    /// Another TTL, checksum right.
    Ttl(u8),
    /// Fragment offset (8-byte units) and more-fragments, checksum right.
    Fragment(u16, bool),
    /// Another source address, with the old transport checksum; header checksum right.
    Source(Ipv4Addr),
    /// Added to the header checksum.
    HeaderChecksum(u16),
    /// Added to the TCP or UDP checksum field.
    TransportChecksum(u16),
    /// The transport checksum is that of the pseudo header alone: a sender with offload.
    PartialChecksum,
    /// The UDP checksum becomes 0: none.
    NoChecksum,
    /// Data is changed so that the right transport checksum computes to zero.
    ComputesToZero,
    /// Data is changed so that it would compute to zero with this other source (if true) or
    /// destination address and port: what a translation does.
    ComputesToZeroAt(bool, Ipv4Addr, u16),
    /// Total length is off by this, header checksum right.
    TotalLen(i16),
    /// Version and IHL byte, header checksum not adapted.
    VersionIhl(u8),
    /// Another Ethernet destination.
    Destination([u8; 6]),
    /// A VLAN tag: TPID and TCI.
    Vlan(u16, u16),
    /// Another Ethernet type.
    EtherType(u16),
    /// One byte anywhere (position modulo length) is changed by exclusive or.
    Flip(usize, u8),
}

/// True when `frame` carries an IPv4 header that can be edited.
fn editable(frame: &[u8]) -> bool {
    frame.len() >= 34
        && word(frame, 12) == 0x0800
        && frame.len() >= 14 + Header::of(&frame[14..]).total_len
        && frame[14] & 0x0f >= 5
        && Header::of(&frame[14..]).total_len >= Header::of(&frame[14..]).header_len
}

/// Makes the header checksum right again.
fn reseal_header(frame: &mut [u8]) {
    let len = usize::from(frame[14] & 0x0f) * 4;
    frame[24..26].fill(0);
    let sum = checksum::of(&frame[14..14 + len]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// Offset of the TCP or UDP checksum, if the frame has one.
fn transport_field(frame: &[u8]) -> Option<usize> {
    let header = Header::of(&frame[14..]);
    let at = 14 + header.header_len + if header.protocol == UDP { 6 } else { 16 };
    (header.has_ports() && at + 2 <= 14 + header.total_len).then_some(at)
}

fn add_to(frame: &mut [u8], at: usize, value: u16) {
    let sum = word(frame, at).wrapping_add(value);
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Makes every checksum right again.
fn seal(frame: &mut [u8]) {
    let end = 14 + Header::of(&frame[14..]).total_len;
    checksum::seal(&mut frame[14..end]);
}

/// Lets the last aligned data word take up the transport checksum, which must be right.
fn compute_to_zero(frame: &mut [u8]) {
    let Some(at) = transport_field(frame) else { return };
    let header = Header::of(&frame[14..]);
    let segment_len = header.total_len - header.header_len;
    let data = 14 + header.header_len + segment_len / 2 * 2 - 2;
    if data < at + 4 {
        return;
    }
    let sum = u32::from(word(frame, at)) + u32::from(word(frame, data));
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[data..data + 2].copy_from_slice(&(folded as u16).to_be_bytes());
    seal(frame);
}

impl Flaw {
    /// Applies the flaw; frames that cannot have it stay as they are.
    pub fn apply(&self, frame: &mut Vec<u8>) {
        match *self {
            Self::Truncate(len) => frame.truncate(len),
            Self::Pad(bytes) => frame.resize(frame.len() + bytes, 0xa5),
            Self::Flip(at, bits) if !frame.is_empty() => {
                let at = at % frame.len();
                frame[at] ^= bits;
            }
            Self::Destination(mac) if frame.len() >= 6 => frame[..6].copy_from_slice(&mac),
            Self::Vlan(tpid, tci) if frame.len() >= 12 => {
                let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
                frame.splice(12..12, tag);
            }
            Self::EtherType(kind) if frame.len() >= 14 => {
                frame[12..14].copy_from_slice(&kind.to_be_bytes());
            }
            _ if editable(frame) => self.apply_to_ip4(frame),
            _ => {}
        }
    }

    fn apply_to_ip4(&self, frame: &mut Vec<u8>) {
        match *self {
            Self::Options(words) if frame[14] == 0x45 => {
                let words = words.min(10);
                frame.splice(34..34, vec![1; usize::from(words) * 4]);
                frame[14] = 0x45 + words;
                add_to(frame, 16, u16::from(words) * 4);
                reseal_header(frame);
            }
            Self::DontFragment => {
                frame[20] |= 0x40;
                reseal_header(frame);
            }
            Self::Ttl(ttl) => {
                frame[22] = ttl;
                reseal_header(frame);
            }
            Self::Fragment(offset, more) => {
                let field = (offset & 0x1fff) | u16::from(more) << 13;
                frame[20..22].copy_from_slice(&field.to_be_bytes());
                reseal_header(frame);
            }
            Self::Source(address) => {
                frame[26..30].copy_from_slice(&address.octets());
                reseal_header(frame);
            }
            Self::HeaderChecksum(by) => add_to(frame, 24, by),
            Self::TransportChecksum(by) => {
                if let Some(at) = transport_field(frame) {
                    add_to(frame, at, by);
                }
            }
            Self::NoChecksum => {
                if frame[23] == UDP
                    && let Some(at) = transport_field(frame)
                {
                    frame[at..at + 2].fill(0);
                }
            }
            Self::PartialChecksum => {
                if let Some(at) = transport_field(frame) {
                    let sum = checksum::partial(&frame[14..]);
                    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
                }
            }
            Self::ComputesToZero => compute_to_zero(frame),
            Self::ComputesToZeroAt(source, address, port) => {
                if transport_field(frame).is_none() {
                    return;
                }
                let l4 = 14 + Header::of(&frame[14..]).header_len;
                let (address_at, port_at) = if source { (26, l4) } else { (30, l4 + 2) };
                let original = (frame[address_at..address_at + 4].to_vec(), word(frame, port_at));
                frame[address_at..address_at + 4].copy_from_slice(&address.octets());
                frame[port_at..port_at + 2].copy_from_slice(&port.to_be_bytes());
                seal(frame);
                compute_to_zero(frame);
                frame[address_at..address_at + 4].copy_from_slice(&original.0);
                frame[port_at..port_at + 2].copy_from_slice(&original.1.to_be_bytes());
                seal(frame);
            }
            Self::TotalLen(by) => {
                add_to(frame, 16, by as u16);
                reseal_header(frame);
            }
            Self::VersionIhl(byte) => frame[14] = byte,
            _ => {}
        }
    }
}
