//! Which AS a client's packet goes to, and what is remembered and counted about it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::flows::{Flow, FlowKey, Goal, State, after_client, lifetime_s};
use super::frame::tcp_flag::{ACK, FIN, RST, SYN};
use super::ip::TCP;
use super::model::{NewFlowOrder, Reference};
use super::reason;
use super::service::{Scheduler, Server, Vip, VipKey};
use super::upper::Tuple;

/// True for a packet that asks for a new connection.
pub(super) fn opens(protocol: u8, flags: u8) -> bool {
    protocol == TCP && flags & (SYN | ACK | FIN | RST) == SYN
}

/// How free a client's address and port are at a server's service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Occupancy {
    /// Nothing is known of them there.
    Free,
    /// What was there is over for us, but perhaps not for the server.
    Closing,
    /// A conversation is alive.
    InUse,
}

impl Reference {
    /// True while a flow counts.
    pub(super) fn counts(&self, key: &FlowKey, flow: &Flow) -> bool {
        let flushed = match key.goal {
            Goal::Vip(vip) => self.flushes_of(vip, flow.server) != flow.flushes,
            Goal::Direct => false,
        };
        self.now_s < flow.dies_s && !flushed
    }

    pub(super) fn flushes_of(&self, vip: VipKey, server: IpAddr) -> u32 {
        self.flushes.get(&(vip, server)).copied().unwrap_or(0)
    }

    /// The flow under `key` in a worker's table, if it counts.
    fn alive_at(&self, worker: usize, key: &FlowKey) -> Option<Flow> {
        let flow = *self.workers[worker].flows.get(key)?;
        self.counts(key, &flow).then_some(flow)
    }

    /// The same of the worker at work.
    pub(super) fn alive(&self, key: &FlowKey) -> Option<Flow> {
        self.alive_at(self.me, key)
    }

    /// The same of its peers.
    pub(super) fn alive_at_peers(&self, key: &FlowKey) -> Option<Flow> {
        let peers = (0..self.workers.len()).filter(|worker| *worker != self.me);
        peers.filter_map(|worker| self.alive_at(worker, key)).next()
    }

    /// Writes a flow with a fresh lifetime.
    pub(super) fn put(&mut self, key: FlowKey, server: IpAddr, state: State) {
        let flushes = match key.goal {
            Goal::Vip(vip) => self.flushes_of(vip, server),
            Goal::Direct => 0,
        };
        let own = match key.goal {
            Goal::Vip(vip) => self.config.vip(&vip).and_then(|vip| vip.timeouts),
            Goal::Direct => None,
        };
        let dies_s = self.now_s + lifetime_s(state, &own.unwrap_or(self.config.timeouts));
        self.mine().flows.insert(key, Flow { server, flushes, state, dies_s });
    }

    /// How a configured or removed AS is reached.
    pub(super) fn server(&self, vip: &Vip, address: IpAddr) -> Option<Server> {
        let removed = || self.removed.get(&(vip.key, address));
        vip.servers.get(&address).or_else(removed).copied()
    }

    /// True for a configured AS, and for a removed one until control forgets it.
    pub(super) fn knows(&self, vip: &Vip, server: IpAddr) -> bool {
        self.server(vip, server).is_some()
    }

    /// The flow that a client's packet belongs to, in this worker's table or, unless it asks for a
    /// new connection, in a peer's.
    fn known(&self, vip: &Vip, key: &FlowKey, flags: u8) -> Option<Flow> {
        let protocol = key.tuple.protocol;
        let opens = opens(protocol, flags);
        let ended = |flow: &Flow| {
            // A removed AS keeps its connections but gets no new one.
            flow.state.is_closing() || !vip.servers.contains_key(&flow.server)
        };
        if let Some(flow) = self.alive(key).filter(|flow| !(opens && ended(flow))) {
            return Some(flow);
        }
        // The network card moved the flow to another worker.
        if opens { None } else { self.alive_at_peers(key) }
    }

