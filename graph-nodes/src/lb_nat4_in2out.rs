//! `lb-nat4-in2out`: gives replies of ASs the address and port that the client spoke to.

use std::net::Ipv4Addr;

use balancer::{Balancer, ReplyVerdict};
use dataplane::family::Ip4;
use dataplane::fib::{FibDrop, FibEntry};
use dataplane::frame::{Frame, flag};
use dataplane::interface::InterfaceId;
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::{next_nodes, node_counters};

use crate::forwarding::{Obstacle, UNRESOLVED, link, obstacle};
use crate::icmp_error::IcmpError;
use crate::transport::{End, NoPorts, flow, translate};

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Translated replies, and everything that is none.
        Lookup => "ip4-lookup",
        /// TTL, size or the lack of a route is in the way, and the AS is told.
        IcmpError => "ip4-icmp-error",
        /// Replies that cannot be attributed.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `lb-nat4-in2out` counts.
    pub enum Counter {
        /// Replies that were translated.
        Translated => ("Good in2out packets processed", Info),
        /// Several VIPs could be meant, and no flow tells which.
        NoFlow => ("nat reply without flow", Error),
        /// A fragment of an AS: only the first one could be attributed, and alone it is of no use.
        Fragment => ("fragment from a nat4 server", Error),
        /// The TCP or UDP header of an AS's packet is not in the first buffer.
        Split => ("headers not in the first buffer", Error),
        /// No hop left; the AS gets a "time exceeded".
        Ttl => ("ip4 ttl <= 1", Error),
        /// Too big for the client's link, DF set; the AS gets a "fragmentation needed".
        DontFragment => ("ip4 MTU exceeded and DF set", Error),
        /// No route to the client; the AS gets a "network unreachable".
        Miss => ("ip4 destination lookup miss", Error),
    }
}

/// The way back of NAT, on interfaces with `nat4 in`.
///
/// What does not come from an AS's service passes untouched: other ports, ICMP, other hosts, and
/// replies to clients that came to the AS itself. TTL, route and size are checked before the
/// translation, so that an ICMP error goes to the AS and quotes what the AS sent; after it, the
/// error would go to the VIP, which is us.
///
/// # Reads
/// IPv4 header, TCP or UDP header; the balancer's reverse map and sticky tables; the FIB's verdict
/// on the destination, for route and size.
/// # Writes
/// Source address and port, checksums; lanes `adjacency`, `icmp`; flag `TRANSLATED`; the worker's
/// sticky table.
/// # Next nodes
/// `ip4-lookup`, `ip4-icmp-error`, `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Replies of shared services without a flow, fragments of ASs, packets without hops left or
/// route.
#[derive(Debug, Default)]
pub struct LbNat4In2out;

enum Verdict {
    Pass,
    Translate(Ipv4Addr, u16),
    Drop(Counter),
}

/// True when the packet at `l3` comes from the address of an AS.
fn from_server(snapshot: &Snapshot, data: &[u8], l3: usize) -> bool {
    Ipv4Header::at(data, l3)
        .is_some_and(|ip| matches!(snapshot.fib4.lookup(ip.source()), FibEntry::AsDirect(_)))
}

fn judge(cx: &mut NodeCx<'_, LbNat4In2out>, data: &[u8], l3: usize, l4: usize) -> Verdict {
    let snapshot = cx.snapshot;
    let (tuple, flags) = match flow(data, l3, l4) {
        Ok(flow) => flow,
        Err(NoPorts::LaterFragment) if from_server(snapshot, data, l3) => {
            return Verdict::Drop(Counter::Fragment);
        }
        Err(NoPorts::Split) if from_server(snapshot, data, l3) => {
            return Verdict::Drop(Counter::Split);
        }
        Err(_) => return Verdict::Pass,
    };
    let mut balancer = Balancer {
        tables: &snapshot.lb,
        owner: &mut cx.worker.sticky,
        peers: &snapshot.sticky_tables,
        now_s: cx.now.tick_s,
    };
    match balancer.attribute_reply(&tuple, flags) {
        ReplyVerdict::NotMapped | ReplyVerdict::Direct => Verdict::Pass,
        ReplyVerdict::NoFlow => Verdict::Drop(Counter::NoFlow),
        ReplyVerdict::Translate { address, port, .. } => {
            match Ipv4Header::at(data, l3).is_some_and(Ipv4Header::is_fragment) {
                true => Verdict::Drop(Counter::Fragment),
                false => Verdict::Translate(address, port),
            }
        }
    }
}

impl LbNat4In2out {
    /// What stands between the packet and the client, as far as it can be told before routing.
    fn refusal(
        snapshot: &Snapshot,
        frame: &mut Frame,
        at: usize,
        l3: usize,
    ) -> Option<(Counter, IcmpError)> {
        let header = Ipv4Header::at(frame.data(at), l3)?;
        if header.ttl <= 1 {
            return Some((Counter::Ttl, IcmpError::TtlExceeded));
        }
        let (id, interface) = match snapshot.fib4.lookup(header.destination()) {
            FibEntry::Adjacency(id) | FibEntry::AsDirect(id) => (id.0, InterfaceId::LOCAL0),
            FibEntry::Glean(interface) => (UNRESOLVED, interface),
            FibEntry::Drop(FibDrop::NoRoute) => {
                return Some((Counter::Miss, IcmpError::NetUnreachable));
            }
            _ => return None,
        };
        let header = *header;
        (frame.lanes.adjacency[at], frame.lanes.tx_interface[at]) = (id, interface);
        let (_, mtu) = link(snapshot, &frame.lanes, at)?;
        let too_big = obstacle::<Ip4>(&header, mtu, false) == Some(Obstacle::DontFragment);
        too_big.then_some((Counter::DontFragment, IcmpError::TooBig))
    }
}

impl Node for LbNat4In2out {
    const NAME: &'static str = "lb-nat4-in2out";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let l4 = usize::from(frame.lanes.l4_offset[at]);
            let (address, port) = match judge(cx, frame.data(at), l3, l4) {
                Verdict::Pass => {
                    cx.set_next(at, Next::Lookup);
                    continue;
                }
                Verdict::Drop(reason) => {
                    cx.drop_packet(frame, at, Next::Drop, reason);
                    continue;
                }
                Verdict::Translate(address, port) => (address, port),
            };
            if let Some((reason, error)) = Self::refusal(cx.snapshot, frame, at, l3) {
                cx.count(reason, 1);
                frame.lanes.icmp[at] = error as u8;
                cx.set_next(at, Next::IcmpError);
                continue;
            }
            let data = frame.data_mut(at);
            translate(data, l3, l4, End::Source, address, port);
            frame.lanes.flags[at] |= flag::TRANSLATED;
            cx.count(Counter::Translated, 1);
            cx.set_next(at, Next::Lookup);
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let l4 = usize::from(frame.lanes.l4_offset[at]);
        match flow(frame.data(at), l3, l4) {
            Ok((tuple, _)) if frame.lanes.flags[at] & flag::TRANSLATED != 0 => {
                TraceDetail::Nat { address: tuple.src, port: tuple.src_port }
            }
            _ => TraceDetail::None,
        }
    }
}
