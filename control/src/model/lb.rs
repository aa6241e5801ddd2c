//! VIPs and ASs as configured, removed ones included as long as flows use them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use balancer::{Ports, Prefix, Protocol, VipKey};
use config::{Encap, LbVipAdd, NoMatch};

use super::{LbSettings, Network};

/// An application server of one VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its index, unique over all VIPs and never reused while a flow refers to it.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Share of new flows, 0..=100.
    pub weight: u8,
    /// How packets reach it, where that is not the VIP's way.
    pub encap: Option<Encap>,
    /// Its DSCP with l3dsr, where that is not the VIP's.
    pub dscp: Option<u8>,
    /// Flows of other epochs are dead: a flush counts this up.
    pub epoch: u8,
    /// `lb as … del`: takes no new flows, keeps those it has.
    pub removed: bool,
}

impl Server {
    /// How packets reach it.
    pub fn method(&self, vip: &LbVipAdd) -> Encap {
        self.encap.unwrap_or(vip.encap())
    }

    /// The DSCP that its packets get, if it is reached by l3dsr.
    pub fn l3dsr(&self, vip: &LbVipAdd) -> Option<u8> {
        let dscp = self.dscp.or(vip.dscp.map(|dscp| dscp.value));
        dscp.filter(|_| self.method(vip) == Encap::L3dsr)
    }
}

/// A virtual IP address with its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Its index, from 1 as VPP counts; never reused while a flow refers to it.
    pub index: u32,
    /// Addresses and ports.
    pub key: VipKey,
    /// What it was configured with, as [`super::canonical`] writes it.
    pub spec: LbVipAdd,
    /// First configured first.
    pub servers: Vec<Server>,
    /// `lb vip … del`: matches no packets any more, waits for its flows to end.
    pub removed: bool,
}

impl Vip {
    /// The AS with this address, removed or not.
    pub fn server(&self, address: IpAddr) -> Option<&Server> {
        self.servers.iter().find(|server| server.address == address)
    }

    /// Its addresses.
    pub fn network(&self) -> Network {
        network(self.key.prefix)
    }
}

/// A balancer's prefix as the model has them.
pub(super) fn network(prefix: Prefix) -> Network {
    Network { address: prefix.network, prefix_len: prefix.len }
}

/// The load balancer's part of the model.
#[derive(Clone, Debug, Default)]
pub struct LbModel {
    /// `lb conf`.
    pub settings: LbSettings,
    /// `lb no-match`.
    pub no_match: BTreeMap<Network, NoMatch>,
    /// By index, removed ones included.
    pub vips: BTreeMap<u32, Arc<Vip>>,
    /// Finds a VIP that is not removed; ordered, so that those of one prefix lie together.
    by_key: Arc<BTreeMap<VipKey, u32>>,
    servers: Indices,
}

impl LbModel {
    /// The VIP with this key, unless it was removed.
    pub fn find(&self, key: VipKey) -> Option<&Arc<Vip>> {
        self.by_key.get(&key).and_then(|index| self.vips.get(index))
    }

    /// VIPs that are not removed, by index.
    pub fn active(&self) -> impl Iterator<Item = &Arc<Vip>> {
        self.vips.values().filter(|vip| !vip.removed)
    }

    /// The VIPs of this very prefix, removed ones left out, by protocol and port.
    pub fn on_prefix(&self, network: Network) -> impl Iterator<Item = &Arc<Vip>> {
        let prefix = Prefix { network: network.address, len: network.prefix_len };
        let least = VipKey { prefix, ports: Ports::All };
        let last = Ports::Range { protocol: Protocol::Udp, first: u16::MAX, last: u16::MAX };
        let most = VipKey { prefix, ports: last };
        self.by_key.range(least..=most).filter_map(|(_, index)| self.vips.get(index))
    }

    /// The prefixes with VIPs that are not removed, each once, by address and length.
    pub fn prefixes(&self) -> BTreeSet<Network> {
        self.by_key.keys().map(|key| network(key.prefix)).collect()
    }

