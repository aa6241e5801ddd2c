//! The way from an IP header to what it carries: IPv4 options, IPv6 extension headers (RFC 8200 §4)
//! and fragments.

use super::Header;
use super::fragment::{Fragment, FragmentHeader};
use super::ip::IpHeader;
use super::ipv4::{Ipv4Header, protocol};
use super::ipv6::Ipv6Header;

/// Most extension headers that are walked over. Real packets have one or two; without a bound a
/// sender could make us read a whole packet of them.
pub const MAX_EXTENSIONS: usize = 8;

/// Where a packet's TCP, UDP, ICMP or other header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// See [`protocol`]; ESP and "no next header" end the walk and stand here too. In a fragment
    /// other than the first it is what its header claims to be the first thing behind it.
    pub protocol: u8,
    /// Bytes from the start of the buffer to the L4 header (to the payload in a later fragment):
    /// neither beyond the packet's end nor beyond the bytes at hand. Whether the L4 header is all
    /// there is for the caller to find out.
    pub offset: usize,
    /// What the packet is a fragment of, when it is one: an IPv6 fragment header on a whole
    /// datagram (an "atomic fragment", RFC 6946) does not count.
    pub fragment: Option<Fragment>,
}

/// Why the upper layer cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpperLayerError {
    /// More than [`MAX_EXTENSIONS`] extension headers.
    TooMany,
    /// The packet, by its own length, ends inside a header.
    Truncated,
    /// The bytes at hand (the first buffer of the packet, or what an ICMP error quotes) end before
    /// the headers do, although the packet goes on.
    Split,
    /// A routing header says that the packet is to go on from its destination to another (RFC 8200
    /// §4.4), so what it carries is not for that destination. Such headers are not followed
    /// (RFC 5095).
    Routed,
    /// Another version, an IPv4 header length below 20, hop-by-hop options behind another header
    /// (forbidden by RFC 8200 §4.1), or a fragment header inside a fragment.
    Malformed,
}

/// Finds what an IPv4 packet at `l3_offset` of `bytes` carries.
#[inline]
pub fn ip4_upper_layer(bytes: &[u8], l3_offset: usize) -> Result<UpperLayer, UpperLayerError> {
    let header = Ipv4Header::at(bytes, l3_offset).ok_or(UpperLayerError::Split)?;
    let len = header.header_len();
    if header.version() != 4 || len < Ipv4Header::LEN {
        return Err(UpperLayerError::Malformed);
    }
    if len > header.packet_len() {
        return Err(UpperLayerError::Truncated);
    }
    if bytes.len() - l3_offset < len {
        return Err(UpperLayerError::Split);
    }
    let field = header.fragment.get();
    let fragment = header.is_fragment().then(|| Fragment {
        offset: (field & Ipv4Header::OFFSET_MASK) * 8,
        more: field & Ipv4Header::MORE_FRAGMENTS != 0,
        id: u32::from(header.id.get()),
    });
    Ok(UpperLayer { protocol: header.protocol, offset: l3_offset + len, fragment })
}

/// Finds what an IPv6 packet at `l3_offset` of `bytes` carries, behind all extension headers.
#[inline]
pub fn ip6_upper_layer(bytes: &[u8], l3_offset: usize) -> Result<UpperLayer, UpperLayerError> {
    let header = Ipv6Header::at(bytes, l3_offset).ok_or(UpperLayerError::Split)?;
    if header.version() != 6 {
        return Err(UpperLayerError::Malformed);
    }
    let (protocol, offset) = (header.next_header, l3_offset + Ipv6Header::LEN);
    if is_extension(protocol) {
        return walk(bytes, protocol, offset, l3_offset + header.packet_len());
    }
    Ok(UpperLayer { protocol, offset, fragment: None })
}

/// True for the extension headers that are walked over.
#[inline]
pub fn is_extension(protocol: u8) -> bool {
    use protocol::{AH, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING};
    matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT | AH)
}

