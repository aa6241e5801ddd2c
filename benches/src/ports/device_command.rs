//! `sluice-bench run --dev`: the device under test, fed from outside.

use std::time::Instant;

use crate::arguments::{RunArguments, buckets_for, family_of, one_mode};
use crate::calibration::measure_tsc_hz;
use crate::cores::Cores;
use crate::host::Host;
use crate::ports::TSC_PAUSE;
use crate::ports::forwarder::{ForwardSpec, Forwarder};
use crate::ports::orders::{Answer, Next, Order, Orders};
use crate::ports::stop_signal::StopSignal;

/// Forwards until the time is over or somebody interrupts it.
///
/// # Errors
///
/// What EAL, a driver or the configuration says.
pub fn forward(arguments: &RunArguments) -> Result<(), String> {
    let spec = spec(arguments)?;
    if arguments.controlled {
        return Answer::say_failure(obey(&spec));
    }
    let stop = StopSignal::catch();
    // Before EAL binds us to one CPU.
    println!("{}", Host::here().summary());
    let mut forwarder = Forwarder::start(&spec)?;
    println!("{}", forwarder.eal.memory);
    for (device, mac) in spec.devices.iter().zip(forwarder.addresses()) {
        println!("{} on {device}; its Ethernet address is {mac}", spec.mode.name());
    }
    let start = Instant::now();
    let is_over = || {
        let over = arguments.seconds > 0.0 && start.elapsed().as_secs_f64() >= arguments.seconds;
        over || stop.came()
    };
    let mut second = 0;
    while !is_over() {
        forwarder.run_chunk();
        if forwarder.elapsed() >= 1.0 {
            second += 1;
            println!("{second:>5} s  {}", forwarder.report().line());
        }
    }
    let whole = forwarder.whole_report();
    print!("\n{}", whole.summary());
    if arguments.nodes {
        print!("{}", whole.node_lines());
    }
    println!("Packets come from outside: only the cycles are this program's.");
    match &arguments.json {
        Some(path) => crate::ports::write_json(path, &whole),
        None => Ok(()),
    }
}

/// Forwards and does what the parent says.
fn obey(spec: &ForwardSpec) -> Result<(), String> {
    let (orders, stop) = (Orders::listen(), StopSignal::catch());
    let mut forwarder = Forwarder::start(spec)?;
    let addresses = forwarder.addresses().iter().map(ToString::to_string).collect();
    Answer::Ready(addresses).say()?;
    while !stop.came() {
        forwarder.run_chunk();
        match orders.next()? {
            Next::Nothing => {}
            Next::End => break,
            Next::Order(Order::Report) => Answer::Forwarded(forwarder.report()).say()?,
            Next::Order(order) => return Err(format!("{order:?} is for the generator")),
        }
    }
    Ok(())
}

fn spec(arguments: &RunArguments) -> Result<ForwardSpec, String> {
    if arguments.workers != [1] {
        return Err(format!(
            "--workers {} does not go with --dev, which has one queue of each port and one worker",
            arguments.most_workers()
        ));
    }
    if !arguments.churn.is_empty() || !arguments.latency.is_empty() {
        return Err("--churn and --latency do not go with --dev".to_owned());
    }
    let mode = one_mode(&arguments.mode, &arguments.encap)?;
    let ports = match arguments.vip_ports[..] {
        [] => None,
        [ports] => Some(ports),
        _ => return Err("a port has one --vip-ports at a time".to_owned()),
    };
    let flows = arguments.flows.iter().copied().max().unwrap_or(1);
    let cpu = Cores::choose(&arguments.cpu, 1)?.cpus().first().copied().unwrap_or(0);
    Ok(ForwardSpec {
        devices: arguments.dev.clone(),
        mode,
        family: family_of(mode, &arguments.family)?,
        protocol: *arguments.protocol.first().ok_or("no --protocol")?,
        service: arguments.service(ports),
        buckets: arguments.buckets.unwrap_or_else(|| buckets_for(flows)),
        cpu,
        tsc_hz: measure_tsc_hz(TSC_PAUSE),
    })
}
