//! `ip4-rewrite`, `ip6-rewrite`: the last step of forwarding.

use std::marker::PhantomData;

use dataplane::adjacency::{Adjacency, AdjacencyId};
use dataplane::family::Family;
use dataplane::frame::{Frame, flag};
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::{family_next_nodes, family_node_counters};

use crate::forwarding::{Obstacle, forward, link, obstacle, take_hop};
use crate::icmp_error::IcmpError;

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Ready to be sent.
        Output => "interface-output",
        /// The neighbour's Ethernet address is not known.
        Hold => ("ip4-arp", "ip6-discover-neighbor"),
        /// Into a tunnel over IPv4.
        Tunnel4 => "ipip4-output",
        /// Into a tunnel over IPv6.
        Tunnel6 => "ipip6-output",
        /// TTL or size is in the way, and the sender is told.
        IcmpError => ("ip4-icmp-error", "ip6-icmp-error"),
        /// Cannot be forwarded.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What `ip4-rewrite` and `ip6-rewrite` count.
    pub enum Counter {
        /// No hop left; the sender gets a "time exceeded".
        Ttl => (("ip4 ttl <= 1", "ip6 ttl <= 1"), Error),
        /// Too big for the link and not to be fragmented; the sender gets a "fragmentation needed"
        /// or a "packet too big".
        TooBig => (("ip4 MTU exceeded and DF set", "ip6 MTU exceeded"), Error),
        /// Too big for the link; fragmenting is not offered.
        Mtu => (("mtu exceeded", ""), Error),
        /// The adjacency or the IP header is missing.
        NoAdjacency => (("ip4 adjacency missing", "ip6 adjacency missing"), Error),
    }
}

/// Decrements TTL or hop limit, checks the MTU and writes the Ethernet header.
///
/// # Reads
/// Lane `adjacency`, or `tx_interface` for a host not asked for yet; the IP header; flag
/// `ORIGINATED`.
/// # Writes
/// TTL, header checksum, Ethernet header; lanes `tx_interface`, `icmp`, `mtu`.
/// # Next nodes
/// `interface-output`; `ipip4-output` or `ipip6-output` for the adjacency of a tunnel; `ip4-arp` or
/// `ip6-discover-neighbor` while the adjacency is incomplete;
/// `ip4-icmp-error` or `ip6-icmp-error`; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets without a hop left, bigger than the MTU, or without adjacency.
#[derive(Debug)]
pub struct IpRewrite<F>(PhantomData<F>);

impl<F> Default for IpRewrite<F> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<F: Family> IpRewrite<F> {
    /// Sends packet `at`, with nothing in its way, to its next hop.
    fn leave(frame: &mut Frame, at: usize, to: Option<&Adjacency>, originated: bool) -> Next {
        match to {
            Some(Adjacency { tunnel: Some(tunnel), .. }) => {
                if !originated {
                    take_hop::<F>(frame, at);
                }
                if tunnel.destination.is_ipv6() { Next::Tunnel6 } else { Next::Tunnel4 }
            }
            Some(to) if forward::<F>(frame, at, to, originated) => Next::Output,
            _ => Next::Hold,
        }
    }
}

impl<F: Family> Node for IpRewrite<F> {
    const NAME: &'static str = if F::V6 { "ip6-rewrite" } else { "ip4-rewrite" };
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        let snapshot = cx.snapshot;
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let originated = frame.lanes.flags[at] & flag::ORIGINATED != 0;
            let adjacency = snapshot.adjacency(AdjacencyId(frame.lanes.adjacency[at]));
            let header = F::Header::at(frame.data(at), l3);
            let (Some((interface, mtu)), Some(header)) = (link(snapshot, &frame.lanes, at), header)
            else {
                cx.drop_packet(frame, at, Next::Drop, Counter::NoAdjacency);
                continue;
            };
            let (reason, error) = match obstacle::<F>(header, mtu, originated) {
                None => {
                    frame.lanes.tx_interface[at] = interface;
                    cx.set_next(at, Self::leave(frame, at, adjacency, originated));
                    continue;
                }
                Some(Obstacle::Mtu) => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::Mtu);
                    continue;
                }
                Some(Obstacle::Ttl) => (Counter::Ttl, IcmpError::TtlExceeded),
                Some(Obstacle::DontFragment) => (Counter::TooBig, IcmpError::TooBig),
            };
            cx.count(reason, 1);
            frame.lanes.icmp[at] = error as u8;
            frame.lanes.mtu[at] = mtu;
            cx.set_next(at, Next::IcmpError);
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Rewrite(AdjacencyId(frame.lanes.adjacency[at]))
    }
}
