//! [`Report`]: everything one run of the bench found, as JSON has it.

use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::experiment::{ModeOutcome, Outcome};
use crate::family::Family;
use crate::host::Host;
use crate::load::LoadLatency;
use crate::mode::Mode;
use crate::scaling::Speedup;
use crate::service::VipPorts;
use crate::slice::Slice;
use crate::statistics::Range;
use crate::steadiness::{ChurnResult, GapResult, total};

/// Version of the JSON: counts up when a reader of the old would misread the new.
pub const SCHEMA: u32 = 2;
/// What a frame takes on the wire beside itself: preamble, start and gap, in bytes.
pub(crate) const WIRE_OVERHEAD: f64 = 20.0;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the bench.
    pub version: String,
    /// Command line.
    pub command: Vec<String>,
    /// Machine.
    pub host: Host,
    /// TSC clocks per second.
    pub tsc_hz: f64,
    /// One for each case, in the order of measuring.
    pub results: Vec<CaseResult>,
}

/// What tells cases apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Case {
    /// Where packets come from: `memory` or `pcap`.
    pub harness: String,
    /// Forward mode.
    pub mode: Mode,
    /// `forward` from clients, `return` from ASs.
    pub direction: String,
    /// Family of the clients and of the VIP.
    pub family: Family,
    /// Ports of the VIP; absent without one.
    pub vip_ports: Option<VipPorts>,
    /// The capture file that packets are from, if any.
    pub recording: Option<String>,
    /// Flows that are alive at once.
    pub flows: u64,
    /// Frame length on the wire, or `imix`.
    pub size: String,
    /// Protocol.
    pub protocol: String,
    /// New flows per second, or `all`.
    pub new_flows: String,
    /// Workers.
    pub workers: usize,
    /// Packets that arrive at once, at most.
    pub burst: usize,
    /// ASs.
    pub servers: u16,
    /// VIPs, of which one has traffic.
    pub vips: u32,
    /// Slots of a VIP's table of new flows, if it is not the default.
    pub vip_length: Option<u32>,
    /// Changes of ASs per second.
    pub churn: u32,
    /// Sticky buckets per worker.
    pub buckets: u32,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mode, flows, size, protocol, workers, .. } = self;
        write!(f, "{} ", mode.name())?;
        // What is usual for a mode goes without saying.
        if self.family != mode.usual_family() {
            write!(f, "{} ", if self.family == Family::Ip4 { "v4" } else { "v6" })?;
        }
        if self.vip_ports.is_some_and(|ports| ports != mode.ports(None)) {
            write!(f, "one port ")?;
        }
        match &self.recording {
            Some(file) => write!(f, "{file}, {flows} flows")?,
            None => write!(f, "{protocol} {size} B, {flows} flows")?,
        }
        if self.new_flows != "0" {
            write!(f, ", new flows {}", self.new_flows)?;
        }
        if self.churn != 0 {
            write!(f, ", churn {}", self.churn)?;
        }
        if *workers != 1 {
            write!(f, ", {workers} workers")?;
        }
        Ok(())
    }
}

/// One node's share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    /// Name.
    pub name: String,
    /// TSC clocks per packet that it saw.
    pub clocks: f64,
    /// Packets per call.
    pub vectors_per_call: f64,
    /// Of the packets of the case, the share that it saw.
    pub share: f64,
}

