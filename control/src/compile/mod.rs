//! Turns the model into what workers read.

mod adjacency;
mod fib;
mod forwarding;
mod lb;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use balancer::StickyTable;
use dataplane::interface::{Interface, InterfaceId, SubInterface};
use dataplane::snapshot::Snapshot;

pub use adjacency::Adjacencies;
pub use fib::{Base, FibRow, Source};
pub use lb::{LbCompiler, new_instance_key, new_sticky_owner};

use crate::model::{InterfaceModel, Kind, Model, NeighborKey, Network};

/// A snapshot, and what control itself needs to know about it.
#[derive(Debug)]
pub struct Compiled {
    /// For the workers.
    pub snapshot: Box<Snapshot>,
    /// The FIB as a list, for `show ip fib`: shorter prefixes and lower addresses first.
    pub rows: Vec<FibRow>,
    /// The neighbours that routes and ASs need.
    pub needed: BTreeSet<NeighborKey>,
}

/// Compiles the whole model. What did not change in the load balancer is shared with what
/// `lb_compiler` built before.
pub fn compile(
    model: &Model,
    generation: u64,
    lb_compiler: &mut LbCompiler,
    sticky_tables: &[Arc<StickyTable>],
) -> Compiled {
    let mut adjacencies = Adjacencies::known(model);
    let mut rows = fib::base_rows(model, &mut adjacencies);
    let base = Base::build(&rows);
    adjacencies.resolve_tunnels(model, &base);
    let servers = forwarding::resolve_servers(model, &base, &mut adjacencies);
    let tables = lb_compiler.compile(&model.lb);
    rows.extend(adjacencies.rows(model, &base));
    fib::add_lb_rows(model, &tables, &servers, &mut rows);
    rows.sort_by_key(|row| {
        let Network { address, prefix_len } = row.network;
        (address.is_ipv6(), prefix_len, address)
    });
    let all = Base::build(&rows);
    let server_paths = forwarding::server_paths(model, &adjacencies, &servers);
    let needed = adjacencies.needed().clone();
    let (adjacencies, adjacency_index) = adjacencies.into_parts();
    let snapshot = Snapshot {
        generation,
        interfaces: interfaces(model),
        fib4: Arc::new(all.fib4),
        fib6: Arc::new(all.fib6),
        adjacencies,
        adjacency_index,
        tunnels: tunnels(model),
        server_paths,
        vip_policies: forwarding::vip_policies(&model.lb),
        no_match: forwarding::no_match(&model.lb, &tables),
        tunnel_policy: forwarding::tunnel_policy(&model.lb.settings),
        lb: tables,
        sticky_tables: sticky_tables.into(),
    };
    Compiled { snapshot: Box::new(snapshot), rows, needed }
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
fn interfaces(model: &Model) -> Box<[Interface]> {
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
        nat4_in: of.nat4_in,
        nat6_in: of.nat6_in,
        punt: matches!(of.kind, Kind::Punt(_)),
        addresses: of.own_addresses().collect(),
        sub_interfaces: parts.collect(),
    }
}
