//! Turns the model into what workers read.

mod adjacency;
mod fib;
mod forwarding;
mod lb;
mod network;
mod rib;
mod table_queue;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use balancer::{LbTables, StickyTable, VipGroups};
use dataplane::interface::{Interface, InterfaceId, SubInterface};
use dataplane::snapshot::Snapshot;

pub use adjacency::Adjacencies;
pub use fib::{Base, FibRow, Source};
pub use lb::{LbCompiler, new_instance_key, new_sticky_owner};
pub(crate) use lb::{length, members};
pub use table_queue::{BuiltTable, TableExecutor, TableOrder, TableThread};

use crate::model::{InterfaceModel, Kind, Model, NeighborKey, Network, Shelf, Vip};
use network::NetworkPart;

/// A snapshot, and what else is new with it.
#[derive(Debug)]
pub struct Compiled {
    /// For the workers.
    pub snapshot: Box<Snapshot>,
    /// Other neighbours are needed than before.
    pub needs_changed: bool,
    /// Our addresses may be others than before: those of interfaces and of VIPs.
    pub addresses_changed: bool,
}

/// Compiles one model after another. What did not change is shared with the snapshot before.
#[derive(Debug, Default)]
pub struct Compiler {
    /// The load balancer's part.
    pub lb: LbCompiler,
    network: Option<NetworkPart>,
    /// The VIPs that `network` has.
    vips: Shelf<Vip>,
    /// What packets get that no VIP takes: for these policies and prefixes.
    no_match: Option<(LbPolicies, Arc<VipGroups>, Box<[dataplane::forwarding::NoMatch]>)>,
}

/// `lb no-match`, and the default.
type LbPolicies = (BTreeMap<Network, config::NoMatch>, config::NoMatch);

impl Compiler {
    /// One that makes everything anew but for the load balancer's part.
    pub(crate) fn resumed(lb: LbCompiler) -> Self {
        Self { lb, ..Self::default() }
    }

    /// The prefixes in force, for `show ip fib`.
    pub fn rows(&self) -> impl Iterator<Item = FibRow> {
        self.network.iter().flat_map(|network| network.rib.rows())
    }

    /// The neighbours that routes and ASs need.
    pub fn needed(&self) -> BTreeSet<NeighborKey> {
        self.network.as_ref().map(|network| network.needed().clone()).unwrap_or_default()
    }

    /// Compiles a model, but for VIPs whose new-flow tables are being built: those stay as they are.
    pub fn compile(
        &mut self,
        model: &Model,
        generation: u64,
        sticky_tables: &[Arc<StickyTable>],
    ) -> Compiled {
        let tables = self.lb.compile(&model.lb);
        let before = std::mem::replace(&mut self.vips, self.lb.compiled().clone());
        let changes: Vec<_> = self.vips.since(&before).collect();
        let network = self.network.take().filter(|network| network.holds(model, &changes));
        let same_network = network.is_some();
        let mut network = match network {
            Some(mut network) => {
                network.change(model, &changes, &tables);
                network
            }
            None => {
                let vips = self.vips.values().filter(|vip| !vip.removed).map(|vip| vip.network());
                let wide = vips.filter(|network| !network.is_host()).collect();
                let mut network = NetworkPart::new(model, wide);
                let nothing = Shelf::default();
                network.change(model, &self.vips.since(&nothing).collect::<Vec<_>>(), &tables);
                network
            }
        };
        let (fib4, fib6) = network.rib.fibs();
        let (adjacencies, adjacency_index) = network.adjacencies();
        let (needs_changed, vips_changed) = network.news();
        let snapshot = Snapshot {
            generation,
            interfaces: Arc::clone(&network.interfaces),
            fib4,
            fib6,
            adjacencies,
            adjacency_index,
            tunnels: Arc::clone(&network.tunnels),
            server_paths: network.paths.clone().into(),
            vip_policies: network.policies.clone().into(),
            no_match: self.no_match(model, &tables),
            tunnel_policy: forwarding::tunnel_policy(&model.lb.settings),
            lb: tables,
            sticky_tables: sticky_tables.into(),
        };
        self.network = Some(network);
        Compiled {
            snapshot: Box::new(snapshot),
            needs_changed: needs_changed || !same_network,
            addresses_changed: vips_changed || !same_network,
        }
    }

    /// By number of the prefix with VIPs.
    fn no_match(
        &mut self,
        model: &Model,
        tables: &LbTables,
    ) -> Box<[dataplane::forwarding::NoMatch]> {
        let policies = (&model.lb.no_match, model.lb.settings.no_match);
        if let Some(((prefixes, default), groups, made)) = &self.no_match
            && (prefixes, *default) == policies
            && Arc::ptr_eq(groups, &tables.groups)
        {
            return made.clone();
        }
        let made = forwarding::no_match(&model.lb, tables);
        let policies = (policies.0.clone(), policies.1);
        self.no_match = Some((policies, Arc::clone(&tables.groups), made.clone()));
        made
    }
}

/// By our end and the far end, as the packets that come out of them have them.
fn tunnels(model: &Model) -> hashbrown::HashMap<(IpAddr, IpAddr), InterfaceId> {
    let tunnel = |link: &InterfaceModel| match link.kind {
        Kind::Tunnel { source, destination, .. } => Some(((source, destination), link.id)),
        _ => None,
    };
    model.interfaces.iter().filter_map(tunnel).collect()
}

/// By index. One that is free holds an interface that is down.
fn interfaces(model: &Model) -> Arc<[Interface]> {
    let none = InterfaceModel::local0();
    let indices = 0..model.interfaces.len_by_index();
    indices
        .map(|index| {
            let id = InterfaceId(index as u16);
            interface(model, model.interface(id).unwrap_or(&none), id)
        })
        .collect()
}

fn interface(model: &Model, of: &InterfaceModel, id: InterfaceId) -> Interface {
    let parts = model.interfaces.iter().filter_map(|part| match part.kind {
        Kind::SubInterface { parent, tags, .. } if parent == id => {
            Some(SubInterface { outer: tags.outer, inner: tags.inner, interface: part.id })
        }
        _ => None,
    });
    Interface {
        id,
        name: (*of.name).into(),
        port: model.port_of(of),
        parent: match of.kind {
            Kind::SubInterface { parent, .. } => Some(parent),
            _ => None,
        },
        mac: of.mac,
        mtu: of.mtu,
        up: model.is_up(of.id),
        link_up: model.has_link(of.id),
        nat4_in: of.nat4_in,
        nat6_in: of.nat6_in,
        punt: matches!(of.kind, Kind::Punt(_)),
        addresses: of.own_addresses().collect(),
        sub_interfaces: parts.collect(),
    }
}
