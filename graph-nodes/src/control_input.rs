//! `control-input`: packets that control wants to send.

use dataplane::event::Request;
use dataplane::frame::{Frame, flag};
use dataplane::interface::InterfaceId;
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ethernet::EthernetHeader;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::worker::WorkerState;
use dataplane::{next_nodes, node_counters};

use crate::upper::mark;

/// Where the IP header of a packet to be routed stands.
const L3: usize = EthernetHeader::LEN;

next_nodes! {
    /// Where control's packets go.
    pub enum Next {
        /// Complete Ethernet frames.
        Output => "interface-output",
        /// IPv4 packets.
        Lookup4 => "ip4-lookup",
        /// IPv6 packets.
        Lookup6 => "ip6-lookup",
    }
}

node_counters! {
    /// What `control-input` counts.
    pub enum Counter {
        /// A complete frame (ARP) sent for control.
        Sent => ("frames sent for control", Info),
        /// An IP packet (`ping`) routed for control.
        Routed => ("packets routed for control", Info),
    }
}

/// Takes what control put into the worker's mailbox.
///
/// # Reads
/// `WorkerState::injected`.
/// # Writes
/// Lanes `tx_interface`, `l3_offset`, `l4_offset`, `protocol`; flag `ORIGINATED`.
/// # Next nodes
/// `interface-output`, `ip4-lookup`, `ip6-lookup`.
/// # Counters
/// `frames sent for control`, `packets routed for control`.
/// # Drops
/// None.
#[derive(Debug, Default)]
pub struct ControlInput;

impl Node for ControlInput {
    const NAME: &'static str = "control-input";
    const INPUT: bool = true;
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, _cx: &mut NodeCx<'_, Self>, _frame: &mut Frame) {}

    fn wants_poll(&self, worker: &WorkerState) -> bool {
        !worker.injected.is_empty()
    }

    fn poll(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        // Borrowed out of the worker and put back, so that its allocation is kept.
        let mut injected = std::mem::take(&mut cx.worker.injected);
        for request in injected.drain(..) {
            let (packet, next, tx_interface) = match request {
                Request::Transmit { interface, packet } => (packet, Next::Output, interface),
                Request::Route { packet } => {
                    let version = packet.data().get(L3).map_or(4, |byte| byte >> 4);
                    let next = if version == 6 { Next::Lookup6 } else { Next::Lookup4 };
                    (packet, next, InterfaceId::LOCAL0)
                }
                Request::ReplaceStickyTable(_) | Request::SwapQueues(_) | Request::Panic => {
                    continue;
                }
            };
            let at = match frame.push(packet, InterfaceId::LOCAL0) {
                Ok(at) => at,
                Err(packet) => {
                    cx.worker.garbage.push(packet);
                    continue;
                }
            };
            frame.lanes.tx_interface[at] = tx_interface;
            frame.lanes.flags[at] = flag::ORIGINATED;
            cx.set_next(at, next);
            if next == Next::Output {
                cx.count(Counter::Sent, 1);
                continue;
            }
            cx.count(Counter::Routed, 1);
            frame.lanes.l3_offset[at] = L3 as u16;
            let data = frame.data(at);
            let upper = match next {
                Next::Lookup6 => Ipv6Header::upper_layer(data, L3),
                _ => Ipv4Header::upper_layer(data, L3),
            };
            if let Ok(upper) = upper {
                mark(&mut frame.lanes, at, &upper);
            }
        }
        cx.worker.injected = injected;
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.tx_interface[at])
    }
}
