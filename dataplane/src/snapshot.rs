//! [`Snapshot`]: everything workers read and never write, built by control.

use std::net::Ipv4Addr;
use std::sync::Arc;

use balancer::{LbTables, StickyTable};

use crate::adjacency::{Adjacency, AdjacencyId};
use crate::fib::Fib4;
use crate::interface::{Interface, InterfaceId};

/// One immutable state of the box. Parts that did not change are shared with its predecessor.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with each publication; a worker notices news by it.
    pub generation: u64,
    /// By [`InterfaceId`]; 0 is `local0`.
    pub interfaces: Box<[Interface]>,
    /// Destinations.
    pub fib4: Arc<Fib4>,
    /// By [`AdjacencyId`].
    pub adjacencies: Box<[Adjacency]>,
    /// Finds the adjacency of a next hop, for packets that waited for it.
    pub adjacency_index: hashbrown::HashMap<(InterfaceId, Ipv4Addr), AdjacencyId>,
    /// VIPs, ASs, new-flow tables, reverse map.
    pub lb: Arc<LbTables>,
    /// By AS index: the adjacency of each AS, resolved on the FIB without the lb's own entries;
    /// `None` when there is no route to it.
    pub server_adjacency: Box<[Option<AdjacencyId>]>,
    /// By worker: each worker's sticky table, for read-only use by its peers.
    pub sticky_tables: Box<[Arc<StickyTable>]>,
}

impl Snapshot {
    /// The interface with this index, if it exists.
    #[inline]
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(id.index())
    }

    /// The adjacency with this index, if it exists.
    #[inline]
    pub fn adjacency(&self, id: AdjacencyId) -> Option<&Adjacency> {
        self.adjacencies.get(id.index())
    }

    /// The adjacency towards a next hop, if the snapshot has one.
    pub fn adjacency_of(&self, interface: InterfaceId, next_hop: Ipv4Addr) -> Option<AdjacencyId> {
        self.adjacency_index.get(&(interface, next_hop)).copied()
    }
}
