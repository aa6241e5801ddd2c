//! `sluice-bench generate`.

use std::time::Instant;

use dataplane::interface::MacAddress;

use crate::arguments::GenerateArguments;
use crate::calibration::measure_tsc_hz;
use crate::cores::Cores;
use crate::host::Host;
use crate::ports::TSC_PAUSE;
use crate::ports::generator::{Generator, GeneratorSpec, Load, Progress};
use crate::ports::orders::{Answer, Next, Order, Orders};
use crate::ports::stop_signal::StopSignal;

/// Turns between two looks at standard input, in milliseconds.
const LOOK_MILLIS: u64 = 2;

/// Sends and receives until the time is over or somebody interrupts it.
///
/// # Errors
///
/// What EAL or the driver says.
pub fn generate(arguments: &GenerateArguments) -> Result<(), String> {
    let cpus: Vec<usize> = arguments.cpu.into_iter().collect();
    let cpu = match cpus[..] {
        [] => Cores::first()?,
        _ => Cores::choose(&cpus, 1)?.cpus().first().copied().unwrap_or(0),
    };
    let spec = GeneratorSpec {
        device: arguments.dev.clone(),
        traffic: arguments.traffic.spec(arguments.family),
        to_mac: MacAddress(arguments.to_mac.0),
        cpu,
        tsc_hz: measure_tsc_hz(TSC_PAUSE),
    };
    if arguments.controlled {
        return Answer::say_failure(obey(&spec));
    }
    let stop = StopSignal::catch();
    // Before EAL binds us to one CPU.
    println!("{}", Host::here().summary());
    let mut generator = Generator::start(&spec)?;
    println!("{}", generator.eal.memory);
    generator.wait_for_link(|| stop.came())?;
    let rate = arguments.rate.map(|mpps| (mpps * 1e6).round() as u64);
    let seconds = if arguments.seconds == 0.0 { f64::INFINITY } else { arguments.seconds };
    let mut second = Second::default();
    let report = generator.run(Load { rate, seconds }, |progress| {
        second.look(progress);
        !stop.came()
    });
    print!("{}", report.summary());
    println!("The source is software.");
    match &arguments.json {
        Some(path) => crate::ports::write_json(path, &report),
        None => Ok(()),
    }
}

/// Prints a line each second.
#[derive(Debug)]
struct Second {
    number: u64,
    began: Instant,
    before: Progress,
}

impl Default for Second {
    fn default() -> Self {
        Self { number: 0, began: Instant::now(), before: Progress::default() }
    }
}

impl Second {
    fn look(&mut self, progress: Progress) {
        let seconds = self.began.elapsed().as_secs_f64();
        if seconds < 1.0 {
            return;
        }
        let mpps = |now: u64, before: u64| (now - before) as f64 / seconds / 1e6;
        self.number += 1;
        println!(
            "{:>5} s  sent {:>8.3} Mpps  came back {:>8.3} Mpps",
            self.number,
            mpps(progress.sent, self.before.sent),
            mpps(progress.received, self.before.received)
        );
        (self.began, self.before) = (Instant::now(), progress);
    }
}

/// Does what the parent says.
fn obey(spec: &GeneratorSpec) -> Result<(), String> {
    let (orders, stop) = (Orders::listen(), StopSignal::catch());
    let mut generator = Generator::start(spec)?;
    generator.wait_for_link(|| stop.came())?;
    Answer::Ready(Vec::new()).say()?;
    while !stop.came() {
        match orders.next()? {
            Next::Nothing => std::thread::sleep(std::time::Duration::from_millis(LOOK_MILLIS)),
            Next::End => break,
            Next::Order(Order::Load { rate, seconds }) => {
                // No order comes before this one is done, but the parent may go.
                let go_on = |_| !stop.came() && !matches!(orders.next(), Ok(Next::End));
                let report = generator.run(Load { rate, seconds }, go_on);
                Answer::Generated(report).say()?;
            }
            Next::Order(order) => return Err(format!("{order:?} is for the device under test")),
        }
    }
    Ok(())
}
