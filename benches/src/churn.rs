//! [`Churn`]: ASs that come, go and change their weight while workers forward.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use control::control::Control;

/// How often control looks for events and for tables that are built.
const PUMP_INTERVAL: Duration = Duration::from_millis(1);

/// What is done to each AS: a new weight, away, there again.
const STEPS: [&str; 3] = [" weight 50", " del", ""];

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
    next: usize,
    /// For how long there have been changes, pauses between measurements left out.
    at_work: Duration,
}

impl Churn {
    /// Of ASs, each named by its VIP's key and its address.
    pub fn new(servers: Vec<String>) -> Self {
        Self { servers, next: 0, at_work: Duration::ZERO }
    }

    /// The next change.
    fn command(&mut self) -> Option<String> {
        let server = self.servers.get(self.next / STEPS.len() % self.servers.len().max(1))?;
        let more = STEPS[self.next % STEPS.len()];
        self.next += 1;
        Some(format!("lb as {server}{more}"))
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
        while !self.next.is_multiple_of(STEPS.len()) {
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
        let line = self.command().ok_or("there is no AS to change")?;
        let problem = |problem: config::Problem| format!("{line}: {}", problem.reason);
        let command = config::parse(&line).map_err(problem)?;
        control.execute(&command).map_err(problem)?;
        control.publish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_as_changes_and_is_as_before() {
        let mut churn = Churn::new(vec!["v a".into(), "v b".into()]);
        let commands: Vec<_> = (0..7).filter_map(|_| churn.command()).collect();
        let expected =
            ["v a weight 50", "v a del", "v a", "v b weight 50", "v b del", "v b", "v a weight 50"];
        assert_eq!(commands, expected.map(|words| format!("lb as {words}")));
        assert_eq!(Churn::new(Vec::new()).command(), None);
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
