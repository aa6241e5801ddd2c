//! What the threads of this process may do: user, groups, capabilities, `no_new_privs`.
//!
//! Linux keeps all of these for each thread alone, and most threads are not ours to tell: EAL starts
//! one per lcore, one for interrupts, one for secondary processes and one for telemetry, all of them
//! before it probes devices, which takes the privileges. Started with less, they could not exist
//! before the ports; asked politely, EAL has no way to run something on them. So each thread gets a
//! signal and gives up its own in the handler, by bare system calls: what glibc does for setuid(2),
//! and libcap's psx(3) for everything. Every thread gets the same: they share one memory, so a thread
//! with less than its neighbour would be no boundary.

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libc::{c_long, pid_t};

/// CAP_SETPCAP (capabilities(7)).
const SETPCAP: u64 = 1 << 8;
/// Version of the structures of capset(2) with 64 capabilities.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// Time a thread has to take its signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who the process becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Real, effective and saved user.
    pub uid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// What every thread is left with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Who to become; `None` stays who it is.
    pub identity: Option<Identity>,
    /// Mask of the capabilities to keep, as far as they are there: the effective, permitted and
    /// bounding set. The inheritable and the ambient one become empty.
    pub capabilities: u64,
}

/// Why a thread kept what it was to give up.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The kernel refuses.
    #[error("{step} of thread {tid}: {error}")]
    Refused {
        /// The thread.
        tid: pid_t,
        /// What was refused.
        step: &'static str,
        /// Why.
        error: io::Error,
    },
    /// A thread blocks the signal.
    #[error("thread {0} does not take signals")]
    Deaf(pid_t),
    /// Something else is in the way.
    #[error("listing and signalling threads: {0}")]
    Threads(#[from] io::Error),
}

/// The steps, in their order; the number of one that failed is kept in [`FAILURE`].
const STEPS: [&str; 8] = [
    "reading the capabilities",
    "setting no_new_privs",
    "limiting the bounding set",
    "clearing the ambient set",
    "setting the groups",
    "setting the group",
    "setting the user",
    "limiting the capabilities",
];

#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// What threads that get the signal are to do. Never freed once there: a signal may come late.
static ORDERS: AtomicPtr<Credentials> = AtomicPtr::new(null_mut());
/// The thread that obeyed last.
static OBEYED: AtomicI32 = AtomicI32::new(0);
/// Of that thread: 0, or the step that failed plus 1, and the error number below it.
static FAILURE: AtomicU64 = AtomicU64::new(0);

impl Credentials {
    /// Leaves every thread of the process with these, those started meanwhile included. Threads
    /// started later inherit them. When this fails some threads may have changed: end the process.
    ///
    /// # Errors
    ///
    /// The thread and the step that failed.
    pub fn apply_to_all_threads(&self) -> Result<usize, CredentialError> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        ORDERS.store(Box::into_raw(Box::new(self.clone())), Ordering::Release);
        let signal = Signal::claim()?;
        let mut obeyed = BTreeSet::new();
        loop {
            // A thread that has not obeyed yet may have started another.
            let new: Vec<pid_t> = threads()?.difference(&obeyed).copied().collect();
            if new.is_empty() {
                return Ok(obeyed.len());
            }
            for tid in new {
                signal.send(tid)?;
                obeyed.insert(tid);
            }
        }
    }

    /// Leaves the calling thread with these, by nothing but system calls: it runs in the handler of
    /// a signal.
    fn apply(&self) -> Result<(), (u64, i32)> {
        let mut sets = [Sets::default(); 2];
        let mut header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
        // SAFETY: the structures are those of version 3, valid for reading and writing.
        let status = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
        check(0, status)?;
        let permitted = u64::from(sets[0].permitted) | u64::from(sets[1].permitted) << 32;
        let effective = u64::from(sets[0].effective) | u64::from(sets[1].effective) << 32;
        prctl(1, libc::PR_SET_NO_NEW_PRIVS, 1)?;
        if effective & SETPCAP != 0 {
            limit_bounding_set(self.capabilities)?;
        }
        prctl(3, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64)?;
        if let Some(identity) = &self.identity {
            identity.apply()?;
        }
        let keep = permitted & self.capabilities;
        for (half, sets) in sets.iter_mut().enumerate() {
            let keep = (keep >> (32 * half)) as u32;
            *sets = Sets { effective: keep, permitted: keep, inheritable: 0 };
        }
        // SAFETY: as above.
        let status = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
        check(7, status)
    }
}

