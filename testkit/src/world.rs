//! [`World`]: interfaces, routes, neighbours and VIPs of a test, and the snapshot they amount to.
//!
//! It does for tests what control does in the daemon, in the plainest way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use balancer::StickyTable;
use dataplane::adjacency::{Adjacency, AdjacencyId, L2Header};
use dataplane::fib::{Fib4, FibDrop, FibEntry, FibRoute};
use dataplane::forwarding::TunnelPolicy;
use dataplane::interface::{Interface, InterfaceAddress, InterfaceId, MacAddress, PortId};
use dataplane::snapshot::Snapshot;
use dataplane::wire::ethernet::ether_type;

use crate::balanced::Balanced;

/// A next hop on a link.
type NextHop = (InterfaceId, Ipv4Addr);

/// A configuration, changed by plain calls.
#[derive(Debug)]
pub struct World {
    interfaces: Vec<Interface>,
    neighbors: BTreeMap<NextHop, MacAddress>,
    routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    blackholes: Vec<(Ipv4Addr, u8)>,
    /// VIPs and ASs.
    pub balanced: Balanced,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Only `local0`.
    pub fn new() -> Self {
        let local0 = Interface {
            id: InterfaceId::LOCAL0,
            name: "local0".into(),
            port: None,
            mac: MacAddress::default(),
            mtu: 9000,
            up: false,
            nat4_in: false,
            nat6_in: false,
            punt: false,
            addresses: Box::default(),
            sub_interfaces: Box::default(),
        };
        Self {
            interfaces: vec![local0],
            neighbors: BTreeMap::new(),
            routes: Vec::new(),
            blackholes: Vec::new(),
            balanced: Balanced::new(),
        }
    }

    /// The Ethernet address of the interface with this index: 02:fe:00:00:00:index.
    pub fn mac(interface: InterfaceId) -> MacAddress {
        MacAddress([0x02, 0xfe, 0, 0, 0, interface.0 as u8])
    }

    /// Adds an interface that is up, with these addresses and MTU 1500.
    pub fn add_interface(&mut self, addresses: &[(Ipv4Addr, u8)]) -> InterfaceId {
        let id = InterfaceId(self.interfaces.len() as u16);
        let address = |(address, prefix_len): &(Ipv4Addr, u8)| InterfaceAddress {
            address: (*address).into(),
            prefix_len: *prefix_len,
        };
        self.interfaces.push(Interface {
            id,
            name: format!("port{}", id.0).into(),
            port: Some(PortId(id.0 - 1)),
            mac: Self::mac(id),
            mtu: 1500,
            up: true,
            nat4_in: false,
            nat6_in: false,
            punt: false,
            addresses: addresses.iter().map(address).collect(),
            sub_interfaces: Box::default(),
        });
        id
    }

    /// All interfaces, `local0` included.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// An interface, to be changed.
    pub fn interface(&mut self, id: InterfaceId) -> &mut Interface {
        &mut self.interfaces[id.index()]
    }

    /// Makes a neighbour known.
    pub fn add_neighbor(&mut self, interface: InterfaceId, address: Ipv4Addr, mac: MacAddress) {
        self.neighbors.insert((interface, address), mac);
    }

    /// Makes a neighbour unknown.
    pub fn forget_neighbor(&mut self, interface: InterfaceId, address: Ipv4Addr) {
        self.neighbors.remove(&(interface, address));
    }

    /// Adds a route through a connected next hop.
    pub fn add_route(&mut self, network: Ipv4Addr, prefix_len: u8, via: Ipv4Addr) {
        self.routes.push((network, prefix_len, via));
    }

    /// Adds a route to nowhere.
    pub fn add_blackhole(&mut self, network: Ipv4Addr, prefix_len: u8) {
        self.blackholes.push((network, prefix_len));
    }

    /// The worker's empty sticky table.
    pub fn sticky_owner(&self) -> balancer::StickyOwner {
        self.balanced.sticky_owner()
    }

    fn connected(&self, address: Ipv4Addr) -> Option<InterfaceId> {
        let on =
            |interface: &&Interface| interface.addresses.iter().any(|a| a.contains(address.into()));
        self.interfaces.iter().find(on).map(|interface| interface.id)
    }

