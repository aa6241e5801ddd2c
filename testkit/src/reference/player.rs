//! [`Player`]: plays the hosts around the box.

use std::net::{IpAddr, Ipv6Addr};

use super::config::{Config, Kind};
use super::flaw::{Cut, Flaw};
use super::frame::{Body, Description, arp, neighbor_message};
use super::hosts::{
    interface_of, off_the_wire, on_the_wire, ours, pick, speakers, targets, within,
};
use super::ip::{Header, IP6IP, IPIP, TCP, UDP, has_ports, set_tos};
use super::scenario::{Action, Pick, Step, Universe};
use super::service::{Ports, Vip};
use super::upper::{Tuple, Upper};

/// How far back [`Step::Reply`] reaches.
const REMEMBERED: usize = 16;

/// Turns steps into actions, remembering what the box sent.
#[derive(Clone, Debug)]
pub struct Player {
    pub(super) universe: Universe,
    /// Newest first, with the interfaces they left by and without tags.
    pub(super) sent: Vec<(u16, Vec<u8>)>,
    pub(super) needed: Vec<(u16, IpAddr)>,
    /// Conversations of clients with VIPs, newest first, and where the clients are.
    spoken: Vec<(u16, Tuple)>,
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + 1) as u8).collect()
}

/// ICMP errors and what else there is, by number: of IPv4, of IPv6.
fn message_of(v6: bool, kind: Pick) -> (u8, u8) {
    let all4 = [(3, 4), (3, 3), (11, 0), (12, 0), (3, 1), (5, 0), (8, 0)];
    let all6 = [(2, 0), (1, 4), (3, 0), (4, 1), (1, 0), (100, 0), (128, 0)];
    if v6 { all6[kind % 7] } else { all4[kind % 7] }
}

impl Player {
    /// Nothing sent yet.
    pub fn new(universe: &Universe) -> Self {
        Self {
            universe: universe.clone(),
            sent: Vec::new(),
            needed: Vec::new(),
            spoken: Vec::new(),
        }
    }

    /// Remembers what the box sent on a port, so that it can be answered.
    pub fn sent(&mut self, port: u16, frame: &[u8]) {
        let (interface, frame) = off_the_wire(&self.universe.config, port, frame);
        // The box also forwards what ends within its options or before its ports.
        let replyable = super::flaw::editable(&frame)
            && Upper::of(&frame[14..]).is_ok_and(|upper| {
                has_ports(upper.protocol) && Tuple::of(&frame[14..], &upper).is_some()
            });
        if replyable {
            self.sent.insert(0, (interface, frame));
            self.sent.truncate(REMEMBERED);
        }
    }

    /// Remembers a neighbour that the box asked for.
    pub fn needed(&mut self, interface: u16, address: IpAddr) {
        self.needed.push((interface, address));
    }

    /// The action of the next step; `config` is the box's present configuration.
    pub fn act(&mut self, step: &Step, config: &Config) -> Action {
        self.try_act(step, config).unwrap_or(Action::Nothing)
    }

    fn try_act(&mut self, step: &Step, config: &Config) -> Option<Action> {
        match step {
            Step::Repeat(times) => Some(Action::Repeat(*times)),
            Step::Audit => Some(Action::Audit),
            Step::Resize(log2) => Some(Action::Resize(*log2)),
            Step::Wait(seconds) => Some(Action::Wait(*seconds)),
            Step::InPieces(step, cut) => self.in_pieces(step, cut, config),
            _ => match self.frame(step, config) {
                Some((interface, frame)) => {
                    let (interface, frame) = on_the_wire(config, interface, frame);
                    Some(Action::Receive { interface, frame })
                }
                None => self.change(step, config).map(Action::Change),
            },
        }
    }

    fn in_pieces(&mut self, step: &Step, cut: &Cut, config: &Config) -> Option<Action> {
        let (interface, frame) = self.frame(step, config)?;
        let pieces = cut.apply(&frame).into_iter();
        let arriving = pieces.map(|piece| on_the_wire(config, interface, piece)).collect();
        Some(Action::ReceiveEach(arriving))
    }

