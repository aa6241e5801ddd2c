//! What configurations of many VIPs and ASs cost control: time to load them, single commands on
//! top of them, `show`, and memory.
//!
//! `cargo bench -p benches --bench control -- [VIPS] [ASS] [same|different]`

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use benches::appliance::{Appliance, Setup};
use benches::family::Family;
use benches::memory_port::MemoryPort;
use benches::mode::Mode;
use benches::service::Service;
use benches::traffic::Protocol;
use control::execute::Shared;
use dataplane::interface::{MacAddress, PortId};

/// How often a single command is measured.
const REPEATS: usize = 21;

/// What is loaded.
struct Scale {
    vips: u32,
    servers: u32,
    /// Every VIP has ASs of its own, so that no two share a new-flow table.
    different: bool,
}

impl Scale {
    fn vip(n: u32) -> String {
        format!("20.{}.{}.{}/32 protocol tcp port 80", n >> 16, n >> 8 & 255, n & 255)
    }

    fn server(&self, vip: u32, n: u32) -> String {
        let number = if self.different { vip * self.servers + n } else { n };
        // Behind a router.
        format!("90.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)
    }

    fn lines(&self) -> String {
        let mut lines = String::new();
        for vip in 0..self.vips {
            let name = Self::vip(vip);
            lines += &format!("lb vip {name} encap nat4 target_port 8080\nlb as {name}");
            for n in 0..self.servers {
                lines += &format!(" {}", self.server(vip, n));
            }
            lines.push('\n');
        }
        lines
    }

    /// The same as the daemon's file has it.
    fn file(&self) -> String {
        let mut text = String::from("[unix]\ncli-listen = \"/run/sluice.sock\"\n");
        text += "[[dpdk.dev]]\nname = \"bench0\"\nvdev = \"net_null0\"\n";
        for vip in 0..self.vips {
            let prefix = Self::vip(vip);
            let prefix = prefix.split(' ').next().unwrap_or_default();
            text += &format!(
                "[[vip]]\nprefix = \"{prefix}\"\nprotocol = \"tcp\"\nport = 80\nencap = \"nat4\"\ntarget-port = 8080\n"
            );
            for n in 0..self.servers {
                text += &format!("[[vip.as]]\naddress = \"{}\"\n", self.server(vip, n));
            }
        }
        text
    }
}

/// A load balancer with nothing but links and a route.
fn shared() -> Shared {
    let setup = Setup {
        mode: Mode::Ip4,
        protocol: Protocol::Tcp,
        family: Family::Ip4,
        service: Service::of(0),
        buckets: 1024,
        workers: 1,
        port: PortId(0),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        hz: 1_000_000_000,
    };
    let appliance = Appliance::<MemoryPort>::new(&setup).expect("a load balancer");
    // Without workers that run, what was published before is kept for ever.
    drop(appliance.workers);
    Shared::new(appliance.control)
}

/// Runs what never waits for the network.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// Milliseconds.
fn timed<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = black_box(what());
    (start.elapsed().as_secs_f64() * 1e3, result)
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0_u64) / 1024
}

fn report(what: &str, mut ms: Vec<f64>) {
    ms.sort_by(f64::total_cmp);
    let (median, max) = (ms[ms.len() / 2], ms[ms.len() - 1]);
    println!("{what:<44} {median:>10.2} ms (max {max:.2})   resident {} MiB", resident_mib());
}

/// Runs a line that differs with its number.
fn line(what: &str, shared: &Shared, line: impl Fn(usize) -> String) {
    let once = |n| {
        let (ms, result) = timed(|| run(shared.line(&line(n))));
        result.unwrap_or_else(|error| panic!("{}: {}", line(n), error.reason));
        ms
    };
    report(what, (0..REPEATS).map(once).collect());
}

fn loads(scale: &Scale) {
    let text = scale.file();
    let (ms, parsed) =
        timed(|| config::Startup::parse(&text).map(|startup| startup.commands.len()));
    println!(
        "{:?} commands in {} KiB of TOML",
        parsed.map_err(|p| p[0].reason.clone()),
        text.len() / 1024
    );
    report("parse TOML", vec![ms]);
    let lines = scale.lines();
    let folder = std::env::temp_dir().join(format!("sluice-bench-{}.cli", std::process::id()));
    std::fs::write(&folder, &lines).expect("a temporary file");
    let one = shared();
    let (ms, ok) = timed(|| run(one.line(&format!("exec {}", folder.display()))));
    ok.unwrap_or_else(|error| panic!("{}", error.reason));
    let _ = std::fs::remove_file(folder);
    report("exec", vec![ms]);
    drop(one);
    let two = shared();
    let (ms, results) = timed(|| run(two.batch(&lines, &mut |_| true)));
    assert!(results.iter().all(|result| result.ok));
    report("batch, line by line", vec![ms]);
}

fn main() {
    // `cargo bench` adds its own word.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number =
        |at: usize, default| words.get(at).map_or(default, |word| word.parse().expect("a number"));
    let different = words.get(2).is_none_or(|word| word == "different");
    let scale = Scale { vips: number(0, 10_000), servers: number(1, 10), different };
    println!("{} VIPs of {} ASs, different: {different}", scale.vips, scale.servers);
    if words.get(3).is_none_or(|word| word != "single") {
        loads(&scale);
    }
    let shared = shared();
    let lines = scale.lines();
    let (ms, results) = timed(|| run(shared.atomic_batch(&lines, &mut |_| true)));
    assert!(results.iter().all(|result| result.ok));
    report("batch, one transaction", vec![ms]);
    let middle = Scale::vip(scale.vips / 2);
    let server = scale.server(scale.vips / 2, 0);
    line("show lb", &shared, |_| "show lb".to_owned());
    line("show lb vips verbose", &shared, |_| "show lb vips verbose".to_owned());
    line("lb as … weight", &shared, |n| format!("lb as {middle} {server} weight {}", 1 + n));
    line("lb as (another)", &shared, |n| format!("lb as {middle} 91.0.0.{}", n + 1));
    line("lb as … del", &shared, |n| format!("lb as {middle} 91.0.0.{} del", n + 1));
    line("lb vip (another)", &shared, |n| {
        format!("lb vip 21.0.0.{n}/32 protocol tcp port 80 encap nat4 target_port 8080")
    });
    line("lb vip … del", &shared, |n| format!("lb vip 21.0.0.{n}/32 protocol tcp port 80 del"));
    line("ip route add", &shared, |n| format!("ip route add 99.{n}.0.0/16 via 10.0.255.252"));
}
