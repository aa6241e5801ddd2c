//! [`Stamp`]: what the generator writes at the end of a packet's payload, to know it again.

use dataplane::wire::checksum::{Checksum, Delta};

/// Bytes of a stamp: run 4, sequence 6, time 8, all in network byte order. A UDP packet over IPv4 in a
/// frame of 64 bytes has exactly so much payload.
pub const STAMP: usize = 18;
/// Sequence numbers are below this.
const SEQUENCES: u64 = 1 << 48;

/// A packet's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which run it belongs to. Packets of others are not ours.
    pub run: u32,
    /// Its number, from 0 on; 48 bits.
    pub sequence: u64,
    /// When it was made, TSC clocks.
    pub tsc: u64,
}

/// Where the payload and the UDP or TCP checksum of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    checksum: usize,
    payload: usize,
    is_udp: bool,
}

/// The layout of a plain frame: IPv4 without options or IPv6 without extension headers.
fn layout(frame: &[u8]) -> Option<Layout> {
    let (protocol, l4) = match (*frame.get(12)?, *frame.get(13)?) {
        (0x08, 0x00) if frame.get(14) == Some(&0x45) => (*frame.get(23)?, 34),
        (0x86, 0xdd) => (*frame.get(20)?, 54),
        _ => return None,
    };
    match protocol {
        17 => Some(Layout { checksum: l4 + 6, payload: l4 + 8, is_udp: true }),
        6 => Some(Layout { checksum: l4 + 16, payload: l4 + 20, is_udp: false }),
        _ => None,
    }
}

/// Where the stamp of a frame of `len` bytes begins: as far back as there is room, at an even offset,
/// as checksums are made of pairs. Tunnels put an even number of bytes in front of it.
fn place(len: usize) -> Option<usize> {
    Some(len.checked_sub(STAMP)? & !1)
}

/// Has a frame like this room for a stamp?
pub fn fits(frame: &[u8]) -> bool {
    let room = || Some(place(frame.len())? >= layout(frame)?.payload);
    room().unwrap_or(false)
}

impl Stamp {
    /// Writes it into a frame with a valid checksum, which stays valid; false (and no change) when
    /// there is no room.
    #[inline]
    pub fn write(&self, frame: &mut [u8]) -> bool {
        let (Some(layout), Some(at)) = (layout(frame), place(frame.len())) else { return false };
        if at < layout.payload {
            return false;
        }
        let mut new = [0; STAMP];
        new[..4].copy_from_slice(&self.run.to_be_bytes());
        new[4..10].copy_from_slice(&(self.sequence % SEQUENCES).to_be_bytes()[2..]);
        new[10..].copy_from_slice(&self.tsc.to_be_bytes());
        let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let mut delta = Delta::NONE;
        for offset in (0..STAMP).step_by(2) {
            delta = delta.word(word(frame, at + offset), word(&new, offset));
        }
        frame[at..at + STAMP].copy_from_slice(&new);
        let old = Checksum(word(frame, layout.checksum));
        let updated = old.updated(delta);
        let updated = if layout.is_udp { updated.or_all_ones() } else { updated };
        frame[layout.checksum..layout.checksum + 2].copy_from_slice(&updated.0.to_be_bytes());
        true
    }

    /// Reads the stamp of this run from a frame, whatever headers it has got on its way.
    #[inline]
    pub fn read(frame: &[u8], run: u32) -> Option<Self> {
        let bytes: &[u8; STAMP] = frame.get(place(frame.len())?..)?.first_chunk()?;
        let [a, b, c, d, s0, s1, s2, s3, s4, s5, time @ ..] = *bytes;
        let sequence = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
        let of_run = u32::from_be_bytes([a, b, c, d]) == run;
        of_run.then(|| Self { run, sequence, tsc: u64::from_be_bytes(time) })
    }
}

#[cfg(test)]
mod tests {
    use dataplane::interface::MacAddress;
    use dataplane::wire::checksum::{self, sum};

    use super::*;
    use crate::family::Family;
    use crate::flow::Renewal;
    use crate::traffic::{Protocol, Size, Traffic, TrafficSpec};

    fn frame(family: Family, size: u16, protocol: Protocol) -> Vec<u8> {
        let renewal = Renewal::PerSecond(0);
        let spec = TrafficSpec { family, flows: 3, size: Size::Fixed(size), protocol, renewal };
        Traffic::forward(&spec, 0..3, MacAddress([2; 6]), 1).next_frame()
    }

    fn is_valid(family: Family, frame: &[u8]) -> bool {
        let (from, l4) = match family {
            Family::Ip4 => (26, 34),
            Family::Ip6 => (22, 54),
        };
        let half = (l4 - from) / 2;
        let addresses = sum(&frame[from..from + 2 * half]);
        let length = (frame.len() - l4) as u16;
        let protocol = if family == Family::Ip4 { frame[23] } else { frame[20] };
        let pseudo = sum(&[length.to_be_bytes(), [0, protocol]].concat());
        checksum::is_valid(addresses.plus(pseudo).plus(sum(&frame[l4..])))
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_checksums_stay_right() {
        for (family, size, protocol) in [
            (Family::Ip4, 64, Protocol::Udp),
            (Family::Ip4, 65, Protocol::Udp),
            (Family::Ip4, 76, Protocol::Tcp),
            (Family::Ip4, 594, Protocol::Tcp),
            (Family::Ip4, 1518, Protocol::Udp),
            (Family::Ip6, 84, Protocol::Udp),
            (Family::Ip6, 97, Protocol::Tcp),
        ] {
            for sequence in [0, 1, 0xffff, 0x1234_5678_9abc, SEQUENCES - 1] {
                let mut bytes = frame(family, size, protocol);
                assert!(fits(&bytes) && is_valid(family, &bytes), "{size}");
                let stamp = Stamp { run: 0xdead_beef, sequence, tsc: u64::MAX - sequence };
                assert!(stamp.write(&mut bytes));
                assert!(is_valid(family, &bytes), "{family:?} {size}");
                assert_eq!(Stamp::read(&bytes, 0xdead_beef), Some(stamp));
                assert_eq!(Stamp::read(&bytes, 0xdead_bee0), None);
                // Behind the header of a tunnel.
                let tunnelled = [&bytes[..14], &[0; 24], &bytes[14..]].concat();
                assert_eq!(Stamp::read(&tunnelled, 0xdead_beef), Some(stamp));
            }
        }
    }

    #[test]
    fn short_frames_have_no_stamp() {
        let mut short = frame(Family::Ip4, 64, Protocol::Tcp);
        let before = short.clone();
        assert!(!fits(&short));
        assert!(!Stamp { run: 1, sequence: 2, tsc: 3 }.write(&mut short));
        assert_eq!(short, before);
        assert!(!fits(&[]) && !fits(&[0; 64]));
        assert_eq!(Stamp::read(&[0; 17], 0), None);
    }
}
