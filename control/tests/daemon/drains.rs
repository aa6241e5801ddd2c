//! Drain and removal (FEATURES E-01, E-02, E-03): what stays, what goes, and who is told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use config::{Span, Spanned};
use dataplane::interface::{PortId, QueueId};
use testkit::packet_builder::PacketBuilder;
use testkit::reference::frame::tcp_flag::{ACK, RST, SYN};

use crate::bench::{Bench, CLIENT_MAC, LEFT_MAC};
use crate::defects::served;

const VIP: &str = "10.10.2.2/32 protocol tcp port 8080";
const SERVER: &str = "192.168.1.1";
const OTHER: &str = "192.168.1.3";
/// Frames that arrive in one turn.
const AT_ONCE: usize = 128;

/// A client's flow.
type Flow = (Ipv4Addr, u16);

/// So many flows, of few clients.
fn flows(count: u32) -> Vec<Flow> {
    let client = |n: u32| Ipv4Addr::new(10, 20, 0, (n / 50_000) as u8 + 1);
    (0..count).map(|n| (client(n), (n % 50_000) as u16 + 1_000)).collect()
}

/// Sends a packet of each flow to the VIP; tells to which AS each went, by the client's port and
/// address.
fn send(bench: &mut Bench, flows: &[Flow], flags: u8) -> BTreeMap<Flow, Ipv4Addr> {
    let mut seen = BTreeMap::new();
    for flows in flows.chunks(AT_ONCE) {
        for (client, port) in flows {
            let to = (Ipv4Addr::new(10, 10, 2, 2), 8080);
            let packet = PacketBuilder::tcp((*client, *port), to, flags);
            let frame = packet.macs(LEFT_MAC, CLIENT_MAC).build();
            let io = &mut bench.workers[0].io;
            let packet = io.pool.packet(&frame);
            io.arrive(PortId(0), QueueId(0), packet);
        }
        bench.turn();
        for frame in bench.sent(1).iter().filter(|frame| frame[12..14] == [8, 0]) {
            let address =
                |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
            let port = u16::from_be_bytes([frame[34], frame[35]]);
            seen.insert((address(26), port), address(30));
        }
        bench.sent(0);
    }
    seen
}

/// Enough turns for a new size of the sticky tables.
fn settle(bench: &mut Bench) {
    while bench.control.is_resizing() {
        bench.turn();
    }
}

/// Enough turns for the sweep to come by everywhere.
fn sweep(bench: &mut Bench) {
    let buckets = bench.control.workers()[0].sticky.buckets();
    for _ in 0..=buckets.div_ceil(dataplane::worker::SWEEP_BUCKETS_BUSY) {
        bench.turn();
    }
    bench.pass(200);
}

/// What is shown of an AS.
fn server(bench: &Bench, address: &str) -> Option<control::show::vips::ServerStatus> {
    let vips = bench.control.vips();
    let servers = vips.vips.into_iter().flat_map(|vip| vip.servers);
    servers.into_iter().find(|server| server.address.to_string() == address)
}

/// Whether the running configuration has the AS.
fn is_configured(bench: &Bench) -> bool {
    bench.config().iter().any(|line| line.starts_with("lb as") && line.contains(SERVER))
}

/// What `GET /v1/lb/drain` says of an AS: its state, its flows, whether it is drained.
fn drain(bench: &Bench, address: &str) -> Result<(&'static str, u64, bool), String> {
    let Ok(config::Command::LbFlushVip(key)) = config::parse(&format!("lb flush vip {VIP}")) else {
        panic!("{VIP}")
    };
    let address = Spanned::new(address.parse().unwrap(), Span::default());
    let status = bench.control.drain_status(&key, &address);
    status.map(|s| (s.state, s.flows, s.drained)).map_err(|problem| problem.reason)
}

