//! First packets of flows on the express way: behind one that shows what they are like.

use std::net::Ipv4Addr;
use std::sync::Arc;

use balancer::{AsId, InstanceKey, MAX_SERVERS, Protocol, StickyOwner, TableLength};
use dataplane::forwarding::Method;
use testkit::fake_mbuf::HEADROOM;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder, decapsulated};
use testkit::world::World;

use crate::plan::{
    CLIENT, CLIENT_LINK, HOST, SERVER_LINK, SERVERS, VIP, balanced_harness, balanced_world,
    destination, from_client, server_mac, vip_counts, world,
};
use crate::services::{all_ports, arriving};

const ACK: u8 = 0x10;

fn udp(port: u16) -> PacketBuilder {
    from_client(PacketBuilder::udp((CLIENT, port), (VIP, 20000)).data(*b"twelve bytes"))
}

/// Larger than the way to the ASs is wide.
fn too_long(port: u16) -> PacketBuilder {
    from_client(PacketBuilder::udp((CLIENT, port), (VIP, 20000)).data([7; 1480]))
}

fn on_the_express_way(harness: &Harness) -> u64 {
    harness.counter("lb-express", "packets on the express way")
}

/// With a table of so many buckets, under this key.
fn harness_with_table(buckets: u64, key: u8) -> Harness {
    let mut harness = balanced_harness();
    let instance = InstanceKey::from_bytes([key; 32]);
    harness.worker.state.sticky = StickyOwner::new(buckets, instance, MAX_SERVERS).unwrap();
    harness.publish_with_peers(&[]);
    harness
}

/// After a packet that all others are like.
fn prepared(mut harness: Harness) -> Harness {
    harness.forward(CLIENT_LINK, &udp(5000).build());
    harness
}

#[test]
fn two_packets_of_each_of_many_flows_at_once() {
    let mut harness = prepared(balanced_harness());
    for port in (6000..6020).chain(6000..6020) {
        harness.arrive(CLIENT_LINK, &udp(port).build());
    }
    let sent = harness.turn();
    let servers: Vec<Ipv4Addr> = sent.iter().map(|(_, frame)| destination(frame)).collect();
    assert_eq!(servers[..20], servers[20..]);
    assert!(SERVERS.iter().all(|server| servers.contains(server)));
    assert_eq!(on_the_express_way(&harness), 41);
    assert_eq!(vip_counts(&harness, 1), [20, 21, 0, 0]);
    let counts = harness.shared().servers.iter().map(|of| [of.packets.get(), of.bytes.get()]);
    let all = counts.reduce(|one, other| [one[0] + other[0], one[1] + other[1]]);
    assert_eq!(all, Some([41, 41 * 40]));
}

/// In a small table some known flows are in their second buckets.
#[test]
fn one_flow_begins_among_known_ones_in_a_small_table() {
    for key in 0..20 {
        let mut harness = prepared(harness_with_table(8, key));
        let known = 6000..6019;
        let frames = known.clone().map(|port| harness.forward(CLIENT_LINK, &udp(port).build()).1);
        let frames: Vec<_> = frames.collect();
        // The new flow comes behind three of the known ones and before the others.
        for port in known.clone().take(3).chain([7000]).chain(known.clone().skip(3)) {
            harness.arrive(CLIENT_LINK, &udp(port).build());
        }
        let mut sent = harness.turn();
        assert_eq!(sent.len(), 20);
        let (_, new) = sent.remove(3);
        assert!(SERVERS.contains(&destination(&new)), "{key}");
        for ((_, frame), before) in sent.iter().zip(&frames) {
            assert_eq!(frame, before, "{key}");
        }
        assert_eq!(on_the_express_way(&harness), 40, "{key}");
        assert_eq!(vip_counts(&harness, 1), [19, 21, 0, 0], "{key}");
    }
}

#[test]
fn one_that_is_too_long_goes_to_the_other_nodes_and_those_behind_it_follow() {
    let mut harness = prepared(balanced_harness());
    for frame in [too_long(6000), too_long(6001), udp(6002), udp(6000)] {
        harness.arrive(CLIENT_LINK, &frame.build());
    }
    harness.turn();
    assert_eq!(on_the_express_way(&harness), 1);
}

