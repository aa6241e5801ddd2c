//! Memory of tables: zeroed, and in pages of 2 MiB where the kernel has them.
//!
//! A random line of a table beyond the caches costs half as much there, as the walk through page
//! tables is shorter. Everything is done by whoever makes the table: a worker then meets no page
//! fault.

use std::alloc::Layout;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Error};
use std::ops::Deref;
use std::ptr::{NonNull, null_mut};

use libc::{MADV_HUGEPAGE, MADV_POPULATE_WRITE, MAP_ANONYMOUS, MAP_HUGE_2MB, MAP_HUGETLB};
use libc::{MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use zerocopy::{FromBytes, FromZeros};

use crate::mapped_file::MappedFile;

/// Bytes of a huge page. Smaller tables stay in ordinary memory.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes of an ordinary page.
const PAGE: usize = 4096;

/// Where the memory of a table comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Ordinary pages.
    Ordinary,
    /// The kernel's pool of huge pages, which an administrator has reserved.
    HugePages,
    /// Ordinary memory of which the kernel makes huge pages as it can.
    Transparent {
        /// How many bytes are in huge pages now.
        huge_bytes: usize,
    },
}

/// When the kernel is to provide the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provide {
    /// At once.
    Now,
    /// As it is used, for what may never be. Takes none of the reserved huge pages.
    AsUsed,
}

/// There is not enough memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

#[derive(Debug)]
enum Source {
    /// The global allocator.
    Heap,
    /// A mapping of so many bytes.
    HugePages(usize),
    /// A mapping of so many bytes.
    Transparent(usize),
    /// A mapped file.
    File(MappedFile),
}

/// A slice of values whose bytes were all zero at first.
#[derive(Debug)]
pub(crate) struct HugeMemory<T> {
    values: NonNull<[T]>,
    source: Source,
}

// SAFETY: the memory belongs to this value alone, like that of a box.
unsafe impl<T: Send> Send for HugeMemory<T> {}
// SAFETY: it only gives out shared references to the values, like a box.
unsafe impl<T: Sync> Sync for HugeMemory<T> {}

impl<T: FromZeros> HugeMemory<T> {
    /// So many values, all of whose bytes are zero.
    pub(crate) fn zeroed(len: usize, provide: Provide) -> Result<Self, NoMemory> {
        const { assert!(align_of::<T>() <= PAGE && !std::mem::needs_drop::<T>()) }
        let bytes = Layout::array::<T>(len).map_err(|_| NoMemory)?.size();
        let mapping = match bytes {
            ..HUGE_PAGE => None,
            _ => Mapping::new(bytes.next_multiple_of(HUGE_PAGE), provide)?,
        };
        let Some(mapping) = mapping else {
            let values = <[T]>::new_box_zeroed_with_elems(len).map_err(|_| NoMemory)?;
            return Ok(Self { values: NonNull::from(Box::leak(values)), source: Source::Heap });
        };
        let values = NonNull::slice_from_raw_parts(mapping.start.cast(), len);
        let source = if mapping.reserved {
            Source::HugePages(mapping.bytes)
        } else {
            Source::Transparent(mapping.bytes)
        };
        // The values own the mapping now.
        std::mem::forget(mapping);
        Ok(Self { values, source })
    }
}

impl<T: FromBytes> HugeMemory<T> {
    /// So many values at the start of a file, as they were left there; zero where the file had
    /// none. Others may not write there meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`MappedFile::new`].
    pub(crate) fn in_file(file: &File, len: usize) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= PAGE && !std::mem::needs_drop::<T>()) }
        let layout = Layout::array::<T>(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mapping = MappedFile::new(file, layout.size())?;
        let values = NonNull::slice_from_raw_parts(mapping.start.cast(), len);
        Ok(Self { values, source: Source::File(mapping) })
    }
}

