//! The EAL: started once per process, stopped when its owner is dropped.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::dpdk::eal_args::EalArgs;
use crate::dpdk::error::DpdkError;
use crate::dpdk::{hugepages, log, runtime_files};

/// EAL initialises once per process, also after a cleanup.
static STARTED: AtomicBool = AtomicBool::new(false);
/// Between a successful start and the cleanup.
static RUNNING: AtomicBool = AtomicBool::new(false);
/// Nobody but this process needs to see packets: no device, and no other process.
static KEEPS_PACKETS: AtomicBool = AtomicBool::new(false);
/// Living [`EalUse`]s.
static USES: AtomicUsize = AtomicUsize::new(0);

/// Held by everything that DPDK's memory or threads stand behind: pools, ports, jobs. The EAL is
/// not cleaned up while one lives, in whatever order owners are dropped.
#[derive(Debug)]
pub(super) struct EalUse(());

impl EalUse {
    /// Fails unless the EAL runs.
    pub(super) fn new(action: impl FnOnce() -> String) -> Result<Self, DpdkError> {
        // Counted before the look: a cleanup first stops RUNNING and then looks at the count.
        USES.fetch_add(1, Ordering::SeqCst);
        let token = Self(());
        if RUNNING.load(Ordering::SeqCst) {
            return Ok(token);
        }
        Err(DpdkError::because(action(), "the EAL is not running"))
    }
}

impl Drop for EalUse {
    fn drop(&mut self) {
        USES.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The running EAL.
#[derive(Debug)]
pub struct Eal {
    prefix: String,
    /// Where its files are; asked of the environment later, another user would get another answer.
    folder: PathBuf,
    worker_lcores: Vec<u32>,
}

impl Eal {
    /// Starts the EAL on the calling thread, which becomes the main lcore. Files that a killed
    /// process left under the same prefix are removed first. A failure quotes what EAL said.
    pub fn start(args: &EalArgs) -> Result<Self, DpdkError> {
        let action = "starting the EAL";
        args.check().map_err(|reason| DpdkError::because(action, reason))?;
        // EAL would only say "invalid parameter for --lcores", after a page of help.
        for cpu in args.main_cpus.iter().chain(&args.worker_cpus) {
            if !Path::new("/sys/devices/system/cpu").join(format!("cpu{cpu}")).exists() {
                return Err(DpdkError::because(action, format!("there is no CPU {cpu}")));
            }
        }
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(DpdkError::because(action, "it starts only once per process"));
        }
        let folder = runtime_files::runtime_dir(&args.file_prefix);
        clean_files(&folder, &args.file_prefix)
            .map_err(|error| DpdkError::because(action, error.to_string()))?;
        log::capture()?;
        log::hold();
        let started = init(args);
        let said = log::release(started.is_ok());
        if let Err(error) = started {
            // EAL keeps what it had made before it failed; the files are of no use to anyone.
            let _ = clean_files(&folder, &args.file_prefix);
            return Err(error.with_details(action, &args.to_vec()[1..], &said));
        }
        KEEPS_PACKETS.store(args.keeps_packets(), Ordering::SeqCst);
        RUNNING.store(true, Ordering::SeqCst);
        let workers = 1..=args.worker_cpus.len() as u32;
        Ok(Self { prefix: args.file_prefix.clone(), folder, worker_lcores: workers.collect() })
    }

    /// The lcore of each worker.
    pub fn worker_lcores(&self) -> &[u32] {
        &self.worker_lcores
    }

    /// TSC clocks per second.
    pub fn tsc_hz(&self) -> u64 {
        // SAFETY: the EAL is initialised.
        unsafe { dpdk_sys::rte_get_tsc_hz() }
    }

    /// NUMA node of an lcore.
    pub fn lcore_node(&self, lcore: u32) -> u32 {
        // SAFETY: the EAL is initialised; any lcore number is accepted.
        unsafe { dpdk_sys::rte_lcore_to_socket_id(lcore) }
    }

    /// True when DPDK's memory is in hugepages.
    pub fn has_hugepages(&self) -> bool {
        has_hugepages()
    }

    /// DPDK's version.
    pub fn version(&self) -> String {
        let (year, month) = (dpdk_sys::RTE_VER_YEAR, dpdk_sys::RTE_VER_MONTH);
        format!("DPDK {year}.{month:02}.{}", dpdk_sys::RTE_VER_MINOR)
    }

    /// Gives the files of this process's EAL to a user (uid, gid), who is about to be ours.
    ///
    /// # Errors
    ///
    /// A file that cannot be given away.
    pub fn give_files(&self, to: (u32, u32)) -> std::io::Result<()> {
        runtime_files::give(&self.folder, &self.prefix, &hugetlbfs(), to)
    }

    /// The prefix of this process's EAL files.
    pub fn file_prefix(&self) -> &str {
        &self.prefix
    }
}

impl Drop for Eal {
    fn drop(&mut self) {
        RUNNING.store(false, Ordering::SeqCst);
        if USES.load(Ordering::SeqCst) != 0 {
            log::note("sluice: the EAL is left as it is: pools, ports or workers still use it");
            return;
        }
        // SAFETY: the EAL is initialised, and by the count no pool, port or job is left.
        unsafe { dpdk_sys::rte_eal_cleanup() };
        // What cannot be removed is removed by the next start.
        let _ = clean_files(&self.folder, &self.prefix);
    }
}

/// The node to ask for memory: without hugepages all of it counts as node 0, and asking for any
/// other fails, so it is "any" then.
pub(super) fn memory_node(node: Option<u32>) -> i32 {
    match node.and_then(|node| i32::try_from(node).ok()) {
        Some(node) if has_hugepages() => node,
        _ => -1,
    }
}

pub(super) fn has_hugepages() -> bool {
    // SAFETY: reads a configuration value, which is valid at any time.
    unsafe { dpdk_sys::rte_eal_has_hugepages() != 0 }
}

/// Whether packets may be in memory that only this process sees, and that EAL does not know.
pub(super) fn keeps_packets() -> bool {
    KEEPS_PACKETS.load(Ordering::SeqCst)
}

fn clean_files(folder: &Path, prefix: &str) -> std::io::Result<usize> {
    runtime_files::clean(folder, prefix, &hugetlbfs())
}

/// Where hugepages are mounted.
fn hugetlbfs() -> Vec<String> {
    hugepages::mounts_here().into_iter().map(|mount| mount.path).collect()
}

fn init(args: &EalArgs) -> Result<(), DpdkError> {
    let action = "starting the EAL";
    let strings: Result<Vec<CString>, _> = args.to_vec().into_iter().map(CString::new).collect();
    let strings = strings.map_err(|_| DpdkError::because(action, "an argument has a NUL byte"))?;
    // EAL keeps and reorders the pointers for as long as the process lives.
    let mut argv: Vec<*mut c_char> = strings.into_iter().map(CString::into_raw).collect();
    argv.push(std::ptr::null_mut());
    let argv = Box::leak(argv.into_boxed_slice());
    let argc = i32::try_from(argv.len() - 1).unwrap_or(i32::MAX);
    // SAFETY: `argv` has `argc` valid, writable, never-freed strings and a NULL at the end.
    let status = unsafe { dpdk_sys::rte_eal_init(argc, argv.as_mut_ptr()) };
    if status < 0 { Err(DpdkError::last(action)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_before_the_eal_runs() {
        let error = EalUse::new(|| "creating the buffer pool x".into()).unwrap_err();
        assert_eq!(error.to_string(), "creating the buffer pool x: the EAL is not running");
    }
}
