//! [`PlainCompiler`]: turns a configuration into a snapshot without control, by listing prefixes
//! and numbering things in order. For testing the graph alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use balancer::{
    ApplicationServer, AsId, FlowHasher, HashKey, LbConfig, LbTables, NewFlowCache, ServerState,
    StickyTable, TableLength, TargetPort, Timeouts, VipId, VipSpec,
};
use dataplane::adjacency::AdjacencyId;
use dataplane::fib::FibEntry;
use dataplane::forwarding::{
    Method, MssClamp, NoMatch, ServerPath, TooBig, TunnelDf, TunnelDscp, TunnelEcn, TunnelPolicy,
    VipPolicy,
};
use dataplane::interface::InterfaceId;
use dataplane::snapshot::Snapshot;

use testkit::reference::config::{self, Config};
use testkit::reference::differential::{Compiler, product_key};
use testkit::reference::route::{connected, is_up};
use testkit::reference::scenario::Change;
use testkit::reference::service::{self, Mss, Target, Vip, VipKey};
use testkit::reference::tunnel_settings;

use super::plain_links::{Adjacencies, Fibs, Prefixes, interfaces, network, shared, tunnels};

/// Slots of the new-flow tables: a prime, and few enough that a search for another AS sees all.
const SLOTS: u64 = 1009;

/// An AS with what outlives its configuration.
#[derive(Clone, Debug)]
struct Server {
    id: AsId,
    epoch: u8,
    weight: u8,
    admin: service::Admin,
    method: service::Method,
    removed: bool,
}

/// A configuration on its way to snapshots.
pub(crate) struct PlainCompiler {
    config: Config,
    ids: BTreeMap<VipKey, VipId>,
    next_vip: u32,
    servers: BTreeMap<(VipKey, IpAddr), Server>,
    next_server: u32,
    lb: LbTables,
    cache: NewFlowCache,
}

fn method(method: service::Method) -> Method {
    match method {
        service::Method::Gre4 | service::Method::Gre6 => Method::Gre,
        service::Method::Ipip => Method::Ipip,
        service::Method::Gue => Method::Gue,
        service::Method::L3dsr { dscp } => Method::L3dsr { dscp },
        service::Method::Dr => Method::DirectRouting,
        service::Method::Nat => Method::Nat,
    }
}

impl PlainCompiler {
    fn add_vip(&mut self, vip: &Vip) {
        self.next_vip += 1;
        self.ids.insert(vip.key, VipId::new(self.next_vip).expect("few VIPs"));
        for (address, server) in &vip.servers {
            self.add(vip.key, *address, *server);
        }
    }

    fn add(&mut self, vip: VipKey, address: IpAddr, with: service::Server) {
        let next = &mut self.next_server;
        let server = self.servers.entry((vip, address)).or_insert_with(|| {
            *next += 1;
            let id = AsId::new(*next).expect("few ASs");
            let (method, admin) = (with.method, with.admin);
            Server { id, epoch: 0, weight: 0, admin, method, removed: false }
        });
        (server.weight, server.admin) = (with.weight, with.admin);
        (server.method, server.removed) = (with.method, false);
    }

    fn balance(&mut self) -> Arc<LbTables> {
        let spec = |vip: &Vip| VipSpec {
            id: self.ids[&vip.key],
            key: product_key(&vip.key),
            target: match vip.target {
                Target::Keep => TargetPort::Keep,
                Target::One(port) => TargetPort::One(port),
                Target::From(port) => TargetPort::From(port),
            },
            node_port: vip.node_port,
            src_ip_sticky: vip.src_ip_sticky,
            scheduler: match vip.scheduler {
                service::Scheduler::Maglev => balancer::Scheduler::Maglev,
                service::Scheduler::RoundRobin => balancer::Scheduler::RoundRobin,
            },
            nat: vip.is_nat(),
            timeouts: vip.timeouts.map(product_timeouts),
            length: TableLength::new(SLOTS).expect("a prime"),
        };
        let vips: Vec<VipSpec> = self.config.vips.iter().map(spec).collect();
        let server = |((vip, address), server): (&(VipKey, IpAddr), &Server)| ApplicationServer {
            id: server.id,
            vip: self.ids[vip],
            address: *address,
            weight: if server.admin == service::Admin::Up { server.weight } else { 0 },
            state: if server.removed { ServerState::Removed } else { ServerState::Active },
            epoch: server.epoch,
        };
        let servers: Vec<ApplicationServer> = self.servers.iter().map(server).collect();
        let described = LbConfig {
            vips: &vips,
            servers: &servers,
            hasher: self.lb.hasher.clone(),
            timeouts: *self.lb.timeouts.global(),
        };
        self.lb = LbTables::build(&described, &self.lb, &mut self.cache).expect("it makes sense");
        Arc::new(self.lb.clone())
    }

