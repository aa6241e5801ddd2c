//! `lb4-vip`, `lb6-vip`: finds the VIP of a packet and the AS it goes to.

use balancer::{
    AsId, Balancer, Decision, FlowTuple, FragmentKey, FragmentWay, TcpFlags, Vip, VipCounter,
    VipGroupId, VipId,
};
use dataplane::family::Family;
use dataplane::forwarding::NoMatch;
use dataplane::frame::{Frame, flag};
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::extension::UpperLayerError;
use dataplane::wire::icmpv4::Icmpv4Header;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;
use dataplane::wire::udp::UdpHeader;
use dataplane::worker::{VipStats, WorkerState};

use crate::fragment_hold::FragmentHold;
use crate::fragment_ways::{FragmentWays, fragment_key};
use crate::icmp_about_flow::{About, is_error, is_for_us, quoted_packet};
use crate::icmp_error::IcmpError;
use crate::lb_vip_edges::{Counter, Next};
use crate::mss;
use crate::node_port::NODE_PORT;
use crate::transport::{IpPacket, NoPorts, has_ports};
use crate::upper::mark;

/// Value of the `server` lane of a packet for which no AS was chosen.
const NO_SERVER: u32 = u32::MAX;

/// Chooses the AS for packets to VIPs and node ports, and sends them to the node of its method.
///
/// What stands in the way of a packet is found before a flow is made of it, so that packets that die
/// here leave no trace. ICMP errors go to the AS of the flow that they are about, later fragments to
/// that of their first.
///
/// # Reads
/// Lane `vip` (the number of the prefix with VIPs, or `u32::MAX` for a node port); IP header with extension
/// headers, TCP, UDP or ICMP header, quoted packet; flag `LOCAL_FALLBACK`; `Snapshot::lb`,
/// `server_paths`, `vip_policies`, `no_match`.
/// # Writes
/// Lanes `vip`, `server`, `hash`, `l4_offset`, `protocol`, `icmp`; flags `FRAGMENT`,
/// `LATER_FRAGMENT`, `FROM_VIP`; the maximum segment size of SYNs; the worker's sticky table; the counters of
/// VIPs and ASs.
/// # Next nodes
/// The node of the AS's method; `ip4-local` or `ip6-local` for pings, and on addresses of our own for
/// what no VIP takes; `ip4-icmp-error` or `ip6-icmp-error`; `lb-tcp-reset`; `lb-punt`;
/// `error-drop`.
/// # Counters
/// See [`Counter`], the four of each VIP, and two of each AS.
/// # Drops
/// What no VIP or AS takes, malformed packets, fragments without their first.
#[derive(Debug)]
pub struct LbVip<F: FragmentWays> {
    /// Later fragments that came before their first.
    early: FragmentHold<FragmentKey<F::Address>>,
}

impl<F: FragmentWays> Default for LbVip<F> {
    fn default() -> Self {
        Self { early: FragmentHold::default() }
    }
}

/// Why a packet is not sent to an AS.
enum Refusal {
    Drop(Counter),
    Icmp(Counter, IcmpError),
}

impl From<Counter> for Refusal {
    fn from(reason: Counter) -> Self {
        Self::Drop(reason)
    }
}

/// Where a packet goes; `None` when it was taken out of the frame.
type Verdict = Result<Option<Next>, Refusal>;

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

/// The VIP of a packet of this protocol and port; `place` is its `vip` lane. On an address of our
/// own (`local`) that is a VIP's too, what the VIPs leave may be for a node port.
fn find_vip<F: Family>(
    snapshot: &Snapshot,
    place: u32,
    local: bool,
    upper: u8,
    port: u16,
) -> Option<VipId> {
    let tables = &snapshot.lb;
    let node_port = || tables.find_node_port(F::V6, upper, port);
    if place == NODE_PORT {
        return node_port();
    }
    tables
        .find_vip(VipGroupId::new(place), upper, port)
        .or_else(|| if local { node_port() } else { None })
}

