use std::sync::Arc;
use std::sync::atomic::Ordering;

use dataplane::family::Ip4;
use dataplane::frame::{FRAME_MAX, Frame};
use dataplane::graph::{GraphBuilder, GraphError};
use dataplane::interface::InterfaceId;

use crate::probe::{Probe, STEP, TO_DROP, TO_HOLD, TO_LEFT, taken};

#[test]
fn a_frame_is_split_by_next_and_keeps_its_order() {
    let mut probe = Probe::new();
    for (name, to) in [TO_LEFT, TO_DROP, TO_HOLD, TO_LEFT, TO_DROP, TO_HOLD].iter().enumerate() {
        probe.arrive(*to, name as u8);
    }
    assert_eq!(probe.turn(), 6);
    let left = taken(&probe.left);
    // 2 came by way of `hold`, which keeps the odd 5; one call serves both predecessors.
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].packets, [0, 3, 2]);
    assert_eq!(taken(&probe.sink)[0].packets, [1, 4]);
    assert_eq!(probe.io.pool.outstanding(), 0);
}

#[test]
fn a_uniform_frame_moves_whole() {
    let mut probe = Probe::new();
    for name in 0..200 {
        probe.arrive(TO_LEFT, name);
    }
    probe.turn();
    let (from, to) = (taken(&probe.source), taken(&probe.left));
    assert_eq!(to[0].packets, from[0].packets);
    // Not a packet was copied: the next node got the very frame.
    assert_eq!(to[0].frame, from[0].frame);

    probe.arrive(TO_DROP, 0);
    probe.arrive(TO_LEFT, 1);
    probe.turn();
    let (from, to) = (taken(&probe.source), taken(&probe.left));
    assert_ne!(to[0].frame, from[0].frame);
}

#[test]
fn what_a_full_frame_refuses_is_freed() {
    let mut probe = Probe::new();
    let left = probe.node("left");
    let mut waiting = Frame::boxed();
    for name in 0..200 {
        let packet = probe.io.pool.packet(&[TO_LEFT, name]);
        let at = waiting.push(packet, InterfaceId(1)).unwrap();
        assert!(probe.graph.inject(left, &mut waiting, at));
    }
    for name in 0..100 {
        probe.arrive(TO_LEFT, name);
    }
    probe.turn();
    assert_eq!(taken(&probe.left)[0].packets.len(), FRAME_MAX);
    assert_eq!(probe.io.pool.outstanding(), 0);
}

#[test]
fn calls_packets_and_clocks_are_counted() {
    let mut probe = Probe::new();
    probe.turn();
    probe.arrive(TO_LEFT, 0);
    probe.arrive(TO_DROP, 1);
    probe.turn();
    let stats = |name| {
        let stats = &probe.worker.shared.nodes[usize::from(probe.node(name))];
        (stats.calls.get(), stats.vectors.get(), stats.clocks.get())
    };
    // A call without packets takes no part in clocks per packet.
    assert_eq!(stats("source"), (2, 2, STEP));
    assert_eq!((stats("left"), stats("sink")), ((1, 1, STEP), (1, 1, STEP)));
    assert_eq!(stats("hold"), (0, 0, 0));
}

#[test]
fn a_dropped_packet_carries_its_reason() {
    let mut probe = Probe::new();
    probe.arrive(TO_DROP, 1);
    probe.turn();
    let error = taken(&probe.sink)[0].errors[0];
    assert_eq!(probe.info().counters[usize::from(error)].text, "bad");
    let counts: Vec<u64> = probe.worker.shared.counters.iter().map(|count| count.get()).collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn a_packet_that_a_node_takes_is_traced_there() {
    let mut probe = Probe::new();
    let (source, hold) = (probe.node("source"), probe.node("hold"));
    probe.worker.shared.arm_trace(source, 2);
    for name in [1, 2, 4] {
        probe.arrive(TO_HOLD, name);
    }
    probe.turn();
    let mut records = Vec::new();
    while let Some(record) = probe.worker.shared.next_trace() {
        records.push((record.handle, record.node, usize::from(record.bytes_len)));
    }
    let left = probe.node("left");
    // Packet 1 was taken by `hold`, which left no bytes to show; the third was not marked.
    let expected = [(1, source, 2), (2, source, 2), (1, hold, 0), (2, hold, 2), (2, left, 2)];
    assert_eq!(records, expected);
    assert_eq!(probe.worker.shared.trace_arm[usize::from(source)].load(Ordering::Relaxed), 0);
}

/// Control's word is not overwritten by a worker that is just counting down.
#[test]
fn a_node_can_be_armed_while_it_traces() {
    let mut probe = Probe::new();
    let hold = probe.node("hold");
    let shared = Arc::clone(&probe.worker.shared);
    let act = Box::new(move || shared.arm_trace(hold, 7));
    assert!(probe.on_trace.set(act).is_ok());
    probe.worker.shared.arm_trace(hold, 3);
    probe.arrive(TO_HOLD, 2);
    probe.turn();
    assert_eq!(probe.worker.shared.trace_arm[usize::from(hold)].load(Ordering::Relaxed), 7);
}

#[test]
fn a_graph_with_a_missing_next_node_or_a_name_twice_is_refused() {
    let lookup = || GraphBuilder::new().node(graph_nodes::ip_lookup::IpLookup::<Ip4>::default());
    let missing = GraphError::UnknownNext { node: "ip4-lookup", next: "ip4-rewrite" };
    assert_eq!(lookup().info().unwrap_err(), missing);
    let twice = lookup().node(graph_nodes::ip_lookup::IpLookup::<Ip4>::default());
    assert_eq!(twice.info().unwrap_err(), GraphError::DuplicateName("ip4-lookup"));
}

#[test]
fn long_runs_keep_packets_and_what_is_known_of_them_together() {
    let mut probe = Probe::new();
    // Runs of many lengths, some of which are moved lane by lane and some packet by packet.
    let runs = [(TO_DROP, 1), (TO_LEFT, 40), (TO_DROP, 17), (TO_LEFT, 3), (TO_DROP, 100)];
    let names = (0..=u8::MAX).zip(runs.iter().flat_map(|(to, len)| vec![*to; *len]));
    let all: Vec<(u8, u8)> = names.collect();
    all.iter().for_each(|(name, to)| probe.arrive(*to, *name));
    assert_eq!(probe.turn(), all.len());
    let of = |wanted| -> Vec<u8> {
        all.iter().filter(|(_, to)| *to == wanted).map(|(name, _)| *name).collect()
    };
    let (left, sink) = (taken(&probe.left), taken(&probe.sink));
    assert_eq!(left[0].packets, of(TO_LEFT));
    assert_eq!(sink[0].packets, of(TO_DROP));
    // Each dropped packet still has its reason.
    let bad = probe.info().counters.iter().position(|counter| counter.text == "bad");
    assert_eq!(sink[0].errors, vec![bad.unwrap() as u16; 118]);
    assert_eq!(probe.io.pool.outstanding(), 0);
}

#[test]
fn an_input_that_has_nothing_is_not_polled() {
    let mut probe = Probe::new();
    let reserve = probe.node("reserve");
    let calls = |probe: &Probe| probe.worker.shared.nodes[usize::from(reserve)].calls.get();
    probe.turn();
    assert_eq!(calls(&probe), 0);
    probe.worker.ip_id = 1;
    probe.turn();
    assert_eq!(calls(&probe), 1);
}
