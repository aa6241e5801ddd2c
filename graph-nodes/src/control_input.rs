//! `control-input`: packets that control wants to send.

use dataplane::event::Request;
use dataplane::frame::{Frame, flag};
use dataplane::interface::InterfaceId;
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ethernet::EthernetHeader;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::{next_nodes, node_counters};

next_nodes! {
    /// Where control's packets go.
    pub enum Next {
        /// Complete Ethernet frames.
        Output => "interface-output",
        /// IPv4 packets.
        Lookup => "ip4-lookup",
    }
}

node_counters! {
    /// What `control-input` counts.
    pub enum Counter {
        /// A complete frame (ARP) sent for control.
        Sent => ("frames sent for control", Info),
        /// An IPv4 packet (`ping`) routed for control.
        Routed => ("packets routed for control", Info),
    }
}

/// Takes what control put into the worker's mailbox.
///
/// # Reads
/// `WorkerState::injected`.
/// # Writes
/// Lanes `tx_interface`, `l3_offset`, `l4_offset`; flag `ORIGINATED`.
/// # Next nodes
/// `interface-output`, `ip4-lookup`.
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

    fn poll(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        // Borrowed out of the worker and put back, so that its allocation is kept.
        let mut injected = std::mem::take(&mut cx.worker.injected);
        for request in injected.drain(..) {
            let (packet, next, tx_interface) = match request {
                Request::Transmit { interface, packet } => (packet, Next::Output, interface),
                Request::Route { packet } => (packet, Next::Lookup, InterfaceId::LOCAL0),
                Request::ReplaceStickyTable(_) => continue,
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
            match next {
                Next::Output => cx.count(Counter::Sent, 1),
                Next::Lookup => {
                    cx.count(Counter::Routed, 1);
                    let l3 = EthernetHeader::LEN;
                    let len = Ipv4Header::at(frame.data(at), l3).map_or(0, Ipv4Header::header_len);
                    frame.lanes.l3_offset[at] = l3 as u16;
                    frame.lanes.l4_offset[at] = (l3 + len) as u16;
                }
            }
        }
        cx.worker.injected = injected;
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.tx_interface[at])
    }
}
