//! [`Recording`]: somebody's own packets, sent again and again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use dataplane::interface::MacAddress;

use crate::pcap_file;

/// Shortest and longest frame, without check sequence.
const SHORTEST: usize = 60;
const LONGEST: usize = 1514;

/// Frames in their order, for ever.
#[derive(Clone, Debug)]
pub struct Recording {
    frames: Arc<[Vec<u8>]>,
    next: usize,
}

/// What tells flows apart: the protocol, addresses and ports of whole packets without options.
fn flow_of(frame: &[u8]) -> &[u8] {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(26..38).unwrap_or_default(),
        Some([0x86, 0xdd]) => frame.get(22..58).unwrap_or_default(),
        _ => frame.get(..14).unwrap_or_default(),
    }
}

impl Recording {
    /// The frames of a capture file, addressed to the port (or their groups, where that was so).
    /// Short ones are padded as Ethernet has it.
    ///
    /// # Errors
    ///
    /// A file that is no capture of Ethernet frames, or has none, or longer ones than a port takes.
    pub fn read(path: &Path, mac: MacAddress) -> Result<Self, String> {
        let failed = |reason: String| format!("{}: {reason}", path.display());
        let frames = pcap_file::read(path).map_err(failed)?;
        Self::of(frames, mac).map_err(failed)
    }

    /// Of frames.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn of(mut frames: Vec<Vec<u8>>, mac: MacAddress) -> Result<Self, String> {
        for (number, frame) in frames.iter_mut().enumerate() {
            if !(14..=LONGEST).contains(&frame.len()) {
                let len = frame.len();
                return Err(format!("frame {} has {len} bytes, not 14 to {LONGEST}", number + 1));
            }
            frame.resize(frame.len().max(SHORTEST), 0);
            let is_group = frame[0] & 1 == 1;
            if !is_group {
                frame[..6].copy_from_slice(&mac.0);
            }
        }
        match frames.is_empty() {
            true => Err("there is no frame".to_owned()),
            false => Ok(Self { frames: frames.into(), next: 0 }),
        }
    }

    /// The part of worker `index` of `workers`: whole flows; all of it if nothing would be left.
    #[must_use]
    pub fn part(&self, index: usize, workers: usize) -> Self {
        let of = |frame: &[u8]| {
            let sum = flow_of(frame)
                .iter()
                .fold(0_usize, |sum, byte| (sum ^ usize::from(*byte)).wrapping_mul(0x9e37_79b1));
            (sum >> 8) % workers.max(1)
        };
        let part: Vec<_> = self.frames.iter().filter(|frame| of(frame) == index).cloned().collect();
        let frames = if part.is_empty() { Arc::clone(&self.frames) } else { part.into() };
        Self { frames, next: 0 }
    }

    /// The next frame.
    #[inline]
    pub fn next_frame(&mut self) -> &[u8] {
        let at = self.next;
        self.next = if at + 1 < self.frames.len() { at + 1 } else { 0 };
        &self.frames[at]
    }

    /// The frames.
    pub fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }

    /// Different flows.
    pub fn flows(&self) -> u64 {
        self.frames.iter().map(|frame| flow_of(frame)).collect::<HashSet<_>>().len() as u64
    }

    /// Mean length on the wire, check sequence included.
    pub fn mean_len(&self) -> f64 {
        let bytes: usize = self.frames.iter().map(Vec::len).sum();
        bytes as f64 / self.frames.len() as f64 + f64::from(crate::frame_template::FCS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::flow::Renewal;
    use crate::traffic::{Protocol, Size, Traffic, TrafficSpec};

    const MAC: MacAddress = MacAddress([2, 3, 4, 5, 6, 7]);

    fn frames(family: Family, count: u64) -> Vec<Vec<u8>> {
        let (size, renewal) = (Size::Fixed(64), Renewal::PerSecond(0));
        let spec = TrafficSpec { family, flows: 50, size, protocol: Protocol::Udp, renewal };
        let mut traffic = Traffic::forward(&spec, 0..50, MacAddress([8; 6]), 1);
        (0..count).map(|_| traffic.next_frame()).collect()
    }

    #[test]
    fn frames_come_again_and_again_to_our_address() {
        let mut recording = Recording::of(vec![vec![4; 20], vec![5; 70]], MAC).unwrap();
        let lengths: Vec<_> = (0..4).map(|_| recording.next_frame().len()).collect();
        assert_eq!((lengths, recording.mean_len()), (vec![60, 70, 60, 70], 69.0));
        assert_eq!(recording.next_frame()[..7], [2, 3, 4, 5, 6, 7, 4]);
        // Groups stay.
        assert_eq!(recording.next_frame()[..6], [5; 6]);
    }

    #[test]
    fn flows_stay_together() {
        for family in [Family::Ip4, Family::Ip6] {
            let all = Recording::of(frames(family, 200), MAC).unwrap();
            assert_eq!(all.flows(), 50);
            let parts = [all.part(0, 2), all.part(1, 2)];
            assert_eq!(parts[0].frames().len() + parts[1].frames().len(), 200);
            assert_eq!(parts[0].flows() + parts[1].flows(), 50);
            assert!(parts.iter().all(|part| part.flows() > 10), "{parts:?}");
        }
    }

    #[test]
    fn what_no_port_takes_is_refused() {
        assert!(Recording::of(Vec::new(), MAC).unwrap_err().contains("no frame"));
        let long = vec![vec![0; 60], vec![0; 1515]];
        assert!(Recording::of(long, MAC).unwrap_err().contains("frame 2 has 1515 bytes"));
        assert!(Recording::of(vec![vec![0; 13]], MAC).is_err());
        assert!(Recording::read(Path::new("/nowhere"), MAC).unwrap_err().contains("/nowhere"));
    }
}
