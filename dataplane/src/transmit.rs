//! Per-port transmit buffers of one worker: packets of a turn leave together.

use crate::frame::FRAME_MAX;
use crate::interface::{Interface, InterfaceId, MAX_INTERFACES, PortId, QueueId};
use crate::io::PacketIo;
use crate::packet::Packet;
use crate::shared::WorkerShared;

/// Packets that are sent at once without waiting for the end of the turn.
const FLUSH_AT: usize = 64;
/// Of so many packets for one interface, waiting for more would save the port no call worth having.
const ENOUGH: usize = 32;

/// Where packets leave.
#[derive(Clone, Copy)]
struct Exit {
    port: PortId,
    interface: InterfaceId,
    /// The interface that sends it all too: a sub-interface's parent.
    parent: Option<InterfaceId>,
}

impl Exit {
    fn of(interface: &Interface, port: PortId) -> Self {
        Self { port, interface: interface.id, parent: interface.parent }
    }
}

struct Buffer {
    exit: Exit,
    packets: [Option<Packet>; FLUSH_AT],
    len: usize,
}

/// Buffers of all interfaces.
pub struct Transmit {
    queue: QueueId,
    buffers: Box<[Buffer]>,
    /// Interfaces with packets in their buffer.
    dirty: Vec<InterfaceId>,
    /// What a port did not take, on its way back to the pool.
    refused: Vec<Packet>,
}

impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transmit({:?}, {} dirty)", self.queue, self.dirty.len())
    }
}

impl Transmit {
    /// Buffers that send to `queue` of every port.
    pub fn new(queue: QueueId) -> Self {
        let exit = Exit { port: PortId(0), interface: InterfaceId::LOCAL0, parent: None };
        let buffer = |_| Buffer { exit, packets: [const { None }; FLUSH_AT], len: 0 };
        Self {
            queue,
            buffers: (0..MAX_INTERFACES).map(buffer).collect(),
            dirty: Vec::with_capacity(MAX_INTERFACES),
            refused: Vec::with_capacity(FRAME_MAX),
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
        if buffer.len == 0 {
            self.dirty.push(interface.id);
            buffer.exit = Exit::of(interface, port);
        }
        buffer.packets[buffer.len] = Some(packet);
        buffer.len += 1;
        if buffer.len == FLUSH_AT {
            self.flush_one(interface.id, io, shared);
        }
    }

    /// Queues a packet from each slot for `interface`, which has `port` behind it, and leaves the
    /// slots empty. Many are handed to the port at once, behind what has been waiting for it.
    #[inline]
    pub fn push_all(
        &mut self,
        interface: &Interface,
        port: PortId,
        packets: &mut [Option<Packet>],
        io: &mut dyn PacketIo,
        shared: &WorkerShared,
    ) {
        if packets.len() < ENOUGH {
            for packet in packets.iter_mut().filter_map(Option::take) {
                self.push(interface, port, packet, io, shared);
            }
            return;
        }
        if self.buffers[interface.id.index()].len > 0 {
            self.flush_one(interface.id, io, shared);
        }
        let exit = Exit::of(interface, port);
        send(exit, self.queue, packets, &mut self.refused, io, shared);
    }

    /// Sends everything. What a port does not take is freed and counted as a transmit error.
    #[inline]
    pub fn flush(&mut self, io: &mut dyn PacketIo, shared: &WorkerShared) {
        while let Some(id) = self.dirty.last() {
            self.flush_one(*id, io, shared);
        }
    }

    fn flush_one(&mut self, id: InterfaceId, io: &mut dyn PacketIo, shared: &WorkerShared) {
        let Buffer { exit, packets, len } = &mut self.buffers[id.index()];
        send(*exit, self.queue, &mut packets[..*len], &mut self.refused, io, shared);
        *len = 0;
        self.dirty.retain(|dirty| *dirty != id);
    }
}

/// Sends the packets and empties their slots.
#[inline]
fn send(
    exit: Exit,
    queue: QueueId,
    packets: &mut [Option<Packet>],
    refused: &mut Vec<Packet>,
    io: &mut dyn PacketIo,
    shared: &WorkerShared,
) {
    // Before they are the port's, which may change them.
    let mut bytes = Packet::bytes_of(packets);
    let sent = io.tx_burst(exit.port, queue, packets);
    let mut errors = 0;
    if sent < packets.len() {
        bytes -= Packet::bytes_of(&packets[sent..]);
        refused.extend(packets[sent..].iter_mut().filter_map(Option::take));
        errors = refused.len() as u64;
        io.free(refused);
    }
    let through = [Some(exit.interface), exit.parent].into_iter().flatten();
    for stats in through.filter_map(|id| shared.interfaces.get(id.index())) {
        stats.tx_packets.add(sent as u64);
        stats.tx_bytes.add(bytes);
        stats.tx_errors.add(errors);
    }
}
