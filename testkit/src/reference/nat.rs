//! Translation's way back: whose reply a packet from an AS is; and clients that go to ASs
//! themselves, whose replies look just the same.

use std::net::IpAddr;

use super::balance::is_error;
use super::checksum;
use super::encap::finish_error;
use super::error::Error;
use super::flows::{FlowKey, Goal, after_client, after_server};
use super::fragments::Place;
use super::ip::{Header, has_ports, set_source, set_word};
use super::model::{NewFlowOrder, Reference, Transit};
use super::quote::Quote;
use super::reason;
use super::route::Destination;
use super::select::opens;
use super::service::{Vip, VipKey};
use super::upper::{Tuple, Upper, flags_of};

/// Whose packet from an AS it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No VIP's.
    NotMapped,
    /// It answers a client that came to the AS itself.
    Direct,
    /// It goes on in the name of this address and port.
    As(VipKey, IpAddr, u16),
    /// Several VIPs, addresses or ports could be meant.
    Unknown,
}

impl Reference {
    /// A packet on an interface where ASs answer.
    pub(super) fn server_input(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let Ok(upper) = Upper::of(&transit.packet) else { return self.lookup(transit, table) };
        let message = header.total_len.saturating_sub(upper.at);
        if self.scope.icmp_errors
            && upper.protocol == header.icmp()
            && upper.fragment.is_none()
            && message >= 8
            && is_error(header.v6, transit.packet[upper.at])
        {
            return self.error_from_server(transit, &upper, table);
        }
        let is_option = matches!(upper.protocol, 0 | 43 | 44 | 51 | 60);
        let may_have_ports =
            has_ports(upper.protocol) || header.v6 && upper.is_later() && is_option;
        if !may_have_ports {
            if header.v6 && !upper.is_later() && self.is_reachable_server(header.source) {
                self.remember_from_server(&transit, &upper, Place::Itself);
                let first = transit.clone();
                self.lookup(transit, table);
                return self.release_from_server(&first, &upper, table);
            }
            return self.lookup(transit, table);
        }
        if upper.is_later() {
            return if !self.is_reachable_server(header.source) {
                self.lookup(transit, table)
            } else if self.scope.fragments {
                self.later_from_server(transit, &upper, table)
            } else {
                self.out.drop(reason::REPLY_FRAGMENT)
            };
        }
        let verdict = Tuple::of(&transit.packet, &upper)
            .map_or(Verdict::NotMapped, |tuple| self.attribute(&tuple.reversed()));
        let place = match verdict {
            Verdict::As(vip, address, _) => Place::As(vip, address),
            _ => Place::Itself,
        };
        if verdict != Verdict::Unknown && self.is_reachable_server(header.source) {
            self.remember_from_server(&transit, &upper, place);
        }
        let first = transit.clone();
        match verdict {
            Verdict::NotMapped => self.lookup(transit, table),
            Verdict::Direct => {
                self.touch_by_server(&transit.packet, &upper);
                self.lookup(transit, table);
            }
            Verdict::As(vip, address, port) => {
                self.touch_by_server(&transit.packet, &upper);
                self.count_reply(vip, header.source, header.total_len);
                self.reply_as(transit, &upper, Some(vip), (address, Some(port)), table);
            }
            Verdict::Unknown => return self.out.drop(texts.no_flow),
        }
        self.release_from_server(&first, &upper, table);
    }

    /// VIPs whose AS and target port this is.
    fn candidates(&self, server: IpAddr, protocol: u8, port: u16) -> Vec<&Vip> {
        let has = |vip: &&Vip| {
            let node = vip.node_port.map(|port| vip.target_port(port, true));
            vip.is_nat()
                && vip.protocol() == Some(protocol)
                && self.knows(vip, server)
                && (vip.has_target(port) || node == Some(port))
        };
        self.config.vips.iter().filter(has).collect()
    }

    /// True when somebody who goes to this service himself could be taken for a client of a VIP.
    pub(super) fn is_target(&self, server: IpAddr, protocol: u8, port: u16) -> bool {
        !self.candidates(server, protocol, port).is_empty()
    }

    /// The flow that the server sees like this, among those of one worker.
    fn seen_as(&self, worker: usize, service: &Tuple, direct: bool) -> Option<FlowKey> {
        let is_it = |key: &FlowKey| match key.goal {
            Goal::Direct => direct,
            Goal::Vip(vip) => !direct && self.config.vip(&vip).is_some_and(Vip::is_nat),
        };
        self.workers[worker]
            .flows
            .iter()
            .filter(|(key, flow)| is_it(key) && self.counts(key, flow))
            .find(|(key, flow)| self.at_server(key, flow.server) == *service)
            .map(|(key, _)| *key)
    }

    /// Whom an AS answers; `service` is what the client's packets to it look like.
    fn attribute(&self, service: &Tuple) -> Verdict {
        let candidates =
            self.candidates(service.destination, service.protocol, service.destination_port);
        if candidates.is_empty() {
            return Verdict::NotMapped;
        }
        let name = |key: FlowKey| match key.goal {
            Goal::Vip(vip) => Verdict::As(vip, key.tuple.destination, key.tuple.destination_port),
            Goal::Direct => Verdict::Direct,
        };
        if let Some(key) = self.seen_as(self.me, service, false) {
            return name(key);
        }
        if self.seen_as(self.me, service, true).is_some() {
            return Verdict::Direct;
        }
        let peers = || (0..self.workers.len()).filter(|worker| *worker != self.me);
        let direct = || peers().any(|worker| self.seen_as(worker, service, true).is_some());
        let only = match candidates[..] {
            [vip] => vip.only_origin(service.destination_port).map(|origin| (vip.key, origin)),
            _ => None,
        };
        let at_peers = || peers().find_map(|worker| self.seen_as(worker, service, false));
        match only {
            Some(_) if direct() => Verdict::Direct,
            Some((vip, (address, port))) => Verdict::As(vip, address, port),
            None => match at_peers() {
                Some(key) => name(key),
                None if direct() => Verdict::Direct,
                None => Verdict::Unknown,
            },
        }
    }

