//! Worker threads: EAL lcores, so that they have mempool caches and secondary processes such as
//! `dpdk-dumpcap` still work.

use std::ffi::c_void;

use crate::dpdk::eal::{Eal, EalUse};
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

/// Runs `job` on an idle lcore of [`Eal::worker_lcores`].
pub fn launch(eal: &Eal, lcore: u32, job: impl FnOnce() + Send + 'static) -> Result<(), DpdkError> {
    let action = || format!("starting a worker on lcore {lcore}");
    if !eal.worker_lcores().contains(&lcore) {
        return Err(DpdkError::because(action(), "there is no such lcore"));
    }
    let in_use = EalUse::new(action)?;
    let job: Box<Job> = Box::new(Box::new(move || {
        job();
        drop(in_use);
    }));
    let argument = Box::into_raw(job).cast::<c_void>();
    // SAFETY: the EAL runs and has this lcore; `entry` takes ownership of `argument` there.
    let status = unsafe { dpdk_sys::rte_eal_remote_launch(Some(entry), argument, lcore) };
    DpdkError::check(status, action).map(drop).inspect_err(|_| {
        // SAFETY: the launch failed, so nobody else has the box.
        drop(unsafe { Box::from_raw(argument.cast::<Job>()) });
    })
}

/// Waits until an lcore's job has ended; everything the job owned is dropped then.
pub fn wait(eal: &Eal, lcore: u32) {
    if eal.worker_lcores().contains(&lcore) {
        // SAFETY: the EAL runs and has this lcore; waiting for an idle one returns at once.
        unsafe { dpdk_sys::rte_eal_wait_lcore(lcore) };
    }
}
