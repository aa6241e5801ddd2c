//! `lb4-dr`, `lb6-dr`: packets for ASs on our links that have the VIP themselves.

use std::marker::PhantomData;

use dataplane::adjacency::AdjacencyId;
use dataplane::family::Family;
use dataplane::frame::Frame;
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::{family_next_nodes, family_node_counters};

use crate::icmp_error::IcmpError;
use crate::to_server::{TooBig, deliver, too_big, way};

family_next_nodes! {
    /// Where packets that get no outer header go.
    pub enum Next {
        /// Ready to be sent.
        Output => "interface-output",
        /// The way to the AS is not known yet, or is a tunnel interface.
        Rewrite => ("ip4-rewrite", "ip6-rewrite"),
        /// Too big, and the client is told.
        IcmpError => ("ip4-icmp-error", "ip6-icmp-error"),
        /// Cannot be forwarded.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What the nodes count whose packets get no outer header.
    pub enum Counter {
        /// There is no route to the AS.
        NoRoute => ("no route to the server", Error),
        /// Too big for the AS's link and not to be fragmented; the client is told.
        DontFragment => (("ip4 MTU exceeded and DF set", "ip6 MTU exceeded"), Error),
        /// Too big for the AS's link; IPv6 packets are all answered.
        Mtu => (("mtu exceeded", ""), Error),
    }
}

/// Sends the packet to the AS with nothing changed but the Ethernet header (LVS's `-g`).
///
/// # Reads
/// Lane `server`; the IP header's length; `Snapshot::server_paths`.
/// # Writes
/// The Ethernet header; lanes `adjacency`, `tx_interface`, `icmp`; flag `ORIGINATED`, so that
/// nobody takes a hop off.
/// # Next nodes
/// `interface-output`; `ip4-rewrite` or `ip6-rewrite` while the adjacency is incomplete;
/// `ip4-icmp-error` or `ip6-icmp-error`; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets without route to their AS, or too big for the link.
pub struct LbDirectRouting<F>(PhantomData<fn() -> F>);

impl<F> Default for LbDirectRouting<F> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<F: Family> LbDirectRouting<F> {
    fn forward(
        snapshot: &Snapshot,
        frame: &mut Frame,
        at: usize,
    ) -> Result<Next, (Counter, Option<IcmpError>)> {
        let way = way(snapshot, frame, at).ok_or((Counter::NoRoute, None))?;
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let header = F::Header::at(frame.data(at), l3).ok_or((Counter::NoRoute, None))?;
        match too_big::<F>(header, way.adjacency.mtu) {
            None => {}
            Some(TooBig::Tell) => {
                frame.lanes.adjacency[at] = way.id.0;
                return Err((Counter::DontFragment, Some(IcmpError::TooBig)));
            }
            Some(TooBig::Drop) => return Err((Counter::Mtu, None)),
        }
        Ok(if deliver::<F>(frame, at, &way, true) { Next::Output } else { Next::Rewrite })
    }
}

impl<F: Family> Node for LbDirectRouting<F> {
    const NAME: &'static str = if F::V6 { "lb6-dr" } else { "lb4-dr" };
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            match Self::forward(cx.snapshot, frame, at) {
                Ok(next) => cx.set_next(at, next),
                Err((reason, None)) => cx.drop_packet(frame, at, Next::Drop, reason),
                Err((reason, Some(error))) => {
                    cx.count(reason, 1);
                    frame.lanes.icmp[at] = error as u8;
                    cx.set_next(at, Next::IcmpError);
                }
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Rewrite(AdjacencyId(frame.lanes.adjacency[at]))
    }
}
