//! [`PlainCompiler`]: turns a configuration into a snapshot without control, by listing prefixes
//! and numbering things in order. For testing the graph alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use balancer::{
    ApplicationServer, AsId, FlowHasher, HashKey, LbConfig, LbTables, NewFlowCache, Ports, Prefix,
    Protocol, Scheduler, ServerState, StickyTable, TableLength, TargetPort, Timeouts, VipId,
    VipKey, VipSpec,
};
use dataplane::adjacency::{Adjacency, AdjacencyId, L2Header};
use dataplane::fib::{Fib4, FibDrop, FibEntry, FibRoute};
use dataplane::forwarding::{Method, ServerPath, TunnelPolicy};
use dataplane::interface::{Interface, InterfaceAddress, InterfaceId, MacAddress, PortId};
use dataplane::snapshot::Snapshot;
use dataplane::wire::ethernet::ether_type;

use testkit::reference::config::{Config, Service};
use testkit::reference::differential::Compiler;
use testkit::reference::scenario::Change;

/// Slots of the new-flow tables: a prime, and few enough that a search for another AS sees all.
const SLOTS: u32 = 1009;

/// An AS with what outlives its configuration.
#[derive(Clone, Debug)]
struct Server {
    id: AsId,
    epoch: u8,
    weight: u8,
    removed: bool,
}

/// A configuration on its way to snapshots.
pub(crate) struct PlainCompiler {
    config: Config,
    servers: BTreeMap<(usize, Ipv4Addr), Server>,
    next_server: u32,
    lb: LbTables,
    cache: NewFlowCache,
}

/// Adjacencies in the making.
#[derive(Default)]
struct Adjacencies {
    list: Vec<Adjacency>,
    index: hashbrown::HashMap<(InterfaceId, IpAddr), AdjacencyId>,
}

impl Adjacencies {
    fn get(&mut self, config: &Config, interface: u16, next_hop: Ipv4Addr) -> AdjacencyId {
        let list = &mut self.list;
        *self.index.entry((InterfaceId(interface), next_hop.into())).or_insert_with(|| {
            let link = config.interface(interface);
            let mac = config.neighbors.get(&(interface, next_hop)).copied();
            list.push(Adjacency {
                interface: InterfaceId(interface),
                next_hop: next_hop.into(),
                mtu: link.mtu as u16,
                rewrite: mac.map(|mac| {
                    L2Header::new(MacAddress(mac), MacAddress(link.mac), &[], ether_type::IPV4)
                }),
                tunnel: None,
            });
            AdjacencyId(list.len() as u32 - 1)
        })
    }
}

