//! [`MemoryIo`]: ports made of queues in memory.

use std::collections::VecDeque;

use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;
use hashbrown::HashMap;

use crate::fake_mbuf::{self, FakePool};

/// A worker's packet source, sink and pool, all in memory.
#[derive(Debug)]
pub struct MemoryIo {
    /// Where packets come from.
    pub pool: FakePool,
    /// How many packets each port takes until [`Self::sent`] empties it; the rest is refused.
    pub tx_room: usize,
    received: HashMap<(PortId, QueueId), VecDeque<Packet>>,
    sent: HashMap<PortId, Vec<Vec<u8>>>,
}

impl MemoryIo {
    /// Ports without packets, and a pool of `mbufs`.
    pub fn new(mbufs: usize) -> Self {
        Self {
            pool: FakePool::new(mbufs),
            tx_room: usize::MAX,
            received: HashMap::new(),
            sent: HashMap::new(),
        }
    }

    /// Lets a packet arrive.
    pub fn arrive(&mut self, port: PortId, queue: QueueId, packet: Packet) {
        self.received.entry((port, queue)).or_default().push_back(packet);
    }

    /// Takes what was sent on a port, in order.
    pub fn sent(&mut self, port: PortId) -> Vec<Vec<u8>> {
        self.sent.remove(&port).unwrap_or_default()
    }
}

impl PacketIo for MemoryIo {
    fn rx_burst(
        &mut self,
        port: PortId,
        queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize {
        let Some(waiting) = self.received.get_mut(&(port, queue)) else { return 0 };
        let count = waiting.len().min(frame.room());
        frame.fill(interface, |slots| {
            for (slot, packet) in slots.iter_mut().zip(waiting.drain(..count)) {
                *slot = Some(packet);
            }
            count
        })
    }

    fn tx_burst(&mut self, port: PortId, _queue: QueueId, packets: &mut [Option<Packet>]) -> usize {
        let sent = self.sent.entry(port).or_default();
        let before = sent.len();
        let room = self.tx_room.saturating_sub(before);
        let packets = packets.iter_mut().map_while(Option::take);
        sent.extend(packets.take(room).map(fake_mbuf::free));
        sent.len() - before
    }

    fn alloc(&mut self) -> Option<Packet> {
        self.pool.alloc()
    }

    fn is_starved(&mut self) -> bool {
        self.pool.alloc().map(fake_mbuf::free).is_none()
    }

    fn free(&mut self, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            fake_mbuf::free(packet);
        }
    }
}

impl Drop for MemoryIo {
    fn drop(&mut self) {
        for packet in self.received.drain().flat_map(|(_, queue)| queue) {
            fake_mbuf::free(packet);
        }
    }
}