    /// The frame of a step, without tags, and the interface it is meant for.
    fn frame(&mut self, step: &Step, config: &Config) -> Option<(u16, Vec<u8>)> {
        match step {
            Step::ToVip { .. }
            | Step::ToVipZeroSum { .. }
            | Step::ToServer { .. }
            | Step::ToNodePort { .. }
            | Step::Again { .. } => self.client_frame(step, config),
            Step::Reply { .. } | Step::FromServer { .. } => self.server_frame(step, config),
            Step::ErrorAbout { .. } | Step::ErrorToVip { .. } => self.icmp_error(step, config),
            Step::Icmp { client, target, kind, code, len, flaws } => {
                let (interface, source) = pick(&self.universe.clients, *client)?;
                let v6 = source.is_ipv6();
                let kind = match (*kind, v6) {
                    (8, true) => 128,
                    (0, true) => 129,
                    (11, true) => 3,
                    (kind, _) => kind,
                };
                let body = Body::Icmp { kind, code: *code, rest: data(*len) };
                let destination = pick(&targets(&self.universe, config, v6), *target)?;
                Some(self.flawed(interface, (source, destination), body, flaws))
            }
            Step::Plain { client, target, protocol, port, len, dont_fragment, flaws } => {
                let (interface, source) = pick(&self.universe.clients, *client)?;
                let all = targets(&self.universe, config, source.is_ipv6());
                let destination = pick(&all, *target)?;
                let body = match *protocol {
                    TCP | UDP => segment(*protocol, client_port(1), *port, 0x10, *len),
                    protocol => Body::Other { protocol, data: data(*len) },
                };
                let mut description = self.sent_by(interface, source, destination, body);
                description.dont_fragment = *dont_fragment;
                Some((interface, with_flaws(description.bytes(), flaws)))
            }
            Step::Arp { .. } => self.arp(step, config),
            Step::Discovery { .. } => self.discovery(step, config),
            Step::InTunnel { step, tunnel, tos, flaws } => {
                let (_, frame) = self.frame(step, config)?;
                self.in_tunnel(&frame, *tunnel, *tos, flaws, config)
            }
            Step::Bytes { interface, ether_type, fixed, bytes } => {
                let interface = pick(&config.ports().collect::<Vec<_>>(), *interface)?;
                let mut frame = Vec::new();
                if let Some(kind) = ether_type {
                    frame.extend_from_slice(&config.interface(interface).mac);
                    frame.extend_from_slice(&[2, 0x0c, 0, 0, 0, 1]);
                    frame.extend_from_slice(&kind.to_be_bytes());
                }
                let fix = *fixed && bytes.len() >= 60;
                frame.extend(if fix { disguised(*ether_type, bytes) } else { bytes.clone() });
                Some((interface, frame))
            }
            _ => None,
        }
    }

    fn client_frame(&mut self, step: &Step, config: &Config) -> Option<(u16, Vec<u8>)> {
        let clients = &self.universe.clients;
        match step {
            Step::ToVip { client, port, vip, within: at, flags, len, flaws } => {
                let vip = pick(&config.vips, *vip)?;
                let (interface, source) = client_of(clients, *client, &vip)?;
                let tuple = tuple_to(&vip, source, *port, *at);
                self.remember(interface, tuple);
                Some(self.speak(interface, &tuple, *flags, *len, flaws))
            }
            Step::ToVipZeroSum { client, port, vip, server } => {
                let (vip, server) = server_of(config, *vip, *server)?;
                let (interface, source) = client_of(clients, *client, &vip)?;
                let tuple = tuple_to(&vip, source, *port, 0);
                let target = vip.target_port(tuple.destination_port, false);
                let flaw = Flaw::ComputesToZeroAt(false, server, target);
                Some(self.speak(interface, &tuple, 0x10, 8, &[flaw]))
            }
            Step::ToServer { client, port, vip, server, flags, flaws } => {
                let (vip, server) = server_of(config, *vip, *server)?;
                let (interface, source) = client_of(clients, *client, &vip)?;
                if source.is_ipv6() != server.is_ipv6() {
                    return None;
                }
                let mut tuple = tuple_to(&vip, source, *port, 0);
                tuple.destination_port = vip.target_port(tuple.destination_port, false);
                tuple.destination = server;
                Some(self.speak(interface, &tuple, *flags, 4, flaws))
            }
            Step::ToNodePort { client, port, vip, own, flags, flaws } => {
                let with: Vec<Vip> =
                    config.vips.iter().filter(|vip| vip.node_port.is_some()).cloned().collect();
                let vip = pick(&with, *vip)?;
                let (interface, source) = client_of(clients, *client, &vip)?;
                let own_addresses: Vec<IpAddr> = config
                    .interfaces
                    .iter()
                    .flat_map(|link| link.addresses.iter().map(|(own, _)| *own))
                    .filter(|own| own.is_ipv6() == source.is_ipv6())
                    .collect();
                let mut tuple = tuple_to(&vip, source, *port, 0);
                tuple.destination = pick(&own_addresses, *own)?;
                tuple.destination_port = vip.node_port?;
                self.remember(interface, tuple);
                Some(self.speak(interface, &tuple, *flags, 4, flaws))
            }
            Step::Again { back, flags, len } => {
                let (interface, tuple) = pick(&self.spoken, *back)?;
                Some(self.speak(interface, &tuple, *flags, *len, &[]))
            }
            _ => None,
        }
    }

