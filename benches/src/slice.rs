//! [`Slice`]: a stretch of measured turns.

use dataplane::clock::read_tsc;
use dataplane::io::PacketIo;
use dataplane::shared::WorkerShared;

use crate::disturbance::Disturbance;
use crate::station::Station;
use crate::together::Together;
use crate::turn_gaps::{GapWatch, TurnGaps};

/// Turns before measuring, so that caches and branch predictors know the station again.
const WARM_TURNS: usize = 200;
/// A slice ends at the latest after so many times its length, however often it was disturbed.
pub(crate) const PATIENCE: u64 = 4;

/// Work of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeWork {
    /// Times it ran.
    pub calls: u64,
    /// Packets.
    pub vectors: u64,
    /// TSC clocks of calls with packets.
    pub clocks: u64,
}

impl NodeWork {
    fn add(&mut self, now: Self, before: Self) {
        self.calls += now.calls - before.calls;
        self.vectors += now.vectors - before.vectors;
        self.clocks += now.clocks - before.clocks;
    }
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// TSC clocks of turns that brought packets.
    pub clocks: u64,
    /// Packets.
    pub packets: u64,
    /// Turns that brought packets.
    pub bursts: u64,
    /// By node.
    pub nodes: Vec<NodeWork>,
    /// Chunks that count.
    pub chunks: u64,
    /// Chunks during which the thread was off its CPU; nothing of them is counted.
    pub disturbed: u64,
    /// Gaps between turns, of all chunks.
    pub gaps: TurnGaps,
}

impl Slice {
    /// TSC clocks per packet.
    pub fn clocks_per_packet(&self) -> f64 {
        self.clocks as f64 / self.packets.max(1) as f64
    }

    /// Adds what nodes have done between two looks.
    pub(crate) fn add_nodes(&mut self, now: &[NodeWork], before: &[NodeWork]) {
        self.nodes.resize(now.len(), NodeWork::default());
        for (node, (now, before)) in self.nodes.iter_mut().zip(now.iter().zip(before)) {
            node.add(*now, *before);
        }
    }

    /// Both together, for the same station.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.nodes.resize(self.nodes.len().max(other.nodes.len()), NodeWork::default());
        for (node, more) in self.nodes.iter_mut().zip(&other.nodes) {
            node.add(*more, NodeWork::default());
        }
        self.clocks += other.clocks;
        self.packets += other.packets;
        self.bursts += other.bursts;
        self.chunks += other.chunks;
        self.disturbed += other.disturbed;
        self.gaps.merge(&other.gaps);
        self
    }
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// TSC clocks that are to count.
    pub slice: u64,
    /// TSC clocks after which it is seen whether the thread was disturbed.
    pub chunk: u64,
    /// TSC clocks per second.
    pub hz: u64,
    /// Packets after which all flows expire, for traffic that only has new ones.
    pub expire_after: Option<u64>,
}

/// Lets a station run and measures it, while those that are measured with it run too.
pub fn measure<I: PacketIo>(
    station: &mut Station<I>,
    timing: &Timing,
    together: &Together,
) -> Slice {
    let mut disturbance = Disturbance::of_this_thread();
    let mut gaps = GapWatch::new(timing.hz);
    (0..WARM_TURNS).for_each(|_| {
        station.turn();
    });
    if timing.expire_after.is_some() {
        // What slices before have left would fill the table.
        station.expire_flows();
    }
    together.begin();
    let mut slice = Slice::default();
    let mut before = work_of(station);
    let mut since_expiry = 0;
    let start = read_tsc();
    disturbance.happened();
    while slice.clocks < timing.slice
        && read_tsc().wrapping_sub(start) < timing.slice.saturating_mul(PATIENCE)
    {
        gaps.restart();
        let chunk = run_turns(station, timing.chunk, |end| gaps.turn_ended(end));
        since_expiry += chunk.packets;
        let after = work_of(station);
        if disturbance.happened() {
            slice.disturbed += 1;
        } else {
            slice = slice.plus(&chunk);
            slice.add_nodes(&after, &before);
        }
        before = after;
        if timing.expire_after.is_some_and(|after| since_expiry >= after) {
            station.expire_flows();
            since_expiry = 0;
        }
    }
    together.done();
    while together.anyone_running() {
        station.turn();
    }
    slice.gaps = gaps.into_gaps();
    slice
}

/// Turns of about so many TSC clocks. `ended` is told when each has ended.
pub(crate) fn run_turns<I: PacketIo>(
    station: &mut Station<I>,
    clocks: u64,
    mut ended: impl FnMut(u64),
) -> Slice {
    let mut chunk = Slice { chunks: 1, ..Slice::default() };
    let start = read_tsc();
    loop {
        let before = read_tsc();
        let packets = station.turn();
        let after = read_tsc();
        if packets > 0 {
            chunk.clocks += after.wrapping_sub(before);
            chunk.packets += packets as u64;
            chunk.bursts += 1;
        }
        ended(after);
        if after.wrapping_sub(start) >= clocks {
            return chunk;
        }
    }
}

/// Work of every node so far.
pub(crate) fn work_of<I: PacketIo>(station: &Station<I>) -> Vec<NodeWork> {
    let nodes = |shared: &WorkerShared| {
        let work = shared.nodes.iter().map(|node| NodeWork {
            calls: node.calls.get(),
            vectors: node.vectors.get(),
            clocks: node.clocks.get(),
        });
        work.collect()
    };
    station.shared().map_or_else(Vec::new, |shared| nodes(shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_add_up() {
        let node = NodeWork { calls: 1, vectors: 10, clocks: 100 };
        let nodes = vec![node];
        let gaps = TurnGaps { switched: 1, ..TurnGaps::default() };
        let one =
            Slice { clocks: 50, packets: 10, bursts: 2, nodes, chunks: 1, disturbed: 3, gaps };
        let two = Slice::default().plus(&one).plus(&one);
        assert_eq!((two.clocks, two.packets, two.bursts), (100, 20, 4));
        assert_eq!((two.chunks, two.disturbed, two.gaps.switched), (2, 6, 2));
        assert_eq!(two.nodes, [NodeWork { calls: 2, vectors: 20, clocks: 200 }]);
        assert_eq!(two.clocks_per_packet(), 5.0);
        assert_eq!(Slice::default().clocks_per_packet(), 0.0);
    }
}
