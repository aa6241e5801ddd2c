//! Flows outlive the daemon: two daemons, one after the other, over one directory (FEATURES D16,
//! H-05). A daemon that is dropped was killed: it does nothing more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use balancer::HashKey;
use control::state::Situation;
use testkit::packet_builder::PacketBuilder;

use crate::bench::{BUCKETS, Bench, LEFT_MAC, RIGHT_MAC, ROUTED};
use dataplane::interface::MacAddress;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 1);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FLOWS: u16 = 20;

/// TSC clocks of a second.
pub(crate) const HZ: u64 = 1_000;

/// A directory of this test's own, removed with it.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let path = format!("/dev/shm/sluice-state-{}-{name}", std::process::id());
        let _ = std::fs::remove_dir_all(&path);
        Self(path.into())
    }

    /// The files of tables, without the directory.
    pub(crate) fn tables(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "directory").collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A daemon with so many workers, so many seconds after some beginning.
pub(crate) fn situation(workers: usize, second: u64) -> Situation {
    let fingerprint = HashKey::default().fingerprint();
    let fingerprint = u64::from_str_radix(&fingerprint, 16).unwrap();
    let tsc = 1_000_000 + second * HZ;
    Situation { boot_id: 77, tsc_hz: HZ, tsc, fingerprint, workers, buckets: BUCKETS }
}

/// VIPs of every way: the address that clients use, and the commands.
const KINDS: [(&str, &str, &str); 5] = [
    ("10.10.2.2", "10.10.2.2/32 protocol tcp port 8080", "encap nat4 target_port 80"),
    ("10.10.3.7", "10.10.3.0/24 protocol tcp port 8080", "encap nat4"),
    ("10.10.2.3", "10.10.2.3/32", "encap gre4"),
    ("10.10.2.4", "10.10.2.4/32", "encap l3dsr dscp 7"),
    ("2001:db8:90::5", "2001:db8:90::/64", "encap gre4"),
];

/// A configured daemon; its VIPs have these ASs.
fn daemon(dir: &Path, now: &Situation, servers: &str) -> Bench {
    let mut bench = Bench::kept(dir, now).unwrap();
    bench.all(&ROUTED);
    bench.all(&[
        "set interface ip address left0 2001:db8:2::254/64",
        "lb conf ip4-src-address 10.10.10.254",
        "lb set interface nat4 in GigabitEthernet0/9/0",
        "set ip neighbor left0 10.10.10.1 02:00:00:00:00:10 static",
    ]);
    for n in 1..10 {
        bench.ok(&format!(
            "set ip neighbor GigabitEthernet0/9/0 192.168.1.{n} 02:00:00:00:01:0{n} static"
        ));
    }
    for (_, vip, how) in KINDS {
        bench.ok(&format!("lb vip {vip} {how}"));
        bench.ok(&format!("lb as {vip} {servers}"));
    }
    bench.control.settle_state();
    bench
}

fn client_of(vip: &str) -> IpAddr {
    if vip.contains(':') { CLIENT6.into() } else { CLIENT.into() }
}

/// A client's packet to a VIP.
fn packet(vip: &str, port: u16, flags: u8) -> Vec<u8> {
    let to: IpAddr = vip.parse().unwrap();
    PacketBuilder::tcp((client_of(vip), port), (to, 8080), flags)
        .macs(LEFT_MAC, MacAddress([2, 0, 0, 0, 0, 0x10]))
        .build()
}

/// A flow of each kind from each of some ports, established.
fn open_flows(bench: &mut Bench) {
    for (vip, ..) in KINDS {
        for port in 0..FLOWS {
            bench.arrive(0, &packet(vip, 4000 + port, SYN));
            bench.arrive(0, &packet(vip, 4000 + port, ACK));
        }
    }
}

/// Why a flow goes where, and where.
fn where_to(bench: &mut Bench, vip: &str, port: u16) -> (String, String) {
    let path = format!("lb/flow/{}/{port}/{vip}/8080/tcp", client_of(vip));
    let flow: serde_json::Value = serde_json::from_str(&bench.control.api(&path).unwrap()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&flow["why"]), text(&flow["as"]["address"]))
}

fn all_flows(bench: &mut Bench) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (vip, ..) in KINDS {
        found.extend((0..FLOWS).map(|port| where_to(bench, vip, 4000 + port)));
    }
    found
}

/// By VIP and address: the flows that count.
fn counts(bench: &Bench) -> Vec<(String, IpAddr, u64)> {
    let vips = bench.control.vips().vips;
    let mut all: Vec<_> = vips
        .iter()
        .flat_map(|vip| vip.servers.iter().map(|s| (vip.prefix.clone(), s.address, s.flows)))
        .filter(|(.., flows)| *flows > 0)
        .collect();
    all.sort();
    all
}

