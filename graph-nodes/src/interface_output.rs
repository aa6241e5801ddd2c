//! `interface-output`: hands packets to the transmit buffers of their port.

use dataplane::frame::Frame;
use dataplane::node::{NoNext, Node, NodeCx};
use dataplane::node_counters;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::worker::WorkerState;

node_counters! {
    /// What `interface-output` counts.
    pub enum Counter {
        /// The interface is administratively down.
        Down => ("interface is down", Error),
        /// The interface was deleted, or has no port (`local0`).
        NoPort => ("interface is deleted", Error),
    }
}

/// Ends packets by sending them.
///
/// # Reads
/// Lane `tx_interface`; `Interface::up` and `Interface::port`.
/// # Writes
/// The transmit buffers, which count what was sent.
/// # Next nodes
/// None.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets for interfaces that are down or gone; they are freed here.
#[derive(Debug, Default)]
pub struct InterfaceOutput;

impl Node for InterfaceOutput {
    const NAME: &'static str = "interface-output";
    type Next = NoNext;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let Some(packet) = frame.take(at) else { continue };
            let interface = cx.snapshot.interface(frame.lanes.tx_interface[at]);
            let reason = match interface.map(|interface| (interface, interface.port)) {
                Some((interface, Some(port))) if interface.up => {
                    let WorkerState { transmit, shared, .. } = &mut *cx.worker;
                    transmit.push(interface, port, packet, cx.io, shared);
                    continue;
                }
                Some((_, Some(_))) => Counter::Down,
                _ => Counter::NoPort,
            };
            cx.count(reason, 1);
            let rx = frame.lanes.rx_interface[at];
            if let Some(stats) = cx.worker.shared.interfaces.get(rx.index()) {
                stats.drops.add(1);
            }
            cx.worker.garbage.push(packet);
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.tx_interface[at])
    }
}