/// The kinds of all events and the ASs they are about.
fn events(bench: &Bench) -> Vec<String> {
    let events = bench.control.events().events;
    let server = |event: &control::show::events::EventStatus| {
        event.server.map_or_else(|| "all".to_owned(), |server| server.to_string())
    };
    events.iter().map(|event| format!("{} {}", event.kind, server(event))).collect()
}

#[test]
fn drain_remembers_the_weight_and_undrain_gives_it_back() {
    let mut bench = Bench::walkthrough();
    bench.ok(&format!("lb as {VIP} {SERVER} weight 30"));
    let before = (bench.config(), bench.control.vips().vips[0].new_flow_table_digest.clone());
    bench.ok(&format!("lb as {VIP} {SERVER} drain"));
    let drained = server(&bench, SERVER).unwrap();
    assert_eq!((drained.weight, drained.buckets, drained.admin), (30, 0, "drain"));
    assert_eq!(server(&bench, OTHER).unwrap().buckets, 65_537);
    let lines = bench.config();
    assert_eq!(lines[lines.len() - 1], format!("lb as {VIP} {SERVER} drain"));
    assert_eq!(lines[..lines.len() - 1], before.0);
    // A weight is remembered too, and does not count yet.
    let told = bench.ok(&format!("lb as {VIP} {SERVER} weight 60"));
    assert_eq!(told, "192.168.1.1 drains: its weight counts after undrain\n");
    assert_eq!(server(&bench, SERVER).unwrap().buckets, 0);
    bench.ok(&format!("lb as {VIP} {SERVER} weight 30"));
    bench.ok(&format!("lb as {VIP} {SERVER} undrain"));
    let digest = bench.control.vips().vips[0].new_flow_table_digest.clone();
    assert_eq!((bench.config(), digest), before);
    // To add it once more says the same.
    bench.ok(&format!("lb as {VIP} {SERVER} drain"));
    bench.ok(&format!("lb as {VIP} {SERVER}"));
    assert_eq!(bench.config(), before.0);
    bench.end();
}

#[test]
fn draining_what_is_not_there_is_refused() {
    let mut bench = Bench::walkthrough();
    for (line, expected) in [
        (
            format!("lb as {VIP} 192.168.1.9 drain"),
            "192.168.1.9: 192.168.1.9 is not an AS of the VIP",
        ),
        (format!("lb as {VIP} {SERVER} 192.168.1.9 undrain"), "its ASs: 192.168.1.1, 192.168.1.3"),
        ("lb as 10.9.9.9/32 192.168.1.1 drain".to_owned(), "there is no VIP 10.9.9.9/32"),
        (format!("wait drained {VIP} {SERVER}"), "the daemon does not wait, sluicectl does"),
    ] {
        let error = bench.refused(&line);
        assert!(error.contains(expected), "{line}\n  says: {error}");
    }
    assert!(drain(&bench, "192.168.1.9").unwrap_err().contains("is not an AS of the VIP"));
}

/// A replay of what a box says of itself makes the same box, also where new-flow tables are full.
#[test]
fn a_drained_configuration_can_be_replayed() {
    let mut bench = Bench::routed();
    bench.all(&[
        "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 new_len 2",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 192.168.1.3 192.168.1.4 weight 0",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 weight 7",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 weight 20",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 192.168.1.4 drain",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 drain then del",
    ]);
    // One that drains keeps its claim to a slot.
    let full = bench.refused("lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.9");
    assert!(full.contains("is full: new_len 2"), "{full}");
    let mut again = Bench::new(1);
    bench.config().iter().for_each(|line| drop(again.ok(line)));
    assert_eq!(again.config(), bench.config());
    let states = |bench: &Bench| {
        let servers = bench.control.vips().vips.remove(0).servers;
        servers.iter().map(|s| (s.address, s.weight, s.admin)).collect::<Vec<_>>()
    };
    assert_eq!(states(&again), states(&bench));
    assert_eq!(states(&bench)[0].2, "drain-then-del");
}