impl Identity {
    fn apply(&self) -> Result<(), (u64, i32)> {
        if self.is_ours() {
            return Ok(());
        }
        // Else a change from root to another user takes all capabilities.
        prctl(6, libc::PR_SET_KEEPCAPS, 1)?;
        let (uid, gid) = (c_long::from(self.uid), c_long::from(self.gid));
        // SAFETY: the list is valid for reading. The bare call changes this thread alone.
        let status =
            unsafe { libc::syscall(libc::SYS_setgroups, self.groups.len(), self.groups.as_ptr()) };
        check(4, status)?;
        // SAFETY: takes numbers only.
        check(5, unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
        // SAFETY: takes numbers only.
        check(6, unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
        prctl(6, libc::PR_SET_KEEPCAPS, 0)
    }

    /// Did this thread inherit it from one that has obeyed? It could not take it once more.
    fn is_ours(&self) -> bool {
        let (mut uids, mut gids) = ([0_u32; 3], [0_u32; 3]);
        let [real, effective, saved] = &mut uids;
        // SAFETY: the three numbers are valid for writing.
        let users = unsafe { libc::syscall(libc::SYS_getresuid, real, effective, saved) };
        let [real, effective, saved] = &mut gids;
        // SAFETY: as above.
        let groups = unsafe { libc::syscall(libc::SYS_getresgid, real, effective, saved) };
        // Groups come before the user: with the user they are there too.
        users == 0 && groups == 0 && uids == [self.uid; 3] && gids == [self.gid; 3] && self.uid != 0
    }
}

/// Without CAP_SETPCAP the bounding set stays: it says what a program could gain that is executed,
/// and with `no_new_privs` that is nothing.
fn limit_bounding_set(keep: u64) -> Result<(), (u64, i32)> {
    for capability in (0..u64::from(u64::BITS)).filter(|number| keep & (1 << number) == 0) {
        // SAFETY: takes numbers only.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) } {
            0 => {}
            1 => prctl(2, libc::PR_CAPBSET_DROP, capability)?,
            // Past the last that this kernel knows.
            _ => break,
        }
    }
    Ok(())
}

fn prctl(step: u64, operation: c_int, argument: u64) -> Result<(), (u64, i32)> {
    // SAFETY: all operations used here take numbers only.
    check(step, c_long::from(unsafe { libc::prctl(operation, argument, 0_u64, 0_u64, 0_u64) }))
}

fn check(step: u64, status: c_long) -> Result<(), (u64, i32)> {
    // SAFETY: the address is that of this thread's error number.
    if status < 0 { Err((step, unsafe { *libc::__errno_location() })) } else { Ok(()) }
}

/// The handler. Only system calls and atomics: it interrupts whatever the thread was doing.
extern "C" fn obey(_: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes valid information with SA_SIGINFO; both are fields of tgkill(2).
    let ours = unsafe { (*info).si_code == libc::SI_TKILL && (*info).si_pid() == libc::getpid() };
    let orders = ORDERS.load(Ordering::Acquire);
    if !ours || orders.is_null() {
        return;
    }
    // SAFETY: the address is that of this thread's error number.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it stays valid for the whole of the handler.
    let before = unsafe { *errno };
    // SAFETY: orders are never freed.
    let failure = match unsafe { &*orders }.apply() {
        Ok(()) => 0,
        Err((step, error)) => (step + 1) << 32 | u64::from(error.unsigned_abs()),
    };
    FAILURE.store(failure, Ordering::Relaxed);
    // SAFETY: takes nothing.
    let tid = unsafe { libc::gettid() };
    OBEYED.store(tid, Ordering::Release);
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// A real-time signal that nobody else handles, while it is ours.
struct Signal(c_int);

impl Signal {
    fn claim() -> io::Result<Self> {
        // From the end: drivers take theirs from the start.
        for number in (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev() {
            let mut before = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: only asks; the structure is valid for writing.
            let status = unsafe { libc::sigaction(number, std::ptr::null(), before.as_mut_ptr()) };
            // SAFETY: all zero is a value, and the call may have filled it.
            if status == 0 && unsafe { before.assume_init() }.sa_sigaction == libc::SIG_DFL {
                return Self::install(number);
            }
        }
        Err(io::Error::other("every real-time signal has a handler"))
    }

    fn install(number: c_int) -> io::Result<Self> {
        // SAFETY: all zero is a value: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = obey as *const () as usize;
        // System calls that the signal interrupts go on: EAL's threads give up on EINTR.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the action is valid, and its handler only makes calls that a handler may make.
        match unsafe { libc::sigaction(number, &raw const action, null_mut()) } {
            0 => Ok(Self(number)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Has one thread obey, and waits until it has.
    fn send(&self, tid: pid_t) -> Result<(), CredentialError> {
        OBEYED.store(0, Ordering::Relaxed);
        // SAFETY: takes numbers only; the thread is one of this process.
        let status = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, self.0) };
        if status < 0 {
            let error = io::Error::last_os_error();
            // It has ended meanwhile.
            let ended = error.raw_os_error() == Some(libc::ESRCH);
            return if ended { Ok(()) } else { Err(error.into()) };
        }
        let start = Instant::now();
        while OBEYED.load(Ordering::Acquire) != tid {
            if start.elapsed() > PATIENCE {
                return if threads()?.contains(&tid) {
                    Err(CredentialError::Deaf(tid))
                } else {
                    Ok(())
                };
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        match FAILURE.load(Ordering::Relaxed) {
            0 => Ok(()),
            failure => Err(CredentialError::Refused {
                tid,
                step: STEPS.get((failure >> 32) as usize - 1).copied().unwrap_or_default(),
                error: io::Error::from_raw_os_error(failure as i32),
            }),
        }
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        // Ignored rather than default: one that comes late must not end the process.
        // SAFETY: all zero is a value.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = libc::SIG_IGN;
        // SAFETY: the action is valid.
        unsafe { libc::sigaction(self.0, &raw const action, null_mut()) };
    }
}

/// The kernel's numbers of our threads.
fn threads() -> io::Result<BTreeSet<pid_t>> {
    let tasks = std::fs::read_dir("/proc/self/task")?;
    let mut numbers = BTreeSet::new();
    for task in tasks {
        numbers.extend(task?.file_name().to_str().and_then(|name| name.parse::<pid_t>().ok()));
    }
    Ok(numbers)
}
