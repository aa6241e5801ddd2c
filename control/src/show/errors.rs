//! `show errors`, `GET /v1/errors`.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::layout::{center, center_apart};

/// The counters of all nodes that have counted something since the last `clear errors`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// In the order of the graph.
    pub errors: Vec<ErrorCount>,
}

/// One counter of one node, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// Times.
    pub count: u64,
    /// Node.
    pub node: &'static str,
    /// What happened.
    pub reason: &'static str,
    /// `error`, `warn` or `info`.
    pub severity: &'static str,
}

impl Display for Errors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head = [("Count", 10), ("Node", 35), ("Reason", 35), ("Severity", 10)];
        writeln!(f, "{}", head.iter().map(|(title, w)| center(title, *w)).collect::<String>())?;
        for ErrorCount { count, node, reason, severity } in &self.errors {
            let (node, reason) = (center(node, 35), center_apart(reason, 35));
            writeln!(f, "{count:>10}{node}{reason}{}", center(severity, 10))?;
        }
        Ok(())
    }
}
