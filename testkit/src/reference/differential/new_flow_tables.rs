//! [`NewFlowTables`]: what the reference asks of the tables of the graph.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use balancer::FlowTuple;
use dataplane::snapshot::Snapshot;

use super::compiler::product_key;
use crate::reference::NewFlowOrder;
use crate::reference::service::VipKey;
use crate::reference::upper::Tuple;

/// The new-flow tables of a snapshot.
pub(super) struct NewFlowTables<'a>(pub(super) &'a Snapshot);

impl NewFlowTables<'_> {
    fn hash(&self, tuple: &Tuple, src_ip_sticky: bool) -> u64 {
        let hasher = &self.0.lb.hasher;
        match product_tuple(tuple) {
            ProductTuple::V4(tuple) => hasher.hash(&tuple, src_ip_sticky),
            ProductTuple::V6(tuple) => hasher.hash(&tuple, src_ip_sticky),
        }
    }
}

impl NewFlowOrder for NewFlowTables<'_> {
    fn order(&self, key: &VipKey, tuple: &Tuple) -> Vec<IpAddr> {
        let (lb, key) = (&self.0.lb, product_key(key));
        let Some(vip) = lb.vips.iter().flatten().find(|vip| vip.key == key) else {
            return Vec::new();
        };
        let first = vip.table.slot_of(self.hash(tuple, vip.src_ip_sticky));
        let length = vip.table.length().get() as usize;
        let mut order = Vec::new();
        for step in 0..length.min(balancer::CLASH_SLOTS_MAX) {
            let server = vip.server_in_slot((first + step) % length).and_then(|id| lb.server(id));
            if let Some(server) = server
                && !order.contains(&server.address)
            {
                order.push(server.address);
            }
        }
        order
    }

    fn entropy(&self, tuple: &Tuple) -> u64 {
        self.hash(tuple, false)
    }
}

/// A tuple as the product has it.
enum ProductTuple {
    V4(FlowTuple<Ipv4Addr>),
    V6(FlowTuple<Ipv6Addr>),
}

fn product_tuple(tuple: &Tuple) -> ProductTuple {
    let (src_port, dst_port) = (tuple.source_port, tuple.destination_port);
    let protocol = tuple.protocol;
    match (tuple.source, tuple.destination) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            ProductTuple::V4(FlowTuple { src, dst, src_port, dst_port, protocol })
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            ProductTuple::V6(FlowTuple { src, dst, src_port, dst_port, protocol })
        }
        _ => panic!("both families in {tuple:?}"),
    }
}
