//! `lb-punt`: gives packets to the host's kernel, through the `[punt]` tap.

use dataplane::adjacency::L2Header;
use dataplane::frame::Frame;
use dataplane::interface::{Interface, MacAddress};
use dataplane::node::{Node, NodeCx};
use dataplane::rate_limit::RateLimit;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::ethernet::ether_type;
use dataplane::worker::PUNTS_PER_SECOND;
use dataplane::{next_nodes, node_counters};

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// To the tap.
        Output => "interface-output",
        /// Too many, or nowhere to give them to.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `lb-punt` counts.
    pub enum Counter {
        /// Packets on their way to the kernel.
        Punted => ("packets punted", Info),
        /// Too many packets in this second.
        RateLimited => ("punt rate limit exceeded", Error),
        /// There is no tap (any more), or no room for the Ethernet header.
        NoTap => ("no punt interface", Error),
    }
}

/// Puts packets on the tap as they came, with an Ethernet header to the kernel's side.
///
/// A tap is one Ethernet address at both ends: the port's is the one of the kernel's interface. As
/// a station of its own behind the tap we have that address with its last bit inverted
/// (`station`). What comes back from the kernel is routed as if it came from any link, except that
/// its source may be a VIP or another address of ours.
///
/// # Reads
/// Lane `l3_offset`; the IP version; `Interface::punt`, `Interface::mac`.
/// # Writes
/// The Ethernet header; lane `tx_interface`; the `punts` counter of the receiving interface.
/// # Next nodes
/// `interface-output`, `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets beyond the limit, and all of them without a tap.
#[derive(Debug)]
pub struct LbPunt {
    limit: RateLimit,
}

impl Default for LbPunt {
    fn default() -> Self {
        Self { limit: RateLimit::new(PUNTS_PER_SECOND) }
    }
}

/// Our own Ethernet address on a tap.
pub(crate) fn station(tap: &Interface) -> MacAddress {
    let mut mac = tap.mac;
    mac.0[5] ^= 1;
    mac
}

impl Node for LbPunt {
    const NAME: &'static str = "lb-punt";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        let tap = cx.snapshot.interfaces.iter().find(|interface| interface.punt);
        for at in 0..frame.len() {
            let Some(tap) = tap else {
                cx.drop_packet(frame, at, Next::Drop, Counter::NoTap);
                continue;
            };
            if !self.limit.allow(cx.now.tick_s) {
                cx.drop_packet(frame, at, Next::Drop, Counter::RateLimited);
                continue;
            }
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let version = frame.data(at).get(l3).map_or(4, |byte| byte >> 4);
            let kind = if version == 6 { ether_type::IPV6 } else { ether_type::IPV4 };
            if !frame.set_l2(at, &L2Header::new(tap.mac, station(tap), &[], kind)) {
                cx.drop_packet(frame, at, Next::Drop, Counter::NoTap);
                continue;
            }
            frame.lanes.tx_interface[at] = tap.id;
            let rx = frame.lanes.rx_interface[at];
            if let Some(stats) = cx.worker.shared.interfaces.get(rx.index()) {
                stats.punts.add(1);
            }
            cx.count(Counter::Punted, 1);
            cx.set_next(at, Next::Output);
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.tx_interface[at])
    }
}
