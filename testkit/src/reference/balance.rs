//! The load balancer's front: which VIP a packet is for, and what becomes of those for none.

use super::config::NoMatch;
use super::encap::Load;
use super::error::Error;
use super::fragments::Place;
use super::ip::{Header, UDP, has_ports, word};
use super::model::{NewFlowOrder, Reference, Transit};
use super::reason;
use super::service::VipKey;
use super::upper::{Lost, Tuple, Upper, flags_of};

/// ICMP errors that are about a flow: RFC 792, RFC 4443 §3.
pub(super) fn is_error(v6: bool, kind: u8) -> bool {
    if v6 { matches!(kind, 1..=4) } else { matches!(kind, 3 | 11 | 12) }
}

impl Reference {
    /// A packet to a VIP's address.
    pub(super) fn balance(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let upper = match Upper::of(&transit.packet) {
            Ok(upper) => upper,
            Err(lost) => {
                return self.out.drop(match lost {
                    Lost::Truncated => reason::VIP_EXTENSION_SHORT,
                    Lost::TooMany => reason::VIP_EXTENSIONS,
                    Lost::Routed => reason::VIP_ROUTED,
                });
            }
        };
        if upper.protocol == header.icmp() {
            return self.balance_icmp(transit, &upper, table);
        }
        let tuple = Tuple::of(&transit.packet, &upper);
        if !self.scope.fragments
            && has_ports(upper.protocol)
            && upper.fragment.is_some()
            && (upper.is_later() || tuple.is_some())
        {
            return self.out.drop(reason::VIP_FRAGMENT);
        }
        if self.scope.fragments && upper.is_later() {
            return self.later_to_server(transit, &upper, table);
        }
        let Some(tuple) = tuple else { return self.out.drop(texts.vip_truncated) };
        match self.vip_of(&tuple) {
            Some(vip) => self.balance_for(vip, transit, table),
            None => self.no_match(transit, &tuple, table),
        }
    }

    /// The VIP that takes a packet to its address: longer prefixes first, and of one prefix the
    /// port, the range, the rest.
    pub(super) fn vip_of(&self, tuple: &Tuple) -> Option<VipKey> {
        let fits = |key: &VipKey| {
            key.has(tuple.destination) && key.takes(tuple.protocol, tuple.destination_port)
        };
        let keys = self.config.vips.iter().map(|vip| vip.key);
        keys.filter(fits).max_by_key(VipKey::rank)
    }

    fn balance_icmp(&mut self, transit: Transit, upper: &Upper, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        let message = &transit.packet[upper.at..header.total_len];
        if upper.fragment.is_some() || message.len() < 8 {
            return self.local(transit, table);
        }
        let kind = message[0];
        if self.scope.icmp_errors && is_error(header.v6, kind) {
            return self.error_to_server(transit, upper, table);
        }
        // Pings are answered here; neighbour discovery is the link's business.
        let ours = if header.v6 { matches!(kind, 128 | 133..=137) } else { kind == 8 };
        let tuple = Tuple::of(&transit.packet, upper).expect("no ports");
        match self.vip_of(&tuple) {
            Some(vip) if !ours => self.balance_for(vip, transit, table),
            _ => self.local(transit, table),
        }
    }

    /// A whole packet or a first fragment that a VIP takes.
    pub(super) fn balance_for(
        &mut self,
        key: VipKey,
        mut transit: Transit,
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let vip = self.config.vip(&key).expect("it was found").clone();
        let (upper, tuple) = Self::whole(&transit.packet).expect("it was read");
        let udp = upper.protocol == UDP && vip.is_nat() && header.v6;
        if udp && word(&transit.packet, upper.at + 6) == 0 {
            return self.out.drop(reason::UDP_CHECKSUM_ZERO);
        }
        let flags = flags_of(&transit.packet, &upper);
        // What is in the way is found before anything is remembered or changed.
        let decrements = || {
            let server = self.peek(&vip, &tuple, table);
            server
                .and_then(|server| self.server(&vip, server))
                .is_some_and(|s| s.method.decrements())
        };
        if header.ttl <= 1 && (vip.is_nat() || decrements()) {
            self.out.count(texts.vip_ttl_expired);
            return self.error(transit, Error::TimeExceeded, table);
        }
        let Some(server) = self.select(&vip, &tuple, flags, table) else { return };
        let decrements = self.server(&vip, server).is_some_and(|s| s.method.decrements());
        if header.ttl <= 1 && decrements {
            self.out.count(texts.vip_ttl_expired);
            return self.error(transit, Error::TimeExceeded, table);
        }
        if let Some(fragment) = upper.fragment {
            self.remember_to_server(&transit, &upper, fragment, Place::Server(key, server));
        }
        if self.clamp(&vip, server, &upper, &mut transit.packet) {
            self.out.count(texts.mss_clamped);
        }
        self.send_to_server(&transit, &vip, server, &tuple, &Load::Whole(upper), table);
        if upper.fragment.is_some() {
            self.release_to_server(&transit, &upper, table);
        }
    }

