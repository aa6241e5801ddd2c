//! Packets whose end only the balance shows: the harness asks for it when it goes.

use balancer::Ports;
use dataplane::forwarding::{Method, TooBig};
use testkit::harness::Harness;
use testkit::packet_builder::PacketBuilder;

use crate::malformed::full_world;
use crate::plan::{CLIENT_LINK, SERVER_LINK};
use crate::services::{arriving, client, server, service, vip};

/// TCP of so many bytes in all to a port of the VIP, which may be fragmented.
fn large(port: u16, source_port: u16, len: usize) -> Vec<u8> {
    let tcp = PacketBuilder::tcp((client(false), source_port), (vip(false), port), 0x10);
    arriving(tcp.data(vec![7; len - 40]))
}

#[test]
fn fragments_towards_a_link_that_is_down_are_dropped_and_counted() {
    let mut world = service(Ports::All, false, false, Method::Gre);
    world.interface(SERVER_LINK).mtu = 1290;
    world.interface(SERVER_LINK).up = false;
    world.tunnel_policy.too_big = TooBig::Fragment;
    let mut harness = Harness::new(world);
    assert_eq!(harness.receive(CLIENT_LINK, &large(80, 7, 1280)), []);
    assert_eq!(harness.counter("lb4-gre4", "interface is down"), 2);
    assert_eq!(harness.drops(CLIENT_LINK), 2);
    let balance = harness.balance();
    assert_eq!((balance.originated.total(), balance.consumed.total()), (2, 1));
    assert_eq!((balance.dropped.total(), balance.missing()), (2, 0));
}

#[test]
fn fragments_that_overflow_a_frame_are_dropped_and_counted() {
    let mut world = full_world();
    world.interface(SERVER_LINK).mtu = 1290;
    world.forget_neighbor(SERVER_LINK, server(false));
    let mut harness = Harness::new(world);
    // Three nodes make 120 fragments each, and hand them to one that takes 256 at once.
    for source_port in 1..=60 {
        for port in [1, 3, 5] {
            harness.arrive(CLIENT_LINK, &large(port, source_port, 1280));
        }
    }
    assert_eq!(harness.turn(), []);
    let overflowed = harness.shared().rare.overflowed.get();
    assert_eq!(overflowed, 360 - 256);
    let held = harness.counter("ip4-arp", "packets held for a neighbor");
    let full = harness.counter("ip4-arp", "hold queue of the next hop full");
    assert_eq!((held + full, harness.drops(CLIENT_LINK)), (256, overflowed + full));
    assert_eq!(harness.balance().held.total(), held as i64);
    harness.wait(3);
    harness.turn();
    assert_eq!(harness.balance().held.total(), 0);
}
