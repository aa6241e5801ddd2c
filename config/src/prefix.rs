//! IP prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IP address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    Ip4,
    /// IPv6.
    Ip6,
}

impl Family {
    /// The family of `address`.
    pub const fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::Ip4,
            IpAddr::V6(_) => Family::Ip6,
        }
    }

    /// Bits in an address of this family: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Family::Ip4 => 32,
            Family::Ip6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ip4 => "IPv4",
            Family::Ip6 => "IPv6",
        })
    }
}

/// An address and a prefix length, as `10.10.2.2/32`.
///
/// The bits below the length are kept as written, because an interface address needs them
/// (`192.168.1.254/24`); [`Prefix::network`] clears them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// `address/length`; `None` if the length exceeds what the family has.
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        (length <= Family::of(address).bits()).then_some(Prefix { address, length })
    }

    /// The prefix of one address: /32 or /128.
    pub fn host(address: IpAddr) -> Prefix {
        Prefix { address, length: Family::of(address).bits() }
    }

    /// The address as written, host bits included.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Number of leading bits that count: 0..=32 or 0..=128.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The address family.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// Is this a single address?
    pub fn is_host(&self) -> bool {
        self.length == self.family().bits()
    }

    /// The same prefix with its host bits cleared.
    #[must_use]
    pub fn network(&self) -> Prefix {
        let address = match self.address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
        };
        Prefix { address, length: self.length }
    }

    /// Is `address` inside this prefix? Never true across families.
    pub fn contains(&self, address: IpAddr) -> bool {
        Prefix::new(address, self.length)
            .is_some_and(|p| p.family() == self.family() && p.network() == self.network())
    }

    /// Do the two prefixes share an address?
    pub fn overlaps(&self, other: &Prefix) -> bool {
        self.contains(other.network().address) || other.contains(self.network().address)
    }

    /// The highest address, which for an IPv4 subnet of length 30 or less is its broadcast address.
    pub fn last(&self) -> IpAddr {
        match self.network().address {
            IpAddr::V4(a) => {
                let host = u32::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() | host))
            }
            IpAddr::V6(a) => {
                let host = u128::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() | host))
            }
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// Why a text is not a [`Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The part before the slash is no IP address.
    #[error("`address/length` expected, such as 10.10.2.2/32")]
    NotAnAddress,
    /// There is no `/length`.
    #[error("the prefix length is missing")]
    NoLength,
    /// The length is no number, or more than the family has bits.
    #[error("the prefix length must be between 0 and {max}")]
    BadLength {
        /// 32 or 128.
        max: u8,
    },
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::NotAnAddress)?;
        let length = length.ok_or(PrefixError::NoLength)?;
        let bad = PrefixError::BadLength { max: Family::of(address).bits() };
        // `str::parse` would take "+8".
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad);
        }
        length.parse().ok().and_then(|length| Prefix::new(address, length)).ok_or(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_kept_until_asked_to_go() {
        assert_eq!(prefix("192.168.1.254/24").to_string(), "192.168.1.254/24");
        assert_eq!(prefix("192.168.1.254/24").network().to_string(), "192.168.1.0/24");
        assert_eq!(prefix("1.2.3.4/0").network().to_string(), "0.0.0.0/0");
        assert_eq!(prefix("2001:db8::1/32").network().to_string(), "2001:db8::/32");
        assert_eq!(prefix("2001:db8::1/0").network().to_string(), "::/0");
    }

    #[test]
    fn containment_and_overlap_never_cross_families() {
        assert!(prefix("10.0.0.0/8").contains("10.255.0.1".parse().unwrap()));
        assert!(!prefix("10.0.0.0/8").contains("11.0.0.1".parse().unwrap()));
        assert!(!prefix("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(prefix("10.0.0.0/8").overlaps(&prefix("10.1.0.0/16")));
        assert!(prefix("10.1.0.0/16").overlaps(&prefix("10.0.0.0/8")));
        assert!(!prefix("10.1.0.0/16").overlaps(&prefix("10.2.0.0/16")));
        assert!(!prefix("::/0").overlaps(&prefix("10.2.0.0/16")));
    }

    #[test]
    fn last_address() {
        assert_eq!(prefix("10.1.2.3/24").last().to_string(), "10.1.2.255");
        assert_eq!(prefix("10.1.2.3/32").last().to_string(), "10.1.2.3");
        assert_eq!(prefix("0.0.0.0/0").last().to_string(), "255.255.255.255");
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        assert_eq!("foo/8".parse::<Prefix>(), Err(PrefixError::NotAnAddress));
        assert_eq!("10.0.0.1".parse::<Prefix>(), Err(PrefixError::NoLength));
        assert_eq!("10.0.0.1/33".parse::<Prefix>(), Err(PrefixError::BadLength { max: 32 }));
        assert_eq!("10.0.0.1/+8".parse::<Prefix>(), Err(PrefixError::BadLength { max: 32 }));
        assert_eq!("::1/129".parse::<Prefix>(), Err(PrefixError::BadLength { max: 128 }));
    }
}