    /// A packet to a VIP's address that no VIP takes.
    fn no_match(&mut self, transit: Transit, tuple: &Tuple, table: &dyn NewFlowOrder) {
        if self.config.is_own(tuple.destination) {
            return self.local(transit, table);
        }
        let texts = reason::of(tuple.destination.is_ipv6());
        let ports = has_ports(tuple.protocol);
        let reason = if ports { texts.vip_port } else { texts.vip_protocol };
        let keys = self.config.vips.iter().map(|vip| vip.key);
        let prefix = keys.filter(|key| key.has(tuple.destination)).max_by_key(|key| key.prefix_len);
        let prefix = prefix.expect("it is a VIP's address");
        match self.config.no_match_of(prefix.network, prefix.prefix_len) {
            NoMatch::Reset if tuple.protocol == super::ip::TCP => {
                self.out.count(reason);
                self.reset(transit, table);
            }
            NoMatch::Icmp => {
                self.out.count(reason);
                let error = if ports { Error::PortUnreachable } else { Error::ProtocolUnreachable };
                self.error(transit, error, table);
            }
            NoMatch::Punt => {
                self.out.count(reason);
                self.punt(&transit);
            }
            NoMatch::Drop | NoMatch::Reset => self.out.drop(reason),
        }
    }

    /// An ICMP error about something that an AS sent: it goes to that AS, whatever the error's own
    /// addresses would come to.
    pub(super) fn error_to_server(
        &mut self,
        transit: Transit,
        upper: &Upper,
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let Some(quote) = super::quote::Quote::of(&transit.packet, upper) else {
            return self.out.drop(texts.quote_short);
        };
        let tuple = quote.tuple.reversed();
        let ours = quote.tuple.source == header.destination && !quote.later;
        let own = self.config.is_own(header.destination);
        let key = self.vip_of(&tuple).or_else(|| {
            let node =
                own.then(|| self.node_vip(header.v6, tuple.protocol, tuple.destination_port));
            node.flatten()
        });
        let Some(vip) = key.filter(|_| ours).and_then(|key| self.config.vip(&key)).cloned() else {
            return if own {
                self.local(transit, table)
            } else {
                self.out.drop(texts.quote_unknown)
            };
        };
        let Some(server) = self.peek(&vip, &tuple, table) else {
            return self.out.drop(texts.no_server);
        };
        let decrements = self.server(&vip, server).is_some_and(|s| s.method.decrements());
        if header.ttl <= 1 && decrements {
            self.out.count(texts.vip_ttl_expired);
            return self.error(transit, Error::TimeExceeded, table);
        }
        self.out.count(texts.icmp_forwarded);
        self.send_to_server(&transit, &vip, server, &tuple, &Load::Error(*upper, quote), table);
    }

    /// True for an ICMP error about what was answered from a node port.
    pub(super) fn is_about_node_port(&self, packet: &[u8], upper: &Upper) -> bool {
        let header = Header::of(packet);
        if !self.scope.icmp_errors || !is_error(header.v6, packet[upper.at]) {
            return false;
        }
        let Some(quote) = super::quote::Quote::of(packet, upper) else { return false };
        let (of_ours, tuple) = (quote.tuple.source == header.destination, quote.tuple);
        of_ours
            && !quote.later
            && self.config.is_own(header.destination)
            && self.node_vip(header.v6, tuple.protocol, tuple.source_port).is_some()
    }

    /// The host's kernel gets a packet.
    fn punt(&mut self, transit: &Transit) {
        let now_s = self.now_s;
        if !self.mine().punts.allows(now_s, PUNTS_PER_SECOND) {
            return self.out.drop(reason::PUNT_LIMIT);
        }
        self.out.count(reason::PUNTED);
        let len = Header::of(&transit.packet).total_len;
        self.out.tapped.push(transit.packet[..len].to_vec());
    }

    /// The largest packet that gets to an AS, by its way and method.
    pub(super) fn room_to(&self, interface: u16, overhead: usize) -> usize {
        self.config.interface(interface).mtu.saturating_sub(overhead)
    }
}

/// Packets given to the kernel in one second at most.
const PUNTS_PER_SECOND: u32 = 10_000;
