//! Neighbour discovery messages that control sends (RFC 4861 §4.3, §4.4, RFC 4862 §5.4), as IPv6
//! packets without their Ethernet header.

use std::net::Ipv6Addr;

use dataplane::interface::MacAddress;
use dataplane::wire::ipv4::protocol;
use dataplane::wire::ipv6::{ALL_NODES, group_mac, solicited_node};
use dataplane::wire::neighbor_discovery::{HOP_LIMIT, MAX_LEN, NeighborKind, NeighborMessage};
use smoltcp::wire::{IpProtocol, Ipv6Packet, Ipv6Repr};

/// Length of an IPv6 header.
const HEADER_LEN: usize = 40;

/// An IPv6 packet and the station it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Destination on the link.
    pub to: MacAddress,
    /// The packet.
    pub packet: Vec<u8>,
}

/// Asks where `target` is: everybody who could have it, or the neighbour at `to` alone.
pub fn solicitation(
    own_mac: MacAddress,
    own: Ipv6Addr,
    target: Ipv6Addr,
    to: Option<MacAddress>,
) -> Outgoing {
    let message =
        NeighborMessage { kind: NeighborKind::Solicitation, target, link_layer: Some(own_mac) };
    match to {
        Some(to) => outgoing(&message, own, target, to),
        None => to_group(&message, own, solicited_node(target)),
    }
}

/// Asks whether somebody else has `own` (duplicate address detection).
pub fn probe(own: Ipv6Addr) -> Outgoing {
    let message =
        NeighborMessage { kind: NeighborKind::Solicitation, target: own, link_layer: None };
    to_group(&message, Ipv6Addr::UNSPECIFIED, solicited_node(own))
}

/// Tells everybody on the link that `own` is at `own_mac`.
pub fn advertisement(own_mac: MacAddress, own: Ipv6Addr) -> Outgoing {
    let kind = NeighborKind::Advertisement { router: true, solicited: false, overriding: true };
    let message = NeighborMessage { kind, target: own, link_layer: Some(own_mac) };
    to_group(&message, own, ALL_NODES)
}

fn to_group(message: &NeighborMessage, source: Ipv6Addr, group: Ipv6Addr) -> Outgoing {
    outgoing(message, source, group, group_mac(group))
}

fn outgoing(
    message: &NeighborMessage,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    to: MacAddress,
) -> Outgoing {
    let mut body = [0; MAX_LEN];
    let len = message.write(&mut body, source, destination);
    let ip = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::from(protocol::ICMPV6),
        payload_len: len,
        hop_limit: HOP_LIMIT,
    };
    let mut packet = vec![0; HEADER_LEN + len];
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut packet[..]));
    packet[HEADER_LEN..].copy_from_slice(&body[..len]);
    Outgoing { to, packet }
}

#[cfg(test)]
mod tests {
    use dataplane::wire::neighbor_discovery::Envelope;

    use super::*;

    const OWN_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// Source, destination and message, if a receiver may believe it.
    fn read(outgoing: &Outgoing) -> (Ipv6Addr, Ipv6Addr, NeighborMessage) {
        let packet = Ipv6Packet::new_checked(&outgoing.packet[..]).unwrap();
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        let hop_limit = packet.hop_limit();
        let envelope = Envelope { source, destination, hop_limit };
        (source, destination, NeighborMessage::parse(packet.payload(), &envelope).unwrap())
    }

    #[test]
    fn a_solicitation_goes_to_the_targets_group_or_to_the_neighbor_alone() {
        let (own, target) = (ip("2001:db8::1"), ip("2001:db8::ab:cdef"));
        let asked = solicitation(OWN_MAC, own, target, None);
        assert_eq!(asked.to, MacAddress([0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]));
        let (source, destination, message) = read(&asked);
        assert_eq!((source, destination), (own, ip("ff02::1:ffab:cdef")));
        assert_eq!((message.target, message.link_layer), (target, Some(OWN_MAC)));
        let to = MacAddress([2, 0, 0, 0, 0, 9]);
        let asked = solicitation(OWN_MAC, own, target, Some(to));
        assert_eq!((asked.to, read(&asked).1), (to, target));
    }

    #[test]
    fn a_duplicate_address_probe_says_nothing_of_us() {
        let (source, destination, message) = read(&probe(ip("2001:db8::1")));
        assert_eq!((source, destination), (Ipv6Addr::UNSPECIFIED, ip("ff02::1:ff00:1")));
        assert_eq!((message.target, message.link_layer), (ip("2001:db8::1"), None));
    }

    #[test]
    fn an_advertisement_tells_everybody() {
        let told = advertisement(OWN_MAC, ip("2001:db8::1"));
        assert_eq!(told.to, MacAddress([0x33, 0x33, 0, 0, 0, 1]));
        let (source, destination, message) = read(&told);
        assert_eq!((source, destination), (ip("2001:db8::1"), ip("ff02::1")));
        assert_eq!(message.link_layer, Some(OWN_MAC));
        let NeighborKind::Advertisement { solicited, overriding, .. } = message.kind else {
            panic!("not an advertisement");
        };
        assert!(!solicited && overriding);
    }
}
