//! What may be wrong with an IPv4 packet (RFC 791 §3.1, RFC 1812 §5.2.2 and §5.3.7), and where a
//! good one goes.

use std::net::Ipv4Addr;

use super::checksum;
use super::icmp::Error;
use super::ip4::Header;
use super::model::{NewFlowOrder, Reference, Transit};
use super::outcome::Reason;
use super::reason;
use super::route::{Destination, destination, is_broadcast};

/// The first rule that `packet` breaks.
fn broken_rule(packet: &[u8], link_group: bool) -> Option<Reason> {
    if packet.len() < 20 {
        return Some(reason::IP4_SHORT);
    }
    let header = Header::of(packet);
    if packet[0] >> 4 != 4 {
        return Some(reason::IP4_VERSION);
    }
    if header.header_len < 20 {
        return Some(reason::IP4_HEADER_LEN);
    }
    if header.total_len < header.header_len {
        return Some(reason::IP4_TOTAL_LEN);
    }
    if header.total_len > packet.len() {
        return Some(reason::IP4_TRUNCATED);
    }
    if !checksum::holds(&packet[..header.header_len]) {
        return Some(reason::IP4_CHECKSUM);
    }
    if header.ttl == 0 {
        return Some(reason::IP4_TTL_ZERO);
    }
    // Nobody's address: this network, loopback, groups, reserved, broadcast (RFC 1812 §5.3.7).
    if matches!(header.source.octets()[0], 0 | 127 | 224..=255) {
        return Some(reason::IP4_MARTIAN_SOURCE);
    }
    if header.destination.is_multicast() || header.destination.is_broadcast() {
        return Some(reason::IP4_GROUP);
    }
    if matches!(header.destination.octets()[0], 0 | 127 | 240..=255) {
        return Some(reason::IP4_MARTIAN_DESTINATION);
    }
    // RFC 1812 §5.3.4; groups were sorted out above.
    link_group.then_some(reason::IP4_LINK_GROUP)
}

/// Of so many whole TCP and UDP packets of an interface, the first is looked at.
const SAMPLE_EVERY: u64 = 1024;

impl Reference {
    pub(super) fn ip4_input(
        &mut self,
        transit: Transit,
        link_group: bool,
        table: &dyn NewFlowOrder,
    ) {
        if let Some(reason) = broken_rule(&transit.packet, link_group) {
            return self.out.drop(reason);
        }
        let source = Header::of(&transit.packet).source;
        if self.config.is_own(source) || self.config.is_vip(source) {
            return self.out.drop(reason::IP4_SPOOFED);
        }
        if is_broadcast(&self.config, source) {
            return self.out.drop(reason::IP4_MARTIAN_SOURCE);
        }
        self.sample(&transit);
        if self.config.interface(transit.rx).nat4_in {
            return self.translate_reply(transit, table);
        }
        self.lookup(transit, table);
    }

    /// Looks for senders that leave the checksum to a network card.
    fn sample(&mut self, transit: &Transit) {
        let header = Header::of(&transit.packet);
        if !header.has_ports() || header.fragment {
            return;
        }
        let seen = self.sampled.entry(transit.rx).or_default();
        *seen += 1;
        if *seen % SAMPLE_EVERY == 1 && checksum::is_partial(&transit.packet) {
            self.out.count(reason::IP4_PARTIAL_CHECKSUM);
        }
    }

    /// Sends a packet on by its destination.
    pub(super) fn lookup(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        match destination(&self.config, header.destination) {
            Destination::NoRoute => {
                self.out.count(reason::NO_ROUTE);
                self.error(transit, Error::NetUnreachable, table);
            }
            Destination::LinkDown => self.out.drop(reason::LINK_DOWN),
            Destination::Broadcast => self.out.drop(reason::BROADCAST),
            Destination::Local => self.local(transit, table),
            Destination::Vip => self.balance(transit, table),
            Destination::Neighbor { interface, next_hop } => {
                let direct = self.is_server(header.destination);
                if !direct || self.note_direct(&transit.packet) {
                    self.forward(transit, interface, next_hop, table);
                }
            }
        }
    }

    fn is_server(&self, address: Ipv4Addr) -> bool {
        self.config.vips.iter().any(|vip| self.knows(vip, address))
    }
}
