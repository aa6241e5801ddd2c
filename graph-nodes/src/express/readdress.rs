//! NAT of ordinary packets: another address and port, one hop less, and the checksums with them.

use dataplane::family::{Family, Ip4, Ip6};
use dataplane::wire::Header;
use dataplane::wire::checksum::SummedAddress;
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::wire::ipv6::Ipv6Header;

use super::ordinary::Start;

/// Offset of the checksum in the TCP header.
const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in the UDP header.
const UDP_CHECKSUM: usize = 6;

/// What one end of a packet becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewEnd<A> {
    pub(super) address: A,
    /// The one's complement sum of the address.
    pub(super) sum: u16,
}

impl<A: SummedAddress> NewEnd<A> {
    pub(super) fn new(address: A) -> Self {
        Self { address, sum: address.sum().fold() }
    }
}

/// Which end of a packet is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// A family whose ordinary packets get other addresses.
pub(super) trait Readdress: Family {
    /// Changes one end of the packet whose IP header is at `l3`, and takes a hop off. A port of
    /// `None` stays. What all the nodes on the way change one after the other, checksums by RFC 1624,
    /// is changed at once; the outcome is the same, bit by bit.
    fn readdress(
        data: &mut [u8],
        l3: usize,
        side: Side,
        to: &NewEnd<Self::Address>,
        port: Option<u16>,
    );
}

/// The sum of words as 16 bits; the sum must be below 2^31.
#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// A checksum after a change, the sum of all `~m + m'` (RFC 1624 eqn. 3).
#[inline(always)]
fn updated(checksum: u16, change: u32) -> u16 {
    !fold(u32::from(!checksum) + change)
}

/// Lets the checksum of TCP or UDP at `l4` follow.
#[inline(always)]
fn follow(data: &mut [u8], l4: usize, upper: u8, change: u32) {
    let udp = upper == protocol::UDP;
    let at = l4 + if udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
    let Some(field) = data.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) else {
        return;
    };
    let old = u16::from_be_bytes(*field);
    let new = updated(old, change);
    // UDP: 0 means that there is none, and one that comes out as 0 is sent as its twin (RFC 768).
    let new = if udp && new == 0 { 0xffff } else { new };
    let new = if udp && old == 0 { 0 } else { new };
    *field = new.to_be_bytes();
}

/// Replaces a port; returns the change.
#[inline(always)]
fn change_port(field: &mut zerocopy::network_endian::U16, port: Option<u16>) -> u32 {
    let Some(port) = port else { return 0 };
    let change = u32::from(!field.get()) + u32::from(port);
    field.set(port);
    change
}

impl Readdress for Ip4 {
    #[inline(always)]
    fn readdress(
        data: &mut [u8],
        l3: usize,
        side: Side,
        to: &NewEnd<Self::Address>,
        port: Option<u16>,
    ) {
        /// What one hop less adds to the sum: `~m + m'` of the word with the TTL, whose high byte
        /// goes down by one.
        const HOP: u32 = 0xffff - 0x100;
        let Some(start) = Start::<Ipv4Header>::at_mut(data, l3) else { return };
        let (address, field) = match side {
            Side::Source => (&mut start.ip.source, &mut start.source_port),
            Side::Destination => (&mut start.ip.destination, &mut start.destination_port),
        };
        let old = !u32::from_be_bytes(*address);
        let change = (old >> 16) + (old & 0xffff) + u32::from(to.sum);
        *address = to.address.octets();
        let ports = change_port(field, port);
        start.ip.ttl = start.ip.ttl.wrapping_sub(1);
        start.ip.checksum.set(updated(start.ip.checksum.get(), change + HOP));
        let upper = start.ip.protocol;
        follow(data, l3 + Ipv4Header::LEN, upper, change + ports);
    }
}

