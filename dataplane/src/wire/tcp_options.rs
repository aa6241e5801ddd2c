//! TCP options (RFC 9293 §3.1): the maximum segment size and its clamp.

use zerocopy::FromBytes;
use zerocopy::network_endian::U16;

use super::Header;
use super::checksum::Delta;
use super::tcp::{TcpHeader, tcp_flag};

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const MAXIMUM_SEGMENT_SIZE_LEN: usize = 4;

/// Lowers the maximum segment size that a SYN announces to `limit` bytes of payload, and keeps the
/// TCP checksum right. True when something changed.
///
/// `segment` starts with the TCP header. A value at or below the limit stays, as do segments without
/// SYN or without the option (which then have the default of RFC 9293 §3.7.1, below every sensible
/// limit). From a malformed option on, nothing is touched, since the receiver will not
/// understand it either; so is a segment whose header is not all there.
pub fn clamp_mss(segment: &mut [u8], limit: u16) -> bool {
    let Some(header) = TcpHeader::at(segment, 0) else { return false };
    let header_len = header.header_len();
    if header.flags & tcp_flag::SYN == 0 || header_len > segment.len() {
        return false;
    }
    let mut delta = None;
    let mut at = TcpHeader::LEN;
    while let Some((kind, len)) = option_at(&segment[..header_len.max(at)], at) {
        if kind == MAXIMUM_SEGMENT_SIZE && len == MAXIMUM_SEGMENT_SIZE_LEN {
            let value_at = at + 2;
            let Ok((value, _)) = U16::mut_from_prefix(&mut segment[value_at..]) else { break };
            let old = value.get();
            if old > limit {
                value.set(limit);
                let so_far = delta.unwrap_or(Delta::NONE);
                // A no-operation in front may put the value at an odd offset.
                delta = Some(if value_at % 2 == 0 {
                    so_far.word(old, limit)
                } else {
                    so_far.odd_word(old, limit)
                });
            }
        }
        at += len;
    }
    match (delta, TcpHeader::at_mut(segment, 0)) {
        (Some(delta), Some(header)) => {
            header.update_checksum(delta);
            true
        }
        _ => false,
    }
}

