//! [`Reserved`]: indices that the daemon before this one gave out, kept for whom they belonged to.
//!
//! Flows that it has left name a VIP and an AS by index only. The same VIP and the same AS get the
//! same index again, so that those flows go on; an index that nobody asks for is free once the
//! flows that name it are gone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use balancer::VipKey;
use config::Encap;

/// An AS of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedServer {
    /// Its index.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// The epoch of its flows.
    pub epoch: u8,
    /// How packets reached it, where that was not the VIP's way.
    pub encap: Option<Encap>,
    /// Its DSCP with l3dsr, where that was not the VIP's.
    pub dscp: Option<u8>,
}

/// A VIP of before that is not configured, with ASs that are not either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedVip {
    /// What it was.
    pub key: VipKey,
    /// Its ASs.
    pub servers: Vec<ReservedServer>,
}

/// All of them. Copies share what they have.
#[derive(Clone, Debug, Default)]
pub struct Reserved {
    vips: Arc<BTreeMap<u32, ReservedVip>>,
    by_key: Arc<BTreeMap<VipKey, u32>>,
    /// Nobody will ask for them any more.
    settled: bool,
}

impl Reserved {
    /// These, by index.
    pub fn new(vips: BTreeMap<u32, ReservedVip>) -> Self {
        let by_key = vips.iter().map(|(index, vip)| (vip.key, *index)).collect();
        Self { vips: Arc::new(vips), by_key: Arc::new(by_key), settled: false }
    }

    /// All, by index.
    pub fn vips(&self) -> &BTreeMap<u32, ReservedVip> {
        &self.vips
    }

    /// Whether both have the very same.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.vips, &other.vips)
    }

    /// The index that a VIP had.
    pub(super) fn index_of(&self, key: VipKey) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    /// Whether an index belongs to a VIP of before.
    pub(super) fn has(&self, index: u32) -> bool {
        self.vips.contains_key(&index)
    }

    /// The indices of all ASs.
    pub(super) fn servers(&self) -> impl Iterator<Item = u32> {
        self.vips.values().flat_map(|vip| &vip.servers).map(|server| server.index)
    }

    /// Takes the ASs out of a VIP that is configured again, but for those that do not suit it.
    pub(super) fn claim(
        &mut self,
        index: u32,
        suits: impl Fn(&ReservedServer) -> bool,
    ) -> Vec<ReservedServer> {
        if !self.has(index) {
            return Vec::new();
        }
        let vips = Arc::make_mut(&mut self.vips);
        let Some(vip) = vips.get_mut(&index) else { return Vec::new() };
        Arc::make_mut(&mut self.by_key).remove(&vip.key);
        let (claimed, left) = vip.servers.drain(..).partition(suits);
        vip.servers = left;
        if vip.servers.is_empty() {
            vips.remove(&index);
        }
        claimed
    }

    /// From now on those are forgotten that have no flows.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// Forgets the ASs without flows, and VIPs without ASs, once nobody will ask for them any more.
    /// Returns the ASs.
    pub(super) fn collect(&mut self, live_flows: impl Fn(u32) -> u64) -> Vec<ReservedServer> {
        let is_gone = |server: &ReservedServer| live_flows(server.index) == 0;
        let any = |vip: &ReservedVip| vip.servers.is_empty() || vip.servers.iter().any(is_gone);
        let mut gone = Vec::new();
        if !self.settled || !self.vips.values().any(any) {
            return gone;
        }
        let by_key = Arc::make_mut(&mut self.by_key);
        Arc::make_mut(&mut self.vips).retain(|_, vip| {
            gone.extend(vip.servers.extract_if(.., |server| is_gone(server)));
            if vip.servers.is_empty() {
                by_key.remove(&vip.key);
            }
            !vip.servers.is_empty()
        });
        gone
    }
}
