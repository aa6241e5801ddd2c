//! [`MemorySubject`]: a search for NDR and PDR in one process, without ports: packets come at a rate
//! into a bounded queue in front of the worker.

use dataplane::clock::read_tsc;
use dataplane::interface::{MacAddress, PortId, QueueId};

use crate::appliance::{Appliance, Setup};
use crate::disturbance::Disturbance;
use crate::memory_port::MemoryPort;
use crate::mode::Mode;
use crate::observer::{Expect, Observer};
use crate::ports::paced_port::{Arrivals, BoundedQueue, PacedPort};
use crate::ports::pacer::Pacer;
use crate::ports::search::{Subject, TrialOutcome};
use crate::service::Service;
use crate::station::{Plain, Station};
use crate::traffic::{Traffic, TrafficSpec};

/// The port has no number of its own.
const PORT: PortId = PortId(0);
/// Its Ethernet address.
const MAC: MacAddress = MacAddress([0x02, 0x70, 0x63, 0x61, 0x70, 0x00]);
/// Mbufs: two full frames and what is made on the way.
const MBUFS: usize = 1024;
/// Packets that arrive at once, at most.
const BURST: usize = 256;
/// Packets that are looked at before measuring, at least.
const OBSERVED: u64 = 4096;
/// A trial ends at the latest after so many times its length, however often it was disturbed, but not
/// before so many seconds.
const PATIENCE: f64 = 8.0;
const PATIENCE_SECONDS: f64 = 3.0;
/// After so long (share of a second) it is seen whether the worker was taken off its CPU.
const CHUNK_SHARE: f64 = 1000.0;

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct MemorySpec {
    /// The packets.
    pub traffic: TrafficSpec,
    /// What is done with them.
    pub mode: Mode,
    /// VIPs and ASs.
    pub service: Service,
    /// Sticky buckets.
    pub buckets: u32,
    /// Packets that wait in front of the worker at most.
    pub queue: u32,
    /// TSC clocks per second.
    pub tsc_hz: f64,
}

/// A worker and its port, on the thread that made it.
#[derive(Debug)]
pub struct MemorySubject {
    station: Station<PacedPort>,
    _appliance: Option<Appliance<PacedPort>>,
    tsc_hz: f64,
    disturbance: Disturbance,
    /// Milliseconds that were thrown away, and all.
    chunks: (u64, u64),
}

impl MemorySubject {
    /// Sets everything up, lets all flows begin, and sees that packets go where they should.
    ///
    /// # Errors
    ///
    /// A configuration that is refused, or packets that go elsewhere.
    pub fn new(spec: &MemorySpec) -> Result<Self, String> {
        let hz = spec.tsc_hz as u64;
        let flows = spec.traffic.flows;
        let traffic = Traffic::forward(&spec.traffic, 0..flows, MAC, hz);
        let memory = MemoryPort::new(traffic, MBUFS, BURST);
        let (mut station, appliance) = station(spec, hz)?;
        station.put(PacedPort::new(memory, BoundedQueue::new(spec.queue), BURST));
        let disturbance = Disturbance::of_this_thread();
        let (tsc_hz, chunks) = (spec.tsc_hz, (0, 0));
        let mut new = Self { station, _appliance: appliance, tsc_hz, disturbance, chunks };
        let expect = spec.mode.expect();
        let balanced = matches!(expect, Expect::ToServer(_));
        let round = if balanced { flows.max(OBSERVED) } else { OBSERVED };
        for opening in [true, false] {
            new.memory()?.traffic.set_opening(opening && balanced);
            new.memory()?.observer = Some(Observer::new(expect, 0..flows, spec.service.servers));
            let before = new.memory()?.passed().sent;
            new.pass(round);
            let sent = new.memory()?.passed().sent - before;
            let observer = new.memory()?.observer.take().ok_or("no observer")?;
            observer.verdict()?;
            if observer.good() < round || sent < round {
                return Err(format!("of {round} packets only {sent} were sent"));
            }
        }
        Ok(new)
    }

    fn port(&mut self) -> Result<&mut PacedPort, String> {
        self.station.port().ok_or_else(|| "internal error: no port".to_owned())
    }

    fn memory(&mut self) -> Result<&mut MemoryPort, String> {
        self.port().map(|port| &mut port.memory)
    }

    fn pass(&mut self, packets: u64) {
        let mut seen = 0;
        while seen < packets {
            match self.station.turn() {
                0 => return,
                more => seen += more as u64,
            }
        }
    }

    /// Packets per second when there are always some.
    ///
    /// # Errors
    ///
    /// When the worker is disturbed all the time.
    pub fn capacity(&mut self, seconds: f64) -> Result<f64, String> {
        self.port()?.set_pacer(None);
        let measured = self.measure(seconds)?;
        Ok(measured.taken as f64 * self.tsc_hz / measured.clocks.max(1) as f64)
    }

    /// Share of the time that was thrown away so far, as the worker was off its CPU.
    pub fn disturbed(&self) -> f64 {
        let (disturbed, all) = self.chunks;
        disturbed as f64 / all.max(1) as f64
    }