/// Flows begin once, though those behind a packet without room for an outer header wait for it.
#[test]
fn flows_behind_a_packet_without_room_in_front_begin_once() {
    let mut harness = all_ports(false, false, Method::Gre);
    let from = |host: u8| {
        let client = Ipv4Addr::from(CLIENT.to_bits() & !0xff | u32::from(host));
        arriving(PacketBuilder::udp((client, 6000), (VIP, 20000)).data(*b"twelve bytes"))
    };
    harness.forward(CLIENT_LINK, &from(50));
    let mut cramped = harness.worker.io.pool.alloc().unwrap();
    assert!(cramped.prepend(HEADROOM) && cramped.assign(&from(62)));
    [60, 61].iter().for_each(|host| harness.arrive(CLIENT_LINK, &from(*host)));
    harness.arrive_packet(CLIENT_LINK, cramped);
    [63, 62, 63, 60].iter().for_each(|host| harness.arrive(CLIENT_LINK, &from(*host)));
    let sent = harness.turn();
    assert_eq!(sent.len(), 6);
    let inner_protocol = |frame: &[u8]| decapsulated(&frame[L2..])[9];
    assert!(sent.iter().all(|(_, frame)| inner_protocol(frame) == 17), "one outer header each");
    assert_eq!(harness.counter("lb4-gre4", "no room for the outer header"), 1);
    assert_eq!(on_the_express_way(&harness), 6, "one followed who had no room");
    assert_eq!(vip_counts(&harness, 0), [4, 4, 0, 0]);
}

/// A new flow keeps clear of an AS that the same client speaks to by another way.
#[test]
fn a_client_that_speaks_to_all_servers_itself_gets_none() {
    let mut harness = prepared(balanced_harness());
    for server in SERVERS {
        let direct = PacketBuilder::udp((CLIENT, 6000), (server, 3307));
        harness.forward(CLIENT_LINK, &from_client(direct).build());
    }
    harness.expect_drop(CLIENT_LINK, &udp(6000).build(), "lb4-vip", "nat tuple in use");
    assert_eq!(vip_counts(&harness, 1)[1], 1);
}

#[test]
fn a_flow_to_another_vip_of_the_same_service_is_kept_clear_of() {
    const PORTS: std::ops::Range<u16> = 6000..6020;
    let mut world = balanced_world();
    let other = world.balanced.add_vip(VIP, Protocol::Udp, 20001, 3307);
    for server in SERVERS {
        world.balanced.add_server(other, server);
    }
    let mut harness = Harness::new(world);
    let there = |port| from_client(PacketBuilder::udp((CLIENT, port), (VIP, 20001)).data([7; 12]));
    let servers: Vec<Ipv4Addr> = PORTS
        .map(|port| destination(&harness.forward(CLIENT_LINK, &there(port).build()).1))
        .collect();
    let mut harness = prepared(harness);
    PORTS.for_each(|port| harness.arrive(CLIENT_LINK, &udp(port).build()));
    for ((_, frame), server) in harness.turn().iter().zip(servers) {
        assert_ne!(destination(frame), server);
    }
}

/// Known flows that had to go to their second buckets look like new ones at first, the more so as there is
/// room in their first buckets by now.
#[test]
fn known_flows_in_second_buckets_stay_where_they_are_among_new_ones() {
    for key in 0..20 {
        let mut harness = prepared(harness_with_table(16, key));
        // They expire before the others.
        (5001..5030).for_each(|port| drop(harness.forward(CLIENT_LINK, &udp(port).build())));
        harness.wait(30);
        let known = 6000..6007;
        let frames: Vec<_> =
            known.clone().map(|port| harness.forward(CLIENT_LINK, &udp(port).build()).1).collect();
        harness.wait(30);
        // Three new ones before each of them.
        for port in known.flat_map(|port| [port + 1000, port + 2000, port + 3000, port]) {
            harness.arrive(CLIENT_LINK, &udp(port).build());
        }
        let sent = harness.turn();
        // The known ones are every fourth.
        for ((_, frame), before) in sent.iter().skip(3).step_by(4).zip(&frames) {
            assert_eq!(frame, before, "{key}");
        }
        assert_eq!(on_the_express_way(&harness), 30 + 7 + 28, "{key}");
        assert_eq!(vip_counts(&harness, 1), [7, 30 + 7 + 21, 0, 0], "{key}");
    }
}

/// Flows that begin when earlier ones of their AS were flushed are not taken for those.
#[test]
fn flows_begin_in_the_present_epoch_of_their_servers() {
    let mut harness = prepared(balanced_harness());
    for id in 0..harness.world.balanced.servers().len() {
        harness.world.balanced.server(AsId::new(id as u32).unwrap()).epoch = 3;
    }
    harness.publish();
    harness.forward(CLIENT_LINK, &udp(5000).build());
    for counts in [[0, 12, 0, 0], [10, 12, 0, 0]] {
        (6000..6010).for_each(|port| harness.arrive(CLIENT_LINK, &udp(port).build()));
        assert_eq!(harness.turn().len(), 10);
        assert_eq!(vip_counts(&harness, 1), counts);
    }
}

