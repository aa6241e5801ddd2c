//! [`ServerWays`]: the ways to ASs, remembered.

use balancer::{AsId, FlowValue};
use dataplane::family::{Ip4, Ip6};
use dataplane::snapshot::Snapshot;

use super::lane::LaneFamily;
use super::server_way::ServerWay;

/// How many ASs are remembered.
const WAYS: usize = 4096;

// A power of two, so that a shift finds it.
#[repr(C, align(256))]
struct Cell<F: LaneFamily> {
    tag: Tag,
    way: ServerWay<F>,
}

const _: () = assert!(size_of::<Cell<Ip4>>() == 256 && size_of::<Cell<Ip6>>() == 256);

/// The flows of an AS in a snapshot: from the low end on, the epoch 8 bits, the AS 20, the snapshot's
/// generation.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    /// What no AS has.
    const NONE: Self = Self(u64::MAX);

    #[inline(always)]
    fn new(snapshot: &Snapshot, flows: u32) -> Self {
        Self(snapshot.generation << FlowValue::OWNER_BITS | u64::from(flows))
    }

    /// Whether it is of this AS in the snapshot.
    #[inline]
    fn is_of(self, snapshot: &Snapshot, server: AsId) -> bool {
        self.is_but_for_epoch(Self::new(snapshot, FlowValue::owner_of(server, 0)))
    }

    /// Whether another is of the same AS and snapshot.
    #[inline]
    fn is_but_for_epoch(self, other: Self) -> bool {
        self.0 >> u8::BITS == other.0 >> u8::BITS
    }
}

/// Direct-mapped, and made of what the snapshot says: another one empties it.
pub(super) struct ServerWays<F: LaneFamily> {
    cells: Box<[Cell<F>; WAYS]>,
    /// The tag of an AS 0 and epoch 0 in the snapshot.
    first: u64,
}

impl<F: LaneFamily> Cell<F> {
    #[cold]
    #[inline(never)]
    fn fill(&mut self, snapshot: &Snapshot, server: AsId) {
        // Of an AS that there is not, no flow is alive.
        let tag = snapshot
            .lb
            .epoch_of(server)
            .map_or(Tag::NONE, |epoch| Tag::new(snapshot, FlowValue::owner_of(server, epoch)));
        *self = Self { tag, way: ServerWay::of(snapshot, server) };
    }
}

impl<F: LaneFamily> std::fmt::Debug for ServerWays<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerWays({})", self.cells.len())
    }
}

impl<F: LaneFamily> Default for ServerWays<F> {
    fn default() -> Self {
        let cells = (0..WAYS).map(|_| Cell { tag: Tag::NONE, way: ServerWay::closed() });
        let Ok(cells) = cells.collect::<Box<[_]>>().try_into() else {
            unreachable!("there are as many cells as were made")
        };
        Self { cells, first: 0 }
    }
}

impl<F: LaneFamily> ServerWays<F> {
    /// Before the first packet of a frame.
    #[inline]
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        self.first = Tag::new(snapshot, 0).0;
    }

    /// The way to an AS; a closed one if there is no such AS.
    #[inline(always)]
    pub(super) fn to(&mut self, snapshot: &Snapshot, server: AsId) -> &ServerWay<F> {
        let cell = &mut self.cells[server.index() % WAYS];
        if !cell.tag.is_of(snapshot, server) {
            cell.fill(snapshot, server);
        }
        &cell.way
    }

    /// Where the way to an AS is. `Err` is where it would be.
    #[inline(always)]
    pub(super) fn position_to(&self, server: AsId) -> Result<u16, u16> {
        let position = server.index() % WAYS;
        let tag = Tag(self.first | u64::from(FlowValue::owner_of(server, 0)));
        let is_its = self.cells[position].tag.is_but_for_epoch(tag);
        if is_its { Ok(position as u16) } else { Err(position as u16) }
    }

    /// Where the way of a flow is whose entry says this. `Err` is where it would be.
    #[inline(always)]
    pub(super) fn position(&self, value: FlowValue) -> Result<u16, u16> {
        let position = value.as_id().index() % WAYS;
        let tag = Tag(self.first | u64::from(value.owner()));
        if self.cells[position].tag == tag { Ok(position as u16) } else { Err(position as u16) }
    }

    /// Works the way out; false if the flow's AS is not what it was.
    #[cold]
    pub(super) fn work_out(&mut self, snapshot: &Snapshot, value: FlowValue) -> bool {
        let cell = &mut self.cells[value.as_id().index() % WAYS];
        cell.fill(snapshot, value.as_id());
        cell.tag == Tag::new(snapshot, value.owner())
    }

    /// The way at a position, whoever's it is.
    #[inline(always)]
    pub(super) fn at(&self, position: u16) -> &ServerWay<F> {
        &self.cells[usize::from(position) % WAYS].way
    }

    /// The way of a flow with an entry that says this; `None` if its AS is not what it was.
    #[inline]
    pub(super) fn of_flow(
        &mut self,
        snapshot: &Snapshot,
        value: FlowValue,
    ) -> Option<&ServerWay<F>> {
        let position = match self.position(value) {
            Ok(position) => position,
            Err(position) => self.work_out(snapshot, value).then_some(position)?,
        };
        Some(self.at(position))
    }
}
