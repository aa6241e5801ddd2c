//! [`Experiment`]: several modes on the same packets, in turns, so that whatever disturbs the machine
//! disturbs all of them alike.

use control::compile::TableThread;
use dataplane::interface::{MacAddress, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::shared::WorkerShared;

use crate::appliance::{Appliance, Setup};
use crate::calibration::measure_cycles_per_clock;
use crate::churn::{Changes, Churn, Kinds};
use crate::cores::Cores;
use crate::disturbance::stolen_ms;
use crate::flow::Renewal;
use crate::frame_template::Direction;
use crate::histogram::Histogram;
use crate::lane::{Lane, conserved};
use crate::load::LoadLatency;
use crate::memory_port::{MemoryPort, Passed};
use crate::mode::Mode;
use crate::observer::{Expect, Observer, Way};
use crate::recording::Recording;
use crate::service::Service;
use crate::slice::{Slice, Timing};
use crate::station::{Plain, Station};
use crate::together::Together;
use crate::traffic::{Traffic, TrafficSpec};

/// Mbufs of a port: two full frames and what is made on the way.
const MBUFS: usize = 1024;
/// Packets that are looked at before and after measuring, at least.
const OBSERVED: u64 = 4096;
/// The port has no number of its own in memory.
pub const PORT: PortId = PortId(0);
/// Its Ethernet address.
pub const MAC: MacAddress = MacAddress([0x02, 0x70, 0x63, 0x61, 0x70, 0x00]);
/// Entries in a sticky bucket, of which at most half are to be used.
const ENTRIES_PER_BUCKET: u64 = 4;
/// Share of a second after which a ring is emptied while latencies are measured.
const LATENCY_CHUNKS: u64 = 200;
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
    /// VIPs and ASs.
    pub service: Service,
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
    /// Changes of ASs per second: each mode with a VIP is measured with each of them. 0 for none.
    pub churn: Vec<u32>,
    /// Which changes these are.
    pub changes: Kinds,
    /// Numbers of workers: each mode is measured with each of them, on the same share of flows per
    /// worker. Empty for one measurement with all.
    pub workers: Vec<usize>,
    /// Loads at which it is measured how long packets take, in percent of each mode's rate.
    pub loads: Vec<f64>,
    /// Packets that take the place of made ones.
    pub recording: Option<Recording>,
    /// Commands of the mode [`Mode::Configured`].
    pub commands: Vec<String>,
}