/// The outcome of one case. Ranges are over repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// Which case.
    pub case: Case,
    /// TSC clocks per packet, of bursts with packets.
    pub clocks: Range,
    /// The same in core cycles.
    pub cycles: Range,
    /// The same in nanoseconds.
    pub ns: Range,
    /// Million packets per second, all workers together.
    pub mpps: Range,
    /// Gbit/s on the wire (layer 1), all workers together.
    pub gbit_l1: Range,
    /// Core cycles per packet beyond those of `io` in the same repeat: the work alone. Absent for
    /// `io` itself.
    pub work_cycles: Option<Range>,
    /// More workers against the fewest of the same run; absent for the fewest.
    pub speedup: Option<Speedup>,
    /// Time between ends of turns.
    pub gaps: GapResult,
    /// What changes of ASs did; absent without any.
    pub churn: Option<ChurnResult>,
    /// How long packets took from arrival to transmission, at the loads asked for.
    pub latencies: Vec<LoadLatency>,
    /// Share of received packets that the graph did not send; never more than 0 unless packets or
    /// commands are one's own.
    pub loss: f64,
    /// Core cycles per TSC clock while it was measured.
    pub cycles_per_clock: Range,
    /// Packets per burst.
    pub vectors_per_call: f64,
    /// By node, in the order of the graph; those without packets are left out.
    pub nodes: Vec<NodeResult>,
    /// Packets that were counted.
    pub packets: u64,
    /// Milliseconds that were counted.
    pub measured_ms: f64,
    /// Chunks (of a millisecond) that were thrown away, because the worker was taken off its CPU.
    pub disturbed: u64,
    /// Chunks that were counted.
    pub chunks: u64,
}

/// Turns an outcome into results. `case` is the case of the first mode; `mean_len` the mean length on
/// the wire.
pub fn results(outcome: &Outcome, case: &Case, mean_len: f64, tsc_hz: f64) -> Vec<CaseResult> {
    let find = |mode: Mode, churn: u32, workers: usize| {
        let like =
            |one: &&ModeOutcome| (one.mode, one.churn, one.workers) == (mode, churn, workers);
        outcome.modes.iter().find(like)
    };
    let first = outcome.modes.first();
    let fewest = outcome.modes.iter().map(|mode| mode.workers).min().unwrap_or(1);
    let result = |mode: &ModeOutcome| {
        // The first mode is what the others are compared with.
        let baseline = |workers| {
            first.filter(|first| first.mode != mode.mode).and_then(|io| find(io.mode, 0, workers))
        };
        // `case` has the ports that were asked for.
        let vip_ports = mode.mode.encap().map(|_| mode.mode.ports(case.vip_ports));
        let (buckets, churn, workers) = (outcome.buckets, mode.churn, mode.workers);
        let case = Case { mode: mode.mode, vip_ports, buckets, churn, workers, ..case.clone() };
        let ratios = &outcome.cycles_per_clock;
        let mut result = case_result(mode, baseline(workers), ratios, case, mean_len, tsc_hz);
        let few = find(mode.mode, churn, fewest).filter(|few| few.workers < workers);
        result.speedup =
            few.map(|few| Speedup::of((mode, baseline(workers)), (few, baseline(fewest))));
        let steady = find(mode.mode, 0, workers).filter(|_| churn > 0);
        result.churn = steady.map(|steady| ChurnResult::of(mode, steady));
        result
    };
    outcome.modes.iter().map(result).collect()
}

