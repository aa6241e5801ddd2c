//! `lb4-direct`: clients that reach an AS's own address through us as their router.

use balancer::{Balancer, DirectDecision};
use dataplane::adjacency::AdjacencyId;
use dataplane::frame::Frame;
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::{next_nodes, node_counters};

use crate::transport::flow;

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// On to the AS.
        Rewrite => "ip4-rewrite",
        /// Flows whose replies could not be told from a VIP's.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `lb4-direct` counts.
    pub enum Counter {
        /// No place to remember the flow by.
        TableFull => ("sticky table full", Error),
        /// The client has a flow with this port through a VIP to the same service.
        TupleInUse => ("nat tuple in use", Error),
    }
}

/// Remembers flows straight to a service that also stands behind a VIP, so that the replies pass
/// `lb-nat4-in2out` untouched.
///
/// # Reads
/// IPv4 header, TCP or UDP header; the balancer's reverse map.
/// # Writes
/// The worker's sticky table.
/// # Next nodes
/// `ip4-rewrite`, `error-drop`.
/// # Counters
/// See [`Counter`]; both are drops.
/// # Drops
/// First packets of flows that cannot be remembered or told apart.
#[derive(Debug, Default)]
pub struct Lb4Direct;

fn decide(cx: &mut NodeCx<'_, Lb4Direct>, data: &[u8], l3: usize, l4: usize) -> DirectDecision {
    // A packet that dies here makes no flow.
    let dies = Ipv4Header::at(data, l3).is_none_or(|ip| ip.ttl <= 1);
    match flow(data, l3, l4) {
        Ok((tuple, flags)) if !dies => Balancer {
            tables: &cx.snapshot.lb,
            owner: &mut cx.worker.sticky,
            peers: &cx.snapshot.sticky_tables,
            now_s: cx.now.tick_s,
        }
        .record_direct(&tuple, flags),
        _ => DirectDecision::NotMapped,
    }
}

impl Node for Lb4Direct {
    const NAME: &'static str = "lb4-direct";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let l4 = usize::from(frame.lanes.l4_offset[at]);
            match decide(cx, frame.data(at), l3, l4) {
                DirectDecision::NotMapped | DirectDecision::Existing | DirectDecision::New => {
                    cx.set_next(at, Next::Rewrite);
                }
                DirectDecision::TableFullDrop => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::TableFull);
                }
                DirectDecision::TupleInUse => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::TupleInUse);
                }
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Rewrite(AdjacencyId(frame.lanes.adjacency[at]))
    }
}