/// One mode's part of the outcome.
#[derive(Clone, Debug)]
pub struct ModeOutcome {
    /// The mode.
    pub mode: Mode,
    /// Changes of ASs per second.
    pub churn: u32,
    /// Workers.
    pub workers: usize,
    /// Changes that were made.
    pub changes: Changes,
    /// Packets that a graph received, and those of them that it did not send.
    pub received: u64,
    /// See there.
    pub lost: u64,
    /// Milliseconds that the hypervisor took from all CPUs meanwhile, as far as it says.
    pub stolen_ms: u64,
    /// How long packets took.
    pub latencies: Vec<LoadLatency>,
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
        let mut appliances = self.add_stations(buckets, PORT, MAC, &mut lanes)?;
        let prepared = cores.run(&mut lanes, |lane| self.prepare(lane));
        prepared.into_iter().collect::<Result<Vec<()>, String>>()?;
        let before = passed(&lanes);
        let (mut modes, cycles_per_clock) =
            self.rounds(buckets, &mut lanes, cores, &mut appliances)?;
        for outcome in modes.iter_mut().filter(|outcome| outcome.churn == 0) {
            let load = |percent: &f64| self.latency(outcome, *percent, &mut lanes, cores);
            outcome.latencies = self.loads.iter().map(load).collect();
        }
        let passed = passed(&lanes).since(before);
        if self.expects_all() {
            conserved(passed)?;
        }
        let checked = cores.run(&mut lanes, |lane| self.check_all(lane));
        checked.into_iter().collect::<Result<Vec<()>, String>>()?;
        drop(appliances);
        Ok(Outcome { modes, cycles_per_clock, buckets, passed })
    }

    /// Runs it on a port that brings the packets by itself, `packets` different ones, on the calling
    /// thread.
    ///
    /// # Errors
    ///
    /// A configuration that is refused, or packets that were dropped or went elsewhere than to ASs.
    pub fn run_on_port<I: PacketIo>(
        &self,
        io: I,
        port: PortId,
        mac: MacAddress,
        packets: u64,
    ) -> Result<Outcome, String> {
        let buckets = self.buckets.unwrap_or_else(|| self.fitting_buckets(1));
        let mut lanes =
            vec![Lane { port: Some(io), stations: Vec::new(), flows: 0..self.spec.flows }];
        let mut appliances = self.add_stations(buckets, port, mac, &mut lanes)?;
        // Two rounds: one for flows to begin, one for caches.
        (0..self.modes.len()).for_each(|mode| lanes[0].pass(mode, packets * 2));
        let here = Cores::here();
        let (modes, cycles_per_clock) = self.rounds(buckets, &mut lanes, &here, &mut appliances)?;
        let mut passed = Passed::default();
        for (mode, station) in self.modes.iter().zip(&lanes[0].stations) {
            let Some(shared) = station.shared() else { continue };
            if !self.expects_all() {
                continue;
            }
            let one = counted(*mode, shared)?;
            passed.received += one.received;
            passed.sent += one.sent;
        }
        drop(appliances);
        Ok(Outcome { modes, cycles_per_clock, buckets, passed })
    }

    /// Measures all modes in turns.
    fn rounds<I: PacketIo>(
        &self,
        buckets: u32,
        lanes: &mut [Lane<I>],
        cores: &Cores,
        appliances: &mut [Option<Appliance<I>>],
    ) -> Result<(Vec<ModeOutcome>, Vec<f64>), String> {
        let timing = Timing {
            slice: self.slice,
            chunk: self.hz / 1000,
            hz: self.hz,
            expire_after: (self.spec.renewal == Renewal::EveryPacket).then_some(buckets.into()),
        };
        let mut turns = self.turns(lanes.len(), buckets);
        let mut cycles_per_clock = Vec::new();
        for _ in 0..self.repeats {
            cycles_per_clock.extend(cores.run(&mut [()], |()| measure_cycles_per_clock()));
            for Turn { index, churn, outcome } in &mut turns {
                let together = Together::new(outcome.workers);
                let lanes = &mut lanes[..outcome.workers];
                let job = |lane: &mut Lane<I>| lane.measure(*index, &timing, &together);
                let stolen = stolen_ms();
                let before = graph_counts(lanes, *index);
                let slices = match &mut appliances[*index] {
                    Some(appliance) if outcome.churn > 0 => {
                        let control = &mut appliance.control;
                        let beside = |ended: &_| churn.run(control, outcome.churn, ended);
                        let (slices, changes) = cores.run_beside(lanes, job, beside);
                        outcome.changes.add(changes?);
                        slices
                    }
                    _ => cores.run(lanes, job),
                };
                let stolen = stolen_ms().zip(stolen).map_or(0, |(now, before)| now - before);
                outcome.stolen_ms += stolen;
                let now = graph_counts(lanes, *index);
                outcome.received += now.0 - before.0;
                outcome.lost += (now.0 - before.0).saturating_sub(now.1 - before.1);
                outcome.slices.push(slices);
            }
        }
        Ok((turns.into_iter().map(|turn| turn.outcome).collect(), cycles_per_clock))
    }

    /// How long a mode's packets take at a load, all workers together.
    fn latency(
        &self,
        outcome: &ModeOutcome,
        percent: f64,
        lanes: &mut [Lane<MemoryPort>],
        cores: &Cores,
    ) -> LoadLatency {
        let index = self.modes.iter().position(|mode| *mode == outcome.mode).unwrap_or(0);
        let slices = outcome.slices.iter().flatten();
        let all = slices.fold(Slice::default(), |all, one| all.plus(one));
        // Of one worker.
        let rate = self.hz as f64 / all.clocks_per_packet().max(1.0) * percent / 100.0;
        let (slice, hz) = (self.slice, self.hz);
        let timing = Timing { slice, chunk: hz / LATENCY_CHUNKS, hz, expire_after: None };
        let lanes = &mut lanes[..outcome.workers];
        let (mut times, mut lost) = (Histogram::default(), 0);
        for (seen, missed) in cores.run(lanes, |lane| lane.latency(index, rate, &timing)) {
            times.merge(&seen);
            lost += missed;
        }
        let ns = times.latency(hz as f64).unwrap_or_default();
        let offered_mpps = rate * outcome.workers as f64 / 1e6;
        LoadLatency { percent, offered_mpps, lost, ns }
    }

    /// Everything that is measured in one round, in order.
    fn turns(&self, lanes: usize, buckets: u32) -> Vec<Turn> {
        let workers = if self.workers.is_empty() { vec![lanes] } else { self.workers.clone() };
        let mut turns = Vec::new();
        for workers in workers {
            for (index, mode) in self.modes.iter().enumerate() {
                let with_vip = mode.encap().is_some() && !self.churn.is_empty();
                let rates = if with_vip { self.churn.as_slice() } else { &[0] };
                turns.extend(rates.iter().map(|rate| Turn {
                    index,
                    churn: Churn::new(self.setup(*mode).server_words(), self.changes, buckets),
                    outcome: new_outcome(*mode, *rate, workers),
                }));
            }
        }
        turns
    }

    /// Does everything leave, and to where it should? Nobody knows of other people's packets and
    /// commands.
    fn expects_all(&self) -> bool {
        self.recording.is_none() && !self.modes.contains(&Mode::Configured)
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
    fn lanes(&self, workers: usize) -> Vec<Lane<MemoryPort>> {
        let share = (self.spec.flows / workers as u64).max(1);
        let lane = |worker: usize| {
            let flows = share * worker as u64..share * (worker as u64 + 1);
            let traffic = Traffic::forward(&self.spec, flows.clone(), MAC, self.hz);
            let mut port = MemoryPort::new(traffic, MBUFS, self.burst);
            port.recording = self.recording.as_ref().map(|all| all.part(worker, workers));
            Lane { port: Some(port), stations: Vec::new(), flows }
        };
        (0..workers).map(lane).collect()
    }

    /// How a load balancer is set up for a mode, on the memory port and without room for flows.
    fn setup(&self, mode: Mode) -> Setup {
        Setup {
            mode,
            family: self.spec.family,
            protocol: self.spec.protocol,
            service: self.service,
            buckets: 0,
            workers: 0,
            port: PORT,
            mac: MAC,
            hz: self.hz,
        }
    }

    /// Gives every lane a station for each mode. What comes back must live as long as the stations.
    fn add_stations<I: PacketIo>(
        &self,
        buckets: u32,
        port: PortId,
        mac: MacAddress,
        lanes: &mut [Lane<I>],
    ) -> Result<Vec<Option<Appliance<I>>>, String> {
        let mut appliances = Vec::new();
        for mode in &self.modes {
            if !mode.has_graph() {
                for lane in &mut *lanes {
                    let interface = Appliance::<I>::interface();
                    let plain = Plain::new(port, QueueId(0), interface, *mode == Mode::Macswap);
                    lane.stations.push(Station::Plain(Box::new(plain)));
                }
                appliances.push(None);
                continue;
            }
            let (workers, setup) = (lanes.len(), self.setup(*mode));
            let setup = Setup { buckets, workers, port, mac, ..setup };
            let mut appliance = match mode {
                Mode::Configured => Appliance::configured(&setup, &self.commands)?,
                _ => Appliance::new(&setup)?,
            };
            if self.churn.iter().any(|rate| *rate > 0) {
                // As in the daemon. The thread has the CPUs of this one.
                let tables = TableThread::start(|| ()).map_err(|error| error.to_string())?;
                appliance.control.build_tables_with(Box::new(tables));
            }
            for (lane, worker) in lanes.iter_mut().zip(appliance.workers.drain(..)) {
                lane.stations.push(Station::Graph(Box::new(worker)));
            }
            appliances.push(Some(appliance));
        }
        Ok(appliances)
    }

    /// Sets up the flows of every mode that has any, and sees that packets go where they should.
    fn prepare(&self, lane: &mut Lane<MemoryPort>) -> Result<(), String> {
        if !self.expects_all() {
            let recorded = self.recording.as_ref().map_or(0, |all| all.frames().len() as u64);
            let round = recorded.max(lane.flows.end - lane.flows.start).max(OBSERVED);
            (0..self.modes.len()).for_each(|mode| lane.pass(mode, round * 2));
            return Ok(());
        }
        let answers = self.modes.iter().position(|mode| mode.direction() == Direction::Return);
        if let Some(index) = answers {
            // Clients have to send before ASs can answer.
            let observer = self.set_up_flows(lane, index, Expect::ToServer(Way::Nat))?;
            let servers = observer.servers().ok_or("not every flow reached an AS")?;
            let flows = lane.flows.clone();
            let traffic = Traffic::answers(&self.spec, flows, servers, MAC, self.hz);
            lane.port.as_mut().ok_or("no port")?.traffic = traffic;
        }
        for (index, mode) in self.modes.iter().enumerate() {
            if matches!(mode.expect(), Expect::ToServer(_)) {
                self.set_up_flows(lane, index, mode.expect())?;
            } else {
                let observer =
                    Observer::new(mode.expect(), lane.flows.clone(), self.service.servers);
                lane.observe(index, observer, OBSERVED)?;
            }
        }
        Ok(())
    }

    /// One round of first packets, then one of others, which are looked at.
    fn set_up_flows(
        &self,
        lane: &mut Lane<MemoryPort>,
        index: usize,
        expect: Expect,
    ) -> Result<Observer, String> {
        let flows = lane.flows.clone();
        let round = (flows.end - flows.start).max(OBSERVED);
        let observer = || Observer::new(expect, flows.clone(), self.service.servers);
        lane.set_opening(true);
        lane.observe(index, observer(), round)?;
        lane.set_opening(false);
        lane.observe(index, observer(), round)
    }

    /// Sees that packets still go where they should.
    fn check_all(&self, lane: &mut Lane<MemoryPort>) -> Result<(), String> {
        if !self.expects_all() {
            return Ok(());
        }
        for (index, mode) in self.modes.iter().enumerate() {
            // Flows may be others by now: none is followed.
            lane.observe(
                index,
                Observer::new(mode.expect(), 0..0, self.service.servers),
                OBSERVED,
            )?;
        }
        Ok(())
    }
}

