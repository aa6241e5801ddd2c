use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::wire::extension::ip6_upper_layer;
use dataplane::wire::fragment::Fragment;
use smoltcp::wire::Ipv6FragmentHeader;

use super::*;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

#[test]
fn what_is_built_is_valid() {
    let options = [1, 1, 1, 0];
    for builder in [
        PacketBuilder::tcp((A, 1), (B, 2), 0x02).tcp_options(&options).data(*b"hello"),
        PacketBuilder::udp((A, 1), (B, 2)).data(*b"odd").ip_options(&options),
        PacketBuilder::icmp(A, B, (8, 0), [0, 1, 0, 2]).data(*b"ping"),
    ] {
        let frame = builder.build();
        assert_eq!(validated(&frame).dst_addr(), B);
    }
    for builder in [
        PacketBuilder::tcp((A6, 1), (B6, 2), 0x02).tcp_options(&options).data(*b"hello"),
        PacketBuilder::udp((A6, 1), (B6, 2)).data(*b"odd").padded_extension(60, 2),
        PacketBuilder::icmp(A6, B6, (128, 0), [0, 1, 0, 2]).data(*b"ping"),
    ] {
        let frame = builder.tos(0xb9).flow_label(0x54321).ttl(9).build();
        let packet = validated6(&frame);
        assert_eq!((packet.dst_addr(), packet.hop_limit()), (B6, 9));
        assert_eq!((packet.traffic_class(), packet.flow_label()), (0xb9, 0x54321));
    }
}

#[test]
#[should_panic(expected = "IPv4 header checksum")]
fn a_bad_header_checksum_is_seen() {
    validated(&PacketBuilder::udp((A, 1), (B, 2)).bad_ip_checksum().build());
}

#[test]
#[should_panic(expected = "UDP checksum")]
fn a_bad_udp_checksum_is_seen() {
    validated(&PacketBuilder::udp((A, 1), (B, 2)).l4_checksum(0x1234).build());
}

#[test]
#[should_panic(expected = "ICMPv6 checksum")]
fn a_bad_icmpv6_checksum_is_seen() {
    validated6(&PacketBuilder::icmp(A6, B6, (128, 0), [0; 4]).l4_checksum(0x1234).build());
}

#[test]
#[should_panic(expected = "no UDP checksum")]
fn udp_over_ipv6_needs_a_checksum() {
    validated6(&PacketBuilder::udp((A6, 1), (B6, 2)).l4_checksum(0).build());
}

#[test]
#[should_panic(expected = "a whole IPv6 packet")]
fn a_wrong_length_is_seen() {
    validated6(&PacketBuilder::udp((A6, 1), (B6, 2)).ip_len(9).build());
}

#[test]
fn tags_stand_before_the_type() {
    let frame = PacketBuilder::udp((A, 1), (B, 2)).vlan(0x88a8, 5).vlan(0x8100, 6).build();
    assert_eq!(frame[12..22], [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]);
    let frame = PacketBuilder::udp((A6, 1), (B6, 2)).vlan(0x8100, 6).build();
    assert_eq!(frame[12..18], [0x81, 0, 0, 6, 0x86, 0xdd]);
}

#[test]
fn extension_headers_stand_in_order() {
    let packet = PacketBuilder::udp((A6, 1), (B6, 2))
        .padded_extension(0, 0)
        .padded_extension(43, 1)
        .fragment_header(0, true, 0x0102_0304)
        .data(*b"data")
        .packet();
    assert_eq!(packet[6], 0);
    assert_eq!(packet[40..48], [43, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(packet[48..64], [44, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(packet[64..72], [17, 0, 0, 1, 1, 2, 3, 4]);
    assert_eq!(validated_packet(&packet).1.len(), 12);
    // smoltcp and the data plane read the same.
    let header = Ipv6FragmentHeader::new_checked(&packet[66..]).unwrap();
    assert_eq!((header.frag_offset(), header.more_frags(), header.ident()), (0, true, 0x0102_0304));
    let found = ip6_upper_layer(&packet, 0).unwrap();
    assert_eq!((found.protocol, found.offset), (17, 72));
    assert_eq!(found.fragment, Some(Fragment { offset: 0, more: true, id: 0x0102_0304 }));
}
