//! [`Player`]: plays the hosts around the box.

use std::net::Ipv4Addr;

use super::checksum;
use super::config::Config;
use super::frame::{Body, Description, Flaw, arp};
use super::ip4::{Header, TCP, UDP, word};
use super::route::is_on_link;
use super::scenario::{Action, Change, Pick, Step, Universe};

/// How far back [`Step::Reply`] reaches.
const REMEMBERED: usize = 16;

/// Turns steps into actions, remembering what the box sent.
#[derive(Clone, Debug)]
pub struct Player {
    universe: Universe,
    /// Newest first.
    sent: Vec<(u16, Vec<u8>)>,
    needed: Vec<(u16, Ipv4Addr)>,
    /// Conversations of clients with VIPs, newest first: interface, address and port, VIP.
    spoken: Vec<(u16, (Ipv4Addr, u16), Pick)>,
}

fn pick<T: Clone>(list: &[T], pick: Pick) -> Option<T> {
    (!list.is_empty()).then(|| list[pick % list.len()].clone())
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + 1) as u8).collect()
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

    /// Remembers what the box sent, so that it can be answered.
    pub fn sent(&mut self, interface: u16, frame: &[u8]) {
        // The box also forwards what ends within its options or before its ports.
        let replyable = frame.len() >= 42 && word(frame, 12) == 0x0800 && {
            let header = Header::of(&frame[14..]);
            header.has_ports() && frame.len() >= 14 + header.header_len + 4
        };
        if replyable {
            self.sent.insert(0, (interface, frame.to_vec()));
            self.sent.truncate(REMEMBERED);
        }
    }

    /// Remembers a neighbour that the box asked for.
    pub fn needed(&mut self, interface: u16, address: Ipv4Addr) {
        self.needed.push((interface, address));
    }

    /// The action of the next step; `config` is the box's present configuration.
    pub fn act(&mut self, step: &Step, config: &Config) -> Action {
        self.try_act(step, config).unwrap_or(Action::Nothing)
    }

    fn try_act(&mut self, step: &Step, config: &Config) -> Option<Action> {
        let universe = &self.universe;
        let receive = |interface, description: Description, flaws: &[Flaw]| {
            let mut frame = description.bytes();
            flaws.iter().for_each(|flaw| flaw.apply(&mut frame));
            Some(Action::Receive { interface, frame })
        };
        let server_of = |vip: Pick, server: Pick| {
            let vip = pick(&config.vips, vip)?;
            let servers: Vec<Ipv4Addr> = vip.servers.keys().copied().collect();
            Some((vip, pick(&servers, server)?))
        };
        match step {
            Step::ToVip { client, port, vip, flags, len, flaws } => {
                let (interface, source) = pick(&universe.clients, *client)?;
                let service = pick(&config.vips, *vip)?.service;
                let port = client_port(*port);
                let body = segment(service.protocol, port, service.port, *flags, *len);
                self.spoken.insert(0, (interface, (source, port), *vip));
                self.spoken.truncate(REMEMBERED);
                receive(interface, self.sent_by(interface, source, service.address, body), flaws)
            }
            Step::ToVipZeroSum { client, port, vip, server } => {
                let (interface, source) = pick(&universe.clients, *client)?;
                let (vip, server) = server_of(*vip, *server)?;
                let service = vip.service;
                let body = segment(service.protocol, client_port(*port), service.port, 0x10, 8);
                let flaw = Flaw::ComputesToZeroAt(false, server, vip.target_port);
                receive(interface, self.sent_by(interface, source, service.address, body), &[flaw])
            }
            Step::ToServer { client, port, vip, server, flags, flaws } => {
                let (interface, source) = pick(&universe.clients, *client)?;
                let (vip, server) = server_of(*vip, *server)?;
                let protocol = vip.service.protocol;
                let body = segment(protocol, client_port(*port), vip.target_port, *flags, 4);
                receive(interface, self.sent_by(interface, source, server, body), flaws)
            }
            Step::Reply { back, flags, len, zero_sum, flaws } => {
                let (interface, frame) = pick(&self.sent, *back)?;
                let packet = &frame[14..];
                let header = Header::of(packet);
                let (source, destination) =
                    (word(packet, header.header_len), word(packet, header.header_len + 2));
                let body = segment(header.protocol, destination, source, *flags, *len);
                let mut flaws = flaws.clone();
                if *zero_sum
                    && let Some(vip) = config.vips.iter().find(|vip| {
                        vip.target_port == destination && vip.service.protocol == header.protocol
                    })
                {
                    let service = vip.service;
                    flaws.insert(0, Flaw::ComputesToZeroAt(true, service.address, service.port));
                }
                let description = self.sent_by(interface, header.destination, header.source, body);
                receive(interface, description, &flaws)
            }
            Step::FromServer { vip, server, client, port, flags, flaws } => {
                let (vip, server) = server_of(*vip, *server)?;
                let (_, destination) = pick(&universe.clients, *client)?;
                let protocol = vip.service.protocol;
                let body = segment(protocol, vip.target_port, client_port(*port), *flags, 4);
                let interface = interface_of(config, server);
                receive(interface, self.sent_by(interface, server, destination, body), flaws)
            }
            Step::Icmp { client, target, kind, code, len, flaws } => {
                let (interface, source) = pick(&universe.clients, *client)?;
                let body = Body::Icmp { kind: *kind, code: *code, rest: data(*len) };
                let destination = pick(&self.targets(config), *target)?;
                receive(interface, self.sent_by(interface, source, destination, body), flaws)
            }
            Step::Plain { client, target, protocol, port, len, dont_fragment, flaws } => {
                let (interface, source) = pick(&universe.clients, *client)?;
                let destination = pick(&self.targets(config), *target)?;
                let body = match *protocol {
                    TCP | UDP => segment(*protocol, client_port(1), *port, 0x10, *len),
                    protocol => Body::Other { protocol, data: data(*len) },
                };
                let mut description = self.sent_by(interface, source, destination, body);
                description.dont_fragment = *dont_fragment;
                receive(interface, description, flaws)
            }
            Step::Arp { interface, operation, sender, target, unicast, mac, flaws } => {
                let interface = pick(&config.indices().collect::<Vec<_>>(), *interface)?;
                let sender = pick(&self.hosts(config, interface, sender % 4 > 0), *sender)?;
                let target = if target % 2 == 0 {
                    pick(&ours(config, interface), *target / 2)?
                } else {
                    pick(&self.targets(config), *target)?
                };
                let own = config.interface(interface).mac;
                let mac = match *mac {
                    0 => [0; 6],
                    1 => [0xff; 6],
                    2 => own,
                    mac => [2, 0x0a, 0, 0, 0, mac],
                };
                let to = if *unicast { own } else { [0xff; 6] };
                let mut frame = arp((to, mac), *operation, (mac, sender), ([0; 6], target));
                flaws.iter().for_each(|flaw| flaw.apply(&mut frame));
                Some(Action::Receive { interface, frame })
            }
            Step::Bytes { interface, ether_type, fixed, bytes } => {
                let interface = pick(&config.indices().collect::<Vec<_>>(), *interface)?;
                let mut bytes = bytes.clone();
                if *fixed && bytes.len() >= 60 {
                    bytes[0] = 0x45 + bytes[0] % 11;
                    let len = bytes.len() as u16;
                    bytes[2..4].copy_from_slice(&len.to_be_bytes());
                    let header_len = Header::of(&bytes).header_len;
                    bytes[10..12].fill(0);
                    let sum = checksum::of(&bytes[..header_len]);
                    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
                }
                let mut frame = Vec::new();
                if let Some(kind) = ether_type {
                    frame.extend_from_slice(&config.interface(interface).mac);
                    frame.extend_from_slice(&[2, 0x0c, 0, 0, 0, 1]);
                    frame.extend_from_slice(&kind.to_be_bytes());
                }
                frame.extend_from_slice(&bytes);
                Some(Action::Receive { interface, frame })
            }
            Step::Repeat(times) => Some(Action::Repeat(*times)),
            Step::Again { back, flags, len } => {
                let (interface, client, vip) = pick(&self.spoken, *back)?;
                let service = pick(&config.vips, vip)?.service;
                let body = segment(service.protocol, client.1, service.port, *flags, *len);
                receive(interface, self.sent_by(interface, client.0, service.address, body), &[])
            }
            Step::Audit => Some(Action::Audit),
            Step::Wait(seconds) => Some(Action::Wait(*seconds)),
            _ => self.change(step, config).map(Action::Change),
        }
    }

    fn change(&mut self, step: &Step, config: &Config) -> Option<Change> {
        let interface = |at: Pick| pick(&config.indices().collect::<Vec<_>>(), at);
        let some_vip = |at: Pick| (!config.vips.is_empty()).then(|| at % config.vips.len());
        match *step {
            Step::AddServer(vip, server, weight) => Some(Change::AddServer {
                vip: some_vip(vip)?,
                server: pick(&self.universe.servers, server)?,
                weight,
            }),
            Step::RemoveServer(vip, server, flush) => {
                if server % 3 > 0
                    && let Some((vip, server)) = self.last_server(server / 3, config)
                {
                    return Some(Change::RemoveServer { vip, server, flush });
                }
                let vip = some_vip(vip)?;
                let servers: Vec<Ipv4Addr> = config.vips[vip].servers.keys().copied().collect();
                Some(Change::RemoveServer { vip, server: pick(&servers, server)?, flush })
            }
            Step::Learn(at, mac) => {
                let last = self.needed.pop();
                let (interface, address) = last.or_else(|| pick(&self.universe.neighbors, at))?;
                let mac = [2, 0x0b, 0, 0, 0, mac];
                is_on_link(config, interface, address).then_some(Change::Learn {
                    interface,
                    address,
                    mac,
                })
            }
            Step::Forget(at) => {
                let known: Vec<_> = config.neighbors.keys().copied().collect();
                let (interface, address) = pick(&known, at)?;
                Some(Change::Forget { interface, address })
            }
            Step::SetUp(at, up) => Some(Change::SetUp { interface: interface(at)?, up }),
            Step::SetNat4In(at, on) => Some(Change::SetNat4In { interface: interface(at)?, on }),
            _ => None,
        }
    }

    /// The AS that one of the last packets went to, and a VIP that has it.
    fn last_server(&self, back: Pick, config: &Config) -> Option<(usize, Ipv4Addr)> {
        let (_, frame) = pick(&self.sent, back)?;
        let server = Header::of(&frame[14..]).destination;
        let vip = config.vips.iter().position(|vip| vip.servers.contains_key(&server))?;
        Some((vip, server))
    }

    /// Hosts that can speak ARP, or only those that may do so on this interface.
    fn hosts(&self, config: &Config, interface: u16, local: bool) -> Vec<Ipv4Addr> {
        let neighbors = self.universe.neighbors.iter();
        let here = neighbors.filter(|(at, _)| !local || *at == interface).map(|(_, a)| *a);
        let mut hosts: Vec<_> = here.chain([Ipv4Addr::UNSPECIFIED]).collect();
        if !local {
            hosts.extend([Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 5)]);
            hosts.extend(config.indices().flat_map(|index| ours(config, index)));
            hosts.extend(self.universe.clients.iter().map(|(_, address)| *address));
        }
        hosts
    }

    /// Every address that means something.
    fn targets(&self, config: &Config) -> Vec<Ipv4Addr> {
        let own = config.interfaces.iter().flat_map(|i| i.addresses.iter().map(|(a, _)| *a));
        let vips = config.vips.iter().map(|vip| vip.service.address);
        let others = self.universe.targets.iter().chain(&self.universe.servers).copied();
        let hosts = self.universe.neighbors.iter().map(|(_, address)| *address);
        own.chain(vips).chain(others).chain(hosts).collect()
    }

    fn sent_by(
        &self,
        interface: u16,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        body: Body,
    ) -> Description {
        let own = self.universe.config.interface(interface).mac;
        let [.., low] = source.octets();
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

/// What the box answers for on an interface.
fn ours(config: &Config, interface: u16) -> Vec<Ipv4Addr> {
    let own = config.interface(interface).addresses.iter().map(|(address, _)| *address);
    own.chain(config.vips.iter().map(|vip| vip.service.address)).collect()
}

/// The interface whose network `address` is in, the first one if it is elsewhere.
fn interface_of(config: &Config, address: Ipv4Addr) -> u16 {
    let inside = |index: &u16| {
        let mut addresses = config.interface(*index).addresses.iter();
        addresses.any(|(own, len)| super::route::covers(*own, *len, address))
    };
    config.indices().find(inside).unwrap_or(1)
}

/// Clients use few ports, so that they come back to them.
fn client_port(port: Pick) -> u16 {
    [1024, 1025, 40_000][port % 3]
}

fn segment(protocol: u8, source: u16, destination: u16, flags: u8, len: usize) -> Body {
    if protocol == UDP {
        Body::Udp { source, destination, data: data(len) }
    } else {
        Body::Tcp { source, destination, flags, data: data(len) }
    }
}
