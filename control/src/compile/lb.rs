//! The load balancer's tables.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use balancer::{
    ApplicationServer, AsId, FlowHasher, HashKey, InstanceKey, LbConfig, LbTables, MAX_SERVERS,
    NewFlowCache, NewFlowTable, Scheduler, ServerState, StickyOwner, TableLength, TargetPort,
    Timeouts, VipId, VipSpec,
};

use crate::model::{LbModel, Vip};

/// Builds the tables of one model after another, sharing what did not change.
pub struct LbCompiler {
    hasher: FlowHasher,
    fingerprint: String,
    cache: NewFlowCache,
    present: Arc<LbTables>,
}

impl std::fmt::Debug for LbCompiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LbCompiler(key {}, {} tables built)", self.fingerprint, self.cache.built())
    }
}

impl Default for LbCompiler {
    fn default() -> Self {
        let key = HashKey::default();
        let hasher = FlowHasher::new(&key);
        Self {
            present: Arc::new(LbTables::empty(hasher.clone(), Timeouts::default())),
            hasher,
            fingerprint: key.fingerprint(),
            cache: NewFlowCache::new(),
        }
    }
}

impl LbCompiler {
    /// The key in a file.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn read_key(path: &Path) -> Result<HashKey, String> {
        let bytes = std::fs::read(path)
            .map_err(|error| format!("cannot read the hash key {}: {error}", path.display()))?;
        HashKey::from_bytes(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Uses another key from now on. Flows that have an entry keep their AS.
    pub fn set_key(&mut self, key: &HashKey) {
        self.hasher = FlowHasher::new(key);
        self.fingerprint = key.fingerprint();
    }

    /// Tells keys apart without telling the key.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The new-flow table of a VIP, as compiled last.
    pub fn table(&self, vip: u32) -> Option<&NewFlowTable> {
        self.present.vip(VipId::new(vip)?).map(|vip| &*vip.table)
    }

    /// How many new-flow tables were built so far.
    pub fn tables_built(&self) -> u64 {
        self.cache.built()
    }

    /// The tables of `model`.
    pub fn compile(&mut self, model: &LbModel) -> Arc<LbTables> {
        let mut vips = Vec::with_capacity(model.vips.len());
        let mut servers = Vec::new();
        // A removed VIP has no live flows: they went with it.
        for vip in model.active() {
            let Some(id) = VipId::new(vip.index) else { continue };
            vips.push(vip_spec(id, vip));
            servers.extend(vip.servers.iter().filter_map(|server| {
                Some(ApplicationServer {
                    id: AsId::new(server.index)?,
                    vip: id,
                    address: server.address,
                    weight: server.weight,
                    state: match server.removed {
                        true => ServerState::Removed,
                        false => ServerState::Active,
                    },
                    epoch: server.epoch,
                })
            }));
        }
        let seconds = |s: u32| s.min(u32::from(u16::MAX)) as u16;
        let timeouts = Timeouts {
            udp_or_half_open_s: seconds(model.settings.timeout_s),
            established_s: seconds(model.settings.tcp_established_timeout_s),
            closing_s: seconds(model.settings.tcp_closing_timeout_s),
        };
        let config =
            LbConfig { vips: &vips, servers: &servers, hasher: self.hasher.clone(), timeouts };
        match LbTables::build(&config, &self.present, &mut self.cache) {
            Ok(tables) => self.present = Arc::new(tables),
            // The model admits nothing of the kind; the tables in use stay.
            Err(error) => tracing::error!("the load balancer's tables were not rebuilt: {error}"),
        }
        Arc::clone(&self.present)
    }

    /// The tables as compiled last.
    pub fn tables(&self) -> &LbTables {
        &self.present
    }
}

fn vip_spec(id: VipId, vip: &Vip) -> VipSpec {
    let spec = &vip.spec;
    let slots = spec.new_len.map_or(config::defaults::NEW_LEN, |len| len.value);
    let nat = spec.encap().is_nat();
    VipSpec {
        id,
        key: vip.key,
        target: match spec.target() {
            config::TargetPort::One(port) if nat => TargetPort::One(port),
            config::TargetPort::From(port) if nat => TargetPort::From(port),
            _ => TargetPort::Keep,
        },
        node_port: spec.node_port(),
        src_ip_sticky: spec.src_ip_sticky,
        scheduler: match spec.scheduler() {
            config::Scheduler::Maglev => Scheduler::Maglev,
            config::Scheduler::RoundRobin => Scheduler::RoundRobin,
        },
        length: TableLength::new(u64::from(slots)).unwrap_or(TableLength::DEFAULT),
        nat,
    }
}

/// The key of this daemon's sticky tables, from the kernel's randomness. All tables have the same,
/// as workers look for flows in each other's.
///
/// # Errors
///
/// When there is no randomness.
pub fn new_instance_key() -> std::io::Result<InstanceKey> {
    let mut key = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(InstanceKey::from_bytes(key))
}

/// An empty sticky table.
///
/// # Errors
///
/// When `buckets` is not a number of buckets.
pub fn new_sticky_owner(buckets: u32, key: InstanceKey) -> std::io::Result<StickyOwner> {
    StickyOwner::new(u64::from(buckets), key, MAX_SERVERS).map_err(std::io::Error::other)
}
