//! Worker threads: EAL lcores, so that they have mempool caches and secondary processes such as
//! `dpdk-dumpcap` still work.

use std::ffi::c_void;

use crate::dpdk::eal::Eal;
use crate::dpdk::error::DpdkError;

type Job = Box<dyn FnOnce() + Send>;

/// What the lcore calls. A panic cannot leave an `extern "C"` function: it aborts the process, which
/// is the policy for workers.
extern "C" fn entry(job: *mut c_void) -> i32 {
    // SAFETY: `launch` passes a leaked `Box<Job>` exactly once.
    let job: Box<Job> = unsafe { Box::from_raw(job.cast()) };
    job();
    0
}

/// Runs `job` on an lcore that is idle.
pub fn launch(
    _eal: &Eal,
    lcore: u32,
    job: impl FnOnce() + Send + 'static,
) -> Result<(), DpdkError> {
    let job: Box<Job> = Box::new(Box::new(job));
    let argument = Box::into_raw(job).cast::<c_void>();
    // SAFETY: the EAL runs; `entry` takes ownership of `argument` on the lcore.
    let status = unsafe { dpdk_sys::rte_eal_remote_launch(Some(entry), argument, lcore) };
    DpdkError::check(status, || format!("starting a worker on lcore {lcore}"))
        .map(drop)
        .inspect_err(|_| {
            // SAFETY: the launch failed, so nobody else has the box.
            drop(unsafe { Box::from_raw(argument.cast::<Job>()) });
        })
}

/// Waits until an lcore's job has ended.
pub fn wait(_eal: &Eal, lcore: u32) {
    // SAFETY: the EAL runs; waiting for an idle lcore returns at once.
    unsafe { dpdk_sys::rte_eal_wait_lcore(lcore) };
}
