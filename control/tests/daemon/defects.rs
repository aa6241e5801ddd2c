//! The defects of VPP's lb plugin that touch what is built here, each by its number in our list of
//! them, shown not to be ours. Those of the packet path alone are tested with the graph's nodes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use balancer::VipId;
use dataplane::fib::FibEntry;
use testkit::packet_builder::PacketBuilder;
use testkit::reference::frame::tcp_flag::{ACK, SYN};

use crate::bench::{Bench, CLIENT, CLIENT_MAC, LEFT_MAC, RIGHT_MAC, SERVER_MAC};

const SYN_ACK: u8 = SYN | ACK;

/// A SYN of the client to `to`.
pub(crate) fn syn(source_port: u16, to: (&str, u16)) -> Vec<u8> {
    PacketBuilder::tcp((CLIENT, source_port), (to.0.parse::<Ipv4Addr>().unwrap(), to.1), SYN)
        .macs(LEFT_MAC, CLIENT_MAC)
        .build()
}

/// A SYN-ACK of a server to the client.
fn syn_ack(from: (&str, u16), to_port: u16) -> Vec<u8> {
    PacketBuilder::tcp((from.0.parse::<Ipv4Addr>().unwrap(), from.1), (CLIENT, to_port), SYN_ACK)
        .macs(RIGHT_MAC, SERVER_MAC)
        .build()
}

/// TCP packets among frames: source address and port, destination address and port.
fn tcp(frames: &[Vec<u8>]) -> Vec<([u8; 4], u16, [u8; 4], u16)> {
    let port = |f: &[u8], at: usize| u16::from_be_bytes([f[at], f[at + 1]]);
    let tcp = frames.iter().filter(|f| f[12..14] == [8, 0] && f[23] == 6);
    tcp.map(|f| {
        (f[26..30].try_into().unwrap(), port(f, 34), f[30..34].try_into().unwrap(), port(f, 36))
    })
    .collect()
}

/// The walk-through with both sides' neighbours known.
pub(crate) fn served() -> Bench {
    let mut bench = Bench::walkthrough();
    bench.all(&[
        "set ip neighbor left0 10.10.10.1 02:00:00:00:00:10 static",
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.1 02:00:00:00:01:01 static",
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.3 02:00:00:00:01:03 static",
    ]);
    bench.turn();
    bench.sent(0);
    bench.sent(1);
    bench
}

const VIP: &str = "10.10.2.2/32 protocol tcp port 8080";

#[test]
fn defect_01_a_flow_seen_before_its_first_server_is_tracked_later() {
    let mut bench = served();
    bench.ok(&format!("lb as {VIP} 192.168.1.1 192.168.1.3 del flush"));
    bench.arrive(0, &syn(4000, ("10.10.2.2", 8080)));
    assert_eq!(bench.control.vips().vips[0].counters.no_server_configured, 1);
    bench.ok(&format!("lb as {VIP} 192.168.1.1"));
    bench.arrive(0, &syn(4000, ("10.10.2.2", 8080)));
    bench.arrive(0, &syn(4000, ("10.10.2.2", 8080)));
    let counters = bench.control.vips().vips[0].counters;
    assert_eq!((counters.first_session_packets, counters.untracked_packets), (1, 0));
    assert_eq!(counters.packets_from_existing_sessions, 1);
    bench.end();
}

#[test]
fn defect_17_a_deleted_vip_frees_its_table() {
    let mut bench = Bench::routed();
    for _ in 0..50 {
        bench.ok("lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4 new_len 65536");
        bench.ok("lb as 10.10.2.9/32 protocol tcp port 80 192.168.1.1");
        let index = VipId::new(1).unwrap();
        let table = Arc::downgrade(&bench.control.snapshot().lb.vip(index).unwrap().table);
        bench.ok("lb vip 10.10.2.9/32 protocol tcp port 80 del");
        // Two looks: control's own at what is unused, and the workers' letting go.
        bench.turn();
        bench.pass(1_000);
        bench.pass(1_000);
        assert!(table.upgrade().is_none(), "the table is still there");
    }
    assert_eq!(bench.control.model().lb.vips.len(), 0);
    bench.end();
}

