//! [`Forwarder`]: the device under test on DPDK's ports; packets come from outside.

use dataplane::clock::read_tsc;
use dataplane::dpdk::io::DpdkIo;
use dataplane::dpdk::port::Port;
use dataplane::interface::{MacAddress, QueueId};

use crate::appliance::{Appliance, Setup};
use crate::calibration::measure_cycles_per_clock;
use crate::disturbance::Disturbance;
use crate::family::Family;
use crate::memory_port::Passed;
use crate::mode::Mode;
use crate::ports::counted_io::CountedIo;
use crate::ports::device::Device;
use crate::ports::eal_ports::{EalPorts, MBUFS};
use crate::ports::forward_report::ForwardReport;
use crate::ports::port_counts::PortCounts;
use crate::ports::scheduling::Scheduling;
use crate::service::Service;
use crate::slice::{NodeWork, Slice, run_turns, work_of};
use crate::station::{Plain, Station, Way};
use crate::traffic::Protocol;

type Io = CountedIo<DpdkIo>;

/// How to forward.
#[derive(Clone, Debug)]
pub struct ForwardSpec {
    /// One port, or two: that of the clients and that of the ASs. Without a graph, packets go from
    /// each to the other.
    pub devices: Vec<Device>,
    /// What happens to packets.
    pub mode: Mode,
    /// Protocol of the VIP.
    pub protocol: Protocol,
    /// Family of clients and VIP.
    pub family: Family,
    /// VIPs and ASs.
    pub service: Service,
    /// Sticky buckets.
    pub buckets: u32,
    /// The CPU that forwards.
    pub cpu: usize,
    /// TSC clocks per second.
    pub tsc_hz: f64,
}

/// Counters at some time.
#[derive(Clone, Debug, Default)]
struct Marks {
    tsc: u64,
    passed: Passed,
    refused: u64,
    ports: PortCounts,
    reasons: Vec<u64>,
    scheduling: Scheduling,
}

/// Forwards on the thread that made it.
#[derive(Debug)]
pub struct Forwarder {
    // Dropped in this order: queues before ports, and those before EAL.
    station: Station<Io>,
    _appliance: Option<Appliance<Io>>,
    ports: Vec<Port>,
    /// EAL.
    pub eal: EalPorts,
    tsc_hz: f64,
    cycles_per_clock: f64,
    disturbance: Disturbance,
    nodes_before: Vec<NodeWork>,
    first: Marks,
    whole: Slice,
    last: Marks,
    period: Slice,
}

impl Forwarder {
    /// Starts EAL and opens the ports.
    ///
    /// # Errors
    ///
    /// What EAL, a driver or a command says.
    pub fn start(spec: &ForwardSpec) -> Result<Self, String> {
        if spec.devices.len() > 2 {
            return Err(format!(
                "{} ports are given, and there can be two: one of clients, one of ASs",
                spec.devices.len()
            ));
        }
        let eal = EalPorts::start(&spec.devices, MBUFS, spec.cpu)?;
        let (ports, io) = eal.open(&spec.devices)?;
        let (mut station, appliance) = station(spec, &ports)?;
        station.put(CountedIo::new(io));
        let mut new = Self {
            station,
            _appliance: appliance,
            ports,
            eal,
            tsc_hz: spec.tsc_hz,
            cycles_per_clock: measure_cycles_per_clock(),
            disturbance: Disturbance::of_this_thread(),
            nodes_before: Vec::new(),
            first: Marks::default(),
            whole: Slice::default(),
            last: Marks::default(),
            period: Slice::default(),
        };
        new.nodes_before = work_of(&new.station);
        new.first = new.marks();
        new.last = new.first.clone();
        Ok(new)
    }

    /// Ethernet addresses of the ports.
    pub fn addresses(&self) -> Vec<MacAddress> {
        self.ports.iter().map(|port| port.info().mac).collect()
    }

    /// Forwards for about a millisecond.
    pub fn run_chunk(&mut self) {
        let chunk = run_turns(&mut self.station, (self.tsc_hz / 1000.0) as u64, |_| ());
        let nodes = work_of(&self.station);
        if self.disturbance.happened() {
            self.period.disturbed += 1;
        } else {
            self.period = std::mem::take(&mut self.period).plus(&chunk);
            self.period.add_nodes(&nodes, &self.nodes_before);
        }
        self.nodes_before = nodes;
    }

