//! EAL's files of one file-prefix: cleaned before a start when a killed process left them, and
//! after a clean stop. Files of other prefixes are never touched.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Refuses a prefix that could name files outside its own folder: these are removed before a start.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if prefix.starts_with(|c: char| c.is_ascii_alphanumeric()) && prefix.chars().all(safe) {
        return Ok(());
    }
    Err(format!(
        "the file prefix {prefix:?} must begin with a letter or digit, and go on with letters, \
         digits, '-', '_' and '.'"
    ))
}

/// Where EAL keeps the runtime files of `prefix`.
pub fn runtime_dir(prefix: &str) -> PathBuf {
    // SAFETY: always succeeds.
    let root = unsafe { libc::getuid() } == 0;
    runtime_base(|name| std::env::var_os(name).map(PathBuf::from), root).join("dpdk").join(prefix)
}

/// The folder EAL makes its own folder in: systemd's for the service, else the usual one for root,
/// else the user's.
fn runtime_base(env: impl Fn(&str) -> Option<PathBuf>, root: bool) -> PathBuf {
    let fallback = || {
        if root {
            return PathBuf::from("/var/run");
        }
        env("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from("/tmp"))
    };
    env("RUNTIME_DIRECTORY").unwrap_or_else(fallback)
}

/// True when a living process holds the lock on the prefix's `config` file.
pub fn in_use(dir: &Path) -> bool {
    let Ok(config) = fs::OpenOptions::new().write(true).open(dir.join("config")) else {
        return false;
    };
    // EAL's primary process holds a POSIX write lock on its config file for as long as it lives.
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open and `lock` is a valid, initialised structure.
    let status = unsafe { libc::fcntl(config.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    status == 0 && lock.l_type != libc::F_UNLCK as libc::c_short
}

/// Removes the prefix's runtime folder and its `<prefix>map_*` files in the hugetlbfs mounts,
/// unless a living process uses them. Returns how many files went.
pub fn clean(dir: &Path, prefix: &str, hugetlbfs: &[String]) -> std::io::Result<usize> {
    check_prefix(prefix).map_err(std::io::Error::other)?;
    if in_use(dir) {
        return Err(std::io::Error::other(format!(
            "another running process uses the EAL file prefix {prefix}"
        )));
    }
    let mut removed = 0;
    for file in map_files(prefix, hugetlbfs) {
        remove_or_empty(&file)?;
        removed += 1;
    }
    if let Ok(files) = fs::read_dir(dir) {
        removed += files.count();
        fs::remove_dir_all(dir)?;
    }
    Ok(removed)
}

/// The `<prefix>map_*` files in the hugetlbfs mounts.
fn map_files(prefix: &str, hugetlbfs: &[String]) -> Vec<PathBuf> {
    let folders = hugetlbfs.iter().filter_map(|mount| fs::read_dir(mount).ok());
    let files = folders.flat_map(|folder| folder.flatten());
    let ours = |file: &fs::DirEntry| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("map_"))
    };
    files.filter(ours).map(|file| file.path()).collect()
}

/// Whoever may not remove a file of hugepages can at least give the pages back.
fn remove_or_empty(file: &Path) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            fs::OpenOptions::new().write(true).open(file)?.set_len(0)
        }
        done => done,
    }
}

