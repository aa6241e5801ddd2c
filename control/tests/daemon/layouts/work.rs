//! What `show` prints of threads, nodes, counters, buffers and traces, byte for byte.

use control::show::buffers::{Buffers, PoolStatus};
use control::show::errors::{ErrorCount, Errors};
use control::show::runtime::{NodeRuntime, Runtime, ThreadRuntime};
use control::show::trace::{NodeTrace, PacketTrace, ThreadTrace, Trace};
use control::show::version::{ThreadStatus, Threads, Version};

use super::json;
use crate::bench::Bench;

#[test]
fn version_and_threads() {
    let version = Version {
        name: "sluice",
        version: "0.1.0",
        dpdk: "DPDK 22.11.5".into(),
        flow_hash_version: 1,
        pid: 42,
        control_rebuilt: 0,
    };
    assert_eq!(version.text(false), "sluice v0.1.0 (DPDK 22.11.5)\n");
    assert!(
        version.text(true).contains("Current PID:              42\n"),
        "{}",
        version.text(true)
    );
    assert_eq!(
        json(&version),
        r#"{"name":"sluice","version":"0.1.0","dpdk":"DPDK 22.11.5","flow_hash_version":1,"pid":42,"control_rebuilt":0}"#
    );
    let threads = Threads {
        threads: vec![ThreadStatus {
            id: 1,
            name: "sluice_wk_0".into(),
            lwp: None,
            lcore: 1,
            cpus: "1".into(),
            loops: 3_214_433,
            busy_loops: 17,
            events_lost: 0,
        }],
    };
    assert_eq!(
        threads.to_string(),
        "ID  Name                 LWP  Lcore  CPU                Loops            Busy
1   sluice_wk_0            -      1  1                3214433              17
"
    );
    assert_eq!(
        json(&threads),
        r#"{"threads":[{"id":1,"name":"sluice_wk_0","lwp":null,"lcore":1,"cpus":"1","loops":3214433,"busy_loops":17,"events_lost":0}]}"#
    );
}

