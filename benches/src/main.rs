//! `sluice-bench`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::arguments::{
    Action, Arguments, CompareArguments, Group, Harness, LimitsArguments, RunArguments,
};
use benches::calibration::{Calibration, measure_cycles_per_clock, measure_tsc_hz};
use benches::cores::Cores;
use benches::experiment::{Experiment, Outcome};
use benches::family::Family;
use benches::flow::Renewal;
use benches::frame_template::Direction;
use benches::host::Host;
use benches::limits::{self, Limit};
use benches::mode::Mode;
use benches::pcap_harness::{self, PcapHarness};
use benches::ports::{device_command, generate_command, ndr_command, pair_command};
use benches::report::{Case, CaseResult, Report, SCHEMA, results};
use benches::{compare, table};
use clap::Parser;

/// How long the TSC is compared with the system's clock.
const TSC_PAUSE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    if let Err(reason) = dataplane::dpdk::cpu::check() {
        eprintln!("{reason}");
        return ExitCode::FAILURE;
    }
    let done = match Arguments::parse().action {
        Action::Run(arguments) if !arguments.dev.is_empty() => {
            device_command::forward(&arguments).map(|()| true)
        }
        Action::Generate(arguments) => generate_command::generate(&arguments).map(|()| true),
        Action::Pair(arguments) => pair_command::pair(&arguments).map(|()| true),
        Action::Ndr(arguments) => ndr_command::search(&arguments).map(|()| true),
        Action::Run(arguments) => run(&arguments).map(|()| true),
        Action::Compare(arguments) => compare_reports(&arguments),
        Action::Limits(arguments) => measure_limits(&arguments).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("sluice-bench: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &RunArguments) -> Result<(), String> {
    let groups = arguments.groups()?;
    let cores = Cores::choose(&arguments.cpu, arguments.most_workers())?;
    let tsc_hz = measure_tsc_hz(TSC_PAUSE);
    let mut report = Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args().collect(),
        host: Host::here(),
        tsc_hz,
        results: Vec::new(),
    };
    let mut harness = match arguments.harness {
        Harness::Memory => None,
        Harness::Pcap => Some(Replay::start(&groups, arguments, cores.cpus())?),
    };
    print!("{}", table::heading(&report));
    if !arguments.churn.is_empty() && !cores.step_aside() {
        println!("note: workers have all CPUs, and control takes them off");
    }
    for group in &groups {
        let experiment = experiment(group, arguments, tsc_hz);
        let outcome = match &mut harness {
            None => experiment.run(&cores)?,
            Some(replay) => replay.run(&experiment)?,
        };
        let measured = results_of(group, arguments, &outcome, tsc_hz);
        for result in &measured {
            print!("{}", table::line(result));
            let gaps = arguments.gaps || !arguments.churn.is_empty();
            print!("{}", table::details(result, gaps));
            if arguments.nodes {
                print!("{}", table::nodes(result));
            }
        }
        report.results.extend(measured);
    }
    print!("\n{}", table::LEGEND);
    match &arguments.json {
        Some(path) => write_json(path, &report),
        None => Ok(()),
    }
}

fn experiment(group: &Group, arguments: &RunArguments, tsc_hz: f64) -> Experiment {
    Experiment {
        spec: group.spec,
        modes: group.modes.clone(),
        service: group.service,
        buckets: arguments.buckets,
        burst: usize::from(arguments.burst),
        repeats: usize::from(arguments.repeats),
        slice: (tsc_hz * f64::from(arguments.millis) / 1000.0) as u64,
        hz: tsc_hz as u64,
        churn: arguments.churn_rates(),
        workers: arguments.workers.iter().copied().map(usize::from).collect(),
    }
}

fn results_of(
    group: &Group,
    arguments: &RunArguments,
    outcome: &Outcome,
    tsc_hz: f64,
) -> Vec<CaseResult> {
    let spec = &group.spec;
    let harness = match arguments.harness {
        Harness::Memory => "memory",
        Harness::Pcap => "pcap",
    };
    let case = Case {
        harness: harness.to_owned(),
        mode: Mode::Io,
        direction: match group.direction {
            Direction::Forward => "forward".to_owned(),
            Direction::Return => "return".to_owned(),
        },
        family: spec.family,
        vip_ports: group.service.ports,
        flows: spec.flows,
        size: spec.size_name(),
        protocol: spec.protocol.name().to_owned(),
        new_flows: match spec.renewal {
            Renewal::PerSecond(rate) => rate.to_string(),
            Renewal::EveryPacket => "all".to_owned(),
        },
        workers: 1,
        burst: usize::from(arguments.burst),
        servers: arguments.servers,
        vips: arguments.vips,
        vip_length: arguments.vip_length,
        churn: 0,
        buckets: outcome.buckets,
    };
    results(outcome, &case, spec.mean_len(), tsc_hz)
}

