//! [`ErrorMessage`]: an ICMP error of either family, written byte by byte.

use dataplane::family::{Family, Ip4, Ip6};
use dataplane::wire::Header;
use dataplane::wire::checksum::{sum, transport_checksum};
use dataplane::wire::ethernet::EthernetHeader;
use dataplane::wire::icmpv4::Icmpv4Header;
use dataplane::wire::icmpv6::{Icmpv6Header, icmpv6_type};
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::wire::ipv6::{Ipv6Header, MINIMUM_MTU};

use crate::icmp_error::IcmpError;
use crate::ip_local::OWN_TTL;

/// An ICMP error over IPv4 is at most this long, IP header included (RFC 1812 §4.3.2.3).
const MESSAGE_MAX4: usize = 576;
/// DSCP CS6 (RFC 1812 §4.3.2.5: errors have precedence 6).
const CLASS: u8 = 0xc0;
/// Where the IP header of a message stands: behind room for an Ethernet header.
pub(crate) const L3: usize = EthernetHeader::LEN;

/// What a message says.
pub struct Parts<A> {
    /// Who tells.
    pub source: A,
    /// Who is told.
    pub destination: A,
    /// What.
    pub error: IcmpError,
    /// The MTU of [`IcmpError::TooBig`], in bytes.
    pub mtu: u16,
    /// Identification; IPv4 only.
    pub id: u16,
}

/// A family with its ICMP.
pub trait ErrorMessage: Family {
    /// Bytes of IP and ICMP header.
    const HEADERS_LEN: usize;
    /// Most bytes quoted of a packet.
    const QUOTE_MAX: usize;

    /// True for an ICMP message at `l4` about which an error may be sent.
    fn is_query(data: &[u8], l4: usize) -> bool;

    /// Writes the message about the IP packet `quote` into `room`, which is as long as the message
    /// with an Ethernet header.
    fn write(room: &mut [u8], quote: &[u8], parts: &Parts<Self::Address>);
}

/// Clears the headers of a message and puts the quote behind them.
fn start<F: ErrorMessage>(room: &mut [u8], quote: &[u8]) {
    let (headers, rest) = room.split_at_mut(L3 + F::HEADERS_LEN);
    headers.fill(0);
    rest.copy_from_slice(quote);
    if let Some(ethernet) = EthernetHeader::at_mut(room, 0) {
        ethernet.ether_type.set(F::ETHER_TYPE);
    }
}

impl ErrorMessage for Ip4 {
    const HEADERS_LEN: usize = Ipv4Header::LEN + Icmpv4Header::LEN;
    const QUOTE_MAX: usize = MESSAGE_MAX4 - Self::HEADERS_LEN;

    fn is_query(data: &[u8], l4: usize) -> bool {
        Icmpv4Header::at(data, l4).is_some_and(|icmp| !icmp.is_error())
    }

    fn write(room: &mut [u8], quote: &[u8], parts: &Parts<Self::Address>) {
        const L4: usize = L3 + Ipv4Header::LEN;
        start::<Self>(room, quote);
        let total_len = (room.len() - L3) as u16;
        if let Some(header) = Ipv4Header::at_mut(room, L3) {
            header.version_ihl = 0x45;
            header.tos = CLASS;
            header.total_len.set(total_len);
            header.id.set(parts.id);
            header.ttl = OWN_TTL;
            header.protocol = protocol::ICMP;
            header.source = parts.source.octets();
            header.destination = parts.destination.octets();
            header.fill_checksum();
        }
        if let Some(icmp) = Icmpv4Header::at_mut(room, L4) {
            (icmp.kind, icmp.code) = parts.error.type_and_code4();
            icmp.sequence.set(parts.mtu);
        }
        let checksum = sum(&room[L4..]).checksum();
        if let Some(icmp) = Icmpv4Header::at_mut(room, L4) {
            icmp.checksum.set(checksum.0);
        }
    }
}

impl ErrorMessage for Ip6 {
    const HEADERS_LEN: usize = Ipv6Header::LEN + Icmpv6Header::LEN;
    // RFC 4443 §2.4 c.
    const QUOTE_MAX: usize = MINIMUM_MTU as usize - Self::HEADERS_LEN;

    fn is_query(data: &[u8], l4: usize) -> bool {
        // Redirects are answered with silence too (RFC 4443 §2.4 e.2).
        let allowed = |icmp: &Icmpv6Header| !icmp.is_error() && icmp.kind != icmpv6_type::REDIRECT;
        Icmpv6Header::at(data, l4).is_some_and(allowed)
    }

    fn write(room: &mut [u8], quote: &[u8], parts: &Parts<Self::Address>) {
        const L4: usize = L3 + Ipv6Header::LEN;
        start::<Self>(room, quote);
        let payload_len = (room.len() - L4) as u16;
        if let Some(header) = Ipv6Header::at_mut(room, L3) {
            header.version_class_flow.set(Ipv6Header::first_word(CLASS, 0));
            header.payload_len.set(payload_len);
            header.next_header = protocol::ICMPV6;
            header.hop_limit = OWN_TTL;
            header.source = parts.source.octets();
            header.destination = parts.destination.octets();
        }
        if let Some(icmp) = Icmpv6Header::at_mut(room, L4) {
            (icmp.kind, icmp.code) = parts.error.type_and_code6();
            if parts.error == IcmpError::TooBig {
                // Less is not believed (RFC 8201 §4).
                icmp.set_mtu(u32::from(parts.mtu.max(MINIMUM_MTU)));
            }
        }
        let (source, destination) = (parts.source, parts.destination);
        let checksum = transport_checksum(source, destination, protocol::ICMPV6, &room[L4..]);
        if let Some(icmp) = Icmpv6Header::at_mut(room, L4) {
            icmp.checksum.set(checksum.0);
        }
    }
}
