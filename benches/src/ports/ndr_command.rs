//! `sluice-bench ndr`: non-drop rate and partial drop rates.

use serde::Serialize;

use crate::arguments::{NdrArguments, buckets_for};
use crate::calibration::measure_tsc_hz;
use crate::cores::Cores;
use crate::histogram::Latency;
use crate::host::Host;
use crate::ports::TSC_PAUSE;
use crate::ports::memory_subject::{MemorySpec, MemorySubject};
use crate::ports::pair::{Loaded, Pair};
use crate::ports::pair_command::LABEL;
use crate::ports::search::{Found, Search, Subject, TrialOutcome};
use crate::ports::stop_signal::StopSignal;
use crate::report::WIRE_OVERHEAD;

/// The search begins so much above what is taken when there are always packets.
const ABOVE_CAPACITY: f64 = 1.2;
/// And goes down to this share of it.
const LEAST_SHARE: f64 = 0.001;
/// Share of a rate that was found at which latencies are measured.
const LATENCY_SHARE: f64 = 0.9;

/// A report as JSON has it.
#[derive(Debug, Serialize)]
struct NdrReport<'a> {
    host: Host,
    command: Vec<String>,
    label: &'a str,
    mode: &'a str,
    /// Packets per second when there are always some.
    capacity: f64,
    found: &'a [Found],
    /// Over a link.
    latencies: Vec<LatencyAt>,
    trials: &'a [TrialOutcome],
}

/// How long packets took at a rate.
#[derive(Clone, Copy, Debug, Serialize)]
struct LatencyAt {
    /// Packets per second.
    rate: f64,
    latency: Latency,
}

/// Searches and prints what was found.
///
/// # Errors
///
/// What a trial could not do.
pub fn search(arguments: &NdrArguments) -> Result<(), String> {
    let stop = StopSignal::catch();
    let host = Host::here();
    println!("{}", host.summary());
    let mut latencies = Vec::new();
    let (capacity, found, trials) = match arguments.link.kind() {
        None => in_memory(arguments, stop)?,
        Some(kind) => {
            let NdrArguments { device, traffic, cpu, .. } = arguments;
            let mut pair = Pair::start(kind, device, traffic, cpu, stop)?;
            let Loaded { generated, .. } = pair.load(None, arguments.trial_seconds)?;
            let capacity = generated.mpps(generated.received) * 1e6;
            // Overloaded, a side may forward less than it can: the link takes more.
            let most = generated.mpps(generated.sent) * 1e6;
            let mut subject = Interruptible(pair, stop);
            let (found, trials) = run(arguments, &mut subject, capacity, most)?;
            latencies = measure_latencies(&mut subject.0, &found, arguments.trial_seconds)?;
            (capacity, found, trials)
        }
    };
    let mode = arguments.device.forward_mode()?.name();
    let mean_len = arguments.traffic.spec(arguments.device.client_family()?).mean_len();
    print!("{}", text(&found, mean_len, capacity));
    for LatencyAt { rate, latency } in &latencies {
        println!("latency at {:.3} Mpps: {latency}", rate / 1e6);
    }
    let Some(path) = &arguments.json else { return Ok(()) };
    let command = std::env::args().collect();
    let (found, trials) = (&found[..], &trials[..]);
    let label = LABEL;
    let report = NdrReport { host, command, label, mode, capacity, found, latencies, trials };
    crate::ports::write_json(path, &report)
}

type Outcome = (f64, Vec<Found>, Vec<TrialOutcome>);

fn in_memory(arguments: &NdrArguments, stop: StopSignal) -> Result<Outcome, String> {
    let NdrArguments { device, traffic, .. } = arguments;
    let spec = MemorySpec {
        traffic: traffic.spec(device.client_family()?),
        mode: device.forward_mode()?,
        service: device.service(),
        buckets: device.buckets.unwrap_or_else(|| buckets_for(traffic.flows)),
        queue: arguments.queue,
        tsc_hz: measure_tsc_hz(TSC_PAUSE),
    };
    let cores = Cores::choose(&arguments.cpu, 1)?;
    let outcome = cores.run(&mut [()], |()| {
        let mut subject = MemorySubject::new(&spec)?;
        let capacity = subject.capacity(arguments.trial_seconds)?;
        let mut subject = Interruptible(subject, stop);
        let (found, trials) = run(arguments, &mut subject, capacity, capacity)?;
        println!("{:.0}% of the time thrown away", subject.0.disturbed() * 100.0);
        Ok((capacity, found, trials))
    });
    outcome.into_iter().next().unwrap_or_else(|| Err("internal error: nothing ran".to_owned()))
}

