use std::net::Ipv6Addr;

use dataplane::forwarding::Entropy;
use dataplane::frame::Frame;
use dataplane::interface::MacAddress;
use dataplane::wire::checksum::pseudo_header_sum;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, validated6};

use crate::plan::{CLIENT_LINK, CLIENT_MAC, SERVER_LINK};
use crate::plan6::{
    CLIENT, HOST, OUR_CLIENT_SIDE, OUR_SERVER_SIDE, between, harness, transit, world,
};

const NODE: &str = "ip6-input";

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

#[test]
fn truncated_packets() {
    let mut harness = harness();
    let frame = transit().build();
    for len in L2..L2 + 40 {
        harness.expect_drop(CLIENT_LINK, &frame[..len], NODE, "ip6 length < 40 bytes");
    }
    for len in L2 + 40..frame.len() {
        harness.expect_drop(CLIENT_LINK, &frame[..len], NODE, "ip6 length > l2 length");
    }
}

#[test]
fn split_headers() {
    let mut harness = harness();
    let frame = transit().build();
    for cut in [L2, L2 + 39] {
        let packet = harness.worker.io.pool.segmented(&frame, &[cut]);
        harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "headers not in the first buffer");
    }
    let packet = harness.worker.io.pool.segmented(&frame, &[L2 + 40]);
    harness.arrive_packet(CLIENT_LINK, packet);
    assert_eq!(validated6(&harness.turn()[0].1).dst_addr(), HOST);
}

#[test]
fn version_and_hop_limit() {
    let mut harness = harness();
    let mut frame = transit().build();
    frame[L2] = 0x45;
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip6 version != 6");
    harness.expect_drop(CLIENT_LINK, &transit().ttl(0).build(), NODE, "ip6 ttl == 0");
}

#[test]
fn martians() {
    let mut harness = harness();
    for source in ["::", "::1", "ff02::1", "ff0e::9"] {
        let frame = between(address(source), HOST).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip6 martian source address");
    }
    for destination in ["::", "::1"] {
        let frame = between(CLIENT, address(destination)).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip6 martian destination address");
    }
    for destination in ["ff02::2", "ff02::5", "ff0e::1", "ff02::1:fe00:1", "ff05::1"] {
        let frame = between(CLIENT, address(destination)).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "ip6 multicast destination");
    }
    let frame = transit().macs(MacAddress::BROADCAST, CLIENT_MAC).build();
    let text = "ip6 unicast in a link-layer broadcast";
    harness.expect_drop(CLIENT_LINK, &frame, NODE, text);
}

#[test]
fn our_own_addresses_do_not_come_from_outside() {
    let mut world = world();
    let outer = address("2001:db8:77::1");
    world.tunnel_policy.source6 = Some(outer);
    let network = address("2001:db8:78::");
    world.tunnel_policy.entropy6 = Some(Entropy { network, prefix_len: 64 });
    let mut harness = Harness::new(world);
    let text = "ip6 spoofed local-address packet drops";
    for source in [OUR_CLIENT_SIDE, OUR_SERVER_SIDE, outer, address("2001:db8:78::1:2")] {
        harness.expect_drop(CLIENT_LINK, &between(source, HOST).build(), NODE, text);
    }
    harness.forward(CLIENT_LINK, &between(address("2001:db8:79::1"), HOST).build());
}

#[test]
fn our_outer_packets_do_not_come_back() {
    let mut world = world();
    let outer = std::net::Ipv4Addr::new(10, 77, 0, 1);
    world.tunnel_policy.source4 = Some(outer);
    let network = std::net::Ipv4Addr::new(10, 78, 0, 0);
    world.tunnel_policy.entropy4 = Some(Entropy { network, prefix_len: 16 });
    let mut harness = Harness::new(world);
    for source in [outer, std::net::Ipv4Addr::new(10, 78, 1, 2)] {
        let packet =
            testkit::packet_builder::PacketBuilder::udp((source, 1), (crate::plan::HOST, 2));
        let frame = crate::plan::from_client(packet).build();
        let text = "ip4 spoofed local-address packet drops";
        harness.expect_drop(CLIENT_LINK, &frame, "ip4-input", text);
    }
}

