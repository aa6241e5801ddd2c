//! [`Flaw`]: what a sender or the way may do to a frame.

use std::net::IpAddr;

use super::checksum;
use super::frame::tag;
use super::ip::{
    Header, TCP, UDP, has_ports, octets, set_source, set_tos, set_ttl, set_word, word,
};
use super::upper::{Tuple, Upper};

/// Something unusual about a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The frame ends here.
    Truncate(usize),
    /// Bytes behind the IP packet.
    Pad(usize),
    /// IPv4 options: so many words of no-operation; IPv6: so many extension headers. Lengths and
    /// checksum right.
    Options(u8),
    /// A way of the sender's choice: an IPv4 option of this type, an IPv6 routing header.
    SourceRoute(u8),
    /// An IPv6 extension header claims to be longer than the packet.
    LongExtension,
    /// Another data offset of TCP, in words; checksum not adapted.
    DataOffset(u8),
    /// Don't-fragment is set, checksum right.
    DontFragment,
    /// Another TTL, checksum right.
    Ttl(u8),
    /// Other DSCP and ECN, checksum right.
    Tos(u8),
    /// Fragment offset (8-byte units) and more-fragments, checksum right.
    Fragment(u16, bool),
    /// Another source address, with the old transport checksum; header checksum right.
    Source(IpAddr),
    /// Added to the header checksum.
    HeaderChecksum(u16),
    /// Added to the transport checksum field.
    TransportChecksum(u16),
    /// The transport checksum is that of the pseudo header alone: a sender with offload.
    PartialChecksum,
    /// The UDP checksum becomes 0: none.
    NoChecksum,
    /// Data is changed so that the right transport checksum computes to zero.
    ComputesToZero,
    /// Data is changed so that it would compute to zero with this other source (if true) or
    /// destination address and port: what a translation does.
    ComputesToZeroAt(bool, IpAddr, u16),
    /// A TCP option tells this maximum segment size, behind so many words of no-operation.
    Mss(u16, u8),
    /// Total or payload length is off by this, header checksum right.
    TotalLen(i16),
    /// Another first byte of the IP header, header checksum not adapted.
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

/// True when `frame` carries an IP packet that can be edited.
pub(super) fn editable(frame: &[u8]) -> bool {
    let ip = frame.get(14..).unwrap_or_default();
    let least = match frame.get(12..14) {
        Some([0x08, 0x00]) if ip.first().is_some_and(|byte| byte >> 4 == 4) => 20,
        Some([0x86, 0xdd]) if ip.first().is_some_and(|byte| byte >> 4 == 6) => 40,
        _ => return false,
    };
    if ip.len() < least {
        return false;
    }
    let header = Header::of(ip);
    (least..=header.total_len).contains(&header.header_len) && header.total_len <= ip.len()
}

fn add_to(bytes: &mut [u8], at: usize, value: u16) {
    let sum = word(bytes, at).wrapping_add(value);
    set_word(bytes, at, sum);
}

/// Where the length of an IP packet is.
fn length_at(packet: &[u8]) -> usize {
    if packet[0] >> 4 == 6 { 4 } else { 2 }
}

/// Puts bytes into a packet and tells its header of them.
fn insert(packet: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    packet.splice(at..at, bytes.iter().copied());
    let length_at = length_at(packet);
    add_to(packet, length_at, bytes.len() as u16);
}

/// Puts an extension header of 8 bytes in front of everything behind the IPv6 header.
fn extend(packet: &mut Vec<u8>, kind: u8, [a, b]: [u8; 2], rest: [u8; 4]) {
    let [c, d, e, f] = rest;
    let next = packet[6];
    insert(packet, 40, &[next, 0, a, b, c, d, e, f]);
    packet[6] = kind;
}

/// Makes every checksum of a whole packet right again.
fn seal(packet: &mut [u8]) {
    let end = Header::of(packet).total_len;
    checksum::seal(&mut packet[..end]);
}

