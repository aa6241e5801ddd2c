//! [`GeneratorReport`]: what was sent and what came back, for people and as JSON.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::histogram::Latency;
use crate::ports::port_counts::PortCounts;
use crate::ports::scheduling::Scheduling;
use crate::ports::search::TrialOutcome;

/// One load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorReport {
    /// Million packets per second that were asked for; absent for as many as possible.
    pub wanted_mpps: Option<f64>,
    /// Seconds of sending.
    pub seconds: f64,
    /// Packets that the port took.
    pub sent: u64,
    /// Packets that it did not take, as its queue was full.
    pub refused: u64,
    /// Times that no mbufs were free.
    pub starved: u64,
    /// Packets that were due while this process was off its CPU, and were not sent.
    pub skipped: u64,
    /// Different packets that came back.
    pub received: u64,
    /// Packets that did not.
    pub lost: u64,
    /// Packets that came back once more.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came too late to be told from duplicates; they count as lost.
    pub late: u64,
    /// Packets that are none of this load's.
    pub foreign: u64,
    /// Packets carried a number and a time. Without, they are only counted.
    pub stamped: bool,
    /// Nanoseconds from sending to receiving.
    pub latency: Option<Latency>,
    /// What the driver lost.
    pub ports: PortCounts,
    /// The thread's use of its CPU.
    pub scheduling: Scheduling,
}

impl GeneratorReport {
    /// Million packets per second while it sent.
    pub fn mpps(&self, packets: u64) -> f64 {
        if self.seconds > 0.0 { packets as f64 / self.seconds / 1e6 } else { 0.0 }
    }

    /// As a trial of a search. On virtual links the sender's queue is the receiver's: what was due
    /// and did not fit is what a network card would have missed, so it counts as sent and lost.
    pub fn outcome(&self, disturbed: bool) -> TrialOutcome {
        let refused = if self.wanted_mpps.is_some() { self.refused } else { 0 };
        let offered = self.mpps(self.sent + refused) * 1e6;
        TrialOutcome {
            wanted: self.wanted_mpps.map_or(offered, |mpps| mpps * 1e6),
            offered,
            seconds: self.seconds,
            sent: self.sent + refused,
            lost: self.lost + refused,
            disturbed,
        }
    }

    /// The summary.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let mpps = |packets| self.mpps(packets);
        let wanted = self.wanted_mpps.map_or("as many as possible".to_owned(), |wanted| {
            format!("{wanted:.3} Mpps wanted, {} not sent while off the CPU", self.skipped)
        });
        // A String takes everything.
        let _ = writeln!(
            text,
            "sent {} ({:.3} Mpps; {wanted}) in {:.1} s, {} more were not taken by the port",
            self.sent,
            mpps(self.sent),
            self.seconds,
            self.refused
        );
        let ratio = self.lost as f64 * 100.0 / self.sent.max(1) as f64;
        let Self { received, lost, .. } = self;
        let _ = writeln!(
            text,
            "came back {received} ({:.3} Mpps), lost {lost} ({ratio:.4} %)",
            mpps(*received)
        );
        let Self { duplicates, reordered, late, foreign, .. } = self;
        let _ = match (self.stamped, self.latency) {
            (false, _) => writeln!(
                text,
                "packets this short carry neither number nor time: they were only counted"
            ),
            (true, None) => writeln!(text, "nothing came back; {foreign} packets were not ours"),
            (true, Some(latency)) => writeln!(
                text,
                "{duplicates} twice, {reordered} out of order, {late} too late, {foreign} not ours\n\
                 latency {latency}"
            ),
        };
        if self.ports.total() > 0 {
            let PortCounts { missed, no_buffer, rx_errors, tx_errors } = self.ports;
            let _ = writeln!(
                text,
                "by the driver: {missed} missed, {no_buffer} without buffer, {rx_errors} receive \
                 errors, {tx_errors} transmit errors"
            );
        }
        let _ = writeln!(
            text,
            "taken off the CPU {} times, {:.2}% of the time waiting for it",
            self.scheduling.involuntary_switches,
            self.scheduling.wait_share() * 100.0
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_figures() {
        let latency = Latency { p50: 1_500.0, p99: 2e4, p999: 3e4, max: 4e6, packets: 9 };
        let report = GeneratorReport {
            wanted_mpps: Some(2.0),
            seconds: 2.0,
            sent: 4_000_000,
            received: 3_999_000,
            lost: 1_000,
            stamped: true,
            latency: Some(latency),
            ..GeneratorReport::default()
        };
        let text = report.summary();
        for part in [
            "sent 4000000 (2.000 Mpps; 2.000 Mpps wanted",
            "lost 1000 (0.0250 %)",
            "p50 1.5 µs, p99 20.0 µs, p99.9 30.0 µs, max 4000.0 µs",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let outcome = report.outcome(true);
        assert_eq!((outcome.wanted, outcome.offered, outcome.lost), (2e6, 2e6, 1_000));
        assert!(outcome.disturbed);
        let full = GeneratorReport { refused: 500, ..report.clone() };
        assert_eq!((full.outcome(false).sent, full.outcome(false).lost), (4_000_500, 1_500));
        let unpaced = GeneratorReport { wanted_mpps: None, ..full };
        assert_eq!(unpaced.outcome(false).lost, 1_000);
        let counted = GeneratorReport { stamped: false, latency: None, ..report };
        assert!(counted.summary().contains("only counted"));
    }
}