fn mask(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn protocol(number: u8) -> Protocol {
    if number == 6 { Protocol::Tcp } else { Protocol::Udp }
}

impl PlainCompiler {
    fn add(&mut self, vip: usize, address: Ipv4Addr, weight: u8) {
        let next = &mut self.next_server;
        let server = self.servers.entry((vip, address)).or_insert_with(|| {
            *next += 1;
            let id = AsId::new(*next).expect("few ASs");
            Server { id, epoch: 0, weight, removed: false }
        });
        (server.weight, server.removed) = (weight, false);
    }

    /// Prefixes without the load balancer's, neighbours first known by `adjacencies`.
    fn routes(&self, adjacencies: &mut Adjacencies) -> Vec<FibRoute> {
        let config = &self.config;
        let route = |network: u32, prefix_len, entry| FibRoute {
            network: Ipv4Addr::from(network),
            prefix_len,
            entry,
        };
        let mut routes = Vec::new();
        for given in &config.routes {
            let link = config.indices().find(|index| {
                let mut own = config.interface(*index).addresses.iter();
                own.any(|(own, len)| {
                    (u32::from(*own) ^ u32::from(given.next_hop)) & mask(*len) == 0
                })
            });
            let link = link.expect("next hops are connected");
            let entry = match config.interface(link).up {
                true => FibEntry::Adjacency(adjacencies.get(config, link, given.next_hop)),
                false => FibEntry::Drop(FibDrop::Configured),
            };
            routes.push(route(u32::from(given.network), given.prefix_len, entry));
        }
        for index in config.indices() {
            let link = config.interface(index);
            for (own, len) in &link.addresses {
                let network = u32::from(*own) & mask(*len);
                let entry = match link.up {
                    true => FibEntry::Glean(InterfaceId(index)),
                    false => FibEntry::Drop(FibDrop::Configured),
                };
                routes.push(route(network, *len, entry));
                if *len < 31 {
                    let broadcast = FibEntry::Drop(FibDrop::Broadcast);
                    routes.push(route(network, 32, broadcast));
                    routes.push(route(network | !mask(*len), 32, broadcast));
                }
                routes.push(route(u32::from(*own), 32, FibEntry::Local));
            }
        }
        routes
    }

    fn balance(&mut self) -> Arc<LbTables> {
        let config = &self.config;
        let vips: Vec<VipSpec> = config
            .vips
            .iter()
            .enumerate()
            .map(|(at, vip)| VipSpec {
                id: VipId::new(at as u32 + 1).expect("few VIPs"),
                key: VipKey {
                    prefix: Prefix::host(vip.service.address.into()),
                    ports: Ports::one(protocol(vip.service.protocol), vip.service.port),
                },
                target: TargetPort::One(vip.target_port),
                node_port: None,
                src_ip_sticky: false,
                scheduler: Scheduler::Maglev,
                nat: true,
                length: TableLength::new(u64::from(SLOTS)).expect("a prime"),
            })
            .collect();
        let servers: Vec<ApplicationServer> = self
            .servers
            .iter()
            .map(|((vip, address), server)| ApplicationServer {
                id: server.id,
                vip: vips[*vip].id,
                address: (*address).into(),
                weight: server.weight,
                state: if server.removed { ServerState::Removed } else { ServerState::Active },
                epoch: server.epoch,
            })
            .collect();
        let described = LbConfig {
            vips: &vips,
            servers: &servers,
            hasher: self.lb.hasher.clone(),
            timeouts: self.lb.timeouts,
        };
        self.lb = LbTables::build(&described, &self.lb, &mut self.cache).expect("it makes sense");
        Arc::new(self.lb.clone())
    }
}

impl Compiler for PlainCompiler {
    fn start(config: &Config) -> Self {
        let hasher = FlowHasher::new(&HashKey::default());
        let timeouts = Timeouts {
            udp_or_half_open_s: config.timeouts.timeout_s as u16,
            established_s: config.timeouts.established_s as u16,
            closing_s: config.timeouts.closing_s as u16,
        };
        let mut compiler = Self {
            config: config.clone(),
            servers: BTreeMap::new(),
            next_server: 0,
            lb: LbTables::empty(hasher, timeouts),
            cache: NewFlowCache::new(),
        };
        for (at, vip) in config.vips.iter().enumerate() {
            vip.servers.iter().for_each(|(address, weight)| compiler.add(at, *address, *weight));
        }
        compiler
    }

    fn change(&mut self, change: &Change) -> bool {
        let config = &mut self.config;
        match *change {
            Change::AddServer { vip, server, weight } => self.add(vip, server, weight),
            Change::RemoveServer { vip, server, flush } => {
                let Some(server) = self.servers.get_mut(&(vip, server)) else { return false };
                server.removed = true;
                server.epoch = server.epoch.wrapping_add(u8::from(flush));
            }
            Change::Learn { interface, address, mac } => {
                config.neighbors.insert((interface, address), mac);
            }
            Change::Forget { interface, address } => {
                config.neighbors.remove(&(interface, address));
            }
            Change::SetUp { interface, up } => {
                config.interfaces[usize::from(interface) - 1].up = up;
            }
            Change::SetNat4In { interface, on } => {
                config.interfaces[usize::from(interface) - 1].nat4_in = on;
            }
        }
        true
    }

    fn collect(&mut self, live_flows: &dyn Fn(AsId) -> u32) -> bool {
        let before = self.servers.len();
        self.servers.retain(|_, server| !server.removed || live_flows(server.id) > 0);
        self.servers.len() < before
    }

    fn snapshot(&mut self, generation: u64, tables: Vec<Arc<StickyTable>>) -> Snapshot {
        let mut adjacencies = Adjacencies::default();
        let mut routes = self.routes(&mut adjacencies);
        let base = Fib4::build(&routes);
        let lb = self.balance();
        let config = &self.config;
        // Neighbours are there for packets on hold, and for hosts that no longer route covers.
        for (interface, address) in config.neighbors.keys() {
            if config.interface(*interface).up {
                let id = adjacencies.get(config, *interface, *address);
                if base.lookup(*address) == FibEntry::Glean(InterfaceId(*interface)) {
                    let (network, entry) = (*address, FibEntry::Adjacency(id));
                    routes.push(FibRoute { network, prefix_len: 32, entry });
                }
            }
        }
        let mut server_paths = vec![None; self.next_server as usize + 1];
        for ((_, address), server) in &self.servers {
            let id = match base.lookup(*address) {
                FibEntry::Adjacency(id) => id,
                FibEntry::Glean(interface) => adjacencies.get(config, interface.0, *address),
                _ => continue,
            };
            server_paths[server.id.index()] = Some(ServerPath {
                adjacency: id,
                method: Method::Nat,
                address: (*address).into(),
                tunnel_source: None,
            });
            let (network, entry) = (*address, FibEntry::AsDirect(id));
            routes.push(FibRoute { network, prefix_len: 32, entry });
        }
        for vip in &config.vips {
            let (network, local) = (vip.service.address, config.is_own(vip.service.address));
            routes.push(FibRoute {
                network,
                prefix_len: 32,
                entry: FibEntry::Vip { group: 0, local },
            });
        }
        let mut interfaces = vec![Interface {
            id: InterfaceId::LOCAL0,
            name: "local0".into(),
            port: None,
            mac: MacAddress::default(),
            mtu: 0,
            up: false,
            nat4_in: false,
            nat6_in: false,
            punt: false,
            addresses: Box::default(),
            sub_interfaces: Box::default(),
        }];
        for index in config.indices() {
            let link = config.interface(index);
            let own = |(address, prefix_len): &(Ipv4Addr, u8)| InterfaceAddress {
                address: (*address).into(),
                prefix_len: *prefix_len,
            };
            interfaces.push(Interface {
                id: InterfaceId(index),
                name: format!("link{index}").into(),
                port: Some(PortId(index - 1)),
                mac: MacAddress(link.mac),
                mtu: link.mtu as u16,
                up: link.up,
                nat4_in: link.nat4_in,
                nat6_in: false,
                punt: false,
                addresses: link.addresses.iter().map(own).collect(),
                sub_interfaces: Box::default(),
            });
        }
        Snapshot {
            generation,
            interfaces: interfaces.into(),
            fib4: Arc::new(Fib4::build(&routes)),
            fib6: Arc::default(),
            adjacencies: adjacencies.list.into(),
            adjacency_index: adjacencies.index,
            lb,
            server_paths: server_paths.into(),
            vip_policies: Box::default(),
            no_match: Box::default(),
            tunnel_policy: TunnelPolicy::default(),
            sticky_tables: tables.into(),
        }
    }

    fn vip(&self, service: Service) -> VipId {
        let at = self.config.vips.iter().position(|vip| vip.service == service);
        VipId::new(at.expect("a configured VIP") as u32 + 1).expect("few VIPs")
    }
}
