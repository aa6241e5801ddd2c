//! What `reload` and `diff` answer.

use std::fmt::{self, Display, Formatter};

use config::Restart;
use serde::{Serialize, Serializer};

use super::{Changes, Impact, Sign};

/// What a reload has changed; the body of `PUT /v1/config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Where the configuration came from.
    pub source: String,
    /// What has changed.
    pub changes: Changes,
    /// What else the file says, and takes a restart.
    #[serde(serialize_with = "restarts")]
    pub restart_needed: Vec<Restart>,
    /// Commands of the file that need a device that is not running.
    pub waiting: Vec<String>,
    /// Another key hashes flows than before.
    pub rehashed: bool,
    /// Seconds within which it is to be confirmed.
    pub confirm_within_s: Option<u32>,
}

/// What a reload would change; the body of `PUT /v1/config?dry-run=true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// What would change.
    pub changes: Changes,
    /// What else the file says, and takes a restart.
    #[serde(serialize_with = "restarts")]
    pub restart_needed: Vec<Restart>,
    /// Commands of the file that need a device that is not running.
    pub waiting: Vec<String>,
    /// What that does to flows and memory.
    pub impact: Impact,
}

fn restarts<S: Serializer>(restarts: &[Restart], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Key<'a> {
        key: &'a str,
        old: &'a Option<String>,
        new: &'a Option<String>,
    }
    let key = |Restart { key, old, new }: &'_ Restart| (key.clone(), old.clone(), new.clone());
    let all: Vec<_> = restarts.iter().map(key).collect();
    serializer.collect_seq(all.iter().map(|(key, old, new)| Key { key, old, new }))
}

fn later(f: &mut Formatter<'_>, restarts: &[Restart], waiting: &[String]) -> fmt::Result {
    restarts.iter().try_for_each(|restart| writeln!(f, "{restart}"))?;
    waiting.iter().try_for_each(|line| writeln!(f, "restart needed: {line}"))
}

impl Display for Reloaded {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.changes.fmt(f)?;
        later(f, &self.restart_needed, &self.waiting)?;
        if self.rehashed {
            writeln!(f, "{}", super::impact::REHASHED)?;
        }
        let count = |sign| self.changes.count(sign);
        let [gone, new, changed] = [Sign::Gone, Sign::New, Sign::Changed].map(count);
        let source = &self.source;
        writeln!(f, "reloaded {source}: {gone} removed, {new} added, {changed} changed")?;
        match self.confirm_within_s {
            Some(s) => writeln!(f, "`confirm` within {s} s, or all of it is undone"),
            None => Ok(()),
        }
    }
}

impl Display for Diff {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.changes.fmt(f)?;
        later(f, &self.restart_needed, &self.waiting)?;
        self.impact.fmt(f)
    }
}
