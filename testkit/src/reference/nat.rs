//! The load balancer: which AS a client's packet goes to, and whose reply a server's packet is.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::checksum;
use super::config::{Service, Vip};
use super::flows::{Flow, FlowKey, Goal, State, after_client, after_server, lifetime_s};
use super::frame::tcp_flag::{ACK, FIN, RST, SYN};
use super::icmp::Error;
use super::ip4::{Header, ICMP, TCP, word};
use super::model::{NewFlowOrder, Reference, Transit, is_closing};
use super::reason;
use super::route::{Destination, destination, route};

/// Ports and TCP flags of a packet; flags are 0 for UDP.
fn ports_and_flags(packet: &[u8], header: &Header) -> (u16, u16, u8) {
    let l4 = header.header_len;
    let flags = if header.protocol == TCP { packet[l4 + 13] } else { 0 };
    (word(packet, l4), word(packet, l4 + 2), flags)
}

/// Bytes of a transport header without options.
fn transport_header_len(header: &Header) -> usize {
    if header.protocol == TCP { 20 } else { 8 }
}

impl Reference {
    /// True while the flow under `key` counts.
    pub(super) fn is_alive(&self, key: &FlowKey) -> bool {
        let Some(flow) = self.flows.get(key) else { return false };
        let flushed = match key.goal {
            Goal::Vip(vip) => self.flushes_of(vip, flow.server) != flow.flushes,
            Goal::Direct(_) => false,
        };
        self.now_s < flow.dies_s && !flushed
    }

    pub(super) fn flushes_of(&self, vip: Service, server: Ipv4Addr) -> u32 {
        self.flushes.get(&(vip, server)).copied().unwrap_or(0)
    }

    fn alive(&self, key: &FlowKey) -> Option<Flow> {
        self.is_alive(key).then(|| self.flows[key])
    }

    /// Writes a flow with a fresh lifetime.
    fn put(&mut self, key: FlowKey, server: Ipv4Addr, state: State) {
        let flushes = match key.goal {
            Goal::Vip(vip) => self.flushes_of(vip, server),
            Goal::Direct(_) => 0,
        };
        let dies_s = self.now_s + lifetime_s(state, &self.config.timeouts);
        self.flows.insert(key, Flow { server, flushes, state, dies_s });
    }

    /// A packet to a VIP's address.
    pub(super) fn balance(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        if header.protocol == ICMP {
            return self.local(transit, table);
        }
        let own = self.config.is_own(header.destination);
        if !header.has_ports() {
            return if own {
                self.local(transit, table)
            } else {
                self.out.drop(reason::VIP_PROTOCOL)
            };
        }
        if header.fragment_offset > 0 {
            return self.out.drop(reason::VIP_FRAGMENT);
        }
        if header.total_len < header.header_len + transport_header_len(&header) {
            return self.out.drop(reason::VIP_TRUNCATED);
        }
        if header.fragment {
            return self.out.drop(reason::VIP_FRAGMENT);
        }
        let (source, destination, flags) = ports_and_flags(&transit.packet, &header);
        let service =
            Service { address: header.destination, protocol: header.protocol, port: destination };
        let Some(at) = self.config.vips.iter().position(|vip| vip.service == service) else {
            return if own { self.local(transit, table) } else { self.out.drop(reason::VIP_PORT) };
        };
        let vip = self.config.vips[at].clone();
        // What is in the way is found before the packet is changed: an error quotes what was sent.
        if header.ttl <= 1 {
            self.out.count(reason::NAT_TTL_EXPIRED);
            return self.error(transit, Error::TimeExceeded, table);
        }
        let client = (header.source, source);
        let Some(server) = self.select(at, &vip, client, flags, table) else { return };
        let Destination::Neighbor { interface, next_hop } = route(&self.config, server) else {
            return self.out.drop(reason::NO_ROUTE_TO_SERVER);
        };
        let mtu = self.config.interface(interface).mtu;
        if header.total_len > mtu {
            if !header.dont_fragment {
                return self.out.drop(reason::NAT_TOO_BIG);
            }
            self.out.count(reason::NAT_TOO_BIG_DF);
            return self.error(transit, Error::FragmentationNeeded { mtu }, table);
        }
        let mut packet = transit.packet.clone();
        packet[16..20].copy_from_slice(&server.octets());
        let port_at = header.header_len + 2;
        packet[port_at..port_at + 2].copy_from_slice(&vip.target_port.to_be_bytes());
        checksum::finish(&transit.packet, &mut packet);
        self.forward(Transit { packet, ..transit }, interface, next_hop, table);
    }

