//! `sluice-bench`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::arguments::{
    Action, Arguments, CompareArguments, ControlArguments, Group, Harness, LimitsArguments,
    RunArguments,
};
use benches::calibration::{Calibration, measure_cycles_per_clock, measure_tsc_hz};
use benches::control_figures::{self, ControlFigure, ControlSpec};
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
use benches::recording::Recording;
use benches::report::{Case, CaseResult, Report, SCHEMA, results};
use benches::statistics::Range;
use benches::{compare, floor, table};
use clap::Parser;

/// Memory of a sticky bucket: a cache line.
const BUCKET_BYTES: usize = 64;
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
        Action::Control(arguments) => measure_control(&arguments).map(|()| true),
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
    let mut groups = arguments.groups()?;
    let commands = arguments.config.as_deref().map_or(Ok(Vec::new()), read_commands)?;
    let read = |path: &PathBuf| Recording::read(path, pcap_harness::mac_of(0));
    let recording = arguments.pcap.as_ref().map(read).transpose()?;
    if let Some(recording) = &recording {
        groups.iter_mut().for_each(|group| group.spec.flows = recording.flows().max(1));
    }
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
        Harness::Pcap => Some(Replay::start(&groups, recording.as_ref(), arguments, cores.cpus())?),
    };
    print!("{}", table::heading(&report));
    if !arguments.churn.is_empty() && !cores.step_aside() {
        println!("note: workers have all CPUs, and control takes them off");
    }
    for group in &groups {
        let mut experiment = experiment(group, arguments, tsc_hz);
        experiment.recording = recording.clone();
        experiment.commands.clone_from(&commands);
        let outcome = match &mut harness {
            None => experiment.run(&cores)?,
            Some(replay) => replay.run(&experiment)?,
        };
        let mean_len = recording.as_ref().map_or(group.spec.mean_len(), Recording::mean_len);
        let measured = results_of(group, arguments, &outcome, mean_len, tsc_hz);
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
        changes: arguments.changes,
        workers: arguments.workers.iter().copied().map(usize::from).collect(),
        loads: arguments.latency.clone(),
        recording: None,
        commands: Vec::new(),
    }
}

fn results_of(
    group: &Group,
    arguments: &RunArguments,
    outcome: &Outcome,
    mean_len: f64,
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
        recording: arguments.pcap.as_deref().map(file_name),
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
    results(outcome, &case, mean_len, tsc_hz)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The commands of a file: its lines but for empty ones and those that begin with # (as `exec` has it).
fn read_commands(path: &Path) -> Result<Vec<String>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
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
    fn start(
        groups: &[Group],
        recording: Option<&Recording>,
        arguments: &RunArguments,
        cpus: &[usize],
    ) -> Result<Self, String> {
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
            match recording {
                Some(recording) => pcap_harness::write_recording(&file, recording)?,
                None => {
                    pcap_harness::write_file(&file, spec, *direction, arguments.servers, index)?;
                }
            }
            files.push(file);
        }
        let packets_of = |group: &Group| match recording {
            Some(recording) => recording.frames().len() as u64,
            None => pcap_harness::packets_of(&group.spec),
        };
        let packets: Vec<_> = groups.iter().map(packets_of).collect();
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
    all.extend(multiples(arguments, &cores, tsc_hz)?);
    match &arguments.json {
        Some(path) => write_json(path, &all),
        None => Ok(()),
    }
}

/// What balancing costs beside the least that it can cost, measured in turns.
fn multiples(
    arguments: &LimitsArguments,
    cores: &Cores,
    tsc_hz: f64,
) -> Result<Vec<Limit>, String> {
    let LimitsArguments { encap, flows, repeats, millis, .. } = arguments;
    let flag = |name: &str, value: String| format!("--{name}={value}");
    let list = |flows: &[u64]| flows.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let words = [
        "sluice-bench".to_owned(),
        "run".to_owned(),
        flag("flows", list(flows)),
        flag("repeats", repeats.to_string()),
        flag("millis", millis.to_string()),
    ];
    let Action::Run(mut run) = Arguments::parse_from(words).action else {
        return Err("internal error: run was asked for".to_owned());
    };
    run.encap.clone_from(encap);
    let mut all = Vec::new();
    println!("\nwhat balancing costs beyond io, in multiples of its floor");
    for group in run.groups()? {
        let outcome = experiment(&group, &run, tsc_hz).run(cores)?;
        let ratio = Range::of(outcome.cycles_per_clock.iter().copied()).median;
        let calibration = Calibration { tsc_hz, cycles_per_clock: ratio };
        let bytes = outcome.buckets as usize * BUCKET_BYTES;
        let flows = group.spec.flows;
        let measured = cores.run(&mut [()], |()| floor::floor(bytes, flows, &calibration));
        for result in results_of(&group, &run, &outcome, group.spec.mean_len(), tsc_hz) {
            let cycles = result.work_cycles.unwrap_or(result.cycles).median;
            let name = match result.work_cycles {
                Some(_) => format!("work of {}", result.case),
                None => format!("{}, source and sink included", result.case),
            };
            let own = Limit { name, cycles, ns: cycles / ratio * 1e9 / tsc_hz };
            print!("{}", limits::text(std::slice::from_ref(&own)));
            if let (Some(least), true) = (measured.first(), result.work_cycles.is_some()) {
                let times = cycles / least.cycles;
                println!("    = {times:.1} × floor of {:.1} cycles", least.cycles);
            }
            all.push(own);
        }
        all.extend(measured);
    }
    Ok(all)
}

fn measure_control(arguments: &ControlArguments) -> Result<(), String> {
    let tsc_hz = measure_tsc_hz(TSC_PAUSE);
    println!("{}\n", Host::here().summary());
    let spec = ControlSpec {
        slots: arguments.slots,
        members: arguments.members,
        vips: arguments.vips,
        servers: arguments.servers,
        buckets: arguments.buckets,
        repeats: usize::from(arguments.repeats),
        hz: tsc_hz as u64,
    };
    let mut all = Vec::new();
    let mut say = |figures: Vec<ControlFigure>| {
        print!("{}", control_figures::text(&figures));
        all.extend(figures);
    };
    say(vec![control_figures::maglev(&spec)?]);
    say(vec![control_figures::start(&spec)?]);
    say(control_figures::sticky(&spec)?);
    say(control_figures::loading(&spec)?);
    match &arguments.json {
        Some(path) => write_json(path, &all),
        None => Ok(()),
    }
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
