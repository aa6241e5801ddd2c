//! [`LocalFamily`]: the ICMP messages that we understand (RFC 792, RFC 4443 §4, RFC 4861).

use dataplane::family::{Family, Ip4, Ip6};
use dataplane::wire::Header;
use dataplane::wire::checksum::{Delta, is_transport_valid, is_valid, sum};
use dataplane::wire::icmpv4::{Icmpv4Header, icmp_type};
use dataplane::wire::icmpv6::{Icmpv6Header, icmpv6_type};
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::wire::ipv6::Ipv6Header;

use crate::ip_local::OWN_TTL;

/// The messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    /// "Are you there?"
    EchoRequest,
    /// "I am."
    EchoReply,
    /// A neighbour solicitation or advertisement (IPv6).
    Neighbor,
}

/// A family with its ICMP messages.
pub trait LocalFamily: Family {
    /// True when the checksum of the whole ICMP message is right.
    fn is_checksum_right(header: &Self::Header, message: &[u8]) -> bool;

    /// What a message of at least 8 bytes is, if it is one of them.
    fn kind(header: &Self::Header, message: &[u8]) -> Option<IcmpKind>;

    /// Turns the request with its IP header at `l3` and its ICMP header at `l4` into the reply.
    fn reply(data: &mut [u8], l3: usize, l4: usize);
}

/// The change of the first word when a request becomes a reply.
fn delta(request: u8, reply: u8) -> Delta {
    Delta::NONE.word(u16::from_be_bytes([request, 0]), u16::from_be_bytes([reply, 0]))
}

impl LocalFamily for Ip4 {
    fn is_checksum_right(_header: &Ipv4Header, message: &[u8]) -> bool {
        is_valid(sum(message))
    }

    fn kind(_header: &Ipv4Header, message: &[u8]) -> Option<IcmpKind> {
        match message {
            [icmp_type::ECHO_REQUEST, 0, ..] => Some(IcmpKind::EchoRequest),
            [icmp_type::ECHO_REPLY, 0, ..] => Some(IcmpKind::EchoReply),
            _ => None,
        }
    }

    fn reply(data: &mut [u8], l3: usize, l4: usize) {
        if let Some(icmp) = Icmpv4Header::at_mut(data, l4) {
            icmp.kind = icmp_type::ECHO_REPLY;
            icmp.update_checksum(delta(icmp_type::ECHO_REQUEST, icmp_type::ECHO_REPLY));
        }
        if let Some(header) = Ipv4Header::at_mut(data, l3) {
            // Swapping addresses does not change the sum.
            std::mem::swap(&mut header.source, &mut header.destination);
            header.set_ttl(OWN_TTL);
        }
    }
}

impl LocalFamily for Ip6 {
    fn is_checksum_right(header: &Ipv6Header, message: &[u8]) -> bool {
        is_transport_valid(header.source(), header.destination(), protocol::ICMPV6, message)
    }

    fn kind(header: &Ipv6Header, message: &[u8]) -> Option<IcmpKind> {
        let [kind, ..] = *message else { return None };
        if matches!(kind, icmpv6_type::NEIGHBOR_SOLICITATION | icmpv6_type::NEIGHBOR_ADVERTISEMENT)
        {
            return Some(IcmpKind::Neighbor);
        }
        // Everybody would answer a request to a group at once (RFC 4443 §4.2 leaves it open).
        if header.destination().is_multicast() {
            return None;
        }
        match message {
            [icmpv6_type::ECHO_REQUEST, 0, ..] => Some(IcmpKind::EchoRequest),
            [icmpv6_type::ECHO_REPLY, 0, ..] => Some(IcmpKind::EchoReply),
            _ => None,
        }
    }

    fn reply(data: &mut [u8], l3: usize, l4: usize) {
        if let Some(icmp) = Icmpv6Header::at_mut(data, l4) {
            icmp.kind = icmpv6_type::ECHO_REPLY;
            icmp.update_checksum(delta(icmpv6_type::ECHO_REQUEST, icmpv6_type::ECHO_REPLY));
        }
        if let Some(header) = Ipv6Header::at_mut(data, l3) {
            // Swapping addresses does not change the sum of the pseudo-header.
            std::mem::swap(&mut header.source, &mut header.destination);
            header.hop_limit = OWN_TTL;
        }
    }
}
