//! `interface-output`: hands packets to the transmit buffers of their port.

use dataplane::frame::Frame;
use dataplane::interface::{Interface, PortId};
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
        /// The device has no carrier, or is gone.
        NoLink => ("link is down", Error),
        /// The interface was deleted, or has no port (`local0`).
        NoPort => ("interface is deleted", Error),
    }
}

/// Ends packets by sending them.
///
/// # Reads
/// Lane `tx_interface`; `Interface::up`, `Interface::link_up` and `Interface::port`.
/// # Writes
/// The transmit buffers, which count what was sent.
/// # Next nodes
/// None.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets for interfaces that are down or gone, or whose link is; they are freed here.
#[derive(Debug, Default)]
pub struct InterfaceOutput;

/// The interface and port that all packets of the frame leave by, if none was taken out of it and
/// nothing keeps them from leaving.
fn common_exit<'a>(snapshot: &'a Snapshot, frame: &Frame) -> Option<(&'a Interface, PortId)> {
    let exits = &frame.lanes.tx_interface[..frame.len()];
    let first = *exits.first()?;
    // Without a way out of the loop, so that it takes several packets at once.
    let same = exits.iter().fold(true, |same, exit| same & (*exit == first));
    let interface = snapshot.interface(first)?;
    let leaves = same && interface.sends() && frame.is_whole();
    leaves.then_some(interface).zip(interface.port)
}

impl Node for InterfaceOutput {
    const NAME: &'static str = "interface-output";
    type Next = NoNext;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        if let Some((interface, port)) = common_exit(cx.snapshot, frame) {
            let WorkerState { transmit, shared, .. } = &mut *cx.worker;
            transmit.push_all(interface, port, frame.packets_mut(), cx.io, shared);
            return;
        }
        for at in 0..frame.len() {
            let Some(packet) = frame.take(at) else { continue };
            let interface = cx.snapshot.interface(frame.lanes.tx_interface[at]);
            let reason = match interface.map(|interface| (interface, interface.port)) {
                Some((interface, Some(port))) if interface.sends() => {
                    let WorkerState { transmit, shared, .. } = &mut *cx.worker;
                    transmit.push(interface, port, packet, cx.io, shared);
                    continue;
                }
                Some((interface, Some(_))) if interface.up => Counter::NoLink,
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
