//! `show lb flow`: what the balancer would do with a packet, asked without a packet.

use std::net::IpAddr;

use balancer::{Address, AsId, Balancer, FlowTuple, StickyOwner, VipGroupId, VipId, Why};
use config::{FlowQuery, Problem};
use dataplane::fib::FibEntry;

use crate::control::Control;
use crate::model::Network;
use crate::show::flow::FlowStatus;

/// What decides, and about which AS.
struct Answer {
    why: &'static str,
    worker: Option<usize>,
    slot: Option<u32>,
    server: Option<AsId>,
}

impl Control {
    /// `show lb flow`.
    ///
    /// # Errors
    ///
    /// Addresses of two families.
    pub fn flow(&self, query: &FlowQuery) -> Result<FlowStatus, Problem> {
        let FlowQuery { source_port, destination_port, protocol, .. } = query;
        match (query.source.value, query.destination.value) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Ok(self.explain(FlowTuple {
                src,
                dst,
                src_port: source_port.value,
                dst_port: destination_port.value,
                protocol: protocol.value,
            })),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Ok(self.explain(FlowTuple {
                src,
                dst,
                src_port: source_port.value,
                dst_port: destination_port.value,
                protocol: protocol.value,
            })),
            _ => Err(Problem::new(
                query.destination.span,
                format!("{} is not of the client's family", query.destination.value),
            )),
        }
    }

    /// The VIP group whose FIB entry a packet meets, or `Err(true)` at an address of our own.
    fn place(&self, address: IpAddr) -> Result<(VipGroupId, bool), bool> {
        let snapshot = self.snapshot();
        let entry = match address {
            IpAddr::V4(address) => snapshot.fib4.lookup(address),
            IpAddr::V6(address) => snapshot.fib6.lookup(address),
        };
        match entry {
            FibEntry::Vip { group, local } => Ok((VipGroupId::new(group), local)),
            entry => Err(entry == FibEntry::Local),
        }
    }

    fn explain<A: Address + Into<IpAddr>>(&self, tuple: FlowTuple<A>) -> FlowStatus {
        let FlowTuple { src_port, dst_port, protocol, .. } = tuple;
        let (client, address): (IpAddr, IpAddr) = (tuple.src.into(), tuple.dst.into());
        let name = match protocol {
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            other => format!("protocol {other}"),
        };
        let mut status = FlowStatus {
            flow: format!("{client} port {src_port} -> {address} port {dst_port} {name}"),
            vip_index: None,
            vip: None,
            why: "no VIP",
            thread: None,
            slot: None,
            no_match: None,
            target_port: None,
            server: None,
        };
        let tables = self.compiler.lb.tables();
        let place = self.place(address);
        let of_group = place.ok().and_then(|(group, _)| tables.find_vip(group, protocol, dst_port));
        let is_ours = matches!(place, Ok((_, true)) | Err(true));
        let of_node =
            || is_ours.then(|| tables.find_node_port(address.is_ipv6(), protocol, dst_port))?;
        let Some(id) = of_group.or_else(of_node) else {
            if let Ok((group, local)) = place {
                let prefix = tables.groups.prefixes().nth(group.index());
                let network = prefix.map(|p| Network { address: p.network, prefix_len: p.len });
                let policy = network.map(|network| self.model.lb.no_match_of(network).word());
                status.why = "no match";
                status.no_match = policy.filter(|_| !local);
            }
            return status;
        };
        self.fill(&mut status, id, &tuple);
        status
    }

    fn fill<A: Address>(&self, status: &mut FlowStatus, id: VipId, tuple: &FlowTuple<A>) {
        let answer = self.answer(id, tuple);
        let Some(vip) = self.model.lb.vips.get(id.get()) else { return };
        let shown = self.vip_status(vip);
        status.vip_index = Some(vip.index);
        status.vip = Some(shown.line());
        let Some(answer) = answer else { return };
        status.why = answer.why;
        status.thread = answer.worker.map(|worker| worker + 1);
        status.slot = answer.slot;
        let Some(server) = answer.server else { return };
        status.server = shown.servers.into_iter().find(|shown| shown.index == server.get());
        let translated = self.compiler.lb.tables().vip(id).filter(|vip| vip.nat);
        status.target_port = translated.map(|vip| vip.target_port(tuple.dst_port));
    }

    /// Asks the balancer, as a worker that has no flows of its own.
    fn answer<A: Address>(&self, id: VipId, tuple: &FlowTuple<A>) -> Option<Answer> {
        let tables = self.compiler.lb.tables();
        let vip = tables.vip(id)?;
        let peers = self.sticky_tables();
        let mut owner = StickyOwner::resized(peers.first()?, 1).ok()?;
        let now_s = self.tick_s();
        let balancer = Balancer { tables, owner: &mut owner, peers: &peers, now_s };
        let explanation = balancer.peek(vip, tuple);
        let (mut worker, mut slot, mut server) = (None, None, explanation.server);
        let why = match explanation.why {
            Why::Own => "sticky",
            Why::Peer(peer) => {
                worker = self.resize.tables(&self.workers).nth(peer).map(|(worker, _)| worker);
                "sticky"
            }
            Why::Slot(at) => {
                slot = Some(at as u32);
                "table"
            }
            Why::RoundRobin => {
                server = vip.rotation.as_ref().and_then(balancer::Rotation::next);
                "rr"
            }
            Why::NoServer => "no server",
        };
        Some(Answer { why, worker, slot, server })
    }
}