fn case_result(
    mode: &ModeOutcome,
    baseline: Option<&ModeOutcome>,
    ratios: &[f64],
    case: Case,
    mean_len: f64,
    tsc_hz: f64,
) -> CaseResult {
    let ratio = Range::of(ratios.iter().copied());
    let calibration = Calibration { tsc_hz, cycles_per_clock: ratio.median };
    let per_repeat = |outcome: &ModeOutcome| {
        outcome.slices.iter().map(|lanes| total(lanes).clocks_per_packet()).collect::<Vec<_>>()
    };
    let own = per_repeat(mode);
    let clocks = Range::of(own.iter().copied());
    let rate = |lanes: &Vec<Slice>| {
        lanes
            .iter()
            .map(|lane| lane.packets as f64 * tsc_hz / lane.clocks.max(1) as f64)
            .sum::<f64>()
    };
    let mpps = Range::of(mode.slices.iter().map(|lanes| rate(lanes) / 1e6));
    let work = baseline.map(|baseline| {
        let differences = own.iter().zip(per_repeat(baseline)).map(|(own, io)| own - io);
        Range::of(differences).map(|clocks| calibration.cycles(clocks))
    });
    let all = total(&mode.slices.iter().map(|lanes| total(lanes)).collect::<Vec<_>>());
    CaseResult {
        case,
        clocks,
        cycles: clocks.map(|clocks| calibration.cycles(clocks)),
        ns: clocks.map(|clocks| calibration.ns(clocks)),
        mpps,
        gbit_l1: mpps.map(|mpps| mpps * (mean_len + WIRE_OVERHEAD) * 8.0 / 1000.0),
        work_cycles: work,
        speedup: None,
        gaps: GapResult::of(mode, tsc_hz),
        churn: None,
        latencies: mode.latencies.clone(),
        loss: mode.lost as f64 / mode.received.max(1) as f64,
        cycles_per_clock: ratio,
        vectors_per_call: all.packets as f64 / all.bursts.max(1) as f64,
        nodes: nodes(&all, &mode.node_names),
        packets: all.packets,
        measured_ms: all.clocks as f64 * 1000.0 / tsc_hz,
        disturbed: all.disturbed,
        chunks: all.chunks,
    }
}

