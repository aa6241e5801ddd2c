//! `lb4-gre4`, `lb6-ipip4` and their likes: packets for ASs that take them out of a tunnel.

use std::marker::PhantomData;

use dataplane::adjacency::{Adjacency, AdjacencyId};
use dataplane::family::Family;
use dataplane::family_node_counters;
use dataplane::forwarding::{Method, TooBig};
use dataplane::frame::{Frame, flag};
use dataplane::interface::InterfaceId;
use dataplane::node::{ByFamily, NextNode, Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv6::MINIMUM_MTU;
use dataplane::worker::WorkerState;

use crate::encapsulation::{Outer, OuterFamily, Shim, encapsulate};
use crate::icmp_error::IcmpError;
use crate::to_server::{Way, way};

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Next {
    /// Ready to be sent.
    Output,
    /// Encapsulated; the way to the AS is not known yet, or is a tunnel interface.
    Rewrite,
    /// Too big, and the client is told.
    IcmpError,
    /// Cannot be forwarded.
    Drop,
}

/// [`Next`] of a node whose packets are of family `Inner` and go on in family `Outer`.
#[derive(Clone, Copy, Debug)]
pub struct NextOf<Inner, Outer> {
    next: Next,
    families: PhantomData<fn() -> (Inner, Outer)>,
}

impl<Inner, Outer> From<Next> for NextOf<Inner, Outer> {
    #[inline]
    fn from(next: Next) -> Self {
        Self { next, families: PhantomData }
    }
}

impl<Inner: Family, Outer: Family> NextNode for NextOf<Inner, Outer> {
    const NAMES: &'static [&'static str] = &[
        "interface-output",
        if Outer::V6 { "ip6-rewrite" } else { "ip4-rewrite" },
        if Inner::V6 { "ip6-icmp-error" } else { "ip4-icmp-error" },
        "error-drop",
    ];
    #[inline]
    fn index(self) -> u8 {
        self.next as u8
    }
}

family_node_counters! {
    /// What the tunnel nodes count.
    pub enum Counter {
        /// There is no route to the AS.
        NoRoute => ("no route to the server", Error),
        /// No address of ours can be the source of the outer header.
        NoSource => ("no tunnel source address", Error),
        /// Too big with the outer header; the client is told how big packets may be.
        SenderTold => ("too big after encap, sender told", Error),
        /// Too big with the outer header, and the client cannot be told.
        TooBig => ("too big after encap", Error),
        /// Too big with the outer header, which was fragmented.
        Fragmented => ("outer packets fragmented", Info),
        /// No room in front of the packet, or it would be longer than an IP packet can be.
        NoRoom => ("no room for the outer header", Error),
        /// No buffers for the fragments.
        NoBuffer => ("no buffer for outer fragments", Error),
        /// The interface towards the AS is administratively down or gone, or its link is; whole
        /// packets are dropped by `interface-output`.
        LinkDown => ("interface is down", Error),
    }
}

