use dataplane::adjacency::AdjacencyId;
use dataplane::fib::FibEntry;
use dataplane::trace::TraceDetail;

use crate::plan::{CLIENT_LINK, SERVER_LINK, harness, transit};

#[test]
fn every_node_on_the_way_leaves_a_record() {
    let mut harness = harness();
    let node = harness.node("dpdk-input");
    harness.shared().arm_trace(node, 1);
    harness.receive(CLIENT_LINK, &transit().build());
    harness.receive(CLIENT_LINK, &transit().build());
    let mut path = Vec::new();
    while let Some(record) = harness.shared().next_trace() {
        assert_eq!(record.handle, 1);
        path.push((harness.worker.graph.info().nodes[usize::from(record.node)], record.detail));
    }
    let id = match harness.snapshot().fib4.lookup(crate::plan::HOST) {
        FibEntry::Adjacency(id) => id,
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(
        path,
        [
            ("dpdk-input", TraceDetail::Interface(CLIENT_LINK)),
            ("ethernet-input", TraceDetail::Interface(CLIENT_LINK)),
            ("ip4-input", TraceDetail::None),
            ("ip4-lookup", TraceDetail::Fib(FibEntry::Adjacency(id))),
            ("ip4-rewrite", TraceDetail::Rewrite(AdjacencyId(id.0))),
            ("interface-output", TraceDetail::Interface(SERVER_LINK)),
        ]
    );
}

#[test]
fn a_dropped_packet_names_its_reason() {
    let mut harness = harness();
    let node = harness.node("dpdk-input");
    harness.shared().arm_trace(node, 1);
    harness.receive(CLIENT_LINK, &transit().bad_ip_checksum().build());
    let mut last = None;
    while let Some(record) = harness.shared().next_trace() {
        last = Some(record.detail);
    }
    let Some(TraceDetail::Drop(reason)) = last else { panic!("{last:?}") };
    let info = &harness.worker.graph.info().counters[usize::from(reason)];
    assert_eq!(info.text, "bad ip4 checksum");
}
