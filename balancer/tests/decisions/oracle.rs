//! Random packets of clients and ASs over VIPs of every kind, against a list of flows that is
//! searched from end to end.
//!
//! What an AS sees of a flow (its *view*) never belongs to two flows at once; every reply is given
//! to the flow it belongs to, on whatever worker it arrives; and a reply without flow only where
//! one address and port of one VIP leads there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use balancer::{
    Address, ApplicationServer, AsId, Decision, DirectDecision, Direction, FlowState, FlowTuple,
    Ports, Prefix, Protocol, ReplyVerdict, Scheduler, ServerState, TableLength, TargetPort,
    TcpFlags, Vip, VipId, VipKey, VipSpec,
};
use proptest::prelude::*;

use crate::world::{ACK, FIN, RST, SYN, World, as_id, vip_id};

/// Where clients, VIPs, interfaces and ASs are: the last byte is a number.
trait Plan: Address {
    fn at(net: u8, host: u8) -> Self;
    const HOST: u8;
}

impl Plan for Ipv4Addr {
    fn at(net: u8, host: u8) -> Self {
        Self::new(10, 0, net, host)
    }
    const HOST: u8 = 32;
}

impl Plan for Ipv6Addr {
    fn at(net: u8, host: u8) -> Self {
        Self::new(0x2001, 0xdb8, 0, u16::from(net), 0, 0, 0, u16::from(host))
    }
    const HOST: u8 = 128;
}

const CLIENTS: u8 = 1;
const SERVERS: u8 = 2;
const VIPS: u8 = 3;
const INTERFACES: u8 = 4;
const NODE_PORT: u16 = 30_000;

fn range(protocol: Protocol, first: u16, last: u16) -> Ports {
    Ports::Range { protocol, first, last }
}

/// Hosts and prefixes, ports and ranges, with and without translation of ports; nearly all end up
/// on ports 8080 to 8089 of the same ASs.
fn menu<A: Plan>() -> Vec<VipSpec> {
    use Protocol::{Tcp, Udp};
    use TargetPort::{From, Keep, One};
    let entry = |host, len, ports, target, nat, node_port| {
        let prefix = Prefix::new(A::at(VIPS, host).into(), len).unwrap();
        (VipKey { prefix, ports }, target, nat, node_port)
    };
    let all = [
        entry(1, A::HOST, Ports::one(Tcp, 80), One(8080), true, None),
        entry(1, A::HOST, range(Tcp, 8080, 8081), Keep, true, None),
        entry(1, A::HOST, range(Tcp, 200, 209), From(8080), true, None),
        entry(1, A::HOST, range(Tcp, 400, 409), One(8080), true, None),
        entry(0, A::HOST - 2, Ports::one(Tcp, 81), One(8080), true, None),
        entry(0, A::HOST - 4, range(Tcp, 80, 81), From(8080), true, None),
        entry(2, A::HOST, Ports::one(Tcp, 443), One(8080), true, Some(NODE_PORT)),
        entry(9, A::HOST, Ports::one(Tcp, 8080), Keep, true, None),
        entry(9, A::HOST, Ports::one(Udp, 80), One(8080), true, None),
        entry(9, A::HOST, Ports::All, Keep, false, None),
    ];
    let mut specs = Vec::new();
    for (n, (key, target, nat, node_port)) in all.into_iter().enumerate() {
        specs.push(VipSpec {
            id: vip_id(n as u32),
            key,
            target,
            node_port,
            src_ip_sticky: false,
            scheduler: Scheduler::Maglev,
            length: TableLength::new(61).unwrap(),
            nat,
            timeouts: None,
        });
    }
    specs
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    worker: usize,
    client: (u8, u16),
    /// Of the destinations below.
    to: usize,
    flags: TcpFlags,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(Packet),
    /// To an AS itself.
    Direct(Packet),
    /// From an AS's port (of 8080 to 8082) to a client.
    Reply(Packet),
    Flush(u32),
}

/// Destinations of clients: host in the VIPs' net, port, protocol.
const DESTINATIONS: [(u8, u16, u8); 15] = [
    (1, 80, 6),
    (1, 8080, 6),
    (1, 200, 6),
    (1, 201, 6),
    (1, 400, 6),
    (1, 401, 6),
    (3, 81, 6),
    (0, 81, 6),
    (5, 80, 6),
    (5, 81, 6),
    (2, 443, 6),
    (9, 8080, 6),
    (9, 80, 17),
    (9, 9999, 6),
    (9, 0, 47),
];

