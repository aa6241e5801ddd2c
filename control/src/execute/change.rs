//! `reload`, `confirm`, `diff`, `save`: reading, checking and writing files is done on another
//! thread, so that control goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Command, CommandError, Problem, Span, Spanned};

use super::{Failure, Shared};
use crate::control::Control;
use crate::reload::{self, Candidate, Checked, Diff, Mistakes, Reloaded, Source};

/// Why a configuration was not taken.
#[derive(Debug)]
pub enum Refusal {
    /// It is wrong.
    Mistakes(Mistakes),
    /// It is right, but not now.
    Problem(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Refusal {
    /// For a command line.
    fn in_line(self, line: &str) -> Failure {
        match self {
            Self::Problem(problem) => problem.in_line(line).into(),
            Self::Mistakes(mistakes) => Failure {
                output: mistakes.report(),
                error: CommandError {
                    token: line.split_whitespace().next().unwrap_or_default().to_owned(),
                    column: 1 + line.len() - line.trim_start().len(),
                    reason: mistakes.summary(),
                    hint: Some("nothing was changed".to_owned()),
                },
            },
        }
    }
}

/// Runs something that takes its time, and does not keep control waiting.
async fn aside<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(what).await;
    done.map_err(|_| Problem::new(Span::default(), "internal error; nothing was changed"))
}

impl Shared {
    /// Runs one of the commands that are about the configuration as a whole.
    pub(super) async fn change(&self, line: &str, command: &Command) -> Result<String, Failure> {
        let result = match command {
            Command::Reload { file, confirm_s } => {
                let source = self.source(file.as_ref());
                let confirm_s = confirm_s.map(|seconds| seconds.value);
                self.reload(source, confirm_s).await.map(|reloaded| reloaded.to_string())
            }
            Command::Diff { file } => {
                let diff = self.diff(self.source(file.as_ref())).await;
                diff.map(|diff| diff.to_string())
            }
            Command::Save { file } => self.save(file.as_ref()).await.map_err(Refusal::Problem),
            Command::Confirm => self.guarded(Control::confirm_reload).map_err(Refusal::Problem),
            _ => self.guarded(Control::cancel_reload).map_err(Refusal::Problem),
        };
        result.map_err(|refusal| refusal.in_line(line))
    }

    /// The file that a command names, or the one the daemon was started with.
    fn file_or_own(&self, file: Option<&Spanned<PathBuf>>) -> PathBuf {
        let own = || self.with(|control| control.started().file.clone());
        file.map_or_else(own, |file| file.value.clone())
    }

    fn source(&self, file: Option<&Spanned<PathBuf>>) -> Source {
        Source::File(self.file_or_own(file))
    }

    /// Reads a configuration.
    async fn candidate(&self, source: Source) -> Result<Candidate, Refusal> {
        let (model, cpus) =
            self.with(|control| (control.model().clone(), control.started().cpus.clone()));
        let read = aside(move || {
            let checked = Checked::read(source, &cpus)?;
            Ok(checked.onto(&model))
        });
        read.await?.map_err(Refusal::Mistakes)
    }

    /// Makes the configuration that of `source`; see [`Control::reload`].
    ///
    /// # Errors
    ///
    /// What is wrong with it, or why not now; nothing has changed then.
    pub async fn reload(
        &self,
        source: Source,
        confirm_s: Option<u32>,
    ) -> Result<Reloaded, Refusal> {
        let candidate = self.candidate(source).await?;
        Ok(self.guarded(|control| control.reload(&candidate, confirm_s))?)
    }

    /// The same; what it changes is published when this ends.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn reload_and_settle(
        &self,
        source: Source,
        confirm_s: Option<u32>,
    ) -> Result<Reloaded, Refusal> {
        let (first, before) = self.with(|control| (control.next_wish(), control.commits()));
        let done = self.reload(source, confirm_s).await?;
        self.publish_and_keep(first, before).await?;
        Ok(done)
    }

    /// Does something with control that may change the configuration; that is published when this
    /// ends.
    ///
    /// # Errors
    ///
    /// As `what` does.
    pub async fn carry_out<T>(
        &self,
        what: impl FnOnce(&mut Control) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let (first, before) = self.with(|control| (control.next_wish(), control.commits()));
        let done = self.guarded(what)?;
        self.publish_and_keep(first, before).await?;
        Ok(done)
    }

    /// What [`Self::reload`] would change.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub async fn diff(&self, source: Source) -> Result<Diff, Refusal> {
        let candidate = self.candidate(source).await?;
        let (mut diff, plan) = self.guarded(|control| control.diff(&candidate))?;
        diff.impact = aside(move || plan.work_out()).await?;
        Ok(diff)
    }

    /// The running configuration as the text of a file.
    ///
    /// # Errors
    ///
    /// It could not be read back, which is a defect.
    pub async fn saved(&self) -> Result<String, Problem> {
        let (model, started) =
            self.with(|control| (control.model().clone(), control.started().clone()));
        let text = aside(move || reload::text(&started, &model)).await?;
        text.map_err(|reason| Problem::new(Span::default(), reason))
    }

    async fn save(&self, file: Option<&Spanned<PathBuf>>) -> Result<String, Problem> {
        if let Some(seconds) = self.with(|control| control.reload_pending_s()) {
            let reason = format!("a reload is still to be confirmed, for {seconds} s");
            return Err(Problem::new(Span::default(), reason)
                .with_hint("`confirm` it or undo it by `reload cancel` first"));
        }
        let path = self.file_or_own(file);
        let text = Arc::new(self.saved().await?);
        let written = aside(move || reload::write(Path::new(&path), &text)).await?;
        let span = file.map_or(Span::default(), |file| file.span);
        let path = written.map_err(|reason| Problem::new(span, reason))?;
        Ok(format!("saved {}\n", path.display()))
    }

    /// Reloads the file that the daemon was started with, and logs what came of it.
    pub async fn reload_and_log(&self) {
        match self.reload_and_settle(self.source(None), None).await {
            Ok(reloaded) => {
                reloaded.to_string().lines().for_each(|line| tracing::info!("{line}"));
            }
            Err(Refusal::Mistakes(mistakes)) => {
                tracing::error!("nothing was changed:\n{}", mistakes.report().trim_end());
            }
            Err(Refusal::Problem(problem)) => {
                tracing::error!("nothing was changed: {}", problem.reason);
            }
        }
    }
}
