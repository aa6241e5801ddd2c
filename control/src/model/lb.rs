//! VIPs and ASs as configured, removed ones included as long as flows use them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use balancer::{Ports, Prefix, VipKey};
use config::{Admin, Encap, LbVipAdd, NoMatch, check_as_of_vip, defaults};

use super::reserved::{Reserved, ReservedServer};
use super::{Directory, LbSettings, Network, Shelf};

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
    /// `lb as … drain` and `undrain`.
    pub admin: Admin,
    /// `lb as … del`: takes no new flows, keeps those it has.
    pub removed: bool,
}

impl Server {
    /// The same, once it has left the configuration.
    pub(super) fn as_removed(self) -> Self {
        Self { removed: true, ..self }
    }

    /// Whether new flows come to it.
    pub fn takes_flows(&self) -> bool {
        self.table_weight() > 0
    }

    /// Its share of new flows at present, 0..=100; while it drains, `weight` is only remembered.
    pub fn table_weight(&self) -> u8 {
        match self.removed || self.admin != Admin::Up {
            true => 0,
            false => self.weight,
        }
    }

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

/// The load balancer's part of the model. Copies share what they have in common.
#[derive(Clone, Debug, Default)]
pub struct LbModel {
    /// `lb conf`.
    pub settings: LbSettings,
    /// `lb no-match`.
    pub no_match: BTreeMap<Network, NoMatch>,
    /// By index, removed ones included. Only to be read: what follows has to agree with it.
    pub vips: Shelf<Vip>,
    /// The VIPs of each prefix that are not removed, by protocol and port.
    by_prefix: Directory<Network, Vec<(Ports, u32)>>,
    /// VIPs by name; removed ones have none.
    by_name: Directory<String, u32>,
    /// VIPs by node port, with family and protocol.
    by_node_port: Directory<NodePort, u32>,
    /// For how many VIPs an address serves, as an AS that is not removed.
    served: Directory<IpAddr, u32>,
    servers: Indices,
    /// What the daemon before this one has left.
    reserved: Reserved,
}

/// Whether IPv6, the protocol, the port.
type NodePort = (bool, Option<balancer::Protocol>, u16);

/// The node port of a VIP.
fn node_port(vip: &Vip) -> Option<NodePort> {
    Some((vip.key.prefix.is_v6(), vip.key.ports.protocol(), vip.spec.node_port()?))
}

/// The name of a VIP.
fn name(vip: &Vip) -> Option<&String> {
    vip.spec.name.as_ref().map(|name| &name.value)
}

impl LbModel {
    /// The VIP with this key, unless it was removed.
    pub fn find(&self, key: VipKey) -> Option<&Arc<Vip>> {
        let of_prefix = self.by_prefix.get(&network(key.prefix))?;
        let at = of_prefix.binary_search_by_key(&key.ports, |(ports, _)| *ports).ok()?;
        self.vips.get(of_prefix[at].1)
    }

    /// VIPs that are not removed, by index.
    pub fn active(&self) -> impl Iterator<Item = &Arc<Vip>> {
        self.vips.values().filter(|vip| !vip.removed)
    }

    /// The VIPs of this very prefix, removed ones left out, by protocol and port.
    pub fn on_prefix(&self, network: Network) -> impl Iterator<Item = &Arc<Vip>> {
        let of_prefix = self.by_prefix.get(&network).into_iter().flatten();
        of_prefix.filter_map(|(_, index)| self.vips.get(*index))
    }

    /// The prefixes with VIPs that are not removed, each once, by address and length.
    pub fn prefixes(&self) -> BTreeSet<Network> {
        self.by_prefix.keys().copied().collect()
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
        self.served.get(&address)?;
        self.vips.values().find(|vip| vip.server(address).is_some_and(|server| !server.removed))
    }

    /// The VIP called so.
    pub fn named(&self, name: &str) -> Option<&Arc<Vip>> {
        self.by_name.get(&name.to_owned()).and_then(|index| self.vips.get(*index))
    }

    /// The VIP that has a node port already that a new VIP is to have.
    pub fn with_node_port(&self, key: VipKey, port: u16) -> Option<&Arc<Vip>> {
        let wanted = (key.prefix.is_v6(), key.ports.protocol(), port);
        self.by_node_port.get(&wanted).and_then(|index| self.vips.get(*index))
    }