/// The balancer, for the time of one packet.
macro_rules! balancer {
    ($cx:expr) => {
        Balancer {
            tables: &$cx.snapshot.lb,
            owner: &mut $cx.worker.sticky,
            peers: &$cx.snapshot.sticky_tables,
            now_s: $cx.now.tick_s,
        }
    };
}

impl<F: FragmentWays> LbVip<F> {
    /// Finds the upper layer and notes it in the lanes, where it was not found before.
    fn parse(frame: &mut Frame, at: usize) -> Result<IpPacket<F>, Counter> {
        let packet = IpPacket::<F>::of_lanes(frame, at).map_err(|error| match error {
            UpperLayerError::Split => Counter::Split,
            UpperLayerError::Truncated | UpperLayerError::Malformed => Counter::ExtensionTruncated,
            UpperLayerError::TooMany => Counter::Extensions,
            UpperLayerError::Routed => Counter::Routed,
        })?;
        mark(&mut frame.lanes, at, &packet.upper);
        Ok(packet)
    }

    fn judge(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) -> Verdict {
        let packet = Self::parse(frame, at)?;
        if packet.upper.protocol == F::ICMP {
            return self.judge_icmp(cx, frame, at, &packet);
        }
        if packet.is_later_fragment() {
            return self.judge_later_fragment(cx, frame, at, &packet);
        }
        let (tuple, flags) = packet.flow(frame.data(at)).map_err(|error| match error {
            NoPorts::Truncated => Counter::Truncated,
            NoPorts::Split => Counter::Split,
        })?;
        let local = frame.lanes.flags[at] & flag::LOCAL_FALLBACK != 0;
        let place = frame.lanes.vip[at];
        // A node port takes whole packets only, as on addresses without VIPs.
        let node_ports = local && packet.upper.fragment.is_none();
        match find_vip::<F>(cx.snapshot, place, node_ports, tuple.protocol, tuple.dst_port) {
            Some(vip) => self.balance(cx, frame, at, &packet, vip, (&tuple, flags)),
            None if local => Ok(Some(Next::Local)),
            None => Self::no_match(cx, place, tuple.protocol),
        }
    }

    /// A packet to a VIP's address that no VIP takes.
    fn no_match(cx: &mut NodeCx<'_, Self>, place: u32, upper: u8) -> Verdict {
        let (reason, error) = if has_ports(upper) {
            (Counter::NoPort, IcmpError::PortUnreachable)
        } else {
            (Counter::Protocol, IcmpError::ProtocolUnreachable)
        };
        let policy = cx.snapshot.no_match.get(place as usize).copied().unwrap_or_default();
        let next = match policy {
            NoMatch::Reset if upper == protocol::TCP => Next::Reset,
            NoMatch::Punt => Next::Punt,
            NoMatch::Icmp => return Err(Refusal::Icmp(reason, error)),
            NoMatch::Drop | NoMatch::Reset => return Err(reason.into()),
        };
        cx.count(reason, 1);
        Ok(Some(next))
    }

    fn judge_icmp(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
    ) -> Verdict {
        if packet.upper.fragment.is_some() || packet.upper_len() < Icmpv4Header::LEN {
            return Ok(Some(Next::Local));
        }
        let data = frame.data(at);
        // Both ICMPs start alike.
        let kind = Icmpv4Header::at(data, packet.upper.offset).ok_or(Counter::Split)?.kind;
        if is_error::<F>(kind) {
            return Self::forward_error(cx, frame, at, packet);
        }
        if is_for_us::<F>(kind) {
            return Ok(Some(Next::Local));
        }
        let Ok((tuple, flags)) = packet.flow(data) else { return Ok(Some(Next::Local)) };
        match find_vip::<F>(cx.snapshot, frame.lanes.vip[at], false, F::ICMP, 0) {
            Some(vip) => self.balance(cx, frame, at, packet, vip, (&tuple, flags)),
            None => Ok(Some(Next::Local)),
        }
    }

