//! [`FrameTemplate`]: a frame with valid checksums whose addresses are filled in per packet.

use std::net::IpAddr;

use dataplane::interface::MacAddress;
use dataplane::wire::checksum::sum;

use crate::family::Family;
use crate::flow::Client;
use crate::site::client6;

/// Bytes of a frame that are not seen by software: the check sequence.
pub const FCS: u16 = 4;

/// Bytes that are written for each packet: the shortest frame of a family, without its check
/// sequence. What is behind them is the same in every frame, whatever its length.
const HEAD4: usize = (Family::Ip4.shortest() - FCS) as usize;
const HEAD6: usize = (Family::Ip6.shortest() - FCS) as usize;
const ETHERNET: usize = 14;
/// Time to live and hop limit.
const HOPS: u8 = 64;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From clients to the VIP.
    Forward,
    /// From ASs to clients.
    Return,
}

/// What is in the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// UDP.
    Udp,
    /// TCP with these flags (the byte of the header that has them).
    Tcp(u8),
}

impl Content {
    /// TCP in the middle of a connection.
    pub const ACK: Self = Self::Tcp(0x10);
    /// TCP, first packet.
    pub const SYN: Self = Self::Tcp(0x02);

    fn protocol(self) -> u8 {
        match self {
            Self::Udp => 17,
            Self::Tcp(_) => 6,
        }
    }
}

/// What all packets of a template share.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Bytes on the wire, check sequence included: [`Family::shortest`] to 1518.
    pub wire_len: u16,
    /// UDP or TCP.
    pub content: Content,
    /// Which way.
    pub direction: Direction,
    /// Where frames go.
    pub to_mac: MacAddress,
    /// Where frames come from.
    pub from_mac: MacAddress,
    /// The port that is not the client's.
    pub service_port: u16,
}

/// The byte at `offset` of every frame, behind the headers.
#[inline]
pub fn payload_byte(offset: usize) -> u8 {
    (offset as u8) ^ 0x5a
}

/// A frame without addresses, and the sums of what does not change.
#[derive(Clone, Debug)]
pub struct FrameTemplate {
    family: Family,
    head: [u8; HEAD6],
    frame_len: u16,
    /// Where the last four bytes of addresses are, which are filled in.
    client_at: usize,
    service_at: usize,
    client_port_at: usize,
    checksum_at: usize,
    is_udp: bool,
    /// Sum of the IPv4 header's words without the addresses.
    ip_sum: u32,
    /// Sum of what the UDP or TCP checksum covers, without what is filled in.
    l4_sum: u32,
}

