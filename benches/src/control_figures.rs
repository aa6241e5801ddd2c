//! `sluice-bench control`: what control takes: tables, loading, showing, starting, memory.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

use balancer::{Member, NewFlowTable, TableLength};
use serde::{Deserialize, Serialize};

use crate::appliance::{Appliance, Setup, run_commands};
use crate::experiment::{MAC, PORT};
use crate::family::Family;
use crate::flow::Renewal;
use crate::lane::Lane;
use crate::memory_port::MemoryPort;
use crate::mode::Mode;
use crate::resident::resident_bytes;
use crate::service::Service;
use crate::site::server_address;
use crate::station::Station;
use crate::statistics::Range;
use crate::traffic::{Protocol, Size, Traffic, TrafficSpec};

/// What is shown to operators, from short to long.
const SHOWS: [&str; 4] = ["show lb", "show lb vips", "show lb vips verbose", "show lb as"];
/// Entries of a sticky bucket.
const ENTRIES: u64 = 4;
/// Mbufs of a port.
const MBUFS: usize = 1024;
/// Packets that arrive at once.
const BURST: usize = 256;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct ControlSpec {
    /// Slots of the table that is built.
    pub slots: u32,
    /// ASs of that table.
    pub members: u16,
    /// VIPs that are loaded.
    pub vips: u32,
    /// ASs of each.
    pub servers: u32,
    /// Sticky buckets of the table that is filled.
    pub buckets: u32,
    /// How often short things are repeated.
    pub repeats: usize,
    /// TSC clocks per second.
    pub hz: u64,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlFigure {
    /// What it is.
    pub name: String,
    /// Repeats of it.
    pub range: Range,
    /// Its unit.
    pub unit: String,
}

fn figure(name: String, unit: &str, values: impl IntoIterator<Item = f64>) -> ControlFigure {
    ControlFigure { name, range: Range::of(values), unit: unit.to_owned() }
}

/// A line for each.
pub fn text(figures: &[ControlFigure]) -> String {
    let line = |figure: &ControlFigure| {
        let ControlFigure { name, range: Range { min, median, max }, unit } = figure;
        match min == max {
            true => format!("{name:<60} {median:>12.6} {unit}\n"),
            false => format!("{name:<60} {median:>12.6} {unit} ({min:.6} to {max:.6})\n"),
        }
    };
    figures.iter().map(line).collect()
}

fn seconds<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = what();
    (start.elapsed().as_secs_f64(), result)
}

/// Milliseconds to build one table of new flows.
///
/// # Errors
///
/// When no table has so many slots.
pub fn maglev(spec: &ControlSpec) -> Result<ControlFigure, String> {
    let length = TableLength::new(spec.slots.into()).map_err(|error| error.to_string())?;
    let member = |n| Member { address: server_address(n).into(), weight: 100 };
    let members: Vec<_> = (0..spec.members).map(member).collect();
    let build = |_| seconds(|| black_box(NewFlowTable::build(&members, length, 1).is_ok())).0 * 1e3;
    let name = format!("building a table of {} slots for {} ASs", spec.slots, spec.members);
    Ok(figure(name, "ms", (0..spec.repeats).map(build)))
}

fn setup(spec: &ControlSpec, mode: Mode, buckets: u32) -> Setup {
    Setup {
        mode,
        family: Family::Ip4,
        protocol: Protocol::Udp,
        service: Service::of(16),
        buckets,
        workers: 1,
        port: PORT,
        mac: MAC,
        hz: spec.hz,
    }
}

