//! The directory on tmpfs or hugetlbfs in which state is kept, and the names of what is in it.

use std::fmt::{self, Display, Formatter};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

/// Ours alone.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The name of a table's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TableName {
    /// Whose it is, from 0.
    pub(super) worker: usize,
    /// The higher, the later it was made.
    pub(super) generation: u32,
    pub(super) buckets: u32,
}

impl Display for TableName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.worker, self.generation, self.buckets)
    }
}

impl TableName {
    /// What its files begin with.
    const KINDS: [&str; 2] = ["buckets", "cells"];

    fn of_file(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let kind = parts.next()?;
        let mut number = || parts.next()?.parse::<u32>().ok();
        let worker = number()? as usize;
        let found = Self { worker, generation: number()?, buckets: number()? };
        (Self::KINDS.contains(&kind) && name == format!("{kind}-{found}")).then_some(found)
    }

    /// The names of both its files: of the buckets, of the cells.
    fn files(self) -> [String; 2] {
        Self::KINDS.map(|kind| format!("{kind}-{self}"))
    }
}

/// The directory.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the directory if it is not there.
    ///
    /// # Errors
    ///
    /// When it is a symbolic link, or others may look into it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        match DirBuilder::new().recursive(false).mode(DIRECTORY_MODE).create(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
            }
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let about = std::fs::symlink_metadata(path)?;
        if !about.is_dir() {
            return Err(Error::other("not a directory; a symbolic link will not do"));
        }
        private(about.permissions().mode(), DIRECTORY_MODE)?;
        Ok(Self(path.to_owned()))
    }

    /// Gives the directory and all that is in it to a user and group.
    pub(super) fn give_to(&self, (user, group): (u32, u32)) -> Result<()> {
        for entry in std::fs::read_dir(&self.0)? {
            lchown(entry?.path(), Some(user), Some(group))?;
        }
        lchown(&self.0, Some(user), Some(group))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The file of the directory and header, for this process alone.
    pub(super) fn locked(&self, name: &str) -> Result<File> {
        let file = self.file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::WouldBlock, "another sluiced has its state there"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The files of a table: buckets, cells. Made if they are not there.
    pub(super) fn table(&self, name: TableName) -> Result<[File; 2]> {
        let [buckets, cells] = name.files();
        Ok([self.file(&buckets)?, self.file(&cells)?])
    }

    /// All tables, by worker, the latest last.
    pub(super) fn tables(&self) -> Result<Vec<TableName>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            found.extend(entry?.file_name().to_str().and_then(TableName::of_file));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Removes the files of a table; they may be gone already.
    pub(super) fn remove(&self, name: TableName) {
        for file in name.files() {
            match std::fs::remove_file(self.0.join(&file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!("state: {file} stays behind: {error}");
                }
                _ => {}
            }
        }
    }

    fn file(&self, name: &str) -> Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(FILE_MODE);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(self.0.join(name));
        let file = file.map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => Error::other(format!("{name} is a symbolic link")),
            _ => Error::new(error.kind(), format!("{name}: {error}")),
        })?;
        let about = file.metadata()?;
        if !about.is_file() || about.nlink() != 1 {
            return Err(Error::other(format!("{name} is not a file of its own")));
        }
        private(about.permissions().mode(), FILE_MODE)
            .map_err(|error| Error::other(format!("{name}: {error}")))?;
        Ok(file)
    }
}

fn private(mode: u32, right: u32) -> Result<()> {
    let mode = mode & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let reason = format!("mode {mode:o} lets others in: chmod {right:o} would be right");
    Err(Error::new(ErrorKind::PermissionDenied, reason))
}
