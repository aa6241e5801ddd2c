//! From one state to another, keeping what both have.
//!
//! The wanted state was made on a box of its own, so it is sound as a whole, and no order of steps
//! has to be found: names, addresses and networks may go round in a circle. What is in both keeps
//! its index, and with it its counters and flows.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{LbVipAdd, LbVipUpdate, Problem, Span};
use dataplane::interface::{InterfaceId, MAX_INTERFACES};

use super::{InterfaceModel, Interfaces, Kind, LbModel, Model, Route, Server, Vip};

/// By index in the wanted state: the index in the new one.
type Ids = BTreeMap<InterfaceId, InterfaceId>;

fn full(limit: usize, what: &str) -> Problem {
    let reason = format!("all {limit} {what} are in use, removed ones with flows included");
    Problem::new(Span::default(), reason)
}

impl Model {
    /// A box with the same devices on which nothing is configured.
    pub fn unconfigured(&self) -> Self {
        let mut fresh = Self::default();
        for link in self.interfaces.iter() {
            let mtu = config::defaults::MTU;
            let new = InterfaceModel::new(link.id, &link.name, link.kind, link.mac, mtu);
            let up = matches!(link.kind, Kind::Punt(_));
            if up || matches!(link.kind, Kind::Device(_)) {
                Arc::make_mut(&mut fresh.interfaces).insert(InterfaceModel { up, ..new });
            }
        }
        fresh
    }

    /// The state `wanted`, which has the same devices, with the indices, epochs, tombstones and
    /// learned neighbours of this one.
    ///
    /// # Errors
    ///
    /// There are too many VIPs, ASs or interfaces for a while, as removed ones keep their indices
    /// until their flows have ended.
    pub fn towards(&self, wanted: &Self) -> Result<Self, Problem> {
        let mut model = self.clone();
        model.effects.clear();
        let ids = self.interfaces.ids_for(&wanted.interfaces)?;
        let id = |wanted: InterfaceId| ids.get(&wanted).copied().unwrap_or(wanted);
        let interfaces = wanted.interfaces.renumbered(&ids);
        if interfaces != *self.interfaces {
            model.interfaces = Arc::new(interfaces);
        }
        let routes = wanted.routes.iter();
        let routes: BTreeMap<_, _> = routes
            .map(|(to, route)| (*to, Route { interface: id(route.interface), ..*route }))
            .collect();
        if routes != *self.routes {
            model.routes = Arc::new(routes);
        }
        let neighbors = wanted.static_neighbors.iter();
        let neighbors: BTreeMap<_, _> =
            neighbors.map(|((link, address), mac)| ((id(*link), *address), *mac)).collect();
        if neighbors != *self.static_neighbors {
            model.static_neighbors = Arc::new(neighbors);
        }
        model.lb.turn_into(&wanted.lb)?;
        Ok(model)
    }
}

impl Interfaces {
    /// Which indices the interfaces of another box get here: those that are here already keep
    /// theirs, others get one that nothing has had here, if there is one left.
    fn ids_for(&self, wanted: &Self) -> Result<Ids, Problem> {
        let mut ids = Ids::new();
        // Devices first: they are the parents of others.
        let is_device = |link: &InterfaceModel| !matches!(link.kind, Kind::SubInterface { .. });
        let (devices, parts): (Vec<_>, Vec<_>) = wanted.iter().partition(|link| is_device(link));
        for link in devices.into_iter().chain(parts) {
            let kind = link.kind.renumbered(&ids);
            if let Some(own) = self.named(&link.name).filter(|own| own.kind == kind) {
                ids.insert(link.id, own.id);
            }
        }
        let mut taken: Vec<InterfaceId> = ids.values().copied().collect();
        for link in wanted.iter() {
            if ids.contains_key(&link.id) {
                continue;
            }
            let all = || (0..MAX_INTERFACES as u16).map(InterfaceId);
            let unused = all().find(|id| self.get(*id).is_none() && !taken.contains(id));
            let Some(free) = unused.or_else(|| all().find(|id| !taken.contains(id))) else {
                return Err(full(MAX_INTERFACES, "interfaces"));
            };
            taken.push(free);
            ids.insert(link.id, free);
        }
        Ok(ids)
    }