/// Lets the last aligned data word take up the transport checksum, which must be right.
fn compute_to_zero(packet: &mut [u8]) {
    let Ok(upper) = Upper::of(packet) else { return };
    let Some(at) = checksum::field(packet, &upper) else { return };
    let len = Header::of(packet).total_len - upper.at;
    let data = upper.at + len / 2 * 2 - 2;
    if data < at + 4 {
        return;
    }
    let sum = u32::from(word(packet, at)) + u32::from(word(packet, data));
    let folded = (sum & 0xffff) + (sum >> 16);
    set_word(packet, data, folded as u16);
    seal(packet);
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
            Self::Vlan(tpid, tci) => tag(frame, &[(tpid, tci)]),
            Self::EtherType(kind) if frame.len() >= 14 => set_word(frame, 12, kind),
            _ if editable(frame) => {
                let mut packet = frame.split_off(14);
                self.apply_to_packet(&mut packet);
                frame.extend(packet);
            }
            _ => {}
        }
    }

    fn apply_to_packet(&self, packet: &mut Vec<u8>) {
        let v6 = packet[0] >> 4 == 6;
        match *self {
            Self::Options(count) => options(packet, count),
            Self::SourceRoute(_) if v6 => extend(packet, 43, [4, 1], [0; 4]),
            Self::SourceRoute(kind) if packet[0] == 0x45 => {
                insert(packet, 20, &[1, kind, 3, 4]);
                packet[0] = 0x46;
            }
            Self::LongExtension if v6 => {
                extend(packet, 60, [1, 4], [0; 4]);
                packet[41] = 250;
            }
            Self::DontFragment if !v6 => packet[6] |= 0x40,
            Self::Ttl(ttl) => set_ttl(packet, ttl),
            Self::Tos(tos) => set_tos(packet, tos),
            Self::Fragment(offset, more) if v6 => {
                let field = (offset << 3 | u16::from(more)).to_be_bytes();
                extend(packet, 44, field, [0, 0, 0xab, 0xcd]);
                // The second byte of a fragment header is reserved.
                packet[41] = 0;
            }
            Self::Fragment(offset, more) => {
                set_word(packet, 6, (offset & 0x1fff) | u16::from(more) << 13);
            }
            Self::Source(address) if address.is_ipv6() == v6 => set_source(packet, address),
            Self::TotalLen(by) => {
                let at = length_at(packet);
                add_to(packet, at, by as u16);
                // The header says something else than there is; only its checksum is right.
                if !v6 {
                    let len = usize::from(packet[0] & 0x0f) * 4;
                    set_word(packet, 10, 0);
                    let sum = checksum::of(&packet[..len]);
                    set_word(packet, 10, sum);
                }
                return;
            }
            Self::VersionIhl(byte) => {
                packet[0] = byte;
                return;
            }
            Self::HeaderChecksum(by) if !v6 => {
                add_to(packet, 10, by);
                return;
            }
            _ => return self.apply_to_segment(packet),
        }
        checksum::seal_header(packet);
    }

    fn apply_to_segment(&self, packet: &mut Vec<u8>) {
        let Ok(upper) = Upper::of(packet) else { return };
        if let Self::Mss(size, padding) = *self {
            return mss(packet, &upper, size, padding);
        }
        let Some(at) = checksum::field(packet, &upper) else { return };
        match *self {
            Self::DataOffset(words) if upper.protocol == TCP => {
                packet[upper.at + 12] = words << 4;
            }
            Self::TransportChecksum(by) => add_to(packet, at, by),
            Self::NoChecksum if upper.protocol == UDP => set_word(packet, at, 0),
            Self::PartialChecksum => {
                let sum = checksum::partial(packet, &upper);
                set_word(packet, at, sum);
            }
            Self::ComputesToZero => compute_to_zero(packet),
            Self::ComputesToZeroAt(source, address, port) => {
                let whole = Tuple::of(packet, &upper).is_some() && has_ports(upper.protocol);
                if !whole || address.is_ipv6() != Header::of(packet).v6 {
                    return;
                }
                let bytes = octets(address);
                let base = if address.is_ipv6() { 8 } else { 12 };
                let address_at = if source { base } else { base + bytes.len() };
                let port_at = if source { upper.at } else { upper.at + 2 };
                let end = address_at + bytes.len();
                let original = (packet[address_at..end].to_vec(), word(packet, port_at));
                packet[address_at..end].copy_from_slice(&bytes);
                set_word(packet, port_at, port);
                seal(packet);
                compute_to_zero(packet);
                packet[address_at..end].copy_from_slice(&original.0);
                set_word(packet, port_at, original.1);
                seal(packet);
            }
            _ => {}
        }
    }
}