#[test]
fn runtime() {
    let node = |name, state, calls, vectors| NodeRuntime {
        name,
        state,
        calls,
        vectors,
        suspends: 0,
        clocks_per_packet: 4.21,
        vectors_per_call: if calls == 0 { 0.0 } else { vectors as f64 / calls as f64 },
    };
    let thread = |thread: usize| ThreadRuntime {
        thread,
        name: format!("sluice_wk_{}", thread - 1),
        lcore: thread as u32,
        time_s: 1.0,
        vector_rate: 256.0,
        loops_per_second: 54_858.03,
        rate_interval_s: 10.0,
        rx_packets_per_second: 1.2982e7,
        tx_packets_per_second: 1.2982e7,
        drop_packets_per_second: 0.0,
        punt_packets_per_second: 0.0,
        nodes: vec![
            node("dpdk-input", "polling", 50_979, 13_050_624),
            node("lb4-vip", "active", 0, 0),
        ],
    };
    let runtime = Runtime { threads: vec![thread(1), thread(2)] };
    let block = |at: usize| {
        format!(
            "Thread {at} sluice_wk_{} (lcore {at})
Time 1.0, 10.000000 sec internal node vector rate 256.00 loops/sec 54858.03
  vector rates in 1.2982e7, out 1.2982e7, drop 0.0000e0, punt 0.0000e0
             Name                 State         Calls          Vectors        Suspends      Packet-Clocks   Vectors/Call  
dpdk-input                       polling             50979        13050624               0          4.21e0          256.00
",
            at - 1
        )
    };
    assert_eq!(runtime.text(false), format!("{}---------------\n{}", block(1), block(2)));
    assert!(runtime.text(true).contains("lb4-vip                          active "));
    assert!(json(&runtime).starts_with(r#"{"threads":[{"thread":1,"name":"sluice_wk_0","lcore":1,"time_s":1.0,"vector_rate":256.0,"#));
}

#[test]
fn errors() {
    let errors = Errors {
        errors: vec![
            ErrorCount {
                count: 430_848,
                node: "dpdk-input",
                reason: "no error",
                severity: "error",
            },
            ErrorCount {
                count: 1,
                node: "ip4-input",
                reason: "partial checksum: turn off tx offload on the sender",
                severity: "warn",
            },
        ],
    };
    assert_eq!(
        errors.to_string(),
        "   Count                  Node                              Reason               Severity 
    430848             dpdk-input                          no error                error  
         1             ip4-input             partial checksum: turn off tx offload on the sender    warn   
"
    );
    assert!(json(&errors).starts_with(
        r#"{"errors":[{"count":430848,"node":"dpdk-input","reason":"no error","severity":"error"},"#
    ));
}

#[test]
fn buffers() {
    let buffers = Buffers {
        pools: vec![PoolStatus {
            name: "default-numa-0".into(),
            index: 0,
            numa_node: 0,
            buffer_bytes: 2496,
            data_bytes: 2048,
            total: 40_319,
            available: 35_647,
            cached: 280,
            used: 4392,
        }],
    };
    assert_eq!(
        buffers.to_string(),
        "Pool Name            Index NUMA  Size  Data Size  Total  Avail  Cached   Used  
default-numa-0         0     0   2496     2048    40319  35647    280    4392  
"
    );
    assert_eq!(
        json(&buffers),
        r#"{"pools":[{"name":"default-numa-0","index":0,"numa_node":0,"buffer_bytes":2496,"data_bytes":2048,"total":40319,"available":35647,"cached":280,"used":4392}]}"#
    );
}

#[test]
fn trace() {
    let trace = Trace {
        threads: vec![
            ThreadTrace {
                thread: 1,
                name: "sluice_wk_0".into(),
                packets: vec![PacketTrace {
                    packet: 1,
                    nodes: vec![NodeTrace {
                        time_us: 3_723_222_902,
                        node: "ip4-input",
                        text: vec!["UDP: 40.0.0.1 -> 90.0.0.1".into(), "  tos 0x00".into()],
                    }],
                }],
            },
            ThreadTrace { thread: 2, name: "sluice_wk_1".into(), packets: vec![] },
        ],
    };
    assert_eq!(
        trace.to_string(),
        "------------------- Start of thread 1 sluice_wk_0 -------------------
Packet 1

01:02:03:222902: ip4-input
  UDP: 40.0.0.1 -> 90.0.0.1
    tos 0x00

------------------- Start of thread 2 sluice_wk_1 -------------------
No packets in trace buffer
"
    );
    assert_eq!(
        json(&trace),
        r#"{"threads":[{"thread":1,"name":"sluice_wk_0","packets":[{"packet":1,"nodes":[{"time_us":3723222902,"node":"ip4-input","text":["UDP: 40.0.0.1 -> 90.0.0.1","  tos 0x00"]}]}]},{"thread":2,"name":"sluice_wk_1","packets":[]}]}"#
    );
}

/// A traced SYN through the whole graph, in VPP's words.
#[test]
fn a_traced_connection() {
    let mut bench = Bench::walkthrough();
    bench.ok("set ip neighbor GigabitEthernet0/9/0 192.168.1.1 02:00:00:00:01:01 static");
    bench.ok("lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 del flush");
    bench.ok("trace add dpdk-input 1");
    bench.arrive(0, &crate::defects::syn(40_000, ("10.10.2.2", 8080)));
    bench.arrive(0, &crate::defects::syn(40_001, ("10.10.2.2", 8080)));
    let text = bench.ok("show trace");
    let lines = |wanted: &str| assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
    lines("Packet 1\n\n00:00:01:000000: dpdk-input\n");
    lines("  IP4: 02:00:00:00:00:10 -> 02:00:00:00:00:01\n  TCP: 10.10.10.1 -> 10.10.2.2\n");
    lines("  TCP: 40000 -> 8080\n");
    lines("  lb vip[1]: ip4-nat4 10.10.2.2/32 new_size:65537 #as:1  protocol:6 port:8080");
    lines("  lb as[1]: 192.168.1.1 weight:100 used\n");
    lines("  IP4: 02:00:00:00:00:02 -> 02:00:00:00:01:01\n  TCP: 10.10.10.1 -> 192.168.1.1\n");
    assert!(!text.contains("Packet 2") && !text.contains("40001"), "{text}");
    bench.ok("clear trace");
    bench.arrive(0, &crate::defects::syn(40_002, ("10.10.2.2", 8080)));
    assert!(bench.ok("show trace").contains("No packets in trace buffer"));
    bench.end();
}

/// Counters begin anew at each `clear`, and only what was asked for is cleared.
#[test]
fn clear() {
    let mut bench = Bench::walkthrough();
    bench.arrive(0, &crate::defects::syn(40_000, ("10.10.2.2", 8081)));
    bench.arrive(0, &crate::defects::syn(40_000, ("10.10.2.2", 8081)));
    let dropped = |bench: &mut Bench| {
        let (errors, interfaces) = (bench.ok("show errors"), bench.ok("show interface left0"));
        (errors.contains("no such port on the VIP"), interfaces.contains("drops"))
    };
    assert_eq!(dropped(&mut bench), (true, true));
    bench.ok("clear errors");
    assert_eq!(dropped(&mut bench), (false, true));
    bench.ok("clear interfaces");
    assert_eq!(dropped(&mut bench), (false, false));
    assert!(bench.ok("show runtime").contains("\nlb4-vip "));
    bench.ok("clear runtime");
    assert!(!bench.ok("show runtime").contains("\nlb4-vip "));
    bench.arrive(0, &crate::defects::syn(40_000, ("10.10.2.2", 8081)));
    assert_eq!(dropped(&mut bench), (true, true));
    bench.end();
}
