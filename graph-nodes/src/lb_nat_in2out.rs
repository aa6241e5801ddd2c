//! `lb-nat4-in2out`, `lb-nat6-in2out`: give what ASs send the address and port that the client
//! spoke to.

use balancer::{
    AsId, Balancer, FlowTuple, FragmentKey, FragmentWay, ReplyVerdict, TcpFlags, VipId,
};
use dataplane::fib::{FibDrop, FibEntry};
use dataplane::frame::{Frame, flag};
use dataplane::interface::InterfaceId;
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::checksum::Delta;
use dataplane::wire::extension::{UpperLayerError, is_extension};
use dataplane::wire::icmpv4::Icmpv4Header;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;
use dataplane::wire::quoted;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;
use dataplane::worker::WorkerState;
use dataplane::{family_next_nodes, family_node_counters};

use crate::forwarding::{Obstacle, UNRESOLVED, link, obstacle};
use crate::fragment_hold::FragmentHold;
use crate::fragment_ways::{FragmentWays, fragment_key};
use crate::icmp_about_flow::{About, finish_icmp, is_error, quoted_packet};
use crate::icmp_error::IcmpError;
use crate::mss;
use crate::transport::{IpPacket, NoPorts, has_ports};

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// What was translated, and everything that is not to be.
        Lookup => ("ip4-lookup", "ip6-lookup"),
        /// TTL, size or the lack of a route is in the way, and the AS is told.
        IcmpError => ("ip4-icmp-error", "ip6-icmp-error"),
        /// What cannot be attributed.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What the nodes on the way back count.
    pub enum Counter {
        /// Replies and ICMP errors that were translated.
        Translated => ("Good in2out packets processed", Info),
        /// Several VIPs could be meant, and no flow tells which.
        NoFlow => ("nat reply without flow", Error),
        /// A later fragment of an AS waits for its first.
        Held => ("fragments held", Info),
        /// A fragment waits no more.
        Released => ("held fragments released", Info),
        /// A later fragment of an AS that found no place to wait.
        TooManyHeld => ("too many fragments held", Error),
        /// A later fragment of an AS whose first did not come.
        NoFirst => ("fragment without its first", Error),
        /// The TCP or UDP header of an AS's packet is not in the first buffer.
        Split => ("headers not in the first buffer", Error),
        /// No hop left; the AS gets a "time exceeded".
        Ttl => (("ip4 ttl <= 1", "ip6 ttl <= 1"), Error),
        /// Too big for the client's link and not to be fragmented; the AS is told.
        DontFragment => (("ip4 MTU exceeded and DF set", "ip6 MTU exceeded"), Error),
        /// No route to the client; the AS is told.
        Miss => (("ip4 destination lookup miss", "ip6 destination lookup miss"), Error),
        /// A SYN-ACK whose maximum segment size was lowered.
        MssClamped => ("mss clamped", Info),
    }
}

/// The way back of NAT, on interfaces with `nat4 in` or `nat6 in`.
///
/// What does not come from an AS's service passes untouched: other ports, pings, other hosts, and
/// replies to clients that came to the AS itself. TTL, route and size are checked before the
/// translation, so that an ICMP error goes to the AS and quotes what the AS sent; after it, the
/// error would go to the VIP, which is us.
///
/// # Reads
/// IP header, TCP, UDP or ICMP header, quoted packet; the balancer's reverse map and sticky tables;
/// the FIB's verdict on source and destination; `Snapshot::vip_policies`.
/// # Writes
/// Source address and port, quoted destination, checksums, the maximum segment size of SYN-ACKs;
/// lanes `adjacency`, `tx_interface`, `icmp`; flag `TRANSLATED`; the worker's sticky table and
/// fragment table; the counters of ASs.
/// # Next nodes
/// `ip4-lookup`, `ip4-icmp-error` or those of IPv6; `error-drop`.
/// # Counters
/// See [`Counter`], and two of each AS.
/// # Drops
/// Replies of shared services without a flow, packets without hops left or route, fragments without
/// their first.
#[derive(Debug)]
pub struct LbNatIn2out<F: FragmentWays> {
    /// Later fragments that came before their first.
    early: FragmentHold<FragmentKey<F::Address>>,
}

