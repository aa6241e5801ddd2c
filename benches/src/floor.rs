//! The floor: the least that balancing a packet can cost on this machine, whatever the program.
//!
//! One loop does only what cannot be left out, on packets in the L1 cache, in batches of 32 so that
//! reads of memory overlap: read the headers, hash the 5-tuple, read and write one line of a table as
//! large as the sticky table, put another address and port in place and correct both checksums. No
//! VIP is looked up, nothing is counted, nothing checked beyond the headers' first words, no frame
//! passed on.

use std::hint::black_box;
use std::net::Ipv4Addr;

use balancer::{FlowHasher, FlowTuple, HashKey};
use dataplane::interface::MacAddress;
use dataplane::wire::checksum::{Checksum, Delta};

use crate::calibration::Calibration;
use crate::family::Family;
use crate::flow::Client;
use crate::frame_template::{Content, Direction, FrameTemplate, Shape};
use crate::limits::{BATCH, Limit, Line, OPERATIONS, index, limit, size_text};
use crate::pages::Pages;
use crate::prefetch::prefetch;
use crate::site::{SERVER_PORT, VIP, VIP_PORT, low_bits, server_address};

/// Bytes of a frame without its check sequence.
const FRAME: usize = 60;

/// The loop and what it works on.
struct Floor {
    table: Pages<Line>,
    frames: Vec<[u8; FRAME]>,
    hasher: FlowHasher,
    flows: u64,
    next: u64,
    seen: u64,
}

impl Floor {
    fn new(table_bytes: usize, flows: u64) -> Self {
        let mac = MacAddress([2; 6]);
        let shape = Shape {
            family: Family::Ip4,
            wire_len: 64,
            content: Content::Udp,
            direction: Direction::Forward,
            to_mac: mac,
            from_mac: mac,
            service_port: VIP_PORT,
        };
        let template = FrameTemplate::new(&shape, VIP.into());
        let mut frame = [0; FRAME];
        template.write(&mut frame, Client::of(0), low_bits(VIP.into()));
        let lines = (table_bytes / size_of::<Line>()).max(1);
        Self {
            table: Pages::zeroed(lines, true),
            frames: vec![frame; BATCH],
            hasher: FlowHasher::new(&HashKey::default()),
            flows,
            next: 0,
            seen: 0,
        }
    }

    /// The headers' words that decide, and where the flow's line is.
    fn find(&mut self, at: usize) -> (usize, u64) {
        let client = Client::of(self.next);
        self.next = if self.next + 1 < self.flows { self.next + 1 } else { 0 };
        let frame = &mut self.frames[at];
        frame[26..30].copy_from_slice(&client.address.octets());
        frame[34..36].copy_from_slice(&client.port.to_be_bytes());
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let ordinary = word(12) == 0x0800 && frame[14] == 0x45 && frame[22] > 1;
        if !ordinary {
            return (0, 0);
        }
        let address =
            |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
        let tuple = FlowTuple {
            src: address(26),
            dst: address(30),
            src_port: word(34),
            dst_port: word(36),
            protocol: frame[23],
        };
        let hash = self.hasher.hash(&tuple, false);
        let slot = index(hash, self.table.as_slice().len());
        prefetch(&self.table.as_slice()[slot]);
        (slot, hash)
    }

    /// Looks for the flow among the line's four entries, notes the time, and rewrites.
    fn rewrite(&mut self, at: usize, (slot, hash): (usize, u64)) {
        let line = &mut self.table.as_mut_slice()[slot];
        let found = [line.next, line.rest[1], line.rest[3], line.rest[5]]
            .iter()
            .position(|key| *key == hash);
        line.rest[0] = self.next;
        self.seen = self.seen.wrapping_add(found.unwrap_or(4) as u64);
        let frame = &mut self.frames[at];
        let word = |frame: &[u8; FRAME], at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let to = server_address((hash & 15) as u16);
        let ip = Delta::NONE.address(VIP, to);
        let l4 = ip.word(VIP_PORT, SERVER_PORT);
        for (at, delta) in [(24, ip), (40, l4)] {
            let checksum = Checksum(word(frame, at)).updated(delta);
            frame[at..at + 2].copy_from_slice(&checksum.0.to_be_bytes());
        }
        frame[30..34].copy_from_slice(&to.octets());
        frame[36..38].copy_from_slice(&SERVER_PORT.to_be_bytes());
        frame[22] |= 64;
    }

    fn run(&mut self) {
        let mut found = [(0, 0); BATCH];
        for _ in 0..OPERATIONS / BATCH {
            for (at, found) in found.iter_mut().enumerate() {
                *found = self.find(at);
            }
            for (at, found) in found.iter().enumerate() {
                self.rewrite(at, *found);
            }
            black_box(&mut self.frames);
        }
        black_box(self.seen);
    }
}

/// Measures it for a sticky table of so many bytes, on huge pages if the kernel has any.
pub fn floor(table_bytes: usize, flows: u64, calibration: &Calibration) -> Limit {
    let mut floor = Floor::new(table_bytes, flows);
    // Once through all flows, so that the table's pages are there.
    (0..=flows / OPERATIONS as u64).for_each(|_| floor.run());
    let name = format!("floor of balancing, {flows} flows, table of {}", size_text(table_bytes));
    limit(name, calibration, || floor.run())
}

#[cfg(test)]
mod tests {
    use dataplane::wire::checksum::{is_transport_valid, is_valid, sum};

    use super::*;

    #[test]
    fn its_packets_are_rewritten_rightly() {
        let mut floor = Floor::new(1 << 16, 10);
        let found = floor.find(0);
        assert_ne!(found, (0, 0));
        floor.rewrite(0, found);
        let frame = floor.frames[0];
        let to = Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33]);
        assert!(is_valid(sum(&frame[14..34])));
        assert!(is_transport_valid(Client::of(0).address, to, 17, &frame[34..]));
        assert_eq!(
            (to, frame[36..38].to_vec()),
            (server_address((found.1 & 15) as u16), SERVER_PORT.to_be_bytes().to_vec())
        );
        // Different flows have different lines.
        assert_ne!(floor.find(1).0, found.0);
    }

    #[test]
    fn there_is_a_figure() {
        let calibration = Calibration { tsc_hz: 1e9, cycles_per_clock: 2.0 };
        let limit = floor(1 << 16, 100, &calibration);
        assert!(limit.cycles > 0.0 && limit.name.contains("100 flows, table of 64 KiB"));
    }
}