const TOTAL: u64 = FLOWS as u64 * KINDS.len() as u64;

/// The line of `show lb`.
pub(crate) fn state_line(bench: &mut Bench) -> String {
    let text = bench.ok("show lb");
    let line = text.lines().find_map(|line| line.strip_prefix(" state: "));
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Lets workers and control sweep all they have.
fn sweep(bench: &mut Bench) {
    (0..3 * BUCKETS / 16).for_each(|_| bench.turn());
}

#[test]
fn flows_of_every_kind_go_on_after_a_kill() {
    let place = Place::new("kinds");
    let mut bench = daemon(&place.0, &situation(1, 0), "192.168.1.1 192.168.1.3 192.168.1.5");
    assert!(state_line(&mut bench).ends_with("started empty: the directory is new"));
    open_flows(&mut bench);
    let (flows, counted) = (all_flows(&mut bench), counts(&bench));
    assert!(flows.iter().all(|(why, _)| why == "sticky"), "{flows:?}");
    assert_eq!(counted.iter().map(|(.., flows)| flows).sum::<u64>(), TOTAL);
    drop(bench);
    // ASs in another order, and so many more that the new-flow tables give most flows elsewhere.
    let others = "192.168.1.9 192.168.1.5 192.168.1.8 192.168.1.3 192.168.1.7 192.168.1.1";
    let mut bench = daemon(&place.0, &situation(1, 30), others);
    assert!(state_line(&mut bench).ends_with(&format!(", {TOTAL} flows restored")));
    sweep(&mut bench);
    assert_eq!(all_flows(&mut bench), flows);
    assert_eq!(counts(&bench), counted);
    // They are no new flows, and replies find their way back.
    open_more_packets(&mut bench);
    let vips = bench.control.vips().vips;
    assert!(vips.iter().all(|vip| vip.counters.first_session_packets == 0));
    for port in 0..FLOWS {
        let server = &flows[usize::from(FLOWS + port)].1;
        assert_eq!(reply(&mut bench, server, 4000 + port), Some([10, 10, 3, 7]));
    }
    bench.end();
}

fn open_more_packets(bench: &mut Bench) {
    for (vip, ..) in KINDS {
        (0..FLOWS).for_each(|port| bench.arrive(0, &packet(vip, 4000 + port, ACK)));
    }
}

/// The source that the client sees of a server's reply to the prefix VIP, if it sees one.
fn reply(bench: &mut Bench, server: &str, port: u16) -> Option<[u8; 4]> {
    bench.sent(0);
    let from: Ipv4Addr = server.parse().unwrap();
    let frame = PacketBuilder::tcp((from, 8080), (CLIENT, port), SYN_ACK)
        .macs(RIGHT_MAC, MacAddress([2, 0, 0, 0, 1, 1]))
        .build();
    bench.arrive(1, &frame);
    let sent = bench.sent(0);
    sent.iter().find(|f| f[12..14] == [8, 0]).map(|f| f[26..30].try_into().unwrap())
}

/// Time that passed while no daemon ran counts.
#[test]
fn expiry_goes_on_exactly() {
    let place = Place::new("expiry");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(1, 0), servers);
    bench.ok("lb conf tcp-established-timeout 100");
    open_flows(&mut bench);
    drop(bench);
    let mut bench = daemon(&place.0, &situation(1, 99), servers);
    assert!(state_line(&mut bench).ends_with(&format!(", {TOTAL} flows restored")));
    drop(bench);
    let mut bench = daemon(&place.0, &situation(1, 100), servers);
    assert!(state_line(&mut bench).ends_with(", 0 flows restored"));
    let json: serde_json::Value = serde_json::from_str(&bench.control.api("lb").unwrap()).unwrap();
    assert_eq!(json["state"]["expired"].as_u64(), Some(TOTAL));
    assert_eq!(json["state"]["kept"].as_bool(), Some(true));
    assert!(counts(&bench).is_empty());
    bench.end();
}