    /// The next hop towards an address, by connected networks and then by the longest route.
    fn next_hop(&self, address: Ipv4Addr) -> Option<NextHop> {
        if let Some(interface) = self.connected(address) {
            return Some((interface, address));
        }
        let covers = |route: &&(Ipv4Addr, u8, Ipv4Addr)| {
            InterfaceAddress { address: route.0.into(), prefix_len: route.1 }
                .contains(address.into())
        };
        let route = self.routes.iter().filter(covers).max_by_key(|route| route.1)?;
        Some((self.connected(route.2)?, route.2))
    }

    /// The snapshot of this world.
    pub fn snapshot(&self, generation: u64, sticky_tables: Vec<Arc<StickyTable>>) -> Snapshot {
        let servers = self.balanced.servers();
        let mut next_hops: Vec<NextHop> = self.neighbors.keys().copied().collect();
        next_hops.extend(self.routes.iter().filter_map(|route| self.next_hop(route.2)));
        next_hops.extend(servers.iter().filter_map(|server| self.next_hop(*server)));
        next_hops.sort_unstable();
        next_hops.dedup();
        let adjacencies = next_hops.iter().map(|(interface, next_hop)| Adjacency {
            interface: *interface,
            next_hop: (*next_hop).into(),
            mtu: self.interfaces[interface.index()].mtu,
            rewrite: self
                .neighbors
                .get(&(*interface, *next_hop))
                .map(|mac| L2Header::new(*mac, Self::mac(*interface), &[], ether_type::IPV4)),
            tunnel: None,
        });
        let id_of = |next_hop: NextHop| {
            let at = next_hops.binary_search(&next_hop).expect("collected above");
            AdjacencyId(at as u32)
        };
        let to = |address| self.next_hop(address).map(id_of);
        Snapshot {
            generation,
            interfaces: self.interfaces.clone().into(),
            fib4: Arc::new(Fib4::build(&self.fib_routes(&servers, &to))),
            fib6: Arc::default(),
            adjacencies: adjacencies.collect(),
            adjacency_index: next_hops
                .iter()
                .map(|next_hop| ((next_hop.0, next_hop.1.into()), id_of(*next_hop)))
                .collect(),
            lb: self.balanced.tables(),
            server_paths: self.balanced.paths(&to),
            vip_policies: Box::default(),
            no_match: Box::default(),
            tunnel_policy: TunnelPolicy::default(),
            sticky_tables: sticky_tables.into(),
        }
    }

    fn fib_routes(
        &self,
        servers: &[Ipv4Addr],
        to: &dyn Fn(Ipv4Addr) -> Option<AdjacencyId>,
    ) -> Vec<FibRoute> {
        let route = |network, prefix_len, entry| FibRoute { network, prefix_len, entry };
        let mut routes = Vec::new();
        for (network, prefix_len) in &self.blackholes {
            routes.push(route(*network, *prefix_len, FibEntry::Drop(FibDrop::Configured)));
        }
        for (network, prefix_len, via) in &self.routes {
            let id = to(*via).expect("the next hop of a route is connected");
            routes.push(route(*network, *prefix_len, FibEntry::Adjacency(id)));
        }
        for interface in &self.interfaces {
            for own in &interface.addresses {
                let IpAddr::V4(address) = own.address else { continue };
                let host_bits = u32::MAX.checked_shr(u32::from(own.prefix_len)).unwrap_or(0);
                let network = u32::from(address) & !host_bits;
                routes.push(route(address, own.prefix_len, FibEntry::Glean(interface.id)));
                if own.prefix_len < 31 {
                    let broadcast = FibEntry::Drop(FibDrop::Broadcast);
                    routes.push(route(network.into(), 32, broadcast));
                    routes.push(route((network | host_bits).into(), 32, broadcast));
                }
            }
        }
        for address in self.neighbors.keys().map(|(_, address)| *address) {
            if let Some(id) = to(address) {
                routes.push(route(address, 32, FibEntry::Adjacency(id)));
            }
        }
        for server in servers {
            if let Some(id) = to(*server) {
                routes.push(route(*server, 32, FibEntry::AsDirect(id)));
            }
        }
        let mut own: Vec<Ipv4Addr> = Vec::new();
        for interface in &self.interfaces {
            own.extend(interface.addresses.iter().filter_map(|own| match own.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            }));
        }
        routes.extend(own.iter().map(|address| route(*address, 32, FibEntry::Local)));
        for vip in self.balanced.vip_addresses() {
            routes.push(route(vip, 32, FibEntry::Vip { group: 0, local: own.contains(&vip) }));
        }
        routes
    }
}