    /// Adds a VIP without ASs, or with removed ones only, whose key and index are free.
    pub fn insert(&mut self, vip: Vip) {
        let (index, ports) = (vip.index, vip.key.ports);
        self.by_prefix.change(&vip.network(), |of_prefix| {
            let mut of_prefix = of_prefix.unwrap_or_default();
            let at = of_prefix.partition_point(|(other, _)| *other < ports);
            of_prefix.insert(at, (ports, index));
            Some(of_prefix)
        });
        if let Some(name) = name(&vip) {
            self.by_name.change(name, |_| Some(index));
        }
        if let Some(port) = node_port(&vip) {
            self.by_node_port.change(&port, |_| Some(index));
        }
        self.vips.set(index, Some(Arc::new(vip)));
    }

    /// Marks a VIP and all its ASs as removed; its flows end with it.
    pub fn remove(&mut self, index: u32) {
        let Some(vip) = self.vips.get_mut(index) else { return };
        vip.removed = true;
        for server in &mut vip.servers {
            if !server.removed {
                self.served.change(&server.address, less);
            }
            server.removed = true;
            server.epoch = server.epoch.wrapping_add(1);
        }
        self.by_prefix.change(&vip.network(), |of_prefix| {
            let others = of_prefix.into_iter().flatten().filter(|(_, other)| *other != index);
            Some(others.collect::<Vec<_>>()).filter(|others| !others.is_empty())
        });
        if let Some(name) = name(vip) {
            self.by_name.change(name, |_| None);
        }
        if let Some(port) = node_port(vip) {
            self.by_node_port.change(&port, |_| None);
        }
    }

    /// Gives a VIP other parameters, of the same key.
    pub fn set_spec(&mut self, index: u32, spec: LbVipAdd) {
        let Some(vip) = self.vips.get_mut(index) else { return };
        if let Some(name) = name(vip) {
            self.by_name.change(name, |_| None);
        }
        vip.spec = spec;
        if let Some(name) = name(vip) {
            self.by_name.change(name, |_| Some(index));
        }
    }

    /// Changes one AS of a VIP, but neither its index nor its address.
    pub(super) fn with_server(&mut self, vip: u32, index: u32, change: impl FnOnce(&mut Server)) {
        let Some(vip) = self.vips.get_mut(vip) else { return };
        let server = vip.servers.iter_mut().find(|server| server.index == index);
        let Some(server) = server else { return };
        let before = server.removed;
        change(server);
        match (before, server.removed) {
            (true, false) => self.served.change(&server.address, more),
            (false, true) => self.served.change(&server.address, less),
            _ => {}
        }
    }

    /// Adds an AS with an address that the VIP has not; false when all indices are in use.
    pub(super) fn add_server(
        &mut self,
        vip: u32,
        address: IpAddr,
        weight: u8,
        encap: Option<Encap>,
        dscp: Option<u8>,
    ) -> bool {
        let Some((index, epoch)) = self.servers.take() else { return false };
        if let Some(vip) = self.vips.get_mut(vip) {
            let (admin, removed) = (Admin::Up, false);
            vip.servers.push(Server { index, address, weight, encap, dscp, epoch, admin, removed });
            self.served.change(&address, more);
        }
        true
    }

    /// An index that no AS has, with the epoch to begin at; `None` when all are in use.
    pub(super) fn take_server_index(&mut self) -> Option<(u32, u8)> {
        self.servers.take()
    }

    /// Gives a VIP other ASs, removed ones included. `had` and `has` are the addresses of those not
    /// removed, before and after.
    pub(super) fn replace_servers(
        &mut self,
        vip: u32,
        servers: Vec<Server>,
        had: &[IpAddr],
        has: &[IpAddr],
    ) {
        let Some(vip) = self.vips.get_mut(vip) else { return };
        vip.servers = servers;
        had.iter().for_each(|address| self.served.change(address, less));
        has.iter().for_each(|address| self.served.change(address, more));
    }

