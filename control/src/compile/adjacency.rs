//! Numbers the adjacencies of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dataplane::adjacency::{Adjacency, AdjacencyId};
use dataplane::fib::FibEntry;
use dataplane::interface::InterfaceId;

use super::fib::{Base, FibRow, Source};
use crate::model::{InterfaceModel, LINK_LOCAL, Model, NeighborKey, Network};

/// The adjacencies of a snapshot in the making.
#[derive(Debug, Default)]
pub struct Adjacencies {
    list: Vec<Adjacency>,
    index: hashbrown::HashMap<NeighborKey, AdjacencyId>,
    needed: BTreeSet<NeighborKey>,
}

impl Adjacencies {
    /// Those of all neighbours that are known, on interfaces that are up.
    pub fn known(model: &Model) -> Self {
        let mut known: BTreeMap<NeighborKey, _> = model.learned_neighbors.clone();
        known.extend(&model.static_neighbors);
        let mut adjacencies = Self::default();
        for key in known.into_keys() {
            adjacencies.add(model, key);
        }
        adjacencies
    }

    /// The adjacency of a neighbour that a route or an AS needs; `None` when its link is down.
    pub fn need(&mut self, model: &Model, key: NeighborKey) -> Option<AdjacencyId> {
        let id = self.add(model, key)?;
        let learned = model.interface(key.0).is_some_and(InterfaceModel::is_ethernet);
        if learned && !model.static_neighbors.contains_key(&key) {
            self.needed.insert(key);
        }
        Some(id)
    }

    fn add(&mut self, model: &Model, key: NeighborKey) -> Option<AdjacencyId> {
        let link = model.interface(key.0).filter(|interface| model.is_up(interface.id))?;
        if let Some(id) = self.index.get(&key) {
            return Some(*id);
        }
        let mac = model.neighbor(key);
        let id = AdjacencyId(self.list.len() as u32);
        let ether_type = Adjacency::ether_type(key.1);
        self.list.push(Adjacency {
            interface: key.0,
            next_hop: key.1,
            mtu: link.mtu,
            rewrite: mac.map(|mac| link.l2_header(mac, ether_type)),
            tunnel: None,
        });
        self.index.insert(key, id);
        Some(id)
    }

    /// The host route of every neighbour whose packets `base` gives to its own link. One that a
    /// route leads elsewhere gets none, or packets would take another way as soon as the neighbour
    /// is heard of. A link-local neighbour has one when there is no other of its address.
    pub fn rows(&self, base: &Base) -> Vec<FibRow> {
        let mut rows = Vec::new();
        for (id, adjacency) in self.list.iter().enumerate() {
            let (interface, address) = (adjacency.interface, adjacency.next_hop);
            if base.lookup(address) == FibEntry::Glean(interface) || self.is_link_local(address) {
                rows.push(FibRow {
                    network: Network::host(address),
                    source: Source::Adjacency,
                    entry: FibEntry::Adjacency(AdjacencyId(id as u32)),
                });
            }
        }
        rows
    }

    fn is_link_local(&self, address: IpAddr) -> bool {
        LINK_LOCAL.contains(address)
            && self.list.iter().filter(|other| other.next_hop == address).count() == 1
    }

    /// The neighbours that [`Self::need`] was asked for, static ones left out.
    pub fn needed(&self) -> &BTreeSet<NeighborKey> {
        &self.needed
    }

    /// As the snapshot keeps them.
    #[allow(clippy::type_complexity)]
    pub fn into_parts(
        self,
    ) -> (Box<[Adjacency]>, hashbrown::HashMap<(InterfaceId, IpAddr), AdjacencyId>) {
        (self.list.into_boxed_slice(), self.index)
    }
}
