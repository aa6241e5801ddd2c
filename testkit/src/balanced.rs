//! [`Balanced`]: the VIPs and ASs of a test, and the balancer's tables for them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use balancer::{
    ApplicationServer, AsId, FlowHasher, HashKey, InstanceKey, LbConfig, LbTables, MAX_SERVERS,
    NewFlowCache, Ports, Prefix, Protocol, Scheduler, ServerState, StickyOwner, TableLength,
    TargetPort, Timeouts, VipId, VipKey, VipSpec,
};
use dataplane::adjacency::AdjacencyId;
use dataplane::forwarding::{Method, ServerPath};

/// What is balanced to where; changed by plain calls.
#[derive(Debug)]
pub struct Balanced {
    /// How long flows live.
    pub timeouts: Timeouts,
    /// Buckets of the sticky table made by [`Self::sticky_owner`]; a power of two.
    pub buckets: u64,
    vips: Vec<VipSpec>,
    servers: Vec<ApplicationServer>,
    /// The tables built last, from which the next ones take over what must not change.
    built: Mutex<(Arc<LbTables>, NewFlowCache)>,
}

impl Default for Balanced {
    fn default() -> Self {
        Self::new()
    }
}

impl Balanced {
    /// Nothing.
    pub fn new() -> Self {
        let hasher = FlowHasher::new(&HashKey::default());
        let empty = Arc::new(LbTables::empty(hasher, Timeouts::default()));
        Self {
            timeouts: Timeouts::default(),
            buckets: 1024,
            vips: Vec::new(),
            servers: Vec::new(),
            built: Mutex::new((empty, NewFlowCache::new())),
        }
    }

    /// Adds a VIP whose ASs listen on `target_port`.
    ///
    /// # Panics
    /// When there are too many.
    pub fn add_vip(
        &mut self,
        address: Ipv4Addr,
        protocol: Protocol,
        port: u16,
        target_port: u16,
    ) -> VipId {
        let id = VipId::new(self.vips.len() as u32).expect("few VIPs");
        let prefix = Prefix::host(address.into());
        let key = VipKey { prefix, ports: Ports::one(protocol, port) };
        let length = TableLength::new(257).expect("a prime");
        self.vips.push(VipSpec {
            id,
            key,
            target: TargetPort::One(target_port),
            node_port: None,
            src_ip_sticky: false,
            scheduler: Scheduler::Maglev,
            length,
            nat: true,
        });
        id
    }

    /// Adds an AS of weight 100.
    ///
    /// # Panics
    /// When there are too many.
    pub fn add_server(&mut self, vip: VipId, address: Ipv4Addr) -> AsId {
        let id = AsId::new(self.servers.len() as u32).expect("few ASs");
        let (address, state) = (address.into(), ServerState::Active);
        self.servers.push(ApplicationServer { id, vip, address, weight: 100, state, epoch: 0 });
        id
    }

    /// An AS, to be changed.
    pub fn server(&mut self, id: AsId) -> &mut ApplicationServer {
        &mut self.servers[id.index()]
    }

    /// An empty sticky table of the configured size.
    ///
    /// # Panics
    /// When [`Self::buckets`] is no power of two.
    pub fn sticky_owner(&self) -> StickyOwner {
        let key = InstanceKey::from_bytes([7; 32]);
        StickyOwner::new(self.buckets, key, MAX_SERVERS.min(1024)).expect("a power of two")
    }

    /// Addresses of all ASs.
    pub fn servers(&self) -> Vec<Ipv4Addr> {
        self.servers.iter().filter_map(|server| v4(server.address)).collect()
    }

    /// Addresses of all VIPs.
    pub fn vip_addresses(&self) -> Vec<Ipv4Addr> {
        self.vips.iter().filter_map(|vip| v4(vip.key.prefix.network)).collect()
    }

    /// By AS index: the way over the adjacency that `to` gives for its address.
    pub fn paths(&self, to: &dyn Fn(Ipv4Addr) -> Option<AdjacencyId>) -> Box<[Option<ServerPath>]> {
        let path = |server: &ApplicationServer| {
            Some(ServerPath {
                adjacency: to(v4(server.address)?)?,
                method: Method::Nat,
                address: server.address,
                tunnel_source: None,
            })
        };
        self.servers.iter().map(path).collect()
    }

    /// The balancer's tables.
    ///
    /// # Panics
    /// When the configuration makes no sense.
    pub fn tables(&self) -> Arc<LbTables> {
        let mut built = self.built.lock().expect("no test panics while it builds");
        let (previous, cache) = &mut *built;
        let config = LbConfig {
            vips: &self.vips,
            servers: &self.servers,
            hasher: previous.hasher.clone(),
            timeouts: self.timeouts,
        };
        let tables = LbTables::build(&config, previous, cache).expect("a sensible configuration");
        *previous = Arc::new(tables);
        Arc::clone(previous)
    }
}

/// The address, if it is IPv4.
fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
