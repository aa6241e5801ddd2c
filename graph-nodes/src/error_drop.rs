//! `error-drop`: where dropped packets end.

use dataplane::frame::{FRAME_MAX, Frame};
use dataplane::node::{NoCounter, NoNext, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;

/// Frees packets in bulk. The reason was counted by the node that dropped.
///
/// # Reads
/// Lanes `rx_interface`, `error` (for the trace).
/// # Writes
/// The drop counter of the receiving interface.
/// # Next nodes
/// None.
/// # Counters
/// None.
/// # Drops
/// Everything that comes here.
#[derive(Debug, Default)]
pub struct ErrorDrop;

impl Node for ErrorDrop {
    const NAME: &'static str = "error-drop";
    type Next = NoNext;
    type Counter = NoCounter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let Some(packet) = frame.take(at) else { continue };
            let rx = frame.lanes.rx_interface[at];
            if let Some(stats) = cx.worker.shared.interfaces.get(rx.index()) {
                stats.drops.add(1);
            }
            cx.worker.garbage.push(packet);
        }
        if cx.worker.garbage.len() >= FRAME_MAX {
            cx.io.free(&mut cx.worker.garbage);
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Drop(frame.lanes.error[at])
    }
}
