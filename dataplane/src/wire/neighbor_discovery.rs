//! Neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4, §7.1).

use std::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;
use super::checksum::{is_transport_valid, transport_checksum};
use super::icmpv6::icmpv6_type;
use super::ipv4::protocol;
use super::ipv6::is_solicited_node;
use crate::interface::MacAddress;

/// Hop limit of every such packet; one that was forwarded has less and is not to be believed.
pub const HOP_LIMIT: u8 = 255;

/// Most bytes of a message that [`NeighborMessage::write`] makes.
pub const MAX_LEN: usize = NeighborHeader::LEN + OPTION_LEN;

/// Bytes of a link-layer address option for Ethernet.
const OPTION_LEN: usize = 8;
/// Option type "source link-layer address".
const SOURCE_OPTION: u8 = 1;
/// Option type "target link-layer address".
const TARGET_OPTION: u8 = 2;

const ROUTER: u32 = 1 << 31;
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;

/// The fixed part of both messages; options follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NeighborHeader {
    /// [`icmpv6_type::NEIGHBOR_SOLICITATION`] or [`icmpv6_type::NEIGHBOR_ADVERTISEMENT`].
    pub kind: u8,
    /// Always 0.
    pub code: u8,
    /// Checksum over pseudo-header and message.
    pub checksum: U16,
    /// Three flags and 29 reserved bits; all reserved in a solicitation.
    pub flags: U32,
    /// The address that is asked for or answered for.
    pub target: [u8; 16],
}

impl Header for NeighborHeader {}

/// Which of the two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborKind {
    /// "Who has the target?"
    Solicitation,
    /// "The target is at this link-layer address."
    Advertisement {
        /// The sender forwards packets.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what the receiver knew before.
        overriding: bool,
    },
}

/// A solicitation or an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborMessage {
    /// Which of the two.
    pub kind: NeighborKind,
    /// The address in question.
    pub target: Ipv6Addr,
    /// The sender's address in a solicitation (absent in a duplicate address probe), the target's
    /// in an advertisement.
    pub link_layer: Option<MacAddress>,
}

/// Why a message must be dropped in silence (RFC 4861 §7.1.1, §7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborError {
    /// It came through a router.
    HopLimit,
    /// It ends too early, or an option does.
    Truncated,
    /// The checksum is wrong.
    Checksum,
    /// Neither of the two messages, or the code is not 0.
    Kind,
    /// The target is a group.
    Target,
    /// A duplicate address probe with a sender's address or to the wrong group, or an
    /// advertisement to a group that claims to answer a solicitation.
    Contradiction,
}

/// The addresses and the hop limit of the IPv6 header around a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Sender; `::` in a duplicate address probe.
    pub source: Ipv6Addr,
    /// Receiver.
    pub destination: Ipv6Addr,
    /// Hops left on arrival.
    pub hop_limit: u8,
}

impl NeighborMessage {
    /// Reads and checks a whole ICMPv6 message: `bytes` are exactly the IPv6 payload.
    pub fn parse(bytes: &[u8], envelope: &Envelope) -> Result<Self, NeighborError> {
        let Envelope { source, destination, hop_limit } = *envelope;
        if hop_limit != HOP_LIMIT {
            return Err(NeighborError::HopLimit);
        }
        let header = NeighborHeader::at(bytes, 0).ok_or(NeighborError::Truncated)?;
        if !is_transport_valid(source, destination, protocol::ICMPV6, bytes) {
            return Err(NeighborError::Checksum);
        }
        let flags = header.flags.get();
        let (kind, option) = match (header.kind, header.code) {
            (icmpv6_type::NEIGHBOR_SOLICITATION, 0) => (NeighborKind::Solicitation, SOURCE_OPTION),
            (icmpv6_type::NEIGHBOR_ADVERTISEMENT, 0) => {
                let (router, solicited) = (flags & ROUTER != 0, flags & SOLICITED != 0);
                let overriding = flags & OVERRIDE != 0;
                (NeighborKind::Advertisement { router, solicited, overriding }, TARGET_OPTION)
            }
            _ => return Err(NeighborError::Kind),
        };
        let target = Ipv6Addr::from(header.target);
        let link_layer = find_option(&bytes[NeighborHeader::LEN..], option)?;
        if target.is_multicast() {
            return Err(NeighborError::Target);
        }
        let message = Self { kind, target, link_layer };
        if message.contradicts(source, destination) {
            return Err(NeighborError::Contradiction);
        }
        Ok(message)
    }

    fn contradicts(&self, source: Ipv6Addr, destination: Ipv6Addr) -> bool {
        match self.kind {
            NeighborKind::Solicitation => {
                let probe = source.is_unspecified();
                probe && (self.link_layer.is_some() || !is_solicited_node(destination))
            }
            NeighborKind::Advertisement { solicited, .. } => {
                solicited && destination.is_multicast()
            }
        }
    }

