//! `lb-express`: the whole way of an ordinary packet through the load balancer in one node.

mod alike;
mod answerer;
mod answering;
mod answers;
mod client_way;
mod client_ways;
mod crowd;
mod declined;
mod destinations;
mod finding;
mod first_stage;
mod fitting;
mod flow_job;
mod gate;
mod lane;
mod likeness;
mod new_flow;
mod newcomers;
mod ones;
mod ordinary;
mod outer_template;
mod pattern;
mod readdress;
mod redirect;
mod redirect4;
mod redirect6;
mod replies;
mod reply_flow;
mod run;
mod second_stage;
mod sending;
mod server_way;
mod server_ways;
mod services;
mod stragglers;

use dataplane::family::{Ip4, Ip6};
use dataplane::frame::Frame;
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::{next_nodes, node_counters};

use answers::Answers;
use crowd::Crowd;
use declined::Declined;
use gate::Gate;
use lane::{Cx, Lane};
use ones::Bits;
use ordinary::Link;

/// Packets of a group. Two groups are between stages at once, and the lines of their packets fit into the
/// first-level cache; larger groups would push each other out.
pub(crate) const STAGE: usize = Bits::BITS as usize;

/// So many packets make a large frame.
const LARGE: usize = 32;

/// After a large frame without anything for the express way, so many go past it: where packets are
/// only routed, trying costs as much as a node. Any packet may go past.
const PASS: u32 = 15;

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Whatever is not ordinary, untouched.
        Ethernet => "ethernet-input",
        /// Ready to be sent.
        Output => "interface-output",
    }
}

node_counters! {
    /// What `lb-express` counts.
    pub enum Counter {
        /// Packets that leave from here.
        Forwarded => ("packets on the express way", Info),
        /// IPv4 packets of ASs that got the address of their VIP.
        Translated4 => ("good nat4 in2out packets processed", Info),
        /// IPv6 packets of ASs that got the address of their VIP.
        Translated6 => ("good nat6 in2out packets processed", Info),
    }
}

/// Takes ordinary packets of flows from the port to the port: what `ethernet-input`, `ip4-input`,
/// `lb-nat4-in2out`, `ip4-lookup`, `lb4-vip`, the nodes of the methods and `ip4-rewrite` do to them
/// (and those of IPv6), done in one pass. Those nodes are the definition, and tests compare.
///
/// Ordinary is a whole TCP or UDP packet without VLAN tag, options or extension headers, in one
/// buffer, with hops left, that a VIP takes or an AS behind NAT answers, and for which the way is
/// known and wide enough. All others go on to `ethernet-input` as they came. While one of those nodes
/// waits for packets to trace, none come here at all, so that a trace shows each step.
///
/// Packets go in groups of 64 through two stages: in the first, headers are checked and the VIP is found;
/// in the second, flows are looked up and packets rewritten, while the lines of the sticky table for the
/// next group are fetched. What is found out about destinations, ASs and services is kept until the next snapshot.
///
/// # Reads
/// All headers; the snapshot, by the functions of the other nodes.
/// # Writes
/// The packet; lane `tx_interface`; the sticky table; the counters of interfaces, VIPs and ASs.
/// # Next nodes
/// `interface-output`; `ethernet-input`.
/// # Counters
/// See [`Counter`], the four of each VIP, and those of each AS.
/// # Drops
/// None.
#[derive(Debug, Default)]
pub struct LbExpress {
    ip4: Lane<Ip4>,
    ip6: Lane<Ip6>,
    crowd4: Crowd<Ip4>,
    crowd6: Crowd<Ip6>,
    answers4: Answers<Ip4>,
    answers6: Answers<Ip6>,
    declined: Declined,
    /// Frames to let pass: in the last one there was nothing to do here.
    pass: u32,
}

impl LbExpress {
    /// First stage of the packets of a group, from slot `start` on, that are like those before. Returns
    /// the others: a bit for each, counted from `start` on.
    #[inline]
    fn gather(&mut self, cx: &Cx<'_>, frame: &Frame, start: usize) -> Bits {
        let all = Bits::MAX >> STAGE.saturating_sub(frame.len() - start);
        let mut others = all & !self.crowd4.gather(cx, &mut self.ip4, frame, start, all);
        if others != 0 {
            others &= !self.crowd6.gather(cx, &mut self.ip6, frame, start, others);
        }
        if others != 0 {
            others &= !self.answers4.gather(cx, &mut self.ip4, frame, start, others);
        }
        if others != 0 {
            others &= !self.answers6.gather(cx, &mut self.ip6, frame, start, others);
        }
        others
    }

    /// Second stage of them.
    #[inline]
    fn finish(&mut self, cx: &mut Cx<'_>, frame: &mut Frame, start: usize) {
        self.crowd4.finish(cx, &mut self.ip4, (frame, start), &mut self.declined);
        self.crowd6.finish(cx, &mut self.ip6, (frame, start), &mut self.declined);
        self.answers4.finish(cx, &mut self.ip4, (frame, start), &mut self.declined);
        self.answers6.finish(cx, &mut self.ip6, (frame, start), &mut self.declined);
    }

    /// Both stages of a group's others, and the second stage of the rest of it.
    #[inline(never)]
    fn finish_others(
        &mut self,
        cx: &mut Cx<'_>,
        gate: &mut Gate,
        frame: &mut Frame,
        (start, mut others): (usize, Bits),
    ) {
        others = self.ip4.gather(cx, gate, frame, start, others);
        if others != 0 {
            others = self.ip6.gather(cx, gate, frame, start, others);
        }
        if others != 0 {
            self.decline(frame, start, others);
        }
        self.finish(cx, frame, start);
        self.ip4.finish(cx, frame, &mut self.declined);
        self.ip6.finish(cx, frame, &mut self.declined);
    }

    /// Leaves the packets of a group to the other nodes that no lane wants: a bit for each, counted
    /// from slot `start` on.
    #[cold]
    fn decline(&mut self, frame: &Frame, start: usize, packets: Bits) {
        for at in (start..start + STAGE).filter(|at| packets >> (at - start) & 1 != 0) {
            let data = frame.data(at);
            if let Some(link) = Link::of(data) {
                self.declined.add_frame(link.ether_type, data);
            }
        }
    }
}

impl Node for LbExpress {
    const NAME: &'static str = "lb-express";
    const FUSED: bool = true;
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        if self.pass > 0 {
            self.pass -= 1;
            return;
        }
        let mut gate = Gate::CLOSED;
        self.declined.clear();
        self.ip4.begin(cx);
        self.ip6.begin(cx);
        self.crowd4.begin(cx);
        self.crowd6.begin(cx);
        let mut before = None;
        for start in (0..frame.len()).step_by(STAGE) {
            let others = self.gather(cx, frame, start);
            if let Some(before) = before {
                self.finish(cx, frame, before);
            }
            before = Some(start);
            if others != 0 {
                self.finish_others(cx, &mut gate, frame, (start, others));
                before = None;
            }
            self.crowd4.learn(&mut self.ip4);
            self.crowd6.learn(&mut self.ip6);
        }
        if let Some(before) = before {
            self.finish(cx, frame, before);
        }
        let forwarded = self.ip4.end(cx) + self.ip6.end(cx);
        if forwarded == 0 && frame.len() >= LARGE {
            self.pass = PASS;
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.rx_interface[at])
    }
}