    fn remember(&mut self, interface: u16, tuple: Tuple) {
        self.spoken.insert(0, (interface, tuple));
        self.spoken.truncate(REMEMBERED);
    }

    fn server_frame(&mut self, step: &Step, config: &Config) -> Option<(u16, Vec<u8>)> {
        match step {
            Step::Reply { back, flags, len, zero_sum, flaws } => {
                let (interface, frame) = pick(&self.sent, *back)?;
                let packet = &frame[14..];
                let upper = Upper::of(packet).ok()?;
                let tuple = Tuple::of(packet, &upper)?.reversed();
                let mut flaws = flaws.clone();
                if *zero_sum
                    && let Some(vip) = config.vips.iter().find(|vip| {
                        vip.is_nat()
                            && vip.protocol() == Some(tuple.protocol)
                            && vip.has_target(tuple.source_port)
                    })
                {
                    let (address, port) = (within(vip, 0), vip.key.some_port(0));
                    flaws.insert(0, Flaw::ComputesToZeroAt(true, address, port));
                }
                Some(self.speak(interface, &tuple, *flags, *len, &flaws))
            }
            Step::FromServer { vip, server, client, port, flags, flaws } => {
                let (vip, server) = server_of(config, *vip, *server)?;
                let (_, destination) = client_of(&self.universe.clients, *client, &vip)?;
                if destination.is_ipv6() != server.is_ipv6() {
                    return None;
                }
                let to = tuple_to(&vip, destination, *port, 0);
                let tuple = Tuple {
                    source: server,
                    source_port: vip.target_port(to.destination_port, false),
                    destination,
                    destination_port: to.source_port,
                    protocol: to.protocol,
                };
                Some(self.speak(interface_of(config, server), &tuple, *flags, 4, flaws))
            }
            _ => None,
        }
    }

    fn icmp_error(&mut self, step: &Step, config: &Config) -> Option<(u16, Vec<u8>)> {
        let (interface, quote, (from, to), kind, flaws, reporter) = match step {
            Step::ErrorAbout { back, reporter, kind, quoted, flaws } => {
                let (interface, frame) = pick(&self.sent, *back)?;
                let packet = &frame[14..];
                let header = Header::of(packet);
                let quote = packet[..header.total_len.min(*quoted)].to_vec();
                let ends = (header.destination, header.source);
                (interface, quote, ends, *kind, flaws, *reporter)
            }
            Step::ErrorToVip { back, reporter, kind, quoted, quote_flaws, flaws } => {
                let (interface, tuple) = pick(&self.spoken, *back)?;
                let quote = self.speak(interface, &tuple.reversed(), 0x10, 40, quote_flaws).1;
                let quote = quote.get(14..)?;
                let quote = quote[..quote.len().min(*quoted)].to_vec();
                let ends = (tuple.source, tuple.destination);
                (interface, quote, ends, *kind, flaws, *reporter)
            }
            _ => return None,
        };
        let (kind, code) = message_of(from.is_ipv6(), kind);
        let mut rest = vec![0, 0, 0x05, 0xdc];
        rest.extend(quote);
        // Errors come from whoever had the packet last.
        let others: Vec<(u16, IpAddr)> = self
            .universe
            .clients
            .iter()
            .copied()
            .filter(|(_, other)| other.is_ipv6() == from.is_ipv6())
            .collect();
        let (interface, from) = match pick(&others, reporter / 2) {
            Some((_, other)) if reporter % 4 == 1 => (interface_of(config, other), other),
            _ => (interface, from),
        };
        let body = Body::Icmp { kind, code, rest };
        Some(self.flawed(interface, (from, to), body, flaws))
    }