    /// Lets the worker run until it had its CPU to itself for so long. Nothing of the milliseconds in
    /// which it had not is counted.
    fn measure(&mut self, seconds: f64) -> Result<Measured, String> {
        let wanted = (seconds * self.tsc_hz) as u64;
        let patience = (seconds * PATIENCE).max(PATIENCE_SECONDS);
        let end = read_tsc().saturating_add((patience * self.tsc_hz) as u64);
        let chunk = (self.tsc_hz / CHUNK_SHARE) as u64;
        let mut total = Measured::default();
        self.begin()?;
        while total.clocks < wanted {
            if read_tsc() > end {
                return Err(format!(
                    "the worker was taken off its CPU all the time: of {:.0} ms only {:.0} count",
                    patience * 1000.0,
                    total.clocks as f64 * 1000.0 / self.tsc_hz
                ));
            }
            let freed = self.memory()?.passed().freed;
            let (begin, mut taken) = (read_tsc(), 0);
            while read_tsc().wrapping_sub(begin) < chunk {
                taken += self.station.turn() as u64;
            }
            let clocks = read_tsc().wrapping_sub(begin);
            self.chunks.1 += 1;
            if self.disturbance.happened() {
                self.chunks.0 += 1;
                self.begin()?;
                continue;
            }
            let dropped = self.memory()?.passed().freed - freed;
            let arrivals = self.port()?.queue.take_arrivals();
            total.add(Measured { clocks, taken, arrivals, dropped });
        }
        Ok(total)
    }

    /// Empties the queue; nothing has come.
    fn begin(&mut self) -> Result<(), String> {
        self.disturbance.happened();
        self.port()?.restart();
        Ok(())
    }
}

/// What was counted of undisturbed time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Measured {
    /// TSC clocks.
    clocks: u64,
    /// Packets that the worker took.
    taken: u64,
    /// Packets that came.
    arrivals: Arrivals,
    /// Packets that the worker dropped.
    dropped: u64,
}

impl Measured {
    fn add(&mut self, more: Self) {
        self.clocks += more.clocks;
        self.taken += more.taken;
        self.arrivals.offered += more.arrivals.offered;
        self.arrivals.missed += more.arrivals.missed;
        self.dropped += more.dropped;
    }
}

impl Subject for MemorySubject {
    fn trial(&mut self, rate: f64, seconds: f64) -> Result<TrialOutcome, String> {
        let pacer = Pacer::new(rate.round() as u64, self.tsc_hz as u64, read_tsc());
        self.port()?.set_pacer(Some(pacer));
        let measured = self.measure(seconds)?;
        let seconds = measured.clocks as f64 / self.tsc_hz;
        let Arrivals { offered: sent, missed } = measured.arrivals;
        let lost = missed + measured.dropped;
        // What was disturbed is not in it.
        let (offered, disturbed) = (sent as f64 / seconds, false);
        Ok(TrialOutcome { wanted: rate, offered, seconds, sent, lost, disturbed })
    }
}

/// What packets go through.
fn station(
    spec: &MemorySpec,
    hz: u64,
) -> Result<(Station<PacedPort>, Option<Appliance<PacedPort>>), String> {
    if !spec.mode.has_graph() {
        let interface = Appliance::<PacedPort>::interface();
        let plain = Plain::new(PORT, QueueId(0), interface, spec.mode == Mode::Macswap);
        return Ok((Station::Plain(Box::new(plain)), None));
    }
    let mut appliance = Appliance::new(&Setup {
        mode: spec.mode,
        protocol: spec.traffic.protocol,
        family: spec.traffic.family,
        service: spec.service,
        buckets: spec.buckets,
        workers: 1,
        port: PORT,
        mac: MAC,
        hz,
    })?;
    let worker = appliance.workers.pop().ok_or("internal error: no worker")?;
    Ok((Station::Graph(Box::new(worker)), Some(appliance)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::measure_tsc_hz;
    use crate::family::Family;
    use crate::flow::Renewal;
    use crate::traffic::{Protocol, Size};

    fn subject(mode: Mode, queue: u32) -> MemorySubject {
        let (size, protocol) = (Size::Fixed(64), Protocol::Udp);
        let traffic = TrafficSpec {
            family: Family::Ip4,
            flows: 100,
            size,
            protocol,
            renewal: Renewal::PerSecond(0),
        };
        let tsc_hz = measure_tsc_hz(std::time::Duration::from_millis(5));
        let spec =
            MemorySpec { traffic, mode, service: Service::of(16), buckets: 1024, queue, tsc_hz };
        MemorySubject::new(&spec).unwrap()
    }

    /// Trials may be disturbed all the time on a busy machine: then there is nothing to see.
    fn trial(subject: &mut MemorySubject, rate: f64) -> Option<TrialOutcome> {
        subject.trial(rate, 0.02).ok()
    }

    #[test]
    fn a_load_far_beyond_any_worker_is_mostly_lost() {
        for mode in [Mode::Io, Mode::LbNat4] {
            let Some(outcome) = trial(&mut subject(mode, 1024), 1e10) else { continue };
            assert!(outcome.sent > 0 && outcome.loss_ratio() > 0.5, "{outcome:?}");
        }
    }

    #[test]
    fn every_packet_of_a_trial_is_sent_or_lost() {
        let mut subject = subject(Mode::LbGre4, 64);
        let before = subject.memory().unwrap().passed();
        let Some(outcome) = trial(&mut subject, 1e6) else { return };
        let passed = subject.memory().unwrap().passed().since(before);
        assert_eq!((passed.freed, passed.made, passed.sent), (0, 0, passed.received));
        // What was thrown away and what is still in the queue makes the difference.
        assert!(passed.received + outcome.lost + 64 >= outcome.sent, "{outcome:?} {passed:?}");
    }
}