    /// The ways to all ASs, by index; and the ASs' own addresses among the prefixes.
    fn server_paths(
        &self,
        base: &Fibs,
        adjacencies: &mut Adjacencies,
        prefixes: &mut Prefixes,
    ) -> Box<[Option<ServerPath>]> {
        let config = &self.config;
        let mut paths = vec![None; self.next_server as usize + 1];
        let mut direct = Vec::new();
        for ((vip, address), server) in &self.servers {
            let way = self.way(*address, base, adjacencies);
            let interface = way.map(|id| adjacencies.list[id.index()].interface.0);
            paths[server.id.index()] = Some(ServerPath {
                adjacency: way,
                method: method(server.method),
                address: *address,
                tunnel_source: interface.and_then(|link| tunnel_source(config, link, *address)),
            });
            let Some(id) = way else { continue };
            if config.vip(vip).is_some_and(Vip::is_nat) {
                direct.push((*address, id));
            } else if config.vips.iter().any(|vip| vip.key.has(*address)) {
                // It is none of the VIP's addresses itself.
                prefixes.push_host(*address, FibEntry::Adjacency(id));
            }
        }
        for (address, id) in direct {
            prefixes.push_host(address, FibEntry::AsDirect(id));
        }
        paths.into()
    }

    fn way(
        &self,
        address: IpAddr,
        base: &Fibs,
        adjacencies: &mut Adjacencies,
    ) -> Option<AdjacencyId> {
        match base.lookup(address) {
            FibEntry::Adjacency(id) => Some(id),
            FibEntry::Glean(interface) => Some(adjacencies.get(&self.config, interface.0, address)),
            _ => None,
        }
    }

    fn vip_policies(&self) -> Box<[VipPolicy]> {
        let mut policies = vec![VipPolicy::default(); self.next_vip as usize + 1];
        for vip in &self.config.vips {
            policies[self.ids[&vip.key].index()].mss = match vip.mss {
                Mss::Keep => MssClamp::Keep,
                Mss::At(limit) => MssClamp::At(limit),
                Mss::Auto => MssClamp::Auto,
            };
        }
        policies.into()
    }
}

/// The source of outer headers to an AS behind an interface.
fn tunnel_source(config: &Config, interface: u16, server: IpAddr) -> Option<IpAddr> {
    let own = || {
        let own = config.interface(interface).addresses.iter();
        own.filter(|(own, _)| own.is_ipv6() == server.is_ipv6())
    };
    let near = own().find(|(own, len)| network(*own, *len).contains(server));
    let nearest = near.or(own().next()).map(|(own, _)| *own);
    config.tunnels.source(server.is_ipv6()).or(nearest)
}

fn tunnel_policy(settings: &tunnel_settings::TunnelSettings) -> TunnelPolicy {
    TunnelPolicy {
        ttl: settings.ttl,
        dscp: settings.dscp.map_or(TunnelDscp::Copy, TunnelDscp::Fixed),
        ecn: if settings.ecn { TunnelEcn::Rfc6040 } else { TunnelEcn::Zero },
        df: match settings.df {
            tunnel_settings::OuterDf::Copy => TunnelDf::Copy,
            tunnel_settings::OuterDf::Set => TunnelDf::Set,
            tunnel_settings::OuterDf::Clear => TunnelDf::Clear,
        },
        too_big: match settings.too_big {
            tunnel_settings::TooBig::Drop => TooBig::Drop,
            tunnel_settings::TooBig::Fragment => TooBig::Fragment,
        },
        gue_port: settings.gue_port,
        source4: settings.source4,
        source6: settings.source6,
        entropy4: None,
        entropy6: None,
    }
}

fn product_timeouts(timeouts: config::Timeouts) -> Timeouts {
    Timeouts {
        udp_s: timeouts.udp_s as u16,
        other_s: timeouts.other_s as u16,
        syn_s: timeouts.syn_s as u16,
        established_s: timeouts.established_s as u16,
        fin_wait_s: timeouts.fin_wait_s as u16,
        close_wait_s: timeouts.close_wait_s as u16,
        time_wait_s: timeouts.time_wait_s as u16,
        close_s: timeouts.close_s as u16,
    }
}

/// By number of the prefix with VIPs.
fn no_match(config: &Config, lb: &LbTables) -> Box<[NoMatch]> {
    let policy = |prefix: balancer::Prefix| match config.no_match_of(prefix.network, prefix.len) {
        config::NoMatch::Drop => NoMatch::Drop,
        config::NoMatch::Reset => NoMatch::Reset,
        config::NoMatch::Icmp => NoMatch::Icmp,
        config::NoMatch::Punt => NoMatch::Punt,
    };
    lb.groups.prefixes().map(policy).collect()
}