    /// Writes the message with its checksum for these addresses; returns its length in bytes.
    pub fn write(&self, out: &mut [u8; MAX_LEN], source: Ipv6Addr, destination: Ipv6Addr) -> usize {
        let (kind, flags, option) = match self.kind {
            NeighborKind::Solicitation => (icmpv6_type::NEIGHBOR_SOLICITATION, 0, SOURCE_OPTION),
            NeighborKind::Advertisement { router, solicited, overriding } => {
                let bit = |set: bool, bit: u32| if set { bit } else { 0 };
                let flags =
                    bit(router, ROUTER) | bit(solicited, SOLICITED) | bit(overriding, OVERRIDE);
                (icmpv6_type::NEIGHBOR_ADVERTISEMENT, flags, TARGET_OPTION)
            }
        };
        let mut header = NeighborHeader {
            kind,
            code: 0,
            checksum: U16::ZERO,
            flags: flags.into(),
            target: self.target.octets(),
        };
        let mut len = NeighborHeader::LEN;
        if let Some(mac) = self.link_layer {
            out[len] = option;
            out[len + 1] = (OPTION_LEN / 8) as u8;
            out[len + 2..len + OPTION_LEN].copy_from_slice(&mac.0);
            len += OPTION_LEN;
        }
        out[..NeighborHeader::LEN].copy_from_slice(header.as_bytes());
        let checksum = transport_checksum(source, destination, protocol::ICMPV6, &out[..len]);
        header.checksum.set(checksum.0);
        out[..NeighborHeader::LEN].copy_from_slice(header.as_bytes());
        len
    }
}

