//! Per-port transmit buffers of one worker: packets of a turn leave together.

use crate::interface::{Interface, InterfaceId, MAX_INTERFACES, PortId, QueueId};
use crate::io::PacketIo;
use crate::packet::Packet;
use crate::shared::WorkerShared;

/// Packets that are sent at once without waiting for the end of the turn.
const FLUSH_AT: usize = 64;

struct Buffer {
    port: PortId,
    /// The interface that sends it all too: a sub-interface's parent.
    parent: Option<InterfaceId>,
    packets: Vec<Packet>,
    bytes: u64,
}

/// Buffers of all interfaces.
pub struct Transmit {
    queue: QueueId,
    buffers: Vec<Buffer>,
    /// Interfaces with packets in their buffer.
    dirty: Vec<InterfaceId>,
}

impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transmit({:?}, {} dirty)", self.queue, self.dirty.len())
    }
}

impl Transmit {
    /// Buffers that send to `queue` of every port.
    pub fn new(queue: QueueId) -> Self {
        let buffer = || Buffer {
            port: PortId(0),
            parent: None,
            packets: Vec::with_capacity(FLUSH_AT),
            bytes: 0,
        };
        Self {
            queue,
            buffers: (0..MAX_INTERFACES).map(|_| buffer()).collect(),
            dirty: Vec::with_capacity(MAX_INTERFACES),
        }
    }

    /// Queues a packet for `interface`, which has `port` behind it.
    #[inline]
    pub fn push(
        &mut self,
        interface: &Interface,
        port: PortId,
        packet: Packet,
        io: &mut dyn PacketIo,
        shared: &WorkerShared,
    ) {
        let buffer = &mut self.buffers[interface.id.index()];
        if buffer.packets.is_empty() {
            self.dirty.push(interface.id);
            (buffer.port, buffer.parent) = (port, interface.parent);
        }
        buffer.bytes += packet.len() as u64;
        buffer.packets.push(packet);
        if buffer.packets.len() >= FLUSH_AT {
            Self::send(buffer, self.queue, interface.id, io, shared);
            self.dirty.retain(|id| *id != interface.id);
        }
    }

    /// Sends everything. What a port does not take is freed and counted as a transmit error.
    #[inline]
    pub fn flush(&mut self, io: &mut dyn PacketIo, shared: &WorkerShared) {
        while let Some(id) = self.dirty.pop() {
            Self::send(&mut self.buffers[id.index()], self.queue, id, io, shared);
        }
    }

    fn send(
        buffer: &mut Buffer,
        queue: QueueId,
        interface: InterfaceId,
        io: &mut dyn PacketIo,
        shared: &WorkerShared,
    ) {
        let sent = io.tx_burst(buffer.port, queue, &mut buffer.packets);
        let unsent_bytes: u64 = buffer.packets.iter().map(|packet| packet.len() as u64).sum();
        let through = [Some(interface), buffer.parent].into_iter().flatten();
        for stats in through.filter_map(|id| shared.interfaces.get(id.index())) {
            stats.tx_packets.add(sent as u64);
            stats.tx_bytes.add(buffer.bytes - unsent_bytes);
            stats.tx_errors.add(buffer.packets.len() as u64);
        }
        buffer.bytes = 0;
        if !buffer.packets.is_empty() {
            io.free(&mut buffer.packets);
        }
    }
}
