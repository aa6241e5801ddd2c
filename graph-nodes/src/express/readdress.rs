//! NAT of ordinary packets: another address and port, one hop less, and the checksums with them.

use std::net::Ipv4Addr;

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
    /// The one's complement sum of the address, of words in the machine's byte order.
    sum: u16,
}

impl<A: SummedAddress> NewEnd<A> {
    pub(super) fn new(address: A) -> Self {
        Self { address, sum: u16::from_ne_bytes(address.sum().fold().to_be_bytes()) }
    }

    /// The one's complement sum of the address, of words in the machine's byte order.
    pub(super) fn sum(&self) -> u16 {
        self.sum
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
pub(super) fn fold(sum: u32) -> u16 {
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
    let old = u16::from_ne_bytes(*field);
    let new = updated(old, change);
    let new = if udp { or_all_ones(new) } else { new };
    if old != 0 || !udp {
        *field = new.to_ne_bytes();
    }
}

/// Replaces a port; returns the change.
#[inline(always)]
fn change_port(field: &mut zerocopy::network_endian::U16, port: Option<u16>) -> u32 {
    let Some(port) = port else { return 0 };
    let (old, new) = (field.to_bytes(), port.to_be_bytes());
    field.set(port);
    u32::from(!u16::from_ne_bytes(old)) + u32::from(u16::from_ne_bytes(new))
}

/// An IPv4 header without options, and as much of TCP as holds its checksum; UDP has as much padding
/// in any frame of Ethernet's least length.
const HEADERS4: usize = Ipv4Header::LEN + TCP_CHECKSUM + 2;

impl Readdress for Ip4 {
    #[inline(always)]
    fn readdress(
        data: &mut [u8],
        l3: usize,
        side: Side,
        to: &NewEnd<Self::Address>,
        port: Option<u16>,
    ) {
        let Some(data) = data.get_mut(l3..) else { return };
        if let Some(headers) = data.first_chunk_mut::<HEADERS4>() {
            return readdress4(headers, side, to, port);
        }
        // A short frame, of a virtual port: of UDP.
        let mut headers = [0; HEADERS4];
        if let Some(room) = headers.get_mut(..data.len()) {
            room.copy_from_slice(data);
            readdress4(&mut headers, side, to, port);
            data.copy_from_slice(&headers[..data.len()]);
        }
    }
}

/// Sums are taken over words in the machine's byte order: sum and checksum then come out in that
/// order too, so that no byte is swapped (RFC 1071 §2).
#[inline(always)]
fn readdress4(headers: &mut [u8; HEADERS4], side: Side, to: &NewEnd<Ipv4Addr>, port: Option<u16>) {
    const TTL: usize = 8;
    const PROTOCOL: usize = 9;
    const CHECKSUM: usize = 10;
    /// What one hop less adds to the sum: `~m + m'` of the word with the TTL in its first byte.
    const HOP: u32 = 0xffff - u16::from_ne_bytes([1, 0]) as u32;
    let (address_at, port_at) = match side {
        Side::Source => (12, Ipv4Header::LEN),
        Side::Destination => (16, Ipv4Header::LEN + 2),
    };
    let old = !read4(headers, address_at);
    let change = (old >> 16) + (old & 0xffff) + u32::from(to.sum);
    write4(headers, address_at, u32::from_ne_bytes(to.address.octets()));
    headers[TTL] = headers[TTL].wrapping_sub(1);
    let checksum = updated(read2(headers, CHECKSUM), change + HOP);
    write2(headers, CHECKSUM, checksum);
    let mut change = change;
    if let Some(port) = port {
        let port = port.to_be_bytes();
        change += u32::from(!read2(headers, port_at)) + u32::from(u16::from_ne_bytes(port));
        write2(headers, port_at, u16::from_ne_bytes(port));
    }
    if headers[PROTOCOL] == protocol::UDP {
        const AT: usize = Ipv4Header::LEN + UDP_CHECKSUM;
        let old = read2(headers, AT);
        if old != 0 {
            write2(headers, AT, or_all_ones(updated(old, change)));
        }
    } else {
        const AT: usize = Ipv4Header::LEN + TCP_CHECKSUM;
        write2(headers, AT, updated(read2(headers, AT), change));
    }
}

/// A UDP checksum that comes out as 0, which says that there is none, is sent as its twin (RFC 768).
#[inline(always)]
pub(super) fn or_all_ones(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

#[inline(always)]
fn read2(headers: &[u8; HEADERS4], at: usize) -> u16 {
    u16::from_ne_bytes([headers[at], headers[at + 1]])
}

#[inline(always)]
fn write2(headers: &mut [u8; HEADERS4], at: usize, value: u16) {
    [headers[at], headers[at + 1]] = value.to_ne_bytes();
}

#[inline(always)]
fn read4(headers: &[u8; HEADERS4], at: usize) -> u32 {
    u32::from_ne_bytes([headers[at], headers[at + 1], headers[at + 2], headers[at + 3]])
}

#[inline(always)]
fn write4(headers: &mut [u8; HEADERS4], at: usize, value: u32) {
    headers[at..at + 4].copy_from_slice(&value.to_ne_bytes());
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
        let change = u32::from(!sum6(address)) + u32::from(to.sum);
        *address = to.address.octets();
        let ports = change_port(field, port);
        start.ip.decrement_hop_limit();
        let upper = start.ip.next_header;
        follow(data, l3 + Ipv6Header::LEN, upper, change + ports);
    }
}

/// The sum of an address, of words in the machine's byte order.
#[inline(always)]
fn sum6(address: &[u8; 16]) -> u16 {
    let (words, _) = address.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    // Four words leave two bits above.
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    fold(sum as u32)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

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