/// E-01: 10^5 live flows, an AS drained: all stay, no new flow comes to it, its count falls to
/// exactly 0 as they end, and then it is said to be drained.
#[test]
fn e_01_a_hundred_thousand_flows_stay_while_their_as_drains() {
    let mut bench = served();
    bench.all(&["ip route add 10.20.0.0/16 via 10.10.10.1", "lb conf buckets 65536"]);
    settle(&mut bench);
    let all = flows(100_000);
    let went = send(&mut bench, &all, SYN);
    assert_eq!(went.len(), all.len());
    send(&mut bench, &all, ACK);
    let server_ip: Ipv4Addr = SERVER.parse().unwrap();
    let of_server: Vec<Flow> = all.iter().copied().filter(|flow| went[flow] == server_ip).collect();
    assert!(of_server.len() > 40_000, "{}", of_server.len());
    bench.ok(&format!("lb as {VIP} {SERVER} drain"));
    assert_eq!(drain(&bench, SERVER), Ok(("draining", of_server.len() as u64, false)));
    assert_eq!(send(&mut bench, &all, ACK), went, "all flows stay");
    let new: Vec<Flow> = (0..5_000).map(|n| (Ipv4Addr::new(10, 20, 9, 9), 1_000 + n)).collect();
    assert!(send(&mut bench, &new, SYN).values().all(|to| *to != server_ip), "no new flows");
    assert_eq!(drain(&bench, SERVER), Ok(("draining", of_server.len() as u64, false)));

    let (first, rest) = of_server.split_at(of_server.len() / 2);
    send(&mut bench, first, RST);
    bench.pass(125_000);
    sweep(&mut bench);
    assert_eq!(drain(&bench, SERVER), Ok(("draining", rest.len() as u64, false)));
    let (most, last) = rest.split_at(rest.len() - 1);
    send(&mut bench, most, RST);
    bench.pass(125_000);
    sweep(&mut bench);
    assert_eq!(drain(&bench, SERVER), Ok(("draining", 1, false)));
    assert_eq!(events(&bench), [format!("drain {SERVER}")]);
    send(&mut bench, last, RST);
    bench.pass(125_000);
    sweep(&mut bench);
    assert_eq!(drain(&bench, SERVER), Ok(("drained", 0, true)));
    assert_eq!(events(&bench), [format!("drain {SERVER}"), format!("drained {SERVER}")]);
    let lb = bench.control.lb_status();
    assert_eq!((lb.as_draining, lb.draining_flows, lb.as_drained_total), (1, 0, 1));
    bench.end();
}

/// E-02: `del` keeps the flows of the AS; the same address again gets them back, with its index and
/// its counters.
#[test]
fn e_02_a_removed_as_that_comes_back_is_the_same() {
    let mut bench = served();
    bench.ok("ip route add 10.20.0.0/16 via 10.10.10.1");
    let all = flows(400);
    let went = send(&mut bench, &all, SYN);
    let server_ip: Ipv4Addr = SERVER.parse().unwrap();
    let count = went.values().filter(|to| **to == server_ip).count() as u64;
    let before = server(&bench, SERVER).unwrap();
    assert_eq!((before.flows, before.counters.packets), (count, count));
    bench.ok(&format!("lb as {VIP} {SERVER} del"));
    assert_eq!(drain(&bench, SERVER), Ok(("removed", count, false)));
    assert!(!is_configured(&bench), "it left the configuration");
    assert_eq!(send(&mut bench, &all, ACK), went, "all flows stay");
    let new = [(Ipv4Addr::new(10, 20, 9, 9), 1_000), (Ipv4Addr::new(10, 20, 9, 9), 1_001)];
    assert!(send(&mut bench, &new, SYN).values().all(|to| *to != server_ip));
    bench.pass(2_000);
    bench.ok(&format!("lb as {VIP} {SERVER} weight 70"));
    let back = server(&bench, SERVER).unwrap();
    assert_eq!((back.index, back.weight, back.flows), (before.index, 70, count));
    assert_eq!(back.counters.packets, 2 * count, "what it counted before, and since");
    assert_eq!(send(&mut bench, &all, ACK), went);
    assert_eq!(events(&bench), [format!("del {SERVER}"), format!("re-added {SERVER}")]);
    // The same during a drain.
    bench.ok(&format!("lb as {VIP} {SERVER} drain then del"));
    bench.ok(&format!("lb as {VIP} {SERVER}"));
    let back = server(&bench, SERVER).unwrap();
    assert_eq!((back.index, back.weight, back.admin), (before.index, 70, "up"));
    assert_eq!(back.counters.packets, 3 * count);
    // Gone, and forgotten only when its flows are.
    bench.ok(&format!("lb as {VIP} {SERVER} del"));
    bench.pass(1_000_000);
    sweep(&mut bench);
    bench.pass(2_000);
    assert!(server(&bench, SERVER).is_none(), "forgotten");
    assert_eq!(drain(&bench, SERVER), Ok(("gone", 0, true)));
    assert_eq!(*events(&bench).last().unwrap(), format!("drained {SERVER}"));
    bench.ok(&format!("lb as {VIP} {SERVER}"));
    assert_eq!(server(&bench, SERVER).unwrap().counters.packets, 0, "a new one");
    bench.end();
}