impl Compiler for PlainCompiler {
    fn start(config: &Config) -> Self {
        let hasher = FlowHasher::new(&HashKey::default());
        let mut compiler = Self {
            config: config.clone(),
            ids: BTreeMap::new(),
            next_vip: 0,
            servers: BTreeMap::new(),
            next_server: 0,
            lb: LbTables::empty(hasher, product_timeouts(config.timeouts)),
            cache: NewFlowCache::new(),
        };
        config.vips.iter().for_each(|vip| compiler.add_vip(vip));
        compiler
    }

    fn change(&mut self, change: &Change) -> bool {
        let config = &mut self.config;
        match change.clone() {
            Change::AddServer { vip, server, with } => {
                let key = config.vips[vip].key;
                config.vips[vip].servers.insert(server, with);
                self.add(key, server, with);
            }
            Change::RemoveServer { vip, server, flush } => {
                let key = config.vips[vip].key;
                let Some(kept) = self.servers.get_mut(&(key, server)) else { return false };
                config.vips[vip].servers.remove(&server);
                kept.removed = true;
                kept.epoch = kept.epoch.wrapping_add(u8::from(flush));
            }
            Change::SetAdmin { vip, server, admin } => {
                let key = config.vips[vip].key;
                let configured = config.vips[vip].servers.get_mut(&server);
                let kept = self.servers.get_mut(&(key, server));
                let (Some(configured), Some(kept)) = (configured, kept) else { return false };
                (configured.admin, kept.admin) = (admin, admin);
            }
            Change::AddVip(vip) => {
                self.add_vip(&vip);
                self.config.vips.push(vip);
            }
            Change::RemoveVip(key) => {
                config.vips.retain(|vip| vip.key != key);
                self.ids.remove(&key);
                self.servers.retain(|(vip, _), _| *vip != key);
            }
            Change::SetTimeouts { vip, timeouts } => config.vips[vip].timeouts = timeouts,
            Change::AddRoute(route) => config.routes.push(route),
            Change::RemoveRoute(route) => config.routes.retain(|other| *other != route),
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
            Change::SetNat6In { interface, on } => {
                config.interfaces[usize::from(interface) - 1].nat6_in = on;
            }
        }
        true
    }

    fn collect(&mut self, live_flows: &dyn Fn(AsId) -> u32) -> bool {
        for ((key, address), server) in &mut self.servers {
            if server.admin == service::Admin::DrainThenDel && live_flows(server.id) == 0 {
                server.removed = true;
                let mut vips = self.config.vips.iter_mut();
                if let Some(vip) = vips.find(|vip| vip.key == *key) {
                    vip.servers.remove(address);
                }
            }
        }
        let before = self.servers.len();
        self.servers.retain(|_, server| !server.removed || live_flows(server.id) > 0);
        self.servers.len() < before
    }

    fn snapshot(&mut self, generation: u64, tables: Vec<Arc<StickyTable>>) -> Snapshot {
        let lb = self.balance();
        let config = &self.config;
        let (mut prefixes, mut adjacencies) = (Prefixes::default(), Adjacencies::default());
        prefixes.list_all(config, &mut adjacencies, &|_| true);
        let base = prefixes.fibs();
        // Neighbours are there for packets on hold, and for hosts that no longer route covers.
        for (interface, address) in config.neighbors.keys() {
            if is_up(config, *interface) {
                let id = adjacencies.get(config, *interface, *address);
                let len = connected(config, *address).map_or(0, |(_, len)| len);
                let mut vips = config.vips.iter();
                let inside = vips.any(|vip| vip.key.has(*address) && vip.key.prefix_len >= len);
                if base.lookup(*address) == FibEntry::Glean(InterfaceId(*interface)) && !inside {
                    prefixes.push_host(*address, FibEntry::Adjacency(id));
                }
            }
        }
        let server_paths = self.server_paths(&base, &mut adjacencies, &mut prefixes);
        for vip in &config.vips {
            let prefix = product_key(&vip.key).prefix;
            let group = lb.group_of(prefix).expect("a VIP has it").get();
            let local = vip.key.is_host() && config.is_own(vip.key.network);
            prefixes.push(prefix.network, prefix.len, FibEntry::Vip { group, local });
        }
        let policy = tunnel_policy(&config.tunnels);
        let (fib4, fib6) = shared(prefixes.fibs().caring_for(&policy));
        Snapshot {
            generation,
            interfaces: interfaces(config).into(),
            fib4,
            fib6,
            vip_policies: self.vip_policies(),
            no_match: no_match(config, &lb),
            tunnel_policy: policy,
            adjacencies: adjacencies.list.into(),
            adjacency_index: Arc::new(adjacencies.index),
            tunnels: Arc::new(tunnels(config)),
            lb,
            server_paths,
            sticky_tables: tables.into(),
        }
    }

    fn vip(&self, key: &VipKey) -> VipId {
        self.ids[key]
    }
}
