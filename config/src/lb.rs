//! The operands of the `lb` commands.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crate::choice::choices;
use crate::{
    Encap, FlowTimeouts, PortRange, Prefix, Spanned, SrcEntropy, TargetPort, TooBig, TunnelDf,
    TunnelDscp, TunnelEcn,
};

choices! {
    /// A transport protocol a per-port VIP can have.
    Protocol {
        /// TCP, IP protocol 6.
        Tcp = "tcp",
        /// UDP, IP protocol 17.
        Udp = "udp",
    }
}

impl Protocol {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

choices! {
    /// The service type of a NAT VIP.
    ServiceType {
        /// Clients use any address of the load balancer, at the node port.
        NodePort = "nodeport",
        /// The VIP address and port are what clients use: VPP's default.
        ClusterIp = "clusterip",
    }
}

choices! {
    /// How new flows are given to ASs.
    Scheduler {
        /// By the Maglev table of the flow's hash: the same on every load balancer.
        Maglev = "maglev" | "mh",
        /// In turn, in the order of the AS addresses.
        RoundRobin = "rr",
    }
}

choices! {
    /// What a packet gets that is for a VIP's address but for no VIP.
    NoMatch {
        /// Nothing; it is counted.
        Drop = "drop",
        /// A TCP reset, or for other protocols an ICMP port unreachable.
        Rst = "rst",
        /// An ICMP port unreachable.
        Icmp = "icmp",
        /// It is handed to the kernel through the tap of `[punt]`.
        Punt = "punt",
    }
}

choices! {
    /// Whether an AS takes new flows, whatever its weight is.
    Admin {
        /// According to its weight.
        Up = "up",
        /// None; it keeps those it has.
        Drain = "drain",
        /// None; when the last one has ended, the AS leaves the configuration.
        DrainThenDel = "drain-then-del",
    }
}

impl Admin {
    /// The words of `lb as` that bring it about.
    pub const fn words(self) -> &'static str {
        match self {
            Admin::Up => "undrain",
            Admin::Drain => "drain",
            Admin::DrainThenDel => "drain then del",
        }
    }
}

/// The largest segment that SYNs may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mss {
    /// As the hosts say.
    Off,
    /// What the way to the AS carries.
    Auto,
    /// This many bytes.
    Bytes(u16),
}

impl fmt::Display for Mss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mss::Off => f.write_str("off"),
            Mss::Auto => f.write_str("auto"),
            Mss::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// The port part of a VIP's key. Protocol and port(s) come together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VipPort {
    /// Transport protocol.
    pub protocol: Spanned<Protocol>,
    /// One port or a range.
    pub ports: Spanned<PortRange>,
}

/// What names a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VipKey {
    /// The VIP's prefix, host bits cleared.
    pub prefix: Spanned<Prefix>,
    /// Protocol and port(s); `None` is an all-port VIP.
    pub port: Option<VipPort>,
}

impl VipKey {
    /// Can the two not be there together? One port inside a range can: it goes first. So can VIPs of
    /// different prefixes, and an all-port VIP beside others.
    pub fn conflicts(&self, other: &VipKey) -> bool {
        let ports = match (self.port, other.port) {
            (Some(a), Some(b)) => {
                a.protocol == b.protocol
                    && a.ports.overlaps(b.ports.value)
                    && a.ports.is_one() == b.ports.is_one()
            }
            (None, None) => true,
            _ => false,
        };
        self.prefix == other.prefix && ports
    }
}

/// `lb conf`: the words that were given; `None` leaves the setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LbConf {
    /// Source address of IPv4 tunnels.
    pub ip4_src_address: Option<Spanned<Ipv4Addr>>,
    /// Source address of IPv6 tunnels.
    pub ip6_src_address: Option<Spanned<Ipv6Addr>>,
    /// Sticky buckets per worker, a power of two, 1..=2^24. Four flows fit a bucket.
    pub buckets: Option<Spanned<u32>>,
    /// How long flows live, of VIPs that say nothing themselves.
    pub timeouts: FlowTimeouts,
    /// File holding the key of the flow hash.
    pub hash_key_file: Option<Spanned<PathBuf>>,
    /// TTL or hop limit of outer headers, 1..=255.
    pub tunnel_ttl: Option<Spanned<u8>>,
    /// DSCP of outer headers.
    pub tunnel_dscp: Option<Spanned<TunnelDscp>>,
    /// ECN of outer headers.
    pub tunnel_ecn: Option<Spanned<TunnelEcn>>,
    /// Don't-fragment bit of outer IPv4 headers.
    pub tunnel_df: Option<Spanned<TunnelDf>>,
    /// What becomes of packets that are too big once encapsulated.
    pub too_big: Option<Spanned<TooBig>>,
    /// UDP destination port of GUE packets, 1..=65535, host byte order.
    pub gue_port: Option<Spanned<u16>>,
    /// Where IPv4 outer sources come from; a prefix of length 8..=31.
    pub ip4_src_entropy: Option<Spanned<SrcEntropy>>,
    /// Where IPv6 outer sources come from; a prefix of length 16..=127.
    pub ip6_src_entropy: Option<Spanned<SrcEntropy>>,
    /// What packets to unknown ports of a VIP's address get, unless `lb no-match` says otherwise.
    pub no_match: Option<Spanned<NoMatch>>,
}

