//! [`PacedPort`]: a port in memory to which packets come at a rate, into a queue that can run over.

use dataplane::clock::read_tsc;
use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

use crate::memory_port::MemoryPort;
use crate::ports::pacer::Pacer;

/// Packets that came, and those for which there was no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Packets that were offered.
    pub offered: u64,
    /// Of these, packets that found the queue full.
    pub missed: u64,
}

/// The receive queue of a network card, as far as its length goes: packets are made when they are
/// taken out of it.
#[derive(Clone, Debug)]
pub struct BoundedQueue {
    room: u64,
    waiting: u64,
    arrivals: Arrivals,
}

impl BoundedQueue {
    /// Of so many slots.
    pub fn new(room: u32) -> Self {
        Self { room: room.into(), waiting: 0, arrivals: Arrivals::default() }
    }

    /// Packets have come.
    #[inline]
    pub fn arrive(&mut self, packets: u64) {
        let fit = packets.min(self.room - self.waiting);
        self.waiting += fit;
        self.arrivals.offered += packets;
        self.arrivals.missed += packets - fit;
    }

    /// Takes up to so many packets out; returns how many.
    #[inline]
    pub fn take(&mut self, most: u64) -> u64 {
        let taken = most.min(self.waiting);
        self.waiting -= taken;
        taken
    }

    /// Empties it, and forgets what came.
    pub fn clear(&mut self) {
        (self.waiting, self.arrivals) = (0, Arrivals::default());
    }

    /// What has come since it was made, cleared, or asked the last time.
    pub fn take_arrivals(&mut self) -> Arrivals {
        std::mem::take(&mut self.arrivals)
    }
}

/// A port whose packets are made in memory, as many as have come meanwhile.
#[derive(Debug)]
pub struct PacedPort {
    /// Makes the packets.
    pub memory: MemoryPort,
    /// Without, there are always packets.
    pacer: Option<Pacer>,
    /// In front of the worker.
    pub queue: BoundedQueue,
    burst: usize,
}

impl PacedPort {
    /// Over a port in memory that gives up to `burst` packets at once.
    pub fn new(memory: MemoryPort, queue: BoundedQueue, burst: usize) -> Self {
        Self { memory, pacer: None, queue, burst }
    }

    /// Packets come at this rate from now on, or always.
    pub fn set_pacer(&mut self, pacer: Option<Pacer>) {
        self.pacer = pacer;
        self.queue.clear();
    }

    /// What came while the worker was off its CPU is nobody's fault: begins anew with an empty queue.
    pub fn restart(&mut self) {
        if let Some(pacer) = &mut self.pacer {
            pacer.restart(read_tsc());
        }
        self.queue.clear();
    }
}

impl PacketIo for PacedPort {
    #[inline]
    fn rx_burst(
        &mut self,
        port: PortId,
        queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize {
        let burst = match &mut self.pacer {
            None => self.burst,
            Some(pacer) => {
                self.queue.arrive(pacer.due(read_tsc()));
                self.queue.take(self.burst.min(frame.room()) as u64) as usize
            }
        };
        if burst == 0 {
            return 0;
        }
        self.memory.set_burst(burst);
        self.memory.rx_burst(port, queue, interface, frame)
    }

    #[inline]
    fn tx_burst(&mut self, port: PortId, queue: QueueId, packets: &mut [Option<Packet>]) -> usize {
        self.memory.tx_burst(port, queue, packets)
    }

    #[inline]
    fn alloc(&mut self) -> Option<Packet> {
        self.memory.alloc()
    }

    #[inline]
    fn free(&mut self, packets: &mut Vec<Packet>) {
        PacketIo::free(&mut self.memory, packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_missed() {
        let mut queue = BoundedQueue::new(10);
        queue.arrive(7);
        assert_eq!((queue.take(4), queue.take(100), queue.take(1)), (4, 3, 0));
        queue.arrive(25);
        assert_eq!(queue.take_arrivals(), Arrivals { offered: 32, missed: 15 });
        assert_eq!(queue.take(256), 10);
        queue.arrive(3);
        queue.clear();
        assert_eq!((queue.take(256), queue.take_arrivals()), (0, Arrivals::default()));
    }
}
