//! [`Search`]: the highest load that a device forwards with no more than some loss.
//!
//! RFC 2544 (§26.1) repeats trials at rates between one that loses nothing and one that does. As in
//! multiple loss ratio search (MLRsearch, draft-ietf-bmwg-mlrsearch), trials serve all loss ratios at
//! once, and short and coarse trials find the region in which the long ones decide.

use serde::{Deserialize, Serialize};

/// Trials per phase and loss ratio at most: a device that behaves differently each time has no answer.
const TRIALS_MAX: usize = 40;
/// How often a trial that lost packets, or offered too few, is repeated when somebody else had the CPU.
const PATIENCE: usize = 3;
/// A source that sends less than this share of what it was asked for is at its limit.
const SOURCE_LIMIT: f64 = 0.97;

/// What came of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialOutcome {
    /// Packets per second that were asked for.
    pub wanted: f64,
    /// Packets per second that were offered.
    pub offered: f64,
    /// Seconds.
    pub seconds: f64,
    /// Packets that were sent.
    pub sent: u64,
    /// Of these, packets that were lost.
    pub lost: u64,
    /// Somebody else had the CPU of the device or of the source for some time.
    pub disturbed: bool,
}

impl TrialOutcome {
    /// Lost packets of all that were sent; 1 when nothing could be sent.
    pub fn loss_ratio(&self) -> f64 {
        if self.sent == 0 { 1.0 } else { self.lost as f64 / self.sent as f64 }
    }

    /// Was much less offered than was asked for?
    pub fn is_starved(&self) -> bool {
        self.offered < self.wanted * SOURCE_LIMIT
    }
}

/// What is searched.
pub trait Subject {
    /// Offers `rate` packets per second for so long.
    ///
    /// # Errors
    ///
    /// What went wrong with the trial itself; the search ends.
    fn trial(&mut self, rate: f64, seconds: f64) -> Result<TrialOutcome, String>;
}

/// How to search.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// Loss ratios: 0 for the non-drop rate, more for partial drop rates.
    pub loss_ratios: Vec<f64>,
    /// Packets per second with which it begins, at most.
    pub max_rate: f64,
    /// Packets per second below which nothing is tried.
    pub min_rate: f64,
    /// Seconds of the trials that decide.
    pub trial_seconds: f64,
    /// How far the rate found and the rate too much may be apart: 0.01 for 1 %.
    pub precision: f64,
}

/// What was found for a loss ratio.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The ratio.
    pub loss_ratio: f64,
    /// Packets per second with no more loss, in the trials that decide; `None` when even the lowest
    /// rate lost more.
    pub rate: Option<f64>,
    /// The lowest rate above it that lost more; `None` when none did: the source is the limit.
    pub too_much: Option<f64>,
    /// A trial that decided was disturbed each time it was repeated, or the rates in question could not
    /// be offered.
    pub disturbed: bool,
}

/// Trials of one duration, and how precise they are to be.
struct Phase {
    seconds: f64,
    width: f64,
    trials: Vec<TrialOutcome>,
}

impl Phase {
    /// The highest rate that passes below every rate that does not, and the lowest that does not.
    fn bounds(&self, ratio: f64) -> (Option<TrialOutcome>, Option<TrialOutcome>) {
        let by_rate = |a: &&TrialOutcome, b: &&TrialOutcome| a.offered.total_cmp(&b.offered);
        let (passed, failed): (Vec<_>, Vec<_>) =
            self.trials.iter().partition(|trial| trial.loss_ratio() <= ratio);
        let upper = failed.into_iter().min_by(by_rate).copied();
        let below = |trial: &&TrialOutcome| upper.is_none_or(|u| trial.offered < u.offered);
        (passed.into_iter().filter(below).max_by(by_rate).copied(), upper)
    }
}

impl Search {
    /// Searches, and tells `watch` of every trial.
    ///
    /// # Errors
    ///
    /// What a trial could not do.
    pub fn run(
        &self,
        subject: &mut impl Subject,
        watch: &mut impl FnMut(&TrialOutcome),
    ) -> Result<Vec<Found>, String> {
        let short = self.trial_seconds / 4.0;
        let first = trial(subject, self.max_rate, short, watch)?;
        // What a device forwards when it is overloaded is a good guess for all ratios.
        let forwarded = first.offered * (1.0 - first.loss_ratio());
        let guess = forwarded.clamp(self.min_rate, self.max_rate);
        let coarse = 4.0 * self.precision;
        let mut rough = Phase { seconds: short, width: coarse, trials: vec![first] };
        let (seconds, width) = (self.trial_seconds, self.precision);
        let mut last = Phase { seconds, width, trials: Vec::new() };
        let mut found = Vec::new();
        for ratio in &self.loss_ratios {
            let about = self.refine(subject, &mut rough, *ratio, guess, watch)?;
            let about = about.rate.unwrap_or(self.min_rate);
            found.push(self.refine(subject, &mut last, *ratio, about, watch)?);
        }
        Ok(found)
    }

