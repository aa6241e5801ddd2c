use std::net::{IpAddr, Ipv4Addr};

use dataplane::event::Event;
use dataplane::interface::MacAddress;
use testkit::harness::Harness;
use testkit::packet_builder::arp;
use testkit::world::World;

use crate::plan::{
    CLIENT, CLIENT_LINK, CLIENT_MAC, OUR_CLIENT_SIDE, OUR_SERVER_SIDE, harness, world,
};

const NODE: &str = "arp-input";
const NOBODY: MacAddress = MacAddress([0; 6]);
const NEIGHBOR: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 77);
const NEIGHBOR_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 77]);

fn our_mac() -> MacAddress {
    World::mac(CLIENT_LINK)
}

fn seen(harness: &mut Harness) -> Option<(Ipv4Addr, MacAddress)> {
    match harness.event() {
        Some(Event::NeighborSeen { interface: CLIENT_LINK, address: IpAddr::V4(address), mac }) => {
            Some((address, mac))
        }
        None => None,
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn answers_for_the_interface_address() {
    let mut harness = harness();
    let request = arp(true, (CLIENT_MAC, CLIENT), (NOBODY, OUR_CLIENT_SIDE));
    let reply = arp(false, (our_mac(), OUR_CLIENT_SIDE), (CLIENT_MAC, CLIENT));
    assert_eq!(harness.receive(CLIENT_LINK, &request), [(CLIENT_LINK, reply)]);
    assert_eq!(harness.counter(NODE, "ARP replies sent"), 1);
    // The client is known with this address: no news.
    assert_eq!(seen(&mut harness), None);
}

#[test]
fn answers_probes_and_learns_nothing_from_them() {
    let mut harness = harness();
    let probe = arp(true, (NEIGHBOR_MAC, Ipv4Addr::UNSPECIFIED), (NOBODY, OUR_CLIENT_SIDE));
    assert_eq!(harness.receive(CLIENT_LINK, &probe).len(), 1);
    assert_eq!(seen(&mut harness), None);
}

#[test]
fn does_not_answer_for_other_interfaces_or_hosts() {
    let mut harness = harness();
    for target in [OUR_SERVER_SIDE, NEIGHBOR] {
        let request = arp(true, (CLIENT_MAC, CLIENT), (NOBODY, target));
        assert_eq!(harness.receive(CLIENT_LINK, &request), []);
    }
    assert_eq!(harness.counter(NODE, "ARP message for another station"), 2);
    assert_eq!(harness.drops(CLIENT_LINK), 0);
}

#[test]
fn learns_from_requests_to_us() {
    let mut harness = harness();
    let request = arp(true, (NEIGHBOR_MAC, NEIGHBOR), (NOBODY, OUR_CLIENT_SIDE));
    harness.receive(CLIENT_LINK, &request);
    assert_eq!(seen(&mut harness), Some((NEIGHBOR, NEIGHBOR_MAC)));
}

#[test]
fn tells_of_every_reply_to_us() {
    let mut harness = harness();
    // Known with this very address, but the reply may be the answer to a probe.
    let reply = arp(false, (CLIENT_MAC, CLIENT), (our_mac(), OUR_CLIENT_SIDE));
    assert_eq!(harness.receive(CLIENT_LINK, &reply), []);
    assert_eq!(seen(&mut harness), Some((CLIENT, CLIENT_MAC)));
    assert_eq!(harness.counter(NODE, "ARP replies received"), 1);
}

#[test]
fn follows_a_known_neighbor_but_not_strangers() {
    let mut harness = harness();
    // A gratuitous announcement of the known client with a new address, and one of a stranger.
    let moved = arp(true, (NEIGHBOR_MAC, CLIENT), (NOBODY, CLIENT));
    harness.receive(CLIENT_LINK, &moved);
    assert_eq!(seen(&mut harness), Some((CLIENT, NEIGHBOR_MAC)));
    harness.receive(CLIENT_LINK, &arp(true, (NEIGHBOR_MAC, NEIGHBOR), (NOBODY, NEIGHBOR)));
    assert_eq!(seen(&mut harness), None);
}

#[test]
fn malformed_messages() {
    let mut harness = harness();
    let good = arp(true, (CLIENT_MAC, CLIENT), (NOBODY, OUR_CLIENT_SIDE));
    for len in [14, 41] {
        harness.expect_drop(CLIENT_LINK, &good[..len], NODE, "ARP message truncated");
    }
    let with = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        frame
    };
    harness.expect_drop(CLIENT_LINK, &with(15, 6), NODE, "L2 type not ethernet");
    harness.expect_drop(CLIENT_LINK, &with(18, 8), NODE, "L2 type not ethernet");
    harness.expect_drop(CLIENT_LINK, &with(16, 0x86), NODE, "L3 type not IP4");
    harness.expect_drop(CLIENT_LINK, &with(19, 16), NODE, "L3 type not IP4");
    for operation in [0, 3] {
        let frame = with(21, operation);
        harness.expect_drop(CLIENT_LINK, &frame, NODE, "ARP opcode not request or reply");
    }
    let text = "ARP sender hardware address invalid";
    harness.expect_drop(CLIENT_LINK, &with(22, 0x03), NODE, text);
    let nobody = arp(true, (NOBODY, CLIENT), (NOBODY, OUR_CLIENT_SIDE));
    harness.expect_drop(CLIENT_LINK, &nobody, NODE, text);
}

#[test]
fn conflicts_and_echoes_of_our_own() {
    let mut harness = harness();
    for address in [OUR_CLIENT_SIDE, OUR_SERVER_SIDE] {
        let stolen = arp(true, (NEIGHBOR_MAC, address), (NOBODY, address));
        let text = "IP4 source address matches local interface";
        harness.expect_drop(CLIENT_LINK, &stolen, NODE, text);
    }
    let looped = arp(true, (our_mac(), OUR_CLIENT_SIDE), (NOBODY, OUR_CLIENT_SIDE));
    harness.expect_drop(CLIENT_LINK, &looped, NODE, "ARP message of our own received");
    assert_eq!(seen(&mut harness), None);
}

#[test]
fn senders_must_be_on_link() {
    let mut harness = harness();
    let off_link = arp(true, (NEIGHBOR_MAC, Ipv4Addr::new(9, 9, 9, 9)), (NOBODY, OUR_CLIENT_SIDE));
    let text = "ARP sender address not on a connected network";
    harness.expect_drop(CLIENT_LINK, &off_link, NODE, text);
    assert_eq!(seen(&mut harness), None);
}

#[test]
fn a_flood_of_news_is_limited_and_does_not_hide_who_is_known() {
    let mut harness = Harness::new(world());
    for n in 0..1200_u16 {
        let [high, low] = n.to_be_bytes();
        let address = Ipv4Addr::new(10, 10, 10, 2 + (n % 250) as u8);
        let sender = (MacAddress([2, 7, 7, 7, high, low]), address);
        harness.receive(CLIENT_LINK, &arp(true, sender, (NOBODY, OUR_CLIENT_SIDE)));
    }
    let mut events = 0;
    while harness.event().is_some() {
        events += 1;
    }
    assert_eq!(events, 1000);
    assert_eq!(harness.shared().rare.events_limited.get(), 200);
    // In the same second, from the client that has an adjacency already.
    let moved = (MacAddress([2, 7, 7, 7, 7, 7]), CLIENT);
    harness.receive(CLIENT_LINK, &arp(true, moved, (NOBODY, OUR_CLIENT_SIDE)));
    assert!(harness.event().is_some());
}
