//! The cells beside the buckets of a sticky table: the 5-tuples that do not fit into a key word.
//! They tell flows apart, or only whose they are.
//!
//! One for each entry, written and read under the sequence of the entry's value (see
//! [`Bucket`](crate::bucket::Bucket)). A table of flows that need none never touches this memory,
//! and the kernel then never provides it; it is 2.5 times as large as the buckets.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::address::Address;
use crate::flow_tuple::FlowTuple;
#[cfg(not(loom))]
use crate::huge_memory::{HugeMemory, Provide};
use crate::prefetch::prefetch;

/// Words of a cell. The model checker gets only those by which its flows differ: what it tries
/// grows with the power of their number.
const WORDS: usize = if cfg!(loom) { 2 } else { 5 };

/// A flow's 5-tuple. The family is known from what the key word names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cell {
    /// The client's address.
    pub(crate) client: u128,
    /// The address that the client uses.
    pub(crate) address: u128,
    /// The client's port, host byte order.
    pub(crate) client_port: u16,
    /// The port that the client uses, host byte order.
    pub(crate) port: u16,
    /// The IP protocol number.
    pub(crate) protocol: u8,
    /// It is for those who list flows: the key word tells its flow from all others.
    pub(crate) is_note: bool,
}

/// Where [`Cell::is_note`] is in the first word, between the protocol and the ports.
const NOTE: u64 = 1 << 8;

impl Cell {
    /// The cell of a flow; `tuple` is that of the client's packets.
    pub(crate) fn of<A: Address>(tuple: &FlowTuple<A>) -> Self {
        Self {
            client: tuple.src.bits(),
            address: tuple.dst.bits(),
            client_port: tuple.src_port,
            port: tuple.dst_port,
            protocol: tuple.protocol,
            is_note: false,
        }
    }

    /// The same where nobody compares it.
    pub(crate) fn note_of<A: Address>(tuple: &FlowTuple<A>) -> Self {
        Self { is_note: true, ..Self::of(tuple) }
    }

    fn to_words(self) -> [u64; WORDS] {
        let ports = u64::from(self.client_port) << 32
            | u64::from(self.port) << 16
            | if self.is_note { NOTE } else { 0 }
            | u64::from(self.protocol);
        let words = [
            ports,
            self.address as u64,
            (self.address >> 64) as u64,
            self.client as u64,
            (self.client >> 64) as u64,
        ];
        std::array::from_fn(|word| words[word])
    }

    fn from_words(words: [u64; WORDS]) -> Self {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        Self {
            client: u128::from(word(4)) << 64 | u128::from(word(3)),
            address: u128::from(word(2)) << 64 | u128::from(word(1)),
            client_port: (word(0) >> 32) as u16,
            port: (word(0) >> 16) as u16,
            protocol: word(0) as u8,
            is_note: word(0) & NOTE != 0,
        }
    }
}

/// The cells of a table.
#[derive(Debug)]
pub(crate) struct SideCells(Cells);

#[cfg(not(loom))]
type Cells = HugeMemory<[AtomicU64; WORDS]>;
#[cfg(loom)]
type Cells = Box<[[AtomicU64; WORDS]]>;

impl SideCells {
    /// `entries` cells, all zero.
    #[cfg(not(loom))]
    pub(crate) fn new(entries: usize) -> Result<Self, crate::huge_memory::NoMemory> {
        HugeMemory::zeroed(entries, Provide::AsUsed).map(Self)
    }

    /// `entries` cells, as they were left in a file.
    #[cfg(not(loom))]
    pub(crate) fn in_file(file: &std::fs::File, entries: usize) -> std::io::Result<Self> {
        HugeMemory::in_file(file, entries).map(Self)
    }

    /// `entries` cells, all zero.
    #[cfg(loom)]
    pub(crate) fn new(entries: usize) -> Result<Self, ()> {
        Ok(Self((0..entries).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect()))
    }

    /// What is in a cell; a mixture of two flows if it is being written.
    pub(crate) fn load(&self, entry: usize) -> Cell {
        let words = self
            .0
            .get(entry)
            .map(|words| std::array::from_fn(|word| words[word].load(Ordering::Relaxed)));
        Cell::from_words(words.unwrap_or_default())
    }

    /// Starts to fetch some cells, from the one of `entry` on.
    #[inline]
    pub(crate) fn prefetch(&self, entry: usize, count: usize) {
        const LINE_WORDS: usize = 8;
        let cells = self.0.get(entry..entry + count).unwrap_or_default();
        for line in cells.as_flattened().chunks(LINE_WORDS) {
            prefetch(&line[0]);
        }
    }

    /// Writes a cell, between the two writes of its entry's value.
    pub(crate) fn store(&self, entry: usize, cell: &Cell) {
        if let Some(words) = self.0.get(entry) {
            for (word, value) in words.iter().zip(cell.to_words()) {
                word.store(value, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cell_comes_back_as_it_was() {
        let cells = SideCells::new(3).unwrap();
        let cell = Cell {
            client: u128::MAX - 5,
            address: 0x2001_0db8 << 96 | 7,
            client_port: 65_535,
            port: 1,
            protocol: 255,
            is_note: false,
        };
        cells.store(1, &cell);
        assert_eq!(cells.load(1), cell);
        let note = Cell { is_note: true, ..cell };
        cells.store(1, &note);
        assert_eq!(cells.load(1), note);
        assert_eq!(cells.load(0), cells.load(2));
        assert_ne!(cells.load(0), cell);
    }

    /// The largest table has 2^26 entries; its cells cost nothing until somebody uses them.
    #[test]
    fn untouched_cells_cost_no_time() {
        let cells = SideCells::new(1 << 20).unwrap();
        assert_eq!(cells.load((1 << 20) - 1).client, 0);
    }
}
