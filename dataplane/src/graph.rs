//! The graph of one worker: nodes, the frames waiting for them, and the dispatcher that runs them,
//! splits frames by next node, keeps the cycle account and makes traces.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::Now;
use crate::frame::{FRAME_MAX, Frame};
use crate::io::PacketIo;
use crate::node::{CounterSet, NextNode, Node, NodeCx, Severity};
use crate::packet::Packet;
use crate::snapshot::Snapshot;
use crate::sync::counter::Counter;
use crate::trace::{TRACE_BYTES, TraceDetail, TraceRecord};
use crate::worker::{WorkerShared, WorkerState};

pub use crate::graph_info::{CounterInfo, GraphInfo};

/// Most nodes in a graph.
pub const MAX_NODES: usize = 64;

/// What every node works with, assembled once per turn.
pub struct Environment<'a> {
    /// The box's state.
    pub snapshot: &'a Snapshot,
    /// The worker's own state.
    pub worker: &'a mut WorkerState,
    /// Packet source, sink and pool.
    pub io: &'a mut dyn PacketIo,
    /// The time of this turn.
    pub now: Now,
}

trait AnyNode: Send {
    fn name(&self) -> &'static str;
    fn is_input(&self) -> bool;
    fn is_fused(&self) -> bool;
    fn next_names(&self) -> &'static [&'static str];
    fn counter_texts(&self) -> &'static [(&'static str, Severity)];
    fn process(&mut self, call: Call<'_, '_>, frame: &mut Frame);
    fn wants_poll(&self, worker: &WorkerState) -> bool;
    fn poll(&mut self, call: Call<'_, '_>, frame: &mut Frame);
    fn trace(&self, snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail;
    fn release(&mut self, garbage: &mut Vec<Packet>);
}

struct Call<'a, 'e> {
    env: &'a mut Environment<'e>,
    nexts: &'a mut [u8; FRAME_MAX],
    counters: &'a [Counter],
    first_counter: u16,
}

impl<N: Node> AnyNode for N {
    fn name(&self) -> &'static str {
        N::NAME
    }
    fn is_input(&self) -> bool {
        N::INPUT
    }
    fn is_fused(&self) -> bool {
        N::FUSED
    }
    fn next_names(&self) -> &'static [&'static str] {
        N::Next::NAMES
    }
    fn counter_texts(&self) -> &'static [(&'static str, Severity)] {
        N::Counter::TEXTS
    }
    fn process(&mut self, call: Call<'_, '_>, frame: &mut Frame) {
        let mut cx = NodeCx::new(call.env, call.nexts, call.counters, call.first_counter);
        Node::process(self, &mut cx, frame);
    }
    fn wants_poll(&self, worker: &WorkerState) -> bool {
        N::INPUT && Node::wants_poll(self, worker)
    }
    fn poll(&mut self, call: Call<'_, '_>, frame: &mut Frame) {
        let mut cx = NodeCx::new(call.env, call.nexts, call.counters, call.first_counter);
        Node::poll(self, &mut cx, frame);
    }
    fn trace(&self, snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        Node::trace(self, snapshot, frame, at)
    }
    fn release(&mut self, garbage: &mut Vec<Packet>) {
        Node::release(self, garbage);
    }
}

/// Why a graph cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A node names a next node that the graph does not have.
    #[error("node {node} names the next node {next}, which is not in the graph")]
    UnknownNext {
        /// Node that names it.
        node: &'static str,
        /// The missing name.
        next: &'static str,
    },
    /// Two nodes have the same name.
    #[error("two nodes are called {0}")]
    DuplicateName(&'static str),
    /// More than [`MAX_NODES`].
    #[error("a graph has at most {MAX_NODES} nodes")]
    TooManyNodes,
}

/// Collects nodes. The order of adding is the order of running within a turn: put a node before
/// its next nodes, so that one call serves all its predecessors.
#[derive(Default)]
pub struct GraphBuilder {
    nodes: Vec<Box<dyn AnyNode>>,
}

impl GraphBuilder {
    /// No nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node.
    #[must_use]
    pub fn node<N: Node>(mut self, node: N) -> Self {
        self.nodes.push(Box::new(node));
        self
    }

    /// Names, edges and counters, without building.
    pub fn info(&self) -> Result<GraphInfo, GraphError> {
        if self.nodes.len() > MAX_NODES {
            return Err(GraphError::TooManyNodes);
        }
        let mut info = GraphInfo::default();
        for (index, node) in self.nodes.iter().enumerate() {
            if info.nodes.contains(&node.name()) {
                return Err(GraphError::DuplicateName(node.name()));
            }
            info.nodes.push(node.name());
            info.inputs.push(node.is_input());
            info.fused.push(node.is_fused());
            info.first_counter.push(info.counters.len() as u16);
            info.counters.extend(node.counter_texts().iter().map(|(text, severity)| CounterInfo {
                node: index as u16,
                text,
                severity: *severity,
            }));
        }
        info.first_counter.push(info.counters.len() as u16);
        for node in &self.nodes {
            let edges: Result<Vec<u16>, _> = node
                .next_names()
                .iter()
                .map(|next| {
                    info.node(next).ok_or(GraphError::UnknownNext { node: node.name(), next })
                })
                .collect();
            info.edges.push(edges?);
        }
        Ok(info)
    }

