//! [`Lent`]: lets several workers use one port, one after the other.

use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

/// A port that is there only while its owner has lent it.
#[derive(Debug)]
pub struct Lent<I>(Option<I>);

impl<I> Default for Lent<I> {
    fn default() -> Self {
        Self(None)
    }
}

impl<I> Lent<I> {
    /// Lends the port.
    pub fn put(&mut self, io: I) {
        self.0 = Some(io);
    }

    /// Takes the port back.
    pub fn take(&mut self) -> Option<I> {
        self.0.take()
    }

    /// The port, while it is there.
    pub fn get_mut(&mut self) -> Option<&mut I> {
        self.0.as_mut()
    }
}

impl<I: PacketIo> PacketIo for Lent<I> {
    #[inline]
    fn rx_burst(
        &mut self,
        port: PortId,
        queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize {
        self.0.as_mut().map_or(0, |io| io.rx_burst(port, queue, interface, frame))
    }

    #[inline]
    fn tx_burst(&mut self, port: PortId, queue: QueueId, packets: &mut [Option<Packet>]) -> usize {
        self.0.as_mut().map_or(0, |io| io.tx_burst(port, queue, packets))
    }

    #[inline]
    fn alloc(&mut self) -> Option<Packet> {
        self.0.as_mut()?.alloc()
    }

    #[inline]
    fn free(&mut self, packets: &mut Vec<Packet>) {
        if let Some(io) = self.0.as_mut() {
            io.free(packets);
        }
    }
}
