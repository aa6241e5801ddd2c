//! Splitting IP packets into fragments, and putting them together again.

use super::tunnel::is_v6;
use super::{PacketBuilder, ip4_checksummed};

impl PacketBuilder {
    /// The frames of the packet's fragments, each with an IP packet of at most `mtu` bytes. Those
    /// of IPv6 carry `id`, those of IPv4 the packet's own.
    pub fn fragments(&self, mtu: usize, id: u32) -> Vec<Vec<u8>> {
        fragments(&self.packet(), mtu, id).iter().map(|packet| self.frame(packet)).collect()
    }
}

/// Splits an IP packet without options or extension headers into fragments of at most `mtu` bytes.
/// Those of IPv6 carry `id`, those of IPv4 the packet's own identification.
///
/// # Panics
/// When the MTU leaves no room.
pub fn fragments(packet: &[u8], mtu: usize, id: u32) -> Vec<Vec<u8>> {
    let header_len = if is_v6(packet) { 40 } else { 20 };
    let added = if is_v6(packet) { 8 } else { 0 };
    let step = (mtu - header_len - added) / 8 * 8;
    assert!(step > 0, "an MTU of {mtu} leaves no room");
    let (header, payload) = packet.split_at(header_len);
    let count = payload.len().div_ceil(step).max(1);
    let piece = |nth: usize| {
        let (start, more) = (nth * step, nth + 1 < count);
        let part = &payload[start..payload.len().min(start + step)];
        let mut bytes = header.to_vec();
        if is_v6(packet) {
            bytes[6] = 44;
            let offset_more = start as u16 | u16::from(more);
            bytes.extend([packet[6], 0]);
            bytes.extend(offset_more.to_be_bytes());
            bytes.extend(id.to_be_bytes());
            bytes[4..6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
        } else {
            let field = (start / 8) as u16 | if more { 0x2000 } else { 0 };
            bytes[6..8].copy_from_slice(&field.to_be_bytes());
            bytes[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            bytes = ip4_checksummed(bytes);
        }
        bytes.extend_from_slice(part);
        bytes
    };
    (0..count).map(piece).collect()
}

/// Puts the fragments of one datagram together, in whatever order they are. The header is the first
/// fragment's, with everything that fragmentation put there taken back.
///
/// # Panics
/// When they are not exactly all the fragments of one datagram, without overlaps.
pub fn reassembled(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut pieces: Vec<Piece> = fragments.iter().map(|packet| Piece::of(packet)).collect();
    pieces.sort_by_key(|piece| piece.offset);
    let (key, mut payload) = (pieces[0].key.clone(), Vec::new());
    for piece in &pieces {
        assert_eq!(piece.key, key, "addresses and identification");
        assert_eq!(piece.offset, payload.len(), "a gap, an overlap or no first fragment");
        let is_last = std::ptr::eq(piece, pieces.last().expect("the loop has one"));
        assert_eq!(piece.more, !is_last, "more fragments");
        assert!(is_last || piece.payload.len() % 8 == 0, "a fragment of uneven length");
        payload.extend_from_slice(piece.payload);
    }
    let mut packet = pieces.swap_remove(0).header;
    let v6 = is_v6(&packet);
    let (at, len) = if v6 { (4, payload.len()) } else { (2, packet.len() + payload.len()) };
    packet[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes());
    if !v6 {
        packet[6..8].fill(0);
        packet = ip4_checksummed(packet);
    }
    packet.extend(payload);
    packet
}

/// A fragment taken apart.
struct Piece<'a> {
    /// The IP header as it would be without fragmentation, but for length, flags and checksum.
    header: Vec<u8>,
    /// What all fragments of the datagram have in common.
    key: Vec<u8>,
    offset: usize,
    more: bool,
    payload: &'a [u8],
}

impl<'a> Piece<'a> {
    fn of(packet: &'a [u8]) -> Self {
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        if is_v6(packet) {
            assert_eq!(packet[6], 44, "a fragment header");
            assert_eq!(usize::from(word(4)), packet.len() - 40, "payload length");
            let mut header = packet[..40].to_vec();
            header[6] = packet[40];
            let (offset, more) = (usize::from(word(42) & !7), packet[43] & 1 == 1);
            let key = [&packet[8..40], &packet[44..48]].concat();
            return Self { header, key, offset, more, payload: &packet[48..] };
        }
        assert_eq!(usize::from(word(2)), packet.len(), "total length");
        let key = [&packet[4..6], &packet[9..10], &packet[12..20]].concat();
        let (offset, more) = (usize::from(word(6) & 0x1fff) * 8, packet[6] & 0x20 != 0);
        let header_len = usize::from(packet[0] & 15) * 4;
        let (header, payload) = packet.split_at(header_len);
        Self { header: header.to_vec(), key, offset, more, payload }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::packet_builder::validated_packet;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    fn packets() -> [Vec<u8>; 2] {
        let data: Vec<u8> = (0..3001_u32).map(|n| (n * 7 / 8) as u8).collect();
        [
            PacketBuilder::udp((A, 1), (B, 2)).data(data.clone()).packet(),
            PacketBuilder::udp((A6, 1), (B6, 2)).data(data).packet(),
        ]
    }

    #[test]
    fn fragments_fit_and_come_together_in_any_order() {
        for packet in packets() {
            for mtu in [88, 576, 1280, 1500, 9000] {
                let mut pieces = fragments(&packet, mtu, 0x1234_5678);
                assert!(pieces.iter().all(|piece| piece.len() <= mtu));
                for piece in &pieces {
                    validated_packet(piece);
                }
                assert_eq!(reassembled(&pieces), packet);
                pieces.reverse();
                assert_eq!(reassembled(&pieces), packet);
            }
        }
    }

    #[test]
    fn fragments_look_as_the_rfcs_say() {
        let [v4, v6] = packets();
        let second = &fragments(&v4, 1500, 0)[1];
        assert_eq!(second[2..8], [0x05, 0xdc, 0x12, 0x34, 0x20, 0xb9]);
        let second = &fragments(&v6, 1500, 7)[1];
        assert_eq!((second[6], &second[40..48]), (44, &[17, 0, 0x05, 0xa9, 0, 0, 0, 7][..]));
    }

    #[test]
    fn a_missing_or_foreign_fragment_is_seen() {
        for packet in packets() {
            let pieces = fragments(&packet, 1280, 1);
            let broken =
                |pieces: Vec<Vec<u8>>| std::panic::catch_unwind(|| reassembled(&pieces)).is_err();
            for nth in 0..3 {
                let mut missing = pieces.clone();
                missing.remove(nth);
                assert!(broken(missing), "{nth}");
            }
            let mut foreign = pieces.clone();
            // A byte of the destination.
            foreign[1][if is_v6(&packet) { 39 } else { 19 }] ^= 1;
            assert!(broken(foreign));
            let mut twice = pieces.clone();
            twice.push(pieces[1].clone());
            assert!(broken(twice));
        }
    }
}