    /// ASs for a new flow by the new-flow table, best first.
    fn ordered(&self, vip: &Vip, tuple: &Tuple, table: &dyn NewFlowOrder) -> Vec<IpAddr> {
        let takes_flows = vip.servers.iter().filter(|(_, server)| server.takes_flows());
        let wanted: BTreeSet<_> = takes_flows.map(|(server, _)| *server).collect();
        let order = table.order(&vip.key, tuple);
        let named: BTreeSet<_> = order.iter().copied().collect();
        assert_eq!(named, wanted, "the new-flow table of {:?}", vip.key);
        order
    }

    /// ASs for a new flow, the one whose turn it is first. In turn goes what starts a flow for
    /// sure.
    fn wanted(
        &mut self,
        vip: &Vip,
        tuple: &Tuple,
        flags: u8,
        table: &dyn NewFlowOrder,
    ) -> Vec<IpAddr> {
        let order = self.ordered(vip, tuple, table);
        let starts = tuple.protocol != TCP || opens(tuple.protocol, flags);
        if vip.scheduler == Scheduler::Maglev || !starts || order.is_empty() {
            return order;
        }
        let order = self.in_turn(vip);
        *self.turns.entry(vip.key).or_default() += 1;
        order
    }

    /// The AS that a packet about a flow would go to, without remembering or counting anything.
    pub(super) fn peek(
        &self,
        vip: &Vip,
        tuple: &Tuple,
        table: &dyn NewFlowOrder,
    ) -> Option<IpAddr> {
        let key = FlowKey { goal: Goal::Vip(vip.key), tuple: *tuple };
        if let Some(flow) = self.alive(&key).or_else(|| self.alive_at_peers(&key)) {
            return Some(flow.server);
        }
        self.ordered(vip, tuple, table).first().copied()
    }

    /// The AS of a client's packet, with everything that is remembered and counted about it.
    pub(super) fn select(
        &mut self,
        vip: &Vip,
        tuple: &Tuple,
        flags: u8,
        table: &dyn NewFlowOrder,
    ) -> Option<IpAddr> {
        let at = self.config.vips.iter().position(|other| other.key == vip.key)?;
        let protocol = tuple.protocol;
        let key = FlowKey { goal: Goal::Vip(vip.key), tuple: *tuple };
        if let Some(flow) = self.known(vip, &key, flags) {
            let state = after_client(Some(flow.state), protocol, flags, vip.is_nat());
            self.put(key, flow.server, state);
            self.out.vips.entry(at).or_default().existing += 1;
            return Some(flow.server);
        }
        let order = self.wanted(vip, tuple, flags, table);
        if order.is_empty() {
            self.out.vips.entry(at).or_default().no_server += 1;
            self.out.drop(reason::of(tuple.source.is_ipv6()).no_server);
            return None;
        }
        let server = match self.first_free(vip, &key, flags, &order) {
            Some(server) => server,
            None => {
                self.out.drop(reason::of(tuple.source.is_ipv6()).tuple_in_use);
                return None;
            }
        };
        if vip.is_nat() {
            let service = self.at_server(&key, server);
            self.supersede(&key, service);
        }
        self.put(key, server, after_client(None, protocol, flags, vip.is_nat()));
        self.out.vips.entry(at).or_default().first += 1;
        Some(server)
    }

    /// The first AS at which the client's address and port are free. A new connection keeps clear
    /// of a server that may still be in TIME_WAIT for a twin, where it can.
    fn first_free(&self, vip: &Vip, key: &FlowKey, flags: u8, order: &[IpAddr]) -> Option<IpAddr> {
        if !vip.is_nat() {
            return order.first().copied();
        }
        let occupancy = |server: &IpAddr| self.occupancy(key, self.at_server(key, *server));
        let opens = opens(key.tuple.protocol, flags);
        let free = |server: &IpAddr| opens && occupancy(server) == Occupancy::Free;
        let fresh = order.iter().copied().find(free);
        let over = |server: &IpAddr| occupancy(server) <= Occupancy::Closing;
        fresh.or_else(|| order.iter().copied().find(over))
    }

