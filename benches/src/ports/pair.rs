//! [`Pair`]: the device under test and a generator, two processes on a CPU each, and a link between
//! them.

use std::time::Duration;

use crate::arguments::{DeviceArguments, TrafficArguments, word};
use crate::cores::Cores;
use crate::ports::child::Child;
use crate::ports::forward_report::ForwardReport;
use crate::ports::generator_report::GeneratorReport;
use crate::ports::link::{Link, LinkKind};
use crate::ports::orders::{Answer, Order};
use crate::ports::search::{Subject, TrialOutcome};
use crate::ports::stop_signal::StopSignal;

/// EAL needs seconds on a busy machine, and a large sticky table some more.
const START: Duration = Duration::from_secs(60);
/// An answer may take so much longer than the load.
const SLACK: Duration = Duration::from_secs(20);
/// Flows per second with which they begin, at least: the first packets of all flows are not measured.
const WARM_FLOWS: f64 = 250_000.0;
/// Seconds before measuring at least.
const WARM_SECONDS: f64 = 0.2;

/// Two running processes.
#[derive(Debug)]
pub struct Pair {
    // Dropped in this order: processes before what connects them.
    generator: Child,
    device: Child,
    _link: Link,
}

/// What both sides say about a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The device under test.
    pub forwarded: ForwardReport,
    /// The generator.
    pub generated: GeneratorReport,
}

impl Loaded {
    /// Why the figures are worthless, if they are.
    pub fn disturbance(&self) -> Option<String> {
        let sides = [
            ("the device under test", &self.forwarded.scheduling),
            ("the generator", &self.generated.scheduling),
        ];
        let disturbed = sides.iter().filter(|(_, scheduling)| !scheduling.is_quiet());
        let why = disturbed.map(|(side, scheduling)| {
            format!(
                "{side} was taken off its CPU {} times and waited for it for {:.2}% of the time",
                scheduling.involuntary_switches,
                scheduling.wait_share() * 100.0
            )
        });
        let why: Vec<String> = why.collect();
        (!why.is_empty()).then(|| why.join("; "))
    }
}

impl Pair {
    /// Makes the link, starts both processes, and lets all flows begin.
    ///
    /// # Errors
    ///
    /// What either says. Nothing is left behind.
    pub fn start(
        kind: LinkKind,
        device: &DeviceArguments,
        traffic: &TrafficArguments,
        cpus: &[usize],
        stop: StopSignal,
    ) -> Result<Self, String> {
        let family = word(device.client_family()?);
        let cores = Cores::choose(cpus, 2)
            .map_err(|reason| format!("a pair needs two CPUs, one for each side: {reason}"))?;
        let [generator_cpu, device_cpu] = match (cpus, cores.cpus()) {
            // As they are named: the device first.
            ([device, generator], _) => [*generator, *device],
            (_, [generator, device, ..]) => [*generator, *device],
            (_, found) => return Err(format!("a pair needs two CPUs, there are {found:?}")),
        };
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let link = Link::make(kind)?;
        let namespace = link.namespace.as_deref();
        let mut words = to_words(&["run", "--dev", &link.device.to_string()]);
        words.extend(device.words(traffic));
        words.extend(to_words(&["--cpu", &device_cpu.to_string()]));
        let name = "device under test";
        let mut device = Child::start(name, namespace, &program, &words, stop)?;
        let address = match device.answer(START)? {
            Answer::Ready(addresses) => addresses.first().cloned().unwrap_or_default(),
            other => return Err(format!("the {name} said {other:?} instead of being ready")),
        };
        let mut words = to_words(&["generate", "--dev", &link.generator.to_string()]);
        words.extend(traffic.words());
        words.extend(to_words(&["--family", &family]));
        words.extend(to_words(&["--to-mac", &address, "--cpu", &generator_cpu.to_string()]));
        let mut generator = Child::start("generator", namespace, &program, &words, stop)?;
        generator.answer(START)?;
        let mut pair = Self { generator, device, _link: link };
        let seconds = WARM_SECONDS.max(traffic.flows as f64 / WARM_FLOWS);
        pair.load(None, seconds)?;
        Ok(pair)
    }

    /// Lets the generator send, and asks both sides what came of it.
    ///
    /// # Errors
    ///
    /// When a side fails.
    pub fn load(&mut self, rate: Option<u64>, seconds: f64) -> Result<Loaded, String> {
        self.report()?;
        self.generator.order(Order::Load { rate, seconds })?;
        let generated = match self.generator.answer(SLACK + Duration::from_secs_f64(seconds))? {
            Answer::Generated(report) => report,
            other => return Err(format!("the generator said {other:?} to a load")),
        };
        let forwarded = self.report()?;
        Ok(Loaded { forwarded, generated })
    }

    fn report(&mut self) -> Result<ForwardReport, String> {
        self.device.order(Order::Report)?;
        match self.device.answer(SLACK)? {
            Answer::Forwarded(report) => Ok(report),
            other => Err(format!("the device under test said {other:?} instead of reporting")),
        }
    }
}

impl Subject for Pair {
    fn trial(&mut self, rate: f64, seconds: f64) -> Result<TrialOutcome, String> {
        let loaded = self.load(Some(rate.round() as u64), seconds)?;
        let disturbed = loaded.disturbance().is_some();
        Ok(loaded.generated.outcome(disturbed))
    }
}

fn to_words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::scheduling::Scheduling;

    #[test]
    fn a_disturbed_side_is_named() {
        let quiet = Scheduling { seconds: 1.0, ..Scheduling::default() };
        let mut loaded = Loaded {
            forwarded: ForwardReport { scheduling: quiet, ..ForwardReport::default() },
            generated: GeneratorReport { scheduling: quiet, ..GeneratorReport::default() },
        };
        assert_eq!(loaded.disturbance(), None);
        loaded.generated.scheduling.involuntary_switches = 20;
        let why = loaded.disturbance().unwrap();
        assert!(why.contains("the generator was taken off its CPU 20 times"), "{why}");
        assert!(!why.contains("device"), "{why}");
    }
}