/// Kind and length in bytes of the option at `at`; `None` at the end of the list, or when the
/// option is not all inside `header`.
fn option_at(header: &[u8], at: usize) -> Option<(u8, usize)> {
    let kind = *header.get(at)?;
    let len = match kind {
        END => return None,
        NO_OPERATION => 1,
        _ => usize::from(*header.get(at + 1)?),
    };
    let whole = len <= header.len() - at && (len >= 2 || kind == NO_OPERATION);
    whole.then_some((kind, len))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::checksum::{is_transport_valid, transport_checksum};

    const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const DESTINATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    /// A segment with these options, padded with "end", and a right checksum.
    fn segment(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + options.len().next_multiple_of(4);
        let mut bytes = vec![0x12; 20];
        (bytes[12], bytes[13]) = ((header_len as u8 / 4) << 4, flags);
        bytes.extend(options);
        bytes.resize(header_len, END);
        bytes.extend(payload);
        bytes[16..18].fill(0);
        let checksum = transport_checksum(SOURCE, DESTINATION, 6, &bytes);
        bytes[16..18].copy_from_slice(&checksum.0.to_be_bytes());
        bytes
    }

    fn clamped(options: &[u8], limit: u16) -> Option<Vec<u8>> {
        let mut bytes = segment(tcp_flag::SYN, options, b"");
        let before = bytes.clone();
        let changed = clamp_mss(&mut bytes, limit);
        assert!(is_transport_valid(SOURCE, DESTINATION, 6, &bytes));
        assert_eq!(changed, bytes != before);
        changed.then(|| bytes[20..20 + options.len()].to_vec())
    }

    #[test]
    fn only_ever_lowers() {
        assert_eq!(clamped(&[2, 4, 0x05, 0xb4], 1400), Some(vec![2, 4, 0x05, 0x78]));
        assert_eq!(clamped(&[2, 4, 0x05, 0xb4], 1460), None);
        assert_eq!(clamped(&[2, 4, 0x05, 0xb4], 9000), None);
        assert_eq!(clamped(&[2, 4, 0, 0], 1400), None);
        assert_eq!(clamped(&[], 1400), None);
    }

    #[test]
    fn is_found_behind_other_options() {
        // As Windows, Linux and odd stacks put it: window scale, timestamps and padding in front.
        let options = [1, 3, 3, 7, 1, 1, 1, 2, 4, 0xff, 0xff, 4, 2];
        let lowered = [1, 3, 3, 7, 1, 1, 1, 2, 4, 0x04, 0xd2, 4, 2];
        assert_eq!(clamped(&options, 1234), Some(lowered.to_vec()));
        // Both of two, since receivers differ in which they take.
        let (twice, lowered) = ([2, 4, 5, 0xb4, 2, 4, 5, 0xb5], [2, 4, 5, 0, 2, 4, 5, 0]);
        assert_eq!(clamped(&twice, 0x500), Some(lowered.to_vec()));
    }

    #[test]
    fn what_is_malformed_is_left_alone() {
        for options in [
            &[2, 3, 5, 0xb4][..],         // wrong length
            &[2, 6, 5, 0xb4, 0, 0],       // wrong length
            &[2, 0, 5, 0xb4],             // no length
            &[2, 1, 5, 0xb4],             // no length
            &[3, 9, 7, 2, 4, 5, 0xb4],    // an option that runs out of the header
            &[1, 1, 2, 4],                // runs out of the header itself
            &[1, 1, 1, 2],                // likewise
            &[3, 0, 2, 4, 5, 0xb4, 0, 0], // a length that would not advance
            &[0, 0, 0, 0, 2, 4, 5, 0xb4], // behind the end
        ] {
            assert_eq!(clamped(options, 1), None, "{options:?}");
        }
    }

    #[test]
    fn only_a_whole_header_with_syn_counts() {
        let options = [2, 4, 0x05, 0xb4];
        let whole = segment(tcp_flag::SYN | tcp_flag::ACK, &options, b"data");
        assert!(clamp_mss(&mut whole.clone(), 1000));
        assert!(!clamp_mss(&mut segment(tcp_flag::ACK, &options, b"data"), 1000));
        for len in 0..24 {
            let mut bytes = whole[..len].to_vec();
            assert!(!clamp_mss(&mut bytes, 1000));
            assert_eq!(bytes, whole[..len]);
        }
        // A header that claims to be shorter than it can be has no options.
        let mut short = whole;
        short[12] = 0x40;
        assert!(!clamp_mss(&mut short, 1000));
    }

    proptest! {
        /// Any options: the checksum stays right, only values of MSS options change, and only down.
        #[test]
        fn any_options(
            options in prop::collection::vec(prop_oneof![0_u8..6, any::<u8>()], 0..40),
            payload in prop::collection::vec(any::<u8>(), 0..20),
            limit: u16,
        ) {
            let before = segment(tcp_flag::SYN, &options, &payload);
            let mut after = before.clone();
            let changed = clamp_mss(&mut after, limit);
            prop_assert_eq!(changed, before != after);
            prop_assert!(is_transport_valid(SOURCE, DESTINATION, 6, &after));
            let end = 20 + options.len().next_multiple_of(4);
            prop_assert_eq!(&before[..16], &after[..16]);
            prop_assert_eq!(&before[18..20], &after[18..20]);
            prop_assert_eq!(&before[end..], &after[end..]);
            let mut at = 20;
            while at < end {
                if changed && before[at..].starts_with(&[2, 4]) && before[at..at + 4] != after[at..at + 4] {
                    let value = |bytes: &[u8]| u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]);
                    prop_assert!(value(&before) > limit && value(&after) == limit);
                    at += 4;
                } else {
                    prop_assert_eq!(before[at], after[at]);
                    at += 1;
                }
            }
        }
    }
}
