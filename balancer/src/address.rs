//! The two address families as one type parameter.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address. Code that is generic over it is compiled once for each family, so
/// neither pays for the other.
pub trait Address:
    Copy + Eq + Ord + Hash + Debug + Display + Send + Sync + Into<IpAddr> + 'static
{
    /// Whether this is IPv6.
    const IS_V6: bool;

    /// The bits of an address: 32 or 128.
    const BITS: u8;

    /// The address, if it is of this family.
    fn from_ip(address: IpAddr) -> Option<Self>;

    /// The address as a number, in the low bits.
    fn bits(self) -> u128;

    /// The address as packets have it, read as a number whose low end comes first: to hash it, or to
    /// compare it, no byte need change its place.
    fn wire_bits(self) -> u128;

    /// The address with this number; bits above [`BITS`](Self::BITS) are ignored.
    fn from_bits(bits: u128) -> Self;
}

impl Address for Ipv4Addr {
    const IS_V6: bool = false;
    const BITS: u8 = 32;

    #[inline(always)]
    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    #[inline(always)]
    fn bits(self) -> u128 {
        u128::from(self.to_bits())
    }

    #[inline(always)]
    fn wire_bits(self) -> u128 {
        u128::from(u32::from_le_bytes(self.octets()))
    }

    #[inline(always)]
    fn from_bits(bits: u128) -> Self {
        Self::from(bits as u32)
    }
}

impl Address for Ipv6Addr {
    const IS_V6: bool = true;
    const BITS: u8 = 128;

    #[inline(always)]
    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        }
    }

    #[inline(always)]
    fn bits(self) -> u128 {
        self.to_bits()
    }

    #[inline(always)]
    fn wire_bits(self) -> u128 {
        u128::from_le_bytes(self.octets())
    }

    #[inline(always)]
    fn from_bits(bits: u128) -> Self {
        Self::from(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_their_bits_and_know_their_family() {
        let v4 = Ipv4Addr::new(10, 0, 255, 1);
        let v6: Ipv6Addr = "2001:db8::ffff:1".parse().unwrap();
        assert_eq!(<Ipv4Addr as Address>::from_bits(Address::bits(v4)), v4);
        assert_eq!(<Ipv6Addr as Address>::from_bits(Address::bits(v6)), v6);
        assert_eq!((v4.wire_bits(), v6.wire_bits() as u32), (0x01ff_000a, 0xb80d_0120));
        assert_eq!(Ipv4Addr::from_ip(v4.into()), Some(v4));
        assert_eq!(Ipv4Addr::from_ip(v6.into()), None);
        assert_eq!(Ipv6Addr::from_ip(v6.into()), Some(v6));
        // A mapped address is an IPv6 address all the same.
        assert_eq!(Ipv6Addr::from_ip(v4.into()), None);
    }
}