/// Each node's share of a slice.
pub(crate) fn nodes(all: &Slice, names: &[&'static str]) -> Vec<NodeResult> {
    let used = all.nodes.iter().zip(names).filter(|(work, _)| work.vectors > 0);
    used.map(|(work, name)| NodeResult {
        name: (*name).to_owned(),
        clocks: work.clocks as f64 / work.vectors as f64,
        vectors_per_call: work.vectors as f64 / work.calls.max(1) as f64,
        share: work.vectors as f64 / all.packets.max(1) as f64,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::churn::Changes;
    use crate::memory_port::Passed;
    use crate::sample_results::sample_case;
    use crate::slice::NodeWork;

    fn case() -> Case {
        Case { buckets: 0, ..sample_case() }
    }

    fn slice(clocks_per_packet: u64) -> Slice {
        let (packets, bursts) = (1000, 4);
        let clocks = packets * clocks_per_packet;
        let nodes =
            vec![NodeWork { calls: 4, vectors: packets, clocks: packets * 7 }, NodeWork::default()];
        Slice { clocks, packets, bursts, nodes, chunks: 1, disturbed: 2, ..Slice::default() }
    }

    fn outcome() -> Outcome {
        let mode = |mode, values: &[u64], node_names: &[&'static str]| ModeOutcome {
            mode,
            churn: 0,
            workers: 1,
            changes: Changes::default(),
            received: 0,
            lost: 0,
            latencies: Vec::new(),
            stolen_ms: 0,
            slices: values.iter().map(|value| vec![slice(*value)]).collect(),
            node_names: node_names.to_vec(),
        };
        Outcome {
            // In the second repeat the machine was slow, for both.
            modes: vec![
                mode(Mode::Io, &[10, 30, 12], &[]),
                mode(Mode::LbNat4, &[50, 72, 51], &["dpdk-input", "error-drop"]),
            ],
            cycles_per_clock: vec![1.4, 1.5, 1.6],
            buckets: 1024,
            passed: Passed::default(),
        }
    }

    #[test]
    fn work_is_the_difference_within_a_repeat() {
        let results = results(&outcome(), &case(), 64.0, 2e9);
        let [io, lb] = results.as_slice() else { panic!("two results") };
        assert_eq!((io.clocks.median, io.work_cycles), (12.0, None));
        assert_eq!((lb.clocks.min, lb.clocks.median, lb.clocks.max), (50.0, 51.0, 72.0));
        assert_eq!(lb.cycles.median, 76.5);
        assert_eq!(lb.ns.median, 25.5);
        // 40, 42 and 39 clocks.
        assert_eq!(lb.work_cycles.unwrap().median, 60.0);
        assert!((io.mpps.median - 2000.0 / 12.0).abs() < 1e-9);
        assert!((io.gbit_l1.median - io.mpps.median * 0.672).abs() < 1e-9);
        assert_eq!((lb.vectors_per_call, lb.disturbed, lb.chunks), (250.0, 6, 3));
        assert_eq!((lb.case.mode, lb.case.buckets), (Mode::LbNat4, 1024));
        let [node] = lb.nodes.as_slice() else { panic!("one node") };
        assert_eq!((node.name.as_str(), node.clocks, node.share), ("dpdk-input", 7.0, 1.0));
    }

    #[test]
    fn a_case_says_what_is_not_usual() {
        let name = |mode, family, vip_ports| Case { mode, family, vip_ports, ..case() }.to_string();
        let (ip4, ip6) = (Family::Ip4, Family::Ip6);
        assert_eq!(name(Mode::LbGre4, ip4, Some(VipPorts::All)), "lb gre4 udp 64 B, 1000 flows");
        let unusual = name(Mode::LbGre4, ip6, Some(VipPorts::One));
        assert_eq!(unusual, "lb gre4 v6 one port udp 64 B, 1000 flows");
        assert_eq!(name(Mode::LbNat6, ip6, Some(VipPorts::One)), "lb nat6 udp 64 B, 1000 flows");
        assert_eq!(name(Mode::Io, ip6, None), "io v6 udp 64 B, 1000 flows");
    }

    #[test]
    fn two_workers_are_twice_as_fast() {
        let mut outcome = outcome();
        let mut two = outcome.modes.clone();
        for mode in &mut two {
            mode.workers = 2;
            mode.slices.iter_mut().for_each(|lanes| lanes.push(lanes[0].clone()));
        }
        outcome.modes.extend(two);
        let results = results(&outcome, &case(), 64.0, 2e9);
        let [_, one, io, two] = results.as_slice() else { panic!("four results") };
        assert_eq!((one.case.workers, two.case.workers, two.clocks), (1, 2, one.clocks));
        assert_eq!(two.mpps.median, one.mpps.median * 2.0);
        assert_eq!((one.work_cycles, one.speedup.as_ref()), (two.work_cycles, None));
        let speedup = two.speedup.as_ref().unwrap();
        assert_eq!((speedup.against, speedup.whole.median), (1, 2.0));
        assert_eq!(speedup.work.unwrap().median, 2.0);
        assert_eq!(io.speedup.as_ref().unwrap().work, None);
    }

    #[test]
    fn churn_is_compared_with_the_same_mode_at_rest() {
        let mut outcome = outcome();
        let mut churned = outcome.modes[1].clone();
        churned.churn = 100;
        outcome.modes.push(churned);
        let results = results(&outcome, &case(), 64.0, 2e9);
        assert_eq!((results[1].churn.as_ref(), results[2].case.churn), (None, 100));
        assert_eq!(results[2].churn.as_ref().unwrap().of_steady.median, 1.0);
        assert_eq!(results[2].work_cycles, results[1].work_cycles);
        assert!(results[2].case.to_string().ends_with("1000 flows, churn 100"));
    }

    #[test]
    fn json_keeps_everything_and_its_names() {
        let report = Report {
            schema: SCHEMA,
            version: "1".into(),
            command: vec!["run".into()],
            host: Host::default(),
            tsc_hz: 2e9,
            results: results(&outcome(), &case(), 64.0, 2e9),
        };
        let json = serde_json::to_value(&report).unwrap();
        for path in [
            "/schema",
            "/host/cpu",
            "/results/0/case/mode",
            "/results/1/cycles/median",
            "/results/1/work_cycles/min",
            "/results/1/nodes/0/vectors_per_call",
        ] {
            assert!(json.pointer(path).is_some_and(|value| !value.is_null()), "{path}");
        }
        assert_eq!(json["results"][1]["case"]["mode"], "lb-nat4");
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }
}
