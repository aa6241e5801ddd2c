//! The load balancer's tables.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use balancer::{
    ApplicationServer, AsId, FlowHasher, HashKey, InstanceKey, LbConfig, LbTables, MAX_SERVERS,
    MAX_TIMEOUT_S, Member, NewFlowCache, NewFlowTable, Scheduler, ServerState, StickyOwner,
    TableLength, TargetPort, Timeouts, VipChange, VipId, VipSpec,
};
use config::{FlowTimeout, FlowTimeouts};

use super::table_queue::{Finished, TableExecutor, TableQueue};
use crate::model::{LbModel, LbSettings, Shelf, Vip};

/// Slots of a new-flow table that is built at once rather than on another thread.
const SMALL: u32 = 1024;

/// Builds the tables of one model after another, sharing what did not change.
pub struct LbCompiler {
    hasher: FlowHasher,
    fingerprint: String,
    cache: NewFlowCache,
    present: Arc<LbTables>,
    /// The states of VIPs whose tables are there: those that `present` has, and what is to follow.
    ripe: Shelf<Vip>,
    /// The states that `present` has.
    compiled: Shelf<Vip>,
    /// The hash key has changed since `present` was made.
    rehash: bool,
    /// New-flow tables that nothing but this holds yet.
    fresh: Vec<Arc<NewFlowTable>>,
    /// Where tables are built; without it they are built on the spot.
    queue: Option<TableQueue>,
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
            ripe: Shelf::default(),
            compiled: Shelf::default(),
            rehash: false,
            fresh: Vec::new(),
            queue: None,
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
        self.rehash = true;
    }

    /// Has large tables built elsewhere from now on, while their VIPs stay as they are.
    pub fn build_with(&mut self, executor: Box<dyn TableExecutor>) {
        self.queue = Some(TableQueue::new(executor));
    }

    /// One that goes on from `present`, which has the states `compiled` of VIPs, after a panic. Of
    /// the one before it takes the cache, whose tables never change, and the builder, which starts
    /// anew.
    pub(crate) fn resumed(
        before: Self,
        present: Arc<LbTables>,
        compiled: Shelf<Vip>,
        fingerprint: String,
    ) -> Self {
        let mut queue = before.queue;
        if let Some(Err(error)) = queue.as_mut().map(TableQueue::renew) {
            tracing::error!("new-flow tables are built by control itself from now on: {error}");
            queue = None;
        }
        Self {
            hasher: present.hasher.clone(),
            fingerprint,
            cache: before.cache,
            present,
            ripe: compiled.clone(),
            compiled,
            rehash: false,
            fresh: Vec::new(),
            queue,
        }
    }

    /// Has the next build of a large table panic.
    pub(crate) fn panic_in_next_build(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.panic_in_next_build();
        }
    }

    /// The number of the next wish for a table; see [`Self::is_settled`].
    pub fn next_wish(&self) -> u64 {
        self.queue.as_ref().map_or(0, TableQueue::next_wish)
    }

    /// Whether all wishes for tables from `first` on and before `end` have been fulfilled.
    pub fn is_settled(&self, first: u64, end: u64) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.is_settled(first, end))
    }

    /// How many VIPs wait for their tables.
    pub fn tables_waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, TableQueue::len)
    }

    /// Forgets tables that nothing uses any more.
    pub fn forget_unused(&mut self) {
        self.cache.forget_unused();
    }

    /// The VIPs as compiled last: those whose tables are being built are as they were.
    pub(crate) fn compiled(&self) -> &Shelf<Vip> {
        &self.compiled
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

    /// The tables of `model`, but for VIPs whose new-flow tables are being built.
    pub fn compile(&mut self, model: &LbModel) -> Arc<LbTables> {
        let timeouts = timeouts(&FlowTimeouts::default(), &model.settings);
        if std::mem::take(&mut self.rehash) {
            if !self.compiled.is_empty() {
                self.rebuild(model);
                return Arc::clone(&self.present);
            }
            self.present = Arc::new(LbTables::empty(self.hasher.clone(), timeouts));
        }
        self.ripen(&model.vips);
        let concerned: Vec<u32> = if *self.present.timeouts.global() == timeouts {
            self.ripe.since(&self.compiled).map(|(index, ..)| index).collect()
        } else {
            self.present = Arc::new(self.present.with_timeouts(timeouts));
            let changed = self.ripe.since(&self.compiled).map(|(index, ..)| index);
            // What these do not say themselves has changed as well.
            let timed = self.ripe.iter().filter(|(_, vip)| has_timeouts(vip));
            let all: BTreeSet<u32> = changed.chain(timed.map(|(index, _)| index)).collect();
            all.into_iter().collect()
        };
        let described: Vec<_> = concerned
            .into_iter()
            .filter_map(|index| {
                let id = VipId::new(index)?;
                // A removed VIP has no live flows: they went with it.
                let vip = self.ripe.get(index).filter(|vip| !vip.removed);
                let settings = &model.settings;
                Some((id, vip.map(|vip| (vip_spec(id, vip, settings), servers(id, vip)))))
            })
            .collect();
        let changes: Vec<_> = described
            .iter()
            .map(|(id, vip)| VipChange {
                id: *id,
                now: vip.as_ref().map(|(spec, servers)| (*spec, &servers[..])),
            })
            .collect();
        if !changes.is_empty() {
            match self.present.changed(&changes, &mut self.cache) {
                Ok(tables) => self.present = Arc::new(tables),
                // The model admits nothing of the kind; the tables in use stay.
                Err(error) => {
                    tracing::error!("the load balancer's tables were not changed: {error}");
                }
            }
        }
        self.compiled = self.ripe.clone();
        self.fresh.clear();
        Arc::clone(&self.present)
    }

    /// Builds everything anew, on the spot.
    fn rebuild(&mut self, model: &LbModel) {
        let (mut specs, mut all) = (Vec::new(), Vec::new());
        for vip in model.active() {
            let Some(id) = VipId::new(vip.index) else { continue };
            specs.push(vip_spec(id, vip, &model.settings));
            all.extend(servers(id, vip));
        }
        let hasher = self.hasher.clone();
        let timeouts = timeouts(&FlowTimeouts::default(), &model.settings);
        let config = LbConfig { vips: &specs, servers: &all, hasher, timeouts };
        match LbTables::build(&config, &self.present, &mut self.cache) {
            Ok(tables) => self.present = Arc::new(tables),
            Err(error) => tracing::error!("the load balancer's tables were not rebuilt: {error}"),
        }
        self.ripe = model.vips.clone();
        self.compiled = self.ripe.clone();
    }

    /// Takes up the states of VIPs whose tables are there, and orders the tables of the others.
    fn ripen(&mut self, wanted: &Shelf<Vip>) {
        self.take_up();
        let Some(queue) = &mut self.queue else {
            self.ripe = wanted.clone();
            return;
        };
        let seed = self.hasher.table_seed();
        let mut ripened = Vec::new();
        for (index, _, new) in wanted.since(&self.ripe) {
            let Some(vip) = new.filter(|vip| !vip.removed) else {
                queue.forget(index);
                ripened.push((index, new.cloned()));
                continue;
            };
            if queue.has(vip) {
                continue;
            }
            let (members, length) = (members(vip), length(vip));
            let small = members.is_empty() || length.get() <= SMALL;
            let cached = self.cache.get(&members, length, seed);
            if small || cached.is_some() {
                self.fresh.extend(cached);
                queue.forget(index);
                ripened.push((index, Some(Arc::clone(vip))));
            } else {
                queue.wish(Arc::clone(vip), members, length);
            }
        }
        for (index, vip) in ripened {
            self.ripe.set(index, vip);
        }
        self.take_up();
    }

    /// Takes up tables that are done, and orders the next ones. Returns whether there is something
    /// new to be compiled.
    pub fn take_up(&mut self) -> bool {
        let Some(queue) = &mut self.queue else { return false };
        let mut ripened = Vec::new();
        while let Some(Finished { vip, table }) = queue.finished() {
            self.cache.keep(&table);
            self.fresh.push(table);
            ripened.extend(vip);
        }
        let (cache, fresh, seed) = (&self.cache, &mut self.fresh, self.hasher.table_seed());
        ripened.extend(queue.hand_out(seed, |members, length| {
            let cached = cache.get(members, length, seed);
            let found = cached.is_some();
            fresh.extend(cached);
            found
        }));
        let any = !ripened.is_empty();
        for vip in ripened {
            self.ripe.set(vip.index, Some(vip));
        }
        any
    }

    /// The tables as compiled last.
    pub(crate) fn shared_tables(&self) -> Arc<LbTables> {
        Arc::clone(&self.present)
    }

    /// The tables as compiled last.
    pub fn tables(&self) -> &LbTables {
        &self.present
    }
}

