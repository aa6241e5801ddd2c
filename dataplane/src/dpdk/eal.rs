//! The EAL: started once per process, stopped when its owner is dropped.

use std::ffi::{CString, c_char};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dpdk::eal_args::{EalArgs, Memory};
use crate::dpdk::error::DpdkError;
use crate::dpdk::{hugepages, runtime_files};

/// EAL initialises once per process, also after a cleanup.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The startup file's `[dpdk] hugepages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugepagePolicy {
    /// Use them when enough are free.
    Auto,
    /// Refuse to start without.
    Required,
    /// Never.
    Off,
}

/// Picks the memory for a need of `need_mib`, and says why in a line for the log.
pub fn choose_memory(
    policy: HugepagePolicy,
    need_mib: u32,
    free_mib: u64,
    mounted: bool,
) -> Result<(Memory, String), String> {
    let enough = mounted && free_mib >= u64::from(need_mib);
    let state = if mounted {
        format!("{free_mib} MiB of hugepages are free, {need_mib} MiB are needed")
    } else {
        "no hugetlbfs is mounted".to_owned()
    };
    match policy {
        HugepagePolicy::Off => {
            Ok((Memory::NoHuge { mib: need_mib }, "hugepages are off in the configuration".into()))
        }
        _ if enough => Ok((Memory::Hugepages, format!("using hugepages: {state}"))),
        HugepagePolicy::Auto => {
            Ok((Memory::NoHuge { mib: need_mib }, format!("running without hugepages: {state}")))
        }
        HugepagePolicy::Required => Err(format!(
            "hugepages are required, but {state}: run hugepages-setup.sh, or set \
             hugepages = \"auto\" under [dpdk]"
        )),
    }
}

/// [`choose_memory`] on this machine's present state.
pub fn choose_memory_here(
    policy: HugepagePolicy,
    need_mib: u32,
) -> Result<(Memory, String), String> {
    let free = hugepages::free_mib(Path::new("/sys/devices/system/node"));
    choose_memory(policy, need_mib, free, !mounts().is_empty())
}

fn mounts() -> Vec<String> {
    hugepages::mounts(&std::fs::read_to_string("/proc/mounts").unwrap_or_default())
}

/// The running EAL. Ports and pools must be gone before it is dropped.
#[derive(Debug)]
pub struct Eal {
    prefix: String,
    worker_lcores: Vec<u32>,
}

impl Eal {
    /// Starts the EAL on the calling thread, which becomes the main lcore. Files that a killed
    /// process left under the same prefix are removed first.
    pub fn start(args: &EalArgs) -> Result<Self, DpdkError> {
        let action = "starting the EAL";
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(DpdkError::because(action, "it starts only once per process"));
        }
        let dir = runtime_files::runtime_dir(&args.file_prefix);
        runtime_files::clean(&dir, &args.file_prefix, &mounts())
            .map_err(|error| DpdkError::because(action, error.to_string()))?;
        let strings: Result<Vec<CString>, _> =
            args.to_vec().into_iter().map(CString::new).collect();
        let strings =
            strings.map_err(|_| DpdkError::because(action, "an argument has a NUL byte"))?;
        // EAL keeps and reorders the pointers for as long as the process lives.
        let mut argv: Vec<*mut c_char> = strings.into_iter().map(CString::into_raw).collect();
        argv.push(std::ptr::null_mut());
        let argv = Box::leak(argv.into_boxed_slice());
        let argc = i32::try_from(argv.len() - 1).unwrap_or(i32::MAX);
        // SAFETY: `argv` has `argc` valid, writable, never-freed strings and a NULL at the end.
        let status = unsafe { dpdk_sys::rte_eal_init(argc, argv.as_mut_ptr()) };
        if status < 0 {
            return Err(DpdkError::last(format!("{action} ({})", args.to_vec()[1..].join(" "))));
        }
        let workers = 1..=args.worker_cpus.len() as u32;
        Ok(Self { prefix: args.file_prefix.clone(), worker_lcores: workers.collect() })
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

    /// The prefix of this process's EAL files.
    pub fn file_prefix(&self) -> &str {
        &self.prefix
    }
}

impl Drop for Eal {
    fn drop(&mut self) {
        // SAFETY: the EAL is initialised; its workers have ended and its ports are closed, as the
        // owners of both hold a borrow or live shorter by construction in `control`.
        unsafe { dpdk_sys::rte_eal_cleanup() };
        let dir = runtime_files::runtime_dir(&self.prefix);
        // The process still holds its own lock on the config file, which `clean` does not see as
        // another's. What cannot be removed is removed by the next start.
        let _ = runtime_files::clean(&dir, &self.prefix, &mounts());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_falls_back_and_says_so() {
        let (memory, why) = choose_memory(HugepagePolicy::Auto, 100, 50, true).unwrap();
        assert_eq!(memory, Memory::NoHuge { mib: 100 });
        assert!(why.contains("50 MiB of hugepages are free, 100 MiB are needed"), "{why}");
        let (memory, _) = choose_memory(HugepagePolicy::Auto, 100, 100, true).unwrap();
        assert_eq!(memory, Memory::Hugepages);
    }

    #[test]
    fn required_refuses_without() {
        let error = choose_memory(HugepagePolicy::Required, 100, 500, false).unwrap_err();
        assert!(error.contains("no hugetlbfs") && error.contains("hugepages-setup.sh"), "{error}");
    }

    #[test]
    fn off_is_off() {
        let (memory, _) = choose_memory(HugepagePolicy::Off, 64, 500, true).unwrap();
        assert_eq!(memory, Memory::NoHuge { mib: 64 });
    }
}
