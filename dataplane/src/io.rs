//! [`PacketIo`]: where a worker's packets come from and go to, injected so that tests and replays
//! can stand in for DPDK.

use crate::dpdk::queue::PortQueues;
use crate::frame::Frame;
use crate::interface::{InterfaceId, PortId, QueueId};
use crate::packet::Packet;

/// A worker's packet source, sink and pool.
pub trait PacketIo: Send {
    /// Receives up to `frame.room()` packets from a queue, adding them (by [`Frame::fill`]) with
    /// `interface` as their `rx_interface`. Returns how many came.
    fn rx_burst(
        &mut self,
        port: PortId,
        queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize;

    /// Sends packets; those taken by the port leave their slots empty, from the first on, the rest
    /// stay. Nothing behind an empty slot is sent. Returns how many were taken.
    fn tx_burst(&mut self, port: PortId, queue: QueueId, packets: &mut [Option<Packet>]) -> usize;

    /// Takes these queues of a port in the place of those it has, which are left in `queues`. Packets
    /// can be neither received nor sent on a port without queues. Not for the many: it allocates.
    fn swap_queues(&mut self, _queues: &mut PortQueues) {}

    /// A new empty packet with headroom in front, or `None` when the pool is exhausted.
    fn alloc(&mut self) -> Option<Packet>;

    /// True when there is no buffer to receive into.
    fn is_starved(&mut self) -> bool {
        false
    }

    /// Returns packets to their pool; `packets` is left empty.
    fn free(&mut self, packets: &mut Vec<Packet>);
}
