//! [`WorkerShared`]: the part of a worker that control may look at and write to while it runs —
//! counters, queues, switches. Everything else of a worker is its own.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use balancer::{MAX_SERVERS, MAX_VIPS};
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use zerocopy::FromZeros;

use crate::dpdk::queue::PortQueues;
use crate::event::{Event, Request};
use crate::graph::{GraphInfo, MAX_NODES};
use crate::interface::MAX_INTERFACES;
use crate::sync::counter::{Counter, OwnCounters, zeroed};
use crate::trace::{TRACE_RECORDS, TraceRecord};

/// Events that can wait for control.
pub const EVENT_QUEUE_LEN: usize = 4096;
/// Requests that can wait for a worker.
pub const REQUEST_QUEUE_LEN: usize = 1024;

/// Answers to [`Request::SwapQueues`] that can wait for control, which awaits each before the next.
const SWAPPED_LEN: usize = 4;

/// Work done by one node. It has cache lines of its own, so that workers whose blocks lie side by
/// side do not take lines from each other (two, as processors fetch lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct NodeStats {
    /// Times it ran.
    pub calls: Counter,
    /// Packets it saw.
    pub vectors: Counter,
    /// TSC clocks it took, counting only calls that had packets.
    pub clocks: Counter,
}

/// Traffic of one interface through one worker. An interface with VLANs has those of its
/// sub-interfaces among its own: what its port received and sent. It has cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct InterfaceStats {
    /// Packets received.
    pub rx_packets: Counter,
    /// Bytes received.
    pub rx_bytes: Counter,
    /// Packets handed to the port.
    pub tx_packets: Counter,
    /// Bytes handed to the port.
    pub tx_bytes: Counter,
    /// Packets received here and dropped, whatever the reason.
    pub drops: Counter,
    /// Packets received here and given to control.
    pub punts: Counter,
    /// IPv4 packets received.
    pub ip4: Counter,
    /// IPv6 packets received.
    pub ip6: Counter,
    /// Packets the port did not take (ring full, link gone).
    pub tx_errors: Counter,
}

/// A VIP's counters, named as VPP names them.
#[derive(Debug, Default)]
pub struct VipStats {
    /// `packet from existing sessions`
    pub existing: Counter,
    /// `first session packet`
    pub first: Counter,
    /// `untracked packet`
    pub untracked: Counter,
    /// `no server configured`
    pub no_server: Counter,
}

/// An AS's traffic. Bytes are those of IP packets as they came, without outer headers.
#[derive(Debug, Default, FromZeros)]
pub struct ServerStats {
    /// Packets of clients sent to it, ICMP errors about its flows included.
    pub packets: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Its own packets that were translated (NAT), ICMP errors about its flows included.
    pub reply_packets: Counter,
    /// Their bytes.
    pub reply_bytes: Counter,
}

/// What is counted beside the nodes: beginnings and ends of packets without a counter of a node's, and
/// what was not told. All of it is rare.
#[derive(Debug, Default)]
pub struct RareEnds {
    /// Packets freed because the frame of the next node was full.
    pub overflowed: Counter,
    /// Outer fragments made; the packet that they are parts of ends.
    pub fragments_made: Counter,
    /// Fragments that waited in vain for the first of their datagram, and were dropped.
    pub fragments_given_up: Counter,
    /// Events about neighbours that were beyond the limit of a second.
    pub events_limited: Counter,
    /// Looks, one in [`LOOK_EVERY`](crate::worker::LOOK_EVERY) idle turns, that found no free packet
    /// buffer: nothing can be received then, and some drivers do not say so.
    pub starved: Counter,
    /// Packets that a test or tool put into the graph.
    pub injected: Counter,
}

/// What control and one worker share.
pub struct WorkerShared {
    /// Worker number, from 0 (VPP calls it thread `index + 1`).
    pub index: usize,
    /// Turns taken.
    pub turns: CachePadded<Counter>,
    /// Turns that brought packets.
    pub busy_turns: CachePadded<Counter>,
    /// By node.
    pub nodes: Box<[NodeStats]>,
    /// By index into [`GraphInfo::counters`].
    pub counters: OwnCounters,
    /// By interface index.
    pub interfaces: Box<[InterfaceStats]>,
    /// By VIP index.
    pub vips: Box<[VipStats]>,
    /// By AS index. Memory of ASs that never were is not touched.
    pub servers: Box<[ServerStats]>,
    /// By node: how many more packets to mark for tracing there.
    pub trace_arm: CachePadded<[AtomicU32; MAX_NODES]>,
    /// By node: whether it is fused.
    fused: Box<[bool]>,
    /// What no node counts.
    pub rare: CachePadded<RareEnds>,
    trace_on: CachePadded<AtomicBool>,
    trace: ArrayQueue<TraceRecord>,
    events: ArrayQueue<Event>,
    /// Flows that found no place in a sticky table that replaced theirs.
    pub flows_lost: CachePadded<Counter>,
    /// Events lost because control did not keep up.
    pub events_lost: CachePadded<Counter>,
    requests: ArrayQueue<Request>,
    swapped: ArrayQueue<Box<PortQueues>>,
    /// Not to be swept: control does not know yet which flows are over.
    hold_sweep: CachePadded<AtomicBool>,
    stop: CachePadded<AtomicBool>,
}