/// One measurement of a round.
#[derive(Debug)]
struct Turn {
    /// Which mode.
    index: usize,
    churn: Churn,
    outcome: ModeOutcome,
}

fn new_outcome(mode: Mode, churn: u32, workers: usize) -> ModeOutcome {
    let names = || graph_nodes::builder().info().map(|info| info.nodes).unwrap_or_default();
    let node_names = if mode.has_graph() { names() } else { Vec::new() };
    let (slices, changes) = (Vec::new(), Changes::default());
    let (received, lost, stolen_ms) = (0, 0, 0);
    ModeOutcome {
        mode,
        churn,
        workers,
        changes,
        received,
        lost,
        stolen_ms,
        latencies: Vec::new(),
        slices,
        node_names,
    }
}

/// Packets that the graphs of a mode received and sent so far.
fn graph_counts<I: PacketIo>(lanes: &[Lane<I>], index: usize) -> (u64, u64) {
    let shared = lanes.iter().filter_map(|lane| lane.stations[index].shared());
    let interface = Appliance::<I>::interface().index();
    let counts = shared.map(|shared| &shared.interfaces[interface]);
    counts.fold((0, 0), |(received, sent), counts| {
        (received + counts.rx_packets.get(), sent + counts.tx_packets.get())
    })
}

