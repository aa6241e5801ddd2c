//! [`Baseline`]: the counts that the sources promise, and what became of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// By workload: instructions for one packet or operation.
pub(super) type Counts = BTreeMap<String, f64>;

/// Counts, and of which build they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The compiler and what it was told: counts of another build say nothing about a change.
    pub build: String,
    /// Instructions.
    pub instructions: Counts,
}

/// What a count is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the limit.
    Same,
    /// So much less that the baseline should be lowered.
    Less,
    /// More than the limit allows.
    More,
    /// The same program needed another number in a second run.
    Unsteady,
    /// The baseline does not have it.
    New,
    /// Only the baseline has it.
    Gone,
    /// The baseline is of another build.
    Foreign,
}

impl Verdict {
    /// Whether the check fails.
    pub fn fails(self) -> bool {
        !matches!(self, Self::Same | Self::Less | Self::Foreign)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Less => "less: lower the baseline",
            Self::More => "FAILED: too many more",
            Self::Unsteady => "FAILED: another number in a second run",
            Self::New => "FAILED: not in the baseline",
            Self::Gone => "FAILED: only in the baseline",
            Self::Foreign => "not judged",
        }
    }
}

/// A workload's line.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The workload.
    pub name: String,
    /// What the baseline has.
    pub before: Option<f64>,
    /// What was counted.
    pub now: Option<f64>,
    /// What it is worth.
    pub verdict: Verdict,
}

/// Counts beside a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// By workload.
    pub rows: Vec<Row>,
    /// The builds, when they differ: the baseline's and the one that was counted.
    pub builds: Option<[String; 2]>,
}

/// Percent by which two counts of the same program may differ: maps with a key of their own in each
/// process put some IPv6 counts 0.1 % apart.
const STEADY: f64 = 1.0;

/// Instructions for one packet or operation that are no difference: where the stack lies decides about
/// as much in copies, which are percents of the smallest counts.
const NOTHING: f64 = 0.5;

impl Baseline {
    /// The baseline in a file.
    ///
    /// # Errors
    ///
    /// A file that is not there or is no baseline.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Writes it to a file.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Compares two counts of a build with this baseline; more than `limit` percent more is too
    /// much.
    pub fn compare(&self, build: &str, counts: [&Counts; 2], limit: f64) -> Comparison {
        let [now, again] = counts;
        let mut names: Vec<&String> = now.keys().chain(self.instructions.keys()).collect();
        names.sort();
        names.dedup();
        let same_build = self.build == build;
        let row = |name: &String| {
            let before = self.instructions.get(name).copied();
            let (now, again) = (now.get(name).copied(), again.get(name).copied());
            let verdict = match (before, now, again) {
                (_, Some(now), Some(again)) if real_change(now, again).abs() > STEADY => {
                    Verdict::Unsteady
                }
                (_, None, _) | (_, _, None) => Verdict::Gone,
                (None, ..) => Verdict::New,
                _ if !same_build => Verdict::Foreign,
                (Some(before), Some(now), _) => match real_change(before, now) {
                    percent if percent > limit => Verdict::More,
                    percent if percent < -limit => Verdict::Less,
                    _ => Verdict::Same,
                },
            };
            Row { name: name.clone(), before, now, verdict }
        };
        let rows = names.into_iter().map(row).collect();
        let builds = (!same_build).then(|| [self.build.clone(), build.to_owned()]);
        Comparison { rows, builds }
    }
}

/// Percent from one count to the other.
fn change(before: f64, now: f64) -> f64 {
    (now - before) / before.max(f64::MIN_POSITIVE) * 100.0
}

/// The same, and 0 for what is no difference.
fn real_change(before: f64, now: f64) -> f64 {
    if (now - before).abs() > NOTHING { change(before, now) } else { 0.0 }
}

impl Comparison {
    /// How many workloads passed, and how many failed.
    pub fn passed_and_failed(&self) -> (usize, usize) {
        let failed = self.rows.iter().filter(|row| row.verdict.fails()).count();
        (self.rows.len() - failed, failed)
    }