    /// An ICMP error about something that an AS sent in the name of a VIP: the AS is to know.
    fn forward_error(
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
    ) -> Verdict {
        let local = frame.lanes.flags[at] & flag::LOCAL_FALLBACK != 0;
        let place = frame.lanes.vip[at];
        let about = match quoted_packet(frame.data(at), packet) {
            About::Nothing => return Err(Counter::QuoteShort.into()),
            About::LaterFragment => None,
            About::Packet(tuple) => Some(tuple.reversed()),
        };
        let flow = about.filter(|flow| flow.dst == packet.header.destination()).and_then(|flow| {
            let id = find_vip::<F>(cx.snapshot, place, local, flow.protocol, flow.dst_port)?;
            Some((cx.snapshot.lb.vip(id)?, flow))
        });
        let Some((vip, flow)) = flow else {
            let ours = local || place == NODE_PORT;
            return if ours { Ok(Some(Next::Local)) } else { Err(Counter::QuoteUnknown.into()) };
        };
        let server = balancer!(cx).peek(vip, &flow).server.ok_or(Counter::NoServer)?;
        if packet.header.hop_limit() <= 1 && takes_hop(cx.snapshot, vip, Some(server)) {
            return Err(Refusal::Icmp(Counter::Ttl, IcmpError::TtlExceeded));
        }
        cx.count(Counter::ErrorForwarded, 1);
        Self::hand_over(cx, frame, at, packet, (vip, server), &flow)
    }

    /// A fragment that does not show its ports goes where its first went, or waits for it.
    fn judge_later_fragment(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
    ) -> Verdict {
        let Some(key) = fragment_key(packet) else { return Err(Counter::Truncated.into()) };
        let now_s = cx.now.tick_s;
        let way = F::ways(cx.worker).get(&key, &cx.snapshot.lb, now_s);
        let Some(FragmentWay::ToServer { vip, as_id }) = way else {
            if !self.early.hold(frame, at, key, now_s) {
                return Err(Counter::TooManyHeld.into());
            }
            cx.count(Counter::Held, 1);
            return Ok(None);
        };
        let vip = cx.snapshot.lb.vip(vip).ok_or(Counter::NoFirst)?;
        if packet.header.hop_limit() <= 1 && takes_hop(cx.snapshot, vip, Some(as_id)) {
            return Err(Refusal::Icmp(Counter::Ttl, IcmpError::TtlExceeded));
        }
        let Ok((tuple, _)) = packet.flow(frame.data(at)) else {
            return Err(Counter::Truncated.into());
        };
        Self::hand_over(cx, frame, at, packet, (vip, as_id), &tuple)
    }

    /// A whole packet or first fragment that a VIP takes.
    fn balance(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
        vip: VipId,
        (tuple, flags): (&FlowTuple<F::Address>, TcpFlags),
    ) -> Verdict {
        let vip = cx.snapshot.lb.vip(vip).ok_or(Counter::NoPort)?;
        if F::V6 && vip.nat && tuple.protocol == protocol::UDP {
            let udp = UdpHeader::at(frame.data(at), packet.upper.offset);
            if udp.is_some_and(|udp| udp.checksum.get() == 0) {
                return Err(Counter::UdpChecksumZero.into());
            }
        }
        let mut balancer = balancer!(cx);
        if packet.header.hop_limit() <= 1
            && takes_hop(cx.snapshot, vip, balancer.peek(vip, tuple).server)
        {
            return Err(Refusal::Icmp(Counter::Ttl, IcmpError::TtlExceeded));
        }
        let decision = balancer.select(vip, tuple, flags);
        if let Some(stats) = cx.worker.shared.vips.get(vip.id.index()) {
            count(stats, decision);
        }
        let server = server_of(decision)?;
        // Whose turn it was could not be told before.
        if packet.header.hop_limit() <= 1 && takes_hop(cx.snapshot, vip, Some(server)) {
            return Err(Refusal::Icmp(Counter::Ttl, IcmpError::TtlExceeded));
        }
        if let Some(key) = fragment_key(packet) {
            let way = FragmentWay::ToServer { vip: vip.id, as_id: server };
            F::ways(cx.worker).insert(key, way, &cx.snapshot.lb, cx.now.tick_s);
            self.early.set_ready(key);
        }
        if flags.contains(TcpFlags::SYN) {
            let l4 = packet.upper.offset;
            let end = packet.end.min(frame.data(at).len());
            let segment = frame.data_mut(at).get_mut(l4..end).unwrap_or_default();
            if mss::clamp::<F>(cx.snapshot, vip.id, server, segment) {
                cx.count(Counter::MssClamped, 1);
            }
        }
        Self::hand_over(cx, frame, at, packet, (vip, server), tuple)
    }