    /// The AS of a client's packet, with everything that is remembered and counted about it.
    fn select(
        &mut self,
        at: usize,
        vip: &Vip,
        client: (Ipv4Addr, u16),
        flags: u8,
        table: &dyn NewFlowOrder,
    ) -> Option<Ipv4Addr> {
        let protocol = vip.service.protocol;
        let key = FlowKey { client, goal: Goal::Vip(vip.service) };
        let opens = protocol == TCP && flags & (SYN | ACK | FIN | RST) == SYN;
        let ended = |flow: &Flow| {
            // A removed AS keeps its connections but gets no new one.
            is_closing(flow.state) || !vip.servers.contains_key(&flow.server)
        };
        if let Some(flow) = self.alive(&key).filter(|flow| !(opens && ended(flow))) {
            self.put(key, flow.server, after_client(Some(flow.state), protocol, flags));
            self.out.vips.entry(at).or_default().existing += 1;
            return Some(flow.server);
        }
        let order = table.order(vip.service, client);
        let named: BTreeSet<_> = order.iter().copied().collect();
        let takes_flows = vip.servers.iter().filter(|(_, weight)| **weight > 0);
        let wanted: BTreeSet<_> = takes_flows.map(|(server, _)| *server).collect();
        assert_eq!(named, wanted, "the new-flow table of {:?}", vip.service);
        if order.is_empty() {
            self.out.vips.entry(at).or_default().no_server += 1;
            self.out.drop(reason::NO_SERVER);
            return None;
        }
        let clashes = |server: &Ipv4Addr| self.clashes(&key, *server, vip.target_port, protocol);
        // A new connection keeps clear of a server that may still be in TIME_WAIT for a twin.
        let fresh = |server: &Ipv4Addr| {
            let twins = self.twins(&key, *server, vip.target_port, protocol);
            !twins.iter().any(|twin| self.is_alive(twin))
        };
        let fresh = order.iter().copied().find(|server| opens && fresh(server));
        let Some(server) = fresh.or_else(|| order.into_iter().find(|server| !clashes(server)))
        else {
            self.out.drop(reason::TUPLE_IN_USE);
            return None;
        };
        self.supersede(&key, server, vip.target_port, protocol);
        self.put(key, server, after_client(None, protocol, flags));
        self.out.vips.entry(at).or_default().first += 1;
        Some(server)
    }

    /// The other conversations of this client that the server could not tell from a new one.
    fn twins(&self, key: &FlowKey, server: Ipv4Addr, port: u16, protocol: u8) -> Vec<FlowKey> {
        let direct = Goal::Direct(Service { address: server, protocol, port });
        self.flows
            .iter()
            .filter(|(other, flow)| {
                let same = match other.goal {
                    Goal::Direct(_) => other.goal == direct,
                    Goal::Vip(service) => {
                        flow.server == server
                            && service.protocol == protocol
                            && self.target_port(service) == Some(port)
                    }
                };
                other.client == key.client && other.goal != key.goal && same
            })
            .map(|(other, _)| *other)
            .collect()
    }

    fn target_port(&self, service: Service) -> Option<u16> {
        self.config.vips.iter().find(|vip| vip.service == service).map(|vip| vip.target_port)
    }

    fn clashes(&self, key: &FlowKey, server: Ipv4Addr, port: u16, protocol: u8) -> bool {
        self.twins(key, server, port, protocol)
            .iter()
            .any(|twin| self.alive(twin).is_some_and(|flow| !is_closing(flow.state)))
    }

    /// Conversations that are over make way for a new one.
    fn supersede(&mut self, key: &FlowKey, server: Ipv4Addr, port: u16, protocol: u8) {
        for twin in self.twins(key, server, port, protocol) {
            self.flows.remove(&twin);
        }
    }

    /// A packet on an interface where ASs answer.
    pub(super) fn translate_reply(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        if !header.has_ports() {
            return self.lookup(transit, table);
        }
        if header.fragment_offset > 0 {
            return if self.is_reachable_server(header.source) {
                self.out.drop(reason::REPLY_FRAGMENT);
            } else {
                self.lookup(transit, table);
            };
        }
        if header.total_len < header.header_len + transport_header_len(&header) {
            return self.lookup(transit, table);
        }
        let (source, destination, flags) = ports_and_flags(&transit.packet, &header);
        let from = Service { address: header.source, protocol: header.protocol, port: source };
        let client = (header.destination, destination);
        let candidates = self.candidates(from);
        if candidates.is_empty() {
            return self.lookup(transit, table);
        }
        let direct = FlowKey { client, goal: Goal::Direct(from) };
        let translated = candidates.iter().copied().find(|vip| {
            let key = FlowKey { client, goal: Goal::Vip(*vip) };
            self.alive(&key).is_some_and(|flow| flow.server == from.address)
        });
        if let Some(vip) = translated {
            self.touch_by_server(FlowKey { client, goal: Goal::Vip(vip) }, flags);
            return self.send_as(transit, vip, table);
        }
        if self.is_alive(&direct) {
            self.touch_by_server(direct, flags);
            return self.lookup(transit, table);
        }
        match candidates[..] {
            [vip] => self.send_as(transit, vip, table),
            _ => self.out.drop(reason::NO_FLOW),
        }
    }