    fn arp(&mut self, step: &Step, config: &Config) -> Option<(u16, Vec<u8>)> {
        let Step::Arp { interface, operation, sender, target, unicast, mac, flaws } = step else {
            return None;
        };
        let interface = pick(&config.links().collect::<Vec<_>>(), *interface)?;
        let all = speakers(&self.universe, config, interface, sender % 4 > 0, false);
        let IpAddr::V4(sender) = pick(&all, *sender)? else { return None };
        let target = self.asked(config, interface, *target, false)?;
        let IpAddr::V4(target) = target else { return None };
        let own = config.interface(interface).mac;
        let mac = speaker_mac(*mac, own);
        let to = if *unicast { own } else { [0xff; 6] };
        let frame = arp((to, mac), *operation, (mac, sender), ([0; 6], target));
        Some((interface, with_flaws(frame, flaws)))
    }

    fn discovery(&mut self, step: &Step, config: &Config) -> Option<(u16, Vec<u8>)> {
        let Step::Discovery {
            interface,
            kind,
            sender,
            target,
            unicast,
            mac,
            option,
            flags,
            odd,
            flaws,
        } = step
        else {
            return None;
        };
        let interface = pick(&config.links().collect::<Vec<_>>(), *interface)?;
        let all = speakers(&self.universe, config, interface, sender % 4 > 0, true);
        let IpAddr::V6(sender) = pick(&all, *sender)? else { return None };
        let IpAddr::V6(asked) = self.asked(config, interface, *target, true)? else { return None };
        // Advertisements mostly tell of their sender.
        let about = if *kind == 136 && target % 4 > 0 { sender } else { asked };
        let own = config.interface(interface).mac;
        let mac = speaker_mac(*mac, own);
        let (to, to_mac) = match (*unicast, *kind) {
            (true, 136) => {
                let ours = ours(config, interface, true);
                let Some(IpAddr::V6(own_address)) = pick(&ours, 0) else { return None };
                (own_address, own)
            }
            (true, _) => (about, own),
            (false, 136) => (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), [0x33, 0x33, 0, 0, 0, 1]),
            (false, _) => {
                let [.., a, b, c] = about.octets();
                let group = Ipv6Addr::new(
                    0xff02,
                    0,
                    0,
                    0,
                    0,
                    1,
                    0xff00 | u16::from(a),
                    u16::from(b) << 8 | u16::from(c),
                );
                (group, [0x33, 0x33, 0xff, a, b, c])
            }
        };
        let option = option.then_some(mac);
        let frame =
            neighbor_message((to_mac, mac), (*kind, *flags), (sender, to), about, option, *odd);
        Some((interface, with_flaws(frame, flaws)))
    }

    /// Whom somebody asks for on an interface.
    fn asked(&self, config: &Config, interface: u16, target: Pick, v6: bool) -> Option<IpAddr> {
        if target.is_multiple_of(2) {
            pick(&ours(config, interface, v6), target / 2)
        } else {
            pick(&targets(&self.universe, config, v6), target)
        }
    }

    fn in_tunnel(
        &self,
        inner: &[u8],
        tunnel: Pick,
        tos: u8,
        flaws: &[Flaw],
        config: &Config,
    ) -> Option<(u16, Vec<u8>)> {
        let ends: Vec<(IpAddr, IpAddr)> = config
            .interfaces
            .iter()
            .filter_map(|link| match link.kind {
                Kind::Tunnel { source, destination } => Some((source, destination)),
                _ => None,
            })
            .collect();
        let (own, far) = pick(&ends, tunnel)?;
        let v6 = match inner.get(12..14)? {
            [0x08, 0x00] => false,
            [0x86, 0xdd] => true,
            _ => return None,
        };
        let body = Body::Other {
            protocol: if v6 { IP6IP } else { IPIP },
            data: inner.get(14..)?.to_vec(),
        };
        let interface = interface_of(config, far);
        let mut packet = self.sent_by(interface, far, own, body).bytes().split_off(14);
        set_tos(&mut packet, tos);
        super::checksum::seal_header(&mut packet);
        let (macs, kind) =
            (config.interface(interface).mac, if far.is_ipv6() { 0x86dd_u16 } else { 0x0800 });
        let mut frame = macs.to_vec();
        frame.extend_from_slice(&[2, 0x0d, 0, 0, 0, 1]);
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend(packet);
        Some((interface, with_flaws(frame, flaws)))
    }

    /// A packet of a conversation.
    fn speak(
        &self,
        interface: u16,
        tuple: &Tuple,
        flags: u8,
        len: usize,
        flaws: &[Flaw],
    ) -> (u16, Vec<u8>) {
        let body = match tuple.protocol {
            TCP | UDP => {
                let (source, destination) = (tuple.source_port, tuple.destination_port);
                segment(tuple.protocol, source, destination, flags, len)
            }
            protocol => Body::Other { protocol, data: data(len + 8) },
        };
        self.flawed(interface, (tuple.source, tuple.destination), body, flaws)
    }

    fn flawed(
        &self,
        interface: u16,
        (source, destination): (IpAddr, IpAddr),
        body: Body,
        flaws: &[Flaw],
    ) -> (u16, Vec<u8>) {
        let frame = self.sent_by(interface, source, destination, body).bytes();
        (interface, with_flaws(frame, flaws))
    }

    fn sent_by(
        &self,
        interface: u16,
        source: IpAddr,
        destination: IpAddr,
        body: Body,
    ) -> Description {
        let own = self.universe.config.interface(interface).mac;
        let low = super::ip::octets(source).last().copied().unwrap_or(0);
        Description {
            macs: (own, [2, interface as u8, 0, 0, 0, low]),
            source,
            destination,
            ttl: 64,
            dont_fragment: false,
            body,
        }
    }
}