impl<F: FragmentWays> Default for LbNatIn2out<F> {
    fn default() -> Self {
        Self { early: FragmentHold::default() }
    }
}

/// What an AS's packet is to say.
#[derive(Clone, Copy)]
struct Name<A> {
    vip: VipId,
    server: AsId,
    address: A,
    port: u16,
}

impl<A> Name<A> {
    fn of(verdict: ReplyVerdict<A>) -> Option<Self> {
        match verdict {
            ReplyVerdict::Translate { vip, as_id, address, port } => {
                Some(Self { vip, server: as_id, address, port })
            }
            _ => None,
        }
    }
}

/// Why a packet is not sent on.
enum Refusal {
    Drop(Counter),
    Icmp(Counter, IcmpError),
}

impl From<Counter> for Refusal {
    fn from(reason: Counter) -> Self {
        Self::Drop(reason)
    }
}

/// Whether a packet goes on (`false`: it was taken out of the frame).
type Verdict = Result<bool, Refusal>;

/// True when the packet comes from the address of an AS.
fn is_from_server<F: FragmentWays>(snapshot: &Snapshot, packet: &IpPacket<F>) -> bool {
    matches!(F::lookup(snapshot, packet.header.source()), FibEntry::AsDirect(_))
}

/// Replaces the source port (host order) of the TCP or UDP header at `l4`; `pseudo` is the change of
/// the addresses. What has neither has no ports.
fn translate_port(data: &mut [u8], l4: usize, upper: u8, port: u16, pseudo: Delta) {
    if upper == protocol::TCP {
        if let Some(tcp) = TcpHeader::at_mut(data, l4) {
            tcp.update_checksum(pseudo);
            tcp.set_source_port(port);
        }
    } else if let Some(udp) = UdpHeader::at_mut(data, l4) {
        udp.update_checksum(pseudo);
        udp.set_source_port(port);
    }
}

impl<F: FragmentWays> LbNatIn2out<F> {
    fn judge(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) -> Verdict {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let packet = match IpPacket::<F>::of_lanes(frame, at) {
            Ok(packet) => packet,
            Err(UpperLayerError::Split) if Self::is_split_from_server(cx.snapshot, frame, at) => {
                return Err(Counter::Split.into());
            }
            Err(_) => return Ok(true),
        };
        debug_assert_eq!(packet.l3, l3);
        let (upper, later) = (packet.upper.protocol, packet.is_later_fragment());
        // Where IPv6 options are fragmented too, only the first fragment shows what they lead to.
        let unknown = F::V6 && later && is_extension(upper);
        if !has_ports(upper) && !unknown {
            if F::V6 && !later {
                self.remember(cx, &packet, FragmentWay::Untouched);
            }
            let icmp = upper == F::ICMP;
            return if icmp { Self::judge_icmp(cx, frame, at, &packet) } else { Ok(true) };
        }
        if later {
            return self.judge_later_fragment(cx, frame, at, &packet);
        }
        match packet.flow(frame.data(at)) {
            Ok((tuple, flags)) => self.judge_reply(cx, frame, at, &packet, (&tuple, flags)),
            Err(NoPorts::Split) if is_from_server(cx.snapshot, &packet) => {
                Err(Counter::Split.into())
            }
            Err(_) => {
                self.remember(cx, &packet, FragmentWay::Untouched);
                Ok(true)
            }
        }
    }

    /// True for a packet of an AS whose headers cannot all be read.
    fn is_split_from_server(snapshot: &Snapshot, frame: &Frame, at: usize) -> bool {
        F::Header::at(frame.data(at), usize::from(frame.lanes.l3_offset[at]))
            .is_some_and(|ip| matches!(F::lookup(snapshot, ip.source()), FibEntry::AsDirect(_)))
    }

