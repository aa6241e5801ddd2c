//! Prefixes of both families.

use std::net::{IpAddr, Ipv6Addr};

use dataplane::interface::InterfaceAddress;

/// The prefix of link-local IPv6 addresses (RFC 4291 §2.5.6).
pub const LINK_LOCAL: Network =
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), prefix_len: 10 };

/// An IP prefix with its host bits cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// Network address.
    pub address: IpAddr,
    /// At most 32 or 128.
    pub prefix_len: u8,
}

/// Bits of an address of this family.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `address` with all bits behind the first `len` cleared, or set.
fn fill(address: IpAddr, len: u8, set: bool) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            let bits = address.to_bits();
            IpAddr::V4((if set { bits | host } else { bits & !host }).into())
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            let bits = address.to_bits();
            IpAddr::V6((if set { bits | host } else { bits & !host }).into())
        }
    }
}

impl Network {
    /// `address/prefix_len`, host bits cleared; a length beyond the family's counts as all bits.
    pub fn new(address: IpAddr, prefix_len: u8) -> Self {
        let prefix_len = prefix_len.min(bits(address));
        Self { address: fill(address, prefix_len, false), prefix_len }
    }

    /// The network of one address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix_len: bits(address) }
    }

    /// The network of an interface address.
    pub fn of(own: InterfaceAddress) -> Self {
        Self::new(own.address, own.prefix_len)
    }

    /// True for /32 and /128.
    pub fn is_host(self) -> bool {
        self.prefix_len == bits(self.address)
    }

    /// True when `address` lies in it; never across families.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && fill(address, self.prefix_len, false) == self.address
    }

    /// True when all of `other` lies in it.
    pub fn covers(self, other: Self) -> bool {
        self.prefix_len <= other.prefix_len && self.contains(other.address)
    }

    /// True when the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Its highest address: the broadcast address of an IPv4 network of /30 or shorter.
    pub fn last(self) -> IpAddr {
        fill(self.address, self.prefix_len, true)
    }

    /// Its addresses, if they are no more than `most`; else none.
    pub fn addresses(self, most: u128) -> impl Iterator<Item = IpAddr> {
        let host_bits = u32::from(bits(self.address) - self.prefix_len);
        let count = 1_u128.checked_shl(host_bits).unwrap_or(u128::MAX);
        let network = self.address;
        (0..if count <= most { count } else { 0 }).map(move |host| match network {
            IpAddr::V4(network) => IpAddr::V4((network.to_bits() | host as u32).into()),
            IpAddr::V6(network) => IpAddr::V6((network.to_bits() | host).into()),
        })
    }

    /// True when a host of this network can have `address`. Network and broadcast address are no
    /// host's in IPv4, except that /31 (RFC 3021) and /32 have none; IPv6 has no broadcast.
    pub fn is_host_address(self, address: IpAddr) -> bool {
        let special = address.is_ipv4()
            && self.prefix_len < 31
            && (address == self.address || address == self.last());
        self.contains(address) && !special
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        let (address, len) = text.split_once('/').unwrap();
        Network::new(address.parse().unwrap(), len.parse().unwrap())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_broadcast_and_overlap() {
        let net = network("10.1.2.3/24");
        assert_eq!(net.to_string(), "10.1.2.0/24");
        assert_eq!(net.last(), ip("10.1.2.255"));
        assert!(!net.is_host_address(net.last()) && !net.is_host_address(net.address));
        assert!(network("10.1.2.4/31").is_host_address(ip("10.1.2.5")));
        assert!(network("0.0.0.0/0").overlaps(net) && net.overlaps(network("10.1.2.9/32")));
        assert!(!net.overlaps(network("10.1.3.0/24")));
        assert_eq!(network("0.0.0.0/0").last(), ip("255.255.255.255"));
    }

    #[test]
    fn small_networks_are_listed() {
        let all: Vec<_> = network("10.0.0.4/30").addresses(16).map(|a| a.to_string()).collect();
        assert_eq!(all, ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"]);
        assert_eq!(
            network("2001:db8::7/128").addresses(1).collect::<Vec<_>>(),
            [ip("2001:db8::7")]
        );
        assert_eq!(network("::/0").addresses(16).count(), 0);
        assert_eq!(network("10.0.0.0/27").addresses(16).count(), 0);
    }

    #[test]
    fn ipv6_has_no_broadcast_and_families_do_not_meet() {
        let net = network("2001:db8::77/64");
        assert_eq!(net.to_string(), "2001:db8::/64");
        assert_eq!(net.last(), ip("2001:db8::ffff:ffff:ffff:ffff"));
        assert!(net.is_host_address(net.last()) && net.is_host_address(net.address));
        assert!(network("::/0").covers(net) && !net.covers(network("::/0")));
        assert!(
            !network("::/0").contains(ip("1.2.3.4")) && !network("0.0.0.0/0").contains(ip("::"))
        );
        assert!(network("2001:db8::1/128").is_host() && !net.is_host());
        assert!(LINK_LOCAL.contains(ip("fe80::1")) && !LINK_LOCAL.contains(ip("fec0::1")));
        assert_eq!(Network::new(ip("10.0.0.1"), 99), Network::host(ip("10.0.0.1")));
    }
}
