//! What all ordinary packets to one service look like, so that a few comparisons of whole words tell
//! that a packet is one of them.

use std::net::{Ipv4Addr, Ipv6Addr};

use balancer::{Finder, FlowTuple, KeyKind, Place, TcpFlags, VipId};
use dataplane::family::{Ip4, Ip6};
use dataplane::wire::Header;
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;

use super::ordinary::{L3, OrdinaryFamily, Station, is_global_unicast, is_host};

/// What ordinary packets to a service have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<A> {
    /// Whom the frames are for.
    pub(super) station: Station,
    /// `None`: any address and port.
    pub(super) dst: Option<A>,
    /// Host byte order; `None`: any port.
    pub(super) dst_port: Option<u16>,
    /// TCP or UDP.
    pub(super) protocol: u8,
    /// A UDP packet without a checksum is none of them, if the family demands one.
    pub(super) summed: bool,
}

/// What differs between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Varying<A> {
    pub(super) src: A,
    pub(super) dst: A,
    /// Host byte order, as the next.
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    /// None of UDP.
    pub(super) flags: TcpFlags,
    /// Bytes of the IP packet.
    pub(super) len: u16,
}

/// A family whose packets to one service are told from others by comparing words.
pub(super) trait Likeness: OrdinaryFamily {
    /// What is compared.
    type Like: Copy + std::fmt::Debug;

    /// What packets to a service are compared with.
    fn like(common: &Common<Self::Address>) -> Self::Like;

    /// What is special in a frame, if [`OrdinaryFamily::read`] takes it and it is like that; but its
    /// source may be one that [`Self::is_source`] refuses. `same` is what they have in common: the protocol,
    /// TCP or UDP, and whether they have one destination. Known to the compiler, so that nobody compares
    /// what is any.
    fn varying(like: &Self::Like, same: (u8, bool), data: &[u8]) -> Option<Varying<Self::Address>>;

    /// The [place](Finder::point) of the flow of a packet that is like that.
    #[inline(always)]
    fn point(
        finder: &Finder<'_>,
        place: &mut Place,
        (kind, vip): (KeyKind, VipId),
        (flow, _data): (&FlowTuple<Self::Address>, &[u8]),
    ) {
        finder.point(place, kind, vip, flow);
    }

    /// Whether a host can have this address that the FIB marks
    /// ([`may_be_ours`](dataplane::family::Family::may_be_ours)). Of others it need not be asked.
    fn is_source(address: Self::Address) -> bool;
}

/// So many bytes of a frame, as a number whose low end comes first.
#[inline(always)]
fn word<const N: usize>(head: &[u8; N], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&head[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Four of them.
#[inline(always)]
fn half<const N: usize>(head: &[u8; N], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&head[at..at + 4]);
    u32::from_le_bytes(bytes)
}

/// Two bytes as a number, most often a port.
#[inline(always)]
fn port<const N: usize>(head: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([head[at], head[at + 1]])
}

/// So many bytes are compared at once.
const STRETCH: usize = 32;

/// A stretch of a frame: what it is like, and the bits that count. The compiler makes three instructions
/// of the comparison.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    like: [u32; STRETCH / 4],
    mask: [u32; STRETCH / 4],
}

/// Where in a frame bytes are, these, and the bits of them that count.
type Part<'a> = (usize, &'a [u8], &'a [u8]);