#[test]
fn what_the_kernel_sends_may_come_from_us() {
    let mut world = world();
    world.interface(CLIENT_LINK).punt = true;
    let mut harness = Harness::new(world);
    let (interface, _) = harness.forward(CLIENT_LINK, &between(OUR_SERVER_SIDE, HOST).build());
    assert_eq!(interface, SERVER_LINK);
}

#[test]
fn an_interface_without_an_ip6_address_takes_none() {
    let mut harness = Harness::new(crate::plan::world());
    harness.expect_drop(CLIENT_LINK, &transit().build(), "ethernet-input", "ip6 not enabled");
}

#[test]
fn packets_are_counted_by_family() {
    let mut harness = harness();
    harness.forward(CLIENT_LINK, &transit().build());
    harness.forward(CLIENT_LINK, &crate::plan::transit().build());
    let stats = &harness.shared().interfaces[CLIENT_LINK.index()];
    assert_eq!((stats.ip4.get(), stats.ip6.get()), (1, 1));
}

#[test]
fn extension_headers_are_no_matter_of_a_router() {
    let mut harness = harness();
    for builder in [
        transit().padded_extension(0, 0).padded_extension(60, 3),
        transit().fragment_header(0, true, 7),
        transit().fragment_header(64, false, 7),
        // A chain that nobody would walk to its end.
        (0..12).fold(transit(), |builder, _| builder.padded_extension(60, 0)),
    ] {
        let frame = builder.build();
        let (interface, sent) = harness.forward(CLIENT_LINK, &frame);
        assert_eq!((interface, &sent[L2 + 8..]), (SERVER_LINK, &frame[L2 + 8..]));
        assert_eq!(sent[L2 + 7], 63);
    }
    assert!(harness.counters().is_empty(), "{:?}", harness.counters());
}

#[test]
fn partial_checksums_are_seen() {
    let mut harness = harness();
    let sum = pseudo_header_sum(CLIENT, HOST, 17, 15).fold();
    let text = "partial checksum: turn off tx offload on the sender";
    // Behind an extension header it is not looked for.
    let hidden = transit().l4_checksum(sum).padded_extension(60, 0);
    harness.forward(CLIENT_LINK, &hidden.build());
    assert_eq!(harness.counter(NODE, text), 0);
    harness.forward(CLIENT_LINK, &transit().l4_checksum(sum).build());
    assert_eq!(harness.counter(NODE, text), 1);
}

/// What `ip6-input` writes into the lanes, as a trace of `ip6-lookup` cannot show it.
#[test]
fn fragments_are_marked() {
    use dataplane::frame::flag;
    let mut frame = Frame::boxed();
    for (builder, expected) in [
        (transit(), 0),
        (transit().fragment_header(0, false, 1), 0),
        (transit().fragment_header(0, true, 1), flag::FRAGMENT),
        (transit().fragment_header(8, true, 1), flag::FRAGMENT | flag::LATER_FRAGMENT),
    ] {
        // To us, where fragments end.
        let harness = harness();
        let packet = harness.worker.io.pool.packet(&builder.build());
        let upper = dataplane::wire::extension::ip6_upper_layer(packet.data(), L2);
        frame.push(packet, CLIENT_LINK).expect("room");
        graph_nodes::upper::mark(&mut frame.lanes, 0, &upper.expect("a whole packet"));
        assert_eq!(frame.lanes.flags[0], expected);
        assert_eq!(frame.lanes.protocol[0], 17);
        testkit::fake_mbuf::free(frame.take(0).expect("it is there"));
        frame.clear();
    }
}
