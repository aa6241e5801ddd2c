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
}

impl Default for ClientWays {
    fn default() -> Self {
        Self { cells: Box::new([Cell { tag: NONE, way: ClientWay::closed() }; WAYS]), first: 0 }
    }
}

impl Cell {
    #[cold]
    #[inline(never)]
    fn fill(&mut self, snapshot: &Snapshot, hop: AdjacencyId, tag: u64) {
        *self = Self { tag, way: ClientWay::by(snapshot, hop) };
    }
}

impl ClientWays {
    /// Before the first packet of a frame.
    #[inline]
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        self.first = snapshot.generation << u32::BITS;
    }

    /// The way by a next hop, if a packet of so many bytes may take it.
    #[inline(always)]
    pub(super) fn by(
        &mut self,
        snapshot: &Snapshot,
        hop: AdjacencyId,
        len: u16,
    ) -> Option<&ClientWay> {
        let cell = &mut self.cells[hop.index() % WAYS];
        let tag = self.first | u64::from(hop.0);
        if cell.tag != tag {
            cell.fill(snapshot, hop, tag);
        }
        Some(&cell.way).filter(|way| way.takes(len))
    }
}