/// Whether a VIP says itself how long flows live.
fn has_timeouts(vip: &Vip) -> bool {
    vip.spec.timeouts != FlowTimeouts::default()
}

/// How long the flows live of a VIP that says this of them.
fn timeouts(vip: &FlowTimeouts, settings: &LbSettings) -> Timeouts {
    let seconds =
        |of: FlowTimeout| of.in_force(vip, &settings.timeouts).min(u32::from(MAX_TIMEOUT_S)) as u16;
    Timeouts {
        udp_s: seconds(FlowTimeout::Udp),
        other_s: seconds(FlowTimeout::Other),
        syn_s: seconds(FlowTimeout::TcpSyn),
        established_s: seconds(FlowTimeout::TcpEstablished),
        fin_wait_s: seconds(FlowTimeout::TcpFinWait),
        close_wait_s: seconds(FlowTimeout::TcpCloseWait),
        time_wait_s: seconds(FlowTimeout::TcpTimeWait),
        close_s: seconds(FlowTimeout::TcpClose),
    }
}

/// The ASs of a VIP as the balancer has them, tombstones included.
fn servers(id: VipId, vip: &Vip) -> Vec<ApplicationServer> {
    let server = |server: &crate::model::Server| {
        Some(ApplicationServer {
            id: AsId::new(server.index)?,
            vip: id,
            address: server.address,
            weight: server.table_weight(),
            state: match server.removed {
                true => ServerState::Removed,
                false => ServerState::Active,
            },
            epoch: server.epoch,
        })
    };
    vip.servers.iter().filter_map(server).collect()
}

/// The members of a VIP's new-flow table.
pub(crate) fn members(vip: &Vip) -> Vec<Member> {
    let takes_flows = vip.servers.iter().filter(|server| server.takes_flows());
    takes_flows.map(|server| Member { address: server.address, weight: server.weight }).collect()
}

/// The length of a VIP's new-flow table.
pub(crate) fn length(vip: &Vip) -> TableLength {
    let slots = vip.spec.new_len.as_ref().map_or(config::defaults::NEW_LEN, |len| len.value);
    TableLength::new(u64::from(slots)).unwrap_or(TableLength::DEFAULT)
}

fn vip_spec(id: VipId, vip: &Vip, settings: &LbSettings) -> VipSpec {
    let spec = &vip.spec;
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
        length: length(vip),
        nat,
        timeouts: has_timeouts(vip).then(|| timeouts(&vip.spec.timeouts, settings)),
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
