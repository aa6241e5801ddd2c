//! `ip4-lookup`: asks the FIB.

use dataplane::fib::{FibDrop, FibEntry};
use dataplane::frame::{Frame, flag};
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::{next_nodes, node_counters};

use crate::icmp_error::IcmpError;
use crate::ip4_arp::UNRESOLVED;

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// To a neighbour, known or not.
        Rewrite => "ip4-rewrite",
        /// To us.
        Local => "ip4-local",
        /// To a VIP.
        Vip => "lb4-vip",
        /// To an AS's own address.
        Direct => "lb4-direct",
        /// To nowhere, and the sender is told.
        IcmpError => "ip4-icmp-error",
        /// To nowhere.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `ip4-lookup` counts.
    pub enum Counter {
        /// No IPv4 header where one should be (a malformed packet of control).
        TooShort => ("ip4 length < 20 bytes", Error),
        /// No route; the sender gets a "network unreachable".
        Miss => ("ip4 destination lookup miss", Error),
        /// A route says to drop.
        Blackholed => ("blackholed packets", Error),
        /// The broadcast or network address of a connected network, or a group.
        Broadcast => ("ip4 directed broadcast", Error),
    }
}

/// Longest-prefix match of the destination.
///
/// # Reads
/// The destination address; `Snapshot::fib4`.
/// # Writes
/// Lanes `adjacency`, `tx_interface` (of a connected network), `icmp`; flag `LOCAL_FALLBACK`.
/// # Next nodes
/// `ip4-rewrite`, `ip4-local`, `lb4-vip`, `lb4-direct`, `ip4-icmp-error`, `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Destinations that the FIB drops.
#[derive(Debug, Default)]
pub struct Ip4Lookup;

impl Node for Ip4Lookup {
    const NAME: &'static str = "ip4-lookup";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        let fib = &cx.snapshot.fib4;
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let Some(header) = Ipv4Header::at(frame.data(at), l3) else {
                cx.drop_packet(frame, at, Next::Drop, Counter::TooShort);
                continue;
            };
            let entry = fib.lookup(header.destination());
            let lanes = &mut frame.lanes;
            let next = match entry {
                FibEntry::Adjacency(id) => {
                    lanes.adjacency[at] = id.0;
                    Next::Rewrite
                }
                FibEntry::Vip { local, .. } => {
                    if local {
                        lanes.flags[at] |= flag::LOCAL_FALLBACK;
                    }
                    Next::Vip
                }
                FibEntry::AsDirect(id) => {
                    lanes.adjacency[at] = id.0;
                    Next::Direct
                }
                FibEntry::Local => Next::Local,
                FibEntry::Glean(interface) => {
                    lanes.adjacency[at] = UNRESOLVED;
                    lanes.tx_interface[at] = interface;
                    Next::Rewrite
                }
                FibEntry::Drop(FibDrop::NoRoute) => {
                    cx.count(Counter::Miss, 1);
                    lanes.icmp[at] = IcmpError::NetUnreachable as u8;
                    Next::IcmpError
                }
                FibEntry::Drop(FibDrop::Configured) => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::Blackholed);
                    continue;
                }
                FibEntry::Drop(FibDrop::Broadcast) => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::Broadcast);
                    continue;
                }
            };
            cx.set_next(at, next);
        }
    }

    fn trace(&self, snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        Ipv4Header::at(frame.data(at), l3).map_or(TraceDetail::None, |ip| {
            TraceDetail::Fib(snapshot.fib4.lookup(ip.destination()))
        })
    }
}
