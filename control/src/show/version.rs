//! `show version`, `GET /v1/version`; `show threads`, `GET /v1/threads`.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// What runs here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Always `sluice`.
    pub name: &'static str,
    /// Version of this build.
    pub version: &'static str,
    /// DPDK's version.
    pub dpdk: String,
    /// Version of everything that decides which AS a flow goes to; replicas must agree on it.
    pub flow_hash_version: u32,
    /// Process number.
    pub pid: u32,
    /// How often control has panicked and was rebuilt.
    pub control_rebuilt: u64,
}

impl Version {
    /// The text of `show version [verbose]`.
    pub fn text(&self, verbose: bool) -> String {
        let Self { name, version, dpdk, flow_hash_version, pid, control_rebuilt } = self;
        if !verbose {
            return format!("{name} v{version} ({dpdk})\n");
        }
        let rows = [
            ("Version:", format!("v{version}")),
            ("DPDK:", dpdk.clone()),
            ("Flow hash version:", flow_hash_version.to_string()),
            ("Current PID:", pid.to_string()),
            ("Control rebuilt:", format!("{control_rebuilt} times")),
        ];
        rows.iter().map(|(label, value)| format!("{label:<25} {value}\n")).collect()
    }
}

/// All threads that EAL runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Threads {
    /// Control first.
    pub threads: Vec<ThreadStatus>,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadStatus {
    /// Number; control is 0.
    pub id: usize,
    /// Name.
    pub name: String,
    /// The kernel's number of the thread; absent when it cannot be found.
    pub lwp: Option<u32>,
    /// EAL lcore.
    pub lcore: u32,
    /// CPUs it may run on.
    pub cpus: String,
    /// Turns of a worker's loop.
    pub loops: u64,
    /// Turns that brought packets.
    pub busy_loops: u64,
    /// What the thread could not tell control because the queue was full.
    pub events_lost: u64,
}

impl Display for Threads {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<4}{:<16}{:>8}{:>7}  {:<8}{:>16}{:>16}",
            "ID", "Name", "LWP", "Lcore", "CPU", "Loops", "Busy"
        )?;
        for thread in &self.threads {
            let ThreadStatus { id, name, lcore, cpus, loops, busy_loops, .. } = thread;
            let lwp = thread.lwp.map_or_else(|| "-".to_owned(), |lwp| lwp.to_string());
            writeln!(
                f,
                "{id:<4}{name:<16}{lwp:>8}{lcore:>7}  {cpus:<8}{loops:>16}{busy_loops:>16}"
            )?;
        }
        Ok(())
    }
}
