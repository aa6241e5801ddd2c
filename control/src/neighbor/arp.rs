//! ARP messages that control sends (RFC 826, announcements as in RFC 5227 §3), without their
//! Ethernet header.

use std::net::Ipv4Addr;

use dataplane::interface::MacAddress;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

/// Length of an ARP message for Ethernet and IPv4.
const LEN: usize = 28;

/// A request for `target`. An announcement asks for our own address.
pub fn request(own_mac: MacAddress, own: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(own_mac.0),
        source_protocol_addr: own,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    arp.emit(&mut ArpPacket::new_unchecked(&mut bytes[..]));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_request_byte_for_byte() {
        let bytes = request(OWN, [10, 0, 0, 1].into(), [10, 0, 0, 9].into());
        let expected = [
            0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, request
            2, 0, 0, 0, 0, 1, 10, 0, 0, 1, // sender
            0, 0, 0, 0, 0, 0, 10, 0, 0, 9, // target
        ];
        assert_eq!(bytes, expected);
    }
}
