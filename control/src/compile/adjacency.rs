//! Numbers the adjacencies of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dataplane::adjacency::{Adjacency, AdjacencyId, Tunnel};
use dataplane::fib::FibEntry;
use dataplane::interface::InterfaceId;

use super::fib::{Base, FibRow, Source};
use crate::model::{InterfaceModel, Kind, LINK_LOCAL, Model, NeighborKey, Network};

/// The adjacencies of a snapshot in the making.
#[derive(Debug, Default)]
pub struct Adjacencies {
    list: Vec<Adjacency>,
    index: hashbrown::HashMap<NeighborKey, AdjacencyId>,
    /// Places in `list` that nobody has.
    free: Vec<AdjacencyId>,
    needed: BTreeSet<NeighborKey>,
    /// `list` or `index` have changed since [`Self::news`] was asked for.
    changed: bool,
    /// The same of `needed` and [`Self::needs_news`].
    needs_changed: bool,
}

impl Adjacencies {
    /// Those of all neighbours that are known, on interfaces that are up.
    pub fn known(model: &Model) -> Self {
        let mut known: BTreeMap<NeighborKey, _> = (*model.learned_neighbors).clone();
        known.extend(&*model.static_neighbors);
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
            self.needs_changed |= self.needed.insert(key);
        }
        Some(id)
    }

    fn add(&mut self, model: &Model, key: NeighborKey) -> Option<AdjacencyId> {
        let link = model.interface(key.0).filter(|interface| model.is_up(interface.id))?;
        if let Some(id) = self.index.get(&key) {
            return Some(*id);
        }
        let mac = model.neighbor(key);
        let ether_type = Adjacency::ether_type(key.1);
        let new = Adjacency {
            interface: key.0,
            next_hop: key.1,
            mtu: link.mtu,
            rewrite: mac.map(|mac| link.l2_header(mac, ether_type)),
            tunnel: None,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.list[id.index()] = new;
                id
            }
            None => {
                self.list.push(new);
                AdjacencyId(self.list.len() as u32 - 1)
            }
        };
        self.index.insert(key, id);
        self.changed = true;
        Some(id)
    }

    /// The adjacency of a neighbour.
    pub(super) fn find(&self, key: NeighborKey) -> Option<AdjacencyId> {
        self.index.get(&key).copied()
    }

    /// No AS and no route needs a neighbour any more.
    pub(super) fn forget_need(&mut self, key: NeighborKey) {
        self.needs_changed |= self.needed.remove(&key);
    }

    /// Whether other neighbours are needed than the last time.
    pub(super) fn needs_news(&mut self) -> bool {
        std::mem::take(&mut self.needs_changed)
    }

    /// Takes an adjacency out that nothing leads to any more; true when there was one.
    pub(super) fn remove(&mut self, key: NeighborKey) -> bool {
        let Some(id) = self.index.remove(&key) else { return false };
        self.free.push(id);
        self.changed = true;
        true
    }

    /// All adjacencies and where they are found, if they have changed since the last time.
    pub(super) fn news(
        &mut self,
    ) -> Option<(&[Adjacency], &hashbrown::HashMap<NeighborKey, AdjacencyId>)> {
        std::mem::take(&mut self.changed).then_some((&self.list, &self.index))
    }

    /// Finds the ways to the far ends of tunnels, which limit their packets.
    pub fn resolve_tunnels(&mut self, model: &Model, base: &Base) {
        for at in 0..self.list.len() {
            let Some(link) = model.interface(self.list[at].interface) else { continue };
            let Kind::Tunnel { source, destination, .. } = link.kind else { continue };
            let underlay = self.towards(model, base, destination).filter(|id| {
                // A tunnel through a tunnel could lead through itself.
                self.list[id.index()].tunnel.is_none() && !self.is_tunnel(model, *id)
            });
            let outer_len = if destination.is_ipv6() { 40 } else { 20 };
            let room = underlay.map(|id| self.list[id.index()].mtu.saturating_sub(outer_len));
            let adjacency = &mut self.list[at];
            adjacency.mtu = room.map_or(link.mtu, |room| room.min(link.mtu));
            adjacency.tunnel = Some(Tunnel { source, destination, underlay });
        }
    }

    fn is_tunnel(&self, model: &Model, id: AdjacencyId) -> bool {
        let interface = self.list.get(id.index()).map(|adjacency| adjacency.interface);
        let link = interface.and_then(|id| model.interface(id));
        link.is_some_and(|link| matches!(link.kind, Kind::Tunnel { .. }))
    }

    /// The adjacency of packets to `address`, on a FIB without the load balancer's entries.
    pub fn towards(&mut self, model: &Model, base: &Base, address: IpAddr) -> Option<AdjacencyId> {
        match base.lookup(address) {
            FibEntry::Adjacency(id) => Some(id),
            FibEntry::Glean(interface) => self.need(model, (interface, address)),
            _ => None,
        }
    }

    /// The host route of every neighbour whose packets `base` gives to its own link. One that a
    /// route leads elsewhere gets none, or packets would take another way as soon as the neighbour
    /// is heard of; nor does one in a prefix with VIPs that is at least as long as the network it is
    /// on, as the VIPs are to have its packets. A link-local neighbour has a route when there is no
    /// other of its address.
    pub(super) fn rows(&self, model: &Model, base: &Base, wide: &BTreeSet<Network>) -> Vec<FibRow> {
        let mut rows = Vec::new();
        for (id, adjacency) in self.list.iter().enumerate() {
            let (interface, address) = (adjacency.interface, adjacency.next_hop);
            if self.has_row(model, base, wide, (interface, address)) {
                rows.push(FibRow {
                    network: Network::host(address),
                    source: Source::Adjacency,
                    entry: FibEntry::Adjacency(AdjacencyId(id as u32)),
                });
            }
        }
        rows
    }

    /// Whether packets to a neighbour go over its adjacency; `wide` are the prefixes with VIPs that
    /// are more than one address.
    pub(super) fn has_row(
        &self,
        model: &Model,
        base: &Base,
        wide: &BTreeSet<Network>,
        (interface, address): NeighborKey,
    ) -> bool {
        base.lookup(address) == FibEntry::Glean(interface)
            && !cover(wide, model, interface, address)
            || self.is_link_local(address)
    }

    fn is_link_local(&self, address: IpAddr) -> bool {
        LINK_LOCAL.contains(address)
            && self.list.iter().filter(|other| other.next_hop == address).count() == 1
    }

    /// The adjacency with this number.
    pub fn get(&self, id: AdjacencyId) -> Option<&Adjacency> {
        self.list.get(id.index())
    }

    /// The neighbours that [`Self::need`] was asked for, static ones left out.
    pub fn needed(&self) -> &BTreeSet<NeighborKey> {
        &self.needed
    }
}

/// True when one of these prefixes holds `address` and is as long as the network that connects it,
/// or longer.
fn cover(wide: &BTreeSet<Network>, model: &Model, interface: InterfaceId, address: IpAddr) -> bool {
    let around = wide.iter().filter(|network| network.contains(address));
    let Some(vips) = around.max_by_key(|network| network.prefix_len) else { return false };
    let link = model.interface(interface);
    let connected = link.and_then(|link| link.addresses.iter().find(|own| own.contains(address)));
    connected.is_some_and(|own| vips.prefix_len >= own.prefix_len)
}
