//! [`Reloads`]: reloads that are to be confirmed.

use balancer::HashKey;
use config::{Problem, Span};

use super::{Candidate, Changes, Diff, Impact, ImpactPlan, Reloaded, Started};
use crate::control::{Control, Draft};
use crate::model::Model;

/// A reload that is undone unless somebody confirms it in time.
#[derive(Debug)]
struct Pending {
    /// The state before, to which nobody objected.
    model: Model,
    hash_key: HashKey,
    /// When it is undone, in milliseconds of control's time.
    deadline_ms: u64,
}

/// What control knows of reloads.
#[derive(Debug, Default)]
pub struct Reloads {
    started: Started,
    /// The key of the flow hash in use.
    hash_key: HashKey,
    pending: Option<Pending>,
}

fn refused(reason: impl Into<String>, hint: &str) -> Problem {
    Problem::new(Span::default(), reason).with_hint(hint)
}

impl Control {
    /// Tells what the daemon was started with.
    pub fn set_started(&mut self, started: Started) {
        self.reloads.started = started;
    }

    /// What the daemon was started with.
    pub fn started(&self) -> &Started {
        &self.reloads.started
    }

    /// The key of the flow hash in use.
    pub(crate) fn hash_key(&self) -> &HashKey {
        &self.reloads.hash_key
    }

    /// Notes the key of the flow hash that a transaction brings.
    pub(crate) fn note_hash_key(&mut self, key: &HashKey) {
        self.reloads.hash_key = key.clone();
    }

    /// Becomes what a candidate asks for; nothing else changes. With `confirm_s` it is undone after
    /// so many seconds, unless [`Self::confirm_reload`] comes first; a further reload with
    /// `confirm_s` begins that time anew, and is undone to the state before the first.
    ///
    /// # Errors
    ///
    /// Another one is to be confirmed, and this one is not; or indices have run out. Nothing has
    /// changed then.
    pub fn reload(
        &mut self,
        candidate: &Candidate,
        confirm_s: Option<u32>,
    ) -> Result<Reloaded, Problem> {
        if confirm_s.is_none() && self.reloads.pending.is_some() {
            return Err(refused(
                "an earlier reload is still to be confirmed",
                "`confirm` it, undo it by `reload cancel`, or reload with `confirm <seconds>`",
            ));
        }
        let model = self.model().towards(&candidate.model)?;
        let changes = Changes::between(self.model(), &model);
        if let Some(seconds) = confirm_s {
            let (before, hash_key) = (self.model().clone(), self.reloads.hash_key.clone());
            let before = self
                .reloads
                .pending
                .take()
                .map_or((before, hash_key), |earlier| (earlier.model, earlier.hash_key));
            let deadline_ms = self.now_ms() + u64::from(seconds) * 1_000;
            let (model, hash_key) = before;
            self.reloads.pending = Some(Pending { model, hash_key, deadline_ms });
        }
        let rehashed = self.become_model(model, &candidate.hash_key);
        Ok(Reloaded {
            source: candidate.name.clone(),
            changes,
            restart_needed: self.started().fixed.restarts(&candidate.startup.fixed),
            waiting: candidate.waiting.clone(),
            rehashed,
            confirm_within_s: confirm_s,
        })
    }

    /// Returns whether the key of the flow hash is another.
    fn become_model(&mut self, model: Model, hash_key: &HashKey) -> bool {
        let other = *hash_key != self.reloads.hash_key;
        self.commit(Draft::whole(model, other.then(|| hash_key.clone())));
        other
    }

    /// What [`Self::reload`] would do, and how to work out its impact.
    ///
    /// # Errors
    ///
    /// As there, but for another one that is to be confirmed.
    pub fn diff(&self, candidate: &Candidate) -> Result<(Diff, ImpactPlan), Problem> {
        let model = self.model().towards(&candidate.model)?;
        let diff = Diff {
            changes: Changes::between(self.model(), &model),
            restart_needed: self.started().fixed.restarts(&candidate.startup.fixed),
            waiting: candidate.waiting.clone(),
            impact: Impact::default(),
        };
        Ok((diff, self.plan_impact(&model, &candidate.hash_key)))
    }

    /// Seconds until a reload is undone, if one is to be confirmed.
    pub fn reload_pending_s(&self) -> Option<u64> {
        let pending = self.reloads.pending.as_ref()?;
        Some(pending.deadline_ms.saturating_sub(self.now_ms()).div_ceil(1_000))
    }

    /// Keeps what a reload has made.
    ///
    /// # Errors
    ///
    /// There is none to be confirmed.
    pub fn confirm_reload(&mut self) -> Result<String, Problem> {
        match self.reloads.pending.take() {
            Some(_) => Ok("confirmed\n".to_owned()),
            None => Err(nothing_to_confirm()),
        }
    }

    /// Undoes a reload that is to be confirmed, and what commands have changed since. Returns what
    /// that changed.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn cancel_reload(&mut self) -> Result<String, Problem> {
        let pending = self.reloads.pending.take().ok_or_else(nothing_to_confirm)?;
        let changes = self.undo(pending)?;
        Ok(format!(
            "{changes}back to the configuration before the reload; commands since then are undone too\n"
        ))
    }

    fn undo(&mut self, before: Pending) -> Result<Changes, Problem> {
        let model = self.model().towards(&before.model)?;
        let changes = Changes::between(self.model(), &model);
        self.become_model(model, &before.hash_key);
        Ok(changes)
    }

    /// Undoes a reload that was not confirmed in time.
    pub(crate) fn expire_reload(&mut self) {
        let now_ms = self.now_ms();
        let Some(pending) = self.reloads.pending.take_if(|pending| pending.deadline_ms <= now_ms)
        else {
            return;
        };
        match self.undo(pending) {
            Ok(changes) => {
                tracing::warn!(
                    "the reload was not confirmed in time: back to the configuration before it; \
                     commands since then are undone too"
                );
                changes.0.iter().for_each(|change| tracing::warn!("{change}"));
            }
            Err(problem) => {
                tracing::error!("the reload was not confirmed and stays: {}", problem.reason);
            }
        }
    }
}

fn nothing_to_confirm() -> Problem {
    refused("no reload is to be confirmed", "`reload confirm <seconds>` begins one")
}
