//! [`ReplayPort`]: a port that brings given frames, and is not counted.

use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

use super::callgrind;
use crate::mbufs;

/// Buffers: what is in the graph at once, and some.
const MBUFS: usize = 2048;
/// Packets that arrive at once: a full frame.
const BURST: usize = 256;

/// Source and sink of frames. While it works counting is off, so that only the worker's own
/// instructions are counted, those of putting packets into frames excepted.
#[derive(Debug)]
pub(super) struct ReplayPort {
    frames: Vec<Vec<u8>>,
    next: usize,
    free: Vec<Packet>,
    /// Instructions outside the port are being counted.
    counting: bool,
    /// What left, when it is wanted.
    sent: Option<Vec<Vec<u8>>>,
    /// Packets that left, and packets that ended here.
    ended: (usize, usize),
}

impl Default for ReplayPort {
    fn default() -> Self {
        Self {
            frames: Vec::new(),
            next: 0,
            free: mbufs::make(MBUFS),
            counting: false,
            sent: None,
            ended: (0, 0),
        }
    }
}

impl ReplayPort {
    /// Brings these frames next, one after the other, once.
    pub(super) fn load(&mut self, frames: Vec<Vec<u8>>) {
        (self.frames, self.next, self.ended) = (frames, 0, (0, 0));
    }

    /// Keeps what leaves from now on, or no longer; returns what was kept.
    pub(super) fn keep_sent(&mut self, keep: bool) -> Vec<Vec<u8>> {
        std::mem::replace(&mut self.sent, keep.then(Vec::new)).unwrap_or_default()
    }

    /// Says whether instructions outside the port are being counted.
    pub(super) fn set_counting(&mut self, counting: bool) {
        self.counting = counting;
    }

    /// Packets that were sent and packets that were dropped since [`load`](Self::load).
    pub(super) fn ended(&self) -> (usize, usize) {
        self.ended
    }

    /// Frames that have not come yet.
    pub(super) fn left(&self) -> usize {
        self.frames.len() - self.next
    }

    fn uncounted<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        if !self.counting {
            return work(self);
        }
        callgrind::toggle();
        let result = work(self);
        callgrind::toggle();
        result
    }

    fn receive(&mut self, interface: InterfaceId, frame: &mut Frame) -> usize {
        let count = BURST.min(frame.room()).min(self.free.len()).min(self.left());
        let frames = &self.frames[self.next..self.next + count];
        self.next += count;
        let own = self.free.drain(self.free.len() - count..);
        frame.fill(interface, |slots| {
            for ((slot, packet), bytes) in slots.iter_mut().zip(own).zip(frames) {
                let mut packet = mbufs::rearm(packet, bytes.len() as u16);
                packet.data_mut().copy_from_slice(bytes);
                *slot = Some(packet);
            }
            count
        })
    }

    fn send(&mut self, packets: &mut [Option<Packet>]) -> usize {
        let count = packets.len();
        if let Some(sent) = &mut self.sent {
            sent.extend(packets.iter().flatten().map(|packet| packet.data().to_vec()));
        }
        self.ended.0 += count;
        self.free.extend(packets.iter_mut().filter_map(Option::take));
        count
    }
}

impl PacketIo for ReplayPort {
    #[inline(never)]
    fn rx_burst(
        &mut self,
        _port: PortId,
        _queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize {
        self.uncounted(|port| port.receive(interface, frame))
    }

    #[inline(never)]
    fn tx_burst(
        &mut self,
        _port: PortId,
        _queue: QueueId,
        packets: &mut [Option<Packet>],
    ) -> usize {
        self.uncounted(|port| port.send(packets))
    }

    fn alloc(&mut self) -> Option<Packet> {
        self.free.pop().map(|packet| mbufs::rearm(packet, 0))
    }

    fn free(&mut self, packets: &mut Vec<Packet>) {
        self.ended.1 += packets.len();
        self.free.append(packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brings_each_frame_once_and_counts_what_ends() {
        let mut port = ReplayPort::default();
        port.load((0..300).map(|n| vec![n as u8; 60]).collect());
        port.keep_sent(true);
        port.set_counting(true);
        let mut frame = Frame::boxed();
        let mut seen = Vec::new();
        for expected in [256, 44, 0] {
            let (interface, queue) = (InterfaceId(1), QueueId(0));
            assert_eq!(port.rx_burst(PortId(0), queue, interface, &mut frame), expected);
            let last = frame.len().checked_sub(1).and_then(|at| frame.take(at));
            let others = frame.len().saturating_sub(1);
            port.tx_burst(PortId(0), queue, &mut frame.packets_mut()[..others]);
            frame.clear();
            port.free(&mut last.into_iter().collect());
            seen.extend(port.keep_sent(true));
        }
        assert_eq!((port.ended(), port.left()), ((298, 2), 0));
        assert!(seen.len() == 298 && seen[297] == [42; 60]);
    }
}
