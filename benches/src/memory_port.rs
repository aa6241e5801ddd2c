//! [`MemoryPort`]: a port whose packets are made in memory and end there.

use dataplane::clock::read_tsc;
use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

use crate::load::Load;
use crate::mbufs;
use crate::observer::Observer;
use crate::recording::Recording;
use crate::traffic::Traffic;

/// Packets that went through a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Received by the worker.
    pub received: u64,
    /// Sent by the worker.
    pub sent: u64,
    /// Freed by the worker: dropped.
    pub freed: u64,
    /// Made by the worker.
    pub made: u64,
}

impl Passed {
    /// What has passed since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            sent: self.sent - before.sent,
            freed: self.freed - before.freed,
            made: self.made - before.made,
        }
    }
}

/// Source and sink of one worker. Mbufs come back to a stack, so that those in use are few and stay
/// in the cache, as with DPDK's per-core caches; nothing is allocated per packet.
#[derive(Debug)]
pub struct MemoryPort {
    /// What arrives.
    pub traffic: Traffic,
    /// Arrives instead, if there is any.
    pub recording: Option<Recording>,
    /// When packets arrive; without it there are always some.
    pub load: Option<Load>,
    /// Looks at what leaves.
    pub observer: Option<Observer>,
    free: Vec<Option<Packet>>,
    mbufs: usize,
    burst: usize,
    passed: Passed,
}

impl MemoryPort {
    /// A port with `mbufs` packets of which up to `burst` arrive at once.
    pub fn new(traffic: Traffic, mbufs: usize, burst: usize) -> Self {
        let free = mbufs::make(mbufs).into_iter().map(Some).collect();
        Self {
            traffic,
            recording: None,
            load: None,
            observer: None,
            free,
            mbufs,
            burst,
            passed: Passed::default(),
        }
    }

    /// Up to so many packets arrive at once from now on.
    pub(crate) fn set_burst(&mut self, burst: usize) {
        self.burst = burst;
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        self.passed
    }

    /// Gives the next `count` recorded packets.
    fn replay(&mut self, count: usize, interface: InterfaceId, frame: &mut Frame) -> usize {
        let Some(recording) = &mut self.recording else { return 0 };
        let own = self.free.drain(self.free.len() - count..);
        frame.fill(interface, |slots| {
            for (slot, packet) in slots.iter_mut().zip(own) {
                let bytes = recording.next_frame();
                let mut packet = packet.map(|packet| mbufs::rearm(packet, bytes.len() as u16));
                if let Some(packet) = &mut packet {
                    packet.data_mut().copy_from_slice(bytes);
                }
                *slot = packet;
            }
            count
        });
        self.passed.received += count as u64;
        count
    }

    /// Packets that the worker has.
    pub fn outstanding(&self) -> usize {
        self.mbufs - self.free.len()
    }
}

impl PacketIo for MemoryPort {
    #[inline]
    fn rx_burst(
        &mut self,
        _port: PortId,
        _queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize {
        let count = self.burst.min(frame.room()).min(self.free.len());
        let count = match &mut self.load {
            Some(load) => load.arrive(read_tsc(), count),
            None => count,
        };
        if count == 0 {
            return 0;
        }
        if self.recording.is_some() {
            return self.replay(count, interface, frame);
        }
        self.traffic.begin_burst(read_tsc);
        self.passed.received += count as u64;
        let own = self.free.drain(self.free.len() - count..);
        let traffic = &mut self.traffic;
        frame.fill(interface, |slots| {
            for (slot, packet) in slots.iter_mut().zip(own) {
                let (template, client, service) = traffic.next_packet();
                let mut packet = packet.map(|packet| mbufs::rearm(packet, template.frame_len()));
                let data = packet.as_mut().map(Packet::data_mut).unwrap_or_default();
                template.write(data, client, service);
                *slot = packet;
            }
            count
        })
    }

    #[inline]
    fn tx_burst(
        &mut self,
        _port: PortId,
        _queue: QueueId,
        packets: &mut [Option<Packet>],
    ) -> usize {
        let count = packets.len();
        if let Some(observer) = &mut self.observer {
            packets.iter().flatten().for_each(|packet| observer.see(packet.data()));
        }
        if let Some(load) = &mut self.load {
            load.leave(read_tsc(), count);
        }
        self.passed.sent += count as u64;
        self.free.extend(packets.iter_mut().map(Option::take));
        count
    }

    fn alloc(&mut self) -> Option<Packet> {
        let packet = self.free.pop()??;
        self.passed.made += 1;
        Some(mbufs::rearm(packet, 0))
    }

    fn free(&mut self, packets: &mut Vec<Packet>) {
        self.passed.freed += packets.len() as u64;
        self.free.extend(packets.drain(..).map(Some));
    }
}

#[cfg(test)]
mod tests {
    use dataplane::interface::MacAddress;

