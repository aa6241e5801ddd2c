use dataplane::event::Request;
use dataplane::interface::InterfaceId;
use testkit::harness::Harness;

use crate::plan::{CLIENT_LINK, SERVER_LINK, harness, transit, world};

const NODE: &str = "interface-output";

#[test]
fn interface_down() {
    let mut world = world();
    world.interface(SERVER_LINK).up = false;
    let mut harness = Harness::new(world);
    harness.expect_drop(CLIENT_LINK, &transit().build(), NODE, "interface is down");
}

#[test]
fn no_port() {
    let mut harness = harness();
    for interface in [InterfaceId::LOCAL0, InterfaceId(99)] {
        let packet = harness.worker.io.pool.packet(&transit().build());
        let request = Request::Transmit { interface, packet };
        harness.shared().request(request).expect("room in the mailbox");
        assert_eq!(harness.turn(), []);
    }
    assert_eq!(harness.counter(NODE, "interface is deleted"), 2);
    assert_eq!(harness.outstanding(), 0);
}

#[test]
fn a_full_ring_is_a_transmit_error_and_leaks_nothing() {
    let mut harness = harness();
    harness.worker.io.tx_room = 3;
    for _ in 0..5 {
        harness.arrive(CLIENT_LINK, &transit().build());
    }
    assert_eq!(harness.turn().len(), 3);
    let stats = &harness.shared().interfaces[SERVER_LINK.index()];
    assert_eq!((stats.tx_packets.get(), stats.tx_errors.get()), (3, 2));
    assert_eq!(harness.outstanding(), 0);
}