/// The commands that configure many VIPs, each with ASs of its own behind one router, so that none
/// shares its table.
fn many_vips(spec: &ControlSpec) -> Vec<String> {
    let first_vip = Ipv4Addr::new(91, 0, 0, 1).to_bits();
    let first_server = Ipv4Addr::new(11, 0, 0, 1).to_bits();
    let mut lines = vec!["ip route add 11.0.0.0/8 via 10.0.255.253".to_owned()];
    for vip in 0..spec.vips {
        let key = format!("{}/32 protocol tcp port 80", Ipv4Addr::from_bits(first_vip + vip));
        lines.push(format!("lb vip {key} encap gre4"));
        let server = |n| Ipv4Addr::from_bits(first_server + vip * spec.servers + n).to_string();
        let servers: Vec<_> = (0..spec.servers).map(server).collect();
        lines.push(format!("lb as {key} {}", servers.join(" ")));
    }
    lines
}

/// Loads many VIPs and shows them: seconds, memory, milliseconds.
///
/// # Errors
///
/// A command that is refused.
pub fn loading(spec: &ControlSpec) -> Result<Vec<ControlFigure>, String> {
    let ControlSpec { vips, servers, .. } = spec;
    let lines = many_vips(spec);
    let new = || Appliance::<MemoryPort>::new(&setup(spec, Mode::Ip4, 1024));
    let before = resident_bytes();
    let mut appliance = new()?;
    let (transaction, loaded) = seconds(|| run_commands(&mut appliance.control, &lines));
    loaded?;
    let mib = resident_bytes().saturating_sub(before) as f64 / f64::from(1 << 20);
    let name = |what: &str| format!("{vips} VIPs of {servers} ASs {what}");
    let mut figures = vec![
        figure(name("loaded in one transaction"), "s", [transaction]),
        figure(name("in memory"), "MiB", [mib]),
    ];
    for show in SHOWS {
        let mut times = Vec::new();
        for _ in 0..spec.repeats {
            times.push(run_lines(&mut appliance, &[show])? * 1e3);
        }
        figures.push(figure(name(&format!("shown by `{show}`")), "ms", times));
    }
    let change = [many_vips(spec).pop().unwrap_or_default() + " weight 50"];
    let (one, changed) = seconds(|| run_commands(&mut appliance.control, &change));
    changed?;
    figures.push(figure(name("and the ASs of one changed"), "ms", [one * 1e3]));
    drop(appliance);
    let mut appliance = new()?;
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let one_by_one = run_lines(&mut appliance, &lines)?;
    figures.push(figure(name("loaded line by line, as `exec` does"), "s", [one_by_one]));
    Ok(figures)
}

/// Carries out lines each for itself and publishes what they change in the end, as the daemon does
/// with a file; returns seconds.
fn run_lines(appliance: &mut Appliance<MemoryPort>, lines: &[&str]) -> Result<f64, String> {
    let control = &mut appliance.control;
    let (elapsed, done) = seconds(|| {
        for line in lines {
            let problem = |problem: config::Problem| format!("{line}: {}", problem.reason);
            let command = config::parse(line).map_err(problem)?;
            black_box(control.execute(&command).map_err(problem)?);
        }
        control.publish();
        Ok(())
    });
    done.map(|()| elapsed)
}

fn lane(spec: &ControlSpec, flows: u64) -> Lane<MemoryPort> {
    let (size, renewal) = (Size::Fixed(64), Renewal::PerSecond(0));
    let traffic =
        TrafficSpec { family: Family::Ip4, flows, size, protocol: Protocol::Udp, renewal };
    let traffic = Traffic::forward(&traffic, 0..flows, MAC, spec.hz);
    let port = Some(MemoryPort::new(traffic, MBUFS, BURST));
    Lane { port, stations: Vec::new(), flows: 0..flows }
}

/// Milliseconds from nothing to the first packets that were forwarded to an AS, without EAL.
///
/// # Errors
///
/// A configuration that is refused.
pub fn start(spec: &ControlSpec) -> Result<ControlFigure, String> {
    let mut times = Vec::new();
    for _ in 0..spec.repeats {
        let mut lane = lane(spec, 1000);
        let setup = setup(spec, Mode::LbGre4, config::defaults::BUCKETS);
        let (elapsed, appliance) = seconds(|| {
            let mut appliance = Appliance::new(&setup)?;
            let worker = appliance.workers.pop().ok_or("no worker")?;
            lane.stations.push(Station::Graph(Box::new(worker)));
            lane.pass(0, 1);
            Ok::<_, String>(appliance)
        });
        appliance?;
        let sent = lane.port.as_ref().map_or(0, |port| port.passed().sent);
        if sent == 0 {
            return Err("no packet was sent".to_owned());
        }
        times.push(elapsed * 1e3);
    }
    Ok(figure("start to first packet, default tables, without EAL".to_owned(), "ms", times))
}