#[test]
fn defect_18_zero_is_no_size() {
    let mut bench = Bench::routed();
    bench.refused("lb conf buckets 0");
    bench.refused("lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4 new_len 0");
}

#[test]
fn defect_19_sizes_beyond_the_limit_are_refused_before_any_packet() {
    let mut bench = Bench::routed();
    for log2 in [25, 26, 31, 32] {
        bench.refused(&format!("lb conf buckets-log2 {log2}"));
    }
    bench.refused("lb conf buckets 33554432");
}

#[test]
fn defect_20_an_unknown_word_ends_lb_flush_vip() {
    let mut bench = Bench::walkthrough();
    let error = bench.refused("lb flush vip 10.10.2.2/32 frobnicate");
    assert!(error.contains("frobnicate"), "{error}");
}

#[test]
fn defect_21_a_nat4_vip_needs_a_port() {
    let mut bench = Bench::routed();
    bench.refused("lb vip 10.10.2.9/32 encap nat4 type clusterip target_port 80");
    bench.refused("lb as 10.10.2.9/32 192.168.1.1");
}

#[test]
fn defect_22_two_vips_that_share_server_and_port_both_translate_back() {
    let mut bench = served();
    bench.ok("lb vip 10.10.2.3/32 protocol tcp port 9090 encap nat4 target_port 80");
    bench.ok("lb as 10.10.2.3/32 protocol tcp port 9090 192.168.1.1");
    bench.ok(&format!("lb as {VIP} 192.168.1.3 del flush"));
    let server = ([192, 168, 1, 1], 80);
    for (source_port, vip, octets) in
        [(4001, ("10.10.2.2", 8080), [10, 10, 2, 2]), (4002, ("10.10.2.3", 9090), [10, 10, 2, 3])]
    {
        bench.arrive(0, &syn(source_port, vip));
        assert_eq!(tcp(&bench.sent(1)), [(CLIENT.octets(), source_port, server.0, server.1)]);
        bench.arrive(1, &syn_ack(("192.168.1.1", 80), source_port));
        assert_eq!(tcp(&bench.sent(0)), [(octets, vip.1, CLIENT.octets(), source_port)]);
    }
    // Deleting both frees the shared mapping once.
    bench.ok(&format!("lb vip {VIP} del"));
    bench.ok("lb vip 10.10.2.3/32 protocol tcp port 9090 del");
    for _ in 0..300 {
        bench.pass(1_000);
    }
    assert_eq!(bench.control.model().lb.vips.len(), 0);
    bench.end();
}

#[test]
fn defect_23_a_flush_frees_what_it_flushes() {
    let mut bench = served();
    for port in 0..40 {
        bench.arrive(0, &syn(5000 + port, ("10.10.2.2", 8080)));
    }
    assert!(bench.ok("show lb").contains("usage: 40 / 4096"));
    bench.ok(&format!("lb flush vip {VIP}"));
    let flows: u64 = bench.control.vips().vips[0].servers.iter().map(|s| s.flows).sum();
    assert_eq!(flows, 0, "at once");
    (0..200).for_each(|_| bench.turn());
    assert!(bench.ok("show lb").contains("usage: 0 / 4096"), "and swept soon after");
    bench.end();
}

#[test]
fn defect_24_removed_servers_and_vips_go_when_their_flows_do() {
    let mut bench = served();
    for port in 0..20 {
        bench.arrive(0, &syn(5000 + port, ("10.10.2.2", 8080)));
    }
    bench.ok("lb conf timeout 5");
    bench.ok(&format!("lb as {VIP} 192.168.1.1 192.168.1.3 del"));
    bench.pass(1_000);
    assert_eq!(bench.control.vips().vips[0].servers.len(), 2, "they have flows");
    // No packet comes any more; time alone does it.
    for _ in 0..60 {
        bench.pass(1_000);
        (0..64).for_each(|_| bench.turn());
    }
    assert_eq!(bench.control.vips().vips[0].servers.len(), 0);
    bench.end();
}

