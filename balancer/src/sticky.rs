//! The sticky table of one worker, as everybody may read it.
//!
//! Fixed size, two choices of a bucket of four, and a flow in the way moves to its other choice:
//! at half load all flows find a place and 96 % are where a lookup starts, at three quarters 14 in
//! 100 000 find none and 87 % are there. Without moving it were 1 and 660 in 100 000, with one choice
//! (VPP) 3.8 % and 10.7 %. [`StickyOwner`] is the only writer.
//!
//! [`StickyOwner`]: crate::StickyOwner

use crate::bucket::{Bucket, Entries, WAYS};
use crate::flow_entry::FlowEntry;
use crate::flow_key::{FlowKey, Wanted};
use crate::flow_value::FlowValue;
#[cfg(not(loom))]
use crate::huge_memory::{Backing, HugeMemory, Provide};
use crate::instance_key::{BucketPair, InstanceKey};
use crate::live_flows::LiveFlows;
use crate::prefetch::prefetch;
use crate::side_cells::SideCells;

#[cfg(not(loom))]
type Buckets = HugeMemory<Bucket>;
#[cfg(loom)]
type Buckets = Box<[Bucket]>;

/// A sticky table, read-only. Made by [`StickyOwner::new`](crate::StickyOwner::new).
#[derive(Debug)]
pub struct StickyTable {
    buckets: Buckets,
    cells: SideCells,
    mask: u32,
    instance: InstanceKey,
    live: LiveFlows,
}

/// A table that cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketCountError {
    /// The number of buckets is no power of two, or out of range.
    #[error("the number of buckets is a power of two from 1 to {max}, not {0}", max = StickyTable::MAX_BUCKETS)]
    Invalid(u64),
    /// There is not enough memory for the table.
    #[error("no memory for {0} buckets")]
    NoMemory(u64),
}

/// The buckets of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// One more than the mask says.
    buckets: &'a [Bucket],
    mask: u32,
}

impl<'a> View<'a> {
    /// The bucket with this number; bits above the mask do not count.
    #[inline(always)]
    pub(crate) fn bucket(&self, index: u32) -> &'a Bucket {
        let index = (index & self.mask) as usize;
        debug_assert!(index < self.buckets.len());
        // SAFETY: there is one more bucket than the mask says, from when the table was made on. The
        // comparison would be 3 of some 310 instructions of a packet, three times.
        #[allow(unsafe_code)]
        unsafe {
            self.buckets.get_unchecked(index)
        }
    }

    /// The one where a lookup of a key word with this hash starts.
    #[inline(always)]
    pub(crate) fn first(&self, hash: u64) -> &'a Bucket {
        self.bucket(BucketPair::of(hash, self.mask).first)
    }
}

impl StickyTable {
    /// The most buckets: 2^24, which is 1 GB and 67 million flows a worker.
    pub const MAX_BUCKETS: u64 = 1 << 24;

    /// The buckets when nothing is configured; VPP's default.
    pub const DEFAULT_BUCKETS: u64 = 1024;

    /// Entries in a bucket.
    pub const WAYS: usize = WAYS;

    /// Checks a number of buckets (`lb conf buckets`).
    ///
    /// # Errors
    ///
    /// When it is no power of two or not within 1 to [`MAX_BUCKETS`](Self::MAX_BUCKETS).
    pub fn check_buckets(buckets: u64) -> Result<usize, BucketCountError> {
        if buckets.is_power_of_two() && buckets <= Self::MAX_BUCKETS {
            Ok(buckets as usize)
        } else {
            Err(BucketCountError::Invalid(buckets))
        }
    }

    pub(crate) fn new(
        buckets: u64,
        instance: InstanceKey,
        servers_max: usize,
    ) -> Result<Self, BucketCountError> {
        let count = Self::check_buckets(buckets)?;
        let no_memory = |_| BucketCountError::NoMemory(buckets);
        let cells = SideCells::new(count * WAYS).map_err(no_memory)?;
        Ok(Self {
            // Zero is an empty bucket. A worker must not have to wait for the kernel.
            #[cfg(not(loom))]
            buckets: HugeMemory::zeroed(count, Provide::Now).map_err(no_memory)?,
            #[cfg(loom)]
            buckets: (0..count).map(|_| Bucket::new()).collect(),
            cells,
            mask: (count - 1) as u32,
            instance,
            live: LiveFlows::new(servers_max),
        })
    }