#[test]
fn a_server_that_left_the_configuration_keeps_its_flows() {
    let place = Place::new("removed");
    let mut bench = daemon(&place.0, &situation(1, 0), "192.168.1.1 192.168.1.3");
    bench.ok("lb conf tcp-established-timeout 100");
    open_flows(&mut bench);
    // One is removed while it has flows, the other one after the daemon has gone.
    for (_, vip, _) in KINDS {
        bench.ok(&format!("lb as {vip} 192.168.1.3 del"));
        bench.ok(&format!("lb as {vip} 192.168.1.5"));
    }
    let (flows, counted) = (all_flows(&mut bench), counts(&bench));
    drop(bench);
    let mut bench = daemon(&place.0, &situation(1, 10), "192.168.1.7 192.168.1.5");
    sweep(&mut bench);
    bench.pass(1_000);
    assert_eq!(all_flows(&mut bench), flows);
    assert_eq!(counts(&bench), counted);
    for vip in bench.control.vips().vips {
        let removed = vip.servers.iter().filter(|server| server.removed);
        let addresses: Vec<_> = removed.map(|server| server.address.to_string()).collect();
        assert_eq!(addresses, ["192.168.1.1", "192.168.1.3"]);
        let mut indices: Vec<_> = vip.servers.iter().map(|server| server.index).collect();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), vip.servers.len(), "an index of its own each");
    }
    // Who comes back finds its flows; who does not goes when they end.
    for (_, vip, _) in KINDS {
        bench.ok(&format!("lb as {vip} 192.168.1.1"));
    }
    assert_eq!(counts(&bench), counted);
    bench.pass(200_000);
    sweep(&mut bench);
    (0..3).for_each(|_| bench.pass(1_000));
    for vip in bench.control.vips().vips {
        let addresses: Vec<_> = vip.servers.iter().map(|s| s.address.to_string()).collect();
        assert_eq!(addresses.len(), 3, "{addresses:?}");
        assert!(!addresses.contains(&"192.168.1.3".to_owned()), "{addresses:?}");
    }
    bench.end();
}

#[test]
fn a_flush_is_not_undone() {
    let place = Place::new("flush");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(1, 0), servers);
    open_flows(&mut bench);
    bench.ok(&format!("lb flush vip {}", KINDS[0].1));
    bench.ok(&format!("lb vip {} del", KINDS[1].1));
    // Nobody has swept anything yet.
    drop(bench);
    let mut bench = daemon(&place.0, &situation(1, 1), servers);
    let left = TOTAL - 2 * u64::from(FLOWS);
    assert!(state_line(&mut bench).ends_with(&format!(", {left} flows restored")));
    assert!((0..FLOWS).all(|port| where_to(&mut bench, KINDS[0].0, 4000 + port).0 == "table"));
    assert!((0..FLOWS).all(|port| where_to(&mut bench, KINDS[1].0, 4000 + port).0 == "table"));
    assert!((0..FLOWS).all(|port| where_to(&mut bench, KINDS[2].0, 4000 + port).0 == "sticky"));
    bench.end();
}

/// The index of a VIP is in the keys of its flows: nobody else may have it before they are gone.
#[test]
fn a_vip_that_does_not_come_back_leaves_nothing_to_others() {
    let place = Place::new("gone");
    let mut bench = daemon(&place.0, &situation(1, 0), "192.168.1.1 192.168.1.3");
    open_flows(&mut bench);
    drop(bench);
    let mut bench = Bench::kept(&place.0, &situation(1, 1)).unwrap();
    bench.all(&ROUTED);
    // Before everything is configured nothing is swept, and no index is anybody else's.
    sweep(&mut bench);
    bench.pass(1_000);
    let used = |bench: &mut Bench| {
        let json = bench.control.api("lb").unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["workers"][0]["flows"].as_u64().unwrap()
    };
    assert_eq!(used(&mut bench), TOTAL);
    assert_eq!(bench.ok("lb vip 10.10.9.1/32 encap gre4"), "lb_vip_add ok 6");
    bench.ok("lb as 10.10.9.1/32 192.168.1.8");
    assert!(bench.control.vips().vips[0].servers[0].index > 10);
    assert_eq!(bench.ok(&format!("lb vip {} {}", KINDS[2].1, KINDS[2].2)), "lb_vip_add ok 3");
    bench.control.settle_state();
    sweep(&mut bench);
    (0..3).for_each(|_| bench.pass(1_000));
    assert_eq!(used(&mut bench), u64::from(FLOWS), "those of the VIP that came back");
    assert_eq!(bench.ok("lb vip 10.10.9.2/32 encap gre4"), "lb_vip_add ok 1");
    drop(bench);
    // The next one knows of all that.
    let mut bench = Bench::kept(&place.0, &situation(1, 60)).unwrap();
    assert_eq!(bench.ok("lb vip 10.10.9.2/32 encap gre4"), "lb_vip_add ok 1");
    assert_eq!(bench.ok("lb vip 10.10.9.1/32 encap gre4"), "lb_vip_add ok 6");
    assert_eq!(bench.ok("lb vip 10.10.9.3/32 encap gre4"), "lb_vip_add ok 2");
    assert_eq!(bench.ok(&format!("lb vip {} {}", KINDS[2].1, KINDS[2].2)), "lb_vip_add ok 3");
    bench.end();
}

