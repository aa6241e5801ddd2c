//! `dpdk-input`: receives.

use dataplane::frame::Frame;
use dataplane::node::{Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::worker::RxAssignment;
use dataplane::{next_nodes, node_counters};

next_nodes! {
    /// Where received packets go.
    pub enum Next {
        /// Packets of interfaces that are up.
        Express => "lb-express",
        /// The same while a node waits for packets to trace.
        Ethernet => "ethernet-input",
        /// Packets of interfaces that are down.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `dpdk-input` counts.
    pub enum Counter {
        /// A packet arrived on an interface that is administratively down or does not exist.
        InterfaceDown => ("interface is down", Error),
    }
}

/// Brings in one frame per turn, filled from all of the worker's queues.
///
/// # Reads
/// The receive queues of the worker; `Interface::up`.
/// # Writes
/// Lane `rx_interface`; the rx counters of the interface.
/// # Next nodes
/// `lb-express`, `ethernet-input`, `error-drop`.
/// # Counters
/// `interface is down`.
/// # Drops
/// Packets of interfaces that are down.
#[derive(Debug)]
pub struct DpdkInput {
    /// The queue asked first; it moves on each turn, so that a busy queue cannot starve the others.
    first: usize,
    /// Where packets go while none are to be traced.
    next: Next,
}

impl Default for DpdkInput {
    fn default() -> Self {
        Self { first: 0, next: Next::Express }
    }
}

impl DpdkInput {
    /// Sends all packets through one node after the other.
    #[must_use]
    pub fn plain() -> Self {
        Self { first: 0, next: Next::Ethernet }
    }
}

impl Node for DpdkInput {
    const NAME: &'static str = "dpdk-input";
    const INPUT: bool = true;
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, _cx: &mut NodeCx<'_, Self>, _frame: &mut Frame) {}

    fn poll(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        let queues = cx.worker.queues.len();
        let next = if cx.worker.shared.is_armed() { Next::Ethernet } else { self.next };
        self.first = if self.first + 1 < queues { self.first + 1 } else { 0 };
        for at in (self.first..queues).chain(0..self.first) {
            let RxAssignment { port, queue, interface } = cx.worker.queues[at];
            let from = frame.len();
            if cx.io.rx_burst(port, queue, interface, frame) == 0 {
                continue;
            }
            let up = cx.snapshot.interface(interface).is_some_and(|interface| interface.up);
            let bytes = Packet::bytes_of(&frame.packets()[from..]);
            if up {
                cx.set_next_of(from..frame.len(), next);
            } else {
                for packet in from..frame.len() {
                    cx.drop_packet(frame, packet, Next::Drop, Counter::InterfaceDown);
                }
            }
            if let Some(stats) = cx.worker.shared.interfaces.get(interface.index()) {
                stats.rx_packets.add((frame.len() - from) as u64);
                stats.rx_bytes.add(bytes);
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.rx_interface[at])
    }
}
