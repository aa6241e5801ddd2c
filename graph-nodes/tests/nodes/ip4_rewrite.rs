use testkit::harness::Harness;
use testkit::packet_builder::{L2, validated};

use crate::plan::{
    CLIENT, CLIENT_LINK, HOST, OUR_CLIENT_SIDE, SERVER_LINK, harness, transit, world,
};

const NODE: &str = "ip4-rewrite";

#[test]
fn forwards_untouched_but_for_ttl_and_ethernet() {
    let mut harness = harness();
    let frame = transit().tos(0xb9).dont_fragment().padding(&[0xee; 9]).build();
    let (_, sent) = harness.forward(CLIENT_LINK, &frame);
    assert_eq!(sent.len(), frame.len());
    let mut expected = frame[L2..].to_vec();
    expected[8] -= 1;
    smoltcp::wire::Ipv4Packet::new_unchecked(&mut expected).fill_checksum();
    assert_eq!(sent[L2..], expected);
}

#[test]
fn ttl_runs_out() {
    let mut harness = harness();
    let (interface, sent) = harness.forward(CLIENT_LINK, &transit().ttl(1).build());
    assert_eq!(interface, CLIENT_LINK);
    let packet = validated(&sent);
    assert_eq!((packet.src_addr(), packet.dst_addr()), (OUR_CLIENT_SIDE, CLIENT));
    assert_eq!((sent[34], sent[35]), (11, 0));
    assert_eq!(harness.counter(NODE, "ip4 ttl <= 1"), 1);
    let (interface, sent) = harness.forward(CLIENT_LINK, &transit().ttl(2).build());
    assert_eq!((interface, validated(&sent).hop_limit()), (SERVER_LINK, 1));
}

fn small_server_link() -> Harness {
    let mut world = world();
    world.interface(SERVER_LINK).mtu = 600;
    Harness::new(world)
}

#[test]
fn defect_14_mtu_exceeded_with_df_tells_the_sender() {
    let mut harness = small_server_link();
    let fits = transit().data(vec![0; 572]).dont_fragment().build();
    assert_eq!(harness.forward(CLIENT_LINK, &fits).0, SERVER_LINK);
    let too_big = transit().data(vec![0; 573]).dont_fragment().build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &too_big);
    assert_eq!(interface, CLIENT_LINK);
    validated(&sent);
    assert_eq!(sent[34..36], [3, 4]);
    assert_eq!(sent[38..42], [0, 0, 600_u16.to_be_bytes()[0], 600_u16.to_be_bytes()[1]]);
    assert_eq!(harness.counter(NODE, "ip4 MTU exceeded and DF set"), 1);
}

#[test]
fn defect_14_mtu_exceeded_without_df_is_dropped_and_counted() {
    let mut harness = small_server_link();
    let frame = transit().data(vec![0; 573]).build();
    harness.expect_drop(CLIENT_LINK, &frame, NODE, "mtu exceeded");
}

#[test]
fn padding_does_not_count_for_the_mtu() {
    let mut harness = small_server_link();
    let frame = transit().data(vec![0; 572]).padding(&[0; 40]).build();
    assert_eq!(harness.forward(CLIENT_LINK, &frame).0, SERVER_LINK);
}

#[test]
fn a_packet_without_adjacency_is_dropped() {
    let mut harness = harness();
    for node in ["ip4-rewrite", "ip4-arp"] {
        harness.inject(node, CLIENT_LINK, &transit().build(), |lanes| lanes.adjacency[0] = 4711);
        assert_eq!(harness.counter(node, "ip4 adjacency missing"), 1);
    }
}

#[test]
fn ttl_and_size_are_checked_before_a_host_is_asked_for() {
    let mut world = world();
    world.forget_neighbor(SERVER_LINK, HOST);
    world.interface(SERVER_LINK).mtu = 600;
    let mut harness = Harness::new(world);
    let (interface, sent) = harness.forward(CLIENT_LINK, &transit().ttl(1).build());
    assert_eq!((interface, &sent[34..36]), (CLIENT_LINK, &[11, 0][..]));
    let too_big = transit().data(vec![0; 573]).dont_fragment().build();
    let (interface, sent) = harness.forward(CLIENT_LINK, &too_big);
    assert_eq!((interface, &sent[34..36], &sent[40..42]), (CLIENT_LINK, &[3, 4][..], &[2, 88][..]));
    assert!(harness.event().is_none());
}