    /// VIPs whose AS and target port this is.
    pub(super) fn candidates(&self, from: Service) -> Vec<Service> {
        self.config
            .vips
            .iter()
            .filter(|vip| {
                vip.target_port == from.port
                    && vip.service.protocol == from.protocol
                    && self.knows(vip, from.address)
            })
            .map(|vip| vip.service)
            .collect()
    }

    /// True for a configured AS, and for a removed one until control forgets it.
    pub(super) fn knows(&self, vip: &Vip, server: Ipv4Addr) -> bool {
        vip.servers.contains_key(&server) || self.removed.contains(&(vip.service, server))
    }

    fn touch_by_server(&mut self, key: FlowKey, flags: u8) {
        let Some(flow) = self.alive(&key) else { return };
        let (Goal::Vip(service) | Goal::Direct(service)) = key.goal;
        let state = after_server(flow.state, service.protocol, flags);
        self.put(key, flow.server, state);
    }

    /// Gives a reply the VIP's address and port, and routes it.
    fn send_as(&mut self, transit: Transit, vip: Service, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        if header.fragment {
            return self.out.drop(reason::REPLY_FRAGMENT);
        }
        if header.ttl <= 1 {
            self.out.count(reason::REPLY_TTL_EXPIRED);
            return self.error(transit, Error::TimeExceeded, table);
        }
        match destination(&self.config, header.destination) {
            Destination::NoRoute => {
                self.out.count(reason::REPLY_NO_ROUTE);
                return self.error(transit, Error::NetUnreachable, table);
            }
            Destination::Neighbor { interface, .. } => {
                let mtu = self.config.interface(interface).mtu;
                if header.total_len > mtu && header.dont_fragment {
                    self.out.count(reason::REPLY_TOO_BIG_DF);
                    return self.error(transit, Error::FragmentationNeeded { mtu }, table);
                }
            }
            _ => {}
        }
        let mut packet = transit.packet.clone();
        packet[12..16].copy_from_slice(&vip.address.octets());
        let at = header.header_len;
        packet[at..at + 2].copy_from_slice(&vip.port.to_be_bytes());
        checksum::finish(&transit.packet, &mut packet);
        self.out.count(reason::TRANSLATED);
        self.lookup(Transit { packet, ..transit }, table);
    }

    /// True for an AS that clients could also reach directly.
    fn is_reachable_server(&self, address: Ipv4Addr) -> bool {
        let routed = matches!(destination(&self.config, address), Destination::Neighbor { .. });
        routed && self.config.vips.iter().any(|vip| self.knows(vip, address))
    }

    /// Remembers that a client talks to an AS's own address and target port. False when it must
    /// not, because the server could not tell that from what it does through a VIP.
    pub(super) fn note_direct(&mut self, packet: &[u8]) -> bool {
        let header = Header::of(packet);
        let whole = header.has_ports()
            && header.fragment_offset == 0
            && header.total_len >= header.header_len + transport_header_len(&header);
        // A packet that dies here makes no flow.
        if !whole || header.ttl <= 1 {
            return true;
        }
        let (source, destination, flags) = ports_and_flags(packet, &header);
        let to =
            Service { address: header.destination, protocol: header.protocol, port: destination };
        if self.candidates(to).is_empty() {
            return true;
        }
        let key = FlowKey { client: (header.source, source), goal: Goal::Direct(to) };
        let opens = header.protocol == TCP && flags & (SYN | ACK | FIN | RST) == SYN;
        let before = self.alive(&key).filter(|flow| !(opens && is_closing(flow.state)));
        if before.is_none() {
            if self.clashes(&key, to.address, to.port, to.protocol) {
                self.out.drop(reason::DIRECT_TUPLE_IN_USE);
                return false;
            }
            self.supersede(&key, to.address, to.port, to.protocol);
        }
        let state = after_client(before.map(|flow| flow.state), header.protocol, flags);
        self.put(key, to.address, state);
        true
    }
}