/// Of so many bytes of a frame, from byte `start` on: what they are in these parts, and the bits that
/// count.
fn joined<const N: usize>(start: usize, parts: &[Part<'_>]) -> ([u8; N], [u8; N]) {
    let (mut like, mut mask) = ([0; N], [0; N]);
    for (at, bytes, bits) in parts {
        for (offset, (byte, bits)) in bytes.iter().zip(*bits).enumerate() {
            let at = at - start + offset;
            (like[at], mask[at]) = (byte & bits, *bits);
        }
    }
    (like, mask)
}

impl Stretch {
    /// Starts at byte `start` of frames.
    fn new(start: usize, parts: &[Part<'_>]) -> Self {
        let (like, mask) = joined::<STRETCH>(start, parts);
        let words = |bytes: &[u8; STRETCH]| std::array::from_fn(|at| half(bytes, 4 * at));
        Self { like: words(&like), mask: words(&mask) }
    }

    /// Whether a head is like that from byte `start` on.
    #[inline(always)]
    fn fits<const N: usize>(&self, head: &[u8; N], start: usize) -> bool {
        let mut other = 0;
        for (at, (like, mask)) in self.like.iter().zip(&self.mask).enumerate() {
            other |= (half(head, start + 4 * at) ^ like) & mask;
        }
        other == 0
    }
}

/// What the Ethernet header is like: for the station, and of this type.
fn link_parts<'a>(station: &'a [u8; 6], kind: &'a [u8; 2]) -> [(usize, &'a [u8], &'a [u8]); 2] {
    [(0, station, &[0xff; 6]), (12, kind, &[0xff; 2])]
}

/// The bits of a port that count.
fn port_mask(port: Option<u16>) -> [u8; 2] {
    if port.is_some() { [0xff; 2] } else { [0; 2] }
}

/// Bytes of TCP's or UDP's header.
fn upper_len(upper: u8) -> u8 {
    (if upper == protocol::UDP { UdpHeader::LEN } else { TcpHeader::LEN }) as u8
}

/// Up to the end of the ports.
const HEAD4: usize = ENDS4 + 8;
/// Destination and ports.
const ENDS4: usize = L3 + 16;
/// Source, destination and ports.
const SOURCE4: usize = L3 + 12;
/// TCP's flags.
const FLAGS4: usize = L3 + Ipv4Header::LEN + 13;

/// What is compared of IPv4 packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Like4 {
    start: Stretch,
    /// From [`ENDS4`] on: what they are like, and the bits that count.
    ends: u64,
    ends_mask: u64,
    /// The destination, as packets have it; 0 for any.
    dst: u32,
}

/// Whether the checksum of an IPv4 header is right, by the sum of its words: whether that, in any byte
/// order (RFC 1071 §2), is a multiple of 0xffff other than 0, which no header's is. As 2^16 is 1 more
/// than that, numbers of any length can be added that are made of such words; the sum of all must be
/// less than 2^63.
#[inline(always)]
fn is_whole(sum: u64) -> bool {
    // What times 0xffff is 1. Times this, a multiple of 0xffff becomes that by which it is one, which is
    // less than 2^48; whatever else becomes more (Warren, Hacker's Delight §10-17).
    const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
    const { assert!(INVERSE.wrapping_mul(0xffff) == 1) }
    sum.wrapping_mul(INVERSE) >> 48 == 0
}

impl Likeness for Ip4 {
    type Like = Like4;

    fn like(common: &Common<Ipv4Addr>) -> Like4 {
        let station = common.station.octets();
        let dst = common.dst.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
        let dst_mask = if common.dst.is_some() { [0xff; 4] } else { [0; 4] };
        let port = common.dst_port.unwrap_or_default().to_be_bytes();
        let [link, kind] = link_parts(&station, &[0x08, 0]);
        // Without options; whole; of this protocol.
        let start = [
            link,
            kind,
            (14, &[0x45], &[0xff]),
            (20, &[0, 0], &[0x3f, 0xff]),
            (23, &[common.protocol], &[0xff]),
        ];
        let end = [(30, &dst[..], &dst_mask[..]), (36, &port, &port_mask(common.dst_port))];
        let (ends, ends_mask) = joined(ENDS4, &end);
        let [ends, ends_mask] = [ends, ends_mask].map(u64::from_le_bytes);
        Like4 { start: Stretch::new(0, &start), ends, ends_mask, dst: ends as u32 }
    }

