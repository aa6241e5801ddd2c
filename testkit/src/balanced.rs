//! [`Balanced`]: the VIPs and ASs of a test, and the balancer's tables for them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use balancer::{
    ApplicationServer, AsId, FlowHasher, HashKey, InstanceKey, LbConfig, LbTables, MAX_SERVERS,
    NewFlowCache, Ports, Prefix, Protocol, Scheduler, ServerState, StickyOwner, TableLength,
    TargetPort, Timeouts, VipId, VipKey, VipSpec,
};
use dataplane::adjacency::AdjacencyId;
use dataplane::forwarding::{Method, NoMatch, ServerPath, VipPolicy};

/// What is balanced to where; changed by plain calls.
#[derive(Debug)]
pub struct Balanced {
    /// How long flows live.
    pub timeouts: Timeouts,
    /// Buckets of the sticky table made by [`Self::sticky_owner`]; a power of two.
    pub buckets: u64,
    /// What becomes of packets to VIPs' addresses that no VIP takes.
    pub no_match: NoMatch,
    vips: Vec<VipSpec>,
    policies: Vec<VipPolicy>,
    servers: Vec<ApplicationServer>,
    /// By AS.
    methods: Vec<Method>,
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
            no_match: NoMatch::Drop,
            vips: Vec::new(),
            policies: Vec::new(),
            servers: Vec::new(),
            methods: Vec::new(),
            built: Mutex::new((empty, NewFlowCache::new())),
        }
    }

    /// Adds a NAT VIP of one address and port whose ASs listen on `target_port`.
    ///
    /// # Panics
    /// When there are too many.
    pub fn add_vip(
        &mut self,
        address: impl Into<IpAddr>,
        protocol: Protocol,
        port: u16,
        target_port: u16,
    ) -> VipId {
        let id = self.add_vip_without_nat(Prefix::host(address.into()), Ports::one(protocol, port));
        let vip = self.vip(id);
        (vip.target, vip.nat) = (TargetPort::One(target_port), true);
        id
    }

    /// Adds a VIP whose ASs answer clients themselves.
    ///
    /// # Panics
    /// When there are too many.
    pub fn add_vip_without_nat(&mut self, prefix: Prefix, ports: Ports) -> VipId {
        let id = VipId::new(self.vips.len() as u32).expect("few VIPs");
        self.vips.push(VipSpec {
            id,
            key: VipKey { prefix, ports },
            target: TargetPort::Keep,
            node_port: None,
            src_ip_sticky: false,
            scheduler: Scheduler::Maglev,
            length: TableLength::new(257).expect("a prime"),
            nat: false,
            timeouts: None,
        });
        self.policies.push(VipPolicy::default());
        id
    }

    /// A VIP, to be changed.
    pub fn vip(&mut self, id: VipId) -> &mut VipSpec {
        &mut self.vips[id.index()]
    }

    /// What workers know of a VIP beyond the balancer's part, to be changed.
    pub fn policy(&mut self, id: VipId) -> &mut VipPolicy {
        &mut self.policies[id.index()]
    }

    /// Adds an AS of weight 100 to a NAT VIP.
    ///
    /// # Panics
    /// When there are too many.
    pub fn add_server(&mut self, vip: VipId, address: impl Into<IpAddr>) -> AsId {
        self.add_server_by(vip, address, Method::Nat)
    }

    /// Adds an AS of weight 100 to which packets travel by this method.
    ///
    /// # Panics
    /// When there are too many.
    pub fn add_server_by(
        &mut self,
        vip: VipId,
        address: impl Into<IpAddr>,
        method: Method,
    ) -> AsId {
        let id = AsId::new(self.servers.len() as u32).expect("few ASs");
        let (address, state) = (address.into(), ServerState::Active);
        self.servers.push(ApplicationServer { id, vip, address, weight: 100, state, epoch: 0 });
        self.methods.push(method);
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

    /// Addresses of all ASs, and whether their replies are translated; those last, as the FIB prefers
    /// them.
    pub fn servers(&self) -> Vec<(IpAddr, bool)> {
        let methods = self.methods.iter().map(|method| *method == Method::Nat);
        let servers = self.servers.iter().map(|server| server.address);
        let mut servers: Vec<_> = servers.zip(methods).collect();
        servers.sort_by_key(|(_, nat)| *nat);
        servers
    }

    /// Prefixes with VIPs, and their numbers.
    pub fn groups(&self) -> Vec<(Prefix, u32)> {
        self.tables().groups.prefixes().zip(0..).collect()
    }

    /// By number of the prefix with VIPs: the policy for what no VIP takes.
    pub fn no_match(&self) -> Box<[NoMatch]> {
        self.groups().iter().map(|_| self.no_match).collect()
    }

    /// By VIP index.
    pub fn policies(&self) -> Box<[VipPolicy]> {
        self.policies.clone().into()
    }

    /// By AS index: the way over the adjacency that `to` gives for its address, with the source of
    /// outer headers that `source` gives.
    pub fn paths(
        &self,
        to: &dyn Fn(IpAddr) -> Option<AdjacencyId>,
        source: &dyn Fn(IpAddr) -> Option<IpAddr>,
    ) -> Box<[Option<ServerPath>]> {
        let path = |(server, method): (&ApplicationServer, &Method)| {
            let (address, method) = (server.address, *method);
            let (adjacency, tunnel_source) = (to(address), source(address));
            Some(ServerPath { adjacency, method, address, tunnel_source })
        };
        self.servers.iter().zip(&self.methods).map(path).collect()
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
