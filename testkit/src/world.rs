//! [`World`]: interfaces, routes, neighbours and VIPs of a test, and the snapshot they amount to.
//!
//! It does for tests what control does in the daemon, in the plainest way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use balancer::StickyTable;
use dataplane::adjacency::{Adjacency, AdjacencyId, L2Header, Tunnel};
use dataplane::fib::{Fib4, FibDrop, FibEntry, FibRoute};
use dataplane::fib6::{Fib6, FibRoute6};
use dataplane::forwarding::TunnelPolicy;
use dataplane::interface::{
    Interface, InterfaceAddress, InterfaceId, MacAddress, PortId, SubInterface,
};
use dataplane::snapshot::Snapshot;

use crate::balanced::Balanced;

/// A next hop on a link.
type NextHop = (InterfaceId, IpAddr);

/// A prefix and what becomes of it.
type Row = (IpAddr, u8, FibEntry);

/// A configuration, changed by plain calls.
#[derive(Debug)]
pub struct World {
    interfaces: Vec<Interface>,
    neighbors: BTreeMap<NextHop, MacAddress>,
    routes: Vec<(IpAddr, u8, IpAddr)>,
    blackholes: Vec<(IpAddr, u8)>,
    /// Interface, our end, the far end.
    tunnels: Vec<(InterfaceId, IpAddr, IpAddr)>,
    /// False when no address of ours can be the source of outer headers.
    pub has_tunnel_sources: bool,
    /// Outer headers.
    pub tunnel_policy: TunnelPolicy,
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
            parent: None,
            mac: MacAddress::default(),
            mtu: 9000,
            up: false,
            nat4_in: false,
            link_up: true,
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
            tunnels: Vec::new(),
            has_tunnel_sources: true,
            tunnel_policy: TunnelPolicy::default(),
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
            parent: None,
            mac: Self::mac(id),
            mtu: 1500,
            up: true,
            nat4_in: false,
            link_up: true,
            nat6_in: false,
            punt: false,
            addresses: addresses.iter().map(address).collect(),
            sub_interfaces: Box::default(),
        });
        id
    }

    /// Adds a sub-interface for a VLAN of `parent`, that is up: tag protocol and identifier of the
    /// outer tag, identifier of the inner one if there is one.
    pub fn add_sub_interface(
        &mut self,
        parent: InterfaceId,
        outer: (u16, u16),
        inner: Option<u16>,
        addresses: &[(IpAddr, u8)],
    ) -> InterfaceId {
        let id = self.add_interface(&[]);
        let (port, mac) = (self.interface(parent).port, self.interface(parent).mac);
        let mut vlans = self.interface(parent).sub_interfaces.to_vec();
        vlans.push(SubInterface { outer, inner, interface: id });
        self.interface(parent).sub_interfaces = vlans.into();
        self.interface(id).port = port;
        self.interface(id).parent = Some(parent);
        self.interface(id).mac = mac;
        for (address, prefix_len) in addresses {
            self.add_address(id, *address, *prefix_len);
        }
        id
    }

    /// Adds a tunnel that is up, with MTU 1480.
    pub fn add_tunnel(
        &mut self,
        source: impl Into<IpAddr>,
        destination: impl Into<IpAddr>,
        addresses: &[(IpAddr, u8)],
    ) -> InterfaceId {
        let id = self.add_interface(&[]);
        self.interface(id).port = None;
        self.interface(id).mtu = 1480;
        self.tunnels.push((id, source.into(), destination.into()));
        for (address, prefix_len) in addresses {
            self.add_address(id, *address, *prefix_len);
        }
        id
    }

    /// True for an interface that has a port to itself.
    pub fn is_port(&self, interface: &Interface) -> bool {
        interface.port == Some(PortId(interface.id.0.wrapping_sub(1)))
    }

    /// All interfaces, `local0` included.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// An interface, to be changed.
    pub fn interface(&mut self, id: InterfaceId) -> &mut Interface {
        &mut self.interfaces[id.index()]
    }

    /// Gives an interface one more address of either family.
    pub fn add_address(&mut self, id: InterfaceId, address: impl Into<IpAddr>, prefix_len: u8) {
        let interface = &mut self.interfaces[id.index()];
        let mut addresses = interface.addresses.to_vec();
        addresses.push(InterfaceAddress { address: address.into(), prefix_len });
        interface.addresses = addresses.into();
    }

    /// Makes a neighbour known.
    pub fn add_neighbor(
        &mut self,
        interface: InterfaceId,
        address: impl Into<IpAddr>,
        mac: MacAddress,
    ) {
        self.neighbors.insert((interface, address.into()), mac);
    }

    /// Makes a neighbour unknown.
    pub fn forget_neighbor(&mut self, interface: InterfaceId, address: impl Into<IpAddr>) {
        self.neighbors.remove(&(interface, address.into()));
    }

    /// Adds a route through a connected next hop.
    pub fn add_route<A: Into<IpAddr>>(&mut self, network: A, prefix_len: u8, via: A) {
        self.routes.push((network.into(), prefix_len, via.into()));
    }

    /// Adds a route to nowhere.
    pub fn add_blackhole(&mut self, network: impl Into<IpAddr>, prefix_len: u8) {
        self.blackholes.push((network.into(), prefix_len));
    }

    /// The worker's empty sticky table.
    pub fn sticky_owner(&self) -> balancer::StickyOwner {
        self.balanced.sticky_owner()
    }

    fn connected(&self, address: IpAddr) -> Option<InterfaceId> {
        let on = |interface: &&Interface| interface.addresses.iter().any(|a| a.contains(address));
        self.interfaces.iter().find(on).map(|interface| interface.id)
    }

    fn tunnel(&self, interface: InterfaceId) -> Option<&(InterfaceId, IpAddr, IpAddr)> {
        self.tunnels.iter().find(|tunnel| tunnel.0 == interface)
    }

    /// Who takes packets for `address` on a link: in a tunnel, its far end, called by our own
    /// address of the packets' family.
    fn on_link(&self, interface: InterfaceId, address: IpAddr) -> IpAddr {
        if self.tunnel(interface).is_none() {
            return address;
        }
        let own = &self.interfaces[interface.index()].addresses;
        let own = own.iter().find(|own| own.address.is_ipv4() == address.is_ipv4());
        own.map_or(address, |own| own.address)
    }

    /// The next hop towards an address, by connected networks and then by the longest route.
    fn next_hop(&self, address: IpAddr) -> Option<NextHop> {
        if let Some(interface) = self.connected(address) {
            return Some((interface, self.on_link(interface, address)));
        }
        let covers = |route: &&(IpAddr, u8, IpAddr)| {
            InterfaceAddress { address: route.0, prefix_len: route.1 }.contains(address)
        };
        let route = self.routes.iter().filter(covers).max_by_key(|route| route.1)?;
        let interface = self.connected(route.2)?;
        Some((interface, self.on_link(interface, route.2)))
    }

    /// The snapshot of this world.
    pub fn snapshot(&self, generation: u64, sticky_tables: Vec<Arc<StickyTable>>) -> Snapshot {
        let servers = self.balanced.servers();
        let mut next_hops: Vec<NextHop> = self.neighbors.keys().copied().collect();
        next_hops.extend(self.routes.iter().filter_map(|route| self.next_hop(route.2)));
        for (tunnel, _, destination) in &self.tunnels {
            next_hops.extend(self.next_hop(*destination));
            let own = self.interfaces[tunnel.index()].addresses.iter();
            next_hops.extend(own.map(|own| (*tunnel, own.address)));
        }
        next_hops.extend(servers.iter().filter_map(|server| self.next_hop(server.0)));
        next_hops.sort_unstable();
        next_hops.dedup();
        let id_of = |next_hop: NextHop| {
            let at = next_hops.binary_search(&next_hop).expect("collected above");
            AdjacencyId(at as u32)
        };
        let to = |address| self.next_hop(address).map(id_of);
        let rows = self.fib_rows(&servers, &to);
        Snapshot {
            generation,
            interfaces: self.interfaces.clone().into(),
            fib4: Arc::new(fib4(&rows).caring_for(self.tunnel_policy.sources4())),
            fib6: Arc::new(fib6(&rows).caring_for(self.tunnel_policy.sources6())),
            adjacencies: next_hops.iter().map(|next_hop| self.adjacency(*next_hop, &to)).collect(),
            adjacency_index: Arc::new(
                next_hops.iter().map(|next_hop| (*next_hop, id_of(*next_hop))).collect(),
            ),
            tunnels: Arc::new(
                self.tunnels
                    .iter()
                    .map(|(id, source, destination)| ((*source, *destination), *id))
                    .collect(),
            ),
            lb: self.balanced.tables(),
            server_paths: self.balanced.paths(&to, &|address| self.tunnel_source(address)),
            vip_policies: self.balanced.policies(),
            no_match: self.balanced.no_match(),
            tunnel_policy: self.tunnel_policy,
            sticky_tables: sticky_tables.into(),
        }
    }

    /// The source of outer headers to an AS.
    fn tunnel_source(&self, server: IpAddr) -> Option<IpAddr> {
        let link = self.next_hop(server).map(|(interface, _)| &self.interfaces[interface.index()]);
        let policy = &self.tunnel_policy;
        if !self.has_tunnel_sources {
            return None;
        }
        match server {
            IpAddr::V4(server) => policy.source4.or_else(|| link?.source4(server)).map(IpAddr::V4),
            IpAddr::V6(server) => policy.source6.or_else(|| link?.source6(server)).map(IpAddr::V6),
        }
    }

    fn adjacency(
        &self,
        (interface, next_hop): NextHop,
        to: &dyn Fn(IpAddr) -> Option<AdjacencyId>,
    ) -> Adjacency {
        let ether_type = Adjacency::ether_type(next_hop);
        let mac = self.neighbors.get(&(interface, next_hop));
        Adjacency {
            interface,
            next_hop,
            mtu: self.interfaces[interface.index()].mtu,
            rewrite: mac.map(|mac| {
                let source = self.interfaces[interface.index()].mac;
                L2Header::new(*mac, source, &self.tags(interface), ether_type)
            }),
            tunnel: self.tunnel(interface).map(|(_, source, destination)| Tunnel {
                source: *source,
                destination: *destination,
                underlay: to(*destination),
            }),
        }
    }

    /// The tags of a sub-interface's VLAN.
    fn tags(&self, interface: InterfaceId) -> Vec<(u16, u16)> {
        let mut vlans = self.interfaces.iter().flat_map(|parent| &parent.sub_interfaces);
        let vlan = vlans.find(|vlan| vlan.interface == interface);
        vlan.map_or(Vec::new(), |vlan| {
            [vlan.outer].into_iter().chain(vlan.inner.map(|id| (0x8100, id))).collect()
        })
    }

    /// All prefixes; of equal ones, the last counts.
    fn fib_rows(
        &self,
        servers: &[(IpAddr, bool)],
        to: &dyn Fn(IpAddr) -> Option<AdjacencyId>,
    ) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for (network, prefix_len) in &self.blackholes {
            rows.push((*network, *prefix_len, FibEntry::Drop(FibDrop::Configured)));
        }
        for (network, prefix_len, via) in &self.routes {
            let id = to(*via).expect("the next hop of a route is connected");
            rows.push((*network, *prefix_len, FibEntry::Adjacency(id)));
        }
        let mut own = Vec::new();
        for interface in &self.interfaces {
            for InterfaceAddress { address, prefix_len } in &interface.addresses {
                let entry = match self.tunnel(interface.id) {
                    Some(_) => to(*address).map(FibEntry::Adjacency),
                    None => Some(FibEntry::Glean(interface.id)),
                };
                rows.extend(entry.map(|entry| (*address, *prefix_len, entry)));
                rows.extend(broadcasts(*address, *prefix_len));
                own.push(*address);
            }
        }
        let host = |address: IpAddr, entry| (address, host_len(address), entry);
        for (_, address) in self.neighbors.keys() {
            rows.extend(to(*address).map(|id| host(*address, FibEntry::Adjacency(id))));
        }
        for (server, nat) in servers {
            let entry = if *nat { FibEntry::AsDirect } else { FibEntry::Adjacency };
            rows.extend(to(*server).map(|id| host(*server, entry(id))));
        }
        rows.extend(own.iter().map(|address| host(*address, FibEntry::Local)));
        for (prefix, group) in self.balanced.groups() {
            let local = prefix.is_host() && own.contains(&prefix.network);
            rows.push((prefix.network, prefix.len, FibEntry::Vip { group, local }));
        }
        rows
    }
}