fn fold(mut sum: u32) -> u16 {
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[inline]
fn put(head: &mut [u8], at: usize, value: u16) {
    head[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[inline]
fn put_low_bits(head: &mut [u8], at: usize, value: u32) {
    head[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

impl FrameTemplate {
    /// The template of a shape. `service` is an address of those that are not the clients'; all of
    /// them differ in the last four bytes only.
    pub fn new(shape: &Shape, service: IpAddr) -> Self {
        let Shape { family, content, direction, .. } = *shape;
        let frame_len = shape.wire_len.max(family.shortest()) - FCS;
        let l4 = ETHERNET + family.header_len();
        let l4_len = frame_len - l4 as u16;
        let mut head: [u8; HEAD6] = std::array::from_fn(payload_byte);
        head[0..6].copy_from_slice(&shape.to_mac.0);
        head[6..12].copy_from_slice(&shape.from_mac.0);
        put(&mut head, 12, family.ether_type());
        let (source, destination) = match family {
            Family::Ip4 => put_header4(&mut head, content.protocol(), frame_len),
            Family::Ip6 => put_header6(&mut head, content.protocol(), l4_len, direction, service),
        };
        let (client_at, service_at, client_port_at, service_port_at) = match direction {
            Direction::Forward => (source, destination, l4, l4 + 2),
            Direction::Return => (destination, source, l4 + 2, l4),
        };
        let checksum_at = match content {
            Content::Udp => {
                put(&mut head, l4 + 4, l4_len);
                l4 + 6
            }
            Content::Tcp(flags) => {
                head[l4 + 4..l4 + 20].fill(0);
                (head[l4 + 12], head[l4 + 13]) = (5 << 4, flags);
                put(&mut head, l4 + 14, 0xffff);
                l4 + 16
            }
        };
        put(&mut head, client_port_at, 0);
        put(&mut head, service_port_at, shape.service_port);
        put(&mut head, checksum_at, 0);
        let mut frame = head.to_vec();
        frame.truncate(usize::from(frame_len));
        frame.extend((frame.len()..usize::from(frame_len)).map(payload_byte));
        // The addresses are part of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1); of IPv4's
        // nothing is there yet.
        let addresses = match family {
            Family::Ip4 => 0,
            Family::Ip6 => u32::from(sum(&head[22..54]).fold()),
        };
        let covered = u32::from(sum(&frame[l4..]).fold()) + addresses;
        Self {
            family,
            ip_sum: u32::from(sum(&head[ETHERNET..l4]).fold()),
            l4_sum: covered + u32::from(content.protocol()) + u32::from(l4_len),
            is_udp: content == Content::Udp,
            head,
            frame_len,
            client_at,
            service_at,
            client_port_at,
            checksum_at,
        }
    }

    /// Length of the frame, without check sequence.
    #[inline]
    pub fn frame_len(&self) -> u16 {
        self.frame_len
    }

    /// Writes the head of one packet into a frame of [`Self::frame_len`] bytes, whose others are
    /// those of every payload. `service` has the last four bytes of the address.
    #[inline]
    pub fn write(&self, frame: &mut [u8], client: Client, service: u32) {
        match self.family {
            Family::Ip4 => self.write_head::<HEAD4>(frame, client, service),
            Family::Ip6 => self.write_head::<HEAD6>(frame, client, service),
        }
    }

    #[inline]
    fn write_head<const HEAD: usize>(&self, frame: &mut [u8], client: Client, service: u32) {
        let Some(head) = frame.first_chunk_mut::<HEAD>() else { return };
        head.copy_from_slice(&self.head[..HEAD]);
        let client_bits = client.address.to_bits();
        put_low_bits(head, self.client_at, client_bits);
        put_low_bits(head, self.service_at, service);
        put(head, self.client_port_at, client.port);
        let halves = |bits: u32| (bits >> 16) + (bits & 0xffff);
        let addresses = halves(client_bits) + halves(service);
        if self.family == Family::Ip4 {
            put(head, ETHERNET + 10, !fold(self.ip_sum + addresses));
        }
        let checksum = !fold(self.l4_sum + addresses + u32::from(client.port));
        // A UDP checksum of 0 would mean "none" (RFC 768).
        let checksum = if checksum == 0 && self.is_udp { 0xffff } else { checksum };
        put(head, self.checksum_at, checksum);
    }

    /// A whole frame.
    pub fn frame(&self, client: Client, service: u32) -> Vec<u8> {
        let mut frame: Vec<u8> = (0..usize::from(self.frame_len)).map(payload_byte).collect();
        self.write(&mut frame, client, service);
        frame
    }
}

/// Writes an IPv4 header without addresses and checksum; returns where the last four bytes of source
/// and destination are.
fn put_header4(head: &mut [u8; HEAD6], protocol: u8, frame_len: u16) -> (usize, usize) {
    head[14..34].fill(0);
    (head[14], head[22], head[23]) = (0x45, HOPS, protocol);
    put(head, 16, frame_len - ETHERNET as u16);
    // Don't fragment, as almost all traffic says.
    put(head, 20, 0x4000);
    (26, 30)
}

/// Writes an IPv6 header with addresses whose last four bytes are 0; returns where those are.
fn put_header6(
    head: &mut [u8; HEAD6],
    protocol: u8,
    l4_len: u16,
    direction: Direction,
    service: IpAddr,
) -> (usize, usize) {
    head[14..54].fill(0);
    (head[14], head[20], head[21]) = (0x60, protocol, HOPS);
    put(head, 18, l4_len);
    let IpAddr::V6(service) = service else { return (34, 50) };
    let (client, service) = (client6(0.into()).octets(), service.octets());
    let (source, destination) = match direction {
        Direction::Forward => (client, service),
        Direction::Return => (service, client),
    };
    head[22..34].copy_from_slice(&source[..12]);
    head[38..50].copy_from_slice(&destination[..12]);
    (34, 50)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use dataplane::wire::checksum::{is_transport_valid, is_valid};

    use super::*;
    use crate::site::{VIP, low_bits, vip};

    fn shape(family: Family, wire_len: u16, content: Content, direction: Direction) -> Shape {
        let (to_mac, from_mac) = (MacAddress([2; 6]), MacAddress([4; 6]));
        Shape { family, wire_len, content, direction, to_mac, from_mac, service_port: 20_000 }
    }

    /// Every content and length in a direction, to or from the VIP, of many clients.
    fn frames(family: Family, direction: Direction) -> Vec<(Content, Client, Vec<u8>)> {
        let mut frames = Vec::new();
        for content in [Content::Udp, Content::ACK, Content::SYN] {
            for wire_len in [family.shortest(), 79, 128, 594, 1517, 1518] {
                let shape = shape(family, wire_len, content, direction);
                let template = FrameTemplate::new(&shape, vip(family));
                for client in (0..100_000).step_by(997).map(Client::of) {
                    let frame = template.frame(client, low_bits(vip(family)));
                    assert_eq!(frame.len(), usize::from(wire_len) - 4);
                    frames.push((content, client, frame));
                }
            }
        }
        frames
    }

    fn ends<A>(direction: Direction, client: A, service: A) -> (A, A) {
        match direction {
            Direction::Forward => (client, service),
            Direction::Return => (service, client),
        }
    }

    #[test]
    fn checksums_are_right_for_every_kind_and_length() {
        for direction in [Direction::Forward, Direction::Return] {
            for (content, client, frame) in frames(Family::Ip4, direction) {
                let (source, destination) = ends(direction, client.address, VIP);
                assert_eq!(frame[12..15], [0x08, 0, 0x45]);
                assert!(is_valid(sum(&frame[14..34])));
                assert_eq!(frame[16..18], (frame.len() as u16 - 14).to_be_bytes());
                assert_eq!(frame[26..30], source.octets());
                assert_eq!(frame[30..34], destination.octets());
                let protocol = content.protocol();
                assert!(is_transport_valid(source, destination, protocol, &frame[34..]));
            }
        }
    }

    #[test]
    fn they_are_right_over_ipv6_too() {
        for direction in [Direction::Forward, Direction::Return] {
            for (content, client, frame) in frames(Family::Ip6, direction) {
                let ends = ends::<Ipv6Addr>(direction, client6(client.address), crate::site::VIP6);
                assert_eq!(frame[12..18], [0x86, 0xdd, 0x60, 0, 0, 0]);
                assert_eq!(frame[18..20], (frame.len() as u16 - 54).to_be_bytes());
                assert_eq!(frame[20..22], [content.protocol(), 64]);
                assert_eq!(
                    (&frame[22..38], &frame[38..54]),
                    (&ends.0.octets()[..], &ends.1.octets()[..])
                );
                assert!(is_transport_valid(ends.0, ends.1, content.protocol(), &frame[54..]));
            }
        }
    }

    #[test]
    fn ports_are_where_the_direction_puts_them() {
        let client = Client { address: [16, 1, 2, 3].into(), port: 0x1234 };
        let ports = |family, direction, at: usize| {
            let shape = shape(family, 64, Content::Udp, direction);
            let frame = FrameTemplate::new(&shape, vip(family)).frame(client, 1);
            ([frame[at], frame[at + 1]], [frame[at + 2], frame[at + 3]])
        };
        let service = 20_000_u16.to_be_bytes();
        for (family, at) in [(Family::Ip4, 34), (Family::Ip6, 54)] {
            assert_eq!(ports(family, Direction::Forward, at), ([0x12, 0x34], service));
            assert_eq!(ports(family, Direction::Return, at), (service, [0x12, 0x34]));
        }
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        for (family, at) in [(Family::Ip4, 40), (Family::Ip6, 60)] {
            let shape = shape(family, 64, Content::Udp, Direction::Forward);
            let template = FrameTemplate::new(&shape, vip(family));
            let address = [16, 0, 0, 1].into();
            // One of all ports makes the sum all ones.
            let fields: Vec<_> = (0..=u16::MAX)
                .map(|port| template.frame(Client { address, port }, low_bits(vip(family))))
                .map(|frame| u16::from_be_bytes([frame[at], frame[at + 1]]))
                .collect();
            assert!(fields.contains(&0xffff) && !fields.contains(&0));
        }
    }
}
