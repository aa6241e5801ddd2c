//! [`ClientWays`]: the ways to clients, remembered.

use dataplane::adjacency::AdjacencyId;
use dataplane::snapshot::Snapshot;

use super::client_way::ClientWay;

/// How many next hops are remembered.
const WAYS: usize = 64;

/// What no next hop's tag is.
const NONE: u64 = u64::MAX;

// A power of two, so that a shift finds it.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Cell {
    /// The next hop and, above, the snapshot's generation.
    tag: u64,
    way: ClientWay,
}

/// Direct-mapped, and made of what the snapshot says: another one empties it.
#[derive(Debug)]
pub(super) struct ClientWays {
    cells: Box<[Cell; WAYS]>,
    /// The tag of next hop 0 in the snapshot.
    first: u64,
    changes: u64,
}

impl Default for ClientWays {
    fn default() -> Self {
        let empty = Cell { tag: NONE, way: ClientWay::closed() };
        Self { cells: Box::new([empty; WAYS]), first: 0, changes: 0 }
    }
}

impl Cell {
    #[cold]
    #[inline(never)]
    fn fill(&mut self, snapshot: &Snapshot, hop: AdjacencyId, tag: u64) {
        *self = Self { tag, way: ClientWay::by(snapshot, hop) };
    }
}

/// Finds the ways that are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientFinder<'a> {
    cells: &'a [Cell; WAYS],
    first: u64,
}

impl<'a> ClientFinder<'a> {
    /// The way by a next hop, and where it is; `None` if it is not remembered.
    #[inline(always)]
    pub(super) fn find(&self, hop: AdjacencyId) -> Option<(u16, &'a ClientWay)> {
        let position = hop.index() % WAYS;
        let cell = &self.cells[position];
        let is_there = cell.tag == self.first | u64::from(hop.0);
        if is_there { Some((position as u16, &cell.way)) } else { None }
    }
}

impl ClientWays {
    /// Before the first packet of a frame.
    #[inline]
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        self.first = snapshot.generation << u32::BITS;
    }

    /// What a loop needs to find what is remembered.
    #[inline(always)]
    pub(super) fn finder(&self) -> ClientFinder<'_> {
        ClientFinder { cells: &self.cells, first: self.first }
    }

    /// The way by a next hop.
    #[inline(always)]
    pub(super) fn find(&mut self, snapshot: &Snapshot, hop: AdjacencyId) -> &ClientWay {
        let cell = &mut self.cells[hop.index() % WAYS];
        let tag = self.first | u64::from(hop.0);
        if cell.tag != tag {
            cell.fill(snapshot, hop, tag);
            self.changes += 1;
        }
        &cell.way
    }

    /// How often something else was remembered in a place. While it is the same number, what
    /// [`find`](Self::find) gave is where it was.
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The way at a position, whoever's it is.
    #[inline(always)]
    pub(super) fn at(&self, position: u16) -> &ClientWay {
        &self.cells[usize::from(position) % WAYS].way
    }
}
