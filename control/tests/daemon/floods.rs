//! Floods of what is answered or looked into beside the way of ordinary packets: they neither keep
//! traffic of VIPs nor control from going on, and nothing grows with them.

use std::net::Ipv4Addr;

use dataplane::interface::{MacAddress, PortId, QueueId};
use dataplane::worker::NEIGHBOR_EVENTS_PER_SECOND;
use testkit::packet_builder::{PacketBuilder, arp, neighbor_solicitation};

use crate::bench::{Bench, LEFT_MAC, RIGHT_MAC, SERVER_MAC};

/// Packets of a flood.
const FLOOD: u32 = 100_000;
/// Of a frame's 256 packets, one is a client's.
const PER_TURN: u32 = 255;
/// Turns that workers take while control takes one, which takes up 1024 events.
const TURNS_PER_PUMP: u32 = 4;

const CLIENT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 2, 1]);
const OURS: [u8; 4] = [10, 255, 255, 254];

/// A VIP with one AS, and a link to clients with room for very many neighbours.
fn served() -> Bench {
    let mut bench = Bench::new(1);
    bench.all(&[
        "set interface ip address left0 10.255.255.254/8",
        "set interface ip address left0 2001:db8::ffff/64",
        "set interface state left0 up",
        "set interface ip address GigabitEthernet0/9/0 192.168.1.254/24",
        "set interface state GigabitEthernet0/9/0 up",
        "lb conf no-match rst",
        "lb vip 90.1.2.3/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80",
        "lb as 90.1.2.3/32 protocol tcp port 8080 192.168.1.1",
    ]);
    answer(&mut bench, 1);
    bench
}

/// AS 192.168.1.`last` tells where it is.
fn answer(bench: &mut Bench, last: u8) {
    let reply = arp(
        false,
        (SERVER_MAC, [192, 168, 1, last].into()),
        (RIGHT_MAC, [192, 168, 1, 254].into()),
    );
    bench.arrive(1, &reply);
}

fn arrive(bench: &mut Bench, frame: &[u8]) {
    let io = &mut bench.workers[0].io;
    let packet = io.pool.packet(frame);
    io.arrive(PortId(0), QueueId(0), packet);
}

/// Address of the `n`th stranger in 10.0.0.0/8.
fn stranger(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0100 + n)
}

/// Lets the flood and a client's packets in, in the same frames. Every packet of the client's must
/// get to the AS.
fn flood(bench: &mut Bench, frame: impl Fn(u32) -> Vec<u8>) {
    let turns = FLOOD / PER_TURN;
    let mut forwarded = 0;
    for turn in 0..turns {
        for n in turn * PER_TURN..(turn + 1) * PER_TURN {
            arrive(bench, &frame(n));
        }
        let client = ([172, 16, 0, 1], 1024 + turn as u16);
        let tcp = PacketBuilder::tcp(client, ([90, 1, 2, 3], 8080), 0x10);
        arrive(bench, &tcp.macs(LEFT_MAC, CLIENT_MAC).build());
        bench.workers[0].turn();
        let sent = bench.sent(1);
        forwarded += sent.iter().filter(|frame| frame[12..14] == [8, 0]).count();
        bench.sent(0);
        if turn % TURNS_PER_PUMP == 0 {
            bench.turn();
            assert!(bench.ok("show lb").contains("#vips: 1"));
        }
    }
    assert_eq!(forwarded, turns as usize);
    // A turn has room for all that came in it.
    assert_eq!(bench.workers[0].turn(), 0);
    for _ in 0..5 {
        bench.pass(1_000);
    }
    bench.sent(0);
    bench.sent(1);
}

fn neighbors(bench: &Bench) -> usize {
    bench.control.neighbor_list(|_| true).neighbors.len()
}

fn counted(bench: &mut Bench, reason: &str) -> u64 {
    let errors = bench.control.errors().errors;
    errors.iter().filter(|error| error.reason == reason).map(|error| error.count).sum()
}

