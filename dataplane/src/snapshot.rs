//! [`Snapshot`]: everything workers read and never write, built by control.

use std::net::IpAddr;
use std::sync::Arc;

use balancer::{AsId, LbTables, StickyTable};

use crate::adjacency::{Adjacency, AdjacencyId, L2Header};
use crate::fib::Fib4;
use crate::fib6::Fib6;
use crate::forwarding::{NoMatch, ServerPath, TunnelPolicy, VipPolicy};
use crate::interface::{Interface, InterfaceId, MacAddress};
use crate::wire::ethernet::ether_type;

/// One immutable state of the box. Parts that did not change are shared with its predecessor.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with each publication; a worker notices news by it.
    pub generation: u64,
    /// By [`InterfaceId`]; 0 is `local0`.
    pub interfaces: Arc<[Interface]>,
    /// IPv4 destinations.
    pub fib4: Arc<Fib4>,
    /// IPv6 destinations.
    pub fib6: Arc<Fib6>,
    /// By [`AdjacencyId`].
    pub adjacencies: Arc<[Adjacency]>,
    /// Finds the adjacency of a next hop, for packets that waited for it.
    pub adjacency_index: Arc<hashbrown::HashMap<(InterfaceId, IpAddr), AdjacencyId>>,
    /// By our end and the far end: the interface of the tunnel between them.
    pub tunnels: Arc<hashbrown::HashMap<(IpAddr, IpAddr), InterfaceId>>,
    /// VIPs, ASs, new-flow tables, reverse map.
    pub lb: Arc<LbTables>,
    /// By AS index: the way to each AS; `None` when there is no such AS.
    pub server_paths: Box<[Option<ServerPath>]>,
    /// By VIP index; what is not there is the default.
    pub vip_policies: Box<[VipPolicy]>,
    /// By number of the prefix with VIPs ([`FibEntry::Vip`](crate::fib::FibEntry::Vip)); what is
    /// not there is the default.
    pub no_match: Box<[NoMatch]>,
    /// Outer headers.
    pub tunnel_policy: TunnelPolicy,
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

    /// The way to an AS, if there is such an AS.
    #[inline]
    pub fn server_path(&self, id: AsId) -> Option<&ServerPath> {
        self.server_paths.get(id.index())?.as_ref()
    }

    /// The Ethernet header of a frame that leaves by `interface`, with the tags of its VLAN. Not
    /// for the many: it looks for the VLAN among all.
    pub fn l2_header(
        &self,
        interface: &Interface,
        destination: MacAddress,
        ether_type: u16,
    ) -> L2Header {
        let mut vlans = self.interfaces.iter().flat_map(|parent| &parent.sub_interfaces);
        let vlan = vlans.find(|vlan| vlan.interface == interface.id);
        let tags = vlan.map(|vlan| (vlan.outer, vlan.inner.map(|id| (ether_type::VLAN, id))));
        let source = interface.mac;
        match tags {
            None => L2Header::new(destination, source, &[], ether_type),
            Some((outer, None)) => L2Header::new(destination, source, &[outer], ether_type),
            Some((outer, Some(inner))) => {
                L2Header::new(destination, source, &[outer, inner], ether_type)
            }
        }
    }

    /// The adjacency towards a next hop, if the snapshot has one.
    pub fn adjacency_of(&self, interface: InterfaceId, next_hop: IpAddr) -> Option<AdjacencyId> {
        self.adjacency_index.get(&(interface, next_hop)).copied()
    }
}