    /// A table, and what to do.
    pub fn text(&self, limit: f64) -> String {
        let mut text = format!(
            "{:<48} {:>12} {:>12} {:>9}\n",
            "instructions per packet or operation", "baseline", "now", "change"
        );
        for Row { name, before, now, verdict } in &self.rows {
            let count = |value: &Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.1}"));
            let change = match (before, now) {
                (Some(before), Some(now)) => format!("{:+.1} %", change(*before, *now)),
                _ => "-".to_owned(),
            };
            let (before, now) = (count(before), count(now));
            let line = format!("{name:<48} {before:>12} {now:>12} {change:>9}  {}", verdict.text());
            text += line.trim_end();
            text.push('\n');
        }
        if let Some([before, now]) = &self.builds {
            text += &format!(
                "\nThe baseline was made with: {before}\nThis build was made with:   {now}\n\
                 Counts of different builds say nothing about a change, so none is judged.\n"
            );
        }
        if self.rows.iter().any(|row| row.verdict == Verdict::More) {
            text += &format!(
                "\nPackets take more instructions than before, by more than {limit} %. Find out why: \
                 `sluice-instructions profile WORKLOAD`\nsays which lines they are in. When they \
                 are worth it, or the name of a workload has changed:\n`sluice-instructions \
                 update`, and say in the commit what they buy.\n"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> Counts {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn verdicts(baseline: &Baseline, now: &Counts, again: &Counts) -> Vec<Verdict> {
        let comparison = baseline.compare("rustc 1", [now, again], 3.0);
        comparison.rows.iter().map(|row| row.verdict).collect()
    }

    #[test]
    fn more_than_the_limit_fails_and_less_does_not() {
        let names = ["a", "b", "c", "d"];
        let build = "rustc 1".to_owned();
        let baseline = Baseline { build, instructions: counts(&names.map(|name| (name, 100.0))) };
        let now = counts(&[("a", 102.9), ("b", 103.1), ("c", 96.9), ("d", 97.1)]);
        let expected = [Verdict::Same, Verdict::More, Verdict::Less, Verdict::Same];
        assert_eq!(verdicts(&baseline, &now, &now), expected);
        let comparison = baseline.compare("rustc 1", [&now, &now], 3.0);
        assert_eq!(comparison.passed_and_failed(), (3, 1));
        assert!(comparison.text(3.0).contains("sluice-instructions update"));
    }

    #[test]
    fn what_is_new_gone_or_unsteady_fails() {
        let build = "rustc 1".to_owned();
        let instructions = counts(&[("gone", 1.0), ("unsteady", 100.0)]);
        let baseline = Baseline { build, instructions };
        let now = counts(&[("new", 1.0), ("unsteady", 100.0)]);
        let again = counts(&[("new", 1.0), ("unsteady", 101.2)]);
        let expected = [Verdict::Gone, Verdict::New, Verdict::Unsteady];
        assert_eq!(verdicts(&baseline, &now, &again), expected);
        assert!(expected.iter().all(|verdict| verdict.fails()));
    }

    #[test]
    fn half_an_instruction_is_nothing() {
        let build = "rustc 1".to_owned();
        let baseline = Baseline { build, instructions: counts(&[("a", 10.0), ("b", 10.0)]) };
        let now = counts(&[("a", 10.4), ("b", 10.6)]);
        let again = counts(&[("a", 10.0), ("b", 10.6)]);
        assert_eq!(verdicts(&baseline, &now, &again), [Verdict::Same, Verdict::More]);
    }

    #[test]
    fn another_build_is_not_judged() {
        let baseline =
            Baseline { build: "rustc 2".to_owned(), instructions: counts(&[("a", 1.0)]) };
        let now = counts(&[("a", 2.0)]);
        let comparison = baseline.compare("rustc 1", [&now, &now], 3.0);
        assert_eq!(comparison.passed_and_failed(), (1, 0));
        let text = comparison.text(3.0);
        assert!(text.contains("rustc 2") && text.contains("none is judged"), "{text}");
    }

    #[test]
    fn files_keep_everything() {
        let path = std::env::temp_dir().join(format!("baseline-{}.json", std::process::id()));
        let instructions = counts(&[("a", 1.25), ("b: c, 1 flow", 1e6)]);
        let baseline = Baseline { build: "rustc 1".to_owned(), instructions };
        baseline.write(&path).unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), baseline);
        std::fs::write(&path, "{}").unwrap();
        assert!(Baseline::read(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