impl<T> HugeMemory<T> {
    /// Where the memory comes from. Looks into `/proc`, so not for workers.
    pub(crate) fn backing(&self) -> Backing {
        match &self.source {
            Source::Heap => Backing::Ordinary,
            Source::HugePages(_) | Source::File(MappedFile { huge: true, .. }) => {
                Backing::HugePages
            }
            &Source::Transparent(bytes) | &Source::File(MappedFile { bytes, .. }) => {
                let start = self.values.cast::<u8>().as_ptr() as usize;
                let huge_bytes = huge_bytes(start).unwrap_or(0).min(bytes);
                Backing::Transparent { huge_bytes }
            }
        }
    }
}

impl<T> Deref for HugeMemory<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the memory is as long, aligned, lives as long as `self`, and what is in it is a
        // value of `T`: zero at first, or any bytes in a file; nobody has a mutable reference to it.
        unsafe { self.values.as_ref() }
    }
}

impl<T> Drop for HugeMemory<T> {
    fn drop(&mut self) {
        match &self.source {
            // The mapping goes by itself.
            Source::File(_) => {}
            // SAFETY: it came from a box, and nobody has it any more.
            Source::Heap => drop(unsafe { Box::from_raw(self.values.as_ptr()) }),
            &(Source::HugePages(bytes) | Source::Transparent(bytes)) => {
                drop(Mapping { start: self.values.cast(), bytes, reserved: false });
            }
        }
    }
}

/// Memory right from the kernel, aligned to huge pages.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    /// From the pool of huge pages.
    reserved: bool,
}

impl Mapping {
    /// `bytes` is a multiple of the huge page. `None` if the kernel maps nothing at all.
    fn new(bytes: usize, provide: Provide) -> Result<Option<Self>, NoMemory> {
        if provide == Provide::Now
            && let Some(start) = map(bytes, MAP_HUGETLB | MAP_HUGE_2MB)
        {
            let mapping = Self { start, bytes, reserved: true };
            if mapping.populate().is_ok() {
                return Ok(Some(mapping));
            }
        }
        let flags = if provide == Provide::AsUsed { MAP_NORESERVE } else { 0 };
        let Some(mapping) = Self::aligned(bytes, flags) else { return Ok(None) };
        // SAFETY: the range is ours, and the advice changes no content. Without transparent huge
        // pages there is an error, and pages stay ordinary.
        unsafe { libc::madvise(mapping.start.as_ptr().cast(), bytes, MADV_HUGEPAGE) };
        if provide == Provide::Now {
            mapping.populate()?;
        }
        Ok(Some(mapping))
    }

    fn aligned(bytes: usize, flags: libc::c_int) -> Option<Self> {
        let all = bytes.checked_add(HUGE_PAGE)?;
        let start = map(all, flags)?;
        let before = start.as_ptr().align_offset(HUGE_PAGE);
        // SAFETY: both offsets are within the mapping.
        let [aligned, end] = unsafe { [start.add(before), start.add(before + bytes)] };
        for (start, bytes) in [(start, before), (end, HUGE_PAGE - before)] {
            if bytes > 0 {
                drop(Self { start, bytes, reserved: false });
            }
        }
        Some(Self { start: aligned, bytes, reserved: false })
    }

