//! Tunnel interfaces: packets that leave by one, and packets that come out of one.

use super::checksum;
use super::config::Kind;
use super::ip::{Header, IPIP, set_tos};
use super::model::{NewFlowOrder, Reference, Transit};
use super::outer::{Wrap, wrapped};
use super::reason;
use super::route::{Destination, route};
use super::tunnel_settings::TunnelSettings;
use super::upper::Upper;

/// Congestion experienced.
const CE: u8 = 3;

/// The ECN field of a decapsulated packet by those of both headers; `None` to drop it (RFC 6040
/// §4.2, figure 4).
fn decapsulated_ecn(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        (0, CE) => None,
        (0, _) => Some(0),
        (_, CE) => Some(CE),
        // ECT(0) inside becomes ECT(1).
        (2, 1) => Some(1),
        (inner, _) => Some(inner),
    }
}

impl Reference {
    /// Sends a packet through a tunnel, with outer headers as they are by default.
    pub(super) fn tunnel_output(
        &mut self,
        mut transit: Transit,
        tunnel: u16,
        table: &dyn NewFlowOrder,
    ) {
        let Kind::Tunnel { source, destination } = self.config.interface(tunnel).kind else {
            unreachable!("a tunnel interface");
        };
        let way = match route(&self.config, destination) {
            Destination::Neighbor { interface, next_hop } if !self.is_tunnel(interface) => {
                (interface, next_hop)
            }
            _ => return self.out.drop(reason::of(destination.is_ipv6()).tunnel_no_route),
        };
        Self::hop(&mut transit);
        let len = Header::of(&transit.packet).total_len;
        let inner = &transit.packet[..len];
        let settings = TunnelSettings::default();
        let mut packet = wrapped(inner, Wrap::Plain, (source, destination), &settings, 0);
        self.identify(&mut packet);
        self.forward(Transit { packet, originated: true, ..transit }, way.0, way.1, table);
    }

    /// Takes a packet out of a tunnel that ends here.
    pub(super) fn decapsulate(
        &mut self,
        transit: Transit,
        upper: &Upper,
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let ends = (header.destination, header.source);
        let tunnel = self.config.indices().find(|index| {
            matches!(self.config.interface(*index).kind,
                Kind::Tunnel { source, destination } if (source, destination) == ends)
        });
        let Some(rx) = tunnel.filter(|_| self.scope.tunnels) else {
            return self.out.drop(texts.local_protocol);
        };
        if !self.config.interface(rx).up {
            return self.out.drop(texts.tunnel_down);
        }
        let mut packet = transit.packet[upper.at..header.total_len].to_vec();
        let (version, least) = if upper.protocol == IPIP { (4, 20) } else { (6, 40) };
        // What is no such packet is sorted out where packets come in.
        if packet.len() >= least && packet[0] >> 4 == version {
            let tos = Header::of(&packet).tos;
            let Some(ecn) = decapsulated_ecn(tos & 3, header.tos & 3) else {
                return self.out.drop(texts.tunnel_congested);
            };
            if ecn != tos & 3 {
                let before = packet[..2].to_vec();
                set_tos(&mut packet, tos & 0xfc | ecn);
                if version == 4 {
                    let field = super::ip::word(&packet, 10);
                    let sum = checksum::updated(field, &before, &packet[..2]);
                    super::ip::set_word(&mut packet, 10, sum);
                }
            }
        }
        self.out.count(texts.decapsulated);
        let inner = Transit { rx, packet, ..transit };
        if version == 4 {
            self.ip4_input(inner, false, table);
        } else {
            self.ip6_input(inner, false, table);
        }
    }
}
