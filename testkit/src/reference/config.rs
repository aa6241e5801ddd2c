//! What the reference is told: plain values, no indices, no tables, nothing precomputed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// An interface. Its index is its place in [`Config::interfaces`] plus one (0 is `local0`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Own addresses with the length of their connected prefix, first configured first.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet it sends, in bytes.
    pub mtu: usize,
    /// Administrative state.
    pub up: bool,
    /// Replies of nat4 ASs arrive here.
    pub nat4_in: bool,
}

/// A static route; no two have the same prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Network address.
    pub network: Ipv4Addr,
    /// 0..=32.
    pub prefix_len: u8,
    /// The router, on a connected network.
    pub next_hop: Ipv4Addr,
}

/// What a VIP listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Address.
    pub address: Ipv4Addr,
    /// IP protocol number: 6 or 17.
    pub protocol: u8,
    /// Port.
    pub port: u16,
}

/// A nat4 clusterip VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// What it listens on.
    pub service: Service,
    /// Port of the ASs.
    pub target_port: u16,
    /// Configured ASs and their weights.
    pub servers: BTreeMap<Ipv4Addr, u8>,
}

/// Flow lifetimes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP flows, and TCP flows that have only seen a SYN.
    pub timeout_s: u32,
    /// TCP flows at work.
    pub established_s: u32,
    /// TCP flows after a FIN or RST.
    pub closing_s: u32,
}

/// The whole configuration of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Interfaces, the first with index 1.
    pub interfaces: Vec<Interface>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Known neighbours: (interface index, address) to Ethernet address.
    pub neighbors: BTreeMap<(u16, Ipv4Addr), [u8; 6]>,
    /// VIPs; no two listen on the same service.
    pub vips: Vec<Vip>,
    /// Flow lifetimes.
    pub timeouts: Timeouts,
}

impl Config {
    /// The interface with this index.
    pub fn interface(&self, index: u16) -> &Interface {
        &self.interfaces[usize::from(index) - 1]
    }

    /// Indices of all interfaces.
    pub fn indices(&self) -> impl Iterator<Item = u16> + '_ {
        1..=self.interfaces.len() as u16
    }

    /// True for an address of one of our interfaces.
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        self.interfaces.iter().any(|i| i.addresses.iter().any(|(own, _)| *own == address))
    }

    /// True for an address that a VIP listens on.
    pub fn is_vip(&self, address: Ipv4Addr) -> bool {
        self.vips.iter().any(|vip| vip.service.address == address)
    }
}
