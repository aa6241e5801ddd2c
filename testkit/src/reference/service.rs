//! VIPs, what they listen on, and how their ASs are reached.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::config::{Timeouts, covers, width};

/// The ports that a VIP listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// All ports of all protocols.
    All,
    /// From the first to the last port of one protocol.
    Range {
        /// 6 or 17.
        protocol: u8,
        /// First port.
        first: u16,
        /// Last port, the first itself for a single one.
        last: u16,
    },
}

/// What a VIP listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKey {
    /// Network address.
    pub network: IpAddr,
    /// Length of the prefix in bits; 32 or 128 for one address.
    pub prefix_len: u8,
    /// Ports.
    pub ports: Ports,
}

impl VipKey {
    /// One address and one port.
    pub fn single(address: IpAddr, protocol: u8, port: u16) -> Self {
        let ports = Ports::Range { protocol, first: port, last: port };
        Self { network: address, prefix_len: width(address), ports }
    }

    /// True when it takes packets to this address.
    pub fn has(&self, address: IpAddr) -> bool {
        covers(self.network, self.prefix_len, address)
    }

    /// True when it takes packets of this protocol to this port (0 for protocols without).
    pub fn takes(&self, protocol: u8, port: u16) -> bool {
        match self.ports {
            Ports::All => true,
            Ports::Range { protocol: own, first, last } => {
                own == protocol && (first..=last).contains(&port)
            }
        }
    }

    /// True for one address.
    pub fn is_host(&self) -> bool {
        self.prefix_len == width(self.network)
    }

    /// True for one address and one port.
    pub fn is_single(&self) -> bool {
        self.is_host() && matches!(self.ports, Ports::Range { first, last, .. } if first == last)
    }

    /// A port of it, for packets that shall match.
    pub fn some_port(&self, pick: usize) -> u16 {
        match self.ports {
            Ports::All => [80, 443, 9999][pick % 3],
            Ports::Range { first, last, .. } => {
                first + (pick % (usize::from(last - first) + 1)) as u16
            }
        }
    }

    /// How well it fits: longer prefixes first, then single ports, ranges, all ports.
    pub(super) fn rank(&self) -> (u8, u8) {
        let ports = match self.ports {
            Ports::Range { first, last, .. } if first == last => 2,
            Ports::Range { .. } => 1,
            Ports::All => 0,
        };
        (self.prefix_len, ports)
    }
}

/// How a packet gets to its AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GRE over IPv4 (RFC 2784).
    Gre4,
    /// GRE over IPv6.
    Gre6,
    /// IP in IP, over the family of the AS's address.
    Ipip,
    /// GUE over the family of the AS's address: IP directly behind UDP (variant 1).
    Gue,
    /// Another destination address, and the DSCP that tells the AS which VIP it was.
    L3dsr {
        /// 0..=63.
        dscp: u8,
    },
    /// Only Ethernet addresses change.
    Dr,
    /// Another destination address and port, and back. Of the VIP's family.
    Nat,
}

impl Method {
    /// True when a hop is taken off the client's packet.
    pub fn decrements(self) -> bool {
        matches!(self, Self::L3dsr { .. } | Self::Nat)
    }

    /// True when it can carry packets for `vip` to this AS.
    pub fn reaches(self, vip: IpAddr, server: IpAddr) -> bool {
        match self {
            Self::Gre4 => server.is_ipv4(),
            Self::Gre6 => server.is_ipv6(),
            Self::Ipip | Self::Gue => true,
            Self::L3dsr { .. } | Self::Dr | Self::Nat => vip.is_ipv6() == server.is_ipv6(),
        }
    }
}

/// The port of the ASs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one the client asked for.
    Keep,
    /// One for all.
    One(u16),
    /// The VIP's first port becomes this one, the second the next, and so on.
    From(u16),
}

/// The scheduler of new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// The new-flow table.
    Maglev,
    /// In turn.
    RoundRobin,
}