    /// Has the kernel provide all pages.
    fn populate(&self) -> Result<(), NoMemory> {
        let start: *mut u8 = self.start.as_ptr();
        // SAFETY: the range is ours; populating changes no content.
        if unsafe { libc::madvise(start.cast(), self.bytes, MADV_POPULATE_WRITE) } == 0 {
            return Ok(());
        }
        // Kernels before 5.14 do not know the advice.
        if Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            return Err(NoMemory);
        }
        for page in (0..self.bytes).step_by(PAGE) {
            // SAFETY: within the mapping, which is writable and shared with nobody yet. Volatile,
            // or the write of what is there already could be left out.
            unsafe { start.add(page).write_volatile(0) };
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map`, and nobody has it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

fn map(bytes: usize, flags: libc::c_int) -> Option<NonNull<u8>> {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | flags;
    // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
    let start = unsafe { libc::mmap(null_mut(), bytes, PROT_READ | PROT_WRITE, flags, -1, 0) };
    if start == MAP_FAILED { None } else { NonNull::new(start.cast()) }
}

/// The bytes in huge pages of the mapping with this address, by `/proc/self/smaps` (proc(5)).
fn huge_bytes(address: usize) -> Option<usize> {
    let lines = BufReader::new(File::open("/proc/self/smaps").ok()?).lines();
    let (mut here, mut huge) = (false, None);
    for line in lines.map_while(Result::ok) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((start, end)) = range {
            let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16));
            here = (start.ok()?..end.ok()?).contains(&address);
        } else if here
            && let Some((name, size)) = line.split_once(':')
            && ["AnonHugePages", "ShmemPmdMapped"].contains(&name)
        {
            let size = size.trim().strip_suffix(" kB")?.parse::<usize>().ok()?.checked_mul(1024)?;
            huge = Some(huge.unwrap_or(0) + size);
        } else if !here && huge.is_some() {
            break;
        }
    }
    huge
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn keeps_what_is_written(len: usize, provide: Provide) -> HugeMemory<AtomicU64> {
        let memory = HugeMemory::<AtomicU64>::zeroed(len, provide).unwrap();
        assert_eq!(memory.len(), len);
        assert!(memory.iter().all(|value| value.load(Ordering::Relaxed) == 0));
        for (at, value) in memory.iter().enumerate() {
            value.store(at as u64, Ordering::Relaxed);
        }
        assert!(memory.iter().enumerate().all(|(at, v)| v.load(Ordering::Relaxed) == at as u64));
        memory
    }

    #[test]
    fn memory_is_zero_and_writable() {
        for provide in [Provide::Now, Provide::AsUsed] {
            for len in [0, 1, 1000, HUGE_PAGE / 8 - 1] {
                let memory = keeps_what_is_written(len, provide);
                assert_eq!(memory.backing(), Backing::Ordinary);
            }
            for len in [HUGE_PAGE / 8, HUGE_PAGE / 8 + 1, HUGE_PAGE] {
                let memory = keeps_what_is_written(len, provide);
                assert_eq!(memory.as_ptr() as usize % HUGE_PAGE, 0, "aligned");
                assert_ne!(memory.backing(), Backing::Ordinary);
            }
        }
    }

    /// Counted by the kernel for this range, whether or not it has huge pages.
    #[test]
    fn memory_is_provided_when_it_was_asked_for() {
        const PAGES: usize = 2 * HUGE_PAGE / PAGE;
        for (provide, resident) in [(Provide::Now, PAGES), (Provide::AsUsed, 0)] {
            let memory = HugeMemory::<AtomicU64>::zeroed(PAGES * PAGE / 8, provide).unwrap();
            let mut pages = [0u8; PAGES];
            let start = memory.as_ptr().cast_mut();
            // SAFETY: the range is mapped, and there is a byte for each of its pages.
            let status = unsafe { libc::mincore(start.cast(), PAGES * PAGE, pages.as_mut_ptr()) };
            assert_eq!(status, 0);
            assert_eq!(pages.iter().filter(|&page| page & 1 == 1).count(), resident);
        }
    }

    #[test]
    fn more_than_all_memory_is_refused() {
        for len in [usize::MAX, usize::MAX / 8, 1 << 58] {
            for provide in [Provide::Now, Provide::AsUsed] {
                assert_eq!(HugeMemory::<u64>::zeroed(len, provide).err(), Some(NoMemory));
            }
        }
    }

    #[test]
    fn memory_is_given_back() {
        // More in total than there is address space.
        for _ in 0..10_000 {
            let memory = HugeMemory::<u64>::zeroed(1 << 31, Provide::AsUsed).unwrap();
            assert_eq!(memory[1 << 30], 0);
        }
    }
}
