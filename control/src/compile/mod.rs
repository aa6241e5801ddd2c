//! Turns the model into what workers read.

mod adjacency;
mod fib;
mod lb;

use std::collections::BTreeSet;
use std::sync::Arc;

use balancer::StickyTable;
use dataplane::fib::Fib4;
use dataplane::forwarding::TunnelPolicy;
use dataplane::interface::Interface;
use dataplane::snapshot::Snapshot;

pub use adjacency::Adjacencies;
pub use fib::{FibRow, Source};
pub use lb::{LbCompiler, new_instance_key, new_sticky_owner};

use crate::model::{Model, NeighborKey};

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
    let base = Fib4::build(&fib::routes(&rows));
    let servers = lb::resolve_servers(model, &base, &mut adjacencies);
    rows.extend(adjacencies.rows(&base));
    fib::add_lb_rows(model, &servers, &mut rows);
    rows.sort_by_key(|row| (row.network.prefix_len, row.network.address));
    let needed = adjacencies.needed().clone();
    let (adjacencies, adjacency_index) = adjacencies.into_parts();
    let snapshot = Snapshot {
        generation,
        interfaces: model.interfaces.iter().map(interface).collect(),
        fib4: Arc::new(Fib4::build(&fib::routes(&rows))),
        adjacencies,
        adjacency_index,
        lb: lb_compiler.compile(&model.lb),
        server_paths: lb::server_paths(model, &servers),
        vip_policies: Box::default(),
        no_match: Box::default(),
        tunnel_policy: TunnelPolicy::default(),
        sticky_tables: sticky_tables.into(),
    };
    Compiled { snapshot: Box::new(snapshot), rows, needed }
}

fn interface(model: &crate::model::InterfaceModel) -> Interface {
    Interface {
        id: model.id,
        name: (*model.name).into(),
        port: model.port,
        mac: model.mac,
        mtu: model.mtu,
        up: model.up,
        nat4_in: model.nat4_in,
        nat6_in: false,
        punt: false,
        addresses: model.addresses.iter().map(|own| own.on_wire()).collect(),
        sub_interfaces: Box::default(),
    }
}
