//! Interfaces, adjacencies and prefixes of a configuration, listed one after the other.

use std::net::IpAddr;
use std::sync::Arc;

use balancer::Prefix;
use dataplane::adjacency::{Adjacency, AdjacencyId, L2Header, Tunnel};
use dataplane::fib::{Fib4, FibDrop, FibEntry, FibRoute};
use dataplane::fib6::{Fib6, FibRoute6};
use dataplane::forwarding::TunnelPolicy;
use dataplane::interface::{
    Interface, InterfaceAddress, InterfaceId, MacAddress, PortId, SubInterface,
};

use testkit::reference::config::{Config, Kind};
use testkit::reference::route::is_up;

/// Adjacencies in the making.
#[derive(Default)]
pub(crate) struct Adjacencies {
    pub(crate) list: Vec<Adjacency>,
    pub(crate) index: hashbrown::HashMap<(InterfaceId, IpAddr), AdjacencyId>,
}

impl Adjacencies {
    pub(crate) fn get(&mut self, config: &Config, interface: u16, next_hop: IpAddr) -> AdjacencyId {
        let key = (InterfaceId(interface), next_hop);
        if let Some(id) = self.index.get(&key) {
            return *id;
        }
        let link = config.interface(interface);
        let tunnel = match link.kind {
            Kind::Tunnel { source, destination } => {
                let underlay = self.underlay(config, destination);
                Some(Tunnel { source, destination, underlay })
            }
            Kind::Port | Kind::Vlan { .. } => None,
        };
        let mac = config.neighbors.get(&(interface, next_hop)).filter(|_| tunnel.is_none());
        self.list.push(Adjacency {
            interface: InterfaceId(interface),
            next_hop,
            mtu: link.mtu as u16,
            rewrite: mac.map(|mac| {
                let ether_type = Adjacency::ether_type(next_hop);
                L2Header::new(MacAddress(*mac), MacAddress(link.mac), &tags(&link.kind), ether_type)
            }),
            tunnel,
        });
        let id = AdjacencyId(self.list.len() as u32 - 1);
        self.index.insert(key, id);
        id
    }

    /// The way to the far end of a tunnel, which is no tunnel itself.
    fn underlay(&mut self, config: &Config, destination: IpAddr) -> Option<AdjacencyId> {
        let (mut prefixes, mut unused) = (Prefixes::default(), Self::default());
        let plain = |index: u16| !matches!(config.interface(index).kind, Kind::Tunnel { .. });
        prefixes.list_all(config, &mut unused, &plain);
        let (interface, next_hop) = match prefixes.fibs().lookup(destination) {
            FibEntry::Adjacency(id) => {
                let adjacency = &unused.list[id.index()];
                (adjacency.interface.0, adjacency.next_hop)
            }
            FibEntry::Glean(interface) => (interface.0, destination),
            _ => return None,
        };
        plain(interface).then(|| self.get(config, interface, next_hop))
    }
}

/// Tag protocols and identifiers, outer first.
fn tags(kind: &Kind) -> Vec<(u16, u16)> {
    let Kind::Vlan { outer, inner, service_tag, .. } = *kind else { return Vec::new() };
    let first = (if service_tag { 0x88a8 } else { 0x8100 }, outer);
    [first].into_iter().chain(inner.map(|inner| (0x8100, inner))).collect()
}

/// The FIBs of both families.
pub(crate) struct Fibs {
    pub(crate) fib4: Fib4,
    pub(crate) fib6: Fib6,
}

impl Fibs {
    pub(crate) fn caring_for(self, policy: &TunnelPolicy) -> Self {
        Self {
            fib4: self.fib4.caring_for(policy.sources4()),
            fib6: self.fib6.caring_for(policy.sources6()),
        }
    }

    pub(crate) fn lookup(&self, address: IpAddr) -> FibEntry {
        match address {
            IpAddr::V4(address) => self.fib4.lookup(address),
            IpAddr::V6(address) => self.fib6.lookup(address),
        }
    }
}

/// Prefixes and what becomes of them; of equal ones the last counts.
#[derive(Clone, Default)]
pub(crate) struct Prefixes(Vec<(Prefix, FibEntry)>);

impl Prefixes {
    pub(crate) fn push(&mut self, address: IpAddr, len: u8, entry: FibEntry) {
        self.0.push((Prefix::new(address, len).expect("a length"), entry));
    }

    pub(crate) fn push_host(&mut self, address: IpAddr, entry: FibEntry) {
        self.0.push((Prefix::host(address), entry));
    }