fn with_flaws(mut frame: Vec<u8>, flaws: &[Flaw]) -> Vec<u8> {
    flaws.iter().for_each(|flaw| flaw.apply(&mut frame));
    frame
}

/// A client of the VIP's family.
fn client_of(clients: &[(u16, IpAddr)], client: Pick, vip: &Vip) -> Option<(u16, IpAddr)> {
    let v6 = vip.key.network.is_ipv6();
    let alike: Vec<_> = clients.iter().copied().filter(|(_, at)| at.is_ipv6() == v6).collect();
    pick(&alike, client)
}

/// What a client of a VIP sends.
fn tuple_to(vip: &Vip, source: IpAddr, port: Pick, at: Pick) -> Tuple {
    let protocol = match vip.key.ports {
        Ports::Range { protocol, .. } => protocol,
        Ports::All => [TCP, UDP, 132][at % 3],
    };
    let ports = has_ports(protocol);
    Tuple {
        source,
        destination: within(vip, at),
        source_port: if ports { client_port(port) } else { 0 },
        destination_port: if ports { vip.key.some_port(at) } else { 0 },
        protocol,
    }
}

fn server_of(config: &Config, vip: Pick, server: Pick) -> Option<(Vip, IpAddr)> {
    let vip = pick(&config.vips, vip)?;
    let servers: Vec<IpAddr> = vip.servers.keys().copied().collect();
    let server = pick(&servers, server)?;
    Some((vip, server))
}

fn speaker_mac(mac: u8, own: [u8; 6]) -> [u8; 6] {
    match mac {
        0 => [0; 6],
        1 => [0xff; 6],
        2 => own,
        mac => [2, 0x0a, 0, 0, 0, mac],
    }
}

/// Bytes with a version, a length and, for IPv4, a header checksum that are right.
fn disguised(ether_type: Option<u16>, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let len = bytes.len() as u16;
    if ether_type == Some(0x86dd) {
        bytes[0] = 0x60 | bytes[0] & 0x0f;
        super::ip::set_word(&mut bytes, 4, len - 40);
        // Extension headers often.
        if bytes[6].is_multiple_of(2) {
            bytes[6] = [0, 43, 44, 60, 58, 6, 17][usize::from(bytes[6] / 2) % 7];
        }
        return bytes;
    }
    bytes[0] = 0x45 + bytes[0] % 11;
    super::ip::set_word(&mut bytes, 2, len);
    super::checksum::seal_header(&mut bytes);
    bytes
}

/// Clients use few ports, so that they come back to them.
pub(super) fn client_port(port: Pick) -> u16 {
    [1024, 1025, 40_000][port % 3]
}

fn segment(protocol: u8, source: u16, destination: u16, flags: u8, len: usize) -> Body {
    if protocol == UDP {
        Body::Udp { source, destination, data: data(len) }
    } else {
        Body::Tcp { source, destination, flags, data: data(len) }
    }
}
