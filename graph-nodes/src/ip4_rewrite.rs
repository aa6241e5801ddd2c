//! `ip4-rewrite`: the last step of forwarding.

use dataplane::adjacency::AdjacencyId;
use dataplane::frame::{Frame, flag};
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::{next_nodes, node_counters};

use crate::forwarding::{Obstacle, forward, link, obstacle};
use crate::icmp_error::IcmpError;

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Ready to be sent.
        Output => "interface-output",
        /// The neighbour's Ethernet address is not known.
        Arp => "ip4-arp",
        /// TTL or size is in the way, and the sender is told.
        IcmpError => "ip4-icmp-error",
        /// Cannot be forwarded.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `ip4-rewrite` counts.
    pub enum Counter {
        /// No hop left; the sender gets a "time exceeded".
        Ttl => ("ip4 ttl <= 1", Error),
        /// Too big for the link, DF set; the sender gets a "fragmentation needed".
        DontFragment => ("ip4 MTU exceeded and DF set", Error),
        /// Too big for the link; fragmenting is not offered.
        Mtu => ("mtu exceeded", Error),
        /// The adjacency or the IPv4 header is missing.
        NoAdjacency => ("ip4 adjacency missing", Error),
    }
}

/// Decrements the TTL, checks the MTU and writes the Ethernet header.
///
/// # Reads
/// Lane `adjacency`, or `tx_interface` for a host not asked for yet; the IPv4 header; flag
/// `ORIGINATED`.
/// # Writes
/// TTL, header checksum, Ethernet header; lanes `tx_interface`, `icmp`.
/// # Next nodes
/// `interface-output`; `ip4-arp` while the adjacency is incomplete; `ip4-icmp-error`; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets without a hop left, bigger than the MTU, or without adjacency.
#[derive(Debug, Default)]
pub struct Ip4Rewrite;

impl Node for Ip4Rewrite {
    const NAME: &'static str = "ip4-rewrite";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        let snapshot = cx.snapshot;
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let originated = frame.lanes.flags[at] & flag::ORIGINATED != 0;
            let adjacency = snapshot.adjacency(AdjacencyId(frame.lanes.adjacency[at]));
            let header = Ipv4Header::at(frame.data(at), l3);
            let (Some((interface, mtu)), Some(header)) = (link(snapshot, &frame.lanes, at), header)
            else {
                cx.drop_packet(frame, at, Next::Drop, Counter::NoAdjacency);
                continue;
            };
            match obstacle(header, mtu, originated) {
                None => {}
                Some(Obstacle::Ttl) => {
                    cx.count(Counter::Ttl, 1);
                    frame.lanes.icmp[at] = IcmpError::TtlExceeded as u8;
                    cx.set_next(at, Next::IcmpError);
                    continue;
                }
                Some(Obstacle::DontFragment) => {
                    cx.count(Counter::DontFragment, 1);
                    frame.lanes.icmp[at] = IcmpError::FragmentationNeeded as u8;
                    cx.set_next(at, Next::IcmpError);
                    continue;
                }
                Some(Obstacle::Mtu) => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::Mtu);
                    continue;
                }
            }
            frame.lanes.tx_interface[at] = interface;
            let sent = adjacency.is_some_and(|to| forward(frame, at, to, originated));
            cx.set_next(at, if sent { Next::Output } else { Next::Arp });
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Rewrite(AdjacencyId(frame.lanes.adjacency[at]))
    }
}
