//! The bench's processes on DPDK's virtual devices, as a user starts them: no hugepages, and no root
//! but where the kernel's network is involved. No time is judged: only that packets are accounted for
//! and that nothing is left behind.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use benches::family::Family;
use benches::flow::Renewal;
use benches::frame_template::Direction;
use benches::pcap_harness::{packets_of, write_file};
use benches::traffic::{Protocol, Size, TrafficSpec};
use serde_json::Value;

/// A file that goes with its test.
struct Json(PathBuf);

impl Json {
    fn new(name: &str) -> Self {
        let name = format!("sluice-bench-ports-{name}-{}.json", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn read(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(&self.0).unwrap()).unwrap()
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn bench(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-bench"));
    command.args(line.split_whitespace());
    command
}

fn run(line: &str) -> Output {
    bench(line).stdin(Stdio::null()).output().unwrap()
}

/// Runs it and returns its report.
fn report(name: &str, line: &str) -> Value {
    let json = Json::new(name);
    let output = run(&format!("{line} --json {}", json.0.display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{line}: {out}{err}");
    json.read()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn two_cpus() -> bool {
    let there = core_affinity::get_core_ids().unwrap_or_default().len() >= 2;
    if !there {
        eprintln!("skipped: a pair needs two CPUs");
    }
    there
}

fn is_root() -> bool {
    let root = benches::ports::link::is_root();
    if !root {
        eprintln!("skipped: namespaces need root");
    }
    root
}

/// Both sides agree with each other about the packets of a pair, and nothing is left behind.
fn check_pair(link: &str, mode: &str) {
    let line = format!("pair --link {link} {mode} --flows 50 --rate 0.02 --seconds 0.3");
    let report = report(link, &line);
    let (device, generator) = (&report["device_under_test"], &report["generator"]);
    let (sent, received) = (number(generator, "sent"), number(generator, "received"));
    assert!(sent > 0 && received > 0, "{report}");
    assert_eq!(received + number(generator, "lost"), sent);
    assert_eq!(number(generator, "duplicates"), 0);
    assert_eq!(generator["stamped"], true);
    assert_eq!(number(&generator["latency"], "packets"), received);
    let kept = number(device, "sent") + number(device, "refused") + number(device, "dropped");
    assert_eq!(number(device, "received"), kept, "{device}");
    assert!(number(device, "sent") >= received, "{report}");
    assert_eq!(report["label"], "software source and sink");
}

#[test]
fn a_pair_over_memif() {
    if two_cpus() {
        check_pair("memif", "--mode lb --encap gre4 --size imix");
    }
}

#[test]
fn a_pair_over_vhost() {
    if two_cpus() {
        check_pair("vhost", "--mode lb --encap nat4 --protocol tcp --size 128");
    }
}

#[test]
fn a_pair_over_veths() {
    if two_cpus() && is_root() {
        check_pair("af_packet", "--mode macswap");
        let left = Command::new("ip").args(["netns", "list"]).output().unwrap();
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        let dead = |name: &str| {
            let id = name.strip_prefix("sluice-").and_then(|rest| rest.strip_suffix("-pair"));
            id.is_some_and(|id| !PathBuf::from("/proc").join(id).exists())
        };
        assert!(!left.split_whitespace().any(dead), "{left}");
    }
}

#[test]
fn an_interrupted_pair_leaves_nothing_behind() {
    if !two_cpus() {
        return;
    }
    let mut command = bench("pair --link memif --mode io --flows 1 --seconds 600");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut pair = command.spawn().unwrap();
    let folder = std::env::temp_dir().join(format!("sluice-{}-pair", pair.id()));
    let start = Instant::now();
    while !folder.join("memif.sock").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no socket");
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill").args(["-TERM", &pair.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(pair.wait().unwrap().code(), Some(2));
    assert!(!folder.exists());
}

/// A ring gives back what is sent into it: not one packet may be missing.
#[test]
fn a_generator_sees_all_its_packets_again() {
    for (name, traffic, stamped) in [
        ("ring-udp", "--size imix --flows 20", true),
        ("ring-tcp", "--size 64 --protocol tcp", false),
    ] {
        let line = "generate --dev net_ring0 --to-mac 02:00:00:00:00:01 --rate 50k --seconds 0.2";
        let report = report(name, &format!("{line} {traffic}"));
        let sent = number(&report, "sent");
        assert!(sent > 0, "{report}");
        assert_eq!((number(&report, "received"), number(&report, "lost")), (sent, 0));
        assert_eq!((number(&report, "duplicates"), number(&report, "reordered")), (0, 0));
        assert_eq!(report["stamped"], stamped);
        assert_eq!(report["latency"].is_null(), !stamped);
    }
}

#[test]
fn packets_from_outside_are_forwarded() {
    for (name, line) in [
        ("null-io", "run --dev net_null0 --mode io --seconds 0.2"),
        ("null-two", "run --dev net_null0 --dev net_null1 --mode macswap --seconds 0.2"),
    ] {
        let report = report(name, line);
        assert!(number(&report, "received") > 0);
        assert_eq!(number(&report, "received"), number(&report, "sent"));
        assert_eq!((number(&report, "dropped"), number(&report, "refused")), (0, 0));
    }
}

/// Two captures: what comes from clients leaves to ASs by the other port, and back.
#[test]
fn clients_and_servers_can_have_a_port_each() {
    let folder =
        std::env::temp_dir().join(format!("sluice-bench-two-ports-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name);
    let (family, size) = (Family::Ip4, Size::Fixed(64));
    let (protocol, renewal) = (Protocol::Udp, Renewal::PerSecond(0));
    let spec = TrafficSpec { family, flows: 10, size, protocol, renewal };
    write_file(&file("clients"), &spec, Direction::Forward, 16, 0).unwrap();
    write_file(&file("servers"), &spec, Direction::Return, 16, 1).unwrap();
    let capture = |number: usize, from: &str, to: &str| {
        let (from, to) = (file(from), file(to));
        format!("--dev net_pcap{number},rx_pcap={},tx_pcap={}", from.display(), to.display())
    };
    let devices =
        [capture(0, "clients", "to-clients"), capture(1, "servers", "to-servers")].join(" ");
    let report = report("two-ports", &format!("run {devices} --encap gre4 --seconds 0.5"));
    let packets = packets_of(&spec);
    assert_eq!(number(&report, "received"), 2 * packets, "{report}");
    assert_eq!(number(&report, "sent"), 2 * packets, "{report}");
    // A head of 24 bytes, and 16 in front of each frame: 60 bytes, and 24 more in the tunnel.
    let len = |name: &str| std::fs::metadata(file(name)).unwrap().len();
    assert_eq!(len("to-servers"), 24 + packets * (16 + 60 + 24));
    assert_eq!(len("to-clients"), 24 + packets * (16 + 60));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Frames of zeros are nothing that a graph could forward: each is dropped for a reason.
#[test]
fn drops_have_reasons() {
    let report = report("null-lb", "run --dev net_null0 --flows 1 --seconds 0.2 --nodes");
    assert!(number(&report, "received") > 0);
    assert_eq!(number(&report, "received"), number(&report, "dropped"));
    let reasons = report["reasons"].as_array().unwrap();
    let counted: u64 = reasons.iter().map(|reason| reason[1].as_u64().unwrap()).sum();
    assert_eq!(counted, number(&report, "dropped"), "{reasons:?}");
}

#[test]
fn rates_are_searched_in_memory() {
    let line = "ndr --mode lb --encap l3dsr --flows 10 --trial-seconds 0.02 --precision 50 \
                --loss-ratio 0.5";
    let report = report("ndr", line);
    assert!(report["capacity"].as_f64().unwrap() > 0.0);
    assert_eq!(report["found"].as_array().unwrap().len(), 1);
    assert!(!report["trials"].as_array().unwrap().is_empty());
}

#[test]
fn what_is_wrong_is_said_before_anything_starts() {
    for (line, said) in [
        ("run --dev veth0", "`veth0` is neither a PCI address such as 0000:02:00.0"),
        ("run --dev net_null0 --encap gre4,nat4", "give one --mode, and one --encap"),
        ("run --dev net_null0 --workers 2", "--workers 2 does not go with --dev"),
        ("run --dev net_null0 --dev net_null1 --dev net_null2", "there can be two: one of clients"),
        ("pair --encap nat4-return", "the generator sends packets of clients"),
        ("pair --cpu 0,4095", "a pair needs two CPUs, one for each side: CPU 4095"),
        ("pair --link wire", "memif, vhost, af_packet, af_xdp"),
        ("ndr --encap nat4-return", "the generator sends packets of clients"),
    ] {
        let output = run(line);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {error}");
        assert!(error.contains(said), "{line}: {error}");
    }
}
