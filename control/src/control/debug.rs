//! `debug …`: faults on purpose.

use std::time::Duration;

use config::{Debug, PanicPlace, Problem, Span};
use dataplane::event::Request;

use super::Control;

/// What control was asked to break.
#[derive(Debug, Default)]
pub(super) struct DebugHooks {
    /// Only then is anything broken.
    allowed: bool,
    /// Where control is to panic, once.
    panic: Option<PanicPlace>,
}

impl DebugHooks {
    /// Panics in this place if it was asked for.
    pub(super) fn panic_if_asked(&mut self, place: PanicPlace) {
        if self.panic == Some(place) {
            self.panic = None;
            panic!("`debug control panic {place}` asked for it");
        }
    }
}

impl Control {
    /// Carries out `debug …` commands from now on, as `[unix] debug-commands = true` asks.
    pub fn allow_debug_commands(&mut self) {
        self.debug.allowed = true;
    }

    /// Breaks something.
    ///
    /// # Errors
    ///
    /// When that is not allowed, or there is no such worker.
    pub(crate) fn break_on_purpose(&mut self, command: &Debug) -> Result<(), Problem> {
        if !self.debug.allowed {
            let reason = "debug commands are off, as they interrupt service";
            return Err(Problem::new(Span::new(0, "debug".len()), reason)
                .with_hint("on a box for tests, write `debug-commands = true` under [unix]"));
        }
        tracing::warn!("{command}: breaking something on purpose");
        match command {
            Debug::ControlPanic(PanicPlace::Tables) => self.compiler.lb.panic_in_next_build(),
            Debug::ControlPanic(place) => {
                self.debug.panic = Some(*place);
                self.debug.panic_if_asked(PanicPlace::Command);
            }
            Debug::ControlHang(seconds) => {
                std::thread::sleep(Duration::from_secs(u64::from(seconds.value)));
            }
            Debug::WorkerPanic(number) => {
                let Some(worker) = self.workers.get(usize::from(number.value)) else {
                    let reason = format!("there is no worker {number}");
                    let last = self.workers.len().saturating_sub(1);
                    return Err(Problem::new(number.span, reason)
                        .with_hint(format!("workers are counted from 0 to {last}")));
                };
                if worker.shared.request(Request::Panic).is_err() {
                    return Err(Problem::new(number.span, "the worker's mailbox is full"));
                }
            }
        }
        Ok(())
    }
}
