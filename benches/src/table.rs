//! Results for people.

use std::fmt::Write;

use crate::report::{CaseResult, Report};
use crate::statistics::Range;

/// The heading, for before the first case.
pub fn heading(report: &Report) -> String {
    let Report { host, tsc_hz, .. } = report;
    let mut text = format!("{}\nTSC {:.3} GHz\n", host.summary(), tsc_hz / 1e9);
    if !host.optimised {
        text.push_str("warning: compiled without optimisation: these figures mean nothing\n");
    }
    // A String takes everything.
    let _ = write!(
        text,
        "\n{:<44} {:>20} {:>20} {:>8} {:>8} {:>8} {:>6} {:>5}\n{:<44} {:>20} {:>20} {:>8} {:>8} {:>8} \
         {:>6} {:>5}\n",
        "min/median/max over repeats",
        "core cycles/packet",
        "work alone",
        "TSC clk",
        "ns",
        "Mpps",
        "burst",
        "dist",
        "",
        "whole path",
        "(minus io)",
        "median",
        "median",
        "median",
        "",
        ""
    );
    text
}

/// One case.
pub fn line(result: &CaseResult) -> String {
    let range = |range: Range| format!("{:.1}/{:.1}/{:.1}", range.min, range.median, range.max);
    let disturbed = result.disturbed as f64 / (result.disturbed + result.chunks).max(1) as f64;
    format!(
        "{:<44} {:>20} {:>20} {:>8.1} {:>8.2} {:>8.2} {:>6.0} {:>4.0}%\n",
        result.case.to_string(),
        range(result.cycles),
        result.work_cycles.map_or_else(|| "-".to_owned(), range),
        result.clocks.median,
        result.ns.median,
        result.mpps.median,
        result.vectors_per_call,
        disturbed * 100.0
    )
}

/// What is known of a case beside its costs. With `gaps`, the time between ends of turns too.
pub fn details(result: &CaseResult, gaps: bool) -> String {
    let mut text = String::new();
    if let Some(speedup) = &result.speedup {
        text.push_str(&speedup.text(result.case.workers));
    }
    if result.loss > 0.0 {
        let _ = writeln!(text, "    {:.4} % of packets were not sent", result.loss * 100.0);
    }
    if let Some(churn) = &result.churn {
        text.push_str(&churn.text());
    }
    result.latencies.iter().for_each(|latency| text.push_str(&latency.text()));
    if gaps {
        text.push_str(&result.gaps.text());
    }
    text
}

/// The nodes of one case, in core cycles per packet.
pub fn nodes(result: &CaseResult) -> String {
    let mut text = String::new();
    for node in &result.nodes {
        let cycles = node.clocks * result.cycles_per_clock.median;
        let share = if node.share > 0.999 {
            String::new()
        } else {
            format!("{:.4} of packets", node.share)
        };
        let _ = writeln!(
            text,
            "    {:<24} {:>8.1} cycles {:>8.1} clk {:>8.1} vectors/call  {share}",
            node.name, cycles, node.clocks, node.vectors_per_call
        );
    }
    text
}

/// What columns mean, for after the last case.
pub const LEGEND: &str = "\
dist: share of the time that was thrown away because the worker was taken off its CPU.
Source and sink are software in the worker's own thread: io is what they cost.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::mode::Mode;
    use crate::report::{Case, NodeResult, SCHEMA};
    use crate::sample_results::{sample_case, sample_result};

    #[test]
    fn a_line_has_the_figures() {
        let case = Case {
            mode: Mode::LbNat4,
            flows: 1_000_000,
            size: "imix".into(),
            protocol: "tcp".into(),
            new_flows: "all".into(),
            workers: 2,
            burst: 32,
            ..sample_case()
        };
        let range = |median| Range { min: 1.0, median, max: 3000.0 };
        let node = NodeResult {
            name: "lb4-vip".into(),
            clocks: 10.0,
            vectors_per_call: 255.5,
            share: 0.5,
        };
        let result = CaseResult {
            case,
            clocks: range(111.0),
            cycles: range(222.0),
            ns: range(33.0),
            mpps: range(44.0),
            work_cycles: Some(range(55.0)),
            cycles_per_clock: range(1.5),
            vectors_per_call: 32.0,
            nodes: vec![node],
            disturbed: 1,
            chunks: 3,
            ..sample_result()
        };
        let line = line(&result);
        for part in [
            "lb nat4 tcp imix B, 1000000 flows, new flows all, 2 workers",
            "1.0/222.0/3000.0",
            "1.0/55.0/3000.0",
            " 111.0 ",
            " 44.00 ",
            "25%",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_eq!(details(&result, false), "");
        assert!(details(&result, true).contains("turn gaps"));
        let lossy = CaseResult { loss: 0.25, ..result.clone() };
        assert!(details(&lossy, false).contains("25.0000 % of packets were not sent"));
        let nodes = nodes(&result);
        assert!(nodes.contains("15.0 cycles") && nodes.contains("0.5000 of packets"), "{nodes}");
    }

    #[test]
    fn unoptimised_figures_are_not_to_be_believed() {
        let host = Host { optimised: false, ..Host::default() };
        let (version, command, results) = (String::new(), Vec::new(), Vec::new());
        let report = Report { schema: SCHEMA, version, command, host, tsc_hz: 2e9, results };
        assert!(heading(&report).contains("mean nothing"));
    }
}