    /// Makes trials of a phase until the answer for a ratio is as precise as the phase is.
    fn refine(
        &self,
        subject: &mut impl Subject,
        phase: &mut Phase,
        ratio: f64,
        guess: f64,
        watch: &mut impl FnMut(&TrialOutcome),
    ) -> Result<Found, String> {
        let (mut step, mut starved) = (phase.width, 0);
        for _ in 0..TRIALS_MAX {
            let (lower, upper) = phase.bounds(ratio);
            if starved >= PATIENCE {
                // The rate wanted cannot be had: nothing more is to be learned.
                return Ok(Found { disturbed: true, ..found(ratio, lower, upper) });
            }
            let next = match (lower, upper) {
                (None, None) => guess,
                (Some(lower), None) => {
                    if lower.is_starved() || lower.wanted >= self.max_rate {
                        return Ok(found(ratio, Some(lower), None));
                    }
                    step *= 2.0;
                    (lower.offered * (1.0 + step)).min(self.max_rate)
                }
                (None, Some(upper)) => {
                    if upper.wanted <= self.min_rate {
                        return Ok(found(ratio, None, Some(upper)));
                    }
                    step *= 2.0;
                    // The guess may be far below, and was found by trials.
                    let down = upper.offered / (1.0 + step);
                    if guess < upper.offered * 0.999 { down.min(guess) } else { down }
                }
                (Some(lower), Some(upper)) => {
                    if upper.offered <= lower.offered * (1.0 + phase.width) {
                        return Ok(found(ratio, Some(lower), Some(upper)));
                    }
                    // No further below what is too much than is of interest.
                    let middle = (lower.offered * upper.offered).sqrt();
                    middle.max(lower.offered * (1.0 + phase.width / 2.0))
                }
            };
            let rate = next.clamp(self.min_rate, self.max_rate);
            let outcome = trial(subject, rate, phase.seconds, watch)?;
            starved += usize::from(outcome.disturbed && outcome.is_starved());
            phase.trials.push(outcome);
        }
        let (lower, upper) = phase.bounds(ratio);
        Ok(found(ratio, lower, upper))
    }
}

fn found(loss_ratio: f64, lower: Option<TrialOutcome>, upper: Option<TrialOutcome>) -> Found {
    let starved = |lower: TrialOutcome| lower.disturbed && lower.is_starved();
    let disturbed = upper.map_or_else(|| lower.is_some_and(starved), |upper| upper.disturbed);
    let rate = |trial: TrialOutcome| trial.offered;
    Found { loss_ratio, rate: lower.map(rate), too_much: upper.map(rate), disturbed }
}