/// At some less than each rate that was found, as at the rate itself queues are full.
fn measure_latencies(
    pair: &mut Pair,
    found: &[Found],
    seconds: f64,
) -> Result<Vec<LatencyAt>, String> {
    let mut latencies = Vec::new();
    for rate in found.iter().filter_map(|found| found.rate) {
        let rate = rate * LATENCY_SHARE;
        let loaded = pair.load(Some(rate.round() as u64), seconds)?;
        latencies.extend(loaded.generated.latency.map(|latency| LatencyAt { rate, latency }));
    }
    Ok(latencies)
}

/// A subject whose search somebody may end.
struct Interruptible<S>(S, StopSignal);

impl<S: Subject> Subject for Interruptible<S> {
    fn trial(&mut self, rate: f64, seconds: f64) -> Result<TrialOutcome, String> {
        if self.1.came() {
            return Err("interrupted".to_owned());
        }
        self.0.trial(rate, seconds)
    }
}

fn run(
    arguments: &NdrArguments,
    subject: &mut impl Subject,
    capacity: f64,
    most: f64,
) -> Result<(Vec<Found>, Vec<TrialOutcome>), String> {
    if capacity < 1.0 {
        return Err("nothing is forwarded at all".to_owned());
    }
    let search = Search {
        loss_ratios: arguments.loss_ratio.clone(),
        max_rate: most.max(capacity) * ABOVE_CAPACITY,
        min_rate: (capacity * LEAST_SHARE).max(1.0),
        trial_seconds: arguments.trial_seconds,
        precision: arguments.precision,
    };
    println!("always packets: {:.3} Mpps forwarded\n", capacity / 1e6);
    let mut trials = Vec::new();
    let found = search.run(subject, &mut |trial| {
        println!(
            "{:>10.3} Mpps for {:>5.2} s: lost {:>10} of {:>12} ({:.5} %){}",
            trial.offered / 1e6,
            trial.seconds,
            trial.lost,
            trial.sent,
            trial.loss_ratio() * 100.0,
            if trial.disturbed { "  disturbed" } else { "" }
        );
        trials.push(*trial);
    })?;
    Ok((found, trials))
}

/// What was found, for people. `mean_len` is the mean length of frames on the wire.
fn text(found: &[Found], mean_len: f64, capacity: f64) -> String {
    let mut text = format!("\n{LABEL}; always packets: {:.3} Mpps\n", capacity / 1e6);
    for Found { loss_ratio, rate, too_much, disturbed } in found {
        let name = match *loss_ratio {
            0.0 => "NDR".to_owned(),
            ratio => format!("PDR {} %", ratio * 100.0),
        };
        let line = match (rate, too_much) {
            (Some(rate), limit) => {
                let gbit = rate * (mean_len + WIRE_OVERHEAD) * 8.0 / 1e9;
                let limit = match limit {
                    Some(limit) => format!("{:.3} Mpps is too much", limit / 1e6),
                    None => "the source is the limit".to_owned(),
                };
                format!("{:.3} Mpps, {gbit:.3} Gbit/s on the wire; {limit}", rate / 1e6)
            }
            (None, _) => "none: packets are lost at every rate".to_owned(),
        };
        let invalid = match disturbed {
            true => "  INVALID: a side was taken off its CPU in every trial that decided",
            false => "",
        };
        text.push_str(&format!("{name}: {line}{invalid}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_said_with_their_limits() {
        let ndr =
            Found { loss_ratio: 0.0, rate: Some(1e7), too_much: Some(1.01e7), disturbed: true };
        let pdr = Found { loss_ratio: 0.005, rate: Some(1.2e7), too_much: None, disturbed: false };
        let none = Found { rate: None, disturbed: false, ..ndr };
        let text = text(&[ndr, pdr, none], 64.0, 1.3e7);
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines[0], "software source and sink; always packets: 13.000 Mpps");
        assert!(
            lines[1].starts_with("NDR: 10.000 Mpps, 6.720 Gbit/s on the wire; 10.100 Mpps is too")
        );
        assert!(lines[1].contains("INVALID"));
        assert_eq!(
            lines[2],
            "PDR 0.5 %: 12.000 Mpps, 8.064 Gbit/s on the wire; the source is the limit"
        );
        assert_eq!(lines[3], "NDR: none: packets are lost at every rate");
    }
}
