//! [`CountedIo`]: counts what goes through a way to packets.

use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

use crate::memory_port::Passed;

/// Someone's ports, and what has passed.
#[derive(Debug)]
pub struct CountedIo<I> {
    io: I,
    passed: Passed,
    refused: u64,
}

impl<I> CountedIo<I> {
    /// Counts from now on.
    pub fn new(io: I) -> Self {
        Self { io, passed: Passed::default(), refused: 0 }
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        self.passed
    }

    /// Packets that a port did not take when they were sent. Whoever sent them drops them, so they are
    /// among those freed as well.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl<I: PacketIo> PacketIo for CountedIo<I> {
    #[inline]
    fn rx_burst(
        &mut self,
        port: PortId,
        queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize {
        let count = self.io.rx_burst(port, queue, interface, frame);
        self.passed.received += count as u64;
        count
    }

    #[inline]
    fn tx_burst(&mut self, port: PortId, queue: QueueId, packets: &mut [Option<Packet>]) -> usize {
        let count = self.io.tx_burst(port, queue, packets);
        self.passed.sent += count as u64;
        self.refused += packets[count..].iter().flatten().count() as u64;
        count
    }

    #[inline]
    fn alloc(&mut self) -> Option<Packet> {
        let packet = self.io.alloc()?;
        self.passed.made += 1;
        Some(packet)
    }

    #[inline]
    fn free(&mut self, packets: &mut Vec<Packet>) {
        self.passed.freed += packets.len() as u64;
        self.io.free(packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::flow::Renewal;
    use crate::memory_port::MemoryPort;
    use crate::traffic::{Protocol, Size, Traffic, TrafficSpec};
    use dataplane::interface::MacAddress;

    /// A port that takes all but the last packet of a burst.
    #[derive(Debug)]
    struct Narrow(MemoryPort);

    impl PacketIo for Narrow {
        fn rx_burst(&mut self, p: PortId, q: QueueId, i: InterfaceId, frame: &mut Frame) -> usize {
            self.0.rx_burst(p, q, i, frame)
        }
        fn tx_burst(&mut self, p: PortId, q: QueueId, packets: &mut [Option<Packet>]) -> usize {
            let but_one = packets.len() - 1;
            self.0.tx_burst(p, q, &mut packets[..but_one])
        }
        fn alloc(&mut self) -> Option<Packet> {
            self.0.alloc()
        }
        fn free(&mut self, packets: &mut Vec<Packet>) {
            PacketIo::free(&mut self.0, packets);
        }
    }

    #[test]
    fn everything_that_passes_is_counted() {
        let (size, protocol) = (Size::Fixed(64), Protocol::Udp);
        let (family, renewal) = (Family::Ip4, Renewal::PerSecond(0));
        let spec = TrafficSpec { family, flows: 1, size, protocol, renewal };
        let traffic = Traffic::forward(&spec, 0..1, MacAddress([2; 6]), 1);
        let mut io = CountedIo::new(Narrow(MemoryPort::new(traffic, 100, 10)));
        let mut frame = Frame::boxed();
        let (port, queue) = (PortId(0), QueueId(0));
        assert_eq!(io.rx_burst(port, queue, InterfaceId(1), &mut frame), 10);
        let mut packets: Vec<_> = (0..10).map(|at| frame.take(at)).collect();
        packets.push(io.alloc());
        assert_eq!(io.tx_burst(port, queue, &mut packets), 10);
        let mut left = packets.into_iter().flatten().collect();
        PacketIo::free(&mut io, &mut left);
        let expected = Passed { received: 10, sent: 10, freed: 1, made: 1 };
        assert_eq!((io.passed(), io.refused()), (expected, 1));
    }
}
