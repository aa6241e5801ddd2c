//! The filter of system calls (seccomp(2)) over all threads.
//!
//! It is a list of what the daemon and DPDK use while they run, and of what the C library may use in
//! their place. What is not on it fails with EPERM: the daemon forwards on, where killing it would end
//! every connection. The list is wide for files, memory, threads and sockets, which are what the
//! daemon is made of, and leaves out what an intruder wants: to execute or fork, to trace or read
//! other processes, to change user, to mount or enter namespaces, to load modules or programs of the
//! kernel, to open sockets of other families.

use std::collections::BTreeMap;

use config::Seccomp;
use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition as Condition, SeccompFilter, SeccompRule as Rule, TargetArch,
};

type Rules = BTreeMap<c_long, Vec<Rule>>;

/// Lays the filter over every thread of the process. `sets_flags` says that it may set the flags of
/// network interfaces (CAP_NET_ADMIN).
///
/// # Errors
///
/// What the kernel says.
pub(super) fn limit<'a>(
    mode: Seccomp,
    drivers: impl IntoIterator<Item = &'a str>,
    sets_flags: bool,
) -> Result<(), String> {
    let attaches_programs = drivers.into_iter().any(|driver| driver == "net_af_xdp");
    let mut filters = vec![no_clone3()];
    if !sets_flags {
        filters.push(no_interface_flags());
    }
    // The last: it refuses further filters.
    filters.push(allowed(mode, attaches_programs));
    for filter in filters {
        let filter = filter.map_err(|error| error.to_string())?;
        seccompiler::apply_filter_all_threads(&filter).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The flags of clone3 are in memory, where a filter cannot see them: the C library is told that
/// there is no such call, and falls back on clone.
fn no_clone3() -> Result<BpfProgram, BackendError> {
    let rules = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let refuse = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64)?.try_into()
}

/// Without CAP_NET_ADMIN the kernel refuses to set an interface's flags, which DPDK takes for a failure
/// when it starts a `net_af_packet` port again. "Not supported" it takes for what it is: the port then
/// runs without promiscuous mode.
fn no_interface_flags() -> Result<BpfProgram, BackendError> {
    let rule = one(1, Op::Eq, libc::SIOCSIFFLAGS)?;
    let rules = Rules::from([(libc::SYS_ioctl, vec![rule])]);
    let refuse = SeccompAction::Errno(libc::EOPNOTSUPP as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64)?.try_into()
}

fn allowed(mode: Seccomp, attaches_programs: bool) -> Result<BpfProgram, BackendError> {
    let lists = [FILES, MEMORY, WAITING, SOCKETS, THREADS];
    let mut rules: Rules =
        lists.into_iter().flatten().map(|number| (*number, Vec::new())).collect();
    if attaches_programs {
        rules.insert(libc::SYS_bpf, Vec::new());
    }
    // Left to the other filter: of two error numbers the later filter's would count.
    rules.insert(libc::SYS_clone3, Vec::new());
    // Threads, but no processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![one(0, Op::MaskedEq(thread), thread)?]);
    let families = FAMILIES.iter().map(|family| one(0, Op::Eq, *family as u64));
    rules.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
    let own = PRCTL.iter().map(|operation| one(0, Op::Eq, *operation as u64));
    rules.insert(libc::SYS_prctl, own.collect::<Result<_, _>>()?);
    // Nobody types on the administrator's terminal.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX];
    let not_typing = typing.map(|request| Condition::new(1, Len::Dword, Op::Ne, request));
    let not_typing = not_typing.into_iter().collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_ioctl, vec![Rule::new(not_typing)?]);
    let otherwise = match mode {
        Seccomp::Log => SeccompAction::Log,
        Seccomp::On | Seccomp::Off => SeccompAction::Errno(libc::EPERM as u32),
    };
    SeccompFilter::new(rules, otherwise, SeccompAction::Allow, TargetArch::x86_64)?.try_into()
}

fn one(argument: u8, operator: Op, value: u64) -> Result<Rule, BackendError> {
    Rule::new(vec![Condition::new(argument, Len::Dword, operator, value)?])
}

/// Families of sockets: the API's, the kernel's news of links, those of ports.
const FAMILIES: &[i32] = &[
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
    libc::AF_XDP,
];

/// Names of threads and of memory, timers, and questions.
const PRCTL: &[i32] = &[
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_SET_TIMERSLACK,
    libc::PR_GET_TIMERSLACK,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_DUMPABLE,
];

const FILES: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_lchown,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_lstat,
    libc::SYS_memfd_create,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_rmdir,
    libc::SYS_sendfile,
    libc::SYS_stat,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sync_file_range,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
];

const MEMORY: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_get_mempolicy,
    libc::SYS_madvise,
    libc::SYS_mbind,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mlockall,
    libc::SYS_mmap,
    libc::SYS_move_pages,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munlockall,
    libc::SYS_munmap,
    libc::SYS_set_mempolicy,
];

const WAITING: &[c_long] = &[
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_create,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_pause,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_select,
    libc::SYS_signalfd4,
    libc::SYS_time,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
];

const SOCKETS: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
];

const THREADS: &[c_long] = &[
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgrp,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_get_robust_list,
    libc::SYS_prlimit64,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_setpriority,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_uname,
];

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// In a process of its own: there is no way back.
    #[test]
    fn threads_and_sockets_go_on_and_programs_are_refused() {
        const ALONE: &str = "SLUICE_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = std::thread::current().name().unwrap().to_owned();
            let mut again = Command::new(std::env::current_exe().unwrap());
            let again = again.args(["--exact", &name]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&again.stdout);
            assert!(again.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        // One that was there before is under the filter too.
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let spawn = || Command::new("true").status().unwrap_err().kind();
        let earlier = std::thread::spawn(move || {
            gone.recv().unwrap();
            spawn()
        });
        limit(Seccomp::On, [], false).unwrap();
        go.send(()).unwrap();
        assert_eq!(earlier.join().unwrap(), ErrorKind::PermissionDenied);
        assert_eq!(std::thread::spawn(spawn).join().unwrap(), ErrorKind::PermissionDenied);
        UnixStream::pair().unwrap();
        std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::fs::read("/proc/self/status").unwrap();
        // Not on the list: changing the root folder.
        let chroot = std::os::unix::fs::chroot("/").unwrap_err();
        assert_eq!(chroot.raw_os_error(), Some(libc::EPERM));
    }
}