/// The length of a prefix of one address.
fn host_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Network and broadcast address of a connected IPv4 network.
fn broadcasts(address: IpAddr, prefix_len: u8) -> Vec<Row> {
    let IpAddr::V4(address) = address else { return Vec::new() };
    if prefix_len >= 31 {
        return Vec::new();
    }
    let host_bits = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
    [u32::from(address) & !host_bits, u32::from(address) | host_bits]
        .map(|bits| (Ipv4Addr::from(bits).into(), 32, FibEntry::Drop(FibDrop::Broadcast)))
        .into()
}

fn fib4(rows: &[Row]) -> Fib4 {
    let row = |row: &Row| match row.0 {
        IpAddr::V4(network) => Some(FibRoute { network, prefix_len: row.1, entry: row.2 }),
        IpAddr::V6(_) => None,
    };
    Fib4::build(&rows.iter().filter_map(row).collect::<Vec<_>>())
}

fn fib6(rows: &[Row]) -> Fib6 {
    let row = |row: &Row| match row.0 {
        IpAddr::V6(network) => Some(FibRoute6 { network, prefix_len: row.1, entry: row.2 }),
        IpAddr::V4(_) => None,
    };
    Fib6::build(&rows.iter().filter_map(row).collect::<Vec<_>>())
}
