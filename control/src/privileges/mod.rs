//! Gives up what starting took and running does not.
//!
//! In this order, once EAL and the ports are up and before the first packet: the files that the
//! daemon must still use and remove are given to the user it becomes; every thread, EAL's own ones
//! included, becomes that user, keeps only the capabilities that the ports' drivers need, and can
//! gain no more (`no_new_privs`); then one filter of system calls is laid over all of them. What the
//! kernel says of each thread is read back, and a thread that kept more is a reason not to start.

mod drivers;
mod system_calls;
mod thread_status;

use config::{Capability, Problem, Seccomp, Startup};
use dataplane::credentials::{Credentials, Identity};

use crate::accounts::Accounts;
use crate::runtime::DataPlane;
use thread_status::ThreadStatus;

/// Who the daemon is to become.
///
/// # Errors
///
/// A user or group that this machine does not have.
pub fn identity(startup: &Startup, accounts: &Accounts) -> Result<Option<Identity>, Problem> {
    let settings = &startup.privileges;
    let group = settings.group.as_ref().map(|group| {
        accounts.group(group).ok_or_else(|| {
            Problem::new(group.span, format!("there is no group {group}"))
                .with_hint(format!("make it: groupadd --system {group}"))
        })
    });
    let group = group.transpose()?;
    let Some(name) = &settings.user else {
        // A group alone: still the same user.
        return Ok(group.map(|gid| Identity { uid: own_uid(), gid, groups: vec![gid] }));
    };
    let Some(user) = accounts.user(name) else {
        return Err(Problem::new(name.span, format!("there is no user {name}"))
            .with_hint(format!("make it: useradd --system --no-create-home {name}")));
    };
    let gid = group.unwrap_or(user.gid);
    let mut groups = accounts.groups_of(&user.name);
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(Some(Identity { uid: user.uid, gid, groups }))
}

/// The user that runs this process.
pub fn own_uid() -> u32 {
    ThreadStatus::of_process().unwrap_or_default().uid
}

/// Leaves every thread with the least. Whatever fails, the daemon must not go on.
///
/// # Errors
///
/// What could not be given up, and by which thread.
pub fn drop_on_all_threads(startup: &Startup, data_plane: &DataPlane) -> Result<(), String> {
    let settings = &startup.privileges;
    let identity = identity(startup, &Accounts::here()).map_err(|problem| problem.reason)?;
    if let Some(Identity { uid, gid, .. }) = identity {
        let given = data_plane.give_files((uid, gid));
        given.map_err(|error| format!("giving DPDK's files to user {uid}: {error}"))?;
    }
    let wanted = settings.keep.iter().map(|capability| capability.bit());
    let wanted = wanted.fold(drivers::capabilities(data_plane.drivers()), |all, bit| all | bit);
    let before = ThreadStatus::of_process().map_err(|error| error.to_string())?;
    let keep = wanted & before.permitted;
    if keep != wanted {
        tracing::warn!(
            "started without {}, which the ports need: re-creating a port will fail",
            names(wanted & !keep)
        );
    }
    let uid = identity.as_ref().map_or(before.uid, |identity| identity.uid);
    let credentials = Credentials { identity, capabilities: keep };
    credentials.apply_to_all_threads().map_err(|error| format!("dropping privileges: {error}"))?;
    if settings.seccomp != Seccomp::Off {
        let sets_flags = keep & Capability::NET_ADMIN.bit() != 0;
        let limited = system_calls::limit(settings.seccomp, data_plane.drivers(), sets_flags);
        limited.map_err(|error| {
            format!("limiting system calls: {error} (seccomp = false in [privileges] does without)")
        })?;
    }
    let threads = check(keep, uid, settings.seccomp)?;
    tracing::info!(
        "privileges: {threads} threads, each as user {uid} with {}, no new privileges, system calls {}",
        names(keep),
        match settings.seccomp {
            Seccomp::On => "limited",
            Seccomp::Log => "logged when unexpected",
            Seccomp::Off => "not limited",
        }
    );
    Ok(())
}

/// Reads back what the kernel says of every thread; gives their number.
fn check(keep: u64, uid: u32, seccomp: Seccomp) -> Result<usize, String> {
    let threads =
        ThreadStatus::of_threads().map_err(|error| format!("reading threads: {error}"))?;
    let filtered = seccomp != Seccomp::Off;
    for (name, thread) in &threads {
        let least = thread.permitted == keep
            && thread.effective == keep
            && thread.inheritable == 0
            && thread.ambient == 0
            && thread.uid == uid
            && thread.no_new_privileges
            && thread.filtered >= filtered;
        if !least {
            return Err(format!("thread {name} kept privileges: {thread:?}"));
        }
    }
    Ok(threads.len())
}

fn names(mask: u64) -> String {
    let names: Vec<String> = Capability::of_mask(mask).map(|one| one.to_string()).collect();
    if names.is_empty() { "no capabilities".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_or_group_is_named() {
        let identity = |section: &str| {
            let startup = Startup::parse(&format!("[privileges]\n{section}\n")).unwrap();
            identity(&startup, &Accounts::here())
        };
        assert_eq!(identity("").unwrap(), None);
        let error = identity("user = \"no-such-user\"").unwrap_err();
        assert_eq!(error.reason, "there is no user no-such-user");
        assert_eq!(error.span.text("[privileges]\nuser = \"no-such-user\""), "\"no-such-user\"");
        let error = identity("group = \"no-such-group\"").unwrap_err();
        assert_eq!(error.reason, "there is no group no-such-group");
        let root = identity("user = \"root\"\ngroup = \"4242\"").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 4242));
        assert!(root.groups.contains(&4242));
        assert_eq!(identity("group = \"4242\"").unwrap().unwrap().gid, 4242);
    }
}