/// A folder that goes with its owner. The driver opens a file again when its port is opened.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // There is none when the files are kept elsewhere.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The files that are replayed, and the ports that do it.
struct Replay {
    harness: PcapHarness,
    _temporary: Temporary,
    /// By file: its packets.
    packets: Vec<u64>,
    next: usize,
}

impl Replay {
    fn start(groups: &[Group], arguments: &RunArguments, cpus: &[usize]) -> Result<Self, String> {
        let temporary = std::env::temp_dir().join(format!("sluice-bench-{}", std::process::id()));
        let folder = arguments.pcaps.clone().unwrap_or_else(|| temporary.clone());
        let temporary = Temporary(temporary);
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut files = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            let Group { direction, spec, .. } = group;
            let way = if *direction == Direction::Forward { "in" } else { "out" };
            let family = if spec.family == Family::Ip4 { "" } else { "6" };
            let (protocol, size) = (spec.protocol.name(), spec.size_name());
            let name = format!("{protocol}{family}_{way}_{size}_{}.pcap", spec.flows);
            let file = folder.join(name);
            pcap_harness::write_file(&file, spec, *direction, arguments.servers, index)?;
            files.push(file);
        }
        let packets: Vec<_> = groups.iter().map(|g| pcap_harness::packets_of(&g.spec)).collect();
        let longest = packets.iter().copied().max().unwrap_or(0);
        let cpu = cpus.first().copied().unwrap_or(0);
        let harness = PcapHarness::start(&files, longest, cpu)?;
        Ok(Self { harness, _temporary: temporary, packets, next: 0 })
    }

    /// Runs an experiment on the next file.
    fn run(&mut self, experiment: &Experiment) -> Result<Outcome, String> {
        let index = self.next;
        self.next += 1;
        let (port, io) = self.harness.open(index)?;
        let packets = self.packets.get(index).copied().unwrap_or(0);
        experiment.run_on_port(io, port.id(), pcap_harness::mac_of(index), packets)
    }
}

fn compare_reports(arguments: &CompareArguments) -> Result<bool, String> {
    let before = read_report(&arguments.before)?;
    let after = read_report(&arguments.after)?;
    let comparison = compare::compare(&before, &after)?;
    print!("{}", comparison.text(arguments.threshold));
    if comparison.changes.is_empty() {
        return Err("the reports have no case in common".to_owned());
    }
    Ok(comparison.worse(arguments.threshold).is_empty())
}

fn measure_limits(arguments: &LimitsArguments) -> Result<(), String> {
    let cores = Cores::choose(&arguments.cpu.into_iter().collect::<Vec<_>>(), 1)?;
    let tsc_hz = measure_tsc_hz(TSC_PAUSE);
    println!("{}\nTSC {:.3} GHz", Host::here().summary(), tsc_hz / 1e9);
    let measured = cores.run(&mut [()], |()| {
        let calibration = Calibration { tsc_hz, cycles_per_clock: measure_cycles_per_clock() };
        println!("{:.3} core cycles per TSC clock\n", calibration.cycles_per_clock);
        let mut all = limits::arithmetic(&calibration);
        print!("{}", limits::text(&all));
        for size in &arguments.tables {
            let reads = limits::random_reads(&[*size], &calibration);
            print!("{}", limits::text(&reads));
            all.extend(reads);
        }
        all
    });
    let mut all: Vec<Limit> = measured.into_iter().flatten().collect();
    let forwarding = io_limit(&cores, tsc_hz)?;
    print!("{}", limits::text(std::slice::from_ref(&forwarding)));
    all.push(forwarding);
    match &arguments.json {
        Some(path) => write_json(path, &all),
        None => Ok(()),
    }
}

/// What it costs to receive and send a packet of 64 bytes, source and sink included.
fn io_limit(cores: &Cores, tsc_hz: f64) -> Result<Limit, String> {
    let words = ["sluice-bench", "run", "--mode", "io", "--flows", "1000"];
    let Action::Run(arguments) = Arguments::parse_from(words).action else {
        return Err("internal error: run was asked for".to_owned());
    };
    let group = arguments.groups()?.remove(0);
    let outcome = experiment(&group, &arguments, tsc_hz).run(cores)?;
    let results = results_of(&group, &arguments, &outcome, tsc_hz);
    let io = results.first().ok_or("nothing was measured")?;
    let name = "io forwarding of a 64-byte packet, source and sink included".to_owned();
    Ok(Limit { name, cycles: io.cycles.median, ns: io.ns.median })
}

fn read_report(path: &Path) -> Result<Report, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(&error))?;
    std::fs::write(path, text + "\n").map_err(|error| failed(&error))
}