impl Readdress for Ip6 {
    #[inline(always)]
    fn readdress(
        data: &mut [u8],
        l3: usize,
        side: Side,
        to: &NewEnd<Self::Address>,
        port: Option<u16>,
    ) {
        let Some(start) = Start::<Ipv6Header>::at_mut(data, l3) else { return };
        let (address, field) = match side {
            Side::Source => (&mut start.ip.source, &mut start.source_port),
            Side::Destination => (&mut start.ip.destination, &mut start.destination_port),
        };
        let bits = u128::from_be_bytes(*address);
        let words = (bits >> 64) as u64 as u128 + (bits as u64) as u128;
        let words = (words >> 64) as u64 + words as u64;
        let words = (words >> 32) + (words & 0xffff_ffff);
        let words = ((words >> 32) + (words & 0xffff_ffff)) as u32;
        let change = u32::from(!fold32(words)) + u32::from(to.sum);
        *address = to.address.octets();
        let ports = change_port(field, port);
        start.ip.decrement_hop_limit();
        let upper = start.ip.next_header;
        follow(data, l3 + Ipv6Header::LEN, upper, change + ports);
    }
}

/// The same for any 32 bits.
#[inline(always)]
fn fold32(sum: u32) -> u16 {
    fold((sum >> 16) + (sum & 0xffff))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use dataplane::wire::ip::IpHeader;
    use dataplane::wire::tcp::TcpHeader;
    use dataplane::wire::udp::UdpHeader;
    use proptest::prelude::*;

    use super::*;

    /// What the other nodes do, step by step.
    fn by_steps<F: Family>(
        data: &mut [u8],
        upper: u8,
        side: Side,
        to: F::Address,
        port: Option<u16>,
    ) {
        let header = F::Header::at_mut(data, 0).unwrap();
        let change = match side {
            Side::Source => header.set_source(to),
            Side::Destination => header.set_destination(to),
        };
        header.decrement_hop_limit();
        let l4 = F::Header::LEN;
        if upper == protocol::TCP {
            let tcp = TcpHeader::at_mut(data, l4).unwrap();
            tcp.update_checksum(change);
            if let Some(port) = port {
                match side {
                    Side::Source => tcp.set_source_port(port),
                    Side::Destination => tcp.set_destination_port(port),
                };
            }
        } else {
            let udp = UdpHeader::at_mut(data, l4).unwrap();
            udp.update_checksum(change);
            if let Some(port) = port {
                match side {
                    Side::Source => udp.set_source_port(port),
                    Side::Destination => udp.set_destination_port(port),
                };
            }
        }
    }

    fn side() -> impl Strategy<Value = Side> {
        prop::sample::select(vec![Side::Source, Side::Destination])
    }

    proptest! {
        #[test]
        fn one_step_equals_many_in_ip4(
            mut data in prop::collection::vec(any::<u8>(), 60),
            tcp: bool, side in side(), to: u32, port: Option<u16>, none in 0..8,
        ) {
            let upper = if tcp { protocol::TCP } else { protocol::UDP };
            let to = Ipv4Addr::from_bits(to);
            (data[0], data[8], data[9]) = (0x45, data[8].max(2), upper);
            let header = Ipv4Header::at_mut(&mut data, 0).unwrap();
            header.fill_checksum();
            if none == 0 && !tcp {
                data[26..28].fill(0);
            }
            let mut expected = data.clone();
            by_steps::<Ip4>(&mut expected, upper, side, to, port);
            Ip4::readdress(&mut data, 0, side, &NewEnd::new(to), port);
            prop_assert_eq!(data, expected);
        }

        #[test]
        fn one_step_equals_many_in_ip6(
            mut data in prop::collection::vec(any::<u8>(), 80),
            tcp: bool, side in side(), to: u128, port: Option<u16>,
        ) {
            let upper = if tcp { protocol::TCP } else { protocol::UDP };
            let to = Ipv6Addr::from_bits(to);
            (data[0], data[6], data[7]) = (0x60, upper, data[7].max(2));
            let mut expected = data.clone();
            by_steps::<Ip6>(&mut expected, upper, side, to, port);
            Ip6::readdress(&mut data, 0, side, &NewEnd::new(to), port);
            prop_assert_eq!(data, expected);
        }
    }
}