#[test]
fn defect_28_a_vip_that_is_refused_leaves_nothing_and_a_deleted_one_can_come_back() {
    let mut bench = Bench::walkthrough();
    bench.refused(&format!("lb vip {VIP} encap nat4 target_port 81"));
    assert_eq!(bench.control.vips().vips.len(), 1);
    for _ in 0..3 {
        bench.ok(&format!("lb vip {VIP} del"));
        assert!(bench.ok(&format!("lb vip {VIP} encap nat4")).starts_with("lb_vip_add ok "));
    }
    bench.turn();
    assert_eq!(bench.control.vips().vips.len(), 1);
}

#[test]
fn defect_29_deleting_one_of_two_ports_keeps_the_other() {
    let mut bench = Bench::walkthrough();
    bench.ok("lb vip 10.10.2.2/32 protocol udp port 53 encap nat4");
    bench.ok(&format!("lb vip {VIP} del"));
    let address = Ipv4Addr::new(10, 10, 2, 2);
    let lookup = |bench: &Bench| bench.control.snapshot().fib4.lookup(address);
    assert_eq!(lookup(&bench), FibEntry::Vip { group: 0, local: false });
    bench.ok("lb vip 10.10.2.2/32 protocol udp port 53 del");
    assert!(matches!(lookup(&bench), FibEntry::Drop(_)));
    bench.end();
}

#[test]
fn defect_30_more_servers_than_slots_are_refused() {
    let mut bench = Bench::routed();
    bench.ok("lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4 new_len 1");
    bench.ok("lb as 10.10.2.9/32 protocol tcp port 80 192.168.1.1");
    let error = bench.refused("lb as 10.10.2.9/32 protocol tcp port 80 192.168.1.2");
    assert!(error.contains("new_len 1"), "{error}");
    bench.ok("lb as 10.10.2.9/32 protocol tcp port 80 192.168.1.2 weight 0");
}

#[test]
fn defect_31_tcp_and_udp_ports_share_an_address() {
    let mut bench = Bench::walkthrough();
    bench.ok("lb vip 10.10.2.2/32 protocol udp port 8080 encap nat4 src_ip_sticky");
    bench.ok("lb vip 10.10.2.2/32 protocol tcp port 8081 encap nat4");
    assert_eq!(bench.control.vips().vips.len(), 3);
}

#[test]
fn defect_32_ports_protocols_and_weights_are_judged_not_cut() {
    let mut bench = Bench::walkthrough();
    for line in [
        "lb vip 10.10.2.9/32 port 80 encap nat4",
        "lb vip 10.10.2.9/32 protocol tcp encap nat4",
        "lb vip 10.10.2.9/32 protocol tcp port 70000 encap nat4",
        "lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4 target_port 70000",
        "lb vip 10.10.2.9/32 protocol tcp port 0 encap nat4",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 weight 101",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 weight 256",
        "lb vip 10.10.2.9/32 encap l3dsr dscp 64",
        "lb vip 10.10.2.9/32 encap gre4 dscp 7",
    ] {
        bench.refused(line);
    }
}

#[test]
fn defect_33_an_address_of_the_other_family_is_no_server() {
    let mut bench = Bench::walkthrough();
    for address in ["::1", "0.0.0.0", "::ffff:1.2.3.4", "0.0.0.1"] {
        bench.refused(&format!("lb as {VIP} {address}"));
    }
    bench.refused("lb vip ::1.2.3.4/128 protocol tcp port 80 encap nat4");
}

#[test]
fn defect_34_lists_of_servers_are_one_transaction() {
    let mut bench = Bench::walkthrough();
    // One is there, one is new: both get the weight.
    bench.ok(&format!("lb as {VIP} 192.168.1.1 192.168.1.4 weight 7"));
    let weights: Vec<_> = bench.control.vips().vips[0].servers.iter().map(|s| s.weight).collect();
    assert_eq!(weights, [7, 100, 7]);
    // The second is not there: the first stays.
    bench.refused(&format!("lb as {VIP} 192.168.1.1 192.168.1.77 del"));
    bench.ok(&format!("lb as {VIP} 192.168.1.4 del"));
    let error = bench.refused(&format!("lb as {VIP} 192.168.1.4 del"));
    assert!(error.contains("any more"), "{error}");
}

