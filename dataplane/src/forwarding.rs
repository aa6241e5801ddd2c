//! How packets travel to ASs: the method of each, and what outer headers say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::adjacency::AdjacencyId;

/// How a packet for an AS is changed on its way (`encap` in commands). The family of the outer
/// header is that of the AS's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GRE without key and checksum (RFC 2784).
    Gre,
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213).
    Ipip,
    /// The packet in UDP: GUE variant 1 (draft-ietf-intarea-gue §4), source port from the flow.
    Gue,
    /// The destination becomes the AS, and the DSCP, 0..=63, tells it the VIP.
    L3dsr {
        /// The DSCP, 0..=63.
        dscp: u8,
    },
    /// Only the link-layer header changes.
    DirectRouting,
    /// The destination becomes the AS, the port the VIP's target port; replies come back to us.
    Nat,
}

impl Method {
    /// Whether the packet is routed on as it is, so that it loses a hop; the others carry it whole.
    #[inline]
    pub const fn takes_hop(self) -> bool {
        matches!(self, Self::L3dsr { .. } | Self::Nat)
    }

    /// Bytes that the method puts in front of the packet when the outer header is IPv6 (`outer6`)
    /// or IPv4.
    #[inline]
    pub const fn overhead(self, outer6: bool) -> u16 {
        let ip = if outer6 { 40 } else { 20 };
        match self {
            Self::Gre => ip + 4,
            Self::Ipip => ip,
            Self::Gue => ip + 8,
            Self::L3dsr { .. } | Self::DirectRouting | Self::Nat => 0,
        }
    }
}

/// The way to an AS, resolved on the FIB without the load balancer's own entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerPath {
    /// The next hop; `None` when there is no route.
    pub adjacency: Option<AdjacencyId>,
    /// How packets travel.
    pub method: Method,
    /// The AS's address.
    pub address: IpAddr,
    /// Source of outer headers, of the family of `address`; `None` when no address of ours can
    /// serve, and then packets that need an outer header are dropped.
    pub tunnel_source: Option<IpAddr>,
}

/// What the DSCP of an outer header says (`lb conf tunnel-dscp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelDscp {
    /// That of the inner packet.
    Copy,
    /// Always this, 0..=63.
    Fixed(u8),
}

/// How the ECN field of an outer header is set (`lb conf tunnel-ecn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEcn {
    /// That of the inner packet (RFC 6040 §4.1, normal mode).
    Rfc6040,
    /// Not ECN-capable (RFC 6040 §4.1, compatibility mode).
    Zero,
}

/// How the DF bit of an outer IPv4 header is set (`lb conf tunnel-df`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelDf {
    /// That of the inner packet; set when it is IPv6.
    Copy,
    /// Always set.
    Set,
    /// Never set.
    Clear,
}

/// What becomes of a packet that does not fit the link with its outer header and may be fragmented
/// (`lb conf too-big`). One that may not is answered with an ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooBig {
    /// Dropped and counted.
    Drop,
    /// The outer packet is fragmented.
    Fragment,
}

/// A prefix in which the host bits of outer sources vary with the flow (`lb conf
/// ip4-src-entropy`), so that servers and switches spread tunnels by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entropy<A> {
    /// Network address, host bits clear.
    pub network: A,
    /// Its length, at most 31 or 127.
    pub prefix_len: u8,
}

/// What all outer headers have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelPolicy {
    /// TTL or hop limit, 1..=255.
    pub ttl: u8,
    /// DSCP.
    pub dscp: TunnelDscp,
    /// ECN.
    pub ecn: TunnelEcn,
    /// DF.
    pub df: TunnelDf,
    /// Packets that do not fit.
    pub too_big: TooBig,
    /// Destination port of GUE, host byte order.
    pub gue_port: u16,
    /// Source of outer IPv4 headers (`lb conf ip4-src-address`), where one is set.
    pub source4: Option<Ipv4Addr>,
    /// Source of outer IPv6 headers (`lb conf ip6-src-address`), where one is set.
    pub source6: Option<Ipv6Addr>,
    /// IPv4 sources.
    pub entropy4: Option<Entropy<Ipv4Addr>>,
    /// IPv6 sources.
    pub entropy6: Option<Entropy<Ipv6Addr>>,
}

impl Default for TunnelPolicy {
    fn default() -> Self {
        Self {
            ttl: 64,
            dscp: TunnelDscp::Copy,
            ecn: TunnelEcn::Rfc6040,
            df: TunnelDf::Copy,
            too_big: TooBig::Drop,
            gue_port: 6080,
            source4: None,
            source6: None,
            entropy4: None,
            entropy6: None,
        }
    }
}

