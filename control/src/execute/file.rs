//! `exec <file>`.

use std::path::PathBuf;

use config::{CommandError, Problem, Spanned};

use super::Shared;

/// How deep files may call files.
pub const MAX_NESTING: usize = 8;
/// Longest command file, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

impl Shared {
    /// Runs the commands of a file, up to the first that fails.
    pub(super) async fn file(
        &self,
        line: &str,
        file: &Spanned<PathBuf>,
        depth: usize,
    ) -> Result<String, CommandError> {
        let error = |reason: String, hint: Option<String>| {
            let problem = Problem { hint, ..Problem::new(file.span, reason) };
            problem.in_line(line)
        };
        if depth >= MAX_NESTING {
            let reason = format!("command files call each other more than {MAX_NESTING} deep");
            return Err(error(reason, None));
        }
        let text = read(file).map_err(|reason| error(reason, None))?;
        let mut output = String::new();
        for (number, line) in text.lines().enumerate() {
            match self.nested_line(line, depth + 1).await {
                Ok(printed) => {
                    output.push_str(&printed);
                    if !printed.is_empty() && !printed.ends_with('\n') {
                        output.push('\n');
                    }
                }
                Err(problem) => {
                    let place = format!("{}:{}:{}", file.display(), number + 1, problem.column);
                    return Err(error(format!("{place}: {}", problem.reason), problem.hint));
                }
            }
        }
        Ok(output)
    }

    /// Runs a command file without a command line, as at start.
    ///
    /// # Errors
    ///
    /// `file:line:column: reason`.
    pub async fn startup_file(&self, path: &std::path::Path) -> Result<String, CommandError> {
        let result = self.file("", &path.to_owned().into(), 0).await;
        self.with(crate::control::Control::publish);
        result
    }
}

fn read(path: &std::path::Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Err(format!("{} is not a file of at most {MAX_BYTES} bytes", path.display()));
    }
    std::fs::read_to_string(path).map_err(failed)
}