/// IPv4 options without meaning, or IPv6 extension headers: hop-by-hop and destination options, and
/// a routing header that has nothing left to do.
fn options(packet: &mut Vec<u8>, count: u8) {
    if packet[0] >> 4 == 6 {
        for at in 0..count {
            let (kind, [a, b]) = match at % 3 {
                0 if at + 1 == count => (0, [1, 4]),
                0 | 1 => (60, [1, 4]),
                _ => (43, [3, 0]),
            };
            extend(packet, kind, [a, b], [0; 4]);
        }
    } else if packet[0] == 0x45 {
        let words = count.min(10);
        insert(packet, 20, &vec![1; usize::from(words) * 4]);
        packet[0] = 0x45 + words;
    }
}

/// Gives a TCP segment without options a maximum segment size.
fn mss(packet: &mut Vec<u8>, upper: &Upper, size: u16, padding: u8) {
    let whole = Tuple::of(packet, upper).is_some() && upper.fragment.is_none();
    if !whole || upper.protocol != TCP || packet[upper.at + 12] != 0x50 {
        return;
    }
    let words = padding.min(9);
    let mut bytes = vec![1; usize::from(words) * 4];
    bytes.extend_from_slice(&[2, 4]);
    bytes.extend_from_slice(&size.to_be_bytes());
    insert(packet, upper.at + 20, &bytes);
    packet[upper.at + 12] = (6 + words) << 4;
    seal(packet);
}

/// How a datagram is cut, and how the pieces travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Units of 8 bytes in each piece but the last.
    pub size: usize,
    /// Identification.
    pub id: u16,
    /// The pieces leave in this order, by number modulo how many there are; the rest behind.
    pub order: Vec<usize>,
    /// So many of the last never arrive.
    pub lost: usize,
}

impl Cut {
    /// The pieces of a frame that carries a whole packet, in the order in which they arrive; the
    /// frame itself if it cannot be cut.
    pub fn apply(&self, frame: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = self.pieces(frame).unwrap_or_else(|| vec![frame.to_vec()]);
        let mut travelling = Vec::new();
        for at in &self.order {
            if !pieces.is_empty() {
                travelling.push(pieces.remove(at % pieces.len()));
            }
        }
        travelling.extend(pieces);
        let arriving = travelling.len().saturating_sub(self.lost).max(1);
        travelling.truncate(arriving);
        travelling
    }

    fn pieces(&self, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
        if !editable(frame) {
            return None;
        }
        let packet = &frame[14..];
        let header = Header::of(packet);
        let upper = Upper::of(packet).ok()?;
        let load = packet.get(upper.at..header.total_len)?;
        // Extension headers other than the one that is made here stay away.
        if upper.fragment.is_some() || header.v6 && upper.at > 40 || load.len() <= self.size * 8 {
            return None;
        }
        let count = load.len().div_ceil(self.size * 8);
        let piece = |(at, part): (usize, &[u8])| {
            let (offset, more) = ((at * self.size) as u16, at + 1 < count);
            let mut piece = packet[..upper.at].to_vec();
            if header.v6 {
                set_word(&mut piece, 4, part.len() as u16);
                extend(
                    &mut piece,
                    44,
                    (offset << 3 | u16::from(more)).to_be_bytes(),
                    [0, 0, (self.id >> 8) as u8, self.id as u8],
                );
            } else {
                set_word(&mut piece, 2, (upper.at + part.len()) as u16);
                set_word(&mut piece, 4, self.id);
                set_word(&mut piece, 6, offset | u16::from(more) << 13);
                checksum::seal_header(&mut piece);
            }
            piece.extend_from_slice(part);
            [&frame[..14], &piece].concat()
        };
        Some(load.chunks(self.size * 8).enumerate().map(piece).collect())
    }
}
