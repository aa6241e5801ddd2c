//! [`ServerWays`]: the ways to ASs, remembered.

use balancer::{AsId, FlowValue};
use dataplane::family::{Ip4, Ip6};
use dataplane::interface::InterfaceId;
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

    /// The AS and the epoch, as [`FlowValue::owner_of`] has them.
    #[inline(always)]
    const fn owner(self) -> u32 {
        self.0 as u32 & ((1 << FlowValue::OWNER_BITS) - 1)
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
    /// By position a bit, which is set if new flows may take the way at once. Of many ways in one line of
    /// the cache: new flows go to all ASs.
    open: [u64; WAYS / u64::BITS as usize],
    /// The tag of an AS 0 and epoch 0 in the snapshot.
    first: u64,
    exit: Exit,
}

/// Where the ways of a snapshot lead.
#[derive(Clone, Copy, Debug)]
struct Exit {
    /// [`ServerWays::first`] of the snapshot.
    of: u64,
    /// `None`: several interfaces.
    interface: Option<InterfaceId>,
}

/// The word and the bit of a position.
#[inline(always)]
const fn bit_of(position: usize) -> (usize, u32) {
    (position / u64::BITS as usize % (WAYS / u64::BITS as usize), position as u32 % u64::BITS)
}

impl<F: LaneFamily> Cell<F> {
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
        let exit = Exit { of: u64::MAX, interface: None };
        Self { cells, open: [0; WAYS / u64::BITS as usize], first: 0, exit }
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
        let position = server.index() % WAYS;
        if !self.cells[position].tag.is_of(snapshot, server) {
            self.fill(snapshot, server);
        }
        &self.cells[position].way
    }

    /// Works out the way to an AS.
    #[cold]
    #[inline(never)]
    fn fill(&mut self, snapshot: &Snapshot, server: AsId) {
        let position = server.index() % WAYS;
        let cell = &mut self.cells[position];
        cell.fill(snapshot, server);
        let (word, bit) = bit_of(position);
        self.open[word] = self.open[word] & !(1 << bit) | u64::from(cell.way.is_alone()) << bit;
        // Nobody goes a way that is closed.
        if let Some(interface) = cell.way.is_open().then_some(cell.way.interface) {
            let before =
                if self.exit.of == self.first { self.exit.interface } else { Some(interface) };
            let both = before.filter(|before| *before == interface);
            self.exit = Exit { of: self.first, interface: both };
        }
    }

    /// Where all packets leave that go any of these ways, if that is one interface.
    #[inline]
    pub(super) fn exit(&self) -> Option<InterfaceId> {
        self.exit.interface
    }

    /// Where the way to an AS is, and the [owner](FlowValue::owner_of) of flows that begin there. `Err` is
    /// where it would be.
    #[inline(always)]
    pub(super) fn position_to(&self, server: AsId) -> Result<(u16, u32), u16> {
        let position = server.index() % WAYS;
        let tag = Tag(self.first | u64::from(FlowValue::owner_of(server, 0)));
        let own = self.cells[position].tag;
        let is_its = own.is_but_for_epoch(tag);
        if is_its { Ok((position as u16, own.owner())) } else { Err(position as u16) }
    }

    /// Whether flows that begin may take the way at a position, as they [clash](ServerWay::is_alone) with none.
    #[inline(always)]
    pub(super) fn is_open_at(&self, position: u16) -> bool {
        let (word, bit) = bit_of(usize::from(position) % WAYS);
        self.open[word] >> bit & 1 != 0
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
        self.fill(snapshot, value.as_id());
        self.cells[value.as_id().index() % WAYS].tag == Tag::new(snapshot, value.owner())
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
