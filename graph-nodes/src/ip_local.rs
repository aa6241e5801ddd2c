//! `ip4-local`, `ip6-local`: packets for the box itself.

use std::marker::PhantomData;

use dataplane::event::Event;
use dataplane::frame::{Frame, flag};
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::rate_limit::RateLimit;
use dataplane::wire::Header;
use dataplane::wire::extension::UpperLayerError;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;
use dataplane::worker::ICMP_ECHOS_PER_SECOND;
use dataplane::{family_next_nodes, family_node_counters};

use crate::decapsulation::decapsulate;
use crate::icmp_kind::{IcmpKind, LocalFamily};
use crate::neighbor_discovery::{Outcome, discover};
use crate::node_port::{NODE_PORT, is_for_node_port};
use crate::upper::lost;

/// TTL or hop limit of the packets made here.
pub(crate) const OWN_TTL: u8 = 64;
/// Bytes that every ICMP message has at least.
const ICMP_HEADER_LEN: usize = 8;

family_next_nodes! {
    /// Where packets go; those given to control end here.
    pub enum Next {
        /// Answers.
        Lookup => ("ip4-lookup", "ip6-lookup"),
        /// IPv4 packets out of a tunnel.
        Input4 => "ip4-input",
        /// IPv6 packets out of a tunnel.
        Input6 => "ip6-input",
        /// Neighbour advertisements.
        Output => ("", "interface-output"),
        /// What a VIP takes by its node port.
        Vip => ("lb4-vip", "lb6-vip"),
        /// What nobody here wants.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What `ip4-local` and `ip6-local` count.
    pub enum Counter {
        /// Echo requests that were answered.
        Echo => ("echo replies sent", Info),
        /// Echo replies handed to control, which may have asked (`ping`).
        Punt => ("echo replies punted", Info),
        /// Control does not keep up.
        PuntFull => ("punt queue full", Error),
        /// Too many echo requests or replies in this second.
        RateLimited => ("echo rate limit exceeded", Error),
        /// An extension header is cut off, or stands where it must not: hop-by-hop options behind
        /// another header, a fragment header behind a fragment header.
        ExtensionTruncated => (("", "ip6 extension header truncated"), Error),
        /// More extension headers than anybody needs.
        TooManyExtensions => (("", "too many ip6 extension headers"), Error),
        /// The packet is to go on from here to other places (RFC 8200 §4.4, RFC 5095).
        Routed => (("", "ip6 routing header with segments left"), Error),
        /// A fragment; nothing is reassembled here.
        Fragment => ("fragment for us", Error),
        /// The message is not in one piece in the first buffer.
        Split => ("headers not in the first buffer", Error),
        /// Shorter than an ICMP header.
        IcmpTooShort => ("icmp message truncated", Error),
        /// The ICMP checksum is wrong.
        IcmpChecksum => ("bad icmp checksum", Error),
        /// Any other ICMP message.
        IcmpType => ("icmp message not handled", Error),
        /// TCP or UDP to an address of ours.
        NoListener => ("no listener", Error),
        /// Packets that came out of a tunnel.
        Decapsulated => ("tunnel packets decapsulated", Info),
        /// The tunnel's interface is administratively down.
        TunnelDown => ("tunnel interface is down", Error),
        /// Routers marked the outer header, which the inner one cannot tell its receiver.
        Congested => ("congestion experienced on a packet without ecn", Error),
        /// Another protocol, or a packet in a packet that belongs to no tunnel of ours.
        Protocol => (("unknown ip protocol", "unknown ip6 protocol"), Error),
        /// Neighbour discovery: the message was forwarded by somebody.
        HopLimit => (("", "hop_limit != 255"), Error),
        /// Neighbour discovery: the code is not 0.
        NeighborCode => (("", "invalid code for type"), Error),
        /// Neighbour discovery: fewer than 24 bytes.
        NeighborTooShort => (("", "payload length too small for type"), Error),
        /// Neighbour discovery: an option is cut off, or has no length.
        NeighborOption => (("", "option has zero length"), Error),
        /// Neighbour discovery: the target is a group, or addresses contradict each other.
        NeighborTarget => (("", "neighbor discovery target invalid"), Error),
        /// Neighbour discovery: a link-layer address that no other station has.
        NeighborMac => (("", "neighbor discovery hardware address invalid"), Error),
        /// Another station uses an address of ours.
        NeighborConflict => (("", "IP6 source address matches local interface"), Error),
        /// The sender's address is on none of the interface's networks.
        NeighborOffLink => (
            ("", "neighbor solicitations from source not on link"),
            Error
        ),
        /// Solicitations that were answered.
        NeighborAnswered => (("", "neighbor advertisements sent"), Info),
        /// Advertisements by others.
        NeighborHeard => (("", "neighbor advertisements received"), Info),
        /// Solicitations between others.
        NeighborNotForUs => (("", "neighbor solicitation for another station"), Info),
    }
}

/// Answers ICMP echo requests to interface addresses and VIPs in place (RFC 792, RFC 1122 §3.2.2.6,
/// RFC 4443 §4) and punts echo replies; speaks neighbour discovery (RFC 4861).
///
/// A solicitation is answered when it asks for an address of the interface it came in by, or for a
/// VIP in one of that interface's networks. The answer goes where it came from, tags included. What
/// messages tell of neighbours is learnt as `arp-input` does. Router discovery and redirects are
/// not for a router.
///
/// A packet in a packet whose outer addresses are those of a tunnel of ours comes out of it, its ECN
/// field as RFC 6040 has it.
///
/// # Reads
/// The IP header and the whole ICMP message; lanes `l4_offset`, `protocol`.
/// # Writes
/// The packet, which becomes the answer: addresses swapped, type, checksums and TTL set, everything
/// else as it came; lane `tx_interface`; flag `ORIGINATED`; events `Punt`, `NeighborSeen`.
/// # Next nodes
/// `ip4-lookup` or `ip6-lookup` for echo replies, `interface-output` for neighbour advertisements,
/// `ip4-input` or `ip6-input` for what comes out of a tunnel; `lb4-vip` or `lb6-vip` for node ports;
/// `error-drop`. What is dealt with ends here.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Whatever is none of these.
#[derive(Debug)]
pub struct IpLocal<F> {
    echos: RateLimit,
    family: PhantomData<F>,
}

impl<F> Default for IpLocal<F> {
    fn default() -> Self {
        Self { echos: RateLimit::new(ICMP_ECHOS_PER_SECOND), family: PhantomData }
    }
}

fn why_lost(error: UpperLayerError) -> Counter {
    match error {
        UpperLayerError::TooMany => Counter::TooManyExtensions,
        UpperLayerError::Split => Counter::Split,
        UpperLayerError::Routed => Counter::Routed,
        UpperLayerError::Truncated | UpperLayerError::Malformed => Counter::ExtensionTruncated,
    }
}

/// What is for the box itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Icmp(IcmpKind),
    Tunnel,
    NodePort,
}

