//! `sluiced --supervise`: a small parent that starts the daemon, and starts it again when it ends
//! abnormally.
//!
//! It passes SIGTERM, SIGINT and SIGHUP on, and ends when the daemon has ended as asked, or because
//! its configuration is wrong. The daemon is not tied to it: should the supervisor itself be killed,
//! the daemon forwards on, and another one refuses to start beside it.

mod back_off;
mod end;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal as Number, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use end::{FAILED, WRONG_CONFIGURATION};

use back_off::BackOff;
use end::End;

/// Starts the daemon and keeps it running.
#[derive(Debug)]
pub struct Supervisor {
    /// Looked up at each start: an upgrade may have put another file there.
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// What the supervisor listens for.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    child: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// Waits for one; `None` says that a child may have ended.
    async fn recv(&mut self) -> Option<Number> {
        tokio::select! {
            _ = self.terminate.recv() => Some(Number::SIGTERM),
            _ = self.interrupt.recv() => Some(Number::SIGINT),
            _ = self.hangup.recv() => Some(Number::SIGHUP),
            _ = self.child.recv() => None,
        }
    }
}

/// What became of a daemon.
enum Outcome {
    /// It ended by itself.
    Ended(End),
    /// It ended after it was asked to.
    Stopped(End),
}

impl Supervisor {
    /// One that runs this very program, with these arguments.
    ///
    /// # Errors
    ///
    /// When this program's file is not known.
    pub fn new(arguments: Vec<OsString>) -> std::io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, arguments })
    }

    /// Runs until the daemon is no more to be started again; gives the status to exit with.
    ///
    /// # Errors
    ///
    /// When the kernel has no signals or no process for us.
    pub fn run(&self) -> std::io::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            let mut waits = BackOff::default();
            loop {
                let started = Instant::now();
                let child = self.start()?;
                let end = match self.watch(child, &mut signals).await? {
                    Outcome::Ended(end) if end.is_abnormal() => end,
                    Outcome::Ended(end) | Outcome::Stopped(end) => {
                        tracing::info!("supervisor: the daemon {end}; so does the supervisor");
                        return Ok(ExitCode::from(end.code()));
                    }
                };
                let (ran, wait) = (started.elapsed(), waits.after(started.elapsed()));
                tracing::error!(
                    "supervisor: the daemon {end} after {:.1} s; it is started again {}",
                    ran.as_secs_f64(),
                    match wait {
                        Duration::ZERO => "at once".to_owned(),
                        wait => format!("in {:.1} s", wait.as_secs_f64()),
                    }
                );
                if stopped_within(wait, &mut signals).await {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        })
    }

    fn start(&self) -> std::io::Result<Child> {
        // The watchdog's messages come from the daemon, whatever process they were asked of.
        let child =
            Command::new(&self.program).args(&self.arguments).env_remove("WATCHDOG_PID").spawn()?;
        tracing::info!("supervisor: the daemon runs as process {}", child.id());
        Ok(child)
    }

    /// Passes signals on until the daemon has ended.
    async fn watch(&self, mut child: Child, signals: &mut Signals) -> std::io::Result<Outcome> {
        let mut asked = false;
        loop {
            if let Some(status) = child.try_wait()? {
                let end = End(status);
                return Ok(if asked { Outcome::Stopped(end) } else { Outcome::Ended(end) });
            }
            let Some(signal) = signals.recv().await else { continue };
            asked |= signal != Number::SIGHUP;
            // It is not waited for yet, so the number is still its own.
            if let Err(error) = kill(Pid::from_raw(child.id() as i32), signal) {
                tracing::warn!("supervisor: {signal} could not be passed on: {error}");
            }
        }
    }
}

/// Waits; true when it was asked to stop meanwhile.
async fn stopped_within(wait: Duration, signals: &mut Signals) -> bool {
    let until = tokio::time::Instant::now() + wait;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return false,
            signal = signals.recv() => {
                if matches!(signal, Some(Number::SIGTERM | Number::SIGINT)) {
                    return true;
                }
            }
        }
    }
}
