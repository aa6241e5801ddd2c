//! [`FrameTemplate`]: a frame with valid checksums whose addresses are filled in per packet.

use std::net::Ipv4Addr;

use dataplane::interface::MacAddress;
use dataplane::wire::checksum::sum;

use crate::flow::Client;

/// Bytes that are written for each packet: the shortest frame, without its check sequence. What is
/// behind them is the same in every frame, whatever its length.
pub const HEAD: usize = 60;
/// Bytes of a frame that are not seen by software: the check sequence.
pub const FCS: u16 = 4;

const ETHERNET: usize = 14;
const L4: usize = 34;
const SOURCE: usize = 26;
const DESTINATION: usize = 30;
const TTL: u8 = 64;

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
    /// Bytes on the wire, check sequence included: 64 to 1518.
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
    head: [u8; HEAD],
    frame_len: u16,
    client_at: usize,
    service_at: usize,
    client_port_at: usize,
    checksum_at: usize,
    is_udp: bool,
    /// Sum of the IP header's words without the addresses.
    ip_sum: u32,
    /// Sum of what the UDP or TCP checksum covers, without addresses and the client's port.
    l4_sum: u32,
}

fn fold(mut sum: u32) -> u16 {
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

fn put(head: &mut [u8; HEAD], at: usize, value: u16) {
    head[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

impl FrameTemplate {
    /// The template of a shape.
    pub fn new(shape: &Shape) -> Self {
        let frame_len = shape.wire_len.saturating_sub(FCS).max(HEAD as u16);
        let ip_len = frame_len - ETHERNET as u16;
        let l4_len = frame_len - L4 as u16;
        let mut head: [u8; HEAD] = std::array::from_fn(payload_byte);
        head[0..6].copy_from_slice(&shape.to_mac.0);
        head[6..12].copy_from_slice(&shape.from_mac.0);
        head[12..14].copy_from_slice(&[0x08, 0x00]);
        head[14..34].fill(0);
        (head[14], head[22], head[23]) = (0x45, TTL, shape.content.protocol());
        put(&mut head, 16, ip_len);
        // Don't fragment, as almost all traffic says.
        put(&mut head, 20, 0x4000);
        let (client_at, service_at, client_port_at, service_port_at) = match shape.direction {
            Direction::Forward => (SOURCE, DESTINATION, L4, L4 + 2),
            Direction::Return => (DESTINATION, SOURCE, L4 + 2, L4),
        };
        let checksum_at = match shape.content {
            Content::Udp => {
                put(&mut head, L4 + 4, l4_len);
                L4 + 6
            }
            Content::Tcp(flags) => {
                head[L4 + 4..L4 + 20].fill(0);
                (head[L4 + 12], head[L4 + 13]) = (5 << 4, flags);
                put(&mut head, L4 + 14, 0xffff);
                L4 + 16
            }
        };
        put(&mut head, client_port_at, 0);
        put(&mut head, service_port_at, shape.service_port);
        put(&mut head, checksum_at, 0);
        let mut frame = head.to_vec();
        frame.extend((HEAD..usize::from(frame_len)).map(payload_byte));
        let l4 = u32::from(sum(&frame[L4..]).fold());
        Self {
            ip_sum: u32::from(sum(&head[ETHERNET..L4]).fold()),
            l4_sum: l4 + u32::from(shape.content.protocol()) + u32::from(l4_len),
            is_udp: shape.content == Content::Udp,
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

    /// Writes the head of one packet.
    #[inline]
    pub fn write(&self, head: &mut [u8; HEAD], client: Client, service: Ipv4Addr) {
        *head = self.head;
        let (client_bits, service_bits) = (client.address.to_bits(), service.to_bits());
        head[self.client_at..self.client_at + 4].copy_from_slice(&client_bits.to_be_bytes());
        head[self.service_at..self.service_at + 4].copy_from_slice(&service_bits.to_be_bytes());
        put(head, self.client_port_at, client.port);
        let halves = |bits: u32| (bits >> 16) + (bits & 0xffff);
        let addresses = halves(client_bits) + halves(service_bits);
        put(head, ETHERNET + 10, !fold(self.ip_sum + addresses));
        let checksum = !fold(self.l4_sum + addresses + u32::from(client.port));
        // A UDP checksum of 0 would mean "none" (RFC 768).
        let checksum = if checksum == 0 && self.is_udp { 0xffff } else { checksum };
        put(head, self.checksum_at, checksum);
    }

    /// A whole frame.
    pub fn frame(&self, client: Client, service: Ipv4Addr) -> Vec<u8> {
        let mut head = [0; HEAD];
        self.write(&mut head, client, service);
        let mut frame = head.to_vec();
        frame.extend((HEAD..usize::from(self.frame_len)).map(payload_byte));
        frame
    }
}

#[cfg(test)]
mod tests {
    use dataplane::wire::checksum::{is_transport_valid, is_valid};

    use super::*;

    fn shape(wire_len: u16, content: Content, direction: Direction) -> Shape {
        let (to_mac, from_mac) = (MacAddress([2; 6]), MacAddress([4; 6]));
        Shape { wire_len, content, direction, to_mac, from_mac, service_port: 20_000 }
    }

    #[test]
    fn checksums_are_right_for_every_kind_and_length() {
        let service = Ipv4Addr::new(90, 0, 0, 1);
        for content in [Content::Udp, Content::ACK, Content::SYN] {
            for direction in [Direction::Forward, Direction::Return] {
                for wire_len in [64, 65, 128, 594, 1517, 1518] {
                    let template = FrameTemplate::new(&shape(wire_len, content, direction));
                    for id in (0..100_000).step_by(997) {
                        let client = Client::of(id);
                        let frame = template.frame(client, service);
                        assert_eq!(frame.len(), usize::from(wire_len) - 4);
                        assert!(is_valid(sum(&frame[14..34])));
                        let (source, destination) = match direction {
                            Direction::Forward => (client.address, service),
                            Direction::Return => (service, client.address),
                        };
                        let protocol = content.protocol();
                        assert!(is_transport_valid(source, destination, protocol, &frame[34..]));
                        assert_eq!(frame[26..30], source.octets());
                        assert_eq!(frame[30..34], destination.octets());
                    }
                }
            }
        }
    }

    #[test]
    fn ports_are_where_the_direction_puts_them() {
        let client = Client { address: Ipv4Addr::new(16, 1, 2, 3), port: 0x1234 };
        let port_at = |direction| {
            let template = FrameTemplate::new(&shape(64, Content::Udp, direction));
            let frame = template.frame(client, Ipv4Addr::new(10, 0, 0, 1));
            ([frame[34], frame[35]], [frame[36], frame[37]])
        };
        let service = 20_000_u16.to_be_bytes();
        assert_eq!(port_at(Direction::Forward), ([0x12, 0x34], service));
        assert_eq!(port_at(Direction::Return), (service, [0x12, 0x34]));
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        let template = FrameTemplate::new(&shape(64, Content::Udp, Direction::Forward));
        let service = Ipv4Addr::new(90, 0, 0, 1);
        let address = Ipv4Addr::new(16, 0, 0, 1);
        // One of all ports makes the sum all ones.
        let fields: Vec<_> = (0..=u16::MAX)
            .map(|port| template.frame(Client { address, port }, service))
            .map(|frame| u16::from_be_bytes([frame[40], frame[41]]))
            .collect();
        assert!(fields.contains(&0xffff) && !fields.contains(&0));
    }
}
