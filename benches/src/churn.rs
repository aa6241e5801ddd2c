//! [`Churn`]: ASs that come, go and change their weight while workers forward.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use control::control::Control;

/// How often control looks for events and for tables that are built.
const PUMP_INTERVAL: Duration = Duration::from_millis(1);

/// What is done to each AS: a new weight, away, there again.
const STEPS: [&str; 3] = [" weight 50", " del", ""];
/// With [`Kinds::All`], also: its flows are sent elsewhere.
const ALL_STEPS: [&str; 5] = [" weight 50", " del", "", " del flush", ""];
/// ASs that one transaction weighs anew, as a reload may.
const AT_ONCE: usize = 50;

/// Which changes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kinds {
    /// A new weight for an AS, away, there again.
    #[default]
    Servers,
    /// Also flushes, sticky tables of another size, and transactions over many ASs.
    All,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// A command.
    Line(String),
    /// Commands that take effect at once.
    Together(Vec<String>),
}

/// What was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changes {
    /// Changes of one AS.
    pub count: u64,
    /// Seconds that all of them took on the control thread. Tables of new flows are built on another.
    pub seconds: f64,
    /// Seconds of the slowest.
    pub slowest_s: f64,
    /// Seconds during which there were changes.
    pub elapsed_s: f64,
}

impl Changes {
    /// Adds those of another time.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.seconds += other.seconds;
        self.slowest_s = self.slowest_s.max(other.slowest_s);
        self.elapsed_s += other.elapsed_s;
    }
}

/// Changes one AS of a VIP after the other: a new weight, away, and there again.
#[derive(Clone, Debug)]
pub struct Churn {
    /// By AS: the words of `lb as` that name it.
    servers: Vec<String>,
    kinds: Kinds,
    /// Sticky buckets per worker at the start.
    buckets: u32,
    next: usize,
    /// For how long there have been changes, pauses between measurements left out.
    at_work: Duration,
}

impl Churn {
    /// Of ASs, each named by its VIP's key and its address.
    pub fn new(servers: Vec<String>, kinds: Kinds, buckets: u32) -> Self {
        Self { servers, kinds, buckets, next: 0, at_work: Duration::ZERO }
    }

    /// After so many changes everything is as it was.
    fn cycle(&self) -> usize {
        match self.kinds {
            Kinds::Servers => STEPS.len(),
            // Twice, as sticky tables grow and shrink in turns.
            Kinds::All => 2 * (ALL_STEPS.len() + 2),
        }
    }

    /// The next change.
    fn command(&mut self) -> Option<Change> {
        let (steps, round) = match self.kinds {
            Kinds::Servers => (&STEPS[..], STEPS.len()),
            Kinds::All => (&ALL_STEPS[..], ALL_STEPS.len() + 2),
        };
        let (turn, step) = (self.next / round, self.next % round);
        let server = self.servers.get(turn % self.servers.len().max(1))?;
        self.next += 1;
        let even = turn.is_multiple_of(2);
        Some(match steps.get(step) {
            Some(more) => Change::Line(format!("lb as {server}{more}")),
            None if step == steps.len() => {
                let buckets = if even { 2 * self.buckets } else { self.buckets };
                Change::Line(format!("lb conf buckets {buckets}"))
            }
            None => {
                let weight = if even { 50 } else { 100 };
                let some = self.servers.iter().take(AT_ONCE);
                Change::Together(some.map(|s| format!("lb as {s} weight {weight}")).collect())
            }
        })
    }

    /// Changes `per_second` times a second until `stop`, by the code that carries out the daemon's
    /// command lines.
    ///
    /// # Errors
    ///
    /// A command that is refused.
    pub fn run(
        &mut self,
        control: &mut Control,
        per_second: u32,
        stop: &AtomicBool,
    ) -> Result<Changes, String> {
        let start = Instant::now();
        let mut changes = Changes::default();
        while !stop.load(Ordering::Relaxed) {
            let due = Duration::from_secs_f64((self.next as f64 + 0.5) / f64::from(per_second));
            let wait = due.saturating_sub(self.at_work + start.elapsed());
            if !wait.is_zero() {
                std::thread::sleep(wait.min(PUMP_INTERVAL));
                control.pump();
                continue;
            }
            let begin = Instant::now();
            self.change(control)?;
            let seconds = begin.elapsed().as_secs_f64();
            changes.add(Changes { count: 1, seconds, slowest_s: seconds, elapsed_s: 0.0 });
        }
        let elapsed = start.elapsed();
        self.at_work += elapsed;
        changes.elapsed_s = elapsed.as_secs_f64();
        // Nothing is measured any more; the next measurement finds all ASs as they were.
        while !self.next.is_multiple_of(self.cycle()) {
            self.change(control)?;
        }
        while control.tables_waiting() > 0 {
            std::thread::sleep(PUMP_INTERVAL);
            control.pump();
        }
        Ok(changes)
    }

    /// Carries out the next change, as the daemon does.
    fn change(&mut self, control: &mut Control) -> Result<(), String> {
        let change = self.command().ok_or("there is no AS to change")?;
        let problem = |problem: config::Problem| format!("{change:?}: {}", problem.reason);
        match &change {
            Change::Line(line) => {
                let command = config::parse(line).map_err(problem)?;
                control.execute(&command).map_err(problem)?;
            }
            Change::Together(lines) => {
                let mut draft = control.draft();
                for line in lines {
                    let command = config::parse(line).map_err(problem)?;
                    draft.apply(&command).map_err(problem)?;
                }
                control.commit(draft);
            }
        }
        control.publish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_as_changes_and_is_as_before() {
        let servers = vec!["v a".to_owned(), "v b".to_owned()];
        let mut churn = Churn::new(servers.clone(), Kinds::Servers, 64);
        let commands: Vec<_> = (0..7).filter_map(|_| churn.command()).collect();
        let expected =
            ["v a weight 50", "v a del", "v a", "v b weight 50", "v b del", "v b", "v a weight 50"];
        assert_eq!(commands, expected.map(|words| Change::Line(format!("lb as {words}"))));
        assert_eq!(Churn::new(Vec::new(), Kinds::All, 64).command(), None);
        let mut churn = Churn::new(servers, Kinds::All, 64);
        let commands: Vec<_> = (0..churn.cycle()).filter_map(|_| churn.command()).collect();
        let together = |weight| ["a", "b"].map(|s| format!("lb as v {s} weight {weight}")).to_vec();
        assert_eq!(commands[5], Change::Line("lb conf buckets 128".into()));
        assert_eq!(commands[6], Change::Together(together(50)));
        assert_eq!(commands[12], Change::Line("lb conf buckets 64".into()));
        assert_eq!(commands[13], Change::Together(together(100)));
    }

    #[test]
    fn changes_add_up() {
        let mut changes = Changes::default();
        for seconds in [1.0, 3.0, 2.0] {
            changes.add(Changes { count: 1, seconds, slowest_s: seconds, elapsed_s: 4.0 });
        }
        let expected = Changes { count: 3, seconds: 6.0, slowest_s: 3.0, elapsed_s: 12.0 };
        assert_eq!(changes, expected);
    }
}
