//! [`HeaderRules`]: what may be wrong with an IP header, as far as the header alone tells.

use std::net::Ipv6Addr;

use dataplane::family::{Family, Ip4, Ip6};
use dataplane::packet::Packet;
use dataplane::wire::Header;
use dataplane::wire::checksum::{is_valid, sum};
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::{Ipv4Header, option};
use dataplane::wire::ipv6::{ALL_NODES, Ipv6Header, is_solicited_node};

use crate::ip_input::Counter;

/// What a header without faults is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// One host, or so it seems.
    Unicast,
    /// A group that we are in.
    Group,
}

/// A family with its rules.
pub trait HeaderRules: Family {
    /// Checks everything that the header at `l3` alone tells. `link_group`: the frame was sent to
    /// several stations.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn check(
        packet: &Packet,
        l3: usize,
        link_group: bool,
    ) -> Result<(&Self::Header, Accepted), Counter>;
}

/// The fixed part of the header.
fn fixed<H: IpHeader>(packet: &Packet, l3: usize) -> Result<&H, Counter> {
    let header = H::at(packet.data(), l3).ok_or_else(|| {
        let split = packet.segments() > 1 && packet.len() >= l3 + H::LEN;
        if split { Counter::Split } else { Counter::TooShort }
    })?;
    if header.version() == H::VERSION { Ok(header) } else { Err(Counter::Version) }
}

/// True when options ask for a way of the sender's choice: around whoever guards the way we know.
/// What follows a malformed option is not looked at.
fn is_source_routed(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        let len = match *kind {
            option::END => return false,
            option::LOOSE_SOURCE_ROUTE | option::STRICT_SOURCE_ROUTE => return true,
            option::NO_OPERATION => 1,
            _ => rest.first().map_or(0, |len| usize::from(*len)),
        };
        if len == 0 || len == 1 && *kind != option::NO_OPERATION {
            return false;
        }
        options = options.get(len..).unwrap_or_default();
    }
    false
}

impl HeaderRules for Ip4 {
    fn check(
        packet: &Packet,
        l3: usize,
        link_group: bool,
    ) -> Result<(&Ipv4Header, Accepted), Counter> {
        let header: &Ipv4Header = fixed(packet, l3)?;
        let header_len = header.header_len();
        if header_len < Ipv4Header::LEN {
            return Err(Counter::HeaderLen);
        }
        let total_len = usize::from(header.total_len.get());
        if total_len < header_len {
            return Err(Counter::TotalLen);
        }
        if l3 + total_len > packet.len() {
            return Err(Counter::Truncated);
        }
        let plain = header_len == Ipv4Header::LEN;
        let whole = packet.data().get(l3..l3 + header_len).ok_or(Counter::Split)?;
        let right = if plain { header.is_checksum_right() } else { is_valid(sum(whole)) };
        if !right {
            return Err(Counter::Checksum);
        }
        if header.ttl == 0 {
            return Err(Counter::TtlZero);
        }
        if !plain && is_source_routed(&whole[Ipv4Header::LEN..]) {
            return Err(Counter::SourceRoute);
        }
        if matches!(header.source[0], 0 | 127 | 224..) {
            return Err(Counter::MartianSource);
        }
        match header.destination[0] {
            0 | 127 => Err(Counter::MartianDestination),
            224..240 => Err(Counter::Group),
            240.. if header.destination == [255; 4] => Err(Counter::Group),
            240.. => Err(Counter::MartianDestination),
            _ if link_group => Err(Counter::LinkGroup),
            _ => Ok((header, Accepted::Unicast)),
        }
    }
}

/// True for the groups that we are in: all nodes, and those that solicitations for addresses go to.
/// Which of the latter are ours is seen by the address asked for.
fn is_own_group(group: Ipv6Addr) -> bool {
    group == ALL_NODES || is_solicited_node(group)
}

impl HeaderRules for Ip6 {
    fn check(
        packet: &Packet,
        l3: usize,
        link_group: bool,
    ) -> Result<(&Ipv6Header, Accepted), Counter> {
        let header: &Ipv6Header = fixed(packet, l3)?;
        if l3 + header.packet_len() > packet.len() {
            return Err(Counter::Truncated);
        }
        if header.hop_limit == 0 {
            return Err(Counter::TtlZero);
        }
        let (source, destination) = (header.source(), header.destination());
        // A host without an address yet speaks to groups.
        let nobody = source.is_unspecified() && !destination.is_multicast();
        if nobody || source.is_loopback() || source.is_multicast() {
            return Err(Counter::MartianSource);
        }
        if destination.is_unspecified() || destination.is_loopback() {
            return Err(Counter::MartianDestination);
        }
        if destination.is_multicast() {
            let own = is_own_group(destination);
            return if own { Ok((header, Accepted::Group)) } else { Err(Counter::Group) };
        }
        if link_group { Err(Counter::LinkGroup) } else { Ok((header, Accepted::Unicast)) }
    }
}
