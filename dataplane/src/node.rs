//! The contract of a graph node.

use std::marker::PhantomData;
use std::ops::Range;

use crate::clock::Now;
use crate::frame::{FRAME_MAX, Frame};
use crate::io::PacketIo;
use crate::packet::Packet;
use crate::snapshot::Snapshot;
use crate::sync::counter::Counter;
use crate::trace::TraceDetail;
use crate::worker::WorkerState;

pub use crate::by_family::{ByFamily, FamilyCounters, FamilyNext};

/// A node's next nodes: a dense enum, made by [`next_nodes!`](crate::next_nodes).
pub trait NextNode: Copy + 'static {
    /// Node names by index.
    const NAMES: &'static [&'static str];
    /// Index of this next.
    fn index(self) -> u8;
}

/// How grave a counter is, as `show errors` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Something is wrong: the packet was dropped or damaged.
    Error,
    /// Unusual but handled.
    Warning,
    /// A count of ordinary work.
    Info,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warn",
            Self::Info => "info",
        })
    }
}

/// A node's counters: a dense enum with a line of text each, made by
/// [`node_counters!`](crate::node_counters).
pub trait CounterSet: Copy + 'static {
    /// Text and severity by index.
    const TEXTS: &'static [(&'static str, Severity)];
    /// Index of this counter.
    fn index(self) -> u16;
}

/// One step of packet processing.
pub trait Node: Send + 'static {
    /// As `show runtime` prints it, for example "ip4-lookup".
    const NAME: &'static str;
    /// True for nodes that bring packets in: [`Self::poll`] is called once per turn in which
    /// [`Self::wants_poll`] says so.
    const INPUT: bool = false;
    /// True for nodes that do at once what several others do step by step. Packets go past them while
    /// one of the others waits for packets to trace.
    const FUSED: bool = false;
    /// Where packets may go.
    type Next: NextNode;
    /// What it counts.
    type Counter: CounterSet;

    /// Decides where every packet of the frame goes, by [`NodeCx::set_next`] (a packet nobody
    /// decides about goes to next 0), or takes it out of the frame. Never fails, allocates, blocks.
    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame);

    /// Input nodes: false when polling would bring nothing, so that the turn can do without. Asked
    /// once per turn.
    #[inline]
    fn wants_poll(&self, _worker: &WorkerState) -> bool {
        true
    }

    /// Input nodes: pushes new packets into the empty `frame` and decides where they go.
    fn poll(&mut self, _cx: &mut NodeCx<'_, Self>, _frame: &mut Frame) {}

    /// Gives up the packets that the node holds between turns; called once, when the worker ends.
    fn release(&mut self, _garbage: &mut Vec<Packet>) {}

    /// What to say of packet `at`, just processed, in a trace.
    fn trace(&self, _snapshot: &Snapshot, _frame: &Frame, _at: usize) -> TraceDetail {
        TraceDetail::None
    }
}

/// What a node works with besides the frame.
pub struct NodeCx<'a, N: Node + ?Sized> {
    /// The box's state.
    pub snapshot: &'a Snapshot,
    /// The worker's own state.
    pub worker: &'a mut WorkerState,
    /// Packet source, sink and pool.
    pub io: &'a mut dyn PacketIo,
    /// The time of this turn.
    pub now: Now,
    nexts: &'a mut [u8; FRAME_MAX],
    counters: &'a [Counter],
    first_counter: u16,
    node: PhantomData<fn() -> *const N>,
}

impl<'a, N: Node> NodeCx<'a, N> {
    pub(crate) fn new(
        env: &'a mut crate::graph::Environment<'_>,
        nexts: &'a mut [u8; FRAME_MAX],
        counters: &'a [Counter],
        first_counter: u16,
    ) -> Self {
        Self {
            snapshot: env.snapshot,
            worker: env.worker,
            io: env.io,
            now: env.now,
            nexts,
            counters,
            first_counter,
            node: PhantomData,
        }
    }

    /// Sends packet `at` to `next` when the node returns.
    #[inline]
    pub fn set_next(&mut self, at: usize, next: impl Into<N::Next>) {
        self.nexts[at] = next.into().index();
    }

    /// Sends the packets in these slots to `next` when the node returns.
    #[inline]
    pub fn set_next_of(&mut self, slots: Range<usize>, next: impl Into<N::Next>) {
        self.nexts[slots].fill(next.into().index());
    }

    /// Adds `n` to one of the node's counters.
    #[inline]
    pub fn count(&self, counter: impl Into<N::Counter>, n: u64) {
        if let Some(slot) = self.counters.get(usize::from(counter.into().index())) {
            slot.add(n);
        }
    }

    /// Counts `reason` and sends packet `at` to `drop` (the node's "error-drop" next) with it.
    #[inline]
    pub fn drop_packet(
        &mut self,
        frame: &mut Frame,
        at: usize,
        drop: impl Into<N::Next>,
        reason: impl Into<N::Counter>,
    ) {
        let reason = reason.into();
        self.count(reason, 1);
        frame.lanes.error[at] = self.first_counter + reason.index();
        self.set_next(at, drop);
    }
}

/// Declares a node's next nodes: `next_nodes! { /// doc pub enum Next { Drop => "error-drop" } }`.
#[macro_export]
macro_rules! next_nodes {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        $vis enum $name { $($(#[$vmeta])* $variant),+ }
        impl $crate::node::NextNode for $name {
            const NAMES: &'static [&'static str] = &[$($text),+];
            #[inline]
            fn index(self) -> u8 { self as u8 }
        }
    };
}

/// Declares a node's counters:
/// `node_counters! { /// doc pub enum Counter { BadVersion => ("ip4 version != 4", Error) } }`.
#[macro_export]
macro_rules! node_counters {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident => ($text:literal, $severity:ident)),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        $vis enum $name { $($(#[$vmeta])* $variant),+ }
        impl $crate::node::CounterSet for $name {
            const TEXTS: &'static [(&'static str, $crate::node::Severity)] =
                &[$(($text, $crate::node::Severity::$severity)),+];
            #[inline]
            fn index(self) -> u16 { self as u16 }
        }
    };
}

/// The counters of a node that counts nothing.
#[derive(Clone, Copy, Debug)]
pub enum NoCounter {}

impl CounterSet for NoCounter {
    const TEXTS: &'static [(&'static str, Severity)] = &[];
    fn index(self) -> u16 {
        match self {}
    }
}

/// The next nodes of a node that keeps or ends every packet.
#[derive(Clone, Copy, Debug)]
pub enum NoNext {}

impl NextNode for NoNext {
    const NAMES: &'static [&'static str] = &[];
    fn index(self) -> u8 {
        match self {}
    }
}
