//! [`Speedup`]: how much more several workers do than fewer.

use serde::{Deserialize, Serialize};

use crate::experiment::ModeOutcome;
use crate::statistics::Range;
use crate::steadiness::total;

/// Packets per second of several workers, in multiples of fewer ones', which were measured in the same
/// repeats and with the same flows per worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speedup {
    /// How many workers it is compared with.
    pub against: usize,
    /// Of the whole path, source and sink included.
    pub whole: Range,
    /// Of the work alone: each side without its own `io`. Absent for `io`.
    pub work: Option<Range>,
}

fn clocks(outcome: &ModeOutcome) -> Vec<f64> {
    outcome.slices.iter().map(|lanes| total(lanes).clocks_per_packet()).collect()
}

impl Speedup {
    /// Of many workers against few. Each comes with the `io` of as many workers, if it is not `io`
    /// itself.
    pub fn of(
        many: (&ModeOutcome, Option<&ModeOutcome>),
        few: (&ModeOutcome, Option<&ModeOutcome>),
    ) -> Self {
        let factor = many.0.workers as f64 / few.0.workers.max(1) as f64;
        let ratios = |few: Vec<f64>, many: Vec<f64>| {
            Range::of(few.iter().zip(&many).map(|(few, many)| factor * few / many))
        };
        let work = |(own, io): (&ModeOutcome, Option<&ModeOutcome>)| {
            let pairs = clocks(own).into_iter().zip(clocks(io?));
            Some(pairs.map(|(own, io)| own - io).collect::<Vec<_>>())
        };
        Self {
            against: few.0.workers,
            whole: ratios(clocks(few.0), clocks(many.0)),
            work: work(few).zip(work(many)).map(|(few, many)| ratios(few, many)),
        }
    }

    /// One line.
    pub fn text(&self, workers: usize) -> String {
        let times = |range: &Range| {
            format!("{:.2} times ({:.2} to {:.2})", range.median, range.min, range.max)
        };
        let work = self.work.as_ref().map(|work| format!(", the work alone {}", times(work)));
        let whole = times(&self.whole);
        let work = work.unwrap_or_default();
        format!("    {workers} workers do what {} does: whole path {whole}{work}\n", self.against)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::churn::Changes;
    use crate::mode::Mode;
    use crate::slice::Slice;

    fn outcome(workers: usize, clocks_per_packet: &[u64]) -> ModeOutcome {
        let slice = |clocks: &u64| Slice { clocks: clocks * 10, packets: 10, ..Slice::default() };
        ModeOutcome {
            mode: Mode::LbNat4,
            churn: 0,
            workers,
            changes: Changes::default(),
            received: 0,
            lost: 0,
            latencies: Vec::new(),
            stolen_ms: 0,
            slices: clocks_per_packet.iter().map(|c| vec![slice(c); workers]).collect(),
            node_names: Vec::new(),
        }
    }

    #[test]
    fn source_and_sink_do_not_count_as_work() {
        let (one, two) = (outcome(1, &[100, 100, 100]), outcome(2, &[110, 130, 120]));
        let (io_one, io_two) = (outcome(1, &[20, 20, 20]), outcome(2, &[30, 30, 40]));
        let speedup = Speedup::of((&two, Some(&io_two)), (&one, Some(&io_one)));
        assert_eq!(speedup.work, Some(Range { min: 1.6, median: 2.0, max: 2.0 }));
        assert!((speedup.whole.median - 200.0 / 120.0).abs() < 1e-12);
        let text = speedup.text(2);
        assert!(text.contains("2 workers do what 1 does: whole path 1.67"), "{text}");
        assert!(text.contains("the work alone 2.00 times (1.60 to 2.00)"), "{text}");
        let io = Speedup::of((&io_two, None), (&io_one, None));
        assert_eq!((io.work, io.against), (None, 1));
    }
}
