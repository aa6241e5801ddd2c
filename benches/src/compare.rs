//! Compares two reports.

use std::fmt::Write;

use crate::report::{Case, CaseResult, Report};

/// How a case changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The case.
    pub case: Case,
    /// Median cycles per packet, before and after.
    pub cycles: (f64, f64),
    /// Median cycles of the work alone, before and after, when both reports have them.
    pub work: Option<(f64, f64)>,
}

impl Change {
    /// What is judged: the work alone where it is known, as `io` differs between runs for reasons
    /// that have nothing to do with us; else the whole path.
    pub fn ratio(&self) -> f64 {
        let (before, after) = self.work.filter(|(before, _)| *before > 0.0).unwrap_or(self.cycles);
        if before > 0.0 { after / before } else { 1.0 }
    }
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Cases of both reports, in the order of the second.
    pub changes: Vec<Change>,
    /// Cases of one report only.
    pub unmatched: Vec<Case>,
    /// False when they are of different machines or builds.
    pub same_host: bool,
}

/// Matches the cases of two reports.
///
/// # Errors
///
/// When a report is of another version of the format.
pub fn compare(before: &Report, after: &Report) -> Result<Comparison, String> {
    for report in [before, after] {
        if report.schema != crate::report::SCHEMA {
            return Err(format!("schema {} is not understood", report.schema));
        }
    }
    let find = |report: &'_ Report, case: &Case| -> Option<CaseResult> {
        report.results.iter().find(|result| result.case == *case).cloned()
    };
    let change = |after: &CaseResult| {
        let before = find(before, &after.case)?;
        Some(Change {
            case: after.case.clone(),
            cycles: (before.cycles.median, after.cycles.median),
            work: before.work_cycles.zip(after.work_cycles).map(|(b, a)| (b.median, a.median)),
        })
    };
    let only = |one: &Report, other: &Report| {
        let cases = one.results.iter().map(|result| result.case.clone());
        cases.filter(|case| find(other, case).is_none()).collect::<Vec<_>>()
    };
    Ok(Comparison {
        changes: after.results.iter().filter_map(change).collect(),
        unmatched: [only(before, after), only(after, before)].concat(),
        same_host: before.host.is_like(&after.host),
    })
}

impl Comparison {
    /// Cases that got worse by more than `threshold` percent.
    pub fn worse(&self, threshold: f64) -> Vec<&Change> {
        let limit = 1.0 + threshold / 100.0;
        self.changes.iter().filter(|change| change.ratio() > limit).collect()
    }

    /// A table.
    pub fn text(&self, threshold: f64) -> String {
        let mut text = String::new();
        // A String takes everything.
        if !self.same_host {
            let _ = writeln!(text, "warning: different machines, kernels or builds");
        }
        let _ = writeln!(
            text,
            "{:<52} {:>16} {:>16} {:>7}",
            "median core cycles per packet", "whole path", "work alone", "ratio"
        );
        let limit = 1.0 + threshold / 100.0;
        for change in &self.changes {
            let pair = |(before, after): (f64, f64)| format!("{before:.1} → {after:.1}");
            let mark = if change.ratio() > limit { "  WORSE" } else { "" };
            let _ = writeln!(
                text,
                "{:<52} {:>16} {:>16} {:>7.3}{mark}",
                change.case.to_string(),
                pair(change.cycles),
                change.work.map_or_else(|| "-".to_owned(), pair),
                change.ratio()
            );
        }
        for case in &self.unmatched {
            let _ = writeln!(text, "only in one of the reports: {case}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::mode::Mode;
    use crate::report::SCHEMA;
    use crate::sample_results::{sample_case, sample_result};
    use crate::statistics::Range;

    fn result(mode: Mode, flows: u64, cycles: f64, work: Option<f64>) -> CaseResult {
        let range = |value| Range { min: value, median: value, max: value };
        CaseResult {
            case: Case { mode, flows, ..sample_case() },
            clocks: range(cycles),
            cycles: range(cycles),
            ns: range(cycles),
            work_cycles: work.map(range),
            ..sample_result()
        }
    }

    fn report(results: Vec<CaseResult>) -> Report {
        let host = Host::default();
        let version = String::new();
        Report { schema: SCHEMA, version, command: Vec::new(), host, tsc_hz: 1.0, results }
    }

    #[test]
    fn the_threshold_is_a_percentage_of_the_work() {
        let before = report(vec![
            result(Mode::Io, 1, 20.0, None),
            result(Mode::LbNat4, 1, 120.0, Some(100.0)),
        ]);
        // The whole path got better, the work alone worse by a tenth.
        let after = report(vec![
            result(Mode::Io, 1, 5.0, None),
            result(Mode::LbNat4, 1, 115.0, Some(110.0)),
        ]);
        let comparison = compare(&before, &after).unwrap();
        assert!((comparison.changes[1].ratio() - 1.1).abs() < 1e-12);
        assert_eq!(comparison.worse(9.0).len(), 1);
        assert!(comparison.worse(11.0).is_empty());
        assert!(comparison.text(9.0).contains("WORSE"));
        assert!(!comparison.text(11.0).contains("WORSE"));
        // The other way round it is an improvement.
        assert!(compare(&after, &before).unwrap().worse(300.0).is_empty());
    }

    #[test]
    fn without_work_the_whole_path_counts() {
        let before = report(vec![result(Mode::Io, 1, 20.0, None)]);
        let after = report(vec![result(Mode::Io, 1, 21.0, None)]);
        assert_eq!(compare(&before, &after).unwrap().changes[0].ratio(), 1.05);
    }

    #[test]
    fn cases_of_one_report_are_named() {
        let before = report(vec![result(Mode::Io, 1, 20.0, None)]);
        let after = report(vec![result(Mode::Io, 1000, 20.0, None)]);
        let comparison = compare(&before, &after).unwrap();
        assert!(comparison.changes.is_empty());
        assert_eq!(comparison.unmatched.len(), 2);
        assert!(
            comparison.text(5.0).contains("only in one of the reports: io udp 64 B, 1000 flows")
        );
    }

    #[test]
    fn other_machines_and_formats_are_told_apart() {
        let one = report(Vec::new());
        let mut other = report(Vec::new());
        other.host.cpu = "another".into();
        assert!(!compare(&one, &other).unwrap().same_host);
        assert!(compare(&one, &other).unwrap().text(5.0).contains("warning"));
        other.schema += 1;
        assert!(compare(&one, &other).is_err());
    }
}