    /// Removes an AS that is to go when its last flow has ended; false if it is not to go.
    pub fn end_drain(&mut self, vip: u32, index: u32) -> bool {
        let servers = self.vips.get(vip).map(|vip| &vip.servers);
        let to_go = servers.into_iter().flatten().any(|server| {
            server.index == index && server.admin == Admin::DrainThenDel && !server.removed
        });
        if to_go {
            self.with_server(vip, index, |server| server.removed = true);
        }
        to_go
    }

    /// Ends all flows of a VIP.
    pub(super) fn flush(&mut self, vip: u32) {
        let servers = self.vips.get_mut(vip).map(|vip| &mut vip.servers);
        for server in servers.into_iter().flatten() {
            server.epoch = server.epoch.wrapping_add(1);
        }
    }

    /// The index that a VIP had before, else the lowest that none has; `None` when all are in use.
    pub fn index_for(&self, key: VipKey) -> Option<u32> {
        // A VIP that was removed may still have it.
        let before = self.reserved.index_of(key).filter(|index| self.vips.get(*index).is_none());
        before.or_else(|| {
            let mut free = self.vips.free(1);
            while self.reserved.has(free) {
                free = self.vips.free(free + 1);
            }
            Some(free).filter(|free| (*free as usize) < balancer::MAX_VIPS)
        })
    }

    /// Keeps indices for whom they belonged to before. For a model without VIPs.
    pub fn reserve(&mut self, reserved: Reserved) {
        self.servers = Indices::without(reserved.servers().collect());
        self.reserved = reserved;
    }

    /// What the daemon before this one has left and nobody has asked for.
    pub fn reserved(&self) -> &Reserved {
        &self.reserved
    }

    /// Everything is configured that was before: the rest is forgotten as its flows end.
    pub fn settle(&mut self) {
        self.reserved.settle();
    }

    /// The ASs that a VIP had before which is to have its index again. They are removed ones, until
    /// somebody adds them; the flows they have go on in any case.
    pub(super) fn servers_before(&mut self, index: u32, spec: &LbVipAdd) -> Vec<Server> {
        let suits = |server: &ReservedServer| {
            let (encap, dscp) = (server.encap.map(Into::into), server.dscp.map(Into::into));
            check_as_of_vip(spec, server.address.into(), encap, dscp).is_empty()
        };
        let server = |ReservedServer { index, address, epoch, encap, dscp }| {
            let (weight, admin, removed) = (defaults::WEIGHT, Admin::Up, true);
            Server { index, address, weight, encap, dscp, epoch, admin, removed }
        };
        self.reserved.claim(index, suits).into_iter().map(server).collect()
    }

    /// ASs configured or still used by flows.
    pub fn server_count(&self) -> usize {
        self.vips.values().map(|vip| vip.servers.len()).sum()
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
        let concerned = self.vips.iter().filter(|(_, vip)| {
            vip.removed && vip.servers.is_empty() || vip.servers.iter().any(gone)
        });
        for index in concerned.map(|(index, _)| index).collect::<Vec<_>>() {
            let Some(vip) = self.vips.get_mut(index) else { continue };
            for server in vip.servers.iter().filter(|server| gone(server)) {
                self.servers.give_back(server.index, server.epoch);
            }
            let before = vip.servers.len();
            vip.servers.retain(|server| !gone(server));
            count += before - vip.servers.len();
            if vip.removed && vip.servers.is_empty() {
                self.vips.set(index, None);
                count += 1;
            }
        }
        for server in self.reserved.collect(live_flows) {
            self.servers.give_back(server.index, server.epoch);
            count += 1;
        }
        count
    }
}

fn more(count: Option<u32>) -> Option<u32> {
    Some(count.unwrap_or(0) + 1)
}

/// One less, and nothing instead of none.
fn less(count: Option<u32>) -> Option<u32> {
    count.and_then(|count| count.checked_sub(1)).filter(|count| *count > 0)
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

    /// All but these.
    fn without(taken: BTreeSet<u32>) -> Self {
        let next = taken.last().map_or(0, |last| last + 1);
        // The lowest is the first to be taken.
        let free = (1..next).rev().filter(|index| !taken.contains(index));
        Self { next, free: free.map(|index| (index, 0)).collect() }
    }

    fn give_back(&mut self, index: u32, epoch: u8) {
        self.free.push((index, epoch));
    }
}