    /// A whole TCP or UDP packet, or a first fragment.
    fn judge_reply(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
        (tuple, flags): (&FlowTuple<F::Address>, TcpFlags),
    ) -> Verdict {
        let verdict = balancer(cx).attribute_reply(tuple, flags);
        let Some(name) = Name::of(verdict) else {
            if verdict == ReplyVerdict::NoFlow {
                return Err(Counter::NoFlow.into());
            }
            self.remember(cx, packet, FragmentWay::Untouched);
            return Ok(true);
        };
        let Name { vip, server, address, port } = name;
        self.remember(cx, packet, FragmentWay::ToClient { vip, as_id: server, address });
        Self::count_reply(cx, packet, server);
        Self::refuse(cx.snapshot, frame, at, packet)?;
        let l4 = packet.upper.offset;
        let data = frame.data_mut(at);
        let Some(header) = F::Header::at_mut(data, packet.l3) else { return Ok(true) };
        let pseudo = header.set_source(address);
        translate_port(data, l4, packet.upper.protocol, port, pseudo);
        if flags.contains(TcpFlags::SYN) {
            let end = packet.end.min(data.len());
            let segment = data.get_mut(l4..end).unwrap_or_default();
            if mss::clamp::<F>(cx.snapshot, vip, server, segment) {
                cx.count(Counter::MssClamped, 1);
            }
        }
        Self::translated(cx, frame, at);
        Ok(true)
    }

    /// A fragment of an AS that does not show its ports has the name that its first got.
    fn judge_later_fragment(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
    ) -> Verdict {
        let Some(key) = fragment_key(packet).filter(|_| is_from_server(cx.snapshot, packet)) else {
            return Ok(true);
        };
        let now_s = cx.now.tick_s;
        match F::ways(cx.worker).get(&key, &cx.snapshot.lb, now_s) {
            Some(FragmentWay::ToClient { as_id, address, .. }) => {
                Self::count_reply(cx, packet, as_id);
                Self::refuse(cx.snapshot, frame, at, packet)?;
                if let Some(header) = F::Header::at_mut(frame.data_mut(at), packet.l3) {
                    header.set_source(address);
                }
                Self::translated(cx, frame, at);
                Ok(true)
            }
            // An AS may be a client of a VIP itself: its first fragment went on to the VIP's node.
            Some(FragmentWay::Untouched | FragmentWay::ToServer { .. }) => Ok(true),
            None => {
                if !self.early.hold(frame, at, key, now_s) {
                    return Err(Counter::TooManyHeld.into());
                }
                cx.count(Counter::Held, 1);
                Ok(false)
            }
        }
    }

    /// An ICMP error by an AS, or by a router before it, about what a client sent through a VIP:
    /// the client gets it about what the client knows of.
    fn judge_icmp(
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
    ) -> Verdict {
        let l4 = packet.upper.offset;
        let data = frame.data(at);
        let kind = Icmpv4Header::at(data, l4).map(|icmp| icmp.kind);
        if packet.upper.fragment.is_some()
            || packet.upper_len() < Icmpv4Header::LEN
            || !kind.is_some_and(is_error::<F>)
        {
            return Ok(true);
        }
        let flow = match quoted_packet(data, packet) {
            About::Packet(flow) if has_ports(flow.protocol) => flow,
            _ => return Ok(true),
        };
        let verdict = balancer(cx).peek_reply(&flow.reversed());
        if verdict == ReplyVerdict::NoFlow {
            return Err(Counter::NoFlow.into());
        }
        let Some(name) = Name::of(verdict) else { return Ok(true) };
        Self::count_reply(cx, packet, name.server);
        Self::refuse(cx.snapshot, frame, at, packet)?;
        let by_server = packet.header.source() == flow.dst;
        translate_error(frame.data_mut(at), packet, &name, by_server);
        Self::translated(cx, frame, at);
        Ok(true)
    }

    fn count_reply(cx: &NodeCx<'_, Self>, packet: &IpPacket<F>, server: AsId) {
        if let Some(stats) = cx.worker.shared.servers.get(server.index()) {
            stats.reply_packets.add(1);
            stats.reply_bytes.add(packet.header.packet_len() as u64);
        }
    }

    fn translated(cx: &NodeCx<'_, Self>, frame: &mut Frame, at: usize) {
        frame.lanes.flags[at] |= flag::TRANSLATED;
        cx.count(Counter::Translated, 1);
    }

