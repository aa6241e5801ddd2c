use dataplane::interface::QueueId;
use testkit::harness::Harness;

use crate::plan::{CLIENT_LINK, SERVER_LINK, from_host, harness, transit, world};

#[test]
fn counts_what_arrives() {
    let mut harness = harness();
    let frame = transit().build();
    harness.arrive(CLIENT_LINK, &frame);
    harness.arrive(CLIENT_LINK, &frame);
    assert_eq!(harness.turn().len(), 2);
    let stats = &harness.shared().interfaces[CLIENT_LINK.index()];
    assert_eq!((stats.rx_packets.get(), stats.rx_bytes.get()), (2, 2 * frame.len() as u64));
    assert_eq!(stats.ip4.get(), 2);
    let stats = &harness.shared().interfaces[SERVER_LINK.index()];
    assert_eq!((stats.tx_packets.get(), stats.tx_bytes.get()), (2, 2 * frame.len() as u64));
}

#[test]
fn interface_down() {
    let mut world = world();
    world.interface(CLIENT_LINK).up = false;
    let mut harness = Harness::new(world);
    harness.expect_drop(CLIENT_LINK, &transit().build(), "dpdk-input", "interface is down");
}

#[test]
fn one_queue_cannot_starve_another() {
    let mut harness = harness();
    // More than a frame on the first queue for two turns; one packet on the second.
    for _ in 0..600 {
        harness.arrive(CLIENT_LINK, &transit().build());
    }
    let other = transit().macs(testkit::world::World::mac(SERVER_LINK), Default::default());
    let packet = harness.worker.io.pool.packet(&from_host(other).build());
    harness.worker.io.arrive(Harness::port(SERVER_LINK), QueueId(0), packet);
    let rx = |harness: &Harness, id: dataplane::interface::InterfaceId| {
        harness.shared().interfaces[id.index()].rx_packets.get()
    };
    harness.turn();
    harness.turn();
    assert_eq!(rx(&harness, SERVER_LINK), 1);
    assert_eq!(rx(&harness, CLIENT_LINK), 511);
    harness.turn();
    assert_eq!(rx(&harness, CLIENT_LINK), 600);
}
