//! `sluice-bench limits`: what this machine's memory and arithmetic cost, whatever the program.

use std::hint::black_box;
use std::net::Ipv4Addr;

use balancer::{FlowHasher, FlowTuple, HashKey};
use dataplane::clock::read_tsc;
use dataplane::wire::checksum::{Checksum, Delta, sum};
use serde::{Deserialize, Serialize};
use zerocopy::FromZeros;

use crate::calibration::Calibration;
use crate::disturbance::Disturbance;
use crate::flow::Client;
use crate::pages::Pages;
use crate::prefetch::prefetch;
use crate::site::{VIP, VIP_PORT};
use crate::statistics::Range;

/// Reads whose addresses are known together, as those of a burst's packets are.
pub(crate) const BATCH: usize = 32;
/// Operations of one sample: well below a scheduler's time slice.
pub(crate) const OPERATIONS: usize = 4096;
/// Undisturbed samples of which the median counts. Tests only look whether there is a figure.
const SAMPLES: usize = if cfg!(test) { 3 } else { 101 };
/// Samples at most, disturbed ones included.
const ATTEMPTS: usize = 4 * SAMPLES;

/// One measured operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What is done.
    pub name: String,
    /// Core cycles for one, median of samples.
    pub cycles: f64,
    /// Nanoseconds for one.
    pub ns: f64,
}

/// A cache line.
#[derive(Clone, Copy, FromZeros)]
#[repr(C, align(64))]
pub(crate) struct Line {
    /// Index of the line that a chain visits next.
    pub(crate) next: u64,
    pub(crate) rest: [u64; 7],
}

/// TSC clocks per operation: the median of undisturbed samples.
fn clocks(mut sample: impl FnMut()) -> f64 {
    let mut disturbance = Disturbance::of_this_thread();
    (0..4).for_each(|_| sample());
    let mut all = Vec::with_capacity(SAMPLES);
    for _ in 0..ATTEMPTS {
        disturbance.happened();
        let start = read_tsc();
        sample();
        let clocks = read_tsc().wrapping_sub(start);
        if !disturbance.happened() {
            all.push(clocks as f64 / OPERATIONS as f64);
        }
        if all.len() == SAMPLES {
            break;
        }
    }
    Range::of(all).median
}

pub(crate) fn limit(name: String, calibration: &Calibration, sample: impl FnMut()) -> Limit {
    let clocks = clocks(sample);
    Limit { name, cycles: calibration.cycles(clocks), ns: calibration.ns(clocks) }
}

/// The next number of a sequence that memory cannot guess (xorshift64*).
#[inline]
fn scramble(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// `0..len` by multiplication and shift, as hash tables choose their buckets.
#[inline]
pub(crate) fn index(random: u64, len: usize) -> usize {
    ((u128::from(random) * len as u128) >> 64) as usize
}

/// Reads of one random cache line of tables of these sizes (bytes), in each of three ways, on
/// ordinary and on huge pages.
pub fn random_reads(sizes: &[usize], calibration: &Calibration) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (bytes, huge) in sizes.iter().flat_map(|bytes| [(*bytes, false), (*bytes, true)]) {
        let mut pages = Pages::<Line>::zeroed(bytes / size_of::<Line>(), huge);
        link(pages.as_mut_slice());
        let lines = pages.as_slice();
        let pages = if huge { "huge pages" } else { "4 KiB pages" };
        let name = |way: &str| format!("random read, {} table, {pages}, {way}", size_text(bytes));
        let mut at = 0;
        limits.push(limit(name("one after the other"), calibration, || {
            (0..OPERATIONS).for_each(|_| at = lines[at].next as usize);
            black_box(at);
        }));
        let mut state = 1;
        limits.push(limit(name("independent"), calibration, || {
            let read = |_| lines[index(scramble(&mut state), lines.len())].rest[6];
            black_box((0..OPERATIONS).map(read).fold(0, u64::wrapping_add));
        }));
        limits.push(limit(name("prefetched by 32"), calibration, || {
            black_box(prefetched(lines, &mut state));
        }));
    }
    limits
}