    use super::*;
    use crate::family::Family;
    use crate::flow::Renewal;
    use crate::traffic::{Protocol, Size, TrafficSpec};

    const PORT: PortId = PortId(0);
    const QUEUE: QueueId = QueueId(0);
    const INTERFACE: InterfaceId = InterfaceId(1);

    fn port(size: Size, mbufs: usize, burst: usize) -> MemoryPort {
        let renewal = Renewal::PerSecond(0);
        let spec =
            TrafficSpec { family: Family::Ip4, flows: 10, size, protocol: Protocol::Udp, renewal };
        let traffic = Traffic::forward(&spec, 0..10, MacAddress([2; 6]), 1);
        MemoryPort::new(traffic, mbufs, burst)
    }

    #[test]
    fn packets_are_the_traffic_and_come_back() {
        let mut port = port(Size::Imix, 100, 32);
        let mut expected = port.traffic.clone();
        let mut frame = Frame::boxed();
        let mut packets = Vec::new();
        for _ in 0..50 {
            assert_eq!(port.rx_burst(PORT, QUEUE, INTERFACE, &mut frame), 32);
            for at in 0..frame.len() {
                assert_eq!(frame.data(at), expected.next_frame());
                packets.push(frame.take(at));
            }
            frame.clear();
            assert_eq!(port.outstanding(), 32);
            // As if a header had been pushed: the next use starts anew.
            assert!(packets[0].as_mut().is_some_and(|packet| packet.prepend(20)));
            assert_eq!(port.tx_burst(PORT, QUEUE, &mut packets), 32);
            packets.clear();
        }
        assert_eq!(port.outstanding(), 0);
        let (received, sent) = (1600, 1600);
        assert_eq!(port.passed(), Passed { received, sent, ..Passed::default() });
    }

    #[test]
    fn recorded_packets_arrive_as_they_are() {
        let mut port = port(Size::Fixed(64), 100, 3);
        let mac = MacAddress([4; 6]);
        let frames = [60, 61].map(|len| vec![4; len]);
        port.recording = Some(Recording::of(frames.to_vec(), mac).unwrap());
        let mut frame = Frame::boxed();
        assert_eq!(port.rx_burst(PORT, QUEUE, INTERFACE, &mut frame), 3);
        assert_eq!((0..3).map(|at| frame.data(at).len()).collect::<Vec<_>>(), [60, 61, 60]);
        assert!((0..3).all(|at| frame.data(at).iter().all(|byte| *byte == 4)));
        let mut packets: Vec<_> = (0..3).map(|at| frame.take(at)).collect();
        assert_eq!(port.tx_burst(PORT, QUEUE, &mut packets), 3);
    }

    #[test]
    fn bursts_end_with_the_mbufs() {
        let mut port = port(Size::Fixed(64), 10, 256);
        let mut frame = Frame::boxed();
        let made = port.alloc().unwrap();
        assert_eq!(made.len(), 0);
        assert_eq!(port.rx_burst(PORT, QUEUE, INTERFACE, &mut frame), 9);
        assert!(port.alloc().is_none());
        let mut packets: Vec<_> = (0..9).filter_map(|at| frame.take(at)).collect();
        packets.push(made);
        PacketIo::free(&mut port, &mut packets);
        assert_eq!(port.outstanding(), 0);
        let before = Passed { received: 9, freed: 10, made: 1, sent: 0 };
        assert_eq!(port.passed().since(before), Passed::default());
    }
}