    /// What the server sees of a flow: its own address and port, the client's, the protocol.
    pub(super) fn at_server(&self, key: &FlowKey, server: IpAddr) -> Tuple {
        let Goal::Vip(vip) = key.goal else { return key.tuple };
        let Some(vip) = self.config.vip(&vip) else { return key.tuple };
        let node = self.is_through_node_port(vip, &key.tuple);
        let port = vip.target_port(key.tuple.destination_port, node);
        Tuple { destination: server, destination_port: port, ..key.tuple }
    }

    /// True for a client's packet to one of our addresses rather than the VIP's.
    pub(super) fn is_through_node_port(&self, vip: &Vip, tuple: &Tuple) -> bool {
        vip.node_port == Some(tuple.destination_port)
            && !(vip.key.has(tuple.destination)
                && vip.key.takes(tuple.protocol, tuple.destination_port))
    }

    /// The other conversations of a worker's that the server could not tell from this one.
    fn twins(&self, worker: usize, key: &FlowKey, service: Tuple) -> Vec<FlowKey> {
        let is_nat = |goal: Goal| match goal {
            Goal::Vip(vip) => self.config.vip(&vip).is_some_and(Vip::is_nat),
            Goal::Direct => true,
        };
        self.workers[worker]
            .flows
            .iter()
            .filter(|(other, flow)| {
                *other != key
                    && is_nat(other.goal)
                    && self.at_server(other, flow.server) == service
                    && self.counts(other, flow)
            })
            .map(|(other, _)| *other)
            .collect()
    }

    fn occupancy(&self, key: &FlowKey, service: Tuple) -> Occupancy {
        let mut occupancy = Occupancy::Free;
        for worker in 0..self.workers.len() {
            for twin in self.twins(worker, key, service) {
                // A closing flow of a peer counts as in use: only the peer can end it.
                let closing = self.workers[worker].flows[&twin].state.is_closing();
                if worker != self.me || !closing {
                    return Occupancy::InUse;
                }
                occupancy = Occupancy::Closing;
            }
        }
        occupancy
    }

    /// True when a client that comes to the server itself would be taken for another conversation.
    pub(super) fn is_in_use(&self, key: &FlowKey) -> bool {
        self.occupancy(key, key.tuple) == Occupancy::InUse
    }

    /// Conversations that are over make way for a new one.
    pub(super) fn supersede(&mut self, key: &FlowKey, service: Tuple) {
        for twin in self.twins(self.me, key, service) {
            self.mine().flows.remove(&twin);
        }
    }

    /// ASs with weight, the one whose turn it is first.
    fn in_turn(&self, vip: &Vip) -> Vec<IpAddr> {
        let servers = vip.servers.iter().filter(|(_, server)| server.takes_flows());
        let round = round(&servers.map(|(at, server)| (*at, server.weight)).collect::<Vec<_>>());
        let turn = self.turns.get(&vip.key).copied().unwrap_or(0);
        let start = (turn % round.len() as u64) as usize;
        let mut order = Vec::new();
        for at in 0..round.len() {
            let server = round[(start + at) % round.len()];
            if !order.contains(&server) {
                order.push(server);
            }
        }
        order
    }
}

/// Who has a turn until all repeats, in the order of addresses: in each pass everybody saves its
/// weight, and has a turn when it has saved 100. Passes go on until everybody has had its share.
fn round(weights: &[(IpAddr, u8)]) -> Vec<IpAddr> {
    let divides = |divisor: &u8| weights.iter().all(|(_, weight)| weight % divisor == 0);
    let divisor = (1..=100).rev().find(divides).expect("1 divides all");
    let turns: usize = weights.iter().map(|(_, weight)| usize::from(weight / divisor)).sum();
    let mut saved = vec![0; weights.len()];
    let mut round = Vec::new();
    while round.len() < turns {
        for (saved, (server, weight)) in saved.iter_mut().zip(weights) {
            *saved += weight;
            if *saved >= 100 {
                *saved -= 100;
                round.push(*server);
            }
        }
    }
    round.truncate(turns);
    round
}