/// A client's packet of TCP or UDP to the GRE VIP.
fn to_gre(port: u16, udp: bool) -> Vec<u8> {
    if !udp {
        return packet("10.10.2.3", port, ACK);
    }
    let to = Ipv4Addr::new(10, 10, 2, 3);
    PacketBuilder::udp((CLIENT, port), (to, 8080))
        .macs(LEFT_MAC, MacAddress([2, 0, 0, 0, 0, 0x10]))
        .build()
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

/// `lb conf buckets` that was not saved, or that is new in the configuration: either way the tables
/// that are there have another size than those that are configured.
#[test]
fn tables_of_another_size_than_configured_are_served_until_they_are_empty() {
    for (size, configured) in [(4096, 1024), (1024, 4096)] {
        let place = Place::new("unsaved");
        let servers = "192.168.1.1 192.168.1.3 192.168.1.5";
        let mut bench = daemon(&place.0, &situation(1, 0), servers);
        open_flows(&mut bench);
        if size != BUCKETS {
            bench.ok(&format!("lb conf buckets {size}"));
            while bench.control.is_resizing() {
                bench.turn();
            }
        }
        let (flows, counted) = (all_flows(&mut bench), counts(&bench));
        drop(bench);
        let now = Situation { buckets: configured, ..situation(1, 1) };
        let others = "192.168.1.9 192.168.1.5 192.168.1.8 192.168.1.3 192.168.1.7 192.168.1.1";
        let mut bench = daemon(&place.0, &now, others);
        let line = state_line(&mut bench);
        let expected =
            format!("{TOTAL} flows restored, {TOTAL} flows in 1 tables without a worker");
        assert!(line.ends_with(&expected), "{line}");
        assert_eq!((all_flows(&mut bench), counts(&bench)), (flows.clone(), counted.clone()));
        // A kill right after it changes nothing.
        drop(bench);
        let mut bench = daemon(&place.0, &now, others);
        for port in 0..FLOWS {
            let server = &flows[usize::from(FLOWS + port)].1;
            assert_eq!(reply(&mut bench, server, 4000 + port), Some([10, 10, 3, 7]));
        }
        open_more_packets(&mut bench);
        let vips = bench.control.vips().vips;
        assert!(vips.iter().all(|vip| vip.counters.first_session_packets == 0));
        assert_eq!(all_flows(&mut bench), flows);
        // All were taken over: what is left has the size that is configured.
        sweep(&mut bench);
        (0..configured / 16).for_each(|_| bench.turn());
        let names = place.tables();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.iter().all(|name| name.ends_with(&format!("-{configured}"))), "{names:?}");
        assert_eq!(counts(&bench), counted);
        bench.end();
    }
}

#[test]
fn a_resize_that_a_kill_interrupts_loses_nothing() {
    let place = Place::new("resize");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(1, 0), servers);
    open_flows(&mut bench);
    let (flows, counted) = (all_flows(&mut bench), counts(&bench));
    bench.ok("lb conf buckets 4096");
    // The worker has not even heard of it.
    drop(bench);
    assert_eq!(place.tables().len(), 4);
    let now = Situation { buckets: 4096, ..situation(1, 1) };
    let mut bench = daemon(&place.0, &now, servers);
    assert_eq!(all_flows(&mut bench), flows);
    assert_eq!(counts(&bench), counted);
    open_more_packets(&mut bench);
    sweep(&mut bench);
    assert_eq!(place.tables(), ["buckets-0-1-4096", "cells-0-1-4096"]);
    assert_eq!(counts(&bench), counted);
    // Now some flows have moved and some have not.
    bench.ok("lb conf buckets 2048");
    (0..40).for_each(|_| bench.turn());
    assert!(bench.control.is_resizing());
    drop(bench);
    assert_eq!(place.tables().len(), 4);
    let now = Situation { buckets: 2048, ..situation(1, 2) };
    let mut bench = daemon(&place.0, &now, servers);
    assert!(state_line(&mut bench).ends_with("flows in 1 tables without a worker"));
    assert_eq!(all_flows(&mut bench), flows);
    assert_eq!(counts(&bench), counted);
    // One that is done leaves one table.
    open_more_packets(&mut bench);
    sweep(&mut bench);
    bench.ok("lb conf buckets 1024");
    while bench.control.is_resizing() {
        bench.turn();
    }
    assert_eq!(place.tables(), ["buckets-0-3-1024", "cells-0-3-1024"]);
    assert_eq!(counts(&bench), counted);
    drop(bench);
    assert_eq!(all_flows(&mut daemon(&place.0, &situation(1, 3), servers)), flows);
}
