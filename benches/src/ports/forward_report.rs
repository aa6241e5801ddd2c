//! [`ForwardReport`]: what a device under test did, for people and as JSON.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::memory_port::Passed;
use crate::ports::port_counts::PortCounts;
use crate::ports::scheduling::Scheduling;
use crate::report::NodeResult;

/// Some time of forwarding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForwardReport {
    /// Seconds.
    pub seconds: f64,
    /// Packets received.
    pub received: u64,
    /// Packets that ports took to send.
    pub sent: u64,
    /// Packets that ports did not take.
    pub refused: u64,
    /// Packets dropped by the graph, each with its reason in `reasons`.
    pub dropped: u64,
    /// Packets made here: answers and errors.
    pub made: u64,
    /// What drivers lost.
    pub ports: PortCounts,
    /// Counters of the graph that say why packets were dropped: `node: text`, and packets.
    pub reasons: Vec<(String, u64)>,
    /// TSC clocks per packet, of bursts with packets.
    pub clocks: f64,
    /// The same in core cycles.
    pub cycles: f64,
    /// Packets per burst with packets.
    pub vectors_per_call: f64,
    /// Share of the milliseconds whose cycles do not count, as the thread was off its CPU.
    pub disturbed: f64,
    /// Core cycles per TSC clock.
    pub cycles_per_clock: f64,
    /// By node; those without packets are left out.
    pub nodes: Vec<NodeResult>,
    /// The thread's use of its CPU.
    pub scheduling: Scheduling,
}

impl ForwardReport {
    /// Sets what has passed; `refused` packets were freed too.
    pub fn set_passed(&mut self, passed: Passed, refused: u64) {
        (self.received, self.sent, self.made) = (passed.received, passed.sent, passed.made);
        (self.refused, self.dropped) = (refused, passed.freed.saturating_sub(refused));
    }

    /// Packets that came and neither left nor were dropped. Some are still held when the graph waits
    /// for something; more mean a bug.
    pub fn unaccounted(&self) -> i64 {
        let came = self.received + self.made;
        came as i64 - (self.sent + self.refused + self.dropped) as i64
    }

    /// Million packets per second.
    pub fn mpps(&self, packets: u64) -> f64 {
        if self.seconds > 0.0 { packets as f64 / self.seconds / 1e6 } else { 0.0 }
    }

    /// One line, for every second.
    pub fn line(&self) -> String {
        format!(
            "rx {:>8.3} Mpps  tx {:>8.3} Mpps  lost {:>7}  {:>7.1} cycles/packet  {:>5.1} a burst  \
             off CPU {:>4.1}%",
            self.mpps(self.received),
            self.mpps(self.sent),
            self.dropped + self.refused + self.ports.total(),
            self.cycles,
            self.vectors_per_call,
            self.scheduling.wait_share() * 100.0,
        )
    }

    /// The summary.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let mpps = |packets| self.mpps(packets);
        // A String takes everything.
        let _ = writeln!(
            text,
            "received {} ({:.3} Mpps), sent {} ({:.3} Mpps) in {:.1} s",
            self.received,
            mpps(self.received),
            self.sent,
            mpps(self.sent),
            self.seconds
        );
        let PortCounts { missed, no_buffer, rx_errors, tx_errors } = self.ports;
        let _ = writeln!(
            text,
            "lost: {} dropped by the graph, {} not taken by a port, {} unaccounted; by drivers: \
             {missed} missed, {no_buffer} without buffer, {rx_errors} receive errors, {tx_errors} \
             transmit errors",
            self.dropped,
            self.refused,
            self.unaccounted()
        );
        for (reason, packets) in &self.reasons {
            let _ = writeln!(text, "    {packets:>12} {reason}");
        }
        let _ = writeln!(
            text,
            "{:.1} core cycles per packet ({:.1} TSC clocks), {:.1} packets a burst; {:.0}% of the time \
             thrown away",
            self.cycles,
            self.clocks,
            self.vectors_per_call,
            self.disturbed * 100.0
        );
        let _ = writeln!(
            text,
            "taken off the CPU {} times, {:.2}% of the time waiting for it",
            self.scheduling.involuntary_switches,
            self.scheduling.wait_share() * 100.0
        );
        text
    }

    /// The nodes, in core cycles per packet.
    pub fn node_lines(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let cycles = node.clocks * self.cycles_per_clock;
            let NodeResult { name, clocks, vectors_per_call, .. } = node;
            let _ = writeln!(
                text,
                "    {name:<24} {cycles:>8.1} cycles {clocks:>8.1} clk {vectors_per_call:>8.1} \
                 vectors/call"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ForwardReport {
        let mut report = ForwardReport { seconds: 2.0, cycles: 123.4, ..ForwardReport::default() };
        let passed = Passed { received: 4_000_000, sent: 3_000_000, freed: 999_990, made: 10 };
        report.set_passed(passed, 999_000);
        report.ports = PortCounts { missed: 5, tx_errors: 6, ..PortCounts::default() };
        report
    }

    #[test]
    fn every_packet_is_accounted_for() {
        let report = report();
        assert_eq!((report.dropped, report.refused, report.unaccounted()), (990, 999_000, 20));
        assert_eq!((report.mpps(report.received), report.mpps(report.sent)), (2.0, 1.5));
    }

    #[test]
    fn the_text_has_the_figures() {
        let mut report = report();
        report.reasons = vec![("lb4-vip: sticky table full".to_owned(), 990)];
        assert!(report.line().contains("rx    2.000 Mpps  tx    1.500 Mpps  lost 1000001"));
        let summary = report.summary();
        for part in [
            "990 dropped by the graph",
            "999000 not taken",
            "20 unaccounted",
            "5 missed",
            "6 transmit errors",
            "990 lb4-vip: sticky table full",
            "123.4 core cycles",
        ] {
            assert!(summary.contains(part), "{part}: {summary}");
        }
    }
}
