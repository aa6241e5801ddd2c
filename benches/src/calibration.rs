//! How long a TSC clock and a core cycle take on this machine, now.
//!
//! There is no performance counter on many virtual machines, so cycles are counted by work whose
//! cycles are known: a chain of multiplications, each of which waits for the one before.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dataplane::clock::read_tsc;

/// Cycles from one multiplication of the chain to the next: 64-bit `imul` on Intel since Nehalem
/// and on AMD since Zen (Agner Fog, instruction tables).
const MULTIPLY_CYCLES: f64 = 3.0;
/// Multiplications of one chain: about 100 µs, so that it does not matter that the CPU reads the TSC
/// some hundred cycles early or late.
const CHAIN: u32 = 100_000;
/// Chains of one calibration, the fastest of which counts: it is the one nobody interrupted.
const CHAINS: usize = 50;

/// Clocks and cycles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// TSC clocks per second.
    pub tsc_hz: f64,
    /// Core cycles per TSC clock.
    pub cycles_per_clock: f64,
}

impl Calibration {
    /// Nanoseconds of so many TSC clocks.
    pub fn ns(&self, clocks: f64) -> f64 {
        clocks * 1e9 / self.tsc_hz
    }

    /// Core cycles of so many TSC clocks.
    pub fn cycles(&self, clocks: f64) -> f64 {
        clocks * self.cycles_per_clock
    }
}

/// TSC clocks per second, by the system's clock over `pause`.
pub fn measure_tsc_hz(pause: Duration) -> f64 {
    let (clock, tsc) = (Instant::now(), read_tsc());
    std::thread::sleep(pause);
    let (elapsed, clocks) = (clock.elapsed(), read_tsc().wrapping_sub(tsc));
    hz(clocks, elapsed)
}

fn hz(clocks: u64, elapsed: Duration) -> f64 {
    clocks as f64 / elapsed.as_secs_f64()
}

/// Core cycles per TSC clock.
pub fn measure_cycles_per_clock() -> f64 {
    let fastest = (0..CHAINS).map(|_| chain_clocks()).min().unwrap_or(0);
    cycles_per_clock(fastest)
}

fn cycles_per_clock(clocks: u64) -> f64 {
    f64::from(CHAIN) * MULTIPLY_CYCLES / clocks.max(1) as f64
}

/// TSC clocks of one chain. Squares, as a compiler knows how to join multiplications by a constant.
fn chain_clocks() -> u64 {
    let mut value = black_box(0x1234_5679_u64);
    let start = read_tsc();
    for _ in 0..CHAIN {
        value = value.wrapping_mul(value);
    }
    black_box(value);
    read_tsc().wrapping_sub(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_right() {
        let calibration = Calibration { tsc_hz: 2.3e9, cycles_per_clock: 1.3 };
        assert_eq!(calibration.ns(23.0), 10.0);
        assert_eq!(calibration.cycles(10.0), 13.0);
        assert_eq!(hz(5_000_000, Duration::from_millis(2)), 2.5e9);
        // 100 000 multiplications of 3 cycles in 230 000 clocks.
        assert!((cycles_per_clock(230_000) - 30.0 / 23.0).abs() < 1e-12);
        assert!(cycles_per_clock(0).is_finite());
    }

    #[test]
    fn this_machine_has_clocks() {
        assert!(measure_tsc_hz(Duration::from_millis(2)) > 1e6);
        assert!(measure_cycles_per_clock() > 0.0);
    }
}