    pub(crate) fn fibs(&self) -> Fibs {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, entry) in &self.0 {
            let (prefix_len, entry) = (prefix.len, *entry);
            match prefix.network {
                IpAddr::V4(network) => v4.push(FibRoute { network, prefix_len, entry }),
                IpAddr::V6(network) => v6.push(FibRoute6 { network, prefix_len, entry }),
            }
        }
        Fibs { fib4: Fib4::build(&v4), fib6: Fib6::build(&v6) }
    }

    /// Prefixes without the load balancer's, and without what leads over other links than `wanted`.
    pub(crate) fn list_all(
        &mut self,
        config: &Config,
        adjacencies: &mut Adjacencies,
        wanted: &dyn Fn(u16) -> bool,
    ) {
        for route in &config.routes {
            let on = |index: &u16| {
                let mut own = config.interface(*index).addresses.iter();
                own.any(|(own, len)| network(*own, *len).contains(route.next_hop))
            };
            let link = config.indices().find(on).expect("next hops are connected");
            let entry = match is_up(config, link) {
                _ if !wanted(link) => FibEntry::Drop(FibDrop::NoRoute),
                true => FibEntry::Adjacency(adjacencies.get(config, link, route.next_hop)),
                false => FibEntry::Drop(FibDrop::Configured),
            };
            self.push(route.network, route.prefix_len, entry);
        }
        for index in config.indices() {
            self.list_link(config, index, adjacencies, wanted(index));
        }
    }

    fn list_link(
        &mut self,
        config: &Config,
        index: u16,
        adjacencies: &mut Adjacencies,
        wanted: bool,
    ) {
        let link = config.interface(index);
        for (own, len) in &link.addresses {
            let entry = match (is_up(config, index), &link.kind) {
                _ if !wanted => FibEntry::Drop(FibDrop::NoRoute),
                (false, _) => FibEntry::Drop(FibDrop::Configured),
                // Whoever it is for, it goes to the far end.
                (true, Kind::Tunnel { .. }) => {
                    FibEntry::Adjacency(adjacencies.get(config, index, *own))
                }
                (true, _) => FibEntry::Glean(InterfaceId(index)),
            };
            self.push(*own, *len, entry);
            if let IpAddr::V4(own) = own
                && *len < 31
            {
                let host_bits = u32::MAX >> *len;
                let broadcast = FibEntry::Drop(FibDrop::Broadcast);
                let first = u32::from(*own) & !host_bits;
                self.push_host(std::net::Ipv4Addr::from(first).into(), broadcast);
                self.push_host(std::net::Ipv4Addr::from(first | host_bits).into(), broadcast);
            }
            self.push_host(*own, FibEntry::Local);
        }
    }
}

pub(crate) fn network(address: IpAddr, len: u8) -> Prefix {
    Prefix::new(address, len).expect("a length")
}

/// The interfaces, `local0` first.
pub(crate) fn interfaces(config: &Config) -> Box<[Interface]> {
    let local0 = Interface {
        id: InterfaceId::LOCAL0,
        name: "local0".into(),
        port: None,
        parent: None,
        mac: MacAddress::default(),
        mtu: 0,
        up: false,
        link_up: true,
        nat4_in: false,
        nat6_in: false,
        punt: false,
        addresses: Box::default(),
        sub_interfaces: Box::default(),
    };
    [local0].into_iter().chain(config.indices().map(|index| interface(config, index))).collect()
}

fn interface(config: &Config, index: u16) -> Interface {
    let link = config.interface(index);
    let own = |(address, prefix_len): &(IpAddr, u8)| InterfaceAddress {
        address: *address,
        prefix_len: *prefix_len,
    };
    let vlan = |at: u16| match config.interface(at).kind {
        Kind::Vlan { parent, outer, inner, service_tag } if parent == index => {
            let outer = (if service_tag { 0x88a8 } else { 0x8100 }, outer);
            Some(SubInterface { outer, inner, interface: InterfaceId(at) })
        }
        _ => None,
    };
    Interface {
        id: InterfaceId(index),
        name: format!("link{index}").into(),
        port: match link.kind {
            Kind::Port => Some(PortId(index - 1)),
            Kind::Vlan { parent, .. } => Some(PortId(parent - 1)),
            Kind::Tunnel { .. } => None,
        },
        parent: match link.kind {
            Kind::Vlan { parent, .. } => Some(InterfaceId(parent)),
            Kind::Port | Kind::Tunnel { .. } => None,
        },
        mac: MacAddress(link.mac),
        mtu: link.mtu as u16,
        up: link.up,
        link_up: true,
        nat4_in: link.nat4_in,
        nat6_in: link.nat6_in,
        punt: false,
        addresses: link.addresses.iter().map(own).collect(),
        sub_interfaces: config.indices().filter_map(vlan).collect(),
    }
}

/// By our end and the far end.
pub(crate) fn tunnels(config: &Config) -> hashbrown::HashMap<(IpAddr, IpAddr), InterfaceId> {
    let tunnel = |index: u16| match config.interface(index).kind {
        Kind::Tunnel { source, destination } => Some(((source, destination), InterfaceId(index))),
        Kind::Port | Kind::Vlan { .. } => None,
    };
    config.indices().filter_map(tunnel).collect()
}

/// Shared, as snapshots have them.
pub(crate) fn shared(fibs: Fibs) -> (Arc<Fib4>, Arc<Fib6>) {
    (Arc::new(fibs.fib4), Arc::new(fibs.fib6))
}