fn any_packet() -> impl Strategy<Value = Packet> {
    let flags = prop::sample::select(vec![SYN, SYN, ACK, FIN, RST]);
    (0..2usize, (0..2u8, 0..2u16), 0..DESTINATIONS.len() + 2, flags)
        .prop_map(|(worker, client, to, flags)| Packet { worker, client, to, flags })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_packet().prop_map(Step::Send),
        2 => any_packet().prop_map(Step::Direct),
        4 => any_packet().prop_map(Step::Reply),
        1 => (0..30u32).prop_map(Step::Flush),
    ]
}

/// One entry of one worker's table.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry<A> {
    worker: usize,
    tuple: FlowTuple<A>,
    /// The VIP and AS; none for a direct flow.
    to: Option<(VipId, AsId)>,
    /// The flow from the client to the AS, of NAT.
    view: Option<FlowTuple<A>>,
    state: FlowState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    No,
    Closing,
    Yes,
}

/// A VIP, its AS, and the address and port if only one is possible.
type Origin<A> = (VipId, AsId, Option<(A, u16)>);

struct Oracle<A> {
    world: World,
    entries: Vec<Entry<A>>,
}

impl<A: Plan> Oracle<A> {
    /// `chosen` says which VIPs of the menu there are and which ASs (bits) each has.
    fn new(chosen: &[Option<u8>]) -> Self {
        let vips: Vec<VipSpec> = menu::<A>()
            .into_iter()
            .zip(chosen)
            .filter_map(|(spec, servers)| servers.map(|_| spec))
            .collect();
        let mut servers = Vec::new();
        for spec in &vips {
            for last in 0..3u8 {
                let id = spec.id.get() * 3 + u32::from(last);
                if chosen[spec.id.index()].unwrap_or(0) >> last & 1 == 1 {
                    servers.push(ApplicationServer {
                        id: as_id(id),
                        vip: spec.id,
                        address: A::at(SERVERS, last).into(),
                        weight: 100,
                        state: ServerState::Active,
                        epoch: 0,
                    });
                }
            }
        }
        Self { world: World::new(vips, servers, 256), entries: Vec::new() }
    }

    /// The VIP of a packet, by looking at all of them.
    fn vip_of(&self, tuple: &FlowTuple<A>) -> Option<Vip> {
        let rank = |key: &VipKey| match key.ports {
            Ports::All => 0,
            Ports::Range { first, last, .. } if first < last => 1,
            Ports::Range { .. } => 2,
        };
        let dst: IpAddr = tuple.dst.into();
        let by_address = self
            .world
            .vips
            .iter()
            .filter(|spec| spec.key.prefix.contains(dst))
            .filter(|spec| spec.key.ports.contains(tuple.protocol, tuple.dst_port))
            .max_by_key(|spec| (spec.key.prefix.len, rank(&spec.key)));
        let by_node_port = || {
            let interface = tuple.dst == A::at(INTERFACES, 1);
            self.world.vips.iter().find(|spec| {
                interface
                    && spec.node_port == Some(tuple.dst_port)
                    && spec.key.ports.protocol().map(Protocol::number) == Some(tuple.protocol)
            })
        };
        let spec = by_address.or_else(by_node_port)?;
        self.world.tables.vip(spec.id).cloned()
    }

    fn found_vip(&self, tuple: &FlowTuple<A>) -> Option<VipId> {
        let tables = &self.world.tables;
        if tuple.dst == A::at(INTERFACES, 1) {
            return tables.find_node_port(A::IS_V6, tuple.protocol, tuple.dst_port);
        }
        self.world.vip_of(tuple).map(|vip| vip.id)
    }

    fn view(&self, vip: &Vip, tuple: &FlowTuple<A>, id: AsId) -> Option<FlowTuple<A>> {
        vip.nat.then(|| self.world.reply_tuple(vip, tuple, id).reversed())
    }

    /// How far other flows than `tuple` at `vip` (or direct ones) take a view.
    fn taken(&self, worker: usize, own: &Entry<A>, view: &FlowTuple<A>) -> Taken {
        let rivals = self.entries.iter().filter(|e| {
            e.view.as_ref() == Some(view)
                && (e.tuple, e.to.map(|to| to.0)) != (own.tuple, own.to.map(|to| to.0))
        });
        rivals
            .map(|e| {
                let over = e.worker == worker && e.state.is_closing();
                if over { Taken::Closing } else { Taken::Yes }
            })
            .max()
            .unwrap_or(Taken::No)
    }

    fn put(&mut self, entry: Entry<A>) {
        self.entries.retain(|e| {
            (e.worker, e.tuple, e.to.is_some()) != (entry.worker, entry.tuple, entry.to.is_some())
        });
        // What was closing there is over.
        self.entries.retain(|e| {
            e.view.is_none()
                || e.view != entry.view
                || e.worker != entry.worker
                || e.tuple == entry.tuple && e.to.is_some() == entry.to.is_some()
        });
        self.entries.push(entry);
    }

