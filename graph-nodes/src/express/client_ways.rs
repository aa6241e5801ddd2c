//! [`ClientWays`]: the ways to clients, remembered.

use std::marker::PhantomData;

use dataplane::family::Family;
use dataplane::snapshot::Snapshot;

use super::client_way::ClientWay;
use crate::recent_routes::{Route, RouteFinder, UsualRoute};

/// How many routes are remembered.
const WAYS: usize = 64;

/// What no route's tag is.
const NONE: u64 = u64::MAX;

// A power of two, so that a shift finds it.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Cell {
    /// The route and, above, the snapshot's generation.
    tag: u64,
    way: ClientWay,
}

/// Direct-mapped, and made of what the snapshot says: another one empties it.
#[derive(Debug)]
pub(super) struct ClientWays<F> {
    cells: Box<[Cell; WAYS]>,
    /// The tag of route 0 in the snapshot.
    first: u64,
    changes: u64,
    family: PhantomData<F>,
}

impl<F> Default for ClientWays<F> {
    fn default() -> Self {
        let empty = Cell { tag: NONE, way: ClientWay::closed() };
        Self { cells: Box::new([empty; WAYS]), first: 0, changes: 0, family: PhantomData }
    }
}

impl Cell {
    #[cold]
    #[inline(never)]
    fn fill<F: Family>(&mut self, snapshot: &Snapshot, route: Route, tag: u64) {
        let way = route.hop::<F>(snapshot).map(|hop| ClientWay::by(snapshot, hop));
        *self = Self { tag, way: way.unwrap_or_else(ClientWay::closed) };
    }
}

/// Finds the ways that are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientFinder<'a> {
    cells: &'a [Cell; WAYS],
    first: u64,
}

impl<'a> ClientFinder<'a> {
    /// The way to a client, as the usual one; `None` if something is not remembered.
    #[inline(always)]
    pub(super) fn find_by<F: Family>(
        &self,
        routes: &RouteFinder<'_>,
        dst: F::Address,
    ) -> Option<UsualWay> {
        let route = routes.find::<F>(dst)?;
        let number = route.route.0;
        let position = number as usize % WAYS;
        let cell = &self.cells[position];
        let is_there = cell.tag == self.first | u64::from(number);
        let (client, largest) = (position as u16, cell.way.largest());
        if is_there { Some(UsualWay { route, client, largest }) } else { None }
    }
}

/// The way of a reply: most often it is that of the next one as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsualWay {
    pub(super) route: UsualRoute,
    /// Where the way is.
    pub(super) client: u16,
    /// The bytes of the largest packet that may take it.
    pub(super) largest: u16,
}

impl UsualWay {
    /// No way's position.
    pub(super) const NOWHERE: u16 = u16::MAX;

    /// None for any packet; `client` was the way of the packets before.
    pub(super) fn none(client: u16) -> Self {
        Self { route: UsualRoute::NONE, client, largest: 0 }
    }
}

impl<F: Family> ClientWays<F> {
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

    /// The way of a route; a closed one where there is none.
    #[inline(always)]
    pub(super) fn find(&mut self, snapshot: &Snapshot, route: Route) -> &ClientWay {
        let cell = &mut self.cells[route.0 as usize % WAYS];
        let tag = self.first | u64::from(route.0);
        if cell.tag != tag {
            cell.fill::<F>(snapshot, route, tag);
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