/// One trial, repeated while it lost packets that the device may not have lost, or was no trial of the
/// rate at all.
fn trial(
    subject: &mut impl Subject,
    rate: f64,
    seconds: f64,
    watch: &mut impl FnMut(&TrialOutcome),
) -> Result<TrialOutcome, String> {
    let mut outcome = subject.trial(rate, seconds)?;
    watch(&outcome);
    for _ in 1..PATIENCE {
        let doubtful = outcome.lost > 0 || outcome.is_starved();
        if !doubtful || !outcome.disturbed {
            break;
        }
        outcome = subject.trial(rate, seconds)?;
        watch(&outcome);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forwards up to `capacity` packets per second, and loses `noise` of them anyhow.
    struct Synthetic {
        capacity: f64,
        noise: f64,
        /// The source sends no faster.
        source: f64,
        /// Every so many trials somebody else has the CPU, which costs half of the packets.
        disturbed_every: usize,
        trials: usize,
        seconds: f64,
    }

    impl Synthetic {
        fn new(capacity: f64) -> Self {
            let (noise, source) = (0.0, f64::INFINITY);
            Self { capacity, noise, source, disturbed_every: usize::MAX, trials: 0, seconds: 0.0 }
        }
    }

    impl Subject for Synthetic {
        fn trial(&mut self, wanted: f64, seconds: f64) -> Result<TrialOutcome, String> {
            self.trials += 1;
            self.seconds += seconds;
            let offered = wanted.min(self.source);
            let disturbed = self.trials.is_multiple_of(self.disturbed_every);
            let capacity = if disturbed { self.capacity / 2.0 } else { self.capacity };
            let sent = (offered * seconds) as u64;
            let lost = (sent as f64 - capacity * seconds).max(self.noise * sent as f64) as u64;
            Ok(TrialOutcome { wanted, offered, seconds, sent, lost, disturbed })
        }
    }

    fn search(max_rate: f64) -> Search {
        let loss_ratios = vec![0.0, 0.005];
        Search { loss_ratios, max_rate, min_rate: 1e3, trial_seconds: 1.0, precision: 0.01 }
    }

    fn run(search: &Search, subject: &mut Synthetic) -> Vec<Found> {
        search.run(subject, &mut |_| ()).unwrap()
    }

    #[test]
    fn finds_the_threshold_of_every_ratio() {
        for capacity in [2e3, 1.234e5, 5e6, 9.99e6, 3.3e7] {
            let mut device = Synthetic::new(capacity);
            let found = run(&search(4e7), &mut device);
            for (found, exact) in found.iter().zip([capacity, capacity / 0.995]) {
                let rate = found.rate.unwrap();
                // A packet in part is no packet: half a per mille of leeway at the lowest rates.
                assert!(rate <= exact * 1.0005, "{rate} of {exact}");
                assert!(rate >= exact / 1.0101, "{rate} of {exact}");
                assert!(found.too_much.unwrap() > exact && !found.disturbed);
            }
            assert!(device.trials < 40, "{} trials for {capacity}", device.trials);
        }
    }

    #[test]
    fn a_device_as_fast_as_the_source_has_no_upper_bound() {
        let mut device = Synthetic { source: 3e6, ..Synthetic::new(1e9) };
        for found in run(&search(1e7), &mut device) {
            assert_eq!((found.rate, found.too_much), (Some(3e6), None));
        }
        let found = run(&search(1e7), &mut Synthetic::new(1e9));
        assert_eq!(found[0].rate, Some(1e7));
    }

    #[test]
    fn a_device_that_always_loses_some_has_only_a_partial_drop_rate() {
        let mut device = Synthetic { noise: 0.002, ..Synthetic::new(1e6) };
        let found = run(&search(1e7), &mut device);
        assert_eq!(found[0].rate, None);
        assert!(found[1].rate.unwrap() > 0.98e6);
    }

    #[test]
    fn disturbed_trials_are_repeated() {
        let mut device = Synthetic { disturbed_every: 3, ..Synthetic::new(1e6) };
        let found = run(&search(1e7), &mut device);
        assert!(found.iter().all(|found| !found.disturbed));
        assert!(found[0].rate.unwrap() > 0.98e6);
        // Always disturbed: the answer says so.
        let mut device = Synthetic { disturbed_every: 1, ..Synthetic::new(1e6) };
        assert!(run(&search(1e7), &mut device).iter().all(|found| found.disturbed));
    }

    #[test]
    fn a_rate_above_one_that_failed_does_not_count() {
        let trial = |offered, lost| TrialOutcome {
            wanted: offered,
            offered,
            seconds: 1.0,
            sent: 1_000,
            lost,
            disturbed: false,
        };
        let trials =
            vec![trial(3e6, 0), trial(1e6, 0), trial(2e6, 7), trial(4e6, 99), trial(5e5, 0)];
        let phase = Phase { seconds: 1.0, width: 0.01, trials };
        let rates = |ratio| {
            let (lower, upper) = phase.bounds(ratio);
            (lower.map(|trial| trial.offered), upper.map(|trial| trial.offered))
        };
        assert_eq!(rates(0.0), (Some(1e6), Some(2e6)));
        assert_eq!(rates(0.007), (Some(3e6), Some(4e6)));
        assert_eq!(rates(0.5), (Some(4e6), None));
    }

    #[test]
    fn a_source_that_is_kept_from_sending_ends_the_search() {
        /// Offers half of what it is asked for, as it is off its CPU for half of the time.
        struct Kept(Synthetic);
        impl Subject for Kept {
            fn trial(&mut self, wanted: f64, seconds: f64) -> Result<TrialOutcome, String> {
                let outcome = self.0.trial(wanted / 2.0, seconds)?;
                Ok(TrialOutcome { wanted, disturbed: true, ..outcome })
            }
        }
        let mut kept = Kept(Synthetic::new(1e6));
        let found = search(1e7).run(&mut kept, &mut |_| ()).unwrap();
        assert!(found.iter().all(|found| found.disturbed), "{found:?}");
        assert!(kept.0.trials < 60, "{} trials", kept.0.trials);
    }

    #[test]
    fn what_goes_wrong_ends_the_search() {
        struct Broken;
        impl Subject for Broken {
            fn trial(&mut self, _: f64, _: f64) -> Result<TrialOutcome, String> {
                Err("the generator ended".to_owned())
            }
        }
        let error = search(1e7).run(&mut Broken, &mut |_| ()).unwrap_err();
        assert_eq!(error, "the generator ended");
        let nothing = TrialOutcome {
            wanted: 1.0,
            offered: 0.0,
            seconds: 1.0,
            sent: 0,
            lost: 0,
            disturbed: false,
        };
        assert_eq!(nothing.loss_ratio(), 1.0);
    }
}