impl TunnelPolicy {
    /// The prefixes of the addresses that outer IPv4 headers have as their source wherever the AS is: network
    /// and length. The FIB is to [care for](crate::fib::Fib4::caring_for) them.
    pub fn sources4(&self) -> impl Iterator<Item = (Ipv4Addr, u8)> {
        let own = self.source4.map(|address| (address, 32));
        own.into_iter().chain(self.entropy4.map(|entropy| (entropy.network, entropy.prefix_len)))
    }

    /// The same of IPv6.
    pub fn sources6(&self) -> impl Iterator<Item = (Ipv6Addr, u8)> {
        let own = self.source6.map(|address| (address, 128));
        own.into_iter().chain(self.entropy6.map(|entropy| (entropy.network, entropy.prefix_len)))
    }

    /// True for an IPv4 address that outer headers have as their source wherever the AS is.
    #[inline]
    pub fn is_source4(&self, address: Ipv4Addr) -> bool {
        let inside = |entropy: Entropy<Ipv4Addr>| {
            let host_bits = 32 - u32::from(entropy.prefix_len.min(32));
            let differing = entropy.network.to_bits() ^ address.to_bits();
            differing.checked_shr(host_bits).unwrap_or(0) == 0
        };
        self.source4 == Some(address) || self.entropy4.is_some_and(inside)
    }

    /// True for an IPv6 address that outer headers have as their source wherever the AS is.
    #[inline]
    pub fn is_source6(&self, address: Ipv6Addr) -> bool {
        let inside = |entropy: Entropy<Ipv6Addr>| {
            let host_bits = 128 - u32::from(entropy.prefix_len.min(128));
            let differing = entropy.network.to_bits() ^ address.to_bits();
            differing.checked_shr(host_bits).unwrap_or(0) == 0
        };
        self.source6 == Some(address) || self.entropy6.is_some_and(inside)
    }
}

/// What becomes of a packet to an address with VIPs, none of which takes it (`lb no-match`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NoMatch {
    /// Dropped and counted.
    #[default]
    Drop,
    /// TCP is answered with a RST (RFC 9293 §3.10.7.1), the rest is dropped.
    Reset,
    /// Answered with an ICMP port unreachable.
    Icmp,
    /// Given to the kernel, through the `[punt]` tap.
    Punt,
}

/// What is done to the maximum segment size that SYNs to a VIP announce (`mss`). It is only ever
/// lowered, and with NAT that of the ASs' SYN-ACKs as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MssClamp {
    /// Nothing.
    #[default]
    Keep,
    /// It becomes what fits the way to the flow's AS in one packet: the link's MTU less the outer
    /// header, if any, and the IP and TCP headers without options.
    Auto,
    /// It becomes at most this, in bytes.
    At(u16),
}

/// What the workers need to know of a VIP beyond the balancer's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipPolicy {
    /// Segment sizes.
    pub mss: MssClamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_one_address_or_a_prefix() {
        let one = Ipv4Addr::new(192, 0, 2, 1);
        let network = Ipv4Addr::new(10, 9, 0, 0);
        let mut policy = TunnelPolicy::default();
        assert!(!policy.is_source4(one) && !policy.is_source6(Ipv6Addr::LOCALHOST));
        policy.source4 = Some(one);
        policy.entropy4 = Some(Entropy { network, prefix_len: 16 });
        assert!(policy.is_source4(one) && policy.is_source4(Ipv4Addr::new(10, 9, 255, 1)));
        assert!(!policy.is_source4(Ipv4Addr::new(10, 10, 0, 1)));
        policy.source6 = Some(Ipv6Addr::LOCALHOST);
        let network = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
        policy.entropy6 = Some(Entropy { network, prefix_len: 64 });
        assert!(policy.is_source6(Ipv6Addr::LOCALHOST));
        assert!(policy.is_source6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 9, 9, 9, 9)));
        assert!(!policy.is_source6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0)));
    }

    #[test]
    fn overheads_are_the_lengths_of_the_outer_headers() {
        assert_eq!([false, true].map(|v6| Method::Gre.overhead(v6)), [24, 44]);
        assert_eq!([false, true].map(|v6| Method::Ipip.overhead(v6)), [20, 40]);
        assert_eq!([false, true].map(|v6| Method::Gue.overhead(v6)), [28, 48]);
        assert_eq!(Method::Nat.overhead(true), 0);
        assert!(Method::L3dsr { dscp: 7 }.takes_hop() && !Method::DirectRouting.takes_hop());
    }
}
