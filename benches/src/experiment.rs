//! [`Experiment`]: several modes on the same packets, in turns, so that whatever disturbs the machine
//! disturbs all of them alike.

use dataplane::interface::{MacAddress, PortId, QueueId};

use crate::appliance::{Appliance, Setup};
use crate::calibration::measure_cycles_per_clock;
use crate::cores::Cores;
use crate::flow::Renewal;
use crate::frame_template::Direction;
use crate::memory_port::{MemoryPort, Passed};
use crate::mode::Mode;
use crate::observer::{Expect, Observer};
use crate::slice::{Slice, Timing, measure};
use crate::station::{Plain, Station};
use crate::traffic::{Traffic, TrafficSpec};

/// Mbufs of a port: two full frames and what is made on the way.
const MBUFS: usize = 1024;
/// Packets that are looked at before and after measuring, at least.
const OBSERVED: u64 = 4096;
/// The port has no number of its own in memory.
const PORT: PortId = PortId(0);
/// Its Ethernet address.
const MAC: MacAddress = MacAddress([0x02, 0x70, 0x63, 0x61, 0x70, 0x00]);
/// Entries in a sticky bucket, of which at most half are to be used.
const ENTRIES_PER_BUCKET: u64 = 4;
/// Seconds for which a flow without an answer keeps its entry.
const FLOW_LIFE_S: u64 = config::defaults::TIMEOUT_S as u64;
/// Sticky buckets at least and at most.
const BUCKETS: std::ops::RangeInclusive<u64> = 1024..=1 << 24;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The packets.
    pub spec: TrafficSpec,
    /// The modes, all for packets of one direction; the first is what others are compared with.
    pub modes: Vec<Mode>,
    /// ASs.
    pub servers: u16,
    /// Sticky buckets per worker; worked out from the flows when it is not given.
    pub buckets: Option<u32>,
    /// Packets that arrive at once, at most.
    pub burst: usize,
    /// How often each mode is measured.
    pub repeats: usize,
    /// How long, in TSC clocks.
    pub slice: u64,
    /// TSC clocks per second.
    pub hz: u64,
}

/// One mode's part of the outcome.
#[derive(Clone, Debug)]
pub struct ModeOutcome {
    /// The mode.
    pub mode: Mode,
    /// By repeat, by worker.
    pub slices: Vec<Vec<Slice>>,
    /// Names of the graph's nodes.
    pub node_names: Vec<&'static str>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In the order of the experiment.
    pub modes: Vec<ModeOutcome>,
    /// By repeat: core cycles per TSC clock.
    pub cycles_per_clock: Vec<f64>,
    /// Sticky buckets per worker.
    pub buckets: u32,
    /// All packets that went through while it was measured.
    pub passed: Passed,
}

/// A worker's port and everything it can go through.
struct Lane {
    port: Option<MemoryPort>,
    stations: Vec<Station<MemoryPort>>,
    flows: std::ops::Range<u64>,
}

impl Experiment {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// A configuration that is refused, or packets that do not go where they should.
    pub fn run(&self, cores: &Cores) -> Result<Outcome, String> {
        let workers = cores.cpus().len();
        let buckets = self.buckets.unwrap_or_else(|| self.fitting_buckets(workers as u64));
        let mut lanes = self.lanes(workers);
        let mut appliances = Vec::new();
        for mode in &self.modes {
            appliances.push(self.add_stations(*mode, buckets, &mut lanes)?);
        }
        let prepared = cores.run(&mut lanes, |lane| self.prepare(lane));
        prepared.into_iter().collect::<Result<Vec<()>, String>>()?;
        let before = passed(&lanes);
        let mut modes: Vec<ModeOutcome> =
            self.modes.iter().map(|mode| new_outcome(*mode)).collect();
        let timing = Timing {
            slice: self.slice,
            chunk: self.hz / 1000,
            expire_after: (self.spec.renewal == Renewal::EveryPacket).then_some(buckets.into()),
        };
        let mut cycles_per_clock = Vec::new();
        for _ in 0..self.repeats {
            cycles_per_clock.extend(cores.run(&mut [()], |()| measure_cycles_per_clock()));
            for (index, outcome) in modes.iter_mut().enumerate() {
                outcome.slices.push(cores.run(&mut lanes, |lane| lane.measure(index, &timing)));
            }
        }
        let passed = passed(&lanes).since(before);
        conserved(passed)?;
        let checked = cores.run(&mut lanes, |lane| self.check_all(lane));
        checked.into_iter().collect::<Result<Vec<()>, String>>()?;
        drop(appliances);
        Ok(Outcome { modes, cycles_per_clock, buckets, passed })
    }

    /// A number of buckets that keeps tables at most half full.
    fn fitting_buckets(&self, workers: u64) -> u32 {
        let renewed = match self.spec.renewal {
            Renewal::PerSecond(rate) => rate * FLOW_LIFE_S,
            Renewal::EveryPacket => 1 << 20,
        };
        let flows = (self.spec.flows + renewed) / workers.max(1);
        let wanted = (flows * 2 / ENTRIES_PER_BUCKET).next_power_of_two();
        wanted.clamp(*BUCKETS.start(), *BUCKETS.end()) as u32
    }

