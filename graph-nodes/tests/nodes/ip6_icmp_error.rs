use dataplane::frame::flag::{FROM_VIP, LINK_GROUP};
use dataplane::worker::ICMP_ERRORS_PER_SECOND;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, validated6};

use crate::plan::{CLIENT_LINK, SERVER_LINK, from_client};
use crate::plan6::{CLIENT, HOST, NOWHERE, OUR_CLIENT_SIDE, between, harness, transit, world};

const NODE: &str = "ip6-icmp-error";

#[test]
fn quotes_the_packet_as_it_came() {
    let mut harness = harness();
    let frame = transit().ttl(1).tos(3).flow_label(0xabcde).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    let packet = validated6(&sent);
    assert_eq!((packet.src_addr(), packet.dst_addr()), (OUR_CLIENT_SIDE, CLIENT));
    assert_eq!((packet.hop_limit(), &sent[L2..L2 + 4]), (64, &[0x6c, 0, 0, 0][..]));
    assert_eq!(sent[L2 + 40..L2 + 42], [3, 0]);
    assert_eq!(sent[L2 + 44..L2 + 48], [0; 4]);
    assert_eq!(sent[L2 + 48..], frame[L2..]);
    assert_eq!(harness.counter(NODE, "hop limit exceeded response sent"), 1);
}

#[test]
fn quotes_up_to_1280_bytes_and_no_padding() {
    let mut harness = harness();
    let (_, sent) = harness.forward(CLIENT_LINK, &between(CLIENT, NOWHERE).data([7; 1400]).build());
    assert_eq!(sent.len(), L2 + 1280);
    validated6(&sent);
    let frame = between(CLIENT, NOWHERE).padding(&[0xee; 30]).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(sent.len(), L2 + 48 + frame.len() - L2 - 30);
    assert_eq!(harness.counter(NODE, "destination unreachable response sent"), 2);
}

#[test]
fn no_mtu_below_the_least_is_reported() {
    let mut world = world();
    world.interface(SERVER_LINK).mtu = 600;
    let mut harness = Harness::new(world);
    let (_, sent) = harness.forward(CLIENT_LINK, &transit().data([0; 600]).build());
    assert_eq!(sent[L2 + 40..L2 + 42], [2, 0]);
    assert_eq!(sent[L2 + 44..L2 + 48], 1280_u32.to_be_bytes());
    assert_eq!(harness.counter(NODE, "packet too big response sent"), 1);
}

#[test]
fn no_error_about_icmp_errors() {
    let mut harness = harness();
    let text = "no error about an icmp error";
    let icmp = |kind| from_client(PacketBuilder::icmp(CLIENT, NOWHERE, (kind, 0), [0; 4]));
    for kind in [1, 2, 3, 4, 99, 127, 137] {
        harness.expect_drop(CLIENT_LINK, &icmp(kind).build(), NODE, text);
        let hidden = icmp(kind).padded_extension(60, 1).build();
        harness.expect_drop(CLIENT_LINK, &hidden, NODE, text);
    }
    let cut = from_client(PacketBuilder::other(CLIENT, NOWHERE, 58).data([128, 0, 0])).build();
    harness.expect_drop(CLIENT_LINK, &cut, NODE, text);
    harness.forward(CLIENT_LINK, &icmp(128).build());
}

#[test]
fn no_error_about_later_fragments() {
    let mut harness = harness();
    let later = between(CLIENT, NOWHERE).fragment_header(8, true, 1).build();
    harness.expect_drop(CLIENT_LINK, &later, NODE, "no error about a later fragment");
    harness.forward(CLIENT_LINK, &between(CLIENT, NOWHERE).fragment_header(0, true, 1).build());
}

#[test]
fn no_error_about_what_we_made() {
    let mut harness = harness();
    let ping = PacketBuilder::icmp(NOWHERE, OUR_CLIENT_SIDE, (128, 0), [0; 4]);
    let frame = from_client(ping).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "no error about our own packet");
}

#[test]
fn no_error_about_a_group_packet() {
    let mut harness = harness();
    let sent = harness.inject(NODE, CLIENT_LINK, &transit().build(), |lanes| {
        lanes.flags[0] = LINK_GROUP;
    });
    assert_eq!(sent, []);
    assert_eq!(harness.counter(NODE, "no error about a broadcast"), 1);
}

/// Puts the transit packet in front of the node with an error to send.
fn asked(harness: &mut Harness, error: u8, flags: u8, mtu: u16) -> Vec<u8> {
    let mut sent = harness.inject(NODE, CLIENT_LINK, &transit().build(), |lanes| {
        lanes.flags[0] = flags;
        lanes.icmp[0] = error;
        lanes.mtu[0] = mtu;
    });
    sent.remove(0).1
}

#[test]
fn an_error_can_come_from_the_packets_destination() {
    use graph_nodes::icmp_error::IcmpError;
    let mut harness = harness();
    let sent = asked(&mut harness, IcmpError::TooBig as u8, FROM_VIP, 1452);
    assert_eq!(validated6(&sent).src_addr(), HOST);
    assert_eq!(sent[L2 + 40..L2 + 42], [2, 0]);
    assert_eq!(sent[L2 + 44..L2 + 48], 1452_u32.to_be_bytes());
    for error in [IcmpError::PortUnreachable, IcmpError::ProtocolUnreachable] {
        let sent = asked(&mut harness, error as u8, 0, 1452);
        assert_eq!(validated6(&sent).src_addr(), OUR_CLIENT_SIDE);
        assert_eq!(sent[L2 + 40..L2 + 42], [1, 4]);
        assert_eq!(sent[L2 + 44..L2 + 48], [0; 4]);
    }
}

#[test]
fn an_interface_without_address_is_silent() {
    let mut world = world();
    // One with an address that is gone by the time the error is made has none.
    let bare = world.add_interface(&[]);
    let mut harness = Harness::new(world);
    assert_eq!(harness.inject(NODE, bare, &transit().build(), |_| {}), []);
    assert_eq!(harness.counter(NODE, "no address to send an error from"), 1);
}

#[test]
fn errors_are_limited_by_family() {
    let mut harness = harness();
    let frame = between(CLIENT, NOWHERE).build();
    for _ in 0..ICMP_ERRORS_PER_SECOND / 100 {
        for _ in 0..100 {
            harness.arrive(CLIENT_LINK, &frame);
        }
        assert_eq!(harness.turn().len(), 100);
    }
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "icmp error rate limit exceeded");
    let other = crate::plan::transit().ttl(1).build();
    harness.forward(CLIENT_LINK, &other);
    harness.wait(1);
    harness.forward(CLIENT_LINK, &frame);
}

#[test]
fn an_empty_pool_is_counted() {
    let mut harness = harness();
    let taken: Vec<_> = std::iter::from_fn(|| {
        (harness.outstanding() < 4095).then(|| harness.worker.io.pool.alloc())
    })
    .collect();
    harness.arrive(CLIENT_LINK, &transit().ttl(1).build());
    assert_eq!(harness.turn(), []);
    assert_eq!(harness.counter(NODE, "no buffer for an icmp error"), 1);
    for packet in taken.into_iter().flatten() {
        testkit::fake_mbuf::free(packet);
    }
}
