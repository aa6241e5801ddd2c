use std::net::Ipv4Addr;

use dataplane::frame::flag::LINK_GROUP;
use dataplane::worker::ICMP_ERRORS_PER_SECOND;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, validated};

use crate::plan::{
    CLIENT, CLIENT_LINK, FAR, HOST, OUR_CLIENT_SIDE, from_client, harness, transit, world,
};

const NODE: &str = "ip4-icmp-error";
const NOWHERE: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);

fn lost() -> PacketBuilder {
    from_client(PacketBuilder::udp((CLIENT, 1), (NOWHERE, 2)).data(*b"lost"))
}

#[test]
fn quotes_the_packet_as_it_came() {
    let mut harness = harness();
    let frame = transit().ttl(1).tos(3).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    let packet = validated(&sent);
    assert_eq!((packet.src_addr(), packet.dst_addr()), (OUR_CLIENT_SIDE, CLIENT));
    assert_eq!((packet.hop_limit(), sent[L2 + 1]), (64, 0xc0));
    assert_eq!(sent[L2 + 20..L2 + 22], [11, 0]);
    assert_eq!(sent[L2 + 24..L2 + 28], [0; 4]);
    assert_eq!(sent[L2 + 28..], frame[L2..]);
    assert_eq!(harness.counter(NODE, "hop limit exceeded response sent"), 1);
}

#[test]
fn quotes_up_to_576_bytes_and_no_padding() {
    let mut harness = harness();
    let (_, sent) = harness.forward(CLIENT_LINK, &lost().data(vec![7; 1400]).build());
    assert_eq!(sent.len(), L2 + 576);
    validated(&sent);
    let frame = lost().padding(&[0xee; 30]).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(sent.len(), L2 + 28 + frame.len() - L2 - 30);
    assert_eq!(harness.counter(NODE, "destination unreachable response sent"), 2);
}

#[test]
fn identifications_differ() {
    let mut harness = harness();
    let ids: Vec<u16> = (0..2)
        .map(|_| validated(&harness.forward(CLIENT_LINK, &lost().build()).1).ident())
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn segmented_packets_are_quoted_from_the_first_segment() {
    let mut harness = harness();
    let packet = harness.worker.io.pool.segmented(&lost().data(vec![7; 300]).build(), &[100]);
    harness.arrive_packet(CLIENT_LINK, packet);
    let sent = harness.turn();
    assert_eq!(sent[0].1.len(), L2 + 28 + 86);
}

#[test]
fn speaks_from_the_address_in_the_senders_network() {
    let mut world = world();
    let other = Ipv4Addr::new(10, 20, 0, 254);
    world.interface(CLIENT_LINK).addresses = [(other, 24), (OUR_CLIENT_SIDE, 24)]
        .map(|(address, prefix_len)| dataplane::interface::InterfaceAddress {
            address: address.into(),
            prefix_len,
        })
        .into();
    let mut harness = Harness::new(world);
    let (_, sent) = harness.forward(CLIENT_LINK, &lost().build());
    assert_eq!(validated(&sent).src_addr(), OUR_CLIENT_SIDE);
    let far = from_client(PacketBuilder::udp((FAR, 1), (NOWHERE, 2)));
    let (_, sent) = harness.forward(CLIENT_LINK, &far.build());
    assert_eq!(validated(&sent).src_addr(), other);
}

#[test]
fn no_error_about_icmp_errors() {
    let mut harness = harness();
    let text = "no error about an icmp error";
    for kind in [3, 4, 5, 11, 12, 200] {
        let builder = PacketBuilder::icmp(CLIENT, NOWHERE, (kind, 0), [0; 4]);
        harness.expect_drop(CLIENT_LINK, &from_client(builder).build(), NODE, text);
    }
    let cut = from_client(PacketBuilder::other(CLIENT, NOWHERE, 1).data([8, 0, 0])).build();
    harness.expect_drop(CLIENT_LINK, &cut, NODE, text);
    let echo = PacketBuilder::icmp(CLIENT, NOWHERE, (8, 0), [0; 4]);
    harness.forward(CLIENT_LINK, &from_client(echo).build());
}

#[test]
fn no_error_about_later_fragments() {
    let mut harness = harness();
    let later = lost().fragment(0x2001).build();
    harness.expect_drop(CLIENT_LINK, &later, NODE, "no error about a later fragment");
    harness.forward(CLIENT_LINK, &lost().fragment(0x2000).build());
}

#[test]
fn no_error_about_what_we_made() {
    let mut harness = harness();
    // The answer to this ping has nowhere to go.
    let builder = PacketBuilder::icmp(NOWHERE, OUR_CLIENT_SIDE, (8, 0), [0; 4]);
    let frame = from_client(builder).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "no error about our own packet");
}

#[test]
fn no_error_about_a_broadcast() {
    let mut harness = harness();
    // ip4-input lets nothing of the kind through; the node does not rely on it.
    let sent = harness.inject(NODE, CLIENT_LINK, &transit().build(), |lanes| {
        lanes.flags[0] = LINK_GROUP;
    });
    assert_eq!(sent, []);
    assert_eq!(harness.counter(NODE, "no error about a broadcast"), 1);
}

#[test]
fn an_interface_without_address_is_silent() {
    let mut world = world();
    let bare = world.add_interface(&[]);
    let mut harness = Harness::new(world);
    let frame = lost().macs(testkit::world::World::mac(bare), Default::default()).build();
    harness.expect_drop(bare, &frame, NODE, "no address to send an error from");
}

#[test]
fn errors_are_rate_limited() {
    let mut harness = harness();
    let frame = lost().build();
    for _ in 0..ICMP_ERRORS_PER_SECOND / 100 {
        for _ in 0..100 {
            harness.arrive(CLIENT_LINK, &frame);
        }
        assert_eq!(harness.turn().len(), 100);
    }
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "icmp error rate limit exceeded");
    harness.wait(1);
    harness.forward(CLIENT_LINK, &frame);
}

#[test]
fn an_empty_pool_is_counted() {
    let mut harness = harness();
    let frame = from_client(PacketBuilder::udp((CLIENT, 1), (HOST, 2)).ttl(1)).build();
    let taken: Vec<_> = std::iter::from_fn(|| {
        (harness.outstanding() < 4095).then(|| harness.worker.io.pool.alloc())
    })
    .collect();
    harness.arrive(CLIENT_LINK, &frame);
    assert_eq!(harness.turn(), []);
    assert_eq!(harness.counter(NODE, "no buffer for an icmp error"), 1);
    for packet in taken.into_iter().flatten() {
        testkit::fake_mbuf::free(packet);
    }
}