#[test]
fn defect_35_deleting_a_vip_takes_its_key_alone() {
    let mut bench = Bench::walkthrough();
    assert_eq!(bench.ok(&format!("lb vip {VIP} del")), "");
    assert_eq!(bench.control.vips().vips.len(), 0);
}

#[test]
fn defect_37_no_timeout_wraps() {
    let mut bench = Bench::routed();
    for timeout in ["-1", "0", "4294967295", "65536"] {
        bench.refused(&format!("lb conf timeout {timeout}"));
    }
}

#[test]
fn defect_40_show_lb_counts_what_there_is() {
    let mut bench = Bench::new(2);
    let text = bench.ok("show lb");
    assert!(text.contains(" #vips: 0\n #ass: 0\n"), "{text}");
    // What backs the tables depends on the machine.
    let lines = text.lines().filter(|line| !line.starts_with("  memory:"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let idle = "core 1\n  timeout: 40s\n  usage: 0 / 4096\ncore 2\n  timeout: 40s\n  usage: 0 / 4096\n \
         state: not kept: no [state] dir\n";
    assert!(text.ends_with(idle), "{text}");
}

#[test]
fn defect_41_ports_are_printed_right_and_counters_start_a_line() {
    let mut bench = Bench::walkthrough();
    let text = bench.ok("show lb vips verbose");
    let expected =
        "  protocol:6 port:8080\n  type:clusterip port:8080 target_port:80\n  counters:\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn defect_42_the_fib_names_the_vip_itself() {
    let mut bench = Bench::walkthrough();
    bench.ok("lb vip 10.10.2.2/32 protocol udp port 53 encap nat4");
    let text = bench.ok("show ip fib 10.10.2.2/32");
    assert!(text.contains("[0] [@0]: ip4-nat4 10.10.2.2/32 new_size:65537 #as:2  protocol:6"));
    assert!(text.contains("[1] [@0]: ip4-nat4 10.10.2.2/32 new_size:65537 #as:0  protocol:17"));
    assert!(!text.contains("ip6-gre6"));
}

#[test]
fn defect_43_translated_packets_are_no_errors() {
    let mut bench = served();
    bench.arrive(0, &syn(4000, ("10.10.2.2", 8080)));
    let server = tcp(&bench.sent(1))[0].2;
    let server = Ipv4Addr::from(server).to_string();
    bench.arrive(1, &syn_ack((&server, 80), 4000));
    assert_eq!(tcp(&bench.sent(0)).len(), 1);
    let errors = bench.control.errors().errors;
    let bad: Vec<_> = errors.iter().filter(|entry| entry.severity == "error").collect();
    assert!(bad.is_empty(), "{bad:?}");
    // And what is dropped has a reason of its own.
    bench.arrive(0, &syn(4000, ("10.10.2.2", 8081)));
    let text = bench.ok("show errors");
    assert!(text.contains("no such port on the VIP"), "{text}");
    bench.end();
}

#[test]
fn defect_44_the_api_tells_tables_of_any_length_and_knows_no_flush_of_nothing() {
    let mut bench = Bench::walkthrough();
    bench.ok("lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4 new_len 65536");
    let body: serde_json::Value =
        serde_json::from_str(&bench.control.api("lb/vips").unwrap()).unwrap();
    assert_eq!(body["vips"][1]["new_len"], 65536);
    bench.refused("lb flush vip 10.10.2.10/32 protocol tcp port 80");
}

#[test]
fn defect_45_ordinary_commands_are_not_worth_a_warning() {
    use std::io::Write;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        Bench::walkthrough().ok("lb conf buckets 2048");
    });
    assert_eq!(String::from_utf8_lossy(&log.0.lock().unwrap()), "");
}

#[test]
fn defect_46_errors_are_words_and_a_bare_command_is_one() {
    let mut bench = Bench::walkthrough();
    for line in ["lb vip", "lb as", "lb conf", "lb flush vip", &format!("lb vip {VIP} encap nat4")]
    {
        let error = bench.refused(line);
        assert!(error.len() > 20 && !error.contains("error -"), "{line}: {error}");
    }
}
