//! [`Lane`]: a worker's port and everything its packets can go through.

use dataplane::clock::read_tsc;
use dataplane::io::PacketIo;

use crate::disturbance::Disturbance;
use crate::histogram::Histogram;
use crate::load::Load;
use crate::memory_port::{MemoryPort, Passed};
use crate::observer::Observer;
use crate::slice::{PATIENCE, Slice, Timing, measure, run_turns};
use crate::station::Station;
use crate::together::Together;

/// One worker's part of an experiment, in cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Lane<I: PacketIo> {
    /// The port, but while a station has it.
    pub port: Option<I>,
    /// By mode.
    pub stations: Vec<Station<I>>,
    /// Flows that are the worker's.
    pub flows: std::ops::Range<u64>,
}

/// Everything that came has left, and nothing else.
///
/// # Errors
///
/// What is missing or too much.
pub fn conserved(passed: Passed) -> Result<(), String> {
    let Passed { received, sent, freed, made } = passed;
    if received == sent && freed == 0 && made == 0 {
        return Ok(());
    }
    Err(format!("of {received} packets {sent} were sent and {freed} dropped; {made} were made"))
}

impl<I: PacketIo> Lane<I> {
    /// Measures a mode, together with other lanes.
    pub fn measure(&mut self, index: usize, timing: &Timing, together: &Together) -> Slice {
        let Self { port, stations, .. } = self;
        // Without a port there are no packets; the others still wait for us.
        if let Some(lent) = port.take() {
            stations[index].put(lent);
        }
        let slice = measure(&mut stations[index], timing, together);
        *port = stations[index].take();
        slice
    }

    /// Lets at least `packets` packets through a mode, as long as any come.
    pub fn pass(&mut self, index: usize, packets: u64) {
        let Self { port, stations, .. } = self;
        let Some(lent) = port.take() else { return };
        stations[index].put(lent);
        let mut seen = 0;
        while seen < packets {
            match stations[index].turn() {
                0 => break,
                more => seen += more as u64,
            }
        }
        *port = stations[index].take();
    }
}

impl Lane<MemoryPort> {
    /// How long packets take through a mode when `rate` of them arrive each second, and how many
    /// found no room. `clocks` are to count; a chunk in which the thread was off its CPU does not,
    /// and each begins with an empty ring.
    pub fn latency(&mut self, index: usize, rate: f64, timing: &Timing) -> (Histogram, u64) {
        let Self { port, stations, .. } = self;
        let Some(mut lent) = port.take() else { return Default::default() };
        lent.load = Some(Load::new(rate, timing.hz, read_tsc()));
        let station = &mut stations[index];
        station.put(lent);
        let mut disturbance = Disturbance::of_this_thread();
        let (mut times, mut lost, mut counted) = (Histogram::default(), 0, 0);
        let start = read_tsc();
        while counted < timing.slice
            && read_tsc().wrapping_sub(start) < timing.slice.saturating_mul(PATIENCE)
        {
            disturbance.happened();
            if let Some(load) = station.port().and_then(|port| port.load.as_mut()) {
                load.restart(read_tsc());
            }
            run_turns(station, timing.chunk, |_| ());
            let Some(load) = station.port().and_then(|port| port.load.as_mut()) else { break };
            let (seen, missed) = load.restart(read_tsc());
            if !disturbance.happened() {
                times.merge(&seen);
                lost += missed;
                counted += timing.chunk;
            }
        }
        *port = station.take();
        if let Some(port) = port {
            port.load = None;
        }
        (times, lost)
    }

    /// Says whether all packets are the first of their flows.
    pub fn set_opening(&mut self, opening: bool) {
        if let Some(port) = &mut self.port {
            port.traffic.set_opening(opening);
        }
    }

    /// Lets at least `packets` packets through, all of them looked at.
    ///
    /// # Errors
    ///
    /// The first packet that is not as expected, or lost ones.
    pub fn observe(
        &mut self,
        index: usize,
        observer: Observer,
        packets: u64,
    ) -> Result<Observer, String> {
        let Self { port, stations, .. } = self;
        let mut lent = port.take().ok_or("no port")?;
        lent.observer = Some(observer);
        let before = lent.passed();
        stations[index].put(lent);
        let mut seen = 0;
        while seen < packets {
            match stations[index].turn() {
                0 => return Err("the port ran out of packets".to_owned()),
                more => seen += more as u64,
            }
        }
        let mut lent = stations[index].take().ok_or("no port")?;
        let outstanding = lent.outstanding();
        let (observer, passed) = (lent.observer.take(), lent.passed().since(before));
        *port = Some(lent);
        let observer = observer.ok_or("no observer")?;
        observer.verdict()?;
        conserved(passed)?;
        if outstanding != 0 {
            return Err(format!("{outstanding} packets did not come back"));
        }
        Ok(observer)
    }
}