    fn tuple(packet: &Packet) -> FlowTuple<A> {
        let (host, port, protocol) = match DESTINATIONS.get(packet.to) {
            Some(&to) => to,
            None => (0, NODE_PORT, 6),
        };
        let node_port = packet.to >= DESTINATIONS.len();
        let has_ports = protocol == 6 || protocol == 17;
        FlowTuple {
            src: A::at(CLIENTS, packet.client.0),
            dst: if node_port { A::at(INTERFACES, 1) } else { A::at(VIPS, host) },
            src_port: if has_ports { packet.client.1 } else { 0 },
            dst_port: port,
            protocol,
        }
    }

    fn send(&mut self, packet: &Packet) {
        let tuple = Self::tuple(packet);
        let flags = if tuple.protocol == 6 { packet.flags } else { TcpFlags::NONE };
        let vip = self.vip_of(&tuple);
        assert_eq!(self.found_vip(&tuple), vip.as_ref().map(|vip| vip.id), "{tuple:?}");
        let Some(vip) = vip else { return };
        let worker = packet.worker;
        let opens = flags == SYN;
        let mine = |e: &&Entry<A>| e.tuple == tuple && e.to.is_some();
        let own = self.entries.iter().filter(mine).find(|e| e.worker == worker).copied();
        let peer = self.entries.iter().filter(mine).find(|e| e.worker != worker).copied();
        let decision = self.world.balancer(worker).select(&vip, &tuple, flags);
        let known = own.filter(|e| !(opens && e.state.is_closing())).or(peer.filter(|_| !opens));
        if let Some(entry) = known {
            assert_eq!(decision, Decision::Existing(entry.to.unwrap().1), "{tuple:?}");
            let state = entry.state.next(vip.client_direction(), flags);
            self.put(Entry { worker, state, ..entry });
            return;
        }
        let state = FlowState::first(tuple.protocol, flags);
        let mut entry = Entry { worker, tuple, to: None, view: None, state };
        let hash = self.world.tables.hasher.hash(&tuple, false);
        let wish = vip.server_for(hash);
        let limit = if opens { Taken::No } else { Taken::Closing };
        let asked = Entry { to: Some((vip.id, as_id(0))), ..entry };
        let state_at = |oracle: &Self, id| {
            let view = oracle.view(&vip, &tuple, id);
            view.map_or(Taken::No, |view| oracle.taken(worker, &asked, &view))
        };
        match decision {
            Decision::New(id) => {
                let wish = wish.unwrap();
                if state_at(self, wish) <= limit {
                    assert_eq!(id, wish, "{tuple:?}");
                }
                let got = state_at(self, id);
                let best = vip.members.iter().map(|&id| state_at(self, id)).min().unwrap();
                assert!(got <= limit || got == best && got < Taken::Yes, "{got:?} {best:?}");
                entry.to = Some((vip.id, id));
                entry.view = self.view(&vip, &tuple, id);
                self.put(entry);
            }
            Decision::TupleInUse => {
                assert!(vip.members.iter().all(|&id| state_at(self, id) == Taken::Yes));
            }
            Decision::NoServer => assert!(vip.members.is_empty()),
            other => panic!("{other:?} for {tuple:?}"),
        }
    }

    fn direct(&mut self, packet: &Packet) {
        let (src, dst) = (A::at(CLIENTS, packet.client.0), A::at(SERVERS, packet.to as u8 % 3));
        let dst_port = 8080 + packet.to as u16 % 3;
        let tuple = FlowTuple { src, dst, src_port: packet.client.1, dst_port, protocol: 6 };
        let worker = packet.worker;
        let decision = self.world.balancer(worker).record_direct(&tuple, packet.flags);
        let own = self
            .entries
            .iter()
            .find(|e| e.worker == worker && e.tuple == tuple && e.to.is_none())
            .copied();
        if self.origins(&tuple.reversed()).is_empty() {
            assert_eq!(decision, DirectDecision::NotMapped);
            return;
        }
        let state = FlowState::first(6, packet.flags);
        let entry = Entry { worker, tuple, to: None, view: Some(tuple), state };
        if let Some(own) = own.filter(|own| !(packet.flags == SYN && own.state.is_closing())) {
            assert_eq!(decision, DirectDecision::Existing);
            let state = own.state.next(Direction::ToServer, packet.flags);
            self.put(Entry { state, ..entry });
        } else if self.taken(worker, &entry, &tuple) == Taken::Yes {
            assert_eq!(decision, DirectDecision::TupleInUse);
        } else {
            assert_eq!(decision, DirectDecision::New);
            self.put(entry);
        }
    }

