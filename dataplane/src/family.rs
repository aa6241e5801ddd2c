//! [`Family`]: IPv4 or IPv6, as a type parameter. A node has one body for both.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::care_map::Marks;
use crate::fib::FibEntry;
use crate::forwarding::TunnelPolicy;
use crate::interface::Interface;
use crate::snapshot::Snapshot;
use crate::wire::checksum::SummedAddress;
use crate::wire::ethernet::ether_type;
use crate::wire::ip::IpHeader;
use crate::wire::ipv4::{Ipv4Header, protocol};
use crate::wire::ipv6::Ipv6Header;

/// An address family and what nodes need to know of it.
pub trait Family: Copy + Debug + Default + Send + Sync + 'static {
    /// Addresses.
    type Address: SummedAddress + balancer::Address;
    /// The fixed part of the header.
    type Header: IpHeader<Address = Self::Address>;

    /// True for IPv6.
    const V6: bool;
    /// What Ethernet calls it.
    const ETHER_TYPE: u16;
    /// The protocol number of its ICMP.
    const ICMP: u8;

    /// The address, if it is of this family.
    fn address(address: IpAddr) -> Option<Self::Address>;

    /// Whether replies of NAT ASs arrive on the interface (`lb set interface nat4|nat6 in`).
    fn nat_in(interface: &Interface) -> bool;

    /// The interface's own address to speak to `target` from.
    fn source(interface: &Interface, target: Self::Address) -> Option<Self::Address>;

    /// What the FIB says of a destination.
    fn lookup(snapshot: &Snapshot, address: Self::Address) -> FibEntry;

    /// The first and the last of the addresses around this one of which the FIB surely says the same.
    /// IPv4's knows of none: to ask it is as cheap as to remember what it said.
    fn around(snapshot: &Snapshot, address: Self::Address) -> (Self::Address, Self::Address);

    /// False when `address` is surely in no local, VIP or broadcast prefix of the FIB, and no
    /// [source of outer headers](Self::is_tunnel_source), but for IPv6 groups, which are no sources.
    #[inline(always)]
    fn may_be_ours(snapshot: &Snapshot, address: Self::Address) -> bool {
        Self::marks(snapshot).may_hold(address)
    }

    /// The same for a loop over packets.
    fn marks(snapshot: &Snapshot) -> Marks<'_>;

    /// True when routers must not fragment the packet, as they never may in IPv6.
    fn dont_fragment(header: &Self::Header) -> bool;

    /// True for an address that our outer headers have as their source.
    fn is_tunnel_source(policy: &TunnelPolicy, address: Self::Address) -> bool;

    /// True for an address that is good on its link alone (RFC 4291 §2.5.6), which IPv4 does not
    /// tell apart.
    fn is_link_local(address: Self::Address) -> bool;
}

/// IPv4.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ip4;

/// IPv6.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ip6;

impl Family for Ip4 {
    type Address = Ipv4Addr;
    type Header = Ipv4Header;

    const V6: bool = false;
    const ETHER_TYPE: u16 = ether_type::IPV4;
    const ICMP: u8 = protocol::ICMP;

    #[inline]
    fn address(address: IpAddr) -> Option<Ipv4Addr> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    #[inline]
    fn nat_in(interface: &Interface) -> bool {
        interface.nat4_in
    }

    fn source(interface: &Interface, target: Ipv4Addr) -> Option<Ipv4Addr> {
        interface.source4(target)
    }

    #[inline]
    fn lookup(snapshot: &Snapshot, address: Ipv4Addr) -> FibEntry {
        snapshot.fib4.lookup(address)
    }

    fn around(_snapshot: &Snapshot, address: Ipv4Addr) -> (Ipv4Addr, Ipv4Addr) {
        (address, address)
    }

    #[inline]
    fn marks(snapshot: &Snapshot) -> Marks<'_> {
        snapshot.fib4.marks()
    }

    #[inline]
    fn dont_fragment(header: &Ipv4Header) -> bool {
        header.dont_fragment()
    }

    #[inline]
    fn is_tunnel_source(policy: &TunnelPolicy, address: Ipv4Addr) -> bool {
        policy.is_source4(address)
    }

    #[inline]
    fn is_link_local(_address: Ipv4Addr) -> bool {
        false
    }
}

impl Family for Ip6 {
    type Address = Ipv6Addr;
    type Header = Ipv6Header;

    const V6: bool = true;
    const ETHER_TYPE: u16 = ether_type::IPV6;
    const ICMP: u8 = protocol::ICMPV6;

    #[inline]
    fn address(address: IpAddr) -> Option<Ipv6Addr> {
        match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }

    #[inline]
    fn nat_in(interface: &Interface) -> bool {
        interface.nat6_in
    }

    fn source(interface: &Interface, target: Ipv6Addr) -> Option<Ipv6Addr> {
        interface.source6(target)
    }

    #[inline]
    fn lookup(snapshot: &Snapshot, address: Ipv6Addr) -> FibEntry {
        snapshot.fib6.lookup(address)
    }

    fn around(snapshot: &Snapshot, address: Ipv6Addr) -> (Ipv6Addr, Ipv6Addr) {
        snapshot.fib6.around(address)
    }

    #[inline]
    fn marks(snapshot: &Snapshot) -> Marks<'_> {
        snapshot.fib6.marks()
    }

    #[inline]
    fn dont_fragment(_header: &Ipv6Header) -> bool {
        true
    }

    #[inline]
    fn is_tunnel_source(policy: &TunnelPolicy, address: Ipv6Addr) -> bool {
        policy.is_source6(address)
    }

    #[inline]
    fn is_link_local(address: Ipv6Addr) -> bool {
        address.is_unicast_link_local()
    }
}