    /// Counts a packet for its AS and sends it to the node of the AS's method. `flow` is what its
    /// entropy comes from.
    fn hand_over(
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
        (vip, server): (&Vip, AsId),
        flow: &FlowTuple<F::Address>,
    ) -> Verdict {
        if let Some(stats) = cx.worker.shared.servers.get(server.index()) {
            stats.packets.add(1);
            stats.bytes.add(packet.header.packet_len() as u64);
        }
        let path = cx.snapshot.server_path(server).ok_or(Counter::NoServer)?;
        frame.lanes.vip[at] = vip.id.get();
        frame.lanes.server[at] = server.get();
        let next = Next::of(path);
        if next.is_tunnel() {
            frame.lanes.hash[at] = cx.snapshot.lb.hasher.hash(flow, false);
        }
        Ok(Some(next))
    }

    fn step(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) {
        frame.lanes.server[at] = NO_SERVER;
        match self.judge(cx, frame, at) {
            Ok(Some(next)) => cx.set_next(at, next),
            Ok(None) => {}
            Err(Refusal::Drop(reason)) => cx.drop_packet(frame, at, Next::Drop, reason),
            Err(Refusal::Icmp(reason, error)) => {
                cx.count(reason, 1);
                // What is said of a port or protocol is said by the host, which the VIP is.
                if matches!(error, IcmpError::PortUnreachable | IcmpError::ProtocolUnreachable) {
                    frame.lanes.flags[at] |= flag::FROM_VIP;
                }
                frame.lanes.icmp[at] = error as u8;
                cx.set_next(at, Next::IcmpError);
            }
        }
    }

    /// Lets the fragments go whose first has come, behind what is in the frame.
    fn release_early(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        if self.early.is_empty() {
            return;
        }
        let from = frame.len();
        let released = self.early.release(frame);
        cx.count(Counter::Released, released as u64);
        for at in from..frame.len() {
            self.step(cx, frame, at);
        }
    }
}

/// Whether a packet to this AS of the VIP loses a hop here.
fn takes_hop(snapshot: &Snapshot, vip: &Vip, server: Option<AsId>) -> bool {
    let path = server.and_then(|server| snapshot.server_path(server));
    vip.nat || path.is_some_and(|path| path.method.takes_hop())
}

impl<F: FragmentWays> Node for LbVip<F> {
    const NAME: &'static str = if F::V6 { "lb6-vip" } else { "lb4-vip" };
    const INPUT: bool = true;
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            self.step(cx, frame, at);
        }
        self.release_early(cx, frame);
    }

    fn wants_poll(&self, _worker: &WorkerState) -> bool {
        !self.early.is_empty()
    }

    /// Ends the wait of fragments: those whose first has come found no room in a frame, the others
    /// have waited too long.
    fn poll(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        self.release_early(cx, frame);
        let from = frame.len();
        self.early.expire(frame, cx.now.tick_s);
        cx.worker.shared.rare.fragments_given_up.add((frame.len() - from) as u64);
        for at in from..frame.len() {
            cx.drop_packet(frame, at, Next::Drop, Counter::NoFirst);
        }
    }

    fn release(&mut self, garbage: &mut Vec<Packet>) {
        self.early.give_up(garbage);
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        let (vip, server) = (frame.lanes.vip[at], frame.lanes.server[at]);
        let chosen = server != NO_SERVER;
        TraceDetail::Lb { vip: chosen.then_some(vip), server: chosen.then_some(server) }
    }
}
