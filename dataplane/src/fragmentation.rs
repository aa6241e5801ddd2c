//! Splitting an IP packet into fragments: each is copied into a fresh packet.
//!
//! Copying costs what a memory read and write cost, and spares all other code chained buffers that
//! share memory. Packets that need it are rare: tunnels whose path is smaller than the traffic.

use zerocopy::IntoBytes;

use crate::packet::Packet;
use crate::wire::Header;
use crate::wire::fragment::{Fragment, FragmentHeader};
use crate::wire::ipv4::{Ipv4Header, protocol};
use crate::wire::ipv6::Ipv6Header;

/// A part of a packet's payload that becomes one fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the payload before this part: a multiple of 8.
    pub offset: u16,
    /// Bytes of this part.
    pub len: u16,
    /// Not the last part.
    pub more: bool,
}

/// Cuts `payload_len` bytes into parts of at most `room` bytes each, all but the last of them
/// multiples of 8. Nothing for an empty payload, nor when `room` is below 8.
#[inline]
pub fn pieces(payload_len: u16, room: u16) -> impl Iterator<Item = Piece> {
    let step = room & !7;
    let count = if step == 0 { 0 } else { payload_len.div_ceil(step) };
    (0..count).map(move |nth| {
        let offset = nth * step;
        let left = payload_len - offset;
        Piece { offset, len: left.min(step), more: left > step }
    })
}

/// The parts of the IPv4 packet with this header that fit into `mtu` bytes with it. Options cannot
/// be split (RFC 791 §3.1 wants some in every fragment and others only in the first), so a header
/// with options has none.
#[inline]
pub fn ip4_pieces(header: &Ipv4Header, mtu: u16) -> impl Iterator<Item = Piece> + use<> {
    let len = header.total_len.get().saturating_sub(Ipv4Header::LEN as u16);
    let plain = header.header_len() == Ipv4Header::LEN;
    pieces(if plain { len } else { 0 }, mtu.saturating_sub(Ipv4Header::LEN as u16))
}

/// The parts of the IPv6 packet with this header that fit into `mtu` bytes with it and a fragment
/// header.
#[inline]
pub fn ip6_pieces(header: &Ipv6Header, mtu: u16) -> impl Iterator<Item = Piece> + use<> {
    const HEADERS: u16 = (Ipv6Header::LEN + FragmentHeader::LEN) as u16;
    pieces(header.payload_len.get(), mtu.saturating_sub(HEADERS))
}

/// Makes `to`, an empty packet, the fragment `piece` of the IPv4 packet at `l3_offset` of `from`,
/// with whatever stands before that offset. The packet must have no options and DF clear; its
/// identification names the datagram. False, with `to` in any state, when a buffer is too small,
/// `from` ends too early or the offset does not fit into the header.
#[must_use]
pub fn write_ip4(from: &Packet, l3_offset: usize, piece: Piece, to: &mut Packet) -> bool {
    let headers = l3_offset + Ipv4Header::LEN;
    if !copy_parts(from, (headers, headers), piece, to) {
        return false;
    }
    let Some(header) = Ipv4Header::at_mut(to.data_mut(), l3_offset) else { return false };
    // A fragment may be split again: what it was before stays.
    let more = header.fragment.get() & Ipv4Header::MORE_FRAGMENTS != 0 || piece.more;
    let offset = (header.fragment.get() & Ipv4Header::OFFSET_MASK) + piece.offset / 8;
    if offset > Ipv4Header::OFFSET_MASK {
        return false;
    }
    let flag = if more { Ipv4Header::MORE_FRAGMENTS } else { 0 };
    header.set_total_len(Ipv4Header::LEN as u16 + piece.len);
    header.set_fragment(flag | offset);
    true
}

/// Makes `to`, an empty packet, the fragment `piece` of the IPv6 packet at `l3_offset` of `from`,
/// with whatever stands before that offset. `id` names the datagram. The packet must have no
/// extension headers that routers read (hop-by-hop, routing), since the fragment header goes before
/// all. False, with `to` in any state, when a buffer is too small or `from` ends too early.
#[must_use]
pub fn write_ip6(from: &Packet, l3_offset: usize, piece: Piece, id: u32, to: &mut Packet) -> bool {
    let headers = l3_offset + Ipv6Header::LEN;
    if !copy_parts(from, (headers, headers + FragmentHeader::LEN), piece, to) {
        return false;
    }
    let data = to.data_mut();
    let Some(header) = Ipv6Header::at_mut(data, l3_offset) else { return false };
    let next_header = std::mem::replace(&mut header.next_header, protocol::FRAGMENT);
    header.payload_len.set(FragmentHeader::LEN as u16 + piece.len);
    let fragment = Fragment { offset: piece.offset, more: piece.more, id };
    let Some(field) = data.get_mut(headers..headers + FragmentHeader::LEN) else { return false };
    field.copy_from_slice(FragmentHeader::new(next_header, fragment).as_bytes());
    true
}

/// Copies the first `headers.0` bytes, and the piece (which counts from there) to `headers.1`.
fn copy_parts(from: &Packet, headers: (usize, usize), piece: Piece, to: &mut Packet) -> bool {
    let (len, room) = headers;
    if !to.extend(room + usize::from(piece.len)) {
        return false;
    }
    let data = to.data_mut();
    from.copy_bytes(0, &mut data[..len])
        && from.copy_bytes(len + usize::from(piece.offset), &mut data[room..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_room_or_nothing_to_send_makes_no_pieces() {
        assert_eq!(pieces(100, 7).count(), 0);
        assert_eq!(pieces(0, 100).count(), 0);
        let whole = Piece { offset: 0, len: 8, more: false };
        assert!(pieces(8, 8).eq([whole]));
        assert_eq!(pieces(u16::MAX, 8).last().unwrap().offset, 65528);
    }

    #[test]
    fn options_are_not_split() {
        let mut bytes = [0; 20];
        (bytes[0], bytes[2]) = (0x45, 0x10);
        let mut header = *Ipv4Header::at(&bytes, 0).unwrap();
        assert_eq!(ip4_pieces(&header, 1500).count(), 3);
        header.version_ihl = 0x46;
        assert_eq!(ip4_pieces(&header, 1500).count(), 0);
    }

    proptest! {
        #[test]
        fn pieces_tile_the_payload(payload_len: u16, room in 8_u16..3000) {
            let mut next = 0_u32;
            for piece in pieces(payload_len, room) {
                prop_assert_eq!(u32::from(piece.offset), next);
                prop_assert!(piece.len > 0 && piece.len <= room);
                prop_assert!(!piece.more || piece.len == room / 8 * 8);
                next += u32::from(piece.len);
                prop_assert_eq!(piece.more, next < u32::from(payload_len));
            }
            prop_assert_eq!(next, u32::from(payload_len));
        }
    }
}
