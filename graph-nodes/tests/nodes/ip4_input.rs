use std::net::Ipv4Addr;

use dataplane::interface::MacAddress;
use testkit::packet_builder::{L2, PacketBuilder, validated};

use crate::plan::{
    CLIENT, CLIENT_LINK, HOST, OUR_CLIENT_SIDE, OUR_SERVER_SIDE, SERVER_LINK, from_client, harness,
    transit,
};

const NODE: &str = "ip4-input";

/// The transit packet with one header byte changed and the header checksum made right.
fn with(at: usize, value: u8) -> Vec<u8> {
    let mut frame = transit().build();
    frame[L2 + at] = value;
    let mut header = smoltcp::wire::Ipv4Packet::new_unchecked(&mut frame[L2..]);
    header.fill_checksum();
    frame
}

fn between(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    from_client(PacketBuilder::udp((source, 1), (destination, 2))).build()
}

#[test]
fn truncated_packets() {
    let mut harness = harness();
    let frame = transit().build();
    for len in L2..L2 + 20 {
        harness.expect_drop(CLIENT_LINK, &frame[..len], NODE, "ip4 length < 20 bytes");
    }
    for len in L2 + 20..frame.len() {
        harness.expect_drop(CLIENT_LINK, &frame[..len], NODE, "ip4 length > l2 length");
    }
}

#[test]
fn split_headers() {
    let mut harness = harness();
    let frame = transit().ip_options(&[1; 8]).build();
    for cut in [L2, L2 + 19, L2 + 20, L2 + 27] {
        let packet = harness.worker.io.pool.segmented(&frame, &[cut]);
        harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "headers not in the first buffer");
    }
    // Payload in further segments is ordinary.
    let packet = harness.worker.io.pool.segmented(&frame, &[L2 + 28]);
    harness.arrive_packet(CLIENT_LINK, packet);
    let sent = harness.turn();
    assert_eq!(validated(&sent[0].1).dst_addr(), HOST);
}

#[test]
fn version_and_lengths() {
    let mut harness = harness();
    let mut frame = transit().build();
    frame[L2] = 0x65;
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip4 version != 4");
    frame[L2] = 0x44;
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip4 header length < 20 bytes");
    harness.expect_drop(CLIENT_LINK, &with(3, 19), NODE, "ip4 length < header length");
    harness.expect_drop(CLIENT_LINK, &with(2, 8), NODE, "ip4 length > l2 length");
}

#[test]
fn bad_header_checksum() {
    let mut harness = harness();
    let frame = transit().bad_ip_checksum().build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "bad ip4 checksum");
}

#[test]
fn ttl_zero() {
    let mut harness = harness();
    let frame = transit().ttl(0).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip4 ttl == 0");
}

#[test]
fn martian_sources() {
    let mut harness = harness();
    for source in
        [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]]
    {
        let frame = between(source.into(), HOST);
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip4 martian source address");
    }
    let broadcast = between(Ipv4Addr::new(10, 10, 10, 255), HOST);
    harness.expect_drop(CLIENT_LINK, &broadcast, NODE, "ip4 martian source address");
}

#[test]
fn our_own_addresses_do_not_come_from_outside() {
    let mut harness = harness();
    for source in [OUR_CLIENT_SIDE, OUR_SERVER_SIDE] {
        let text = "ip4 spoofed local-address packet drops";
        harness.expect_drop(CLIENT_LINK, &between(source, HOST), NODE, text);
    }
}

#[test]
fn martian_and_group_destinations() {
    let mut harness = harness();
    for destination in [[0, 0, 0, 1], [127, 0, 0, 1], [240, 0, 0, 1], [255, 255, 255, 254]] {
        let frame = between(CLIENT, destination.into());
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip4 martian destination address");
    }
    for destination in [[224, 0, 0, 5], [239, 1, 1, 1], [255; 4]] {
        let text = "ip4 multicast or broadcast destination";
        harness.expect_drop(CLIENT_LINK, &between(CLIENT, destination.into()), NODE, text);
        let builder = PacketBuilder::udp((CLIENT, 1), (destination, 2));
        let frame = builder.macs(MacAddress::BROADCAST, crate::plan::CLIENT_MAC).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, text);
    }
}

