//! What the reference is told: plain values, no indices, no tables, nothing precomputed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::ip::octets;
use super::service::{Vip, VipKey};
use super::tunnel_settings::TunnelSettings;

/// An interface. Its index is its place in [`Config::interfaces`] plus one (0 is `local0`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Own addresses with the length of their connected prefix, first configured first.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Ethernet address; of a sub-interface, its parent's.
    pub mac: [u8; 6],
    /// Largest IP packet it sends, in bytes.
    pub mtu: usize,
    /// Administrative state.
    pub up: bool,
    /// Replies of nat4 ASs arrive here.
    pub nat4_in: bool,
    /// Replies of nat6 ASs arrive here.
    pub nat6_in: bool,
    /// What it is.
    pub kind: Kind,
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An Ethernet port.
    Port,
    /// One VLAN of a port.
    Vlan {
        /// The port's interface index.
        parent: u16,
        /// VLAN id of the outer tag, 1..=4094.
        outer: u16,
        /// VLAN id of the inner tag, if there is one.
        inner: Option<u16>,
        /// The outer tag is a service tag (0x88a8).
        service_tag: bool,
    },
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213), configured at both ends.
    Tunnel {
        /// Outer source, ours.
        source: IpAddr,
        /// Outer destination.
        destination: IpAddr,
    },
}

/// A static route; no two have the same prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Network address.
    pub network: IpAddr,
    /// 0..=32 or 0..=128.
    pub prefix_len: u8,
    /// The router, on a connected network.
    pub next_hop: IpAddr,
}

/// Flow lifetimes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP.
    pub udp_s: u32,
    /// Protocols other than TCP and UDP.
    pub other_s: u32,
    /// TCP that has only seen SYNs.
    pub syn_s: u32,
    /// TCP at work.
    pub established_s: u32,
    /// TCP in FW.
    pub fin_wait_s: u32,
    /// TCP in CW or LA.
    pub close_wait_s: u32,
    /// TCP in TW.
    pub time_wait_s: u32,
    /// TCP in CL.
    pub close_s: u32,
}

impl Timeouts {
    /// Of flows that have shown nothing, of TCP at work, and of TCP after a FIN or RST.
    pub fn new(open_s: u32, established_s: u32, closing_s: u32) -> Self {
        Self {
            udp_s: open_s,
            other_s: open_s,
            syn_s: open_s,
            established_s,
            fin_wait_s: closing_s,
            close_wait_s: closing_s,
            time_wait_s: closing_s,
            close_s: closing_s,
        }
    }
}

/// What becomes of a packet to a VIP's address that no VIP takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// Dropped.
    Drop,
    /// TCP is reset, the rest dropped.
    Reset,
    /// An ICMP error tells the sender.
    Icmp,
    /// It goes to the host's kernel.
    Punt,
}

/// The policy of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMatchPrefix {
    /// Network address.
    pub network: IpAddr,
    /// Its length in bits.
    pub prefix_len: u8,
    /// The policy.
    pub policy: NoMatch,
}

/// The whole configuration of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Interfaces, the first with index 1.
    pub interfaces: Vec<Interface>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Known neighbours: (interface index, address) to Ethernet address.
    pub neighbors: BTreeMap<(u16, IpAddr), [u8; 6]>,
    /// VIPs; no two have the same key, and no port ranges of a prefix overlap.
    pub vips: Vec<Vip>,
    /// Flow lifetimes where a VIP has none of its own.
    pub timeouts: Timeouts,
    /// Outer headers towards ASs.
    pub tunnels: TunnelSettings,
    /// Where no prefix says otherwise.
    pub no_match: NoMatch,
    /// Exceptions from it; no two have the same prefix.
    pub no_match_prefixes: Vec<NoMatchPrefix>,
}

impl Config {
    /// An empty box with these flow lifetimes.
    pub fn new(timeouts: Timeouts) -> Self {
        Self {
            interfaces: Vec::new(),
            routes: Vec::new(),
            neighbors: BTreeMap::new(),
            vips: Vec::new(),
            timeouts,
            tunnels: TunnelSettings::default(),
            no_match: NoMatch::Drop,
            no_match_prefixes: Vec::new(),
        }
    }

    /// The interface with this index.
    pub fn interface(&self, index: u16) -> &Interface {
        &self.interfaces[usize::from(index) - 1]
    }

    /// Indices of all interfaces.
    pub fn indices(&self) -> impl Iterator<Item = u16> + '_ {
        1..=self.interfaces.len() as u16
    }

    /// Indices of the interfaces that are ports.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.indices().filter(|index| self.interface(*index).kind == Kind::Port)
    }

    /// True for an address of one of our interfaces.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.interfaces.iter().any(|i| i.addresses.iter().any(|(own, _)| *own == address))
    }

    /// Indices of the interfaces that frames arrive on: ports and VLANs.
    pub fn links(&self) -> impl Iterator<Item = u16> + '_ {
        self.indices().filter(|index| !matches!(self.interface(*index).kind, Kind::Tunnel { .. }))
    }

    /// The VIP with this key.
    pub fn vip(&self, key: &VipKey) -> Option<&Vip> {
        self.vips.iter().find(|vip| vip.key == *key)
    }

    /// The policy for packets to a prefix that no VIP of it takes.
    pub fn no_match_of(&self, network: IpAddr, prefix_len: u8) -> NoMatch {
        self.no_match_prefixes
            .iter()
            .filter(|prefix| prefix.prefix_len <= prefix_len)
            .filter(|prefix| covers(prefix.network, prefix.prefix_len, network))
            .max_by_key(|prefix| prefix.prefix_len)
            .map_or(self.no_match, |prefix| prefix.policy)
    }
}

/// True when the addresses are of one family and their first `prefix_len` bits agree.
pub fn covers(network: IpAddr, prefix_len: u8, address: IpAddr) -> bool {
    let (network, address) = (octets(network), octets(address));
    network.len() == address.len()
        && (0..usize::from(prefix_len)).all(|bit| {
            let mask = 0x80 >> (bit % 8);
            network[bit / 8] & mask == address[bit / 8] & mask
        })
}

/// Bits of an address of this family.
pub fn width(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}
