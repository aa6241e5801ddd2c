use std::net::{IpAddr, Ipv4Addr};

use dataplane::event::Event;
use dataplane::interface::MacAddress;
use testkit::harness::Harness;
use testkit::packet_builder::{L2, PacketBuilder};

use crate::plan::{
    CLIENT, CLIENT_LINK, FAR, HOST, SERVER_LINK, from_client, from_host, harness, transit,
};

const NODE: &str = "ip4-arp";
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 77);
const STRANGER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 2, 77]);

fn to(address: Ipv4Addr, data: u8) -> Vec<u8> {
    from_client(PacketBuilder::udp((CLIENT, 1), (address, 2)).data([data])).build()
}

fn needed(harness: &mut Harness) -> Vec<IpAddr> {
    let mut all = Vec::new();
    while let Some(event) = harness.event() {
        match event {
            Event::NeighborNeeded { interface: SERVER_LINK, address } => all.push(address),
            other => panic!("unexpected {other:?}"),
        }
    }
    all
}

#[test]
fn holds_packets_in_order_until_the_neighbor_is_known() {
    let mut harness = harness();
    for data in 0..3 {
        assert_eq!(harness.receive(CLIENT_LINK, &to(STRANGER, data)), []);
    }
    assert_eq!(needed(&mut harness), [STRANGER]);
    assert_eq!(harness.counter(NODE, "packets held for a neighbor"), 3);
    harness.wait(1);
    assert_eq!(harness.turn(), []);
    harness.world.add_neighbor(SERVER_LINK, STRANGER, STRANGER_MAC);
    harness.publish();
    // What arrives in the same turn does not overtake them.
    let sent = harness.receive(CLIENT_LINK, &to(STRANGER, 3));
    assert_eq!(harness.counter(NODE, "held packets released"), 3);
    let order: Vec<u8> = sent.iter().map(|(_, frame)| *frame.last().unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 3]);
    assert!(sent.iter().all(|(interface, _)| *interface == SERVER_LINK));
    assert_eq!(sent[0].1[..6], STRANGER_MAC.0);
    // One hop off, once.
    assert_eq!(sent[0].1[L2 + 8], 63);
}

#[test]
fn a_known_next_hop_that_is_not_resolved_is_asked_for() {
    let mut harness = harness();
    harness.world.forget_neighbor(CLIENT_LINK, CLIENT);
    harness.publish();
    let frame = from_host(PacketBuilder::udp((HOST, 1), (FAR, 2))).build();
    assert_eq!(harness.receive(SERVER_LINK, &frame), []);
    match harness.event() {
        Some(Event::NeighborNeeded { interface, address }) => {
            assert_eq!((interface, address), (CLIENT_LINK, CLIENT.into()));
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn asks_once_per_second() {
    let mut harness = harness();
    for second in 0..3 {
        for _ in 0..4 {
            harness.receive(CLIENT_LINK, &to(STRANGER, 0));
        }
        assert_eq!(needed(&mut harness), [STRANGER], "second {second}");
        harness.wait(1);
    }
}

#[test]
fn gives_up_after_three_seconds() {
    let mut harness = harness();
    harness.receive(CLIENT_LINK, &to(STRANGER, 0));
    harness.wait(2);
    harness.turn();
    assert_eq!(harness.counter(NODE, "neighbor not resolved in time"), 0);
    harness.wait(1);
    harness.turn();
    assert_eq!(harness.counter(NODE, "neighbor not resolved in time"), 1);
    assert_eq!((harness.drops(CLIENT_LINK), harness.outstanding()), (1, 0));
}

#[test]
fn holds_sixty_four_packets_per_next_hop() {
    let mut harness = harness();
    for _ in 0..64 {
        harness.receive(CLIENT_LINK, &to(STRANGER, 0));
    }
    let text = "hold queue of the next hop full";
    assert_eq!(harness.counter(NODE, text), 0);
    harness.receive(CLIENT_LINK, &to(STRANGER, 0));
    assert_eq!(harness.counter(NODE, text), 1);
    assert_eq!(harness.outstanding(), 64);
    // Another next hop has its own share.
    harness.receive(CLIENT_LINK, &to(Ipv4Addr::new(192, 168, 1, 78), 0));
    assert_eq!(harness.counter(NODE, "packets held for a neighbor"), 65);
}

#[test]
fn released_packets_make_room_for_others() {
    let mut harness = harness();
    for _ in 0..3 {
        for _ in 0..64 {
            harness.receive(CLIENT_LINK, &to(STRANGER, 0));
        }
        harness.world.add_neighbor(SERVER_LINK, STRANGER, STRANGER_MAC);
        harness.publish();
        assert_eq!(harness.turn().len(), 64);
        harness.world.forget_neighbor(SERVER_LINK, STRANGER);
        harness.publish();
    }
    assert_eq!(harness.counter(NODE, "held packets released"), 192);
}

#[test]
fn holds_a_thousand_and_twenty_four_packets_in_all() {
    let mut harness = harness();
    for n in 0..1030_u32 {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 1, 10)) + n % 200);
        harness.receive(CLIENT_LINK, &to(address, 0));
    }
    assert_eq!(harness.counter(NODE, "hold queue full"), 6);
    assert_eq!(harness.outstanding(), 1024);
    // All of them time out, more than fit into one frame.
    harness.wait(3);
    for _ in 0..5 {
        harness.turn();
    }
    assert_eq!(harness.counter(NODE, "neighbor not resolved in time"), 1024);
    assert_eq!(harness.outstanding(), 0);
    // And there is room again.
    harness.receive(CLIENT_LINK, &to(STRANGER, 0));
    assert_eq!(harness.outstanding(), 1);
}

#[test]
fn held_packets_are_given_back_when_the_worker_ends() {
    let mut harness = harness();
    harness.receive(CLIENT_LINK, &to(STRANGER, 0));
    harness.receive(CLIENT_LINK, &transit().build());
    harness.worker.finish();
    assert_eq!(harness.outstanding(), 0);
}
