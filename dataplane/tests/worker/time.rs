//! Time that wraps, leaps and goes back.

use std::net::Ipv4Addr;

use balancer::Protocol;
use dataplane::clock::Clock;
use dataplane::interface::{InterfaceId, MacAddress};
use testkit::harness::Harness;
use testkit::packet_builder::{PacketBuilder, validated};
use testkit::virtual_clock::VirtualClock;
use testkit::world::World;

const CLIENT_LINK: InterfaceId = InterfaceId(1);
const SERVER_LINK: InterfaceId = InterfaceId(2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Longer than any timeout that can be configured.
const NINE_HOURS: u32 = 9 * 3600 + 400;

fn add_server(world: &mut World, last: u8) {
    let vip = balancer::VipId::new(0).unwrap();
    let address = Ipv4Addr::new(192, 168, 1, last);
    world.add_neighbor(SERVER_LINK, address, MacAddress([2, 0, 0, 0, 0, last]));
    world.balanced.add_server(vip, address);
}

/// A worker in this second, with established flows; gives where they go.
fn harness(second: u32) -> (Harness, Vec<Ipv4Addr>) {
    let mut world = World::new();
    world.add_interface(&[(Ipv4Addr::new(10, 0, 0, 254), 24)]);
    world.add_interface(&[(Ipv4Addr::new(192, 168, 1, 254), 24)]);
    world.balanced.add_vip(VIP, Protocol::Tcp, 80, 80);
    (1..=4).for_each(|last| add_server(&mut world, last));
    let mut harness = Harness::new(world);
    harness.worker.clock = VirtualClock::at(second);
    harness.turn();
    let servers = servers(&mut harness, SYN);
    assert_eq!(self::servers(&mut harness, ACK), servers);
    // From now on the new-flow table says something else.
    (5..=12).for_each(|last| add_server(&mut harness.world, last));
    harness.publish();
    (harness, servers)
}

/// Where a packet of each flow goes.
fn servers(harness: &mut Harness, flags: u8) -> Vec<Ipv4Addr> {
    let macs = (World::mac(CLIENT_LINK), MacAddress([2, 0, 0, 0, 9, 9]));
    let one = |port| {
        let packet = PacketBuilder::tcp((CLIENT, port), (VIP, 80), flags).macs(macs.0, macs.1);
        let (interface, sent) = harness.forward(CLIENT_LINK, &packet.build());
        assert_eq!(interface, SERVER_LINK);
        validated(&sent).dst_addr()
    };
    (1000..1040).map(one).collect()
}

#[test]
fn flows_outlive_every_wrap_of_the_seconds() {
    // Of the 16 bits that entries have, in the midst of them, and of the 32 of the clock.
    for second in [65_536 - 300, 32_768 - 300, 3 * 65_536 - 300, u32::MAX - 300, u32::MAX] {
        let (mut harness, before) = harness(second);
        for _ in 0..6 {
            harness.wait(100);
            assert_eq!(servers(&mut harness, ACK), before, "from {second}");
        }
        // And they end when their time has come.
        harness.wait(2000);
        (0..100).for_each(|_| drop(harness.turn()));
        assert_eq!(harness.worker.state.sticky.used(), 0, "from {second}");
    }
}

#[test]
fn a_clock_that_goes_back_costs_no_flow() {
    let (mut harness, before) = harness(100_000);
    for back in [1, 100, 5000] {
        let now_s = harness.worker.clock.now().tick_s;
        harness.worker.clock = VirtualClock::at(now_s - back);
        assert_eq!(servers(&mut harness, ACK), before, "{back} seconds back");
        assert_eq!(harness.worker.state.sticky.used(), 40);
    }
}

#[test]
fn after_a_leap_of_hours_no_flow_is_taken_for_alive() {
    // Modulo 65 536 seconds their expiry lies ahead again after the leap.
    for leap in [NINE_HOURS, 40_000, 65_536, 65_536 + 10, 1_000_000] {
        let (mut harness, before) = harness(100_000);
        harness.wait(leap);
        assert_ne!(servers(&mut harness, ACK), before, "{leap} seconds");
        let stats = &harness.shared().vips[0];
        assert_eq!(stats.first.get(), 80, "{leap} seconds: all of them are new");
        assert_eq!(harness.worker.state.sticky.used(), 40);
    }
}

#[test]
fn counters_wrap_and_nothing_else_happens() {
    let (mut harness, before) = harness(5);
    let shared = &harness.worker.state.shared;
    shared.turns.set(u64::MAX - 10);
    shared.vips[0].existing.set(u64::MAX - 10);
    let interface = &shared.interfaces[CLIENT_LINK.index()];
    interface.rx_bytes.set(u64::MAX - 10);
    let nodes = &shared.nodes;
    nodes.iter().for_each(|node| node.clocks.set(u64::MAX - 10));
    assert_eq!(servers(&mut harness, ACK), before);
    let shared = &harness.worker.state.shared;
    assert_eq!(shared.vips[0].existing.get(), 40 - 11);
    let bytes = shared.interfaces[CLIENT_LINK.index()].rx_bytes.get();
    assert!((40 * 40..40 * 100).contains(&bytes), "{bytes}");
}