/// `lb vip` without `del`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LbVipAdd {
    /// What names the VIP.
    pub key: VipKey,
    /// `None` is VPP's default, `gre4`; see [`LbVipAdd::encap`].
    pub encap: Option<Spanned<Encap>>,
    /// DSCP that tells the AS which VIP is meant, 0..=63; given if and only if the encap is l3dsr.
    pub dscp: Option<Spanned<u8>>,
    /// `None` is VPP's default, `clusterip`. `nodeport` comes with a NAT encap and one port.
    pub service_type: Option<Spanned<ServiceType>>,
    /// The port of a node port VIP, 1..=65535; only with type `nodeport`. `None` is the VIP's own
    /// port; see [`LbVipAdd::node_port`].
    pub node_port: Option<Spanned<u16>>,
    /// Port(s) of the ASs: one, or as many as the VIP has. Without a NAT encap they are the VIP's
    /// own. `None` keeps the client's; see [`LbVipAdd::target`].
    pub target_port: Option<Spanned<PortRange>>,
    /// Length of the new-flow table: a power of two or a prime, 1..=2^24. `None` is the default.
    pub new_len: Option<Spanned<u32>>,
    /// Choose the AS by the client's address only.
    pub src_ip_sticky: bool,
    /// `None` is `maglev`.
    pub scheduler: Option<Spanned<Scheduler>>,
    /// `None` is `off`.
    pub mss: Option<Spanned<Mss>>,
    /// How long its flows live, where that is not as everywhere.
    pub timeouts: FlowTimeouts,
    /// A name for people.
    pub name: Option<Spanned<String>>,
}

impl LbVipAdd {
    /// A VIP with nothing but its key.
    pub fn new(key: VipKey) -> LbVipAdd {
        LbVipAdd {
            key,
            encap: None,
            dscp: None,
            service_type: None,
            node_port: None,
            target_port: None,
            new_len: None,
            src_ip_sticky: false,
            scheduler: None,
            mss: None,
            timeouts: FlowTimeouts::default(),
            name: None,
        }
    }

    /// The encap in force.
    pub fn encap(&self) -> Encap {
        self.encap.map_or(Encap::Gre4, |e| e.value)
    }

    /// The service type in force.
    pub fn service_type(&self) -> ServiceType {
        self.service_type.map_or(ServiceType::ClusterIp, |t| t.value)
    }

    /// The port at which clients reach it on our own addresses; `None` unless the type is
    /// `nodeport`.
    pub fn node_port(&self) -> Option<u16> {
        let own = self.key.port.map(|port| port.ports.first());
        let port = self.node_port.map(|port| port.value).or(own);
        port.filter(|_| self.service_type() == ServiceType::NodePort)
    }

    /// The port of the ASs in force.
    pub fn target(&self) -> TargetPort {
        match self.target_port {
            None => TargetPort::Keep,
            Some(ports) if ports.is_one() => TargetPort::One(ports.first()),
            Some(ports) => TargetPort::From(ports.first()),
        }
    }

    /// The scheduler in force.
    pub fn scheduler(&self) -> Scheduler {
        self.scheduler.map_or(Scheduler::Maglev, |s| s.value)
    }

    /// The MSS clamp in force.
    pub fn mss(&self) -> Mss {
        self.mss.map_or(Mss::Off, |mss| mss.value)
    }
}

/// `lb as`.
///
/// With `del`, removes; with `drain` or `undrain`, sets that of those that exist; otherwise adds, and
/// with a `weight`, `encap` or `dscp` also changes those that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LbAs {
    /// The VIP.
    pub vip: VipKey,
    /// The ASs, at least one, no address twice.
    pub addresses: Vec<Spanned<IpAddr>>,
    /// 0..=100; never together with `del` or `admin`. `None` adds at 100.
    pub weight: Option<Spanned<u8>>,
    /// How packets reach these ASs; never together with `del` or `admin`. `None` is the VIP's encap.
    pub encap: Option<Spanned<Encap>>,
    /// Their DSCP, 0..=63, when they are reached by l3dsr. `None` is the VIP's.
    pub dscp: Option<Spanned<u8>>,
    /// `drain`, `drain then del`, `undrain`; never together with `del`.
    pub admin: Option<Spanned<Admin>>,
    /// Remove instead of add.
    pub del: bool,
    /// Move the existing flows of these ASs at once.
    pub flush: bool,
}

/// `lb no-match <prefix>`: what packets get that are for a VIP's address inside `prefix` but for no
/// VIP. The longest prefix decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LbNoMatch {
    /// The addresses meant, host bits clear.
    pub prefix: Spanned<Prefix>,
    /// What they get; `None` takes the prefix's policy away.
    pub policy: Option<Spanned<NoMatch>>,
}