/// The Ethernet address in the first option of type `wanted`, its first 6 bytes however long it is
/// padded; every option must be whole (RFC 4861 §4.6: type, length in units of 8 bytes, never 0).
fn find_option(mut options: &[u8], wanted: u8) -> Result<Option<MacAddress>, NeighborError> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        let Some(option) = options.get(..len).filter(|_| len > 0) else {
            return Err(NeighborError::Truncated);
        };
        if let [_, _, a, b, c, d, e, f, ..] = *option
            && kind == wanted
            && found.is_none()
        {
            found = Some(MacAddress([a, b, c, d, e, f]));
        }
        options = &options[len..];
    }
    if options.is_empty() { Ok(found) } else { Err(NeighborError::Truncated) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ipv6::solicited_node;
    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x1234, 0x5678);
    const ASKER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

    fn envelope(source: Ipv6Addr, destination: Ipv6Addr) -> Envelope {
        Envelope { source, destination, hop_limit: HOP_LIMIT }
    }

    /// A message with these options and a right checksum.
    fn raw(kind: u8, code: u8, flags: u32, options: &[u8], envelope: &Envelope) -> Vec<u8> {
        let mut bytes = vec![kind, code, 0, 0];
        bytes.extend(flags.to_be_bytes());
        bytes.extend(TARGET.octets());
        bytes.extend(options);
        fill(&mut bytes, envelope);
        bytes
    }

    fn fill(bytes: &mut [u8], envelope: &Envelope) {
        bytes[2..4].fill(0);
        let checksum = transport_checksum(envelope.source, envelope.destination, 58, bytes);
        bytes[2..4].copy_from_slice(&checksum.0.to_be_bytes());
    }

    #[test]
    fn a_solicitation_looks_as_the_rfc_says() {
        let group = solicited_node(TARGET);
        let kind = NeighborKind::Solicitation;
        let message = NeighborMessage { kind, target: TARGET, link_layer: Some(MAC) };
        let mut out = [0xaa; MAX_LEN];
        assert_eq!(message.write(&mut out, ASKER, group), 32);
        let expected = raw(135, 0, 0, &[1, 1, 2, 0, 0, 0, 0, 1], &envelope(ASKER, group));
        assert_eq!(out, expected[..]);
    }

    #[test]
    fn an_advertisement_looks_as_the_rfc_says() {
        let kind = NeighborKind::Advertisement { router: true, solicited: true, overriding: true };
        let message = NeighborMessage { kind, target: TARGET, link_layer: Some(MAC) };
        let mut out = [0xaa; MAX_LEN];
        assert_eq!(message.write(&mut out, TARGET, ASKER), 32);
        let options = [2, 1, 2, 0, 0, 0, 0, 1];
        assert_eq!(out, raw(136, 0, 0xe000_0000, &options, &envelope(TARGET, ASKER))[..]);
    }

    #[test]
    fn only_what_may_be_believed_is() {
        let direct = envelope(ASKER, TARGET);
        let good = raw(135, 0, 0, &[], &direct);
        assert!(NeighborMessage::parse(&good, &direct).is_ok());
        let forwarded = Envelope { hop_limit: 254, ..direct };
        assert_eq!(NeighborMessage::parse(&good, &forwarded), Err(NeighborError::HopLimit));
        let mut wrong = good.clone();
        wrong[23] ^= 1;
        assert_eq!(NeighborMessage::parse(&wrong, &direct), Err(NeighborError::Checksum));
        for (kind, code) in [(135, 1), (136, 1), (134, 0), (137, 0)] {
            let bytes = raw(kind, code, 0, &[], &direct);
            assert_eq!(NeighborMessage::parse(&bytes, &direct), Err(NeighborError::Kind));
        }
        let mut group = good;
        group[8] = 0xff;
        fill(&mut group, &direct);
        assert_eq!(NeighborMessage::parse(&group, &direct), Err(NeighborError::Target));
        for options in [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[1, 2, 0, 0, 0, 0, 0, 0], &[1], &[1, 1, 2]]
        {
            let bytes = raw(135, 0, 0, options, &direct);
            assert_eq!(NeighborMessage::parse(&bytes, &direct), Err(NeighborError::Truncated));
        }
    }

    #[test]
    fn a_probe_has_no_sender_and_goes_to_its_group() {
        let option = [1, 1, 2, 0, 0, 0, 0, 1];
        let parse = |options: &[u8], destination| {
            let envelope = envelope(Ipv6Addr::UNSPECIFIED, destination);
            NeighborMessage::parse(&raw(135, 0, 0, options, &envelope), &envelope)
        };
        assert_eq!(parse(&[], solicited_node(TARGET)).unwrap().link_layer, None);
        let contradiction = Err(NeighborError::Contradiction);
        assert_eq!(parse(&[], TARGET), contradiction);
        assert_eq!(parse(&option, solicited_node(TARGET)), contradiction);
    }

    #[test]
    fn an_answer_does_not_go_to_a_group() {
        let all = envelope(TARGET, super::super::ipv6::ALL_NODES);
        let parse = |flags| NeighborMessage::parse(&raw(136, 0, flags, &[], &all), &all);
        assert_eq!(parse(SOLICITED), Err(NeighborError::Contradiction));
        assert!(parse(OVERRIDE).is_ok());
    }

    #[test]
    fn other_options_are_passed_over() {
        let direct = envelope(TARGET, ASKER);
        let mut options = vec![14, 2];
        options.resize(16, 7);
        options.extend([1, 1, 9, 9, 9, 9, 9, 9, 2, 1, 2, 0, 0, 0, 0, 1]);
        let bytes = raw(136, 0, OVERRIDE, &options, &direct);
        assert_eq!(NeighborMessage::parse(&bytes, &direct).unwrap().link_layer, Some(MAC));
    }

    #[test]
    fn a_padded_option_has_the_address_in_front() {
        let direct = envelope(ASKER, TARGET);
        let padded = [1, 2, 2, 0, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9];
        let second = [1, 1, 2, 0, 0, 0, 0, 2];
        let bytes = raw(135, 0, 0, &[&padded[..], &second].concat(), &direct);
        assert_eq!(NeighborMessage::parse(&bytes, &direct).unwrap().link_layer, Some(MAC));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            flags in prop::option::of(any::<[bool; 3]>()),
            mac in prop::option::of(any::<[u8; 6]>()),
            target in 0_u128..0xff << 120,
            addresses in (1_u128.., 0_u128..0xff << 120),
        ) {
            let kind = flags.map_or(NeighborKind::Solicitation, |flags| {
                let [router, solicited, overriding] = flags;
                NeighborKind::Advertisement { router, solicited, overriding }
            });
            let target = Ipv6Addr::from_bits(target);
            let message = NeighborMessage { kind, target, link_layer: mac.map(MacAddress) };
            let envelope = envelope(addresses.0.into(), addresses.1.into());
            let mut out = [0; MAX_LEN];
            let len = message.write(&mut out, envelope.source, envelope.destination);
            prop_assert_eq!(NeighborMessage::parse(&out[..len], &envelope), Ok(message));
        }

        /// Nothing panics, and a message that ends early is never taken for whole.
        #[test]
        fn truncation_is_an_error(len in 0_usize..32, options: [u8; 8]) {
            let direct = envelope(ASKER, TARGET);
            let mut bytes = raw(135, 0, 0, &[1, 1, options[0], 0, 0, 0, 0, 1], &direct);
            bytes.truncate(len);
            if len >= 4 {
                fill(&mut bytes, &direct);
            }
            let parsed = NeighborMessage::parse(&bytes, &direct);
            // 24 bytes are a message without options.
            prop_assert_eq!(parsed.is_ok(), len == 24);
            let bytes = raw(135, 0, 0, &options, &direct);
            let parsed = NeighborMessage::parse(&bytes, &direct);
            prop_assert_eq!(parsed.is_ok(), options[1] == 1);
        }
    }
}
