//! The operands of the `lb` commands.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crate::{Family, Prefix, Spanned};

/// A transport protocol a per-port VIP can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Protocol {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    /// The word the CLI and TOML use.
    pub const fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How packets travel from the load balancer to an AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encap {
    /// GRE over IPv4: VPP's default.
    Gre4,
    /// GRE over IPv6.
    Gre6,
    /// Layer-3 direct server return: the destination is rewritten, the DSCP names the VIP.
    L3dsr,
    /// Destination NAT to an IPv4 AS.
    Nat4,
    /// Destination NAT to an IPv6 AS.
    Nat6,
}

impl Encap {
    /// Every encap, in the order VPP's help lists them.
    pub const ALL: [Encap; 5] = [Encap::Gre6, Encap::Gre4, Encap::L3dsr, Encap::Nat4, Encap::Nat6];

    /// The word the CLI and TOML use.
    pub const fn word(self) -> &'static str {
        match self {
            Encap::Gre4 => "gre4",
            Encap::Gre6 => "gre6",
            Encap::L3dsr => "l3dsr",
            Encap::Nat4 => "nat4",
            Encap::Nat6 => "nat6",
        }
    }

    /// Does this encap translate addresses, and so need a port and a target port?
    pub const fn is_nat(self) -> bool {
        matches!(self, Encap::Nat4 | Encap::Nat6)
    }

    /// The family an AS of a VIP with this encap must have.
    pub const fn as_family(self) -> Family {
        match self {
            Encap::Gre4 | Encap::L3dsr | Encap::Nat4 => Family::Ip4,
            Encap::Gre6 | Encap::Nat6 => Family::Ip6,
        }
    }
}

impl fmt::Display for Encap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The service type of a NAT VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// The VIP address and port are what clients use: VPP's default.
    ClusterIp,
    /// Clients use any address of the load balancer, at the VIP's port.
    NodePort,
}

impl ServiceType {
    /// The word the CLI and TOML use.
    pub const fn word(self) -> &'static str {
        match self {
            ServiceType::ClusterIp => "clusterip",
            ServiceType::NodePort => "nodeport",
        }
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The port part of a VIP's key. Protocol and port come together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VipPort {
    /// Transport protocol.
    pub protocol: Spanned<Protocol>,
    /// Port, 1..=65535, host byte order.
    pub port: Spanned<u16>,
}

/// What names a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VipKey {
    /// The VIP's prefix, host bits cleared.
    pub prefix: Spanned<Prefix>,
    /// Protocol and port; `None` is an all-port VIP.
    pub port: Option<VipPort>,
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
    /// Idle time of UDP and half-open TCP flows, seconds.
    pub timeout_s: Option<Spanned<u32>>,
    /// Idle time of established TCP flows, seconds.
    pub tcp_established_timeout_s: Option<Spanned<u32>>,
    /// Idle time of TCP flows that have seen FIN or RST, seconds.
    pub tcp_closing_timeout_s: Option<Spanned<u32>>,
    /// File holding the key of the flow hash.
    pub hash_key_file: Option<Spanned<PathBuf>>,
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
    /// `None` is VPP's default, `clusterip`.
    pub service_type: Option<Spanned<ServiceType>>,
    /// Port of the ASs, 1..=65535; only with a NAT encap. `None` is the VIP's own port; see
    /// [`LbVipAdd::target_port`].
    pub target_port: Option<Spanned<u16>>,
    /// Length of the new-flow table: a power of two or a prime, 1..=2^24. `None` is the default.
    pub new_len: Option<Spanned<u32>>,
    /// Choose the AS by the client's address only.
    pub src_ip_sticky: bool,
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
            target_port: None,
            new_len: None,
            src_ip_sticky: false,
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

    /// The port of the ASs in force; `None` on an all-port VIP, which keeps the packet's port.
    pub fn target_port(&self) -> Option<u16> {
        self.target_port.map(|p| p.value).or(self.key.port.map(|p| p.port.value))
    }
}

/// `lb as`.
///
/// With `del`, removes; otherwise adds, and with a `weight` also re-weights those that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LbAs {
    /// The VIP.
    pub vip: VipKey,
    /// The ASs, at least one, no address twice.
    pub addresses: Vec<Spanned<IpAddr>>,
    /// 0..=100; never together with `del`. `None` adds at 100.
    pub weight: Option<Spanned<u8>>,
    /// Remove instead of add.
    pub del: bool,
    /// Move the existing flows of these ASs at once.
    pub flush: bool,
}
