//! The life of the daemon: check, start, serve, stop.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use config::Startup;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::accounts::Accounts;
use crate::compile::TableThread;
use crate::control::Control;
use crate::execute::Shared;
use crate::privileges;
use crate::reload::{Checked, Hangup, Source, Started};
use crate::runtime::{DataPlane, Plan, StickyPlan};
use crate::server::{self, Access, Entrance};
use crate::service_manager::ServiceManager;
use crate::supervisor::{FAILED, WRONG_CONFIGURATION};
use crate::watchdog::{Pulse, Watchdog};

/// How often control looks for events when it waits for nothing.
const IDLE: Duration = Duration::from_millis(10);
/// How long control takes no events after a panic: should they bring the next, others are served.
const PANICKED: Duration = Duration::from_millis(100);
/// How often control looks for events when it waits for an answer from the network.
const WAITING: Duration = Duration::from_millis(1);

/// `sluiced --check`: prints every error of the configuration file, or that there is none.
pub fn check(path: &Path) -> ExitCode {
    match load(path) {
        Ok(_) => {
            println!("configuration OK");
            ExitCode::SUCCESS
        }
        Err(report) => {
            eprintln!("{}", report.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Runs the daemon until a signal ends it.
pub fn run(path: &Path) -> ExitCode {
    let wrong = |reason: &str| {
        eprintln!("{}", reason.trim_end());
        ExitCode::from(WRONG_CONFIGURATION)
    };
    // A later start may fare better.
    let fail = |reason: &str| {
        eprintln!("{}", reason.trim_end());
        ExitCode::from(FAILED)
    };
    if let Err(reason) = dataplane::dpdk::cpu::check() {
        return wrong(&reason);
    }
    let checked = match read(path) {
        Ok(checked) => checked,
        Err(report) => return wrong(&report),
    };
    let sticky = match StickyPlan::new(&checked) {
        Ok(sticky) => sticky,
        Err(reason) => return wrong(&reason),
    };
    let Checked { startup, plan, .. } = checked;
    // While there are privileges; nobody finds it before it is opened.
    let entrance = match privileges::identity(&startup, &Accounts::here())
        .map_err(|problem| problem.reason)
        .and_then(|identity| Entrance::new(&startup, identity.as_ref()))
    {
        Ok(entrance) => entrance,
        Err(error) => return fail(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("starting the control loop: {error}")),
    };
    // A signal that comes while DPDK starts is acted on once there is something to stop.
    let mut signals = match Signals::new(&runtime) {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("waiting for signals: {error}")),
    };
    let hangup = match Hangup::new(&runtime) {
        Ok(hangup) => hangup,
        Err(error) => return fail(&format!("waiting for SIGHUP: {error}")),
    };
    let cpus = available_cpus();
    let (mut data_plane, control) = match DataPlane::start(&plan, &sticky) {
        Ok(started) => started,
        Err(error) => return fail(&error.to_string()),
    };
    let shared = Shared::new(control);
    let file = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let fixed = startup.fixed.clone();
    shared.with(|control| control.set_started(Started { file, fixed, cpus }));
    let served = shared
        .with(|control| configure(control, &startup))
        .and_then(|()| shared.with(|control| give_state(control, &startup)))
        .and_then(|()| privileges::drop_on_all_threads(&startup, &data_plane))
        .and_then(|()| data_plane.launch().map_err(|error| error.to_string()))
        .and_then(|()| {
            // Not before: the first packet is to find all VIPs of the configuration.
            let built = shared.with(build_tables);
            built.map_err(|error| format!("starting the builder of new-flow tables: {error}"))
        })
        .and_then(|built| {
            serve(&startup, &shared, &built, &runtime, (&mut signals, hangup), entrance)
        });
    let Some(control) = shared.into_inner() else {
        return fail("internal error: control is still in use");
    };
    let missing = data_plane.stop(control);
    match missing {
        0 => tracing::info!("stopped, all packet buffers returned"),
        missing => tracing::error!("stopped, {missing} packet buffers were not returned"),
    }
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// The signals that end the daemon cleanly.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new(runtime: &Runtime) -> std::io::Result<Self> {
        let _inside = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them and names it.
    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Runs the command file, if there is one, and answers on the socket until a signal comes.
fn serve(
    startup: &Startup,
    shared: &Shared,
    built: &Arc<Notify>,
    runtime: &Runtime,
    (signals, hangup): (&mut Signals, Hangup),
    entrance: Entrance,
) -> Result<(), String> {
    let (pulse, manager) = (Pulse::default(), Arc::new(ServiceManager::from_environment()));
    let _watchdog = Watchdog::start(pulse.clone(), Arc::clone(&manager))
        .map_err(|error| format!("starting the watchdog: {error}"))?;
    let local = LocalSet::new();
    let ended = local.block_on(runtime, async {
        let pump = tokio::task::spawn_local(pump(shared.clone(), Arc::clone(built), pulse));
        if let Some(file) = &startup.unix.exec {
            match shared.startup_file(file).await {
                Ok(output) => output.lines().for_each(|line| tracing::info!("{line}")),
                Err(error) => tracing::error!("{error}; the rest of the file was not run"),
            }
        }
        shared.with(Control::settle_state);
        let socket = entrance.open().map_err(|e| e.to_string())?;
        tracing::info!("ready, listening on {}", startup.unix.cli_listen.display());
        let reloads = tokio::task::spawn_local(hangup.serve(shared.clone()));
        manager.tell("READY=1");
        tokio::select! {
            never = server::serve(&socket, shared) => match never {},
            signal = signals.recv() => tracing::info!("{signal}: stopping"),
        }
        reloads.abort();
        manager.tell("STOPPING=1");
        pump.abort();
        Ok(())
    });
    // Connections and the pump hold control; they end with the set.
    drop(local);
    ended
}

/// Has new-flow tables built on a thread of their own. Tells when one is done.
fn build_tables(control: &mut Control) -> std::io::Result<Arc<Notify>> {
    let built = Arc::new(Notify::new());
    let wake = Arc::clone(&built);
    // It inherits the CPUs of this thread, which are not those of workers.
    control.build_tables_with(Box::new(TableThread::start(move || wake.notify_one())?));
    Ok(built)
}

/// Takes up events for as long as the daemon runs.
async fn pump(shared: Shared, built: Arc<Notify>, pulse: Pulse) {
    loop {
        pulse.beat();
        // After a panic, control has been rebuilt.
        let rest = match std::panic::catch_unwind(AssertUnwindSafe(|| shared.pump())) {
            Ok(true) => WAITING,
            Ok(false) => IDLE,
            Err(_) => PANICKED,
        };
        let rest = tokio::time::sleep(rest);
        tokio::select! {
            () = rest => {}
            () = built.notified() => {}
        }
    }
}

/// Gives kept state to whom the daemon becomes.
fn give_state(control: &Control, startup: &Startup) -> Result<(), String> {
    let identity = privileges::identity(startup, &Accounts::here());
    let identity = identity.map_err(|problem| problem.reason)?;
    identity.map_or(Ok(()), |identity| control.give_state_to((identity.uid, identity.gid)))
}

/// Applies the startup file's commands in one transaction.
fn configure(control: &mut Control, startup: &Startup) -> Result<(), String> {
    if startup.unix.debug_commands {
        control.allow_debug_commands();
    }
    let mut draft = control.draft();
    for statement in &startup.commands {
        draft
            .apply(&statement.command)
            .map_err(|problem| format!("{}: {}", statement.command, problem.reason))?;
    }
    control.commit(draft);
    control.publish();
    Ok(())
}

/// Reads and checks a configuration file as far as that is possible without starting anything.
///
/// # Errors
///
/// A report of everything that is wrong.
pub fn load(path: &Path) -> Result<(Startup, Plan), String> {
    read(path).map(|Checked { startup, plan, .. }| (startup, plan))
}

fn read(path: &Path) -> Result<Checked, String> {
    let checked = Checked::read(Source::File(path.to_owned()), &available_cpus())
        .map_err(|mistakes| mistakes.report())?;
    Access::check(path, &checked.startup)?;
    Ok(checked)
}

/// The CPUs this process may use.
fn available_cpus() -> Vec<u16> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    cpus.into_iter().filter_map(|cpu| u16::try_from(cpu.id).ok()).collect()
}
