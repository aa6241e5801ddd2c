//! The contract of a graph node.

use std::marker::PhantomData;

use crate::clock::Now;
use crate::family::Family;
use crate::frame::{FRAME_MAX, Frame};
use crate::io::PacketIo;
use crate::packet::Packet;
use crate::snapshot::Snapshot;
use crate::sync::counter::Counter;
use crate::trace::TraceDetail;
use crate::worker::WorkerState;

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
    /// True for nodes that bring packets in: [`Self::poll`] is called once per turn.
    const INPUT: bool = false;
    /// Where packets may go.
    type Next: NextNode;
    /// What it counts.
    type Counter: CounterSet;

    /// Decides where every packet of the frame goes, by [`NodeCx::set_next`] (a packet nobody
    /// decides about goes to next 0), or takes it out of the frame. Never fails, allocates, blocks.
    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame);

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

/// The next nodes of a node that has one body for both families: a dense enum, made by
/// [`family_next_nodes!`](crate::family_next_nodes).
pub trait FamilyNext: Copy + 'static {
    /// Node names by index: IPv4's and IPv6's.
    const NAMES: [&'static [&'static str]; 2];
    /// Index of this next.
    fn index(self) -> u8;
}

/// The counters of a node that has one body for both families: a dense enum, made by
/// [`family_node_counters!`](crate::family_node_counters).
pub trait FamilyCounters: Copy + 'static {
    /// Text and severity by index: IPv4's and IPv6's.
    const TEXTS: [&'static [(&'static str, Severity)]; 2];
    /// Index of this counter.
    fn index(self) -> u16;
}

/// What `T` is in family `F`: `type Next = ByFamily<F, Next>`. Made from a `T` by `into`.
pub struct ByFamily<F, T> {
    value: T,
    family: PhantomData<fn() -> F>,
}

impl<F, T: Copy> Clone for ByFamily<F, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, T: Copy> Copy for ByFamily<F, T> {}

impl<F, T> From<T> for ByFamily<F, T> {
    #[inline]
    fn from(value: T) -> Self {
        Self { value, family: PhantomData }
    }
}

impl<F: Family, T: FamilyNext> NextNode for ByFamily<F, T> {
    const NAMES: &'static [&'static str] = T::NAMES[F::V6 as usize];
    #[inline]
    fn index(self) -> u8 {
        self.value.index()
    }
}

impl<F: Family, T: FamilyCounters> CounterSet for ByFamily<F, T> {
    const TEXTS: &'static [(&'static str, Severity)] = T::TEXTS[F::V6 as usize];
    #[inline]
    fn index(self) -> u16 {
        self.value.index()
    }
}

/// Declares the next nodes of a node with one body for both families: a name for both, or one for
/// each: `family_next_nodes! { /// doc pub enum Next { Drop => "error-drop", Lookup =>
/// ("ip4-lookup", "ip6-lookup") } }`.
#[macro_export]
macro_rules! family_next_nodes {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:tt),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        $vis enum $name { $($(#[$vmeta])* $variant),+ }
        impl $crate::node::FamilyNext for $name {
            const NAMES: [&'static [&'static str]; 2] =
                [&[$($crate::of_family!(4 $text)),+], &[$($crate::of_family!(6 $text)),+]];
            #[inline]
            fn index(self) -> u8 { self as u8 }
        }
    };
}

/// Declares the counters of a node with one body for both families: a text for both, or one for
/// each: `family_node_counters! { /// doc pub enum Counter { Ttl => (("ip4 ttl <= 1", "ip6 ttl <=
/// 1"), Error) } }`.
#[macro_export]
macro_rules! family_node_counters {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident => ($text:tt, $severity:ident)),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        $vis enum $name { $($(#[$vmeta])* $variant),+ }
        impl $crate::node::FamilyCounters for $name {
            const TEXTS: [&'static [(&'static str, $crate::node::Severity)]; 2] = [
                &[$(($crate::of_family!(4 $text), $crate::node::Severity::$severity)),+],
                &[$(($crate::of_family!(6 $text), $crate::node::Severity::$severity)),+],
            ];
            #[inline]
            fn index(self) -> u16 { self as u16 }
        }
    };
}

/// One of two literals: part of [`family_next_nodes!`](crate::family_next_nodes).
#[doc(hidden)]
#[macro_export]
macro_rules! of_family {
    (4 ($four:literal, $six:literal)) => {
        $four
    };
    (6 ($four:literal, $six:literal)) => {
        $six
    };
    ($family:literal $both:literal) => {
        $both
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{Ip4, Ip6};

    family_next_nodes! {
        enum Next {
            Lookup => ("ip4-lookup", "ip6-lookup"),
            Drop => "error-drop",
        }
    }

    family_node_counters! {
        enum Counter {
            Split => ("headers not in the first buffer", Error),
            Ttl => (("ip4 ttl <= 1", "ip6 ttl <= 1"), Info),
        }
    }

    #[test]
    fn names_and_texts_are_those_of_the_family() {
        type Nexts<F> = ByFamily<F, Next>;
        type Counters<F> = ByFamily<F, Counter>;
        assert_eq!(<Nexts<Ip4> as NextNode>::NAMES, ["ip4-lookup", "error-drop"]);
        assert_eq!(<Nexts<Ip6> as NextNode>::NAMES, ["ip6-lookup", "error-drop"]);
        assert_eq!(NextNode::index(Nexts::<Ip6>::from(Next::Drop)), 1);
        assert_eq!(NextNode::index(Nexts::<Ip4>::from(Next::Lookup)), 0);
        let six = <Counters<Ip6> as CounterSet>::TEXTS;
        let error = ("headers not in the first buffer", Severity::Error);
        assert_eq!(six, [error, ("ip6 ttl <= 1", Severity::Info)]);
        assert_eq!(<Counters<Ip4> as CounterSet>::TEXTS[1].0, "ip4 ttl <= 1");
        assert_eq!(CounterSet::index(Counters::<Ip4>::from(Counter::Ttl)), 1);
        assert_eq!(CounterSet::index(Counters::<Ip4>::from(Counter::Split)), 0);
    }
}
