//! How outer headers are filled: `lb conf …`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is done about a packet that is too big with its outer header and may be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooBig {
    /// It is dropped.
    Drop,
    /// The outer packet is fragmented.
    Fragment,
}

/// The outer don't-fragment bit of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterDf {
    /// As the inner packet's; set for IPv6 inside.
    Copy,
    /// Always set.
    Set,
    /// Never set.
    Clear,
}

/// Outer headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelSettings {
    /// Outer IPv4 source; `None`: an address of the interface towards the AS.
    pub source4: Option<Ipv4Addr>,
    /// Outer IPv6 source.
    pub source6: Option<Ipv6Addr>,
    /// Outer TTL or hop limit.
    pub ttl: u8,
    /// Outer DSCP; `None`: the inner one.
    pub dscp: Option<u8>,
    /// The inner ECN field is copied (RFC 6040 §4.1, normal mode), else it is 0.
    pub ecn: bool,
    /// Outer DF.
    pub df: OuterDf,
    /// Too big.
    pub too_big: TooBig,
    /// UDP destination port of GUE.
    pub gue_port: u16,
}

impl Default for TunnelSettings {
    fn default() -> Self {
        Self {
            source4: None,
            source6: None,
            ttl: 64,
            dscp: None,
            ecn: true,
            df: OuterDf::Copy,
            too_big: TooBig::Drop,
            gue_port: 6080,
        }
    }
}

impl TunnelSettings {
    /// The configured source of this family.
    pub fn source(&self, v6: bool) -> Option<IpAddr> {
        if v6 { self.source6.map(IpAddr::V6) } else { self.source4.map(IpAddr::V4) }
    }
}
