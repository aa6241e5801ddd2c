//! VIPs and ASs as configured, removed ones included as long as flows use them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use balancer::{Ports, Prefix, Protocol};
use config::{Encap, ServiceType, defaults};

use super::Network;

/// An application server of one VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its index, unique over all VIPs and never reused while a flow refers to it.
    pub index: u32,
    /// Its address.
    pub address: Ipv4Addr,
    /// Share of new flows, 0..=100.
    pub weight: u8,
    /// Flows of other epochs are dead: a flush counts this up.
    pub epoch: u8,
    /// `lb as … del`: takes no new flows, keeps those it has.
    pub removed: bool,
}

/// What names a VIP: an address, protocol and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VipKey {
    /// The address that clients use.
    pub address: Ipv4Addr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port that clients use, host order.
    pub port: u16,
}

impl From<VipKey> for balancer::VipKey {
    fn from(key: VipKey) -> Self {
        let ports = Ports::one(key.protocol, key.port);
        Self { prefix: Prefix::host(key.address.into()), ports }
    }
}

/// As commands spell it: `10.10.2.2/32 protocol tcp port 8080`.
impl std::fmt::Display for VipKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        balancer::VipKey::from(*self).fmt(f)
    }
}

/// A virtual IP address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Its index, from 1 as VPP counts; never reused while a flow refers to it.
    pub index: u32,
    /// Address, protocol and port.
    pub key: VipKey,
    /// How packets reach the ASs.
    pub encap: Encap,
    /// Cluster IP or node port.
    pub service_type: ServiceType,
    /// Port of the ASs, host order.
    pub target_port: u16,
    /// Length of the new-flow table.
    pub new_len: u32,
    /// Choose the AS by the client's address only.
    pub src_ip_sticky: bool,
    /// A name for people.
    pub name: Option<Arc<str>>,
    /// First configured first.
    pub servers: Vec<Server>,
    /// `lb vip … del`: matches no packets any more, waits for its flows to end.
    pub removed: bool,
}

impl Vip {
    /// The AS with this address, removed or not.
    pub fn server(&self, address: Ipv4Addr) -> Option<&Server> {
        self.servers.iter().find(|server| server.address == address)
    }
}

/// The load balancer's part of the model.
#[derive(Clone, Debug)]
pub struct LbModel {
    /// `lb conf ip4-src-address`.
    pub ip4_src_address: Option<Ipv4Addr>,
    /// `lb conf ip6-src-address`.
    pub ip6_src_address: Option<Ipv6Addr>,
    /// Sticky buckets per worker.
    pub buckets: u32,
    /// Idle time of UDP and half-open TCP flows, in seconds.
    pub timeout_s: u32,
    /// Idle time of established TCP flows, in seconds.
    pub tcp_established_timeout_s: u32,
    /// Idle time of TCP flows that have seen FIN or RST, in seconds.
    pub tcp_closing_timeout_s: u32,
    /// Where the key of the flow hash comes from.
    pub hash_key_file: Option<PathBuf>,
    /// By index, removed ones included.
    pub vips: BTreeMap<u32, Arc<Vip>>,
    /// Finds a VIP that is not removed; ordered, so that those of one address lie together.
    by_key: Arc<BTreeMap<VipKey, u32>>,
    servers: Indices,
}

impl Default for LbModel {
    fn default() -> Self {
        Self {
            ip4_src_address: None,
            ip6_src_address: None,
            buckets: defaults::BUCKETS,
            timeout_s: defaults::TIMEOUT_S,
            tcp_established_timeout_s: defaults::TCP_ESTABLISHED_TIMEOUT_S,
            tcp_closing_timeout_s: defaults::TCP_CLOSING_TIMEOUT_S,
            hash_key_file: None,
            vips: BTreeMap::new(),
            by_key: Arc::default(),
            servers: Indices::default(),
        }
    }
}

impl LbModel {
    /// The VIP with this address, protocol and port, unless it was removed.
    pub fn find(&self, key: VipKey) -> Option<&Arc<Vip>> {
        self.by_key.get(&key).and_then(|index| self.vips.get(index))
    }

    /// The VIPs on an address, removed ones left out, by protocol and port.
    pub fn on_address(&self, address: Ipv4Addr) -> impl Iterator<Item = &Arc<Vip>> {
        let least = VipKey { address, protocol: Protocol::Tcp, port: 0 };
        let most = VipKey { address, protocol: Protocol::Udp, port: u16::MAX };
        self.by_key.range(least..=most).filter_map(|(_, index)| self.vips.get(index))
    }

    /// True when an AS that is not removed has this address.
    pub fn serves(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        self.vips.values().any(|vip| vip.server(address).is_some_and(|server| !server.removed))
    }

    /// The VIPs of this very prefix, removed ones left out, by protocol and port.
    pub fn on_prefix(&self, network: Network) -> Vec<&Arc<Vip>> {
        match network.address {
            IpAddr::V4(address) if network.is_host() => self.on_address(address).collect(),
            _ => Vec::new(),
        }
    }

    /// The prefixes with VIPs that are not removed, each once.
    pub fn prefixes(&self) -> BTreeSet<Network> {
        self.by_key.keys().map(|key| Network::host(key.address.into())).collect()
    }

    /// True when `address` is a VIP.
    pub fn is_vip(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        self.on_address(address).next().is_some()
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
