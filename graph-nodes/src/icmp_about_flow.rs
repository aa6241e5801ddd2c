//! ICMP errors about flows: which messages they are, and the flow that the quoted packet is of.

use balancer::FlowTuple;
use dataplane::family::Family;
use dataplane::wire::Header;
use dataplane::wire::checksum::Delta;
use dataplane::wire::icmpv4::{Icmpv4Header, icmp_type};
use dataplane::wire::icmpv6::icmpv6_type;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::quoted::{self, QuoteError};

use crate::transport::IpPacket;

/// Bytes of the quoted packet's upper layer that every error has (RFC 792).
const QUOTED_UPPER_MIN: usize = 8;

/// True for errors that are about a packet of a flow (RFC 792, RFC 4443 §3). Redirects and source
/// quenches are about links.
#[inline]
pub(crate) fn is_error<F: Family>(kind: u8) -> bool {
    if F::V6 {
        (icmpv6_type::UNREACHABLE..=icmpv6_type::PARAMETER_PROBLEM).contains(&kind)
    } else {
        matches!(
            kind,
            icmp_type::UNREACHABLE | icmp_type::TIME_EXCEEDED | icmp_type::PARAMETER_PROBLEM
        )
    }
}

/// True for messages that the box itself answers whatever VIP there is: pings, and neighbour
/// discovery, which is about a link.
#[inline]
pub(crate) fn is_for_us<F: Family>(kind: u8) -> bool {
    if F::V6 {
        kind == icmpv6_type::ECHO_REQUEST
            || (icmpv6_type::ROUTER_SOLICITATION..=icmpv6_type::REDIRECT).contains(&kind)
    } else {
        kind == icmp_type::ECHO_REQUEST
    }
}

/// What an ICMP error says of the packet it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About<A> {
    /// Its addresses and ports.
    Packet(FlowTuple<A>),
    /// It is a fragment without ports.
    LaterFragment,
    /// Too little of it is quoted, or it is no packet of this family.
    Nothing,
}

/// The quoted packet of the ICMP error `packet`, whose own header is there.
pub(crate) fn quoted_packet<F: Family>(data: &[u8], packet: &IpPacket<F>) -> About<F::Address> {
    let quote = quote(data, packet);
    match F::Header::upper_layer(quote, 0) {
        Ok(upper) if quote.len() >= upper.offset + QUOTED_UPPER_MIN => {}
        Ok(_) | Err(_) => return About::Nothing,
    }
    match quoted::parse::<F::Header>(quote) {
        Ok(quoted) => About::Packet(FlowTuple {
            src: quoted.source,
            dst: quoted.destination,
            src_port: quoted.source_port,
            dst_port: quoted.destination_port,
            protocol: quoted.protocol,
        }),
        Err(QuoteError::LaterFragment) => About::LaterFragment,
        Err(QuoteError::Truncated | QuoteError::Malformed) => About::Nothing,
    }
}

/// The bytes that an ICMP error quotes, as far as they are in the first buffer.
fn quote<'a, F: Family>(data: &'a [u8], packet: &IpPacket<F>) -> &'a [u8] {
    let start = packet.upper.offset + Icmpv4Header::LEN;
    data.get(start..packet.end.min(data.len())).unwrap_or_default()
}

/// Lets the checksum of the ICMP message at `l4` follow a change of the pseudo-header (which only
/// ICMPv6's covers) and one of the packet it quotes.
pub(crate) fn finish_icmp<F: Family>(data: &mut [u8], l4: usize, pseudo: Delta, quote: Delta) {
    // Both ICMPs have their checksum at the same place.
    if let Some(icmp) = Icmpv4Header::at_mut(data, l4) {
        icmp.update_checksum(if F::V6 { pseudo.plus(quote) } else { quote });
    }
}