    /// Seconds since the last report.
    pub fn elapsed(&self) -> f64 {
        read_tsc().wrapping_sub(self.last.tsc) as f64 / self.tsc_hz
    }

    /// What happened since the last report.
    pub fn report(&mut self) -> ForwardReport {
        let (now, period) = (self.marks(), std::mem::take(&mut self.period));
        let report = self.between(&self.last, &now, &period);
        self.whole = std::mem::take(&mut self.whole).plus(&period);
        self.last = now;
        report
    }

    /// What happened since the start.
    pub fn whole_report(&mut self) -> ForwardReport {
        self.report();
        self.between(&self.first, &self.last, &self.whole)
    }

    fn marks(&mut self) -> Marks {
        let (passed, refused) =
            self.station.port().map(|io| (io.passed(), io.refused())).unwrap_or_default();
        let reasons = self.station.shared().map(|shared| {
            shared.counters.iter().map(dataplane::sync::counter::Counter::get).collect()
        });
        Marks {
            tsc: read_tsc(),
            passed,
            refused,
            ports: PortCounts::read(&self.ports),
            reasons: reasons.unwrap_or_default(),
            scheduling: Scheduling::of_this_thread(),
        }
    }

    fn between(&self, before: &Marks, now: &Marks, slice: &Slice) -> ForwardReport {
        let seconds = now.tsc.wrapping_sub(before.tsc) as f64 / self.tsc_hz;
        let clocks = slice.clocks_per_packet();
        let names = graph_nodes::builder().info().unwrap_or_default();
        let reason = |(at, now): (usize, &u64)| {
            let counter = names.counters.get(at)?;
            let count = now - before.reasons.get(at).unwrap_or(&0);
            let node = names.nodes.get(usize::from(counter.node))?;
            let grave = counter.severity == dataplane::node::Severity::Error;
            (count > 0 && grave).then(|| (format!("{node}: {}", counter.text), count))
        };
        let mut report = ForwardReport {
            seconds,
            ports: now.ports.since(before.ports),
            reasons: now.reasons.iter().enumerate().filter_map(reason).collect(),
            clocks,
            cycles: clocks * self.cycles_per_clock,
            vectors_per_call: slice.packets as f64 / slice.bursts.max(1) as f64,
            disturbed: slice.disturbed as f64 / (slice.disturbed + slice.chunks).max(1) as f64,
            cycles_per_clock: self.cycles_per_clock,
            nodes: crate::report::nodes(slice, &names.nodes),
            scheduling: now.scheduling.since(before.scheduling, seconds),
            ..ForwardReport::default()
        };
        report.set_passed(now.passed.since(before.passed), now.refused - before.refused);
        report
    }
}

/// What packets go through.
fn station(
    spec: &ForwardSpec,
    ports: &[Port],
) -> Result<(Station<Io>, Option<Appliance<Io>>), String> {
    let first = ports.first().ok_or("there is no port")?;
    if !spec.mode.has_graph() {
        let id = |at: usize| ports.get(at).map_or(first.id(), Port::id);
        let way = |(at, from): (usize, &Port)| Way { from: from.id(), to: id(at ^ 1) };
        let ways: Vec<Way> = match ports {
            [only] => vec![Way { from: only.id(), to: only.id() }],
            several => several.iter().enumerate().map(way).collect(),
        };
        let interface = Appliance::<Io>::interface();
        let swap = spec.mode == Mode::Macswap;
        return Ok((
            Station::Plain(Box::new(Plain::between(ways, QueueId(0), interface, swap))),
            None,
        ));
    }
    // The port of the ASs.
    let last = ports.last().unwrap_or(first);
    let setup = Setup {
        mode: spec.mode,
        protocol: spec.protocol,
        family: spec.family,
        service: spec.service,
        buckets: spec.buckets,
        workers: 1,
        port: last.id(),
        mac: last.info().mac,
        hz: spec.tsc_hz as u64,
    };
    let mut appliance = match ports {
        [_] => Appliance::new(&setup)?,
        _ => Appliance::between(&setup, (first.id(), first.info().mac))?,
    };
    let worker = appliance.workers.pop().ok_or("internal error: no worker")?;
    Ok((Station::Graph(Box::new(worker)), Some(appliance)))
}
