use balancer::Protocol;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, arp, validated};
use testkit::world::World;

use crate::plan::{
    CLIENT, CLIENT_LINK, CLIENT_MAC, OUR_CLIENT_SIDE, SERVER_LINK, SERVERS, VIP, balanced_harness,
    balanced_world, from_client, vip_counts,
};

const NODE: &str = "lb4-vip";

fn syn() -> PacketBuilder {
    from_client(PacketBuilder::tcp((CLIENT, 4000), (VIP, 8080), 0x02))
}

#[test]
fn defect_02_an_unknown_port_is_dropped_and_costs_no_flow() {
    let mut harness = balanced_harness();
    for builder in [
        PacketBuilder::tcp((CLIENT, 4000), (VIP, 8081), 0x02),
        PacketBuilder::udp((CLIENT, 4000), (VIP, 8080)),
        PacketBuilder::tcp((CLIENT, 4000), (VIP, 20000), 0x02),
    ] {
        let frame = from_client(builder).build();
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "no such port on the VIP");
    }
    assert_eq!(harness.worker.state.sticky.used(), 0);
    assert_eq!((vip_counts(&harness, 0), vip_counts(&harness, 1)), ([0; 4], [0; 4]));
}

#[test]
fn other_protocols() {
    let mut harness = balanced_harness();
    let gre = from_client(PacketBuilder::other(CLIENT, VIP, 47)).build();
    harness.expect_drop(CLIENT_LINK, &gre, NODE, "protocol not supported");
}

#[test]
fn truncated_and_split_headers() {
    let mut harness = balanced_harness();
    for (protocol, header_len) in [(6, 20), (17, 8)] {
        for len in [0, 4, header_len - 1] {
            let builder = PacketBuilder::other(CLIENT, VIP, protocol).data(vec![0; len]);
            // Padding must not be taken for the header.
            let frame = from_client(builder).padding(&[0x1f; 40]).build();
            harness.expect_drop(CLIENT_LINK, &frame, NODE, "tcp or udp header truncated");
        }
    }
    let packet = harness.worker.io.pool.segmented(&syn().build(), &[L2 + 20 + 19]);
    harness.expect_packet_drop(CLIENT_LINK, packet, NODE, "headers not in the first buffer");
}

#[test]
fn defect_13_a_vip_answers_pings() {
    let mut harness = balanced_harness();
    let ping = PacketBuilder::icmp(CLIENT, VIP, (8, 0), [0, 1, 0, 2]).data(*b"ping");
    let (interface, sent) = harness.forward(CLIENT_LINK, &from_client(ping).build());
    assert_eq!(interface, CLIENT_LINK);
    let packet = validated(&sent);
    assert_eq!((packet.src_addr(), packet.dst_addr()), (VIP, CLIENT));
    assert_eq!(sent[L2 + 20], 0);
}

#[test]
fn a_vip_answers_arp() {
    let mut harness = balanced_harness();
    for link in [CLIENT_LINK, SERVER_LINK] {
        let asker = if link == CLIENT_LINK { CLIENT } else { SERVERS[0] };
        let request = arp(true, (CLIENT_MAC, asker), (Default::default(), VIP));
        let reply = arp(false, (World::mac(link), VIP), (CLIENT_MAC, asker));
        assert_eq!(harness.receive(link, &request), [(link, reply)]);
    }
    let stolen = arp(true, (CLIENT_MAC, VIP), (Default::default(), VIP));
    let text = "IP4 source address matches local interface";
    harness.expect_drop(CLIENT_LINK, &stolen, "arp-input", text);
}

#[test]
fn a_vip_on_an_interface_address_leaves_the_rest_to_us() {
    let mut world = balanced_world();
    let vip = world.balanced.add_vip(OUR_CLIENT_SIDE, Protocol::Tcp, 2020, 80);
    world.balanced.add_server(vip, SERVERS[0]);
    let mut harness = Harness::new(world);
    let to = |port| from_client(PacketBuilder::tcp((CLIENT, 4000), (OUR_CLIENT_SIDE, port), 2));
    let (interface, _) = harness.forward(CLIENT_LINK, &to(2020).build());
    assert_eq!(interface, SERVER_LINK);
    harness.expect_drop(CLIENT_LINK, &to(22).build(), "ip4-local", "no listener");
    let ospf = from_client(PacketBuilder::other(CLIENT, OUR_CLIENT_SIDE, 89)).build();
    harness.expect_drop(CLIENT_LINK, &ospf, "ip4-local", "unknown ip protocol");
    let ping = PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, (8, 0), [0; 4]);
    harness.forward(CLIENT_LINK, &from_client(ping).build());
}
