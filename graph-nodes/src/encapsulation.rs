//! Outer headers around whole packets: GRE (RFC 2784), IP in IP (RFC 2003, RFC 2473, RFC 4213) and
//! GUE variant 1 (draft-ietf-intarea-gue §4), over IPv4 and IPv6; and the outer packet's fragments.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::adjacency::ETHERNET_HEADER_LEN;
use dataplane::family::{Family, Ip4, Ip6};
use dataplane::forwarding::{Entropy, TunnelDf, TunnelPolicy};
use dataplane::fragmentation::{self, Piece};
use dataplane::frame::{Frame, flag};
use dataplane::packet::Packet;
use dataplane::wire::Header;
use dataplane::wire::ecn::outer_traffic_class;
use dataplane::wire::gre::GreHeader;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::wire::udp::UdpHeader;

/// Bits of a flow's hash that GUE's source port shows; the port's others are set, so that it lies in
/// the dynamic range (RFC 6335 §6).
const GUE_ENTROPY_MASK: u16 = 0x3fff;

/// What is between the outer IP header and the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    /// Nothing.
    Plain,
    /// A GRE header without key and checksum.
    Gre,
    /// A UDP header without checksum, which over IPv6 is what RFC 6935 is for.
    Gue {
        /// Tells flows apart, for routers and receive queues on the way.
        source_port: u16,
        /// Where the AS listens.
        destination_port: u16,
    },
}

impl Shim {
    /// GUE for a flow with this hash.
    pub(crate) fn gue(policy: &TunnelPolicy, hash: u64) -> Self {
        Self::Gue { source_port: Self::gue_source_port(hash), destination_port: policy.gue_port }
    }

    /// The source port of GUE for a flow with this hash.
    #[inline]
    pub(crate) fn gue_source_port(hash: u64) -> u16 {
        !GUE_ENTROPY_MASK | hash as u16 & GUE_ENTROPY_MASK
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Gre => GreHeader::LEN,
            Self::Gue { .. } => UdpHeader::LEN,
        }
    }

    /// Protocol number of the outer header.
    pub(crate) fn protocol(self, inner6: bool) -> u8 {
        match self {
            Self::Plain if inner6 => protocol::IPV6,
            Self::Plain => protocol::IPIP,
            Self::Gre => protocol::GRE,
            Self::Gue { .. } => protocol::UDP,
        }
    }

    /// Writes itself at `at`, in front of `inner_len` bytes of this EtherType.
    pub(crate) fn write(self, data: &mut [u8], at: usize, ether_type: u16, inner_len: usize) {
        match self {
            Self::Plain => {}
            Self::Gre => {
                if let Some(gre) = GreHeader::at_mut(data, at) {
                    *gre = GreHeader::carrying(ether_type);
                }
            }
            Self::Gue { source_port, destination_port } => {
                if let Some(udp) = UdpHeader::at_mut(data, at) {
                    udp.source_port.set(source_port);
                    udp.destination_port.set(destination_port);
                    udp.len.set((UdpHeader::LEN + inner_len) as u16);
                    udp.checksum.set(0);
                }
            }
        }
    }
}

/// What an outer header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer<A> {
    /// Our end.
    pub(crate) source: A,
    /// The other end.
    pub(crate) destination: A,
    /// DSCP and ECN.
    pub(crate) class: u8,
    /// TTL or hop limit.
    pub(crate) hop_limit: u8,
    /// Don't fragment; IPv4 only.
    pub(crate) dont_fragment: bool,
    /// Identification; IPv4 only, and 0 when the packet must not be fragmented (RFC 6864 §4.1).
    pub(crate) id: u16,
    /// Flow label, of which the low 20 bits count; IPv6 only.
    pub(crate) flow_label: u32,
    /// What follows.
    pub(crate) shim: Shim,
}

impl<A> Outer<A> {
    /// The header that shows nothing of the packet it is around.
    pub(crate) fn blank((source, destination): (A, A), hop_limit: u8, shim: Shim) -> Self {
        Self {
            source,
            destination,
            class: 0,
            hop_limit,
            dont_fragment: false,
            id: 0,
            flow_label: 0,
            shim,
        }
    }

    /// The header around a packet with this header, as the policy has it. `id` is left 0.
    pub(crate) fn new<Inner: Family>(
        policy: &TunnelPolicy,
        inner: &Inner::Header,
        (source, destination): (A, A),
        shim: Shim,
        hash: u64,
    ) -> Self {
        Self {
            source,
            destination,
            class: outer_traffic_class(inner.traffic_class(), policy.dscp, policy.ecn),
            hop_limit: policy.ttl,
            dont_fragment: match policy.df {
                TunnelDf::Copy => Inner::dont_fragment(inner),
                TunnelDf::Set => true,
                TunnelDf::Clear => false,
            },
            id: 0,
            flow_label: hash as u32,
            shim,
        }
    }
}

/// A family that can be outside.
pub trait OuterFamily: Family {
    /// Fills the start of `room`, in front of `payload_len` bytes of `protocol`.
    fn write(room: &mut [u8], outer: &Outer<Self::Address>, protocol: u8, payload_len: usize);

    /// The parts of the whole outer packet with this header that fit into `mtu` bytes.
    fn pieces(header: &Self::Header, mtu: u16) -> impl Iterator<Item = Piece>;