    /// A table in files, with the entries that were left there; they are not counted yet.
    #[cfg(not(loom))]
    pub(crate) fn in_files(
        buckets: u64,
        files: &crate::TableFiles<'_>,
        instance: InstanceKey,
        servers_max: usize,
    ) -> std::io::Result<Self> {
        let count = Self::check_buckets(buckets).map_err(std::io::Error::other)?;
        Ok(Self {
            buckets: HugeMemory::in_file(files.buckets, count)?,
            cells: SideCells::in_file(files.cells, count * WAYS)?,
            mask: (count - 1) as u32,
            instance,
            live: LiveFlows::new(servers_max),
        })
    }

    /// The entry of a flow, unless it is expired. For any thread; misses a flow only if its owner
    /// is making that very entry.
    ///
    /// The caller must still compare the entry's epoch with its AS's.
    #[must_use]
    pub fn lookup(&self, key: &FlowKey, now_s: u32) -> Option<FlowValue> {
        self.read(key).filter(|value| value.is_live(now_s))
    }

    /// What is wanted, for any thread.
    pub(crate) fn read<W: Wanted>(&self, wanted: &W) -> Option<W::Found> {
        let pair = self.buckets_of(wanted.word());
        // Once more the first, where it may have gone from the second meanwhile.
        let mut buckets = [pair.first, pair.second, pair.first].into_iter();
        buckets.find_map(|bucket| self.entries(bucket).read(wanted))
    }

    /// Where a flow may be; separate so that a burst's buckets can be fetched ahead.
    #[must_use]
    pub fn bucket_of(&self, key: &FlowKey) -> BucketPair {
        self.buckets_of(key.word())
    }

    pub(crate) fn buckets_of(&self, word: u64) -> BucketPair {
        self.instance.buckets(word, self.mask)
    }

    /// The flows of each AS.
    #[inline]
    #[must_use]
    pub fn live_flows(&self) -> &LiveFlows {
        &self.live
    }

    /// Entries in use, including expired ones that were not swept yet.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.live.used()
    }

    /// How many flows fit at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// The bytes of all buckets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val::<[Bucket]>(&self.buckets)
    }

    /// All buckets.
    #[inline(always)]
    pub(crate) fn all_buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The cells of all entries.
    #[inline(always)]
    pub(crate) fn cells(&self) -> &SideCells {
        &self.cells
    }

    /// Where the memory of the buckets comes from. Asks the kernel, so not for workers.
    #[cfg(not(loom))]
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.buckets.backing()
    }

    /// How many buckets there are.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// The flow in an entry, 0 to [`capacity`](Self::capacity), for any thread; `None` when it is free
    /// or is being written. A flow that is moved or resized away while others are looked at may be
    /// met twice or not at all.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<FlowEntry> {
        if index >= self.capacity() {
            return None;
        }
        let (key, value) = self.entries((index / WAYS) as u32).entry(index % WAYS)?;
        Some(FlowEntry { key, value })
    }

    /// The key that places flows.
    #[inline(always)]
    pub(crate) fn instance(&self) -> &InstanceKey {
        &self.instance
    }

    /// Starts to fetch the first bucket of a key word with this hash, with the cells of its entries
    /// if they are wanted too.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64, with_cells: bool) {
        let entries = self.first_entries(hash);
        prefetch(entries.bucket);
        if with_cells {
            self.cells.prefetch(entries.first_cell, WAYS);
        }
    }

    /// Starts to fetch a bucket.
    #[inline(always)]
    pub(crate) fn prefetch_bucket(&self, index: u32) {
        prefetch(self.entries(index).bucket);
    }

    /// The number of the bucket where a lookup of a key word with this hash starts.
    #[inline(always)]
    pub(crate) fn first_bucket(&self, hash: u64) -> u32 {
        BucketPair::of(hash, self.mask).first & self.mask
    }

    /// Starts to fetch the second bucket.
    #[inline(always)]
    pub(crate) fn prefetch_second(&self, hash: u64) {
        prefetch(self.second_entries(hash).bucket);
    }

    /// Where a lookup of a key word with this hash starts.
    #[inline(always)]
    pub(crate) fn first_entries(&self, hash: u64) -> Entries<'_> {
        self.entries(BucketPair::of(hash, self.mask).first)
    }

    /// Where it goes on after a miss.
    #[inline(always)]
    pub(crate) fn second_entries(&self, hash: u64) -> Entries<'_> {
        self.entries(BucketPair::of(hash, self.mask).second)
    }

    #[inline(always)]
    pub(crate) fn entries(&self, index: u32) -> Entries<'_> {
        let bucket = self.view().bucket(index);
        let first_cell = (index & self.mask) as usize * WAYS;
        Entries { bucket, cells: &self.cells, first_cell }
    }

    /// The buckets, for a loop.
    #[inline(always)]
    pub(crate) fn view(&self) -> View<'_> {
        View { buckets: &self.buckets, mask: self.mask }
    }
}