fn judge<F: LocalFamily>(frame: &Frame, at: usize) -> Result<Verdict, Counter> {
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    let l4 = usize::from(frame.lanes.l4_offset[at]);
    let upper = frame.lanes.protocol[at];
    let data = frame.data(at);
    let header = F::Header::at(data, l3).ok_or(Counter::Protocol)?;
    if let Some(error) = lost::<F>(data, l3, upper) {
        return Err(why_lost(error));
    }
    if frame.lanes.flags[at] & flag::FRAGMENT != 0 {
        return Err(Counter::Fragment);
    }
    if matches!(upper, protocol::TCP | protocol::UDP) {
        return Err(Counter::NoListener);
    }
    if matches!(upper, protocol::IPIP | protocol::IPV6) {
        return Ok(Verdict::Tunnel);
    }
    if upper != F::ICMP {
        return Err(Counter::Protocol);
    }
    let end = l3 + header.packet_len();
    if end < l4 + ICMP_HEADER_LEN {
        return Err(Counter::IcmpTooShort);
    }
    let message = data.get(l4..end).ok_or(Counter::Split)?;
    if !F::is_checksum_right(header, message) {
        return Err(Counter::IcmpChecksum);
    }
    F::kind(header, message).map(Verdict::Icmp).ok_or(Counter::IcmpType)
}