#[test]
fn defect_11_options_are_parsed_past() {
    let mut harness = harness();
    let frame = transit().ip_options(&[7, 7, 4, 0, 0, 0, 0, 0]).build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(interface, SERVER_LINK);
    assert_eq!(validated(&sent).hop_limit(), 63);
    assert_eq!(sent[L2 + 20..], frame[L2 + 20..]);
}

#[test]
fn source_routes_are_not_followed() {
    let mut harness = harness();
    let text = "ip4 source route option";
    for options in
        [[131, 7, 4, 1, 2, 3, 4, 0], [1, 137, 7, 4, 1, 2, 3, 4], [7, 3, 4, 131, 3, 4, 0, 0]]
    {
        let frame = transit().ip_options(&options).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, text);
    }
    // Behind the end of the options, or where no option can start.
    for options in [[0, 131, 7, 4], [7, 0, 131, 4], [7, 1, 131, 4], [7, 4, 131, 137]] {
        harness.forward(CLIENT_LINK, &transit().ip_options(&options).build());
    }
}

/// What Linux leaves when it counts on the card: the folded sum of the pseudo-header.
fn partial() -> PacketBuilder {
    transit().l4_checksum(bare_sum(15))
}

/// The folded sum of the pseudo-header of a UDP datagram of this many bytes.
fn bare_sum(len: u32) -> u16 {
    let [a, b] = [CLIENT, HOST].map(u32::from);
    let words = [a >> 16, a & 0xffff, b >> 16, b & 0xffff, 17, len];
    let sum: u32 = words.iter().sum();
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[test]
fn partial_checksums_are_sampled_from_the_first_packet_on() {
    let mut harness = harness();
    let frame = partial().build();
    let text = "partial checksum: turn off tx offload on the sender";
    harness.forward(CLIENT_LINK, &frame);
    assert_eq!(harness.counter(NODE, text), 1);
    for _ in 0..1023 {
        harness.arrive(CLIENT_LINK, &frame);
    }
    while harness.outstanding() > 0 {
        harness.turn();
    }
    assert_eq!(harness.counter(NODE, text), 1);
    harness.forward(CLIENT_LINK, &frame);
    assert_eq!(harness.counter(NODE, text), 2);
    // The packet is forwarded as it is: its checksum is neither verified nor rebuilt.
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(sent[L2 + 20..], frame[L2 + 20..]);
}

#[test]
fn whole_checksums_are_not_called_partial() {
    let mut harness = harness();
    // The checksum of a fragmented packet covers more than this packet.
    harness.forward(CLIENT_LINK, &partial().fragment(0x2000).build());
    harness.forward(CLIENT_LINK, &transit().build());
    assert!(harness.counters().is_empty(), "{:?}", harness.counters());
}

/// Once in 65 536 packets the right checksum has the value that stands for none yet.
#[test]
fn right_checksums_that_look_partial_are_not_called_so() {
    let alike = (1..=u16::MAX)
        .map(|port| from_client(PacketBuilder::udp((CLIENT, port), (HOST, 2))).build())
        .find(|frame| frame[L2 + 26..L2 + 28] == bare_sum(8).to_be_bytes())
        .expect("a source port that makes it so");
    validated(&alike);
    let mut harness = harness();
    harness.forward(CLIENT_LINK, &alike);
    assert!(harness.counters().is_empty(), "{:?}", harness.counters());
    // It is wrong for a packet from another port.
    let mut harness = self::harness();
    let mut wrong = alike;
    wrong[L2 + 21] ^= 1;
    harness.forward(CLIENT_LINK, &wrong);
    assert_eq!(harness.counters().len(), 1, "{:?}", harness.counters());
}
