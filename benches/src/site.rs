//! The bench's network: who has which address.
//!
//! In both families the last four bytes of an address tell hosts of a kind apart, so that packets are
//! made from a template in which only those are filled in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::interface::MacAddress;

use crate::family::Family;

/// The VIP that all packets of IPv4 clients are for.
pub const VIP: Ipv4Addr = Ipv4Addr::new(90, 0, 0, 1);
/// The VIP that all packets of IPv6 clients are for.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x90, 0, 0, 0, 0, 1);
/// Its port.
pub const VIP_PORT: u16 = 20_000;
/// The port of the ASs behind NAT.
pub const SERVER_PORT: u16 = 3307;
/// The AS with number 0; the others follow.
pub const FIRST_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The same over IPv6.
const FIRST_SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// IPv6 clients: the last four bytes are those of the IPv4 client of the same flow.
const CLIENTS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x16, 0, 0, 0, 0, 0);
/// The DSCP of `l3dsr`.
pub const DSCP: u8 = 7;
/// Most ASs.
pub const SERVERS_MAX: u16 = 1000;
/// The station that packets come from, as far as Ethernet is concerned.
pub const PEER_MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0xaa]);

/// The VIP of a family.
pub fn vip(family: Family) -> IpAddr {
    match family {
        Family::Ip4 => VIP.into(),
        Family::Ip6 => VIP6.into(),
    }
}

/// The addresses of further VIPs, which have no traffic.
pub fn idle_vip(number: u16, family: Family) -> IpAddr {
    let bits = 1 << 16 | u32::from(number);
    match family {
        Family::Ip4 => Ipv4Addr::from_bits(0x5a00_0000 | bits).into(),
        Family::Ip6 => Ipv6Addr::from_bits(VIP6.to_bits() & !0xffff | u128::from(bits)).into(),
    }
}

/// The address of an AS.
pub fn server_address(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST_SERVER.to_bits() + u32::from(number))
}

/// The address of an AS that is reached over IPv6.
pub fn server_address6(number: u16) -> Ipv6Addr {
    Ipv6Addr::from_bits(FIRST_SERVER6.to_bits() + u128::from(number))
}

/// The address of an AS in a family.
pub fn server(number: u16, family: Family) -> IpAddr {
    match family {
        Family::Ip4 => server_address(number).into(),
        Family::Ip6 => server_address6(number).into(),
    }
}

/// The number of the AS with this address, if it can be one.
pub fn server_number(address: IpAddr) -> Option<u16> {
    match address {
        IpAddr::V4(address) => {
            address.to_bits().checked_sub(FIRST_SERVER.to_bits())?.try_into().ok()
        }
        IpAddr::V6(address) => {
            address.to_bits().checked_sub(FIRST_SERVER6.to_bits())?.try_into().ok()
        }
    }
}

/// The Ethernet address of an AS.
pub fn server_mac(number: u16) -> MacAddress {
    let [high, low] = number.to_be_bytes();
    MacAddress([0x02, 0, 0, 0x01, high, low])
}

/// The IPv6 address of the client that has this IPv4 address.
pub fn client6(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(CLIENTS6.to_bits() | u128::from(address.to_bits()))
}

/// The IPv4 address of a client in either family; `None` for IPv6 addresses of others.
pub fn client4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => {
            let low = Ipv4Addr::from_bits(address.to_bits() as u32);
            (client6(low) == address).then_some(low)
        }
    }
}

/// The last four bytes of an address.
#[inline]
pub fn low_bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_their_address() {
        for family in [Family::Ip4, Family::Ip6] {
            for number in [0, 1, 255, 256, SERVERS_MAX] {
                assert_eq!(server_number(server(number, family)), Some(number));
            }
            assert_eq!(server_number(vip(family)), None);
        }
        assert_eq!(server_number("10.0.0.0".parse().unwrap()), None);
    }

    #[test]
    fn idle_vips_are_others() {
        assert_eq!(idle_vip(0x0203, Family::Ip4), "90.1.2.3".parse::<IpAddr>().unwrap());
        let six = idle_vip(0x0203, Family::Ip6);
        assert_eq!(six, "2001:db8:90::1:203".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn clients_have_an_address_in_each_family() {
        let address = Ipv4Addr::new(16, 1, 2, 3);
        assert_eq!(client6(address), "2001:db8:16::1001:203".parse::<Ipv6Addr>().unwrap());
        assert_eq!(client4(client6(address).into()), Some(address));
        assert_eq!(client4(address.into()), Some(address));
        assert_eq!(client4(VIP6.into()), None);
        assert_eq!(low_bits(client6(address).into()), address.to_bits());
    }
}