    #[inline(always)]
    fn varying(
        like: &Like4,
        (protocol, one): (u8, bool),
        data: &[u8],
    ) -> Option<Varying<Ipv4Addr>> {
        let least = Ipv4Header::LEN + usize::from(upper_len(protocol));
        let most = data.len().checked_sub(L3 + least)?;
        let head = data.first_chunk::<HEAD4>()?;
        if !like.start.fits(head, 0) {
            return None;
        }
        // At least what the headers have, and not more than there is.
        let len = port(head, L3 + 2);
        if usize::from(len).wrapping_sub(least) > most {
            return None;
        }
        let ends = word(head, ENDS4);
        if one && (ends ^ like.ends) & like.ends_mask != 0 {
            return None;
        }
        // Hops, protocol and checksum.
        let middle = half(head, L3 + 8);
        let (src, dst) = (half(head, L3 + 12), if one { like.dst } else { ends as u32 });
        // The first word ends in the fragment's offset, which is 0.
        let sum = word(head, L3) + u64::from(middle) + u64::from(src) + u64::from(dst);
        if middle as u8 <= 1 || !is_whole(sum) {
            return None;
        }
        let flags = if protocol == protocol::UDP { 0 } else { *data.get(FLAGS4)? };
        Some(Varying {
            src: Ipv4Addr::from_bits(src.swap_bytes()),
            dst: Ipv4Addr::from_bits(dst.swap_bytes()),
            src_port: ((ends >> 32) as u16).swap_bytes(),
            dst_port: ((ends >> 48) as u16).swap_bytes(),
            flags: TcpFlags::from_octet(flags),
            len,
        })
    }

    #[inline(always)]
    fn point(
        finder: &Finder<'_>,
        place: &mut Place,
        (kind, vip): (KeyKind, VipId),
        (flow, data): (&FlowTuple<Ipv4Addr>, &[u8]),
    ) {
        match data.get(SOURCE4..).and_then(|ends| ends.first_chunk()) {
            Some(ends) if kind == KeyKind::Tag => {
                finder.point_by_ends(place, vip, ends, flow.protocol);
            }
            _ => finder.point(place, kind, vip, flow),
        }
    }

    #[inline]
    fn is_source(address: Ipv4Addr) -> bool {
        is_host(address.octets()[0])
    }
}

/// Up to the end of UDP's header.
const HEAD6: usize = L3 + Ipv6Header::LEN + UdpHeader::LEN;
/// TCP's flags.
const FLAGS6: usize = L3 + Ipv6Header::LEN + 13;

/// What is compared of IPv6 packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Like6 {
    start: Stretch,
    /// From [`Like6::END`] on.
    end: Stretch,
    summed: bool,
}

impl Like6 {
    const END: usize = HEAD6 - STRETCH;
}

impl Likeness for Ip6 {
    type Like = Like6;

    fn like(common: &Common<Ipv6Addr>) -> Like6 {
        let station = common.station.octets();
        let dst = common.dst.unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
        let dst_mask = if common.dst.is_some() { [0xff; 16] } else { [0; 16] };
        let port = common.dst_port.unwrap_or_default().to_be_bytes();
        let [link, kind] = link_parts(&station, &[0x86, 0xdd]);
        let start = [link, kind, (14, &[0x60], &[0xf0]), (20, &[common.protocol], &[0xff])];
        let end = [(38, &dst[..], &dst_mask[..]), (56, &port, &port_mask(common.dst_port))];
        Like6 {
            start: Stretch::new(0, &start),
            end: Stretch::new(Like6::END, &end),
            summed: common.summed,
        }
    }

    #[inline(always)]
    fn varying(
        like: &Like6,
        (protocol, one): (u8, bool),
        data: &[u8],
    ) -> Option<Varying<Ipv6Addr>> {
        let head = data.first_chunk::<HEAD6>()?;
        if !like.start.fits(head, 0) || one && !like.end.fits(head, Like6::END) {
            return None;
        }
        let payload = port(head, 18);
        let len = Ipv6Header::LEN + usize::from(payload);
        let src = Ipv6Addr::from(*head[22..].first_chunk::<16>()?);
        let ordinary = (head[21] > 1)
            & (payload >= u16::from(upper_len(protocol)))
            & (L3 + len <= data.len())
            & is_global_unicast(src);
        if !ordinary {
            return None;
        }
        let flags = if protocol == protocol::UDP {
            if like.summed && head[60..] == [0, 0] {
                return None;
            }
            TcpFlags::NONE
        } else {
            TcpFlags::from_octet(*data.get(FLAGS6)?)
        };
        let dst = Ipv6Addr::from(*head[38..].first_chunk::<16>()?);
        let (src_port, dst_port) = (port(head, 54), port(head, 56));
        Some(Varying { src, dst, src_port, dst_port, flags, len: len as u16 })
    }

    /// All of them; the map of the FIB knows nothing of these.
    #[inline]
    fn is_source(_: Ipv6Addr) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
