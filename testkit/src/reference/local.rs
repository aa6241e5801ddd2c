//! Packets to our own addresses: echo requests (RFC 792, RFC 1122 §3.2.2.6, RFC 4443 §4), node
//! ports, tunnels that end here, and neighbour discovery.

use std::net::IpAddr;

use super::checksum;
use super::error::TTL;
use super::ip::{Header, IP6IP, IPIP, has_ports, set_destination, set_source, set_ttl};
use super::model::{NewFlowOrder, Reference, Transit};
use super::reason;
use super::service::VipKey;
use super::upper::{Lost, Tuple, Upper};

/// Echoes answered or taken in one second at most.
const ECHOES_PER_SECOND: u32 = 10_000;

impl Reference {
    /// A packet to one of our own addresses, or to a group that we are in.
    pub(super) fn local(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let upper = match Upper::of(&transit.packet) {
            Ok(upper) => upper,
            Err(lost) => {
                return self.out.drop(match lost {
                    Lost::Truncated => reason::LOCAL_EXTENSION_SHORT,
                    Lost::TooMany => reason::LOCAL_EXTENSIONS,
                    Lost::Routed => reason::LOCAL_ROUTED,
                });
            }
        };
        if upper.fragment.is_some() {
            return self.out.drop(texts.local_fragment);
        }
        if has_ports(upper.protocol) {
            return match self.node_port(&transit.packet, &upper) {
                Some(vip) => self.balance_for(vip, transit, table),
                None => self.out.drop(texts.no_listener),
            };
        }
        if upper.protocol == header.icmp() {
            return self.local_icmp(transit, &upper, table);
        }
        if upper.protocol == IPIP || upper.protocol == IP6IP {
            return self.decapsulate(transit, &upper, table);
        }
        self.out.drop(texts.local_protocol);
    }

    /// The VIP whose node port this packet is to.
    fn node_port(&self, packet: &[u8], upper: &Upper) -> Option<VipKey> {
        let tuple = Tuple::of(packet, upper)?;
        if !self.config.is_own(tuple.destination) {
            return None;
        }
        self.node_vip(tuple.destination.is_ipv6(), tuple.protocol, tuple.destination_port)
    }

    /// The VIP with this node port.
    pub(super) fn node_vip(&self, v6: bool, protocol: u8, port: u16) -> Option<VipKey> {
        let mut vips = self.config.vips.iter();
        let vip = vips.find(|vip| {
            vip.node_port == Some(port)
                && vip.key.network.is_ipv6() == v6
                && vip.protocol() == Some(protocol)
        });
        vip.map(|vip| vip.key)
    }

    fn local_icmp(&mut self, mut transit: Transit, upper: &Upper, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let message = &transit.packet[upper.at..header.total_len];
        if message.len() < 8 {
            return self.out.drop(texts.icmp_short);
        }
        let wrong = if header.v6 {
            checksum::transport_error(&transit.packet, upper) != 0
        } else {
            !checksum::holds(message)
        };
        if wrong {
            return self.out.drop(texts.icmp_checksum);
        }
        let kind = (message[0], message[1]);
        if header.v6 && matches!(kind.0, 135 | 136) {
            return self.neighbor_discovery(&transit, upper);
        }
        if self.is_about_node_port(&transit.packet, upper) {
            return self.error_to_server(transit, upper, table);
        }
        let (request, reply) = if header.v6 { ((128, 0), (129, 0)) } else { ((8, 0), (0, 0)) };
        let group = matches!(header.destination, IpAddr::V6(to) if to.is_multicast());
        if group || kind != request && kind != reply {
            return self.out.drop(texts.icmp_type);
        }
        let now_s = self.now_s;
        if !self.family(header.v6).echoes.allows(now_s, ECHOES_PER_SECOND) {
            return self.out.drop(texts.echo_limit);
        }
        if kind == reply {
            self.out.count(texts.echo_punted);
            let packet = transit.packet[..header.total_len].to_vec();
            return self.out.punted.push((transit.rx, packet));
        }
        // The reply is the request with another type; identifier, number and data stay.
        let error = checksum::error(message);
        transit.packet[upper.at] = reply.0;
        if !header.v6 {
            let message = &mut transit.packet[upper.at..header.total_len];
            checksum::keep_error(message, 2, error);
        }
        set_source(&mut transit.packet, header.destination);
        set_destination(&mut transit.packet, header.source);
        set_ttl(&mut transit.packet, TTL);
        checksum::seal(&mut transit.packet);
        transit.originated = true;
        self.out.count(texts.echo_answered);
        self.lookup(transit, table);
    }
}
