//! Outer headers: GRE (RFC 2784), IP in IP (RFC 2003, RFC 2473), GUE variant 1, and what of the inner
//! header they show (RFC 2983, RFC 6040).

use std::net::IpAddr;

use super::checksum;
use super::ip::{GRE, Header, IP6IP, IPIP, UDP, octets, set_word, word};
use super::model::Reference;
use super::tunnel_settings::{OuterDf, TunnelSettings};

/// What is between the outer IP header and the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrap {
    /// Nothing.
    Plain,
    /// A GRE header without key and checksum.
    Gre,
    /// A UDP header.
    Gue,
}

impl Wrap {
    fn len(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Gre => 4,
            Self::Gue => 8,
        }
    }

    /// Bytes in front of the inner packet.
    pub(super) fn overhead(self, v6: bool) -> usize {
        self.len() + if v6 { 40 } else { 20 }
    }
}

/// The inner packet with its outer header, whose identification is still 0 and whose IPv4 checksum
/// is not made.
pub(super) fn wrapped(
    inner: &[u8],
    wrap: Wrap,
    (source, destination): (IpAddr, IpAddr),
    settings: &TunnelSettings,
    entropy: u64,
) -> Vec<u8> {
    let header = Header::of(inner);
    let tos = settings.dscp.unwrap_or(header.tos >> 2) << 2
        | if settings.ecn { header.tos & 3 } else { 0 };
    let mut load = Vec::new();
    let protocol = match wrap {
        Wrap::Plain if header.v6 => IP6IP,
        Wrap::Plain => IPIP,
        Wrap::Gre => {
            load.extend_from_slice(&[0, 0]);
            load.extend_from_slice(if header.v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
            GRE
        }
        Wrap::Gue => {
            // No checksum: RFC 6935 for IPv6.
            load = vec![0; 8];
            set_word(&mut load, 0, 0xc000 | (entropy & 0x3fff) as u16);
            set_word(&mut load, 2, settings.gue_port);
            set_word(&mut load, 4, 8 + inner.len() as u16);
            UDP
        }
    };
    load.extend_from_slice(inner);
    let mut packet;
    if destination.is_ipv6() {
        let label = (entropy & 0xf_ffff) as u32;
        packet = (6 << 28 | u32::from(tos) << 20 | label).to_be_bytes().to_vec();
        packet.extend_from_slice(&(load.len() as u16).to_be_bytes());
        packet.extend_from_slice(&[protocol, settings.ttl]);
    } else {
        let set = match settings.df {
            OuterDf::Copy => header.dont_fragment,
            OuterDf::Set => true,
            OuterDf::Clear => false,
        };
        let flags = if set { 0x40 } else { 0 };
        packet = vec![0x45, tos, 0, 0, 0, 0, flags, 0, settings.ttl, protocol, 0, 0];
        set_word(&mut packet, 2, 20 + load.len() as u16);
    }
    packet.extend(octets(source));
    packet.extend(octets(destination));
    packet.extend_from_slice(&load);
    packet
}

impl Reference {
    /// The pieces of an outer packet that fit into `mtu`, in order (RFC 791 §3.2, RFC 8200 §4.5).
    pub(super) fn outer_fragments(&mut self, packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let v6 = packet[0] >> 4 == 6;
        let (head, between) = if v6 { (40, 8) } else { (20, 0) };
        let each = (mtu - head - between) / 8 * 8;
        let load = &packet[head..];
        let mut id = 0;
        if v6 {
            let worker = self.mine();
            worker.outer_id = worker.outer_id.wrapping_add(1);
            id = worker.outer_id;
        }
        let mut pieces = Vec::new();
        for (at, part) in load.chunks(each).enumerate() {
            let offset = at * each / 8;
            let more = (at + 1) * each < load.len();
            let mut piece = packet[..head].to_vec();
            if v6 {
                set_word(&mut piece, 4, (8 + part.len()) as u16);
                piece[6] = 44;
                piece.extend_from_slice(&[packet[6], 0]);
                piece.extend_from_slice(&((offset as u16) << 3 | u16::from(more)).to_be_bytes());
                piece.extend_from_slice(&id.to_be_bytes());
            } else {
                set_word(&mut piece, 2, (20 + part.len()) as u16);
                let flags = word(packet, 6) & 0xc000 | u16::from(more) << 13 | offset as u16;
                set_word(&mut piece, 6, flags);
            }
            piece.extend_from_slice(part);
            checksum::seal_header(&mut piece);
            pieces.push(piece);
        }
        pieces
    }
}
