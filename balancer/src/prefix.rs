//! Address prefixes, of either family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address prefix. The host bits of `network` are clear; [`Prefix::new`] sees to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The first address.
    pub network: IpAddr,
    /// The length in bits: up to 32, or up to 128 for IPv6.
    pub len: u8,
}

impl Prefix {
    /// The prefix of this length that holds `address`; `None` when the length is too large.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let network = match address {
            IpAddr::V4(v4) if len <= 32 => {
                Ipv4Addr::from(v4.to_bits() & mask(32, len) as u32).into()
            }
            IpAddr::V6(v6) if len <= 128 => Ipv6Addr::from(v6.to_bits() & mask(128, len)).into(),
            _ => return None,
        };
        Some(Self { network, len })
    }

    /// The prefix of one address.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self { network: address, len: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether it is IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.network.is_ipv6()
    }

    /// Whether it holds one address only.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.len == if self.is_v6() { 128 } else { 32 }
    }

    /// Whether it holds the address, which is in no prefix of the other family.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.len).is_some_and(|other| other == *self)
    }

    /// Whether it holds all of the other.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(other.network)
    }
}

/// The mask of a prefix in the low `bits` bits.
fn mask(bits: u8, len: u8) -> u128 {
    let all = u128::MAX >> (128 - bits);
    all & !all.checked_shr(u32::from(len)).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, len: u8) -> Prefix {
        Prefix::new(address.parse().unwrap(), len).unwrap()
    }

    #[test]
    fn host_bits_are_cleared_at_every_length() {
        assert_eq!(prefix("10.1.2.3", 8).to_string(), "10.0.0.0/8");
        assert_eq!(prefix("10.1.2.3", 32), Prefix::host("10.1.2.3".parse().unwrap()));
        assert_eq!(prefix("10.1.2.3", 0).to_string(), "0.0.0.0/0");
        assert_eq!(prefix("2001:db8:1::1", 33).to_string(), "2001:db8::/33");
        assert_eq!(prefix("2001:db8::1", 0).to_string(), "::/0");
        assert!(prefix("2001:db8::1", 128).is_host());
        assert_eq!(Prefix::new("10.0.0.0".parse().unwrap(), 33), None);
        assert_eq!(Prefix::new("::".parse().unwrap(), 129), None);
    }

    #[test]
    fn prefixes_hold_what_is_in_them() {
        let wide = prefix("10.0.0.0", 8);
        assert!(wide.contains("10.255.0.1".parse().unwrap()));
        assert!(!wide.contains("11.0.0.0".parse().unwrap()));
        assert!(!prefix("0.0.0.0", 0).contains("::".parse().unwrap()), "of the other family");
        assert!(wide.covers(&prefix("10.2.0.0", 16)) && wide.covers(&wide));
        assert!(!prefix("10.2.0.0", 16).covers(&wide));
    }
}
