//! Frames of ARP and of IPv6 neighbour discovery.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::interface::MacAddress;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpHardware, ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv6Packet, Icmpv6Repr,
    NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

use super::{PacketBuilder, ethernet};

/// One side of an ARP message.
pub type Station = (MacAddress, Ipv4Addr);

/// One side of neighbour discovery.
pub type Station6 = (MacAddress, Ipv6Addr);

/// An ARP frame; requests go to everybody, replies to the target.
pub fn arp(request: bool, sender: Station, target: Station) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: if request { ArpOperation::Request } else { ArpOperation::Reply },
        source_hardware_addr: EthernetAddress(sender.0.0),
        source_protocol_addr: sender.1,
        target_hardware_addr: EthernetAddress(target.0.0),
        target_protocol_addr: target.1,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    let mut packet = ArpPacket::new_unchecked(&mut bytes);
    repr.emit(&mut packet);
    debug_assert_eq!(packet.hardware_type(), ArpHardware::Ethernet);
    ethernet(if request { MacAddress::BROADCAST } else { target.0 }, sender.0, 0x0806, &bytes)
}

/// A neighbour solicitation to the target's group. From `::` it is a duplicate address probe and
/// has no link-layer option.
pub fn neighbor_solicitation(sender: Station6, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let link_layer = (!sender.1.is_unspecified()).then(|| hardware(sender.0));
    let repr = NdiscRepr::NeighborSolicit { target_addr: target, lladdr: link_layer };
    discovery(repr, (sender.1, group))
        .macs(MacAddress([0x33, 0x33, 0xff, a, b, c]), sender.0)
        .build()
}

/// A neighbour advertisement by `sender` for its own address, with the override flag; `solicited`
/// answers go to one station, others to all nodes.
pub fn neighbor_advertisement(sender: Station6, receiver: Station6, solicited: bool) -> Vec<u8> {
    let mut flags = NdiscNeighborFlags::OVERRIDE;
    flags.set(NdiscNeighborFlags::SOLICITED, solicited);
    let link_layer = Some(hardware(sender.0));
    let repr = NdiscRepr::NeighborAdvert { flags, target_addr: sender.1, lladdr: link_layer };
    discovery(repr, (sender.1, receiver.1)).macs(receiver.0, sender.0).build()
}

fn hardware(mac: MacAddress) -> RawHardwareAddress {
    EthernetAddress(mac.0).into()
}

fn discovery(repr: NdiscRepr<'_>, (from, to): (Ipv6Addr, Ipv6Addr)) -> PacketBuilder {
    let repr = Icmpv6Repr::Ndisc(repr);
    let mut bytes = vec![0; repr.buffer_len()];
    let mut packet = Icmpv6Packet::new_unchecked(&mut bytes);
    repr.emit(&from, &to, &mut packet, &ChecksumCapabilities::default());
    PacketBuilder::other(from, to, 58).data(bytes).ttl(255)
}

#[cfg(test)]
mod tests {
    use dataplane::wire::neighbor_discovery::{Envelope, MAX_LEN, NeighborKind, NeighborMessage};

    use super::*;
    use crate::packet_builder::{L2, validated6};

    const A: Station6 =
        (MacAddress([2, 0, 0, 0, 0, 1]), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x12, 0x3456));
    const B: Station6 =
        (MacAddress([2, 0, 0, 0, 0, 2]), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x7, 0x89ab));

    /// smoltcp's bytes are read as meant, and ours come out the same.
    fn agrees(frame: &[u8], message: NeighborMessage) {
        let packet = validated6(frame);
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        let envelope = Envelope { source, destination, hop_limit: packet.hop_limit() };
        assert_eq!(NeighborMessage::parse(packet.payload(), &envelope), Ok(message));
        let mut out = [0; MAX_LEN];
        let len = message.write(&mut out, source, destination);
        assert_eq!(out[..len], frame[L2 + 40..]);
    }

    #[test]
    fn smoltcp_and_the_data_plane_agree_on_solicitations() {
        let kind = NeighborKind::Solicitation;
        let frame = neighbor_solicitation(A, B.1);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x07, 0x89, 0xab]);
        agrees(&frame, NeighborMessage { kind, target: B.1, link_layer: Some(A.0) });
        let probe = neighbor_solicitation((A.0, Ipv6Addr::UNSPECIFIED), B.1);
        agrees(&probe, NeighborMessage { kind, target: B.1, link_layer: None });
    }

    #[test]
    fn smoltcp_and_the_data_plane_agree_on_advertisements() {
        let kind =
            |solicited| NeighborKind::Advertisement { router: false, solicited, overriding: true };
        let message = NeighborMessage { kind: kind(true), target: B.1, link_layer: Some(B.0) };
        agrees(&neighbor_advertisement(B, A, true), message);
        let all =
            (MacAddress([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
        agrees(
            &neighbor_advertisement(B, all, false),
            NeighborMessage { kind: kind(false), ..message },
        );
    }
}