/// E-03: `del flush` ends the flows at once: the next packet of each goes to another AS.
#[test]
fn e_03_del_flush_moves_the_flows() {
    let mut bench = served();
    bench.ok("ip route add 10.20.0.0/16 via 10.10.10.1");
    let all = flows(400);
    let went = send(&mut bench, &all, SYN);
    bench.ok(&format!("lb as {VIP} {SERVER} del flush"));
    assert_eq!(drain(&bench, SERVER).map(|(state, flows, _)| (state, flows)), Ok(("removed", 0)));
    let other: Ipv4Addr = OTHER.parse().unwrap();
    assert!(went.values().any(|to| *to != other));
    assert!(send(&mut bench, &all, ACK).values().all(|to| *to == other));
    assert_eq!(events(&bench), [format!("del {SERVER}"), format!("flush {SERVER}")]);
    sweep(&mut bench);
    assert_eq!(*events(&bench).last().unwrap(), format!("drained {SERVER}"));
    bench.end();
}

#[test]
fn drain_then_del_leaves_the_configuration_after_the_last_flow() {
    let mut bench = served();
    bench.ok("ip route add 10.20.0.0/16 via 10.10.10.1");
    let went = send(&mut bench, &flows(50), SYN);
    bench.ok(&format!("lb as {VIP} {SERVER} drain then del"));
    bench.pass(30_000);
    assert_eq!(*bench.config().last().unwrap(), format!("lb as {VIP} {SERVER} drain then del"));
    assert_eq!(send(&mut bench, &flows(50), ACK), went);
    assert!(bench.ok("show lb vips verbose").contains("draining encap:nat4"));
    assert!(bench.ok("show lb as").contains("  draining\n"));
    bench.pass(1_000_000);
    sweep(&mut bench);
    assert!(!is_configured(&bench), "{:?}", bench.config());
    bench.pass(2_000);
    assert!(server(&bench, SERVER).is_none());
    assert_eq!(drain(&bench, SERVER), Ok(("gone", 0, true)));
    let expected =
        ["drain-then-del", "drained", "del"].map(|kind| format!("{kind} {SERVER}")).to_vec();
    assert_eq!(events(&bench), expected);
    assert!(
        bench.ok("show events").lines().nth(1).unwrap().contains("drain-then-del  192.168.1.1")
    );
    bench.end();
}

