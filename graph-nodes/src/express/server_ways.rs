//! [`ServerWays`]: the ways to ASs, remembered.

use balancer::{AsId, MAX_SERVERS};
use dataplane::snapshot::Snapshot;

use super::readdress::Readdress;
use super::server_way::ServerWay;

/// How many ASs are remembered.
const WAYS: usize = 4096;

#[repr(align(64))]
struct Cell<F: Readdress> {
    tag: Tag,
    way: ServerWay<F>,
}

/// An AS in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    /// What no AS has.
    const NONE: Self = Self(u64::MAX);

    #[inline]
    fn new(snapshot: &Snapshot, server: AsId) -> Self {
        Self(snapshot.generation << MAX_SERVERS.ilog2() | u64::from(server.get()))
    }
}

/// Direct-mapped, and made of what the snapshot says: another one empties it.
pub(super) struct ServerWays<F: Readdress>(Box<[Cell<F>; WAYS]>);

impl<F: Readdress> std::fmt::Debug for ServerWays<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerWays({})", self.0.len())
    }
}

impl<F: Readdress> Default for ServerWays<F> {
    fn default() -> Self {
        let cells = (0..WAYS).map(|_| Cell { tag: Tag::NONE, way: ServerWay::closed() });
        let Ok(cells) = cells.collect::<Box<[_]>>().try_into() else {
            unreachable!("there are as many cells as were made")
        };
        Self(cells)
    }
}

impl<F: Readdress> ServerWays<F> {
    /// The way to an AS; a closed one if there is no such AS.
    #[inline(always)]
    pub(super) fn to(&mut self, snapshot: &Snapshot, server: AsId) -> &ServerWay<F> {
        let cell = &mut self.0[server.index() % WAYS];
        let tag = Tag::new(snapshot, server);
        if cell.tag != tag {
            *cell = Cell { tag, way: ServerWay::of(snapshot, server) };
        }
        &cell.way
    }
}
