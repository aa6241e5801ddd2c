//! `lb4-l3dsr`, `lb6-l3dsr`: packets for ASs that know the VIP by the DSCP.

use std::marker::PhantomData;

use dataplane::adjacency::AdjacencyId;
use dataplane::family::Family;
use dataplane::forwarding::Method;
use dataplane::frame::{Frame, flag};
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;

use crate::icmp_error::IcmpError;
use crate::lb_direct_routing::{Counter, Next};
use crate::to_server::{TooBig, deliver, follow_pseudo_header, too_big, way};

/// Replaces the destination by the AS and the DSCP by the VIP's, and routes the packet on. The ECN
/// bits stay, and every checksum is as right or wrong as it was.
///
/// # Reads
/// Lanes `server`, `l4_offset`, `protocol`; the IP header; `Snapshot::server_paths`.
/// # Writes
/// Destination, DSCP, TTL, checksums, Ethernet header; lanes `adjacency`, `tx_interface`, `icmp`.
/// # Next nodes
/// `interface-output`; `ip4-rewrite` or `ip6-rewrite` while the adjacency is incomplete;
/// `ip4-icmp-error` or `ip6-icmp-error`; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets without route to their AS, or too big for the link.
pub struct LbL3dsr<F>(PhantomData<fn() -> F>);

impl<F> Default for LbL3dsr<F> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<F: Family> LbL3dsr<F> {
    fn forward(
        snapshot: &Snapshot,
        frame: &mut Frame,
        at: usize,
    ) -> Result<Next, (Counter, Option<IcmpError>)> {
        let way = way(snapshot, frame, at).ok_or((Counter::NoRoute, None))?;
        let (Some(server), Method::L3dsr { dscp }) =
            (F::address(way.path.address), way.path.method)
        else {
            return Err((Counter::NoRoute, None));
        };
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let l4 = usize::from(frame.lanes.l4_offset[at]);
        let protocol = frame.lanes.protocol[at];
        let later = frame.lanes.flags[at] & flag::LATER_FRAGMENT != 0;
        let data = frame.data_mut(at);
        let header = F::Header::at_mut(data, l3).ok_or((Counter::NoRoute, None))?;
        match too_big::<F>(header, way.adjacency.mtu) {
            None => {}
            Some(TooBig::Tell) => {
                frame.lanes.adjacency[at] = way.id.0;
                return Err((Counter::DontFragment, Some(IcmpError::TooBig)));
            }
            Some(TooBig::Drop) => return Err((Counter::Mtu, None)),
        }
        let delta = header.set_destination(server);
        header.set_dscp(dscp);
        if !later {
            follow_pseudo_header(data, l4, protocol, delta);
        }
        Ok(if deliver::<F>(frame, at, &way, false) { Next::Output } else { Next::Rewrite })
    }
}

impl<F: Family> Node for LbL3dsr<F> {
    const NAME: &'static str = if F::V6 { "lb6-l3dsr" } else { "lb4-l3dsr" };
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
