//! `ip4-lookup`, `ip6-lookup`: ask the FIB.

use std::marker::PhantomData;

use dataplane::family::Family;
use dataplane::fib::{FibDrop, FibEntry};
use dataplane::frame::{Frame, flag};
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;
use dataplane::{family_next_nodes, family_node_counters};

use crate::forwarding::UNRESOLVED;
use crate::icmp_error::IcmpError;
use crate::recent_routes::RecentRoutes;

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// To a neighbour, known or not.
        Rewrite => ("ip4-rewrite", "ip6-rewrite"),
        /// To us.
        Local => ("ip4-local", "ip6-local"),
        /// To a VIP.
        Vip => ("lb4-vip", "lb6-vip"),
        /// To an AS's own address.
        Direct => ("lb4-direct", "lb6-direct"),
        /// To nowhere, and the sender is told.
        IcmpError => ("ip4-icmp-error", "ip6-icmp-error"),
        /// To nowhere.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What `ip4-lookup` and `ip6-lookup` count.
    pub enum Counter {
        /// No IP header where one should be (a malformed packet of control).
        TooShort => (("ip4 length < 20 bytes", "ip6 length < 40 bytes"), Error),
        /// No route; the sender gets a "network unreachable".
        Miss => (("ip4 destination lookup miss", "ip6 destination lookup miss"), Error),
        /// A route says to drop.
        Blackholed => ("blackholed packets", Error),
        /// The broadcast or network address of a connected network, or a group.
        Broadcast => (("ip4 directed broadcast", ""), Error),
        /// From or to an address that is good on its link alone (RFC 4291 §2.5.6).
        LinkLocal => (("", "ip6 link-local packet not forwarded"), Error),
    }
}

/// Longest-prefix match of the destination. Our own packets to link-local addresses leave by the
/// interface that the packets they answer came from.
///
/// # Reads
/// The addresses; `Snapshot::fib4` or `Snapshot::fib6`; lane `rx_interface`, flag `ORIGINATED`.
/// # Writes
/// Lanes `adjacency`, `tx_interface` (of a connected network), `vip` (of an address with VIPs: the
/// number of their prefix, until `lb4-vip` puts the VIP's there), `icmp`; flag `LOCAL_FALLBACK`.
/// # Next nodes
/// `ip4-rewrite`, `ip4-local`, `lb4-vip`, `lb4-direct`, `ip4-icmp-error`, and those of IPv6;
/// `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Destinations that the FIB drops; link-local packets that are not for us.
#[derive(Debug)]
pub struct IpLookup<F> {
    routes: RecentRoutes,
    family: PhantomData<F>,
}

impl<F> Default for IpLookup<F> {
    fn default() -> Self {
        Self { routes: RecentRoutes::default(), family: PhantomData }
    }
}

/// What becomes of packet `at`; `entry` is what the FIB says of its destination. One of our own to a
/// link-local address answers one from the link that this address is good on, which no FIB can tell
/// from the same address on another link (RFC 4007 §6).
fn entry<F: Family>(
    snapshot: &Snapshot,
    frame: &Frame,
    at: usize,
    (destination, entry): (F::Address, FibEntry),
) -> FibEntry {
    let originated = frame.lanes.flags[at] & flag::ORIGINATED != 0;
    if !originated || !F::is_link_local(destination) || entry == FibEntry::Local {
        return entry;
    }
    let rx = frame.lanes.rx_interface[at];
    // Control's own packets come from no link, and tunnels have no neighbours.
    if snapshot.interface(rx).is_none_or(|link| link.port.is_none()) {
        return entry;
    }
    let known = snapshot.adjacency_of(rx, destination.into());
    known.map_or(FibEntry::Glean(rx), FibEntry::Adjacency)
}

fn stays_on_link<F: Family>(header: &F::Header) -> bool {
    F::is_link_local(header.source()) || F::is_link_local(header.destination())
}

impl<F: Family> Node for IpLookup<F> {
    const NAME: &'static str = if F::V6 { "ip6-lookup" } else { "ip4-lookup" };
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let Some(header) = F::Header::at(frame.data(at), l3) else {
                cx.drop_packet(frame, at, Next::Drop, Counter::TooShort);
                continue;
            };
            let destination = header.destination();
            let route = self.routes.lookup::<F>(cx.snapshot, destination);
            let entry = entry::<F>(cx.snapshot, frame, at, (destination, route));
            let originated = frame.lanes.flags[at] & flag::ORIGINATED != 0;
            if F::V6 && !originated && entry != FibEntry::Local && stays_on_link::<F>(header) {
                cx.drop_packet(frame, at, Next::Drop, Counter::LinkLocal);
                continue;
            }
            let lanes = &mut frame.lanes;
            let next = match entry {
                FibEntry::Adjacency(id) => {
                    lanes.adjacency[at] = id.0;
                    Next::Rewrite
                }
                FibEntry::Vip { group, local } => {
                    lanes.vip[at] = group;
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
                FibEntry::Drop(FibDrop::Broadcast) if !F::V6 => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::Broadcast);
                    continue;
                }
                FibEntry::Drop(FibDrop::Configured | FibDrop::Broadcast) => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::Blackholed);
                    continue;
                }
            };
            cx.set_next(at, next);
        }
    }

    fn trace(&self, snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        F::Header::at(frame.data(at), l3).map_or(TraceDetail::None, |ip| {
            let destination = ip.destination();
            let route = F::lookup(snapshot, destination);
            TraceDetail::Fib(entry::<F>(snapshot, frame, at, (destination, route)))
        })
    }
}
