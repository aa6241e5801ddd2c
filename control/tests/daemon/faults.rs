//! Links go away and come back under traffic.

use control::runtime::hardware::KernelSide;
use dataplane::interface::{MacAddress, PortId};
use testkit::packet_builder::{PacketBuilder, arp};

use crate::bench::{Bench, LEFT_MAC, NEW_MAC, RIGHT_MAC, SERVER_MAC};

const CLIENT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 2, 1]);

/// The port of [`crate::bench::RIGHT`], behind which the servers are.
const RIGHT_PORT: PortId = PortId(1);

/// What the kernel has behind the servers' port; nobody has looked before this.
fn kernel(bench: &mut Bench, side: KernelSide) {
    bench.kernel.borrow_mut().insert(RIGHT_PORT, side);
    // One look; the workers hear of it; what control has to say then.
    for _ in 0..3 {
        bench.pass(200);
    }
}

const fn present(index: u32, running: bool) -> KernelSide {
    KernelSide::Present { index, running }
}

/// A VIP with one AS whose address is known.
fn served() -> Bench {
    let mut bench = Bench::walkthrough();
    bench.ok("lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 del");
    server_answers(&mut bench, SERVER_MAC, RIGHT_MAC);
    kernel(&mut bench, present(7, true));
    bench.sent(1);
    bench
}

fn server_answers(bench: &mut Bench, mac: MacAddress, to: MacAddress) {
    let reply = arp(false, (mac, [192, 168, 1, 1].into()), (to, [192, 168, 1, 254].into()));
    bench.arrive(1, &reply);
}

/// A client's packet to the VIP; what leaves towards the servers.
fn request(bench: &mut Bench, port: u16) -> Vec<Vec<u8>> {
    let tcp = PacketBuilder::tcp(([10, 10, 10, 1], port), ([10, 10, 2, 2], 8080), 2);
    bench.arrive(0, &tcp.macs(LEFT_MAC, CLIENT_MAC).build());
    let mut sent = bench.sent(1);
    sent.retain(|frame| frame[12..14] == [8, 0]);
    sent
}

fn asks(frames: &[Vec<u8>], target: [u8; 4]) -> bool {
    frames.iter().any(|frame| frame[12..14] == [8, 6] && frame[38..42] == target)
}

#[test]
fn packets_for_a_link_that_is_down_are_dropped_with_a_reason_until_it_is_up() {
    let mut bench = served();
    assert_eq!(request(&mut bench, 1).len(), 1);
    kernel(&mut bench, present(7, false));
    assert!(bench.ok("show interface").contains("  link down\n"));
    for port in 2..5 {
        assert!(request(&mut bench, port).is_empty());
    }
    let errors = bench.control.errors().errors;
    let row = errors.iter().find(|error| error.reason == "link is down").unwrap();
    // Three of the client's, and what control asks in vain.
    assert!(row.node == "interface-output" && row.count >= 3, "{row:?}");
    bench.sent(1);
    kernel(&mut bench, present(7, true));
    let sent = bench.sent(1);
    assert!(asks(&sent, [192, 168, 1, 1]), "the server may be another now: {sent:02x?}");
    assert!(asks(&sent, [192, 168, 1, 254]), "it may have forgotten us: {sent:02x?}");
    assert!(!bench.ok("show interface").contains("  link "));
    assert_eq!(request(&mut bench, 5).len(), 1, "it goes on with what it knew");
    bench.end();
}

#[test]
fn an_interface_that_was_made_anew_is_opened_anew() {
    let mut bench = served();
    kernel(&mut bench, KernelSide::Gone);
    assert!(bench.ok("show interface").contains("  link lost\n"));
    assert!(request(&mut bench, 1).is_empty());
    kernel(&mut bench, present(9, true));
    // The workers give up their queues, then take the new ones.
    (0..4).for_each(|_| bench.pass(200));
    assert!(!bench.ok("show interface").contains("  link "), "{}", bench.ok("show interface"));
    let told = bench.sent(1);
    let own = told.iter().find(|frame| frame[28..32] == [192, 168, 1, 254]).unwrap();
    assert_eq!(own[6..12], NEW_MAC.0, "the new interface has an address of its own");
    server_answers(&mut bench, SERVER_MAC, NEW_MAC);
    let sent = request(&mut bench, 2);
    assert_eq!((sent.len(), &sent[0][6..12]), (1, &NEW_MAC.0[..]));
    // The same again, as nothing of the first time is left.
    kernel(&mut bench, present(11, true));
    (0..4).for_each(|_| bench.pass(200));
    assert!(!bench.ok("show interface").contains("  link "));
    bench.end();
}

#[test]
fn the_other_ports_go_on_when_one_cannot_be_opened_anew() {
    let mut bench = served();
    let left = PortId(0);
    bench.kernel.borrow_mut().insert(left, present(3, true));
    (0..2).for_each(|_| bench.pass(200));
    bench.kernel.borrow_mut().insert(left, present(4, true));
    (0..30).for_each(|_| bench.pass(200));
    assert!(bench.ok("show interface").contains("  link lost\n"));
    // It can be seen, and what still comes in by it gets through.
    assert_eq!(request(&mut bench, 1).len(), 1);
    bench.end();
}