    /// Each worker has its share of the flows.
    fn lanes(&self, workers: usize) -> Vec<Lane> {
        let share = (self.spec.flows / workers as u64).max(1);
        let lane = |worker: usize| {
            let flows = share * worker as u64..share * (worker as u64 + 1);
            let traffic = Traffic::forward(&self.spec, flows.clone(), MAC, self.hz);
            let port = Some(MemoryPort::new(traffic, MBUFS, self.burst));
            Lane { port, stations: Vec::new(), flows }
        };
        (0..workers).map(lane).collect()
    }

    /// Gives every lane a station for a mode. What comes back must live as long as the stations.
    fn add_stations(
        &self,
        mode: Mode,
        buckets: u32,
        lanes: &mut [Lane],
    ) -> Result<Option<Appliance<MemoryPort>>, String> {
        if !mode.has_graph() {
            for lane in lanes {
                let interface = Appliance::<MemoryPort>::interface();
                let plain = Plain::new(PORT, QueueId(0), interface, mode == Mode::Macswap);
                lane.stations.push(Station::Plain(plain));
            }
            return Ok(None);
        }
        let mut appliance = Appliance::new(&Setup {
            mode,
            protocol: self.spec.protocol,
            servers: self.servers,
            buckets,
            workers: lanes.len(),
            port: PORT,
            mac: MAC,
            hz: self.hz,
        })?;
        for (lane, worker) in lanes.iter_mut().zip(appliance.workers.drain(..)) {
            lane.stations.push(Station::Graph(Box::new(worker)));
        }
        Ok(Some(appliance))
    }

    /// Sets up the flows of every mode that has any, and sees that packets go where they should.
    fn prepare(&self, lane: &mut Lane) -> Result<(), String> {
        let answers = self.modes.iter().position(|mode| mode.direction() == Direction::Return);
        if let Some(index) = answers {
            // Clients have to send before ASs can answer.
            let observer = self.set_up_flows(lane, index)?;
            let servers = observer.servers().ok_or("not every flow reached an AS")?;
            let flows = lane.flows.clone();
            let traffic = Traffic::answers(&self.spec, flows, servers, MAC, self.hz);
            lane.port.as_mut().ok_or("no port")?.traffic = traffic;
        }
        for (index, mode) in self.modes.iter().enumerate() {
            if mode.expect() == Expect::Translated {
                self.set_up_flows(lane, index)?;
            } else {
                let observer = Observer::new(mode.expect(), lane.flows.clone(), self.servers);
                lane.observe(index, observer, OBSERVED)?;
            }
        }
        Ok(())
    }

    /// One round of first packets, then one of others, which are looked at.
    fn set_up_flows(&self, lane: &mut Lane, index: usize) -> Result<Observer, String> {
        let flows = lane.flows.clone();
        let round = (flows.end - flows.start).max(OBSERVED);
        let observer = || Observer::new(Expect::Translated, flows.clone(), self.servers);
        lane.set_opening(true);
        lane.observe(index, observer(), round)?;
        lane.set_opening(false);
        lane.observe(index, observer(), round)
    }

    /// Sees that packets still go where they should.
    fn check_all(&self, lane: &mut Lane) -> Result<(), String> {
        for (index, mode) in self.modes.iter().enumerate() {
            // Flows may be others by now: none is followed.
            lane.observe(index, Observer::new(mode.expect(), 0..0, self.servers), OBSERVED)?;
        }
        Ok(())
    }
}

fn new_outcome(mode: Mode) -> ModeOutcome {
    let names = || graph_nodes::builder().info().map(|info| info.nodes).unwrap_or_default();
    let node_names = if mode.has_graph() { names() } else { Vec::new() };
    ModeOutcome { mode, slices: Vec::new(), node_names }
}

fn passed(lanes: &[Lane]) -> Passed {
    let ports = lanes.iter().filter_map(|lane| lane.port.as_ref());
    ports.map(MemoryPort::passed).fold(Passed::default(), |all, one| Passed {
        received: all.received + one.received,
        sent: all.sent + one.sent,
        freed: all.freed + one.freed,
        made: all.made + one.made,
    })
}

/// Everything that came has left, and nothing else.
fn conserved(passed: Passed) -> Result<(), String> {
    let Passed { received, sent, freed, made } = passed;
    if received == sent && freed == 0 && made == 0 {
        return Ok(());
    }
    Err(format!("of {received} packets {sent} were sent and {freed} dropped; {made} were made"))
}

impl Lane {
    fn measure(&mut self, index: usize, timing: &Timing) -> Slice {
        let Self { port, stations, .. } = self;
        let Some(lent) = port.take() else { return Slice::default() };
        stations[index].put(lent);
        let slice = measure(&mut stations[index], timing);
        *port = stations[index].take();
        slice
    }

    fn set_opening(&mut self, opening: bool) {
        if let Some(port) = &mut self.port {
            port.traffic.set_opening(opening);
        }
    }

    /// Lets at least `packets` packets through, all of them looked at.
    fn observe(
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
