//! What may be wrong with an IP packet (RFC 791 §3.1, RFC 1812 §5.2.2 and §5.3.7, RFC 8200 §3,
//! RFC 4291 §2.5), and where a good one goes.

use std::net::{IpAddr, Ipv6Addr};

use super::checksum;
use super::config::Kind;
use super::error::Error;
use super::ip::{Header, has_ports, is_link_local};
use super::model::{NewFlowOrder, Reference, Transit};
use super::outcome::Reason;
use super::reason;
use super::route::{Destination, is_broadcast};
use super::upper::{Tuple, Upper};

/// The first rule of IPv4 that `packet` breaks.
fn broken_rule4(packet: &[u8], link_group: bool, source_routes: bool) -> Option<Reason> {
    if packet.len() < 20 {
        return Some(reason::IP4_SHORT);
    }
    if packet[0] >> 4 != 4 {
        return Some(reason::IP4_VERSION);
    }
    let header = Header::of(packet);
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
    if source_routes && is_source_routed(&packet[20..header.header_len]) {
        return Some(reason::IP4_SOURCE_ROUTE);
    }
    let (source, destination) = (packet[12], packet[16]);
    // Nobody's address: this network, loopback, groups, reserved, broadcast (RFC 1812 §5.3.7).
    if matches!(source, 0 | 127 | 224..=255) {
        return Some(reason::IP4_MARTIAN_SOURCE);
    }
    if matches!(destination, 224..=239) || packet[16..20] == [255; 4] {
        return Some(reason::IP4_GROUP);
    }
    if matches!(destination, 0 | 127 | 240..=255) {
        return Some(reason::IP4_MARTIAN_DESTINATION);
    }
    // RFC 1812 §5.3.4; groups were sorted out above.
    link_group.then_some(reason::IP4_LINK_GROUP)
}

/// True when the options ask for a way of the sender's choice (RFC 791, types 131 and 137).
fn is_source_routed(options: &[u8]) -> bool {
    let mut at = 0;
    while at < options.len() {
        match options[at] {
            0 => return false,
            1 => at += 1,
            131 | 137 => return true,
            _ => match options.get(at + 1) {
                Some(len) if *len >= 2 => at += usize::from(*len),
                _ => return false,
            },
        }
    }
    false
}

/// True for the groups that we are in: all nodes, and those of our addresses' solicitations.
fn is_own_group(group: Ipv6Addr) -> bool {
    let segments = group.segments();
    let solicited = segments[..6] == [0xff02, 0, 0, 0, 0, 1] && segments[6] >> 8 == 0xff;
    solicited || segments == [0xff02, 0, 0, 0, 0, 0, 0, 1]
}