    /// The longest prefix with VIPs that holds `address`.
    pub fn prefix_of(&self, address: IpAddr) -> Option<Network> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let mut candidates = (0..=longest).rev().map(|len| Network::new(address, len));
        candidates.find(|network| self.on_prefix(*network).next().is_some())
    }

    /// True when `address` by itself is a VIP.
    pub fn is_vip(&self, address: IpAddr) -> bool {
        self.on_prefix(Network::host(address)).next().is_some()
    }

    /// The VIP that an AS that is not removed and has this address serves.
    pub fn served_by(&self, address: IpAddr) -> Option<&Arc<Vip>> {
        self.vips.values().find(|vip| vip.server(address).is_some_and(|server| !server.removed))
    }

    /// Adds a VIP whose key and index are free.
    pub fn insert(&mut self, vip: Vip) {
        Arc::make_mut(&mut self.by_key).insert(vip.key, vip.index);
        self.vips.insert(vip.index, Arc::new(vip));
    }

    /// Marks a VIP and all its ASs as removed; its flows end with it.
    pub fn remove(&mut self, index: u32) {
        let Some(vip) = self.vip_mut(index) else { return };
        vip.removed = true;
        for server in &mut vip.servers {
            server.removed = true;
            server.epoch = server.epoch.wrapping_add(1);
        }
        let key = vip.key;
        Arc::make_mut(&mut self.by_key).remove(&key);
    }

    /// The VIP of index `index`, writable; a copy of its own from here on.
    pub fn vip_mut(&mut self, index: u32) -> Option<&mut Vip> {
        self.vips.get_mut(&index).map(Arc::make_mut)
    }

    /// The lowest index that no VIP has; `None` when all are in use.
    pub fn free_vip_index(&self) -> Option<u32> {
        let limit = balancer::MAX_VIPS as u32;
        let mut free = 1;
        for index in self.vips.keys() {
            if *index != free {
                break;
            }
            free += 1;
        }
        (free < limit).then_some(free)
    }

    /// ASs configured or still used by flows.
    pub fn server_count(&self) -> usize {
        self.vips.values().map(|vip| vip.servers.len()).sum()
    }

    /// An index for a new AS, with the epoch to start from; `None` when all are in use.
    pub(super) fn take_server_index(&mut self) -> Option<(u32, u8)> {
        self.servers.take()
    }

    /// What packets get that are for the VIP prefix `network` but for no VIP: the policy of the
    /// longest `lb no-match` prefix that holds it all, else that of `lb conf`.
    pub fn no_match_of(&self, network: Network) -> NoMatch {
        let covering = self.no_match.iter().filter(|(prefix, _)| prefix.covers(network));
        let longest = covering.max_by_key(|(prefix, _)| prefix.prefix_len);
        longest.map_or(self.settings.no_match, |(_, policy)| *policy)
    }

    /// Forgets removed ASs without flows, and removed VIPs without ASs. `live_flows` says how many
    /// flows of an AS index are alive over all workers. Returns how many ASs and VIPs went.
    pub fn collect(&mut self, live_flows: impl Fn(u32) -> u64) -> usize {
        let gone = |server: &Server| server.removed && live_flows(server.index) == 0;
        let mut count = 0;
        for vip in self.vips.values_mut() {
            if vip.servers.iter().any(gone) {
                let vip = Arc::make_mut(vip);
                for server in vip.servers.iter().filter(|server| gone(server)) {
                    self.servers.give_back(server.index, server.epoch);
                }
                let before = vip.servers.len();
                vip.servers.retain(|server| !gone(server));
                count += before - vip.servers.len();
            }
        }
        let before = self.vips.len();
        self.vips.retain(|_, vip| !vip.removed || !vip.servers.is_empty());
        count + before - self.vips.len()
    }
}

/// Hands out AS indices. A reused index starts with an epoch its former owner never had last, so
/// that nothing of the former owner can be taken for the new one's.
#[derive(Clone, Debug, Default)]
struct Indices {
    next: u32,
    free: Vec<(u32, u8)>,
}

impl Indices {
    fn take(&mut self) -> Option<(u32, u8)> {
        if let Some((index, epoch)) = self.free.pop() {
            return Some((index, epoch.wrapping_add(1)));
        }
        let index = self.next.max(1);
        if index >= balancer::MAX_SERVERS as u32 {
            return None;
        }
        self.next = index + 1;
        Some((index, 0))
    }

    fn give_back(&mut self, index: u32, epoch: u8) {
        self.free.push((index, epoch));
    }
}