impl std::fmt::Debug for WorkerShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkerShared({})", self.index)
    }
}

impl WorkerShared {
    /// For worker `index` running a graph of this shape.
    pub fn new(index: usize, graph: &GraphInfo) -> Arc<Self> {
        Arc::new(Self {
            index,
            turns: CachePadded::new(Counter::new()),
            busy_turns: CachePadded::new(Counter::new()),
            nodes: graph.nodes.iter().map(|_| NodeStats::default()).collect(),
            counters: OwnCounters::new(graph.counters.len()),
            interfaces: (0..MAX_INTERFACES).map(|_| InterfaceStats::default()).collect(),
            vips: (0..MAX_VIPS).map(|_| VipStats::default()).collect(),
            servers: zeroed(MAX_SERVERS),
            trace_arm: CachePadded::new([const { AtomicU32::new(0) }; MAX_NODES]),
            fused: graph.fused.clone().into(),
            rare: CachePadded::default(),
            trace_on: CachePadded::new(AtomicBool::new(false)),
            trace: ArrayQueue::new(TRACE_RECORDS),
            events: ArrayQueue::new(EVENT_QUEUE_LEN),
            flows_lost: CachePadded::new(Counter::new()),
            events_lost: CachePadded::new(Counter::new()),
            requests: ArrayQueue::new(REQUEST_QUEUE_LEN),
            swapped: ArrayQueue::new(SWAPPED_LEN),
            hold_sweep: CachePadded::new(AtomicBool::new(false)),
            stop: CachePadded::new(AtomicBool::new(false)),
        })
    }

    /// The counters with these indices: a node's.
    #[inline]
    pub(crate) fn counters_of(&self, indices: Range<u16>) -> &[Counter] {
        &self.counters[usize::from(indices.start)..usize::from(indices.end)]
    }

    // Worker's side.

    /// Tells control something. A full queue refuses and counts; the event comes back.
    #[inline]
    pub fn post(&self, event: Event) -> Result<(), Event> {
        self.offer(event).inspect_err(|_| self.events_lost.add(1))
    }

    /// The same for what is not lost when control is behind, but offered again.
    #[inline]
    pub fn offer(&self, event: Event) -> Result<(), Event> {
        self.events.push(event)
    }

    /// The next request of control.
    #[inline]
    pub fn next_request(&self) -> Option<Request> {
        // Seeing that it is empty takes no fence, which taking from it does.
        if self.requests.is_empty() { None } else { self.requests.pop() }
    }

    /// Answers [`Request::SwapQueues`].
    pub(crate) fn post_swapped(&self, queues: Box<PortQueues>) {
        // Never full; queues that found no room would end here, and their port with them.
        let _ = self.swapped.push(queues);
    }

    /// Whether flows may be swept.
    #[inline]
    pub fn may_sweep(&self) -> bool {
        !self.hold_sweep.load(Ordering::Relaxed)
    }

    /// True while any packet may carry a trace mark.
    #[inline]
    pub fn tracing(&self) -> bool {
        self.trace_on.load(Ordering::Relaxed)
    }

    /// True while some node, other than the fused ones, is still to mark packets for tracing.
    #[inline]
    pub fn is_armed(&self) -> bool {
        let arms = || self.trace_arm.iter().zip(&self.fused);
        self.tracing() && arms().any(|(arm, fused)| !fused && arm.load(Ordering::Relaxed) > 0)
    }

    /// Keeps a trace record; when the buffer is full the record is lost.
    pub fn record(&self, record: TraceRecord) {
        let _ = self.trace.push(record);
    }

    /// True when control wants the worker to end.
    #[inline]
    pub fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    // Control's side.

    /// Says that flows are not to be swept, or that they may be (which is so from the start).
    pub fn hold_sweep(&self, hold: bool) {
        self.hold_sweep.store(hold, Ordering::Relaxed);
    }

    /// The worker's next event.
    pub fn next_event(&self) -> Option<Event> {
        self.events.pop()
    }

    /// The answer to a [`Request::SwapQueues`].
    pub fn next_swapped(&self) -> Option<Box<PortQueues>> {
        self.swapped.pop()
    }

    /// Asks the worker something. A full mailbox refuses; the request comes back.
    // A refused request must come back whole: it may own a packet.
    #[allow(clippy::result_large_err)]
    pub fn request(&self, request: Request) -> Result<(), Request> {
        self.requests.push(request)
    }

    /// Marks the next `packets` packets that reach `node` for tracing.
    pub fn arm_trace(&self, node: u16, packets: u32) {
        self.trace_on.store(true, Ordering::Relaxed);
        self.trace_arm[usize::from(node)].store(packets, Ordering::Relaxed);
    }

    /// Stops tracing.
    pub fn disarm_trace(&self) {
        for arm in self.trace_arm.iter() {
            arm.store(0, Ordering::Relaxed);
        }
        self.trace_on.store(false, Ordering::Relaxed);
    }

    /// The next record of the trace buffer.
    pub fn next_trace(&self) -> Option<TraceRecord> {
        self.trace.pop()
    }

    /// Asks the worker to end after its turn.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