/// Walks over the extension headers from the one at `offset`, of type `next`, in a packet that
/// ends at `end`.
fn walk(
    bytes: &[u8],
    mut next: u8,
    mut offset: usize,
    end: usize,
) -> Result<UpperLayer, UpperLayerError> {
    let mut fragment = None;
    for _ in 0..MAX_EXTENSIONS {
        // Every extension header has at least 8 bytes; those of the fragment header fit on all.
        if offset + FragmentHeader::LEN > end {
            return Err(UpperLayerError::Truncated);
        }
        let header = FragmentHeader::at(bytes, offset).ok_or(UpperLayerError::Split)?;
        offset += match next {
            protocol::FRAGMENT if fragment.is_some() => return Err(UpperLayerError::Malformed),
            protocol::FRAGMENT => FragmentHeader::LEN,
            // RFC 4302 §2.2: in 32-bit words, minus 2.
            protocol::AH => (usize::from(header.reserved) + 2) * 4,
            _ => (usize::from(header.reserved) + 1) * 8,
        };
        if offset > end {
            return Err(UpperLayerError::Truncated);
        }
        if offset > bytes.len() {
            return Err(UpperLayerError::Split);
        }
        // Segments left, the fourth byte.
        if next == protocol::ROUTING && header.offset_more.get() as u8 > 0 {
            return Err(UpperLayerError::Routed);
        }
        if next == protocol::FRAGMENT {
            fragment = Some(header.fragment());
        }
        next = header.next_header;
        // Behind the header of a later fragment is payload.
        let is_later = fragment.is_some_and(|fragment| !fragment.is_first());
        if is_later || !is_extension(next) {
            let fragment = fragment.filter(|fragment| fragment.more || fragment.offset > 0);
            return Ok(UpperLayer { protocol: next, offset, fragment });
        }
        if next == protocol::HOP_BY_HOP {
            return Err(UpperLayerError::Malformed);
        }
    }
    Err(UpperLayerError::TooMany)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;

    /// An IPv6 packet with these extension headers (type and bytes, the first of which is
    /// overwritten by the type of the next) in front of `protocol` and 8 bytes.
    fn packet(extensions: &[(u8, Vec<u8>)], protocol: u8) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        let mut next_at = 6;
        for (kind, extension) in extensions {
            bytes[next_at] = *kind;
            next_at = bytes.len();
            bytes.extend(extension);
        }
        bytes[next_at] = protocol;
        bytes.extend([0xee; 8]);
        finish(&mut bytes);
        bytes
    }

    fn finish(bytes: &mut [u8]) {
        bytes[0] = 0x60;
        let len = (bytes.len() - 40) as u16;
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
    }

    fn options(units: u8) -> Vec<u8> {
        let mut bytes = vec![0; (usize::from(units) + 1) * 8];
        bytes[1] = units;
        bytes
    }

    fn fragment_header(offset: u16, more: bool, id: u32) -> Vec<u8> {
        FragmentHeader::new(0, Fragment { offset, more, id }).as_bytes().to_vec()
    }

    /// The definition in the words of the RFC: take header after header off the front.
    fn naive(packet: &[u8]) -> Result<UpperLayer, UpperLayerError> {
        let payload_len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        let (mut next, mut rest) = (packet[6], &packet[40..]);
        let (mut left, mut seen, mut fragment) = (payload_len, 0, None);
        loop {
            let known = [0, 43, 44, 51, 60].contains(&next);
            let later = matches!(fragment, Some(Fragment { offset: 1.., .. }));
            if !known || later {
                let fragment = fragment.filter(|f: &Fragment| f.offset != 0 || f.more);
                return Ok(UpperLayer {
                    protocol: next,
                    offset: packet.len() - rest.len(),
                    fragment,
                });
            }
            match (next, seen) {
                (0, 1..) => return Err(UpperLayerError::Malformed),
                (_, 8) => return Err(UpperLayerError::TooMany),
                _ if left < 8 => return Err(UpperLayerError::Truncated),
                _ if rest.len() < 8 => return Err(UpperLayerError::Split),
                (44, _) if fragment.is_some() => return Err(UpperLayerError::Malformed),
                _ => {}
            }
            let len = match next {
                44 => 8,
                51 => 4 * (2 + usize::from(rest[1])),
                _ => 8 * (1 + usize::from(rest[1])),
            };
            if left < len {
                return Err(UpperLayerError::Truncated);
            }
            if rest.len() < len {
                return Err(UpperLayerError::Split);
            }
            if next == 43 && rest[3] > 0 {
                return Err(UpperLayerError::Routed);
            }
            if next == 44 {
                let field = u16::from_be_bytes([rest[2], rest[3]]);
                let id = u32::from_be_bytes([rest[4], rest[5], rest[6], rest[7]]);
                fragment = Some(Fragment { offset: field / 8 * 8, more: field % 2 == 1, id });
            }
            next = rest[0];
            (rest, left, seen) = (&rest[len..], left - len, seen + 1);
        }
    }

    #[test]
    fn a_routing_header_with_segments_left_ends_the_walk() {
        let mut routing = options(0);
        let routed = |routing: &[u8]| {
            let packet = packet(&[(protocol::ROUTING, routing.to_vec())], protocol::TCP);
            ip6_upper_layer(&packet, 0).map(|upper| upper.protocol)
        };
        assert_eq!(routed(&routing), Ok(protocol::TCP));
        routing[3] = 1;
        assert_eq!(routed(&routing), Err(UpperLayerError::Routed));
    }

    #[test]
    fn plain_packets_have_nothing_to_walk() {
        let found = UpperLayer { protocol: 6, offset: 40, fragment: None };
        assert_eq!(ip6_upper_layer(&packet(&[], 6), 0), Ok(found));
        for end in [protocol::ESP, protocol::NO_NEXT, protocol::ICMPV6, protocol::IPV6, 255] {
            let found = UpperLayer { protocol: end, ..found };
            assert_eq!(ip6_upper_layer(&packet(&[], end), 0), Ok(found));
        }
        let framed = [&[0xff; 14][..], &packet(&[], 6)].concat();
        assert_eq!(ip6_upper_layer(&framed, 14).unwrap().offset, 54);
    }

    #[test]
    fn every_kind_is_walked_over() {
        let mut ah = vec![0; 24];
        ah[1] = 4;
        let chain = [
            (protocol::HOP_BY_HOP, options(0)),
            (protocol::DESTINATION_OPTIONS, options(2)),
            (protocol::ROUTING, options(4)),
            (protocol::FRAGMENT, fragment_header(0, true, 7)),
            (protocol::AH, ah),
            (protocol::DESTINATION_OPTIONS, options(0)),
        ];
        let fragment = Some(Fragment { offset: 0, more: true, id: 7 });
        let found = UpperLayer { protocol: 17, offset: 40 + 8 + 24 + 40 + 8 + 24 + 8, fragment };
        assert_eq!(ip6_upper_layer(&packet(&chain, 17), 0), Ok(found));
    }

    #[test]
    fn fragments_are_told_apart() {
        let fragment = |offset, more| {
            let bytes = packet(&[(44, fragment_header(offset, more, 0x0102_0304))], 60);
            ip6_upper_layer(&bytes, 0)
        };
        let some = |offset, more| Some(Fragment { offset, more, id: 0x0102_0304 });
        // What follows in a later fragment is payload, whatever it claims to be.
        let later = UpperLayer { protocol: 60, offset: 48, fragment: some(1448, true) };
        assert_eq!(fragment(1448, true), Ok(later));
        assert_eq!(fragment(8, false).unwrap().fragment, some(8, false));
        // In the first one it is a header, here one that is too long: 0xee units.
        assert_eq!(fragment(0, true), Err(UpperLayerError::Truncated));
        let atomic = packet(&[(44, fragment_header(0, false, 1))], 6);
        let found = UpperLayer { protocol: 6, offset: 48, fragment: None };
        assert_eq!(ip6_upper_layer(&atomic, 0), Ok(found));
    }

    #[test]
    fn chains_are_bounded() {
        let chain = |count| vec![(protocol::DESTINATION_OPTIONS, options(0)); count];
        assert_eq!(ip6_upper_layer(&packet(&chain(8), 6), 0).unwrap().offset, 104);
        assert_eq!(ip6_upper_layer(&packet(&chain(9), 6), 0), Err(UpperLayerError::TooMany));
    }

    #[test]
    fn forbidden_orders_are_malformed() {
        let twice = [(44, fragment_header(0, true, 1)), (44, fragment_header(0, true, 2))];
        let late = [(60, options(0)), (0, options(0))];
        for chain in [twice, late] {
            assert_eq!(ip6_upper_layer(&packet(&chain, 6), 0), Err(UpperLayerError::Malformed));
        }
        let mut other = packet(&[], 6);
        other[0] = 0x45;
        assert_eq!(ip6_upper_layer(&other, 0), Err(UpperLayerError::Malformed));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let chain = [(0, options(1)), (44, fragment_header(0, true, 7)), (43, options(0))];
        let whole = packet(&chain, 17);
        for cut in 0..72 {
            assert_eq!(ip6_upper_layer(&whole[..cut], 0), Err(UpperLayerError::Split), "{cut}");
        }
        assert!(ip6_upper_layer(&whole[..72], 0).is_ok());
        for len in 0..32 {
            let mut short = whole.clone();
            short[5] = len;
            assert_eq!(ip6_upper_layer(&short, 0), Err(UpperLayerError::Truncated), "{len}");
        }
        // The packet ends in what the last header says of its own length.
        let mut last = packet(&[(60, options(1))], 17);
        last[5] = 15;
        assert_eq!(ip6_upper_layer(&last, 0), Err(UpperLayerError::Truncated));
        last[5] = 16;
        assert_eq!(ip6_upper_layer(&last, 0).map(|found| found.offset), Ok(56));
    }

    /// 28 bytes: an IPv4 header of 24 bytes with an option, and the start of UDP.
    fn ip4(fragment: u16) -> Vec<u8> {
        let mut bytes = vec![0x46, 0, 0, 28, 0x12, 0x34, 0, 0, 64, 17, 0, 0];
        bytes.extend([0x11; 16]);
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        bytes
    }

    #[test]
    fn ip4_options_and_fragments() {
        let found = UpperLayer { protocol: 17, offset: 24, fragment: None };
        assert_eq!(ip4_upper_layer(&ip4(0x4000), 0), Ok(found));
        let fragment = |field| ip4_upper_layer(&ip4(field), 0).unwrap().fragment;
        let of = |offset, more| Some(Fragment { offset, more, id: 0x1234 });
        assert_eq!(fragment(0x2000), of(0, true));
        assert_eq!(fragment(0x20b9), of(1480, true));
        assert_eq!(fragment(0x1fff), of(65528, false));
        assert!(of(0, true).unwrap().is_first() && !of(8, true).unwrap().is_first());
    }

    #[test]
    fn ip4_headers_must_be_whole() {
        let whole = ip4(0);
        for cut in 0..24 {
            assert_eq!(ip4_upper_layer(&whole[..cut], 0), Err(UpperLayerError::Split));
        }
        assert!(ip4_upper_layer(&whole[..24], 0).is_ok());
        let with = |at: usize, value| {
            let mut bytes = ip4(0);
            bytes[at] = value;
            ip4_upper_layer(&bytes, 0)
        };
        assert_eq!(with(0, 0x44), Err(UpperLayerError::Malformed));
        assert_eq!(with(0, 0x66), Err(UpperLayerError::Malformed));
        assert_eq!(with(3, 23), Err(UpperLayerError::Truncated));
        assert_eq!(with(3, 24).map(|found| found.offset), Ok(24));
    }

    /// Extension headers as they are, nearly are, and are not.
    fn extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
        let kind = prop_oneof![Just(43_u8), Just(44), Just(51), Just(60), Just(0)];
        (kind, 0_u8..3, any::<[u8; 6]>(), 0..9).prop_map(|(kind, units, rest, exact)| {
            let len = match kind {
                44 => 8,
                51 => (usize::from(units) + 2) * 4,
                _ => (usize::from(units) + 1) * 8,
            };
            let mut bytes = vec![0, units];
            // Offset 0 in most fragment headers, or the walk would end there.
            bytes.extend(if exact > 1 { [0; 6] } else { rest });
            bytes.resize(len + usize::from(exact == 0), 6);
            (kind, bytes)
        })
    }

    proptest! {
        #[test]
        fn equals_a_naive_parser(
            extensions in prop::collection::vec(extension(), 0..11),
            protocol: u8,
            mut noise in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..64), 0..3),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = packet(&extensions, protocol);
            if protocol % 4 != 0 {
                noise.clear();
            }
            for (at, value) in noise {
                let at = 4 + at.index(bytes.len() - 4);
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(40 + cut.index(bytes.len() - 39));
            }
            prop_assert_eq!(ip6_upper_layer(&bytes, 0), naive(&bytes));
        }

        #[test]
        fn random_bytes_never_panic(
            bytes in prop::collection::vec(prop_oneof![0_u8..70, any::<u8>()], 0..200),
            l3_offset in 0_usize..210,
        ) {
            for found in [ip4_upper_layer(&bytes, l3_offset), ip6_upper_layer(&bytes, l3_offset)] {
                prop_assert!(found.is_err() || found.is_ok_and(|found| found.offset <= bytes.len()));
            }
        }
    }
}
