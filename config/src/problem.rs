//! Errors that name the word, say why, and say what would be right.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Span;

/// Something wrong at a place of a source text, without the text itself.
///
/// [`Problem::in_line`] makes it an error of a CLI line, [`crate::report()`] prints it as an error of
/// a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The offending word or value; empty at the end of a line that lacks something.
    pub span: Span,
    /// What is wrong, in one line, lower case, no full stop.
    pub reason: String,
    /// What would be right.
    pub hint: Option<String>,
    /// Other places that have to do with it, each with a label; shown in file reports only.
    pub related: Vec<(Span, String)>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(span: Span, reason: impl Into<String>) -> Problem {
        Problem { span, reason: reason.into(), hint: None, related: Vec::new() }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The same, pointing at another place too.
    #[must_use]
    pub fn with_related(mut self, span: Span, label: impl Into<String>) -> Problem {
        self.related.push((span, label.into()));
        self
    }

    /// This problem as an error of the CLI line it was found in.
    pub fn in_line(&self, line: &str) -> CommandError {
        let start = self.span.start.min(line.len());
        let before = line.get(..start).unwrap_or(line);
        CommandError {
            token: self.span.text(line).to_owned(),
            column: before.chars().count() + 1,
            reason: self.reason.clone(),
            hint: self.hint.clone(),
        }
    }
}

/// Why a command line was refused; the `error` object of `POST /v1/cli`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct CommandError {
    /// The offending word; empty at the end of a line that lacks something.
    pub token: String,
    /// Where it starts, in characters, 1-based.
    pub column: usize,
    /// What is wrong, in one line.
    pub reason: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}
