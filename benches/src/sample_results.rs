//! A case and its result, for tests that look at a few fields of them.

use crate::family::Family;
use crate::mode::Mode;
use crate::report::{Case, CaseResult};
use crate::statistics::Range;
use crate::steadiness::GapResult;

/// `io` as it is measured by default.
pub(crate) fn sample_case() -> Case {
    Case {
        harness: "memory".into(),
        mode: Mode::Io,
        direction: "forward".into(),
        family: Family::Ip4,
        vip_ports: None,
        recording: None,
        flows: 1000,
        size: "64".into(),
        protocol: "udp".into(),
        new_flows: "0".into(),
        workers: 1,
        burst: 256,
        servers: 16,
        vips: 1,
        vip_length: None,
        churn: 0,
        buckets: 1024,
    }
}

/// One of everything, measured once.
pub(crate) fn sample_result() -> CaseResult {
    let one = Range { min: 1.0, median: 1.0, max: 1.0 };
    CaseResult {
        case: sample_case(),
        clocks: one,
        cycles: one,
        ns: one,
        mpps: one,
        gbit_l1: one,
        work_cycles: None,
        speedup: None,
        gaps: GapResult::default(),
        churn: None,
        latencies: Vec::new(),
        loss: 0.0,
        cycles_per_clock: one,
        vectors_per_call: 256.0,
        nodes: Vec::new(),
        packets: 1,
        measured_ms: 1.0,
        disturbed: 0,
        chunks: 1,
    }
}
