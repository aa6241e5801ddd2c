//! `sluice-bench`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use benches::arguments::{
    Action, Arguments, CompareArguments, Group, LimitsArguments, RunArguments,
};
use benches::calibration::{Calibration, measure_cycles_per_clock, measure_tsc_hz};
use benches::cores::Cores;
use benches::experiment::Experiment;
use benches::flow::Renewal;
use benches::host::Host;
use benches::limits::{self, Limit};
use benches::mode::Mode;
use benches::report::{Case, Report, SCHEMA, results};
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
    let cores = Cores::choose(&arguments.cpu, usize::from(arguments.workers))?;
    let tsc_hz = measure_tsc_hz(TSC_PAUSE);
    let mut report = Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args().collect(),
        host: Host::here(),
        tsc_hz,
        results: Vec::new(),
    };
    print!("{}", table::heading(&report));
    for group in groups {
        let measured = measure_group(&group, arguments, &cores, tsc_hz)?;
        for result in &measured {
            print!("{}", table::line(result));
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

fn measure_group(
    group: &Group,
    arguments: &RunArguments,
    cores: &Cores,
    tsc_hz: f64,
) -> Result<Vec<benches::report::CaseResult>, String> {
    let Group { spec, modes } = group;
    let outcome = Experiment {
        spec: *spec,
        modes: modes.clone(),
        servers: arguments.servers,
        buckets: arguments.buckets,
        burst: usize::from(arguments.burst),
        repeats: usize::from(arguments.repeats),
        slice: (tsc_hz * f64::from(arguments.millis) / 1000.0) as u64,
        hz: tsc_hz as u64,
    }
    .run(cores)?;
    let case = Case {
        harness: "memory".to_owned(),
        mode: Mode::Io,
        flows: spec.flows,
        size: spec.size.to_string(),
        protocol: spec.protocol.name().to_owned(),
        new_flows: match spec.renewal {
            Renewal::PerSecond(rate) => rate.to_string(),
            Renewal::EveryPacket => "all".to_owned(),
        },
        workers: usize::from(arguments.workers),
        burst: usize::from(arguments.burst),
        servers: arguments.servers,
        buckets: outcome.buckets,
    };
    Ok(results(&outcome, &case, spec.size.mean(), tsc_hz))
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
    let results = measure_group(&group, &arguments, cores, tsc_hz)?;
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