    /// Remembers what becomes of a datagram of an AS by its first fragment.
    fn remember(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        packet: &IpPacket<F>,
        way: FragmentWay<F::Address>,
    ) {
        let Some(key) = fragment_key(packet) else { return };
        if is_from_server(cx.snapshot, packet) {
            F::ways(cx.worker).insert(key, way, &cx.snapshot.lb, cx.now.tick_s);
            self.early.set_ready(key);
        }
    }

    /// What stands between the packet and the client, as far as it can be told before routing.
    fn refuse(
        snapshot: &Snapshot,
        frame: &mut Frame,
        at: usize,
        packet: &IpPacket<F>,
    ) -> Result<(), Refusal> {
        if packet.header.hop_limit() <= 1 {
            return Err(Refusal::Icmp(Counter::Ttl, IcmpError::TtlExceeded));
        }
        let (id, interface) = match F::lookup(snapshot, packet.header.destination()) {
            FibEntry::Adjacency(id) | FibEntry::AsDirect(id) => (id.0, InterfaceId::LOCAL0),
            FibEntry::Glean(interface) => (UNRESOLVED, interface),
            FibEntry::Drop(FibDrop::NoRoute) => {
                return Err(Refusal::Icmp(Counter::Miss, IcmpError::NetUnreachable));
            }
            _ => return Ok(()),
        };
        (frame.lanes.adjacency[at], frame.lanes.tx_interface[at]) = (id, interface);
        let too_big = link(snapshot, &frame.lanes, at).is_some_and(|(_, mtu)| {
            obstacle::<F>(&packet.header, mtu, false) == Some(Obstacle::DontFragment)
        });
        if too_big {
            return Err(Refusal::Icmp(Counter::DontFragment, IcmpError::TooBig));
        }
        Ok(())
    }

    fn step(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) {
        match self.judge(cx, frame, at) {
            Ok(true) => cx.set_next(at, Next::Lookup),
            Ok(false) => {}
            Err(Refusal::Drop(reason)) => cx.drop_packet(frame, at, Next::Drop, reason),
            Err(Refusal::Icmp(reason, error)) => {
                cx.count(reason, 1);
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

/// Gives an ICMP error the client's view: the packet it quotes went to the VIP, and if the AS sent
/// it, the VIP did.
fn translate_error<F: FragmentWays>(
    data: &mut [u8],
    packet: &IpPacket<F>,
    name: &Name<F::Address>,
    by_server: bool,
) {
    let l4 = packet.upper.offset;
    let mut pseudo = Delta::NONE;
    if by_server && let Some(header) = F::Header::at_mut(data, packet.l3) {
        pseudo = header.set_source(name.address);
    }
    let end = packet.end.min(data.len());
    let Some(quote) = data.get_mut(l4 + Icmpv4Header::LEN..end) else { return };
    let Ok(quoted) = quoted::parse::<F::Header>(quote) else { return };
    let change = quoted.set_destination::<F::Header>(quote, name.address, name.port);
    finish_icmp::<F>(data, l4, pseudo, change);
}

fn balancer<'a, F: FragmentWays>(cx: &'a mut NodeCx<'_, LbNatIn2out<F>>) -> Balancer<'a> {
    Balancer {
        tables: &cx.snapshot.lb,
        owner: &mut cx.worker.sticky,
        peers: &cx.snapshot.sticky_tables,
        now_s: cx.now.tick_s,
    }
}

impl<F: FragmentWays> Node for LbNatIn2out<F> {
    const NAME: &'static str = if F::V6 { "lb-nat6-in2out" } else { "lb-nat4-in2out" };
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
        if frame.lanes.flags[at] & flag::TRANSLATED == 0 {
            return TraceDetail::None;
        }
        let flow = IpPacket::<F>::of_lanes(frame, at).ok().and_then(|packet| {
            let (flow, _) = packet.flow(frame.data(at)).ok()?;
            Some((flow.src, flow.src_port))
        });
        flow.map_or(TraceDetail::None, |(address, port)| TraceDetail::Nat {
            address: address.into(),
            port,
        })
    }
}
