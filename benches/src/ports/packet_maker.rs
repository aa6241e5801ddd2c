//! [`PacketMaker`]: fills mbufs of a pool with the packets of some traffic.

use dataplane::interface::MacAddress;
use dataplane::packet::Packet;

use crate::frame_template::payload_byte;
use crate::ports::stamp::{self, Stamp};
use crate::traffic::{Traffic, TrafficSpec};

/// Makes packets, one after the other.
#[derive(Debug)]
pub struct PacketMaker {
    traffic: Traffic,
    /// Every frame's bytes behind its head.
    payload: Vec<u8>,
    stamped: bool,
}

impl PacketMaker {
    /// Clients' packets to a device with this address. `hz` is the TSC's.
    pub fn new(spec: &TrafficSpec, to_mac: MacAddress, hz: u64) -> Self {
        let mut traffic = Traffic::forward(spec, 0..spec.flows, to_mac, hz);
        // All frames of the longest mix are looked at: a stamp must fit the shortest.
        let mut look = traffic.clone();
        let stamped = spec.lengths().iter().all(|_| stamp::fits(&look.next_frame()));
        let longest = usize::from(traffic.longest());
        traffic.begin_burst(|| 0);
        Self { traffic, payload: (0..longest).map(payload_byte).collect(), stamped }
    }

    /// Have packets room for a stamp? All of them, or none gets one.
    pub fn is_stamped(&self) -> bool {
        self.stamped
    }

    /// Says that a burst begins, so that flows are renewed.
    #[inline]
    pub fn begin_burst(&mut self, now: u64) {
        self.traffic.begin_burst(|| now);
    }

    /// Makes an empty packet the next one.
    #[inline]
    pub fn fill(&mut self, packet: &mut Packet, stamp: &Stamp) {
        let (template, client, service) = self.traffic.next_packet();
        if !packet.assign(&self.payload[..usize::from(template.frame_len())]) {
            return;
        }
        template.write(packet.data_mut(), client, service);
        if self.stamped {
            stamp.write(packet.data_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::flow::Renewal;
    use crate::mbufs;
    use crate::traffic::{Protocol, Size};

    fn spec(size: Size, protocol: Protocol) -> TrafficSpec {
        let (family, renewal) = (Family::Ip4, Renewal::PerSecond(0));
        TrafficSpec { family, flows: 5, size, protocol, renewal }
    }

    #[test]
    fn packets_are_the_traffic_with_a_stamp() {
        let spec = spec(Size::Imix, Protocol::Udp);
        let mut maker = PacketMaker::new(&spec, MacAddress([2; 6]), 1);
        let mut expected = Traffic::forward(&spec, 0..5, MacAddress([2; 6]), 1);
        assert!(maker.is_stamped());
        for (sequence, mut packet) in mbufs::make(24).into_iter().enumerate() {
            let stamp = Stamp { run: 9, sequence: sequence as u64, tsc: 77 };
            maker.fill(&mut packet, &stamp);
            let mut frame = expected.next_frame();
            assert!(stamp.write(&mut frame));
            assert_eq!(packet.data(), frame);
            assert_eq!(Stamp::read(packet.data(), 9), Some(stamp));
        }
    }

    #[test]
    fn what_has_no_room_gets_no_stamp() {
        let spec = spec(Size::Fixed(64), Protocol::Tcp);
        let mut maker = PacketMaker::new(&spec, MacAddress([2; 6]), 1);
        assert!(!maker.is_stamped());
        let mut packet = mbufs::make(1).remove(0);
        maker.fill(&mut packet, &Stamp { run: 9, sequence: 0, tsc: 0 });
        let mut expected = Traffic::forward(&spec, 0..5, MacAddress([2; 6]), 1);
        assert_eq!(packet.data(), expected.next_frame());
    }
}
