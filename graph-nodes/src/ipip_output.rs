//! `ipip4-output`, `ipip6-output`: packets that enter a tunnel (RFC 2003, RFC 2473, RFC 4213).

use std::marker::PhantomData;

use dataplane::adjacency::{AdjacencyId, Tunnel};
use dataplane::family::{Family, Ip4, Ip6};
use dataplane::forwarding::TunnelPolicy;
use dataplane::frame::Frame;
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;
use dataplane::{family_next_nodes, family_node_counters};

use crate::encapsulation::{Outer, OuterFamily, Shim, encapsulate};

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Towards the far end.
        Rewrite => ("ip4-rewrite", "ip6-rewrite"),
        /// Cannot be sent.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What `ipip4-output` and `ipip6-output` count.
    pub enum Counter {
        /// The far end cannot be reached, or only through a tunnel.
        NoRoute => ("no route to the tunnel destination", Error),
        /// No room in front of the packet, or it is as long as an IP packet can be.
        NoRoom => ("no room for the outer header", Error),
    }
}

/// Puts the outer header of a tunnel around packets. `O` is the outer family.
///
/// The header has what `lb conf` defaults to: TTL 64, DSCP and ECN copied, DF that of the packet.
/// Packets came here from a rewrite node, which took a hop off and saw to it that they are no bigger
/// than the tunnel's MTU.
///
/// # Reads
/// Lane `adjacency`: the tunnel's; the IP header.
/// # Writes
/// The outer header; lanes `adjacency`, which becomes that towards the far end, `l3_offset`,
/// `l4_offset`, `protocol`; flags `ORIGINATED`, `ENCAPSULATED`; the tx counters of the tunnel.
/// # Next nodes
/// `ip4-rewrite` or `ip6-rewrite`, by the outer family; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets of tunnels whose far end cannot be reached.
#[derive(Debug)]
pub struct IpipOutput<O>(PhantomData<O>);

impl<O> Default for IpipOutput<O> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Both ends, when they are of the outer family, and the way to the far one.
fn ends<O: Family>(
    snapshot: &Snapshot,
    tunnel: &Tunnel,
) -> Option<(O::Address, O::Address, AdjacencyId)> {
    let way = tunnel.underlay?;
    // A tunnel inside a tunnel would be possible, but one inside itself would not end.
    snapshot.adjacency(way).filter(|adjacency| adjacency.tunnel.is_none())?;
    Some((O::address(tunnel.source)?, O::address(tunnel.destination)?, way))
}

/// Puts the header around packet `at` of family `Inner`; the length it had in bytes, if there was
/// room.
fn wrap<Inner: Family, O: OuterFamily>(
    cx: &mut NodeCx<'_, IpipOutput<O>>,
    frame: &mut Frame,
    at: usize,
    ends: (O::Address, O::Address),
) -> Option<usize> {
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    let header = Inner::Header::at(frame.data(at), l3)?;
    let len = header.packet_len();
    let policy = TunnelPolicy::default();
    let mut outer = Outer::new::<Inner>(&policy, header, ends, Shim::Plain, 0);
    if !O::V6 && !outer.dont_fragment {
        outer.id = cx.worker.next_outer_id() as u16;
    }
    encapsulate::<Inner, O>(frame, at, &outer).then_some(len)
}

impl<O: OuterFamily> IpipOutput<O> {
    fn enter(cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) -> Result<(), Counter> {
        let snapshot = cx.snapshot;
        let adjacency = snapshot.adjacency(AdjacencyId(frame.lanes.adjacency[at]));
        let adjacency = adjacency.ok_or(Counter::NoRoute)?;
        let tunnel = adjacency.tunnel.as_ref().ok_or(Counter::NoRoute)?;
        let (source, destination, way) = ends::<O>(snapshot, tunnel).ok_or(Counter::NoRoute)?;
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let version = frame.data(at).get(l3).map_or(0, |byte| byte >> 4);
        let wrapped = match version {
            6 => wrap::<Ip6, O>(cx, frame, at, (source, destination)),
            _ => wrap::<Ip4, O>(cx, frame, at, (source, destination)),
        };
        let len = wrapped.ok_or(Counter::NoRoom)?;
        if let Some(stats) = cx.worker.shared.interfaces.get(adjacency.interface.index()) {
            stats.tx_packets.add(1);
            stats.tx_bytes.add(len as u64);
        }
        frame.lanes.adjacency[at] = way.0;
        Ok(())
    }
}

impl<O: OuterFamily> Node for IpipOutput<O> {
    const NAME: &'static str = if O::V6 { "ipip6-output" } else { "ipip4-output" };
    type Next = ByFamily<O, Next>;
    type Counter = ByFamily<O, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            match Self::enter(cx, frame, at) {
                Ok(()) => cx.set_next(at, Next::Rewrite),
                Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Rewrite(AdjacencyId(frame.lanes.adjacency[at]))
    }
}
