//! What an IP packet carries, with its checksum made by smoltcp.

use std::net::IpAddr;

use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, IpAddress, TcpPacket, TcpSeqNumber, UdpPacket};

/// A transport segment or message.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Tcp { ports: (u16, u16), flags: u8, sequence: u32, options: Vec<u8>, data: Vec<u8> },
    Udp { ports: (u16, u16), data: Vec<u8> },
    Icmp { kind: u8, code: u8, rest: [u8; 4], data: Vec<u8> },
    Other { protocol: u8, data: Vec<u8> },
}

impl Body {
    pub(super) fn set_data(&mut self, bytes: Vec<u8>) {
        let (Self::Tcp { data, .. }
        | Self::Udp { data, .. }
        | Self::Icmp { data, .. }
        | Self::Other { data, .. }) = self;
        *data = bytes;
    }

    pub(super) fn protocol(&self, v6: bool) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Icmp { .. } if v6 => 58,
            Self::Icmp { .. } => 1,
            Self::Other { protocol, .. } => *protocol,
        }
    }

    /// The bytes between these addresses; `checksum` replaces the right one.
    pub(super) fn bytes(&self, from: IpAddr, to: IpAddr, checksum: Option<u16>) -> Vec<u8> {
        let (mut bytes, checksum_at) = match self {
            Self::Tcp { .. } => (self.tcp(from.into(), to.into()), 16),
            Self::Udp { .. } => (self.udp(from.into(), to.into()), 6),
            Self::Icmp { .. } => (self.icmp(from, to), 2),
            Self::Other { data, .. } => return data.clone(),
        };
        if let Some(value) = checksum {
            bytes[checksum_at..checksum_at + 2].copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    fn tcp(&self, from: IpAddress, to: IpAddress) -> Vec<u8> {
        let Self::Tcp { ports, flags, sequence, options, data } = self else { return Vec::new() };
        let header_len = 20 + options.len();
        let mut bytes = vec![0; header_len + data.len()];
        bytes[20..header_len].copy_from_slice(options);
        bytes[header_len..].copy_from_slice(data);
        let mut tcp = TcpPacket::new_unchecked(&mut bytes);
        tcp.set_src_port(ports.0);
        tcp.set_dst_port(ports.1);
        tcp.set_seq_number(TcpSeqNumber(*sequence as i32));
        tcp.set_ack_number(TcpSeqNumber(0x0506_0708));
        tcp.set_header_len(header_len as u8);
        tcp.set_window_len(64240);
        bytes[13] = *flags;
        TcpPacket::new_unchecked(&mut bytes).fill_checksum(&from, &to);
        bytes
    }

    fn udp(&self, from: IpAddress, to: IpAddress) -> Vec<u8> {
        let Self::Udp { ports, data } = self else { return Vec::new() };
        let mut bytes = vec![0; 8 + data.len()];
        bytes[8..].copy_from_slice(data);
        let len = bytes.len() as u16;
        let mut udp = UdpPacket::new_unchecked(&mut bytes);
        udp.set_src_port(ports.0);
        udp.set_dst_port(ports.1);
        udp.set_len(len);
        udp.fill_checksum(&from, &to);
        bytes
    }

    fn icmp(&self, from: IpAddr, to: IpAddr) -> Vec<u8> {
        let Self::Icmp { kind, code, rest, data } = self else { return Vec::new() };
        let mut bytes = vec![*kind, *code, 0, 0];
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(data);
        match (from, to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Icmpv6Packet::new_unchecked(&mut bytes).fill_checksum(&from, &to);
            }
            _ => Icmpv4Packet::new_unchecked(&mut bytes).fill_checksum(),
        }
        bytes
    }
}
