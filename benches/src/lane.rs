//! [`Lane`]: a worker's port and everything its packets can go through.

use dataplane::io::PacketIo;

use crate::memory_port::{MemoryPort, Passed};
use crate::observer::Observer;
use crate::slice::{Slice, Timing, measure};
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