fn passed(lanes: &[Lane<MemoryPort>]) -> Passed {
    let ports = lanes.iter().filter_map(|lane| lane.port.as_ref());
    ports.map(MemoryPort::passed).fold(Passed::default(), |all, one| Passed {
        received: all.received + one.received,
        sent: all.sent + one.sent,
        freed: all.freed + one.freed,
        made: all.made + one.made,
    })
}

/// What the counters of a worker say has passed.
fn counted(mode: Mode, shared: &WorkerShared) -> Result<Passed, String> {
    let interface = &shared.interfaces[Appliance::<MemoryPort>::interface().index()];
    let (received, sent) = (interface.rx_packets.get(), interface.tx_packets.get());
    let freed = interface.drops.get() + interface.tx_errors.get();
    let passed = Passed { received, sent, freed, made: 0 };
    conserved(passed).map_err(|error| format!("{}: {error}", mode.name()))?;
    let balanced: u64 = match mode.direction() {
        Direction::Forward => shared.servers.iter().map(|server| server.packets.get()).sum(),
        Direction::Return => shared.servers.iter().map(|server| server.reply_packets.get()).sum(),
    };
    if mode.encap().is_some() && balanced != received {
        return Err(format!("{}: {balanced} of {received} packets were balanced", mode.name()));
    }
    Ok(passed)
}