/// A way of tunnelling, as a type.
pub trait Kind: Send + 'static {
    /// Names of the nodes, by inner and outer family.
    const NAMES: [[&'static str; 2]; 2];
    /// The method.
    const METHOD: Method;
}

/// GRE (RFC 2784).
#[derive(Debug)]
pub enum Gre {}

/// IP in IP.
#[derive(Debug)]
pub enum Ipip {}

/// GUE variant 1.
#[derive(Debug)]
pub enum Gue {}

impl Kind for Gre {
    const NAMES: [[&'static str; 2]; 2] = [["lb4-gre4", "lb4-gre6"], ["lb6-gre4", "lb6-gre6"]];
    const METHOD: Method = Method::Gre;
}

impl Kind for Ipip {
    const NAMES: [[&'static str; 2]; 2] = [["lb4-ipip4", "lb4-ipip6"], ["lb6-ipip4", "lb6-ipip6"]];
    const METHOD: Method = Method::Ipip;
}

impl Kind for Gue {
    const NAMES: [[&'static str; 2]; 2] = [["lb4-gue4", "lb4-gue6"], ["lb6-gue4", "lb6-gue6"]];
    const METHOD: Method = Method::Gue;
}

/// Puts the packet, byte for byte as it came, into a packet to the AS, and sends it in the same pass
/// when the AS's next hop is known.
///
/// # Reads
/// Lanes `server`, `hash`; the inner IP header; `Snapshot::server_paths`, `tunnel_policy`.
/// # Writes
/// Outer headers in front of the packet; lanes `adjacency`, `tx_interface`, `l3_offset`,
/// `l4_offset`, `protocol`, `icmp`, `mtu`; flags `ORIGINATED`, `ENCAPSULATED`, `FROM_VIP`.
/// # Next nodes
/// `interface-output`; `ip4-rewrite` or `ip6-rewrite` of the outer family while the adjacency is
/// incomplete; `ip4-icmp-error` or `ip6-icmp-error` of the inner family; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets that cannot reach their AS, or do not fit the link with the outer header.
pub struct LbTunnel<Inner, Outer, K> {
    families: PhantomData<(Inner, Outer)>,
    kind: PhantomData<K>,
}

impl<Inner, Outer, K> Default for LbTunnel<Inner, Outer, K> {
    fn default() -> Self {
        Self { families: PhantomData, kind: PhantomData }
    }
}

/// Why a packet is not sent as one packet to its AS.
enum Refusal {
    Drop(Counter),
    Tell,
}

/// What is to be done with an encapsulated packet.
enum Ready {
    Whole,
    /// It does not fit the link.
    InFragments,
}

impl<Inner, O, K> LbTunnel<Inner, O, K>
where
    Inner: Family,
    O: OuterFamily,
    K: Kind,
{
    /// Checks a packet and puts the outer header around it.
    fn wrap(
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        way: &Way<'_>,
    ) -> Result<Ready, Refusal> {
        let policy = &cx.snapshot.tunnel_policy;
        let hash = frame.lanes.hash[at];
        let source = O::entropy(policy, hash).or_else(|| O::address(way.path.tunnel_source?));
        let (Some(source), Some(destination)) = (source, O::address(way.path.address)) else {
            return Err(Refusal::Drop(Counter::NoSource));
        };
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let Some(&inner) = Inner::Header::at(frame.data(at), l3) else {
            return Err(Refusal::Drop(Counter::NoRoom));
        };
        let limit = way.adjacency.mtu.saturating_sub(K::METHOD.overhead(O::V6));
        let fits = inner.packet_len() <= usize::from(limit);
        if !fits {
            // A small IPv6 packet has to get through, and its sender cannot make it smaller
            // (RFC 2473 §7.1).
            let helps = Inner::dont_fragment(&inner)
                && (!Inner::V6 || inner.packet_len() > usize::from(MINIMUM_MTU));
            if helps {
                frame.lanes.mtu[at] = if Inner::V6 { limit.max(MINIMUM_MTU) } else { limit };
                return Err(Refusal::Tell);
            }
            if policy.too_big == TooBig::Drop {
                return Err(Refusal::Drop(Counter::TooBig));
            }
        }
        let shim = match K::METHOD {
            Method::Gre => Shim::Gre,
            Method::Gue => Shim::gue(policy, hash),
            _ => Shim::Plain,
        };
        let mut outer = Outer::new::<Inner>(policy, &inner, (source, destination), shim, hash);
        outer.dont_fragment &= fits;
        if !O::V6 && !outer.dont_fragment {
            outer.id = cx.worker.next_outer_id() as u16;
        }
        if !encapsulate::<Inner, O>(frame, at, &outer) {
            return Err(Refusal::Drop(Counter::NoRoom));
        }
        frame.lanes.adjacency[at] = way.id.0;
        frame.lanes.tx_interface[at] = way.adjacency.interface;
        Ok(if fits { Ready::Whole } else { Ready::InFragments })
    }

    /// Sends an encapsulated packet, or lets it wait for its neighbour.
    fn send(frame: &mut Frame, at: usize, adjacency: &Adjacency) -> Next {
        let sent = adjacency.rewrite.as_ref().is_some_and(|rewrite| frame.set_l2(at, rewrite));
        if sent { Next::Output } else { Next::Rewrite }
    }

    /// Sends the packet in slot `at`, a whole outer packet, as fragments.
    ///
    /// They do not travel on in the frame, which may have no room for them: they are given to the
    /// port at once, unless the neighbour is not known yet.
    fn send_fragments(
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        adjacency: &Adjacency,
    ) -> Result<(), Counter> {
        let complete = adjacency.rewrite.as_ref().is_some_and(|rewrite| frame.set_l2(at, rewrite));
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let header = *O::Header::at(frame.data(at), l3).ok_or(Counter::NoBuffer)?;
        let count = O::pieces(&header, adjacency.mtu).count();
        if count == 0 {
            return Err(Counter::TooBig);
        }
        if !complete && frame.room() < count {
            return Err(Counter::NoBuffer);
        }
        let id = if O::V6 { cx.worker.next_outer_id() } else { 0 };
        for piece in O::pieces(&header, adjacency.mtu) {
            let mut fragment = cx.io.alloc().ok_or(Counter::NoBuffer)?;
            let whole = frame.packet(at).ok_or(Counter::NoBuffer)?;
            if !O::write_piece(whole, l3, piece, id, &mut fragment) {
                cx.worker.garbage.push(fragment);
                return Err(Counter::NoBuffer);
            }
            cx.worker.shared.rare.fragments_made.add(1);
            if complete {
                Self::transmit(cx, adjacency, fragment, frame.lanes.rx_interface[at]);
            } else {
                Self::hold(cx, frame, at, fragment);
            }
        }
        cx.worker.garbage.extend(frame.take(at));
        Ok(())
    }

    /// Gives a finished fragment to the port. The whole packet came in by `rx`.
    fn transmit(
        cx: &mut NodeCx<'_, Self>,
        adjacency: &Adjacency,
        fragment: Packet,
        rx: InterfaceId,
    ) {
        match cx.snapshot.interface(adjacency.interface).map(|link| (link, link.port)) {
            Some((link, Some(port))) if link.sends() => {
                let WorkerState { transmit, shared, .. } = &mut *cx.worker;
                transmit.push(link, port, fragment, cx.io, shared);
            }
            _ => Self::lose(cx, fragment, rx),
        }
    }

    /// Drops a fragment.
    #[cold]
    fn lose(cx: &mut NodeCx<'_, Self>, fragment: Packet, rx: InterfaceId) {
        cx.count(Counter::LinkDown, 1);
        cx.worker.count_drop(rx);
        cx.worker.garbage.push(fragment);
    }

    /// Sends a fragment on in the frame, to wait for its neighbour.
    fn hold(cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize, piece: Packet) {
        match frame.push(piece, frame.lanes.rx_interface[at]) {
            Ok(new) => {
                let lanes = &mut frame.lanes;
                lanes.l3_offset[new] = lanes.l3_offset[at];
                lanes.l4_offset[new] = lanes.l4_offset[at];
                lanes.adjacency[new] = lanes.adjacency[at];
                lanes.tx_interface[new] = lanes.tx_interface[at];
                lanes.flags[new] = lanes.flags[at];
                cx.set_next(new, Next::Rewrite);
            }
            // There was room when the first was made.
            Err(piece) => Self::lose(cx, piece, frame.lanes.rx_interface[at]),
        }
    }

    fn forward(cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) -> Result<(), Refusal> {
        let way = way(cx.snapshot, frame, at).ok_or(Refusal::Drop(Counter::NoRoute))?;
        match Self::wrap(cx, frame, at, &way)? {
            Ready::Whole => {
                let next = Self::send(frame, at, way.adjacency);
                cx.set_next(at, next);
            }
            Ready::InFragments => {
                Self::send_fragments(cx, frame, at, way.adjacency).map_err(Refusal::Drop)?;
                cx.count(Counter::Fragmented, 1);
            }
        }
        Ok(())
    }
}

impl<Inner, O, K> Node for LbTunnel<Inner, O, K>
where
    Inner: Family,
    O: OuterFamily,
    K: Kind,
{
    const NAME: &'static str = K::NAMES[Inner::V6 as usize][O::V6 as usize];
    type Next = NextOf<Inner, O>;
    type Counter = ByFamily<Inner, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        // Fragments that wait for a neighbour are added behind these.
        for at in 0..frame.len() {
            match Self::forward(cx, frame, at) {
                Ok(()) => {}
                Err(Refusal::Drop(reason)) => cx.drop_packet(frame, at, Next::Drop, reason),
                Err(Refusal::Tell) => {
                    cx.count(Counter::SenderTold, 1);
                    frame.lanes.icmp[at] = IcmpError::TooBig as u8;
                    frame.lanes.flags[at] |= flag::FROM_VIP;
                    cx.set_next(at, Next::IcmpError);
                }
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Rewrite(AdjacencyId(frame.lanes.adjacency[at]))
    }
}
