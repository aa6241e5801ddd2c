//! `lb4-nat4`: chooses the AS and translates the destination.

use std::net::IpAddr;

use balancer::{AsId, Balancer, Decision, VipCounter, VipId};
use dataplane::family::Ip4;
use dataplane::frame::Frame;
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::worker::VipStats;
use dataplane::{next_nodes, node_counters};

use crate::forwarding::{Obstacle, forward, obstacle};
use crate::icmp_error::IcmpError;
use crate::transport::{End, flow, translate};

/// Value of the `server` lane of a packet for which no AS was chosen.
const NO_SERVER: u32 = u32::MAX;

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Translated and ready to be sent.
        Output => "interface-output",
        /// Translated; the way to the AS is not known yet.
        Rewrite => "ip4-rewrite",
        /// TTL or size is in the way, and the client is told.
        IcmpError => "ip4-icmp-error",
        /// Cannot be forwarded.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `lb4-nat4` counts.
    pub enum Counter {
        /// No AS takes new flows.
        NoServer => ("no server configured", Error),
        /// No place for the flow, whose replies could be another VIP's.
        TableFull => ("sticky table full", Error),
        /// The client has another flow with this port at every AS that was tried.
        TupleInUse => ("nat tuple in use", Error),
        /// There is no route to the AS.
        NoRoute => ("no route to the server", Error),
        /// No hop left; the client gets a "time exceeded".
        Ttl => ("ip4 ttl <= 1", Error),
        /// Too big for the AS's link, DF set; the client gets a "fragmentation needed".
        DontFragment => ("ip4 MTU exceeded and DF set", Error),
        /// Too big for the AS's link.
        Mtu => ("mtu exceeded", Error),
        /// The VIP is gone, or the packet is not what `lb4-vip` lets through.
        NoVip => ("VIP missing", Error),
    }
}

/// NAT towards the AS, and forwarding in the same pass when the AS's Ethernet address is known.
///
/// Everything that stands in the way is found before the packet is changed, so that an ICMP error
/// quotes what the client sent.
///
/// # Reads
/// Lane `vip`; IPv4 header, TCP or UDP header; the balancer's tables; `Snapshot::server_paths`.
/// # Writes
/// Destination address and port, TTL, checksums, Ethernet header; lanes `server`, `adjacency`,
/// `tx_interface`, `icmp`; the worker's sticky table; the VIP's counters.
/// # Next nodes
/// `interface-output`; `ip4-rewrite` while the AS's adjacency is incomplete; `ip4-icmp-error`;
/// `error-drop`.
/// # Counters
/// See [`Counter`], and the four of each VIP.
/// # Drops
/// Packets without AS, without route, without hops left, or too big.
#[derive(Debug, Default)]
pub struct Lb4Nat4;

/// Why a packet is not sent to an AS.
enum Refusal {
    Drop(Counter),
    Icmp(Counter, IcmpError),
}

fn count(stats: &VipStats, decision: Decision) {
    match decision.counter() {
        Some(VipCounter::Existing) => stats.existing.add(1),
        Some(VipCounter::First) => stats.first.add(1),
        Some(VipCounter::Untracked) => stats.untracked.add(1),
        Some(VipCounter::NoServer) => stats.no_server.add(1),
        None => {}
    }
}

fn server_of(decision: Decision) -> Result<AsId, Counter> {
    match decision {
        Decision::Existing(server) | Decision::New(server) | Decision::Untracked(server) => {
            Ok(server)
        }
        Decision::NoServer => Err(Counter::NoServer),
        Decision::TableFullDrop => Err(Counter::TableFull),
        Decision::TupleInUse => Err(Counter::TupleInUse),
    }
}

impl Lb4Nat4 {
    fn balance(cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) -> Result<Next, Refusal> {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let l4 = usize::from(frame.lanes.l4_offset[at]);
        let snapshot = cx.snapshot;
        let missing = Refusal::Drop(Counter::NoVip);
        let vip = VipId::new(frame.lanes.vip[at]).and_then(|id| snapshot.lb.vip(id));
        let header = Ipv4Header::at(frame.data(at), l3).copied();
        let (Some(vip), Some(header), Ok((tuple, flags))) =
            (vip, header, flow(frame.data(at), l3, l4))
        else {
            return Err(missing);
        };
        if header.ttl <= 1 {
            return Err(Refusal::Icmp(Counter::Ttl, IcmpError::TtlExceeded));
        }
        let mut balancer = Balancer {
            tables: &snapshot.lb,
            owner: &mut cx.worker.sticky,
            peers: &snapshot.sticky_tables,
            now_s: cx.now.tick_s,
        };
        let decision = balancer.select(vip, &tuple, flags);
        if let Some(stats) = cx.worker.shared.vips.get(vip.id.index()) {
            count(stats, decision);
        }
        let id = server_of(decision).map_err(Refusal::Drop)?;
        frame.lanes.server[at] = id.get();
        let adjacency_id = snapshot.server_path(id).map(|path| path.adjacency);
        let adjacency = adjacency_id.and_then(|id| snapshot.adjacency(id));
        let server = snapshot.lb.server(id).map(|server| server.address);
        let (Some(IpAddr::V4(address)), Some(adjacency_id), Some(adjacency)) =
            (server, adjacency_id, adjacency)
        else {
            return Err(Refusal::Drop(Counter::NoRoute));
        };
        frame.lanes.adjacency[at] = adjacency_id.0;
        frame.lanes.tx_interface[at] = adjacency.interface;
        match obstacle::<Ip4>(&header, adjacency.mtu, false) {
            None => {}
            Some(Obstacle::Ttl) => {
                return Err(Refusal::Icmp(Counter::Ttl, IcmpError::TtlExceeded));
            }
            Some(Obstacle::DontFragment) => {
                return Err(Refusal::Icmp(Counter::DontFragment, IcmpError::TooBig));
            }
            Some(Obstacle::Mtu) => return Err(Refusal::Drop(Counter::Mtu)),
        }
        let data = frame.data_mut(at);
        translate(data, l3, l4, End::Destination, address, vip.target_port(tuple.dst_port));
        Ok(if forward::<Ip4>(frame, at, adjacency, false) { Next::Output } else { Next::Rewrite })
    }
}

impl Node for Lb4Nat4 {
    const NAME: &'static str = "lb4-nat4";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            frame.lanes.server[at] = NO_SERVER;
            match Self::balance(cx, frame, at) {
                Ok(next) => cx.set_next(at, next),
                Err(Refusal::Drop(reason)) => cx.drop_packet(frame, at, Next::Drop, reason),
                Err(Refusal::Icmp(reason, error)) => {
                    cx.count(reason, 1);
                    frame.lanes.icmp[at] = error as u8;
                    cx.set_next(at, Next::IcmpError);
                }
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        let server = frame.lanes.server[at];
        TraceDetail::Lb {
            vip: Some(frame.lanes.vip[at]),
            server: (server != NO_SERVER).then_some(server),
        }
    }
}
