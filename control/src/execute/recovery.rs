//! What becomes of clients' commands when control panics and is rebuilt.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use config::{Problem, Span};

use super::{Failure, Shared};
use crate::control::Control;

/// What the client is told whose change was not published before control panicked.
const LOST: &str = "internal error: control panicked and was rebuilt without this change";

impl Shared {
    /// Makes control anew after a panic. Should that panic too, the process ends, so that whoever
    /// supervises it starts it again.
    pub(super) fn rebuild(&self) {
        // While somebody further out still holds control, that one is going to rebuild it.
        let Ok(mut control) = self.control.try_borrow_mut() else { return };
        control.set_time(self.start.elapsed().as_millis() as u64);
        if catch_unwind(AssertUnwindSafe(|| control.rebuild())).is_err() {
            tracing::error!("control panicked while it was rebuilt: the process ends");
            std::process::abort();
        }
        tracing::error!("control panicked and was rebuilt, {} times so far", control.rebuilt());
    }

    /// Publishes what has changed. A panic inside costs what was not published yet, which
    /// [`Self::keeps`] finds out.
    pub(super) fn publish(&self) {
        let _ = self.guarded(|control| {
            control.publish();
            Ok(())
        });
    }

    /// Publishes what was committed after the commit numbered `before`, and waits for its tables.
    ///
    /// # Errors
    ///
    /// When it was lost in a panic of control.
    pub(super) async fn publish_and_keep(&self, first: u64, before: u64) -> Result<(), Problem> {
        let commits = before..self.with(|control| control.commits());
        self.publish();
        self.settle(first).await;
        self.keeps(&commits)
    }

    /// Runs one line; tells also the numbers of the commits that it made.
    pub(super) async fn numbered_line(&self, line: &str) -> (Result<String, Failure>, Range<u64>) {
        let before = self.with(|control| control.commits());
        let result = self.nested_line(line, 0).await;
        (result, before..self.with(|control| control.commits()))
    }

    /// Finds out whether these commits are still there.
    ///
    /// # Errors
    ///
    /// When they were lost in a panic of control.
    pub(super) fn keeps(&self, commits: &Range<u64>) -> Result<(), Problem> {
        match self.with(|control: &mut Control| control.has_lost(commits.start, commits.end)) {
            true => Err(Problem::new(Span::default(), LOST)),
            false => Ok(()),
        }
    }
}
