//! [`NetworkPart`]: what of a snapshot depends on links, routes and neighbours, and the ways to ASs.
//!
//! It is made for a state of the network without any VIP, and then told what becomes of VIPs, the
//! first time of all of them. So a change to one VIP costs what that VIP has, and there is one body
//! for both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use balancer::{FlowHasher, HashKey, LbTables, Timeouts, VipGroups};
use dataplane::adjacency::{Adjacency, AdjacencyId};
use dataplane::fib::FibEntry;
use dataplane::forwarding::{ServerPath, VipPolicy};
use dataplane::interface::{Interface, InterfaceId, MacAddress};

use super::adjacency::Adjacencies;
use super::fib::{self, Base, Source};
use super::forwarding;
use super::rib::Rib;
use crate::model::{Difference, Interfaces, LbSettings, Model, NeighborKey, Network, Route, Vip};

/// What it is made from, VIPs aside.
#[derive(Clone, Debug)]
struct Inputs {
    interfaces: Arc<Interfaces>,
    routes: Arc<BTreeMap<Network, Route>>,
    static_neighbors: Arc<BTreeMap<NeighborKey, MacAddress>>,
    learned_neighbors: Arc<BTreeMap<NeighborKey, MacAddress>>,
    settings: LbSettings,
}

impl Inputs {
    fn of(model: &Model) -> Self {
        Self {
            interfaces: Arc::clone(&model.interfaces),
            routes: Arc::clone(&model.routes),
            static_neighbors: Arc::clone(&model.static_neighbors),
            learned_neighbors: Arc::clone(&model.learned_neighbors),
            settings: model.lb.settings.clone(),
        }
    }

    fn are_of(&self, model: &Model) -> bool {
        Arc::ptr_eq(&self.interfaces, &model.interfaces)
            && Arc::ptr_eq(&self.routes, &model.routes)
            && Arc::ptr_eq(&self.static_neighbors, &model.static_neighbors)
            && Arc::ptr_eq(&self.learned_neighbors, &model.learned_neighbors)
            && self.settings == model.lb.settings
    }
}

/// How often an address is an AS.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    /// At all.
    all: u32,
    /// Of VIPs with NAT that are not removed.
    nat: u32,
    /// Of other VIPs that are not removed.
    direct: u32,
    /// The way there.
    adjacency: Option<AdjacencyId>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct NetworkPart {
    inputs: Inputs,
    /// Prefixes with VIPs that are more than one address.
    wide: BTreeSet<Network>,
    /// The FIB without neighbours and the load balancer.
    base: Base,
    /// The neighbours needed without any AS.
    base_needed: BTreeSet<NeighborKey>,
    adjacencies: Adjacencies,
    servers: HashMap<IpAddr, Uses>,
    /// How many VIPs each prefix has, and its number.
    prefixes: BTreeMap<Network, (u32, Option<u32>)>,
    /// Where the numbers are from.
    groups: Arc<VipGroups>,
    pub(super) rib: Rib,
    /// By AS index.
    pub(super) paths: Vec<Option<ServerPath>>,
    /// By VIP index.
    pub(super) policies: Vec<VipPolicy>,
    pub(super) interfaces: Arc<[Interface]>,
    pub(super) tunnels: Arc<hashbrown::HashMap<(IpAddr, IpAddr), InterfaceId>>,
    /// Prefixes with VIPs have come or gone.
    renumbered: bool,
    /// As handed out last.
    list: Arc<[Adjacency]>,
    index: Arc<hashbrown::HashMap<NeighborKey, AdjacencyId>>,
}