/// Gives the prefix's runtime folder and all of its files to a user, who can then use and remove
/// them without privileges.
pub fn give(
    dir: &Path,
    prefix: &str,
    hugetlbfs: &[String],
    (uid, gid): (u32, u32),
) -> std::io::Result<()> {
    let mut paths = map_files(prefix, hugetlbfs);
    if let Some(base) = dir.parent().filter(|_| dir.exists()) {
        // EAL makes it root's alone; others must get through to what is theirs.
        let mode = fs::metadata(base)?.permissions().mode();
        fs::set_permissions(base, fs::Permissions::from_mode(mode | 0o011))?;
    }
    if let Ok(files) = fs::read_dir(dir) {
        paths.extend(files.flatten().map(|file| file.path()));
        paths.push(dir.to_owned());
    }
    paths.iter().try_for_each(|path| std::os::unix::fs::lchown(path, Some(uid), Some(gid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_the_one_eal_chooses() {
        let none = |_: &str| None;
        assert_eq!(runtime_base(none, true), Path::new("/var/run"));
        assert_eq!(runtime_base(none, false), Path::new("/tmp"));
        let both = |name: &str| Some(PathBuf::from(format!("/{name}")));
        assert_eq!(runtime_base(both, true), Path::new("/RUNTIME_DIRECTORY"));
        let xdg = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| PathBuf::from("/x"));
        assert_eq!(runtime_base(xdg, false), Path::new("/x"));
        assert_eq!(runtime_base(xdg, true), Path::new("/var/run"));
    }

    /// Locks `path` in a child process, as EAL's primary process does, while `body` runs.
    fn while_locked(path: &Path, body: impl FnOnce()) {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let (mut ready, mut leave) = ([0; 2], [0; 2]);
        // SAFETY: both arrays have room for the two descriptors of a pipe.
        unsafe {
            assert!(libc::pipe(&raw mut ready[0]) == 0 && libc::pipe(&raw mut leave[0]) == 0)
        };
        // SAFETY: the child only makes system calls, on memory it has, and ends by _exit.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let mut byte = 0_u8;
            // SAFETY: the descriptors are open, and every pointer is to a local variable.
            unsafe {
                let mut lock: libc::flock = std::mem::zeroed();
                lock.l_type = libc::F_WRLCK as libc::c_short;
                let status = libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw mut lock);
                libc::close(leave[1]);
                libc::write(ready[1], (&raw const byte).cast(), 1);
                libc::read(leave[0], (&raw mut byte).cast(), 1);
                libc::_exit(status);
            }
        }
        let (mut byte, mut status) = (0_u8, 0);
        // SAFETY: the descriptor is open and the byte is a local variable.
        unsafe { assert_eq!(libc::read(ready[0], (&raw mut byte).cast(), 1), 1) };
        body();
        for descriptor in [leave[1], leave[0], ready[0], ready[1]] {
            // SAFETY: the descriptor is ours and not used again; the first ends the child's read.
            unsafe { libc::close(descriptor) };
        }
        // SAFETY: the process is our child.
        unsafe { assert_eq!(libc::waitpid(child, &raw mut status, 0), child) };
        assert_eq!(status, 0, "the child could not lock the file");
    }

    #[test]
    fn files_of_a_living_process_stay() {
        let dir = std::env::temp_dir().join(format!("sluice-{}-in-use", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let config = dir.join("config");
        fs::write(&config, "x").unwrap();
        assert!(!in_use(&dir));
        while_locked(&config, || {
            let error = clean(&dir, "a", &[]).unwrap_err();
            assert!(error.to_string().contains("another running process"), "{error}");
            assert!(config.exists());
        });
        assert_eq!(clean(&dir, "a", &[]).unwrap(), 1);
        assert!(!dir.exists());
    }

    #[test]
    fn removes_only_its_own_prefix() {
        let base = std::env::temp_dir().join(format!("sluice-{}-runtime", std::process::id()));
        let (dir, huge) = (base.join("run/a"), base.join("huge"));
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir_all(&huge).unwrap();
        for file in [dir.join("config"), huge.join("amap_0"), huge.join("abmap_0"), huge.join("a")]
        {
            fs::write(file, "x").unwrap();
        }
        let mounts = [huge.to_string_lossy().into_owned()];
        assert_eq!(clean(&dir, "a", &mounts).unwrap(), 2);
        assert!(clean(&base, "..", &mounts).is_err() && base.exists());
        assert!(!dir.exists() && !huge.join("amap_0").exists());
        assert!(huge.join("abmap_0").exists() && huge.join("a").exists());
        fs::remove_dir_all(&base).unwrap();
    }
}
