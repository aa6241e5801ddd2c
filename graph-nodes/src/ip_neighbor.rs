//! `ip4-arp`, `ip6-discover-neighbor`: hold packets until their neighbour is known.

use std::marker::PhantomData;
use std::net::IpAddr;

use dataplane::adjacency::AdjacencyId;
use dataplane::event::Event;
use dataplane::family::Family;
use dataplane::frame::{FRAME_MAX, Frame};
use dataplane::interface::InterfaceId;
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;
use dataplane::worker::WorkerState;
use dataplane::{family_next_nodes, family_node_counters};
use hashbrown::HashMap;

use crate::forwarding::UNRESOLVED;

/// Packets held in all.
pub const HOLD_MAX: usize = 1024;
/// Packets held for one next hop.
pub const HOLD_PER_NEXT_HOP: u16 = 64;
/// How long a packet is held, in seconds.
pub const HOLD_TIME_S: u32 = 3;

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// The neighbour is known now.
        Rewrite => ("ip4-rewrite", "ip6-rewrite"),
        /// Given up.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What `ip4-arp` and `ip6-discover-neighbor` count.
    pub enum Counter {
        /// A packet was put on hold.
        Held => ("packets held for a neighbor", Info),
        /// A held packet went on.
        Released => ("held packets released", Info),
        /// Too many packets wait for this next hop.
        NextHopFull => ("hold queue of the next hop full", Error),
        /// Too many packets wait.
        Full => ("hold queue full", Error),
        /// The neighbour did not answer in time.
        TimedOut => ("neighbor not resolved in time", Error),
        /// The adjacency or the IP header is missing.
        NoAdjacency => (("ip4 adjacency missing", "ip6 adjacency missing"), Error),
    }
}

type NextHop = (InterfaceId, IpAddr);

/// A packet on hold, with the lanes it needs to go on.
#[derive(Debug)]
struct Held {
    next_hop: NextHop,
    packet: Packet,
    since_s: u32,
    rx_interface: InterfaceId,
    l3_offset: u16,
    l4_offset: u16,
    protocol: u8,
    flags: u8,
    trace: u32,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: u16,
    /// When control was last asked, in ticks.
    asked_s: Option<u32>,
}

/// The hold queue of a worker for one family. All its memory is allocated before the worker starts.
///
/// # Reads
/// Lane `adjacency`, or `tx_interface` and the destination address; `Snapshot::generation`.
/// # Writes
/// Lanes `adjacency`, `tx_interface` of released packets; events `NeighborNeeded`, one per second
/// and next hop.
/// # Next nodes
/// `ip4-rewrite` or `ip6-rewrite` once a newer snapshot has the adjacency complete; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets beyond the limits, and packets held for 3 s.
#[derive(Debug)]
pub struct IpNeighbor<F> {
    /// Packets on hold, oldest first.
    held: Vec<Held>,
    /// Empty; where the survivors of a pass are collected.
    spare: Vec<Held>,
    waiting: HashMap<NextHop, Waiting>,
    /// Snapshot and tick of the last complete pass over `held`.
    passed: (u64, u32),
    family: PhantomData<F>,
}

impl<F> Default for IpNeighbor<F> {
    fn default() -> Self {
        Self {
            held: Vec::with_capacity(HOLD_MAX),
            spare: Vec::with_capacity(HOLD_MAX),
            // Twice the entries, so that removals never make the map grow.
            waiting: HashMap::with_capacity(2 * HOLD_MAX),
            passed: (0, 0),
            family: PhantomData,
        }
    }
}

fn complete(snapshot: &Snapshot, (interface, address): NextHop) -> Option<AdjacencyId> {
    let id = snapshot.adjacency_of(interface, address)?;
    snapshot.adjacency(id)?.rewrite.map(|_| id)
}

fn next_hop<F: Family>(snapshot: &Snapshot, frame: &Frame, at: usize) -> Option<NextHop> {
    let id = frame.lanes.adjacency[at];
    if id == UNRESOLVED {
        let ip = F::Header::at(frame.data(at), usize::from(frame.lanes.l3_offset[at]))?;
        return Some((frame.lanes.tx_interface[at], ip.destination().into()));
    }
    let adjacency = snapshot.adjacency(AdjacencyId(id))?;
    Some((adjacency.interface, adjacency.next_hop))
}