impl NetworkPart {
    /// The part without any VIP. `wide` are the prefixes with VIPs that are to come and are more than
    /// one address: they take packets of neighbours.
    pub(super) fn new(model: &Model, wide: BTreeSet<Network>) -> Self {
        let nothing = LbTables::empty(FlowHasher::new(&HashKey::default()), Timeouts::default());
        let groups = nothing.groups;
        let mut adjacencies = Adjacencies::known(model);
        let rows = fib::base_rows(model, &mut adjacencies);
        let base = Base::build(&rows);
        adjacencies.resolve_tunnels(model, &base);
        let mut rib = Rib::new(forwarding::tunnel_policy(&model.lb.settings));
        for row in rows.into_iter().chain(adjacencies.rows(model, &base, &wide)) {
            rib.set(row.network, row.source, Some(row.entry));
        }
        Self {
            inputs: Inputs::of(model),
            wide,
            base,
            base_needed: adjacencies.needed().clone(),
            adjacencies,
            servers: HashMap::new(),
            prefixes: BTreeMap::new(),
            groups,
            rib,
            paths: Vec::new(),
            policies: Vec::new(),
            interfaces: super::interfaces(model),
            tunnels: Arc::new(super::tunnels(model)),
            renumbered: false,
            list: Arc::default(),
            index: Arc::default(),
        }
    }

    /// Whether it is of this network, and such changes can be made to it.
    pub(super) fn holds(&self, model: &Model, changes: &[Difference<'_, Vip>]) -> bool {
        let alike = |vip: &Vip| vip.removed || vip.network().is_host();
        let both = |(_, old, new): &Difference<'_, Vip>| {
            // A VIP of a wide prefix may change, but not come or go.
            let state = |vip: Option<&Arc<Vip>>| vip.map(|vip| (vip.network(), vip.removed));
            state(*old) == state(*new) || [old, new].into_iter().flatten().all(|vip| alike(vip))
        };
        self.inputs.are_of(model) && changes.iter().all(both)
    }

