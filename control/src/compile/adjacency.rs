//! Numbers the adjacencies of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use dataplane::adjacency::{Adjacency, AdjacencyId, L2Header};
use dataplane::fib::{Fib4, FibEntry};
use dataplane::interface::InterfaceId;
use dataplane::wire::ethernet::ether_type;

use super::fib::{FibRow, Source};
use crate::model::{Ip4Network, Model, NeighborKey};

/// The adjacencies of a snapshot in the making.
#[derive(Debug, Default)]
pub struct Adjacencies {
    list: Vec<Adjacency>,
    index: hashbrown::HashMap<(InterfaceId, Ipv4Addr), AdjacencyId>,
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
        if !model.static_neighbors.contains_key(&key) {
            self.needed.insert(key);
        }
        Some(id)
    }

    fn add(&mut self, model: &Model, key: NeighborKey) -> Option<AdjacencyId> {
        let link = model.interface(key.0).filter(|interface| interface.up)?;
        if let Some(id) = self.index.get(&key) {
            return Some(*id);
        }
        let mac = model.neighbor(key);
        let id = AdjacencyId(self.list.len() as u32);
        self.list.push(Adjacency {
            interface: key.0,
            next_hop: key.1.into(),
            mtu: link.mtu,
            rewrite: mac.map(|mac| L2Header::new(mac, link.mac, &[], ether_type::IPV4)),
            tunnel: None,
        });
        self.index.insert(key, id);
        Some(id)
    }

    /// The /32 of every neighbour whose packets `base` gives to its own link. One that a route leads
    /// elsewhere gets none, or packets would take another way as soon as ARP hears of it.
    pub fn rows(&self, base: &Fib4) -> Vec<FibRow> {
        let mut rows = Vec::new();
        for (id, adjacency) in self.list.iter().enumerate() {
            let (interface, IpAddr::V4(address)) = (adjacency.interface, adjacency.next_hop) else {
                continue;
            };
            if base.lookup(address) == FibEntry::Glean(interface) {
                rows.push(FibRow {
                    network: Ip4Network::new(address, 32),
                    source: Source::Adjacency,
                    entry: FibEntry::Adjacency(AdjacencyId(id as u32)),
                });
            }
        }
        rows
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
        let index = self.index.into_iter().map(|((link, ip), id)| ((link, ip.into()), id));
        (self.list.into_boxed_slice(), index.collect())
    }
}