/// A worker that has not taken notice may still open flows, however few there are at present.
#[test]
fn nothing_is_drained_before_the_workers_know() {
    let mut bench = Bench::walkthrough();
    bench.ok(&format!("lb as {VIP} {SERVER} drain"));
    for ms in [1_000, 2_000, 3_000] {
        bench.control.set_time(ms);
        bench.control.pump();
    }
    assert_eq!(drain(&bench, SERVER), Ok(("draining", 0, false)));
    bench.turn();
    bench.turn();
    bench.control.set_time(4_000);
    bench.control.pump();
    assert_eq!(drain(&bench, SERVER), Ok(("drained", 0, true)));
    // An AS that takes flows is not drained, however idle; one of weight 0 is, without a word.
    assert_eq!(drain(&bench, OTHER), Ok(("used", 0, false)));
    bench.ok(&format!("lb as {VIP} {OTHER} weight 0"));
    bench.pass(4_000);
    bench.pass(1_000);
    bench.pass(1_000);
    assert_eq!(drain(&bench, OTHER), Ok(("used", 0, true)));
    assert_eq!(events(&bench), [format!("drain {SERVER}"), format!("drained {SERVER}")]);
    bench.ok(&format!("lb as {VIP} {SERVER} undrain"));
    assert_eq!(drain(&bench, SERVER), Ok(("used", 0, false)));
    bench.end();
}

/// Flows that are on their way to a table of another size are neither uncounted nor unlisted.
#[test]
fn an_as_is_not_drained_while_its_flows_move_to_another_table() {
    let mut bench = served();
    bench.ok("ip route add 10.20.0.0/16 via 10.10.10.1");
    let went = send(&mut bench, &flows(400), SYN);
    let server_ip: Ipv4Addr = SERVER.parse().unwrap();
    let count = went.values().filter(|to| **to == server_ip).count();
    bench.ok(&format!("lb as {VIP} {SERVER} drain"));
    (0..3).for_each(|_| bench.pass(200));
    // The new table is empty at first.
    bench.ok("lb conf buckets 4096");
    let mut turns = 0;
    while bench.control.is_resizing() {
        turns += 1;
        assert_eq!(drain(&bench, SERVER), Ok(("draining", count as u64, false)), "turn {turns}");
        let words = format!("as {SERVER} limit 10000");
        assert_eq!(crate::flow_pages::page(&mut bench, &words).flows.len(), count, "turn {turns}");
        bench.pass(150);
    }
    assert!(turns > 10, "{turns}");
    assert_eq!(send(&mut bench, &flows(400), ACK), went);
    bench.end();
}

#[test]
fn a_drain_goes_on_after_control_was_rebuilt() {
    let mut bench = served();
    bench.ok("ip route add 10.20.0.0/16 via 10.10.10.1");
    let went = send(&mut bench, &flows(50), SYN);
    let server_ip: Ipv4Addr = SERVER.parse().unwrap();
    let count = went.values().filter(|to| **to == server_ip).count() as u64;
    bench.ok(&format!("lb as {VIP} {SERVER} drain then del"));
    bench.control.rebuild();
    bench.pass(200);
    assert_eq!(drain(&bench, SERVER), Ok(("draining", count, false)));
    bench.pass(1_000_000);
    sweep(&mut bench);
    assert!(!is_configured(&bench));
    let expected =
        ["drain-then-del", "drained", "del"].map(|kind| format!("{kind} {SERVER}")).to_vec();
    assert_eq!(events(&bench), expected);
    bench.end();
}

#[test]
fn the_last_events_are_kept() {
    let mut bench = Bench::walkthrough();
    for _ in 0..600 {
        bench.ok(&format!("lb as {VIP} {SERVER} drain"));
        bench.ok(&format!("lb as {VIP} {SERVER} undrain"));
    }
    let kept = bench.control.events().events;
    assert_eq!((kept.len(), kept[0].sequence, kept[1023].sequence), (1024, 177, 1200));
    assert_eq!((kept[0].kind, kept[1023].kind), ("drain", "undrain"));
    bench.ok(&format!("lb flush vip {VIP}"));
    bench.ok(&format!("lb vip {VIP} del"));
    let last: Vec<_> = events(&bench).split_off(1022);
    assert_eq!(last, ["flush all", "vip-del all"]);
    assert_eq!(drain(&bench, SERVER), Ok(("gone", 0, true)), "its flows went with the VIP");
    bench.end();
}