impl<F: Family> IpNeighbor<F> {
    fn leave(&mut self, next_hop: NextHop) {
        if let Some(waiting) = self.waiting.get_mut(&next_hop) {
            waiting.packets = waiting.packets.saturating_sub(1);
            if waiting.packets == 0 {
                self.waiting.remove(&next_hop);
            }
        }
    }

    /// Puts packet `at` on hold and asks control for its neighbour.
    fn hold(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
    ) -> Result<(), Counter> {
        let next_hop = next_hop::<F>(cx.snapshot, frame, at).ok_or(Counter::NoAdjacency)?;
        if self.held.len() >= HOLD_MAX {
            return Err(Counter::Full);
        }
        let waiting = self.waiting.entry(next_hop).or_default();
        if waiting.asked_s != Some(cx.now.tick_s) {
            waiting.asked_s = Some(cx.now.tick_s);
            let (interface, address) = next_hop;
            let known = cx.snapshot.adjacency_of(interface, address).is_some();
            cx.worker.post_neighbor(Event::NeighborNeeded { interface, address }, known, cx.now);
        }
        if waiting.packets >= HOLD_PER_NEXT_HOP {
            return Err(Counter::NextHopFull);
        }
        let Some(packet) = frame.take(at) else { return Ok(()) };
        waiting.packets += 1;
        cx.count(Counter::Held, 1);
        self.held.push(Held {
            next_hop,
            packet,
            since_s: cx.now.tick_s,
            rx_interface: frame.lanes.rx_interface[at],
            l3_offset: frame.lanes.l3_offset[at],
            l4_offset: frame.lanes.l4_offset[at],
            protocol: frame.lanes.protocol[at],
            flags: frame.lanes.flags[at],
            trace: frame.lanes.trace[at],
        });
        Ok(())
    }

    /// Lets a packet go on, to be rewritten for `adjacency` or dropped.
    fn release_one(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        held: Held,
        adjacency: Option<AdjacencyId>,
    ) {
        self.leave(held.next_hop);
        let at = match frame.push(held.packet, held.rx_interface) {
            Ok(at) => at,
            Err(packet) => {
                cx.worker.garbage.push(packet);
                return;
            }
        };
        frame.lanes.l3_offset[at] = held.l3_offset;
        frame.lanes.l4_offset[at] = held.l4_offset;
        frame.lanes.protocol[at] = held.protocol;
        frame.lanes.flags[at] = held.flags;
        frame.lanes.trace[at] = held.trace;
        match adjacency {
            Some(id) => {
                frame.lanes.adjacency[at] = id.0;
                frame.lanes.tx_interface[at] = held.next_hop.0;
                cx.count(Counter::Released, 1);
                cx.set_next(at, Next::Rewrite);
            }
            None => {
                frame.lanes.adjacency[at] = UNRESOLVED;
                cx.drop_packet(frame, at, Next::Drop, Counter::TimedOut);
            }
        }
    }
}

impl<F: Family> Node for IpNeighbor<F> {
    const NAME: &'static str = if F::V6 { "ip6-discover-neighbor" } else { "ip4-arp" };
    const INPUT: bool = true;
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            if let Err(reason) = self.hold(cx, frame, at) {
                cx.drop_packet(frame, at, Next::Drop, reason);
            }
        }
    }

    fn wants_poll(&self, _worker: &WorkerState) -> bool {
        !self.held.is_empty()
    }

    fn poll(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        let present = (cx.snapshot.generation, cx.now.tick_s);
        if self.held.is_empty() || self.passed == present {
            return;
        }
        self.passed = present;
        let mut all = std::mem::replace(&mut self.held, std::mem::take(&mut self.spare));
        for held in all.drain(..) {
            let adjacency = complete(cx.snapshot, held.next_hop);
            let expired = cx.now.tick_s.wrapping_sub(held.since_s) >= HOLD_TIME_S;
            if adjacency.is_none() && !expired {
                self.held.push(held);
            } else if frame.len() == FRAME_MAX {
                // The rest follows next turn.
                self.passed.0 = u64::MAX;
                self.held.push(held);
            } else {
                self.release_one(cx, frame, held, adjacency);
            }
        }
        self.spare = all;
    }

    fn release(&mut self, garbage: &mut Vec<Packet>) {
        self.waiting.clear();
        garbage.extend(self.held.drain(..).map(|held| held.packet));
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Rewrite(AdjacencyId(frame.lanes.adjacency[at]))
    }
}