fn prefetched(lines: &[Line], state: &mut u64) -> u64 {
    let mut total = 0_u64;
    let mut wanted = [0; BATCH];
    for _ in 0..OPERATIONS / BATCH {
        for slot in &mut wanted {
            *slot = index(scramble(state), lines.len());
            prefetch(&lines[*slot]);
        }
        total = wanted.iter().map(|at| lines[*at].rest[6]).fold(total, u64::wrapping_add);
    }
    total
}

/// Makes one cycle of all lines, in random order (Sattolo's algorithm).
fn link(lines: &mut [Line]) {
    for (at, line) in lines.iter_mut().enumerate() {
        line.next = at as u64;
    }
    let mut state = 88_172_645_463_325_252;
    for at in (1..lines.len()).rev() {
        let other = index(scramble(&mut state), at);
        let next = lines[at].next;
        lines[at].next = lines[other].next;
        lines[other].next = next;
    }
}

/// Arithmetic that every packet needs.
pub fn arithmetic(calibration: &Calibration) -> Vec<Limit> {
    let hasher = FlowHasher::new(&HashKey::default());
    let tuples: Vec<FlowTuple<Ipv4Addr>> = (0..OPERATIONS as u64).map(tuple).collect();
    let header: [u8; 20] = std::array::from_fn(|at| at as u8);
    let payload = [0x5a_u8; 1460];
    vec![
        limit("flow hash of an IPv4 5-tuple".into(), calibration, || {
            let hash = |tuple| hasher.hash(black_box(tuple), false);
            black_box(tuples.iter().map(hash).fold(0, u64::wrapping_add));
        }),
        limit("checksum of an IPv4 header".into(), calibration, || {
            (0..OPERATIONS).for_each(|_| {
                black_box(sum(black_box(&header)).checksum());
            });
        }),
        limit("checksum changed by address and port".into(), calibration, || {
            for tuple in &tuples {
                let delta = Delta::NONE.address(VIP, tuple.src).word(VIP_PORT, tuple.src_port);
                black_box(Checksum(black_box(0x1234)).updated(delta));
            }
        }),
        limit("checksum of 1460 bytes".into(), calibration, || {
            (0..OPERATIONS).for_each(|_| {
                black_box(sum(black_box(&payload)).checksum());
            });
        }),
    ]
}

fn tuple(flow: u64) -> FlowTuple<Ipv4Addr> {
    let Client { address: src, port: src_port } = Client::of(flow);
    FlowTuple { src, dst: VIP, src_port, dst_port: VIP_PORT, protocol: 17 }
}

pub(crate) fn size_text(bytes: usize) -> String {
    match bytes {
        _ if bytes >= 1 << 30 => format!("{} GiB", bytes >> 30),
        _ if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        _ => format!("{} KiB", bytes >> 10),
    }
}

/// A table of limits.
pub fn text(limits: &[Limit]) -> String {
    let line = |limit: &Limit| {
        format!("{:<64} {:>8.1} cycles {:>8.2} ns\n", limit.name, limit.cycles, limit.ns)
    };
    limits.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_visits_every_line_once() {
        let mut lines = vec![Line { next: 0, rest: [0; 7] }; 1000];
        link(&mut lines);
        let mut seen = vec![false; 1000];
        let mut at = 0;
        for _ in 0..1000 {
            assert!(!std::mem::replace(&mut seen[at], true));
            at = lines[at].next as usize;
        }
        assert_eq!(at, 0);
    }

    #[test]
    fn random_indices_cover_the_table() {
        let mut state = 1;
        let mut seen = [false; 64];
        (0..2000).for_each(|_| seen[index(scramble(&mut state), 64)] = true);
        assert!(seen.iter().all(|seen| *seen));
        assert_eq!(index(u64::MAX, 64), 63);
    }

    #[test]
    fn everything_is_measured() {
        let calibration = Calibration { tsc_hz: 1e9, cycles_per_clock: 2.0 };
        let limits = [random_reads(&[32 << 10], &calibration), arithmetic(&calibration)].concat();
        assert_eq!(limits.len(), 6 + 4);
        assert!(limits.iter().all(|limit| limit.cycles >= 0.0 && limit.ns * 2.0 == limit.cycles));
        let text = text(&limits);
        assert!(text.contains("random read, 32 KiB table, huge pages, prefetched by 32"), "{text}");
        assert_eq!(size_text(3 << 30), "3 GiB");
    }
}
