//! `sluice-bench pair`.

use serde::Serialize;

use crate::arguments::PairArguments;
use crate::host::Host;
use crate::ports::forward_report::ForwardReport;
use crate::ports::generator_report::GeneratorReport;
use crate::ports::pair::Pair;
use crate::ports::stop_signal::StopSignal;

/// What every report over software links says.
pub(crate) const LABEL: &str = "software source and sink";

/// A report as JSON has it.
#[derive(Debug, Serialize)]
struct PairReport<'a> {
    host: Host,
    command: Vec<String>,
    link: &'a str,
    mode: &'a str,
    label: &'a str,
    /// Why the figures are worthless, if they are.
    invalid: Option<String>,
    device_under_test: &'a ForwardReport,
    generator: &'a GeneratorReport,
}

/// Starts both processes and prints one report.
///
/// # Errors
///
/// What either side says.
pub fn pair(arguments: &PairArguments) -> Result<(), String> {
    let stop = StopSignal::catch();
    let PairArguments { link, device, traffic, .. } = arguments;
    let mode = device.forward_mode()?.name();
    let host = Host::here();
    println!("{}", host.summary());
    let mut pair = Pair::start(*link, device, traffic, &arguments.cpu, stop)?;
    let rate = arguments.rate.map(|mpps| (mpps * 1e6).round() as u64);
    let loaded = pair.load(rate, arguments.seconds)?;
    drop(pair);
    println!(
        "\n{mode} over {}, {} flows, {} bytes, {}; {LABEL}\n",
        link.name(),
        traffic.flows,
        traffic.size,
        traffic.protocol.name()
    );
    print!("generator:\n{}\n", loaded.generated.summary());
    print!("device under test:\n{}", loaded.forwarded.summary());
    if arguments.nodes {
        print!("{}", loaded.forwarded.node_lines());
    }
    let invalid = loaded.disturbance();
    match &invalid {
        Some(why) => println!("\nINVALID: {why}. Rates and losses are those of a busy machine."),
        None => println!("\nvalid: both sides had their CPU to themselves"),
    }
    let Some(path) = &arguments.json else { return Ok(()) };
    let report = PairReport {
        host,
        command: std::env::args().collect(),
        link: link.name(),
        mode,
        label: LABEL,
        invalid,
        device_under_test: &loaded.forwarded,
        generator: &loaded.generated,
    };
    crate::ports::write_json(path, &report)
}
