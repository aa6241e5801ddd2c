//! ARP frames that control sends (RFC 826, announcements as in RFC 5227 §3).

use std::net::Ipv4Addr;

use dataplane::interface::MacAddress;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr,
};

/// Length of an ARP frame: Ethernet and ARP headers, no padding.
const FRAME_LEN: usize = 14 + 28;

/// A request for `target`, to everybody, or to `to` alone when it is only to be confirmed.
pub fn request(
    own_mac: MacAddress,
    own: Ipv4Addr,
    target: Ipv4Addr,
    to: Option<MacAddress>,
) -> Vec<u8> {
    frame(own_mac, own, target, to.unwrap_or(MacAddress::BROADCAST))
}

/// Tells everybody on the link that `own` is at `own_mac`.
pub fn announcement(own_mac: MacAddress, own: Ipv4Addr) -> Vec<u8> {
    frame(own_mac, own, own, MacAddress::BROADCAST)
}

fn frame(own_mac: MacAddress, own: Ipv4Addr, target: Ipv4Addr, to: MacAddress) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_LEN];
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(own_mac.0),
        dst_addr: EthernetAddress(to.0),
        ethertype: EthernetProtocol::Arp,
    };
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(own_mac.0),
        source_protocol_addr: own,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    let mut view = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut view);
    arp.emit(&mut ArpPacket::new_unchecked(view.payload_mut()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_request_byte_for_byte() {
        let bytes = request(OWN, [10, 0, 0, 1].into(), [10, 0, 0, 9].into(), None);
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, request
            2, 0, 0, 0, 0, 1, 10, 0, 0, 1, // sender
            0, 0, 0, 0, 0, 0, 10, 0, 0, 9, // target
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_probe_goes_to_the_neighbor_alone() {
        let to = MacAddress([2, 0, 0, 0, 0, 9]);
        let bytes = request(OWN, [10, 0, 0, 1].into(), [10, 0, 0, 9].into(), Some(to));
        assert_eq!(bytes[..6], to.0);
    }

    #[test]
    fn an_announcement_asks_for_its_own_address() {
        let bytes = announcement(OWN, [10, 0, 0, 1].into());
        assert_eq!(bytes[28..32], bytes[38..42]);
        assert_eq!(bytes[..6], [0xff; 6]);
    }
}