impl<F: LocalFamily> IpLocal<F> {
    /// What packet `at` is, within the limit of echoes.
    fn verdict(
        &mut self,
        cx: &NodeCx<'_, Self>,
        frame: &Frame,
        at: usize,
    ) -> Result<Verdict, Counter> {
        let verdict = match judge::<F>(frame, at) {
            Err(Counter::NoListener | Counter::IcmpType)
                if is_for_node_port::<F>(cx.snapshot, frame, at) =>
            {
                Verdict::NodePort
            }
            other => other?,
        };
        let echo = matches!(verdict, Verdict::Icmp(IcmpKind::EchoRequest | IcmpKind::EchoReply));
        if echo && !self.echos.allow(cx.now.tick_s) {
            return Err(Counter::RateLimited);
        }
        Ok(verdict)
    }

    /// Neighbour discovery; only IPv6 has such messages.
    fn discover(cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) {
        match discover(cx.snapshot, cx.worker, cx.now, frame, at) {
            Ok(Outcome::Answer) => {
                cx.count(Counter::NeighborAnswered, 1);
                cx.set_next(at, Next::Output);
            }
            Ok(Outcome::End(counter)) => {
                // Dealt with: the packet ends here, and is no drop.
                cx.count(counter, 1);
                cx.worker.garbage.extend(frame.take(at));
            }
            Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
        }
    }

    /// Gives packet `at` to control.
    fn punt(cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) {
        let interface = frame.lanes.rx_interface[at];
        let l3_offset = frame.lanes.l3_offset[at];
        let Some(packet) = frame.take(at) else { return };
        let refused = cx.worker.shared.post(Event::Punt { interface, l3_offset, packet });
        let stats = cx.worker.shared.interfaces.get(interface.index());
        match refused {
            Ok(()) => {
                cx.count(Counter::Punt, 1);
                stats.inspect(|stats| stats.punts.add(1));
            }
            Err(event) => {
                cx.count(Counter::PuntFull, 1);
                stats.inspect(|stats| stats.drops.add(1));
                if let Event::Punt { packet, .. } = event {
                    cx.worker.garbage.push(packet);
                }
            }
        }
    }
}

impl<F: LocalFamily> Node for IpLocal<F> {
    const NAME: &'static str = if F::V6 { "ip6-local" } else { "ip4-local" };
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            if frame.packet(at).is_none() {
                continue;
            }
            match self.verdict(cx, frame, at) {
                Ok(Verdict::NodePort) => {
                    frame.lanes.vip[at] = NODE_PORT;
                    cx.set_next(at, Next::Vip);
                }
                Ok(Verdict::Tunnel) => match decapsulate::<F>(cx, frame, at) {
                    Ok(next) => {
                        cx.count(Counter::Decapsulated, 1);
                        cx.set_next(at, next);
                    }
                    Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
                },
                Ok(Verdict::Icmp(IcmpKind::Neighbor)) => Self::discover(cx, frame, at),
                Ok(Verdict::Icmp(IcmpKind::EchoRequest)) => {
                    let l3 = usize::from(frame.lanes.l3_offset[at]);
                    let l4 = usize::from(frame.lanes.l4_offset[at]);
                    F::reply(frame.data_mut(at), l3, l4);
                    frame.lanes.flags[at] = flag::ORIGINATED;
                    cx.count(Counter::Echo, 1);
                    cx.set_next(at, Next::Lookup);
                }
                Ok(Verdict::Icmp(IcmpKind::EchoReply)) => Self::punt(cx, frame, at),
                Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
            }
        }
    }
}