    /// Takes up what has become of VIPs.
    pub(super) fn change(
        &mut self,
        model: &Model,
        changes: &[Difference<'_, Vip>],
        tables: &LbTables,
    ) {
        let mut touched = BTreeSet::new();
        for (_, old, new) in changes {
            for vip in old.iter() {
                self.count(vip, &mut touched, |count| *count -= 1);
                for server in &vip.servers {
                    self.paths[server.index as usize] = None;
                }
            }
            for vip in new.iter() {
                self.count(vip, &mut touched, |count| *count += 1);
            }
        }
        for network in touched.iter().filter(|network| network.is_host()) {
            self.resolve(model, network.address);
        }
        for (index, _, new) in changes {
            self.enter(model, *index, new.map(|vip| &**vip));
        }
        self.number(model, tables, &touched);
    }

    fn count(&mut self, vip: &Vip, touched: &mut BTreeSet<Network>, step: impl Fn(&mut u32)) {
        let nat = vip.spec.encap().is_nat();
        for server in &vip.servers {
            let uses = self.servers.entry(server.address).or_default();
            step(&mut uses.all);
            // The flows of a removed VIP ended with it.
            match (vip.removed, nat) {
                (true, _) => {}
                (false, true) => step(&mut uses.nat),
                (false, false) => step(&mut uses.direct),
            }
            touched.insert(Network::host(server.address));
        }
        if !vip.removed {
            step(&mut self.prefixes.entry(vip.network()).or_default().0);
            touched.insert(vip.network());
        }
    }

    /// Finds the way to an address that is an AS, or was one.
    fn resolve(&mut self, model: &Model, address: IpAddr) {
        let host = Network::host(address);
        let Some(uses) = self.servers.get(&address).copied() else { return };
        let on_link = match self.base.lookup(address) {
            FibEntry::Glean(interface) => Some((interface, address)),
            _ => None,
        };
        if uses.all == 0 {
            self.servers.remove(&address);
            self.rib.set(host, Source::Lb, None);
            if let Some(key) = on_link.filter(|key| !self.base_needed.contains(key)) {
                self.release(model, key);
            }
            return;
        }
        let known = on_link.and_then(|key| self.adjacencies.find(key));
        let adjacency = self.adjacencies.towards(model, &self.base, address);
        if let (None, Some(key), Some(id)) = (known, on_link, adjacency)
            && self.adjacencies.has_row(model, &self.base, &self.wide, key)
        {
            self.rib.set(host, Source::Adjacency, Some(FibEntry::Adjacency(id)));
        }
        // An AS is no part of a prefix with VIPs that it lies in. One with NAT that clients reach
        // past its VIP has an entry of its own: its replies come by here too and must be told from
        // those of balanced flows.
        let entry = match adjacency {
            Some(id) if uses.nat > 0 => Some(FibEntry::AsDirect(id)),
            Some(id) if uses.direct > 0 && self.in_wide_prefix(address) => {
                Some(FibEntry::Adjacency(id))
            }
            _ => None,
        };
        self.rib.set(host, Source::Lb, entry);
        if let Some(uses) = self.servers.get_mut(&address) {
            uses.adjacency = adjacency;
        }
    }

    /// No AS needs this neighbour any more.
    fn release(&mut self, model: &Model, key: NeighborKey) {
        self.adjacencies.forget_need(key);
        if model.neighbor(key).is_none() && self.adjacencies.remove(key) {
            self.rib.set(Network::host(key.1), Source::Adjacency, None);
        }
    }

    fn in_wide_prefix(&self, address: IpAddr) -> bool {
        self.wide.iter().any(|network| network.contains(address))
    }

    /// Notes paths and policy of a VIP.
    fn enter(&mut self, model: &Model, index: u32, vip: Option<&Vip>) {
        let index = index as usize;
        if self.policies.len() <= index {
            self.policies.resize(index + 1, VipPolicy::default());
        }
        let active = vip.filter(|vip| !vip.removed);
        self.policies[index] = active.map(forwarding::vip_policy).unwrap_or_default();
        let Some(vip) = vip else { return };
        for server in &vip.servers {
            let adjacency = self.servers.get(&server.address).and_then(|uses| uses.adjacency);
            let path = forwarding::server_path(model, &self.adjacencies, vip, server, adjacency);
            let index = server.index as usize;
            if self.paths.len() <= index {
                self.paths.resize(index + 1, None);
            }
            self.paths[index] = Some(path);
        }
    }

    /// Gives prefixes with VIPs the numbers that `tables` have for them: those of `touched`
    /// addresses and, when VIPs have come or gone, all.
    fn number(&mut self, model: &Model, tables: &LbTables, touched: &BTreeSet<Network>) {
        for network in touched {
            match self.prefixes.get(network) {
                Some((0, _)) => {
                    self.prefixes.remove(network);
                    let is_server =
                        network.is_host() && self.servers.contains_key(&network.address);
                    if !is_server {
                        self.rib.set(*network, Source::Lb, None);
                    }
                }
                // What an AS of the same address has written there goes.
                Some((_, Some(group))) => self.set_vip(model, *network, *group),
                _ => {}
            }
        }
        if Arc::ptr_eq(&self.groups, &tables.groups) {
            return;
        }
        self.groups = Arc::clone(&tables.groups);
        self.renumbered = true;
        for (group, prefix) in tables.groups.prefixes().enumerate() {
            let network = Network { address: prefix.network, prefix_len: prefix.len };
            let Some((_, number)) = self.prefixes.get_mut(&network) else { continue };
            if number.replace(group as u32) != Some(group as u32) {
                self.set_vip(model, network, group as u32);
            }
        }
    }

    fn set_vip(&mut self, model: &Model, network: Network, group: u32) {
        let local = network.is_host() && model.owner_of(network.address).is_some();
        self.rib.set(network, Source::Lb, Some(FibEntry::Vip { group, local }));
    }

    /// The neighbours that routes and ASs need.
    pub(super) fn needed(&self) -> &BTreeSet<NeighborKey> {
        self.adjacencies.needed()
    }

    /// Since this was asked last: whether other neighbours are needed, and whether prefixes with VIPs
    /// have come or gone.
    pub(super) fn news(&mut self) -> (bool, bool) {
        (self.adjacencies.needs_news(), std::mem::take(&mut self.renumbered))
    }

    /// The adjacencies as a snapshot has them; those handed out last, if none has changed.
    pub(super) fn adjacencies(
        &mut self,
    ) -> (Arc<[Adjacency]>, Arc<hashbrown::HashMap<NeighborKey, AdjacencyId>>) {
        if let Some((list, index)) = self.adjacencies.news() {
            (self.list, self.index) = (list.into(), Arc::new(index.clone()));
        }
        (Arc::clone(&self.list), Arc::clone(&self.index))
    }
}