    /// Builds the graph; `shared` must have been made with this graph's [`GraphInfo`].
    pub fn build(self, shared: &Arc<WorkerShared>) -> Result<Graph, GraphError> {
        let info = self.info()?;
        let frames = |n: usize| (0..n).map(|_| Frame::boxed()).collect::<Vec<_>>();
        let inputs = (0..self.nodes.len()).rev().filter(|node| info.inputs[*node]).collect();
        Ok(Graph {
            inputs,
            waiting: frames(self.nodes.len()),
            current: Frame::boxed(),
            ready: 0,
            nexts: [0; FRAME_MAX],
            trace_handle: 0,
            shared: Arc::clone(shared),
            nodes: self.nodes,
            info,
        })
    }
}

/// Drops what is left in these slots, for which there is no room.
#[cold]
fn drop_rest(frame: &mut Frame, slots: Range<usize>, worker: &mut WorkerState) {
    for at in slots {
        let Some(packet) = frame.take(at) else { continue };
        worker.shared.rare.overflowed.add(1);
        worker.count_drop(frame.lanes.rx_interface[at]);
        worker.garbage.push(packet);
    }
}

/// Whether all packets have this next. Without a way out of the loop, so that it takes many at once.
#[inline]
fn are_all(nexts: &[u8], next: u8) -> bool {
    nexts.iter().fold(true, |same, other| same & (*other == next))
}

/// How many of `nexts` in front are `next`.
#[inline]
fn run_of(nexts: &[u8], next: u8) -> usize {
    nexts.iter().position(|other| *other != next).unwrap_or(nexts.len())
}

/// One worker's graph.
pub struct Graph {
    nodes: Vec<Box<dyn AnyNode>>,
    info: GraphInfo,
    /// Nodes that bring packets in, the last first: what waited for a neighbour leaves before what has
    /// only just arrived.
    inputs: Vec<usize>,
    /// By node: packets waiting for it.
    waiting: Vec<Box<Frame>>,
    /// The frame being processed.
    current: Box<Frame>,
    /// Bit per node: packets wait for it.
    ready: u64,
    /// By packet of `current`: its next. All 0 between nodes.
    nexts: [u8; FRAME_MAX],
    trace_handle: u32,
    shared: Arc<WorkerShared>,
}

impl Graph {
    /// Names, edges and counters.
    pub fn info(&self) -> &GraphInfo {
        &self.info
    }

    /// Polls every input node that wants it once and runs the graph until no packet waits. Returns
    /// how many packets the inputs brought.
    pub fn turn(&mut self, env: &mut Environment<'_>, tsc: &dyn Fn() -> u64) -> usize {
        let mut brought = 0;
        for at in 0..self.inputs.len() {
            let node = self.inputs[at];
            if self.nodes[node].wants_poll(env.worker) {
                let start = tsc();
                self.run(node, env, start, true);
                let len = self.current.len();
                if len == 0 {
                    self.shared.nodes[node].calls.add(1);
                    continue;
                }
                brought += len;
                let end = self.finish(node, env, start, tsc);
                self.run_waiting(env, end, tsc);
            }
        }
        // For `inject`, whose packets wait even when no input brought any.
        self.drain(env, tsc);
        brought
    }

    /// Puts a packet in front of a node, as if a predecessor had sent it there; false when full.
    /// For tests and tools: workers get their packets from input nodes.
    pub fn inject(&mut self, node: u16, frame: &mut Frame, at: usize) -> bool {
        let ok = self.waiting[usize::from(node)].move_from(frame, at);
        self.ready |= u64::from(ok) << node;
        self.shared.rare.injected.add(u64::from(ok));
        ok
    }

    /// Collects every packet that nodes still hold, for a worker that ends.
    pub fn release(&mut self, garbage: &mut Vec<Packet>) {
        for node in &mut self.nodes {
            node.release(garbage);
        }
    }

    /// Runs nodes until no packet waits.
    pub fn drain(&mut self, env: &mut Environment<'_>, tsc: &dyn Fn() -> u64) {
        if self.ready != 0 {
            self.run_waiting(env, tsc(), tsc);
        }
    }

    /// Runs nodes until no packet waits. Each begins when its predecessor ends (at `now`, for the
    /// first), so that one look at the clock serves both.
    fn run_waiting(&mut self, env: &mut Environment<'_>, mut now: u64, tsc: &dyn Fn() -> u64) {
        while self.ready != 0 {
            let node = self.ready.trailing_zeros() as usize;
            self.ready &= !(1 << node);
            std::mem::swap(&mut self.current, &mut self.waiting[node]);
            self.run(node, env, now, false);
            now = self.finish(node, env, now, tsc);
        }
    }