    /// The flow that an AS answers lives on, if it is in this worker's table.
    fn touch_by_server(&mut self, packet: &[u8], upper: &Upper) {
        let Some(tuple) = Tuple::of(packet, upper) else { return };
        let (service, flags) = (tuple.reversed(), flags_of(packet, upper));
        let key = self.seen_as(self.me, &service, false);
        let Some(key) = key.or_else(|| self.seen_as(self.me, &service, true)) else { return };
        let Some(flow) = self.alive(&key) else { return };
        self.put(key, flow.server, after_server(flow.state, flags));
    }

    fn count_reply(&mut self, vip: VipKey, server: IpAddr, bytes: usize) {
        let counts = self.out.servers.entry((vip, server)).or_default();
        counts.reply_packets += 1;
        counts.reply_bytes += bytes as u64;
    }

    /// Gives a reply the VIP's address and port (a later fragment has none), and routes it.
    pub(super) fn reply_as(
        &mut self,
        transit: Transit,
        upper: &Upper,
        vip: Option<VipKey>,
        (address, port): (IpAddr, Option<u16>),
        table: &dyn NewFlowOrder,
    ) {
        if upper.fragment.is_some() && !self.scope.fragments {
            return self.out.drop(reason::REPLY_FRAGMENT);
        }
        let mut packet = transit.packet.clone();
        set_source(&mut packet, address);
        if let Some(port) = port {
            set_word(&mut packet, upper.at, port);
        }
        checksum::finish(&transit.packet, &mut packet, upper);
        let vip = vip.and_then(|vip| self.config.vip(&vip)).cloned();
        let server = Header::of(&transit.packet).source;
        let clamped = vip.is_some_and(|vip| self.clamp(&vip, server, upper, &mut packet));
        self.route_translated(transit, (packet, clamped), table);
    }

    /// Routes what an AS sent and what became of it, unless something is in the way of the former.
    fn route_translated(
        &mut self,
        transit: Transit,
        (packet, clamped): (Vec<u8>, bool),
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        if header.ttl <= 1 {
            self.out.count(texts.reply_ttl_expired);
            return self.error(transit, Error::TimeExceeded, table);
        }
        match self.destination(header.destination) {
            Destination::NoRoute => {
                self.out.count(texts.reply_no_route);
                return self.error(transit, Error::NetUnreachable, table);
            }
            Destination::Neighbor { interface, .. } => {
                let mtu = self.config.interface(interface).mtu;
                if header.total_len > mtu && header.dont_fragment {
                    self.out.count(texts.reply_too_big);
                    let error = Error::TooBig { mtu, from_vip: false };
                    return self.error(transit, error, table);
                }
            }
            _ => {}
        }
        self.out.count(texts.translated);
        if clamped {
            self.out.count(texts.reply_mss_clamped);
        }
        self.lookup(Transit { packet, ..transit }, table);
    }

    /// An ICMP error by an AS, or by a router before it, about what a client sent through a VIP:
    /// the client gets it about what it knows of.
    fn error_from_server(&mut self, transit: Transit, upper: &Upper, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        let quote = Quote::of(&transit.packet, upper);
        let Some(quote) = quote.filter(|quote| !quote.later && has_ports(quote.tuple.protocol))
        else {
            return self.lookup(transit, table);
        };
        match self.attribute(&quote.tuple) {
            Verdict::NotMapped | Verdict::Direct => self.lookup(transit, table),
            Verdict::Unknown => self.out.drop(reason::of(header.v6).no_flow),
            Verdict::As(_, address, port) => {
                let mut packet = transit.packet.clone();
                if header.source == quote.tuple.destination {
                    set_source(&mut packet, address);
                }
                quote.translate(&mut packet, false, (address, port));
                finish_error(&transit.packet, &mut packet, upper);
                self.route_translated(transit, (packet, false), table);
            }
        }
    }

    /// True for an AS that clients could also reach directly.
    fn is_reachable_server(&self, address: IpAddr) -> bool {
        let routed = matches!(self.destination(address), Destination::Neighbor { .. });
        routed && self.config.vips.iter().any(|vip| vip.is_nat() && self.knows(vip, address))
    }

    /// Remembers that a client talks to an AS's own address and target port. False when it must
    /// not, because the server could not tell that from what it does through a VIP.
    pub(super) fn note_direct(&mut self, packet: &[u8]) -> bool {
        let Some((upper, tuple)) = Self::whole(packet) else { return true };
        let header = Header::of(packet);
        // A packet that dies here makes no flow.
        if upper.is_later() || !has_ports(upper.protocol) || header.ttl <= 1 {
            return true;
        }
        if !self.is_target(tuple.destination, tuple.protocol, tuple.destination_port) {
            return true;
        }
        let key = FlowKey { goal: Goal::Direct, tuple };
        let flags = flags_of(packet, &upper);
        let opens = opens(tuple.protocol, flags);
        let before = self.alive(&key).filter(|flow| !(opens && flow.state.is_closing()));
        if before.is_none() {
            if self.is_in_use(&key) {
                self.out.drop(reason::of(header.v6).direct_tuple_in_use);
                return false;
            }
            self.supersede(&key, tuple);
        }
        // Its replies pass us.
        let state = after_client(before.map(|flow| flow.state), tuple.protocol, flags, true);
        self.put(key, tuple.destination, state);
        true
    }
}