/// The first rule of IPv6 that `packet` breaks.
fn broken_rule6(packet: &[u8], link_group: bool) -> Option<Reason> {
    if packet.len() < 40 {
        return Some(reason::IP6_SHORT);
    }
    if packet[0] >> 4 != 6 {
        return Some(reason::IP6_VERSION);
    }
    let header = Header::of(packet);
    if header.total_len > packet.len() {
        return Some(reason::IP6_TRUNCATED);
    }
    if header.ttl == 0 {
        return Some(reason::IP6_TTL_ZERO);
    }
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (header.source, header.destination) else {
        unreachable!("version 6")
    };
    // Hosts without an address yet send to groups.
    let nobody = source.is_unspecified() && !destination.is_multicast();
    if nobody || source.is_loopback() || source.is_multicast() {
        return Some(reason::IP6_MARTIAN_SOURCE);
    }
    if destination.is_unspecified() || destination.is_loopback() {
        return Some(reason::IP6_MARTIAN_DESTINATION);
    }
    if destination.is_multicast() {
        return (!is_own_group(destination)).then_some(reason::IP6_GROUP);
    }
    link_group.then_some(reason::IP6_LINK_GROUP)
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
        if let Some(reason) = broken_rule4(&transit.packet, link_group, self.scope.checks) {
            return self.out.drop(reason);
        }
        self.accept(transit, table);
    }

    pub(super) fn ip6_input(
        &mut self,
        transit: Transit,
        link_group: bool,
        table: &dyn NewFlowOrder,
    ) {
        if let Some(reason) = broken_rule6(&transit.packet, link_group) {
            return self.out.drop(reason);
        }
        self.accept(transit, table);
    }

    /// What both families have in common behind the header's own rules.
    fn accept(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        if self.is_spoofed(header.source, header.destination) {
            return self.out.drop(reason::of(header.v6).spoofed);
        }
        if is_broadcast(&self.config, header.source) {
            return self.out.drop(reason::IP4_MARTIAN_SOURCE);
        }
        self.sample(&transit);
        let interface = self.config.interface(transit.rx);
        let group = matches!(header.destination, IpAddr::V6(to) if to.is_multicast());
        if group {
            self.local(transit, table);
        } else if if header.v6 { interface.nat6_in } else { interface.nat4_in } {
            self.server_input(transit, table);
        } else {
            self.lookup(transit, table);
        }
    }

    /// True for a source that only we have. A VIP's address is also the source of a server that
    /// answers its client directly; that answer may take us for its router, but never goes to us. A VIP
    /// of every address says nothing.
    fn is_spoofed(&self, source: IpAddr, destination: IpAddr) -> bool {
        let is_ours =
            |address| matches!(self.destination(address), Destination::Local | Destination::Vip);
        let mut vips = self.config.vips.iter().filter(|vip| vip.key.has(source));
        let anybody =
            self.destination(source) == Destination::Vip && vips.all(|vip| vip.key.prefix_len == 0);
        if self.destination(source) == Destination::Vip
            && !anybody
            && self.config.vips.iter().any(|vip| !vip.is_nat() && vip.key.has(source))
        {
            return is_ours(destination);
        }
        let ours = is_ours(source) && !anybody;
        let outer = self.config.tunnels.source(source.is_ipv6()) == Some(source);
        ours || outer
    }

    /// Looks for senders that leave the checksum to a network card.
    fn sample(&mut self, transit: &Transit) {
        let header = Header::of(&transit.packet);
        let Ok(upper) = Upper::of(&transit.packet) else { return };
        if !has_ports(header.protocol) || upper.fragment.is_some() {
            return;
        }
        let seen = self.family(header.v6).sampled.entry(transit.rx).or_default();
        *seen += 1;
        if *seen % SAMPLE_EVERY == 1 && checksum::is_partial(&transit.packet, &upper) {
            self.out.count(reason::of(header.v6).partial_checksum);
        }
    }

    /// What becomes of a destination. Our own packets to link-local addresses go back by the link
    /// that the packets they answer came from.
    fn way_out(&self, transit: &Transit, destination: IpAddr) -> Destination {
        let to = self.destination(destination);
        let answers = transit.originated && is_link_local(destination);
        if !answers || to == Destination::Local || self.is_tunnel(transit.rx) {
            return to;
        }
        Destination::Neighbor { interface: transit.rx, next_hop: destination }
    }

    /// Sends a packet on by its destination.
    pub(super) fn lookup(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let to = self.way_out(&transit, header.destination);
        let near = is_link_local(header.source) || is_link_local(header.destination);
        if near && !transit.originated && to != Destination::Local {
            return self.out.drop(reason::LINK_LOCAL);
        }
        match to {
            Destination::NoRoute => {
                self.out.count(texts.no_route);
                self.error(transit, Error::NetUnreachable, table);
            }
            Destination::LinkDown => self.out.drop(texts.link_down),
            Destination::Broadcast => self.out.drop(reason::BROADCAST),
            Destination::Local => self.local(transit, table),
            Destination::Vip => self.balance(transit, table),
            Destination::Neighbor { interface, next_hop } => {
                if !self.is_nat_server(header.destination) || self.note_direct(&transit.packet) {
                    self.forward(transit, interface, next_hop, table);
                }
            }
        }
    }

    /// True for an AS whose replies pass us.
    fn is_nat_server(&self, address: IpAddr) -> bool {
        self.config.vips.iter().any(|vip| vip.is_nat() && self.knows(vip, address))
    }

    /// The upper layer of a packet and its addresses and ports, if both are whole.
    pub(super) fn whole(packet: &[u8]) -> Option<(Upper, Tuple)> {
        let upper = Upper::of(packet).ok()?;
        Some((upper, Tuple::of(packet, &upper)?))
    }

    /// True for a tunnel interface.
    pub(super) fn is_tunnel(&self, interface: u16) -> bool {
        matches!(self.config.interface(interface).kind, Kind::Tunnel { .. })
    }
}