    /// Runs one node on `current`, or polls it.
    #[inline]
    fn run(&mut self, node: usize, env: &mut Environment<'_>, start: u64, poll: bool) {
        let first_counter = self.info.first_counter[node];
        // A node without next nodes ends its packets, so they are recorded while they exist.
        if self.info.edges[node].is_empty() {
            self.trace(node, env, start);
        }
        let counters = self.shared.counters_of(first_counter..self.info.first_counter[node + 1]);
        let call = Call { env, nexts: &mut self.nexts, counters, first_counter };
        if poll {
            self.nodes[node].poll(call, &mut self.current);
        } else {
            self.nodes[node].process(call, &mut self.current);
        }
    }

    /// Moves each packet of `current` to its next node and counts what the node did, from `start` on.
    /// Returns the time.
    #[inline]
    fn finish(
        &mut self,
        node: usize,
        env: &mut Environment<'_>,
        start: u64,
        tsc: &dyn Fn() -> u64,
    ) -> u64 {
        if !self.info.edges[node].is_empty() {
            self.trace(node, env, start);
        }
        let len = self.current.len();
        if !self.moves_whole(node) {
            self.split(node, env.worker);
        }
        self.nexts[..len].fill(0);
        let end = tsc();
        let stats = &self.shared.nodes[node];
        stats.calls.add(1);
        stats.vectors.add(len as u64);
        stats.clocks.add(end.wrapping_sub(start));
        end
    }

    /// The usual case of [`Self::split`]: all packets go to one node and nothing waits there, or all
    /// have ended. False, and nothing is changed, otherwise.
    #[inline]
    fn moves_whole(&mut self, node: usize) -> bool {
        let nexts = &self.nexts[..self.current.len()];
        let Some(&next) = nexts.first() else { return true };
        let Some(&target) = self.info.edges[node].get(usize::from(next)) else {
            let ended = self.current.is_hollow();
            if ended {
                self.current.clear();
            }
            return ended;
        };
        let waiting = &mut self.waiting[usize::from(target)];
        let whole = waiting.is_empty() && are_all(nexts, next) && self.current.is_whole();
        if whole {
            // Two pointers change places.
            std::mem::swap(&mut self.current, waiting);
            self.ready |= 1 << target;
        }
        whole
    }

    /// Moves the packets of `current` to their next nodes and empties it. What has no place there
    /// is dropped.
    #[inline(never)]
    fn split(&mut self, node: usize, worker: &mut WorkerState) {
        let edges = &self.info.edges[node];
        let mut rest = self.nexts[..self.current.len()].as_ref();
        let mut from = 0;
        while let Some(&next) = rest.first() {
            let run =
                if from == 0 && are_all(rest, next) { rest.len() } else { run_of(rest, next) };
            let slots = from..from + run;
            (from, rest) = (slots.end, &rest[run..]);
            let Some(&target) = edges.get(usize::from(next)) else {
                // The node ends its packets: none is left.
                drop_rest(&mut self.current, slots, worker);
                continue;
            };
            let waiting = &mut self.waiting[usize::from(target)];
            waiting.move_all_from(&mut self.current, slots.clone());
            self.ready |= u64::from(!waiting.is_empty()) << target;
            // Never from an input node's frame, whose packets do not multiply; were it to happen
            // all the same, a freed packet is better than a leaked one.
            if waiting.room() == 0 {
                drop_rest(&mut self.current, slots, worker);
            }
        }
        self.current.clear();
    }

    /// Marks packets for tracing when this node is armed, and records what it did to marked ones.
    fn trace(&mut self, node: usize, env: &Environment<'_>, tsc: u64) {
        let arm = &self.shared.trace_arm[node];
        let armed = arm.load(Ordering::Relaxed);
        let mut left = armed;
        if left == 0 && !self.shared.tracing() {
            return;
        }
        for at in 0..self.current.len() {
            let packet_len = self.current.packet(at).map(Packet::len);
            if self.current.lanes.trace[at] == 0 {
                if left == 0 || packet_len.is_none() {
                    continue;
                }
                left -= 1;
                self.trace_handle += 1;
                self.current.lanes.trace[at] = self.trace_handle;
            }
            // A packet that the node took out of the frame (held, consumed) has no bytes to show.
            let data = self.current.data(at);
            let mut bytes = [0; TRACE_BYTES];
            let bytes_len = data.len().min(TRACE_BYTES);
            bytes[..bytes_len].copy_from_slice(&data[..bytes_len]);
            self.shared.record(TraceRecord {
                handle: self.current.lanes.trace[at],
                node: node as u16,
                tsc,
                detail: self.nodes[node].trace(env.snapshot, &self.current, at),
                l3_offset: self.current.lanes.l3_offset[at],
                packet_len: packet_len.unwrap_or(0).min(usize::from(u16::MAX)) as u16,
                bytes_len: bytes_len as u8,
                bytes,
            });
        }
        if left != armed {
            // Control may have armed or disarmed the node meanwhile, and then its word stands.
            let _ = arm.compare_exchange(armed, left, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
