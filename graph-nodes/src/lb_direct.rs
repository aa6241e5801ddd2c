//! `lb4-direct`, `lb6-direct`: clients that reach an AS's own address through us as their router.

use std::marker::PhantomData;

use balancer::{Balancer, DirectDecision};
use dataplane::adjacency::AdjacencyId;
use dataplane::family::Family;
use dataplane::frame::Frame;
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::ip::IpHeader;
use dataplane::{family_next_nodes, family_node_counters};

use crate::transport::{IpPacket, has_ports};

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// On to the AS.
        Rewrite => ("ip4-rewrite", "ip6-rewrite"),
        /// Flows whose replies could not be told from a VIP's.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What `lb4-direct` and `lb6-direct` count.
    pub enum Counter {
        /// No place to remember the flow by.
        TableFull => ("sticky table full", Error),
        /// The client has a flow with this port through a VIP to the same service.
        TupleInUse => ("nat tuple in use", Error),
    }
}

/// Remembers flows straight to a service that also stands behind a VIP, so that the replies pass
/// `lb-nat4-in2out` or `lb-nat6-in2out` untouched.
///
/// # Reads
/// IP header, TCP or UDP header; the balancer's reverse map.
/// # Writes
/// The worker's sticky table.
/// # Next nodes
/// `ip4-rewrite` or `ip6-rewrite`; `error-drop`.
/// # Counters
/// See [`Counter`]; both are drops.
/// # Drops
/// First packets of flows that cannot be remembered or told apart.
#[derive(Debug)]
pub struct LbDirect<F>(PhantomData<F>);

impl<F> Default for LbDirect<F> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<F: Family> LbDirect<F> {
    fn decide(cx: &mut NodeCx<'_, Self>, frame: &Frame, at: usize) -> DirectDecision {
        let Ok(packet) = IpPacket::<F>::of_lanes(frame, at) else {
            return DirectDecision::NotMapped;
        };
        let other = !has_ports(packet.upper.protocol) || packet.is_later_fragment();
        // A packet that dies here makes no flow.
        if other || packet.header.hop_limit() <= 1 {
            return DirectDecision::NotMapped;
        }
        let Ok((tuple, flags)) = packet.flow(frame.data(at)) else {
            return DirectDecision::NotMapped;
        };
        Balancer {
            tables: &cx.snapshot.lb,
            owner: &mut cx.worker.sticky,
            peers: &cx.snapshot.sticky_tables,
            now_s: cx.now.tick_s,
        }
        .record_direct(&tuple, flags)
    }
}

impl<F: Family> Node for LbDirect<F> {
    const NAME: &'static str = if F::V6 { "lb6-direct" } else { "lb4-direct" };
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            match Self::decide(cx, frame, at) {
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