#[test]
fn a_flood_of_arp_requests_from_strangers() {
    let mut bench = served();
    flood(&mut bench, |n| {
        arp(true, (CLIENT_MAC, stranger(n)), (MacAddress::default(), OURS.into()))
    });
    let most = NEIGHBOR_EVENTS_PER_SECOND as usize + 10;
    assert!((500..most).contains(&neighbors(&bench)), "{} neighbours", neighbors(&bench));
    let limited = counted(&mut bench, "neighbor event rate limit exceeded");
    assert!(limited > u64::from(FLOOD) * 9 / 10, "{limited} events were not told");
    bench.end();
}

#[test]
fn who_is_needed_is_heard_among_strangers() {
    let mut bench = served();
    bench.ok("lb as 90.1.2.3/32 protocol tcp port 8080 192.168.1.3");
    for n in 0..2 * NEIGHBOR_EVENTS_PER_SECOND {
        let request = arp(true, (CLIENT_MAC, stranger(n)), (MacAddress::default(), OURS.into()));
        arrive(&mut bench, &request);
        if n % PER_TURN == 0 {
            bench.workers[0].turn();
        }
    }
    for _ in 0..9 {
        bench.workers[0].turn();
    }
    assert!(counted(&mut bench, "neighbor event rate limit exceeded") > 0);
    // In the same second.
    answer(&mut bench, 3);
    assert!(bench.ok("show ip neighbors").contains("192.168.1.3"));
    let known =
        bench.control.neighbor_list(|(_, address)| address == Ipv4Addr::new(192, 168, 1, 3));
    assert!(known.neighbors[0].mac.is_some(), "{known:?}");
    bench.end();
}

#[test]
fn a_flood_of_neighbor_solicitations_from_strangers() {
    let mut bench = served();
    flood(&mut bench, |n| {
        let from = [0x2001, 0xdb8, 0, 0, 1, 0, (n >> 16) as u16, n as u16].into();
        let ours = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xffff].into();
        let mut solicitation = neighbor_solicitation((CLIENT_MAC, from), ours);
        solicitation[..6].copy_from_slice(&LEFT_MAC.0);
        solicitation
    });
    let most = NEIGHBOR_EVENTS_PER_SECOND as usize + 10;
    assert!((500..most).contains(&neighbors(&bench)), "{} neighbours", neighbors(&bench));
    bench.end();
}

#[test]
fn a_scan_of_hosts_that_are_not_there() {
    let mut bench = served();
    flood(&mut bench, |n| {
        let udp = PacketBuilder::udp(([172, 16, 0, 1], 7), (stranger(n), 9));
        udp.macs(LEFT_MAC, CLIENT_MAC).build()
    });
    // All of them failed, and are forgotten after a while.
    let most = NEIGHBOR_EVENTS_PER_SECOND as usize + 10;
    assert!(neighbors(&bench) < most, "{} neighbours", neighbors(&bench));
    bench.end();
}

#[test]
fn a_flood_of_what_gets_an_error_a_reset_or_an_echo() {
    let mut bench = served();
    let client = [172, 16, 0, 1];
    let ttl = PacketBuilder::udp((client, 7), ([11, 0, 0, 1], 9)).ttl(1);
    let reset = PacketBuilder::tcp((client, 7), ([90, 1, 2, 3], 9), 2);
    let echo = PacketBuilder::icmp(client, OURS, (8, 0), [0, 1, 0, 1]);
    let answer = PacketBuilder::icmp(client, OURS, (0, 0), [0, 1, 0, 1]);
    let frames = [ttl, reset, echo, answer].map(|one| one.macs(LEFT_MAC, CLIENT_MAC).build());
    for frame in &frames {
        flood(&mut bench, |_| frame.clone());
    }
    for reason in
        ["icmp error rate limit exceeded", "reset rate limit exceeded", "echo rate limit exceeded"]
    {
        assert!(counted(&mut bench, reason) > u64::from(FLOOD) / 2, "{reason}");
    }
    bench.end();
}