/// There is room beside their old entries, but a flow has one entry.
#[test]
fn flows_that_were_flushed_get_their_own_entries_again() {
    for key in 0..20 {
        let mut harness = harness_with_table(64, key);
        harness.shared().hold_sweep(true);
        // New ones, and behind them always the same.
        let mut send = |new: std::ops::Range<u16>, epoch| {
            for id in 0..harness.world.balanced.servers().len() {
                harness.world.balanced.server(AsId::new(id as u32).unwrap()).epoch = epoch;
            }
            harness.publish_with_peers(&[]);
            for ports in [5000..5001, new, 6000..6012] {
                ports.for_each(|port| harness.arrive(CLIENT_LINK, &udp(port).build()));
                harness.turn();
            }
            (harness.worker.state.sticky.used(), vip_counts(&harness, 1))
        };
        assert_eq!(send(7000..7012, 0), (25, [0, 25, 0, 0]));
        assert_eq!(send(8000..8012, 1), (37, [0, 50, 0, 0]));
        assert_eq!(send(8000..8012, 1), (37, [25, 50, 0, 0]));
    }
}

/// A connection that another worker knows stays where it is, though the new-flow table has changed.
#[test]
fn what_another_worker_knows_is_asked_for() {
    let tcp = |port, flags| {
        from_client(PacketBuilder::tcp((CLIENT, port), (VIP, 8080), flags).data([7; 12])).build()
    };
    let mut there = balanced_harness();
    let mut here = balanced_harness();
    here.publish_with_peers(&[Arc::clone(there.worker.state.sticky.table())]);
    here.forward(CLIENT_LINK, &tcp(5000, ACK));
    for port in 6000..6010 {
        there.forward(CLIENT_LINK, &tcp(port, ACK));
        here.arrive(CLIENT_LINK, &tcp(port, ACK));
    }
    here.turn();
    assert_eq!(vip_counts(&there, 0), [0, 10, 0, 0]);
    assert_eq!(vip_counts(&here, 0), [10, 1, 0, 0]);
}

/// So many ASs are remembered: of two whose numbers differ by that, one makes room for the other.
#[test]
fn flows_of_ass_that_take_each_others_place_stay_where_they_are() {
    let mut world = world();
    let vip = world.balanced.add_vip(VIP, Protocol::Udp, 20000, 3307);
    let others = world.balanced.add_vip(HOST, Protocol::Udp, 20000, 3307);
    world.balanced.vip(others).length = TableLength::new(4099).expect("a prime");
    let add = |world: &mut World, server| {
        world.add_neighbor(SERVER_LINK, server, server_mac(server));
        world.balanced.add_server(vip, server)
    };
    let first = add(&mut world, SERVERS[0]);
    for number in 1..4096 {
        world.balanced.add_server(others, Ipv4Addr::from_bits(0x0a63_0000 + number));
    }
    let second = add(&mut world, SERVERS[1]);
    assert_eq!(second.get() - first.get(), 4096);
    let mut harness = Harness::new(world);
    let ports = 6000..6020;
    let ways: Vec<Ipv4Addr> = ports
        .clone()
        .map(|port| destination(&harness.forward(CLIENT_LINK, &udp(port).build()).1))
        .collect();
    assert!(SERVERS.iter().all(|server| ways.contains(server)));
    let before = on_the_express_way(&harness);
    for port in ports {
        harness.arrive(CLIENT_LINK, &udp(port).build());
    }
    let sent = harness.turn();
    assert_eq!(sent.iter().map(|(_, frame)| destination(frame)).collect::<Vec<_>>(), ways);
    assert_eq!(on_the_express_way(&harness), before + 20);
    // The same of flows that begin at once.
    let ports = 7000..7020;
    ports.clone().for_each(|port| harness.arrive(CLIENT_LINK, &udp(port).build()));
    let sent = harness.turn();
    let ways: Vec<Ipv4Addr> = sent.iter().map(|(_, frame)| destination(frame)).collect();
    assert!(SERVERS.iter().all(|server| ways.contains(server)));
    for (port, way) in ports.zip(ways) {
        let (_, frame) = harness.forward(CLIENT_LINK, &udp(port).build());
        assert_eq!(destination(&frame), way, "{port}");
    }
}