    fn renumbered(&self, ids: &Ids) -> Self {
        let mut all = Self::default();
        for link in self.iter() {
            let id = ids.get(&link.id).copied().unwrap_or(link.id);
            all.insert(InterfaceModel { id, kind: link.kind.renumbered(ids), ..link.clone() });
        }
        all
    }
}

impl Kind {
    fn renumbered(self, ids: &Ids) -> Self {
        match self {
            Self::SubInterface { parent, number, tags } => {
                let parent = ids.get(&parent).copied().unwrap_or(parent);
                Self::SubInterface { parent, number, tags }
            }
            other => other,
        }
    }
}

impl LbModel {
    /// Becomes `wanted`, as far as that is configuration.
    fn turn_into(&mut self, wanted: &Self) -> Result<(), Problem> {
        self.settings = wanted.settings.clone();
        self.no_match = wanted.no_match.clone();
        let stays = |vip: &Vip| {
            wanted.find(vip.key).is_some_and(|new| LbVipUpdate::leads_from(&vip.spec, &new.spec))
        };
        let gone: Vec<u32> = self.active().filter(|vip| !stays(vip)).map(|vip| vip.index).collect();
        gone.into_iter().for_each(|index| self.remove(index));
        for new in wanted.active() {
            // Names are taken away before any is given, as they may go round.
            let renamed = self.find(new.key).filter(|vip| vip.spec.name != new.spec.name);
            if let Some(vip) = renamed.map(Arc::clone) {
                self.set_spec(vip.index, LbVipAdd { name: None, ..vip.spec.clone() });
            }
        }
        for new in wanted.active() {
            let index = match self.find(new.key).map(|vip| (vip.index, vip.spec != new.spec)) {
                Some((index, false)) => index,
                Some((index, true)) => {
                    self.set_spec(index, new.spec.clone());
                    index
                }
                None => {
                    let limit = balancer::MAX_VIPS - 1;
                    let index = self.index_for(new.key).ok_or_else(|| full(limit, "VIPs"))?;
                    let servers = self.servers_before(index, &new.spec);
                    self.insert(Vip { index, servers, ..(**new).clone() });
                    index
                }
            };
            let servers = new.servers.iter().filter(|server| !server.removed);
            self.set_servers(index, servers.copied().collect())?;
        }
        Ok(())
    }

    /// Gives a VIP these ASs. Those that it has had before, removed ones too, keep their index and
    /// flows; others of its own become tombstones.
    fn set_servers(&mut self, index: u32, wanted: Vec<Server>) -> Result<(), Problem> {
        let Some(vip) = self.vips.get(index).cloned() else { return Ok(()) };
        let mut servers = Vec::with_capacity(wanted.len());
        for new in wanted {
            let (index, epoch) = match vip.server(new.address) {
                Some(own) => (own.index, own.epoch),
                None => self
                    .take_server_index()
                    .ok_or_else(|| full(balancer::MAX_SERVERS - 1, "ASs"))?,
            };
            servers.push(Server { index, epoch, ..new });
        }
        let in_use = vip.servers.iter().filter(|server| !server.removed);
        if in_use.clone().eq(&servers) {
            return Ok(());
        }
        let (had, has): (Vec<_>, Vec<_>) = (
            in_use.map(|server| server.address).collect(),
            servers.iter().map(|server| server.address).collect(),
        );
        let gone = vip.servers.iter().filter(|own| !has.contains(&own.address));
        servers.extend(gone.map(|own| own.as_removed()));
        self.replace_servers(index, servers, &had, &has);
        Ok(())
    }
}
