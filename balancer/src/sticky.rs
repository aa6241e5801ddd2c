//! The sticky table of one worker, as everybody may read it.
//!
//! Fixed size, two choices of a bucket of four: at half load twelve flows in a million find
//! no place, where one choice (VPP) loses 3.8 %. [`StickyOwner`] is the only writer.
//!
//! [`StickyOwner`]: crate::StickyOwner

use crate::bucket::{Bucket, WAYS};
use crate::flow_key::FlowKey;
use crate::flow_value::FlowValue;
use crate::instance_key::{BucketPair, InstanceKey};
use crate::live_flows::LiveFlows;

/// A sticky table, read-only. Made by [`StickyOwner::new`](crate::StickyOwner::new).
#[derive(Debug)]
pub struct StickyTable {
    buckets: Box<[Bucket]>,
    mask: u32,
    instance: InstanceKey,
    live: LiveFlows,
}

/// A number of buckets that is no power of two, or out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number of buckets is a power of two from 1 to {max}, not {0}", max = StickyTable::MAX_BUCKETS)]
pub struct BucketCountError(
    /// What was asked for.
    pub u64,
);

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
            Err(BucketCountError(buckets))
        }
    }

    pub(crate) fn new(
        buckets: u64,
        instance: InstanceKey,
        servers_max: usize,
    ) -> Result<Self, BucketCountError> {
        let buckets = Self::check_buckets(buckets)?;
        Ok(Self {
            buckets: (0..buckets).map(|_| Bucket::new()).collect(),
            mask: (buckets - 1) as u32,
            instance,
            live: LiveFlows::new(servers_max),
        })
    }

    /// The entry of a flow, unless it is expired. For any thread; misses a flow only if its owner
    /// is writing that very entry.
    ///
    /// The caller must still compare the entry's epoch with its AS's.
    #[must_use]
    pub fn lookup(&self, key: FlowKey, now_s: u32) -> Option<FlowValue> {
        self.lookup_in(self.bucket_of(key), key, now_s)
    }

    /// [`lookup`](Self::lookup) with the buckets computed before.
    #[must_use]
    pub fn lookup_in(&self, pair: BucketPair, key: FlowKey, now_s: u32) -> Option<FlowValue> {
        self.bucket(pair.first)
            .read(key)
            .or_else(|| self.bucket(pair.second).read(key))
            .filter(|value| value.is_live(now_s))
    }

    /// Where a flow may be; separate so that a burst's buckets can be fetched ahead.
    #[must_use]
    pub fn bucket_of(&self, key: FlowKey) -> BucketPair {
        self.instance.buckets(key, self.mask)
    }

    /// The flows of each AS.
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

    /// How many buckets there are.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// The key that places flows.
    pub(crate) fn instance(&self) -> InstanceKey {
        self.instance
    }

    pub(crate) fn bucket(&self, index: u32) -> &Bucket {
        &self.buckets[(index & self.mask) as usize]
    }
}
