//! Fewer workers than before, and more.

use std::net::Ipv4Addr;

use testkit::packet_builder::PacketBuilder;

use super::{
    ACK, CLIENT, FLOWS, Place, SYN, TOTAL, all_flows, counts, daemon, open_flows, packet, reply,
    situation, state_line, sweep, where_to,
};
use crate::bench::{CLIENT_MAC, LEFT_MAC};

/// A client's packet of TCP or UDP to the GRE VIP.
fn to_gre(port: u16, udp: bool) -> Vec<u8> {
    if !udp {
        return packet("10.10.2.3", port, ACK);
    }
    let to = Ipv4Addr::new(10, 10, 2, 3);
    PacketBuilder::udp((CLIENT, port), (to, 8080)).macs(LEFT_MAC, CLIENT_MAC).build()
}

#[test]
fn flows_of_a_worker_that_is_no_more_are_taken_over() {
    let place = Place::new("fewer");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(2, 0), servers);
    for port in 0..FLOWS {
        bench.arrive_at(1, 0, &packet("10.10.2.3", 4000 + port, SYN));
        bench.arrive_at(1, 0, &to_gre(4000 + port, false));
        bench.arrive_at(1, 0, &to_gre(5000 + port, true));
        bench.arrive_at(1, 0, &packet("10.10.3.7", 4000 + port, SYN));
    }
    let flows: Vec<_> =
        (0..FLOWS).map(|port| where_to(&mut bench, "10.10.3.7", 4000 + port)).collect();
    let counted = counts(&bench);
    drop(bench);
    assert_eq!(place.tables().len(), 4);
    let others = "192.168.1.5 192.168.1.7 192.168.1.9 192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(1, 1), others);
    let line = state_line(&mut bench);
    assert!(line.ends_with("60 flows restored, 60 flows in 1 tables without a worker"), "{line}");
    assert_eq!(counts(&bench), counted);
    // Replies first: they are attributed by the table that nobody owns.
    for (port, (_, server)) in (0..).zip(&flows) {
        assert_eq!(reply(&mut bench, server, 4000 + port), Some([10, 10, 3, 7]));
    }
    for port in 0..FLOWS {
        bench.arrive(0, &to_gre(4000 + port, false));
        bench.arrive(0, &to_gre(5000 + port, true));
        bench.arrive(0, &packet("10.10.3.7", 4000 + port, ACK));
    }
    assert_eq!(counts(&bench), counted, "each flow once, with the AS that it had");
    let vips = bench.control.vips().vips;
    assert!(vips.iter().all(|vip| vip.counters.first_session_packets == 0));
    // All were taken over: the table and its files go.
    sweep(&mut bench);
    assert!(state_line(&mut bench).ends_with("60 flows restored"), "{}", state_line(&mut bench));
    assert_eq!(place.tables().len(), 2);
    assert_eq!(bench.control.snapshot().sticky_tables.len(), 1);
    assert_eq!(counts(&bench), counted);
    bench.end();
}

#[test]
fn flows_without_packets_stay_in_a_table_without_a_worker_until_they_expire() {
    let place = Place::new("idle");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(2, 0), servers);
    bench.ok("lb conf tcp-established-timeout 100");
    bench.arrive_at(1, 0, &packet("10.10.2.3", 4000, SYN));
    bench.arrive_at(1, 0, &packet("10.10.2.3", 4000, ACK));
    let flow = where_to(&mut bench, "10.10.2.3", 4000);
    drop(bench);
    // Twice, as the number of workers stays what it is now.
    drop(daemon(&place.0, &situation(1, 10), servers));
    let mut bench = daemon(&place.0, &situation(1, 20), servers);
    sweep(&mut bench);
    assert_eq!(where_to(&mut bench, "10.10.2.3", 4000), flow);
    bench.pass(100_000);
    sweep(&mut bench);
    assert!(counts(&bench).is_empty());
    assert_eq!(place.tables().len(), 2);
    bench.end();
}

#[test]
fn more_workers_begin_empty_and_ask_the_others() {
    let place = Place::new("more");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(1, 0), servers);
    open_flows(&mut bench);
    let flows = all_flows(&mut bench);
    drop(bench);
    let mut bench = daemon(&place.0, &situation(2, 1), "192.168.1.7 192.168.1.3 192.168.1.1");
    assert!(state_line(&mut bench).ends_with(&format!(", {TOTAL} flows restored")));
    assert_eq!(all_flows(&mut bench), flows);
    bench.arrive_at(1, 0, &packet("10.10.2.3", 4000, ACK));
    let vips = bench.control.vips().vips;
    let vip = vips.iter().find(|vip| vip.prefix.starts_with("10.10.2.3")).unwrap();
    let counters = vip.counters;
    assert_eq!(counters.packets_from_existing_sessions, 1);
    assert_eq!(counters.first_session_packets, 0);
    bench.end();
}