    /// The source that the policy makes of a flow's hash, where it does.
    fn entropy(policy: &TunnelPolicy, hash: u64) -> Option<Self::Address>;

    /// Makes the empty packet `to` the fragment `piece` of the outer packet at `l3` of `from`.
    fn write_piece(from: &Packet, l3: usize, piece: Piece, id: u32, to: &mut Packet) -> bool;
}

impl OuterFamily for Ip4 {
    #[inline]
    fn write(room: &mut [u8], outer: &Outer<Ipv4Addr>, protocol: u8, payload_len: usize) {
        let Some(header) = Ipv4Header::at_mut(room, 0) else { return };
        let field = if outer.dont_fragment { Ipv4Header::DONT_FRAGMENT } else { 0 };
        *header = Ipv4Header {
            version_ihl: 0x45,
            tos: outer.class,
            total_len: ((Ipv4Header::LEN + payload_len) as u16).into(),
            id: outer.id.into(),
            fragment: field.into(),
            ttl: outer.hop_limit,
            protocol,
            checksum: 0.into(),
            source: outer.source.octets(),
            destination: outer.destination.octets(),
        };
        header.fill_checksum();
    }

    #[inline]
    fn entropy(policy: &TunnelPolicy, hash: u64) -> Option<Ipv4Addr> {
        let Entropy { network, prefix_len } = policy.entropy4?;
        let host = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
        // The low half of the hash is in the source port of GUE already.
        Some(Ipv4Addr::from_bits(network.to_bits() & !host | (hash >> 32) as u32 & host))
    }

    fn pieces(header: &Ipv4Header, mtu: u16) -> impl Iterator<Item = Piece> {
        fragmentation::ip4_pieces(header, mtu)
    }

    fn write_piece(from: &Packet, l3: usize, piece: Piece, _id: u32, to: &mut Packet) -> bool {
        fragmentation::write_ip4(from, l3, piece, to)
    }
}

impl OuterFamily for Ip6 {
    #[inline]
    fn write(room: &mut [u8], outer: &Outer<Ipv6Addr>, protocol: u8, payload_len: usize) {
        let Some(header) = Ipv6Header::at_mut(room, 0) else { return };
        *header = Ipv6Header {
            version_class_flow: Ipv6Header::first_word(outer.class, outer.flow_label).into(),
            payload_len: (payload_len as u16).into(),
            next_header: protocol,
            hop_limit: outer.hop_limit,
            source: outer.source.octets(),
            destination: outer.destination.octets(),
        };
    }

    #[inline]
    fn entropy(policy: &TunnelPolicy, hash: u64) -> Option<Ipv6Addr> {
        let Entropy { network, prefix_len } = policy.entropy6?;
        let host = u128::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
        // The low half of the hash is the flow label already.
        Some(Ipv6Addr::from_bits(network.to_bits() & !host | u128::from(hash >> 32) & host))
    }

    fn pieces(header: &Ipv6Header, mtu: u16) -> impl Iterator<Item = Piece> {
        fragmentation::ip6_pieces(header, mtu)
    }

    fn write_piece(from: &Packet, l3: usize, piece: Piece, id: u32, to: &mut Packet) -> bool {
        fragmentation::write_ip6(from, l3, piece, id, to)
    }
}

/// Puts `outer` around the IP packet in slot `at`. The lanes follow: the offsets are the outer
/// header's, with room for an Ethernet header in front of it, and the packet is marked as our own.
/// What stood behind the IP packet is cut off. False when there is no room in front, or the sum is
/// longer than an IP packet can be; the packet is unchanged but for what was cut off.
#[inline]
#[must_use]
pub(crate) fn encapsulate<Inner: Family, O: OuterFamily>(
    frame: &mut Frame,
    at: usize,
    outer: &Outer<O::Address>,
) -> bool {
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    let Some(packet) = frame.packet_mut(at) else { return false };
    let Some(inner) = Inner::Header::at(packet.data(), l3) else { return false };
    let inner_len = inner.packet_len();
    let payload_len = outer.shim.len() + inner_len;
    if O::Header::LEN + payload_len > usize::from(u16::MAX) {
        return false;
    }
    packet.truncate(l3 + inner_len);
    let header_len = O::Header::LEN + outer.shim.len();
    if !start_at(packet, l3, ETHERNET_HEADER_LEN + header_len) {
        return false;
    }
    let data = packet.data_mut();
    outer.shim.write(data, ETHERNET_HEADER_LEN + O::Header::LEN, Inner::ETHER_TYPE, inner_len);
    let protocol = outer.shim.protocol(Inner::V6);
    if let Some(room) = data.get_mut(ETHERNET_HEADER_LEN..) {
        O::write(room, outer, protocol, payload_len);
    }
    let lanes = &mut frame.lanes;
    lanes.l3_offset[at] = ETHERNET_HEADER_LEN as u16;
    lanes.l4_offset[at] = (ETHERNET_HEADER_LEN + O::Header::LEN) as u16;
    lanes.protocol[at] = protocol;
    lanes.flags[at] |= flag::ORIGINATED | flag::ENCAPSULATED;
    true
}

/// Moves the start of a packet so that what is at `from` bytes from it comes to be at `to`.
#[inline]
#[must_use]
fn start_at(packet: &mut Packet, from: usize, to: usize) -> bool {
    match to.checked_sub(from) {
        Some(more) => packet.prepend(more as u16),
        None => packet.trim_front((from - to) as u16),
    }
}