/// Bytes of the sticky table per flow when half of its entries are used, and the share of flows that
/// found no room, for tables whose flows are known by their tuple (NAT) and by a tag (all ports).
///
/// # Errors
///
/// A configuration that is refused.
pub fn sticky(spec: &ControlSpec) -> Result<Vec<ControlFigure>, String> {
    let flows = u64::from(spec.buckets) * ENTRIES / 2;
    let mut figures = Vec::new();
    for (mode, kind) in [(Mode::LbNat4, "NAT"), (Mode::LbGre4, "all ports")] {
        let (small, _) = fill(spec, mode, 1024, 1)?;
        let (large, untracked) = fill(spec, mode, spec.buckets, flows)?;
        let bytes = large.saturating_sub(small) as f64 / flows as f64;
        let name = |what: &str| format!("{kind}: {what}, {flows} flows, half of all entries");
        figures.push(figure(name("memory of a flow"), "bytes", [bytes]));
        let share = untracked as f64 / flows as f64;
        figures.push(figure(name("share of flows without an entry"), "", [share]));
    }
    Ok(figures)
}

/// Lets flows begin; returns how many bytes the load balancer has then, and how many flows found no
/// room.
fn fill(spec: &ControlSpec, mode: Mode, buckets: u32, flows: u64) -> Result<(u64, u64), String> {
    let mut lane = lane(spec, flows);
    let before = resident_bytes();
    let mut appliance = Appliance::new(&setup(spec, mode, buckets))?;
    let worker = appliance.workers.pop().ok_or("no worker")?;
    let shared = std::sync::Arc::clone(&worker.state.shared);
    lane.stations.push(Station::Graph(Box::new(worker)));
    // Once each: the second packet of a flow without an entry would count again.
    lane.pass(0, flows.saturating_sub(BURST as u64).max(1));
    let untracked = shared.vips.iter().map(|vip| vip.untracked.get()).sum();
    Ok((resident_bytes().saturating_sub(before), untracked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ControlSpec {
        let (slots, members, vips, servers) = (1021, 10, 30, 3);
        let (buckets, repeats, hz) = (4096, 2, 1_000_000_000);
        ControlSpec { slots, members, vips, servers, buckets, repeats, hz }
    }

    #[test]
    fn many_vips_can_be_loaded_and_shown() {
        let spec = spec();
        assert_eq!(many_vips(&spec).len(), 61);
        let figures = loading(&spec).unwrap();
        assert_eq!(figures.len(), 2 + SHOWS.len() + 2);
        assert!(text(&figures).contains("30 VIPs of 3 ASs shown by `show lb vips`"));
    }

    #[test]
    fn tables_can_be_built_and_filled() {
        let spec = spec();
        assert!(maglev(&spec).unwrap().range.max > 0.0);
        assert!(maglev(&ControlSpec { slots: 1022, ..spec }).is_err());
        assert!(start(&spec).unwrap().range.max > 0.0);
        let figures = sticky(&spec).unwrap();
        assert_eq!(figures.len(), 4);
        // Two choices leave next to none without an entry at half load.
        assert!(figures[1].range.max < 0.001, "{figures:?}");
    }

    #[test]
    fn a_figure_without_repeats_has_no_range() {
        let one = figure("one".into(), "s", [1.0]);
        assert!(!text(&[one]).contains(" to "));
        assert!(text(&[figure("two".into(), "s", [1.0, 2.0])]).contains("(1.000000 to 2.000000)"));
    }
}