    /// To whom the source of a reply may belong, by looking at every port of every VIP.
    fn origins(&self, reply: &FlowTuple<A>) -> Vec<Origin<A>> {
        let mut origins = Vec::new();
        for spec in self.world.vips.iter().filter(|spec| spec.nat) {
            let Some(server) = self
                .world
                .servers
                .iter()
                .find(|server| server.vip == spec.id && server.address == reply.src.into())
            else {
                continue;
            };
            let Ports::Range { protocol, first, last } = spec.key.ports else { continue };
            let leads_here = |port: &u16| spec.target.of(spec.key.ports, *port) == reply.src_port;
            if protocol.number() != reply.protocol {
                continue;
            }
            for port in (first..=last).filter(leads_here) {
                let one = spec.key.prefix.is_host() && spec.node_port.is_none();
                let address = A::from_ip(spec.key.prefix.network).unwrap();
                origins.push((spec.id, server.id, one.then_some((address, port))));
            }
        }
        origins
    }

    fn expected(&self, reply: &FlowTuple<A>) -> ReplyVerdict<A> {
        let view = reply.reversed();
        if let Some(entry) = self.entries.iter().find(|e| e.view == Some(view)) {
            return match entry.to {
                None => ReplyVerdict::Direct,
                Some((vip, as_id)) => ReplyVerdict::Translate {
                    vip,
                    as_id,
                    address: entry.tuple.dst,
                    port: entry.tuple.dst_port,
                },
            };
        }
        match *self.origins(reply) {
            [] => ReplyVerdict::NotMapped,
            [(vip, as_id, Some((address, port)))] => {
                ReplyVerdict::Translate { vip, as_id, address, port }
            }
            _ => ReplyVerdict::NoFlow,
        }
    }

    fn reply(&mut self, packet: &Packet) {
        let (src, dst) = (A::at(SERVERS, packet.to as u8 % 3), A::at(CLIENTS, packet.client.0));
        let src_port = 8080 + packet.to as u16 % 3;
        let reply = FlowTuple { src, dst, src_port, dst_port: packet.client.1, protocol: 6 };
        let expected = self.expected(&reply);
        let verdict = self.world.balancer(packet.worker).attribute_reply(&reply, packet.flags);
        assert_eq!(verdict, expected, "{reply:?}");
        // Only the worker's own entry learns of it.
        for entry in &mut self.entries {
            if entry.worker == packet.worker && entry.view == Some(reply.reversed()) {
                entry.state = entry.state.next(Direction::ToClient, packet.flags);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(packet) => self.send(packet),
            Step::Direct(packet) => self.direct(packet),
            Step::Reply(packet) => self.reply(packet),
            Step::Flush(n) => {
                let Some(server) = self.world.servers.iter_mut().find(|s| s.id == as_id(*n)) else {
                    return;
                };
                server.epoch = server.epoch.wrapping_add(1);
                self.world.publish();
                self.entries.retain(|e| e.to.is_none_or(|to| to.1 != as_id(*n)));
            }
        }
        self.check();
    }

    /// Every flow keeps its AS and its replies, seen from every worker.
    fn check(&mut self) {
        for entry in self.entries.clone() {
            if let Some(view) = entry.view {
                let reply = view.reversed();
                let expected = self.expected(&reply);
                for worker in 0..2 {
                    assert_eq!(self.world.balancer(worker).peek_reply(&reply), expected);
                }
                let others = self.entries.iter().filter(|e| e.view == Some(view));
                assert!(others.clone().all(|e| e.tuple == entry.tuple), "one flow a view");
            }
            if let Some((_, id)) = entry.to {
                let vip = self.vip_of(&entry.tuple).unwrap();
                let explained = self.world.balancer(entry.worker).peek(&vip, &entry.tuple);
                assert_eq!(explained.server, Some(id));
                assert_eq!(explained.why, balancer::Why::Own);
            }
        }
        let live: u32 = self.world.workers.iter().map(|worker| worker.used()).sum();
        assert!(live as usize >= self.entries.len());
    }
}

fn play<A: Plan>(chosen: &[Option<u8>], steps: &[Step]) {
    let mut oracle = Oracle::<A>::new(chosen);
    for step in steps {
        oracle.step(step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 384, ..ProptestConfig::default() })]

    #[test]
    fn every_reply_finds_its_flow(
        chosen in prop::collection::vec(prop::option::weighted(0.7, 0..8u8), 10),
        steps in prop::collection::vec(any_step(), 1..80),
    ) {
        play::<Ipv4Addr>(&chosen, &steps);
        play::<Ipv6Addr>(&chosen, &steps);
    }
}