/// What is done to the maximum segment size of SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mss {
    /// Nothing.
    Keep,
    /// At most what fits the way to the AS.
    Auto,
    /// At most this.
    At(u16),
}

/// Whether an AS takes new flows, whatever its weight is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    /// By its weight.
    #[default]
    Up,
    /// None.
    Drain,
    /// None, and it is removed when it has no flows any more.
    DrainThenDel,
}

/// An AS of a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// 0..=100; 0 takes no new flows.
    pub weight: u8,
    /// How it is reached.
    pub method: Method,
    /// Whether it drains.
    pub admin: Admin,
}

impl Server {
    /// An AS that does not drain.
    pub fn new(weight: u8, method: Method) -> Self {
        Self { weight, method, admin: Admin::Up }
    }

    /// Whether it gets new flows.
    pub fn takes_flows(&self) -> bool {
        self.admin == Admin::Up && self.weight > 0
    }
}

/// A VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// What it listens on.
    pub key: VipKey,
    /// How ASs are reached that do not say otherwise. NAT is for all ASs or for none.
    pub method: Method,
    /// Port of the ASs; other than `Keep` with NAT only.
    pub target: Target,
    /// Our own addresses at this port are the VIP too.
    pub node_port: Option<u16>,
    /// New flows of one source go to one AS.
    pub src_ip_sticky: bool,
    /// Who gets new flows.
    pub scheduler: Scheduler,
    /// Segment sizes.
    pub mss: Mss,
    /// Lifetimes of its flows; `None` as everywhere.
    pub timeouts: Option<Timeouts>,
    /// Configured ASs.
    pub servers: BTreeMap<IpAddr, Server>,
}

impl Vip {
    /// A nat4 or nat6 clusterip VIP with one address and port.
    pub fn nat(address: IpAddr, protocol: u8, port: u16, target_port: u16) -> Self {
        Self {
            key: VipKey::single(address, protocol, port),
            method: Method::Nat,
            target: Target::One(target_port),
            node_port: None,
            src_ip_sticky: false,
            scheduler: Scheduler::Maglev,
            mss: Mss::Keep,
            timeouts: None,
            servers: BTreeMap::new(),
        }
    }

    /// Adds an AS that is reached as the VIP says.
    pub fn add(&mut self, address: IpAddr, weight: u8) {
        self.servers.insert(address, Server::new(weight, self.method));
    }

    /// True when ASs answer through us.
    pub fn is_nat(&self) -> bool {
        self.method == Method::Nat
    }

    /// The protocol that it listens on; `None` for all.
    pub fn protocol(&self) -> Option<u8> {
        match self.key.ports {
            Ports::All => None,
            Ports::Range { protocol, .. } => Some(protocol),
        }
    }

    /// The port of the ASs for a packet to `port` of the VIP, or to its node port.
    pub fn target_port(&self, port: u16, node: bool) -> u16 {
        match (self.target, self.key.ports) {
            (Target::One(target), _) => target,
            (Target::Keep, _) if !node => port,
            (Target::From(target), Ports::Range { first, .. }) if !node => target + (port - first),
            // The node port stands for the VIP's first one.
            (Target::From(target), _) => target,
            (Target::Keep, Ports::Range { first, .. }) => first,
            (Target::Keep, Ports::All) => port,
        }
    }

    /// True when an AS may be asked on this port.
    pub fn has_target(&self, port: u16) -> bool {
        let Ports::Range { first, last, .. } = self.key.ports else { return false };
        (first..=last).any(|own| self.target_port(own, false) == port)
    }

    /// The address and port that a reply from this port of an AS is for, if there is only one.
    pub fn only_origin(&self, port: u16) -> Option<(IpAddr, u16)> {
        let Ports::Range { first, last, .. } = self.key.ports else { return None };
        let mut ports = (first..=last).filter(|own| self.target_port(*own, false) == port);
        let (origin, other) = (ports.next()?, ports.next());
        let one = self.key.is_host() && self.node_port.is_none() && other.is_none();
        one.then_some((self.key.network, origin))
    }
}
