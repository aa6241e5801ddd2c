//! `exec <file>`.

use std::path::PathBuf;

use config::{CommandError, Problem, Spanned};

use super::{Failure, LINES_AT_ONCE, Shared};

/// How deep files may call files.
pub const MAX_NESTING: usize = 8;
/// Longest command file, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Most that the commands of a file may print, in bytes.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;

impl Shared {
    /// Runs the commands of a file, up to the first that fails.
    pub(super) async fn file(
        &self,
        line: &str,
        file: &Spanned<PathBuf>,
        depth: usize,
    ) -> Result<String, Failure> {
        let error = |reason: String, hint: Option<String>| {
            let problem = Problem { hint, ..Problem::new(file.span, reason) };
            problem.in_line(line)
        };
        let failure = |reason| Failure::from(error(reason, None));
        if depth >= MAX_NESTING {
            let reason = format!("command files call each other more than {MAX_NESTING} deep");
            return Err(failure(reason));
        }
        let text = read(file).map_err(failure)?;
        let mut output = String::new();
        for (number, line) in text.lines().enumerate() {
            if number % LINES_AT_ONCE == LINES_AT_ONCE - 1 {
                // Others want to be served too.
                tokio::task::yield_now().await;
            }
            match self.nested_line(line, depth + 1).await {
                Ok(printed) if output.len() + printed.len() > MAX_OUTPUT => {
                    let place = format!("{}:{}", file.display(), number + 1);
                    let reason = format!("{place}: the output has more than {MAX_OUTPUT} bytes");
                    return Err(Failure { output, error: error(reason, None) });
                }
                Ok(printed) => {
                    output.push_str(&printed);
                    if !printed.is_empty() && !printed.ends_with('\n') {
                        output.push('\n');
                    }
                }
                Err(Failure {
                    output: printed,
                    error: CommandError { column, reason, hint, .. },
                }) => {
                    output.push_str(&printed);
                    let place = format!("{}:{}:{column}", file.display(), number + 1);
                    return Err(Failure {
                        output,
                        error: error(format!("{place}: {reason}"), hint),
                    });
                }
            }
        }
        Ok(output)
    }

    /// Runs a command file without a command line, as at start, and waits until all of it is
    /// published.
    ///
    /// # Errors
    ///
    /// `file:line:column: reason`.
    pub async fn startup_file(&self, path: &std::path::Path) -> Result<String, CommandError> {
        let (first, before) = self.with(|control| (control.next_wish(), control.commits()));
        let result = self.file("", &path.to_owned().into(), 0).await;
        self.publish();
        self.settle(first).await;
        let result = result.map_err(|failure| failure.error)?;
        let commits = before..self.with(|control| control.commits());
        self.keeps(&commits).map_err(|problem| problem.in_line(""))?;
        Ok(result)
    }
}

fn read(path: &std::path::Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    if meta.len() > MAX_BYTES {
        return Err(format!("{} is longer than {MAX_BYTES} bytes", path.display()));
    }
    std::fs::read_to_string(path).map_err(failed)
}
