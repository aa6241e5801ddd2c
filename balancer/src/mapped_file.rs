//! Memory that outlives the process: a file of hugetlbfs or tmpfs, mapped.
//!
//! Every byte of it is had from the kernel when it is mapped: touching memory of a file system that
//! is full ends a process with SIGBUS. What a killed process wrote is there for the next one, as the
//! pages belong to the file.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};

use libc::{MADV_HUGEPAGE, MADV_POPULATE_WRITE, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE};

/// statfs(2) of hugetlbfs and tmpfs.
const HUGETLBFS: i64 = 0x9584_58f6;
const TMPFS: i64 = 0x0102_1994;

/// Bytes of an ordinary page.
const PAGE: usize = 4096;

/// A mapping of a whole file.
#[derive(Debug)]
pub(crate) struct MappedFile {
    pub(crate) start: NonNull<u8>,
    pub(crate) bytes: usize,
    /// In pages of hugetlbfs.
    pub(crate) huge: bool,
}

impl MappedFile {
    /// Maps a file for reading and writing. One that is shorter than `bytes`, rounded up to the
    /// pages of its file system, gets longer; what is new is zero.
    ///
    /// # Errors
    ///
    /// When the file is longer, on another kind of file system, or there is not the room.
    pub(crate) fn new(file: &File, bytes: usize) -> Result<Self> {
        let (huge, page) = page_of(file)?;
        let bytes = bytes
            .max(1)
            .checked_next_multiple_of(page)
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .ok_or(ErrorKind::OutOfMemory)?;
        let length = file.metadata()?.len();
        if length > bytes as u64 {
            let reason = format!("the file has {length} bytes, not {bytes}");
            return Err(Error::new(ErrorKind::InvalidData, reason));
        }
        if length < bytes as u64 {
            file.set_len(bytes as u64)?;
        }
        // SAFETY: the descriptor is open; only the file changes, and none of its bytes.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as i64) } != 0 {
            return Err(Error::last_os_error());
        }
        let protection = PROT_READ | PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let start =
            unsafe { libc::mmap(null_mut(), bytes, protection, MAP_SHARED, file.as_raw_fd(), 0) };
        let start = Some(start).filter(|start| *start != MAP_FAILED);
        let start = start.and_then(|start| NonNull::new(start.cast()));
        let mapping = Self { start: start.ok_or_else(Error::last_os_error)?, bytes, huge };
        mapping.populate()?;
        Ok(mapping)
    }

    /// Enters all pages into this process's page table, so that no worker meets a fault.
    fn populate(&self) -> Result<()> {
        let start = self.start.as_ptr();
        if !self.huge {
            // SAFETY: the range is ours, and the advice changes no content. It has an effect where
            // the file system was mounted with huge=advise, and fails where that is unknown.
            unsafe { libc::madvise(start.cast(), self.bytes, MADV_HUGEPAGE) };
        }
        // SAFETY: the range is ours; populating changes no content.
        if unsafe { libc::madvise(start.cast(), self.bytes, MADV_POPULATE_WRITE) } == 0 {
            return Ok(());
        }
        // Kernels before 5.14 do not know the advice.
        let error = Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
        for page in (0..self.bytes).step_by(PAGE) {
            // SAFETY: within the mapping. Nobody else writes there: who maps a file of state has
            // it locked, and its workers do not run yet.
            unsafe {
                let byte = start.add(page);
                byte.write_volatile(byte.read_volatile());
            }
        }
        Ok(())
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and nobody has it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Whether a file is on hugetlbfs, and the size of its pages.
fn page_of(file: &File) -> Result<(bool, usize)> {
    // SAFETY: all zero is a value of this plain structure.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the structure is ours.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut about) } != 0 {
        return Err(Error::last_os_error());
    }
    match about.f_type {
        HUGETLBFS => Ok((true, usize::try_from(about.f_bsize).unwrap_or(PAGE).max(PAGE))),
        TMPFS => Ok((false, PAGE)),
        _ => {
            let reason = "neither on tmpfs nor on hugetlbfs: workers would wait for a disk";
            Err(Error::new(ErrorKind::Unsupported, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::huge_memory::HugeMemory;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A file of this test's own, removed with it.
    struct Scratch(PathBuf, File);

    impl Scratch {
        fn new(folder: &Path, name: &str) -> Self {
            let path = folder.join(format!("sluice-mapped-{}-{name}", std::process::id()));
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(true).open(&path);
            Self(path, file.unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn map(file: &File, words: usize) -> Result<HugeMemory<AtomicU64>> {
        HugeMemory::in_file(file, words)
    }

    #[test]
    fn what_was_written_is_there_for_the_next() {
        let scratch = Scratch::new(Path::new("/dev/shm"), "next");
        let words = map(&scratch.1, 3000).unwrap();
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        for (at, word) in words.iter().enumerate() {
            word.store(at as u64, Ordering::Relaxed);
        }
        drop(words);
        let again = File::options().read(true).write(true).open(&scratch.0).unwrap();
        let words = map(&again, 3000).unwrap();
        assert!(words.iter().enumerate().all(|(at, w)| w.load(Ordering::Relaxed) == at as u64));
        // Longer: the rest is zero.
        let longer = map(&again, 6000).unwrap();
        assert_eq!(longer[2999].load(Ordering::Relaxed), 2999);
        assert_eq!(longer[5999].load(Ordering::Relaxed), 0);
        // Both see the same memory.
        longer[7].store(1, Ordering::Relaxed);
        assert_eq!(words[7].load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_file_that_is_too_long_or_on_a_disk_is_refused() {
        let scratch = Scratch::new(Path::new("/dev/shm"), "long");
        drop(map(&scratch.1, 1024).unwrap());
        let error = map(&scratch.1, 8).unwrap_err().to_string();
        assert_eq!(error, "the file has 8192 bytes, not 4096");
        // /proc is neither, wherever the tests run.
        let file = File::open("/proc/self/status").unwrap();
        let error = map(&file, 8).unwrap_err().to_string();
        assert!(error.contains("neither on tmpfs nor on hugetlbfs"), "{error}");
    }

    /// Not by SIGBUS when the memory is used.
    #[test]
    fn a_full_file_system_is_told_at_once() {
        let scratch = Scratch::new(Path::new("/dev/shm"), "full");
        let error = map(&scratch.1, 1 << 50).unwrap_err();
        let codes = [libc::ENOSPC, libc::ENOMEM, libc::EFBIG];
        assert!(error.raw_os_error().is_some_and(|code| codes.contains(&code)), "{error}");
    }
}
