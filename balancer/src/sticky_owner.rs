//! The only writer of a sticky table.
//!
//! Entries expire lazily: an expired one counts as free for insertion, and the live counts drop
//! exactly once for each entry, when it is swept, overwritten or removed. Entries are dead before
//! their time when their epoch is not their AS's any more (`del flush`).

use std::sync::Arc;

use crate::application_server::AsId;
use crate::bucket::{Bucket, WAYS};
use crate::flow_key::{FlowKey, Wanted, is_direct_word};
use crate::flow_value::FlowValue;
use crate::instance_key::InstanceKey;
use crate::sticky::{BucketCountError, StickyTable};
use crate::tcp_state::FlowState;

/// Writes one [`StickyTable`]; moves with its worker, and cannot be copied.
#[derive(Debug)]
pub struct StickyOwner {
    table: Arc<StickyTable>,
    /// The next bucket to sweep.
    cursor: u32,
    /// How often the sweep went through the whole table.
    sweeps: u64,
}

/// The place of an entry, valid until the owner's next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    bucket: u32,
    way: u8,
}

/// What a new entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The AS; means nothing for a direct flow.
    pub as_id: AsId,
    /// The AS's epoch; 0 for a direct flow.
    pub epoch: u8,
    /// The flow's state.
    pub state: FlowState,
    /// When it expires, seconds modulo 2^16 ([`Timeouts::expiry_tick`]).
    ///
    /// [`Timeouts::expiry_tick`]: crate::Timeouts::expiry_tick
    pub expiry_tick: u16,
}

/// Both buckets of a flow are full of live entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no free entry in the flow's buckets")]
pub struct Full;

impl StickyOwner {
    /// A new, empty table and its owner.
    ///
    /// `servers_max` bounds the [`AsId`]s whose flows can be counted, usually
    /// [`MAX_SERVERS`](crate::MAX_SERVERS).
    ///
    /// # Errors
    ///
    /// When `buckets` is no power of two from 1 to [`StickyTable::MAX_BUCKETS`].
    pub fn new(
        buckets: u64,
        instance: InstanceKey,
        servers_max: usize,
    ) -> Result<Self, BucketCountError> {
        let table = Arc::new(StickyTable::new(buckets, instance, servers_max)?);
        Ok(Self { table, cursor: 0, sweeps: 0 })
    }

    /// A new, empty table of another size, with the key and bounds of an existing one.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn resized(table: &StickyTable, buckets: u64) -> Result<Self, BucketCountError> {
        Self::new(buckets, *table.instance(), table.live_flows().servers_max())
    }

    /// The table, to be shared with readers.
    #[must_use]
    pub fn table(&self) -> &Arc<StickyTable> {
        &self.table
    }

    /// Entries in use, including expired ones that were not swept yet.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.table.used()
    }

    /// How often the sweep went through the whole table.
    #[must_use]
    pub fn sweeps(&self) -> u64 {
        self.sweeps
    }

    /// The entry of a flow, unless it is expired; the caller compares epochs.
    #[must_use]
    pub fn lookup(&self, key: &FlowKey, now_s: u32) -> Option<FlowValue> {
        self.find(key).map(|(_, value)| value).filter(|value| value.is_live(now_s))
    }

    /// The place and value of a flow, be it expired or not.
    #[must_use]
    pub fn find(&self, key: &FlowKey) -> Option<(Slot, FlowValue)> {
        self.find_wanted(key)
    }

    /// The place of what is wanted.
    #[inline]
    pub(crate) fn find_wanted<W: Wanted>(&self, wanted: &W) -> Option<(Slot, W::Found)> {
        let pair = self.table.buckets_of(wanted.word());
        // One body for both buckets, which the compiler then takes in.
        [pair.first, pair.second].into_iter().find_map(|bucket| {
            let (way, found) = self.table.entries(bucket).find(wanted)?;
            Some((Slot { bucket, way: way as u8 }, found))
        })
    }

    /// Whether [`insert`](Self::insert) would find a place.
    pub(crate) fn has_room(
        &self,
        key: &FlowKey,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> bool {
        self.find(key).is_some() || self.place(key, now_s, epoch_of).is_some()
    }

    /// Makes or replaces the entry of a flow.
    ///
    /// Takes, in this order: the flow's own entry; a free, expired or dead one, in the emptier of
    /// the two buckets; the closing one that would expire first. Never one that is alive
    /// otherwise. `epoch_of` gives the epoch of an AS, `None` if there is no such AS.
    ///
    /// # Errors
    ///
    /// When there is no such entry; nothing is changed then.
    pub fn insert(
        &mut self,
        key: &FlowKey,
        entry: NewEntry,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> Result<Slot, Full> {
        let slot = match self.find(key) {
            Some((slot, _)) => slot,
            None => self.place(key, now_s, epoch_of).ok_or(Full)?,
        };
        let entries = self.table.entries(slot.bucket);
        let way = usize::from(slot.way);
        let old = entries.bucket.value(way);
        self.uncount(entries.bucket.word(way), old);
        let NewEntry { as_id, epoch, state, expiry_tick } = entry;
        let sequence = old.sequence().wrapping_add(1);
        entries.replace(way, key, FlowValue::new(as_id, epoch, state, expiry_tick, sequence));
        self.table.live_flows().enter(as_id, key.is_direct());
        Ok(slot)
    }

    /// Gives the flow in `slot` another state and expiry; no effect on a free entry.
    pub fn refresh(&mut self, slot: Slot, state: FlowState, expiry_tick: u16) {
        let bucket = self.table.entries(slot.bucket).bucket;
        let way = usize::from(slot.way) % WAYS;
        let old = bucket.value(way);
        let new = old.refreshed(state, expiry_tick);
        // Most packets of a burst change nothing; the line then stays clean.
        if new != old && !old.is_free() {
            bucket.set_value(way, new);
        }
    }

    /// Frees an entry; no effect on a free one.
    pub fn remove(&mut self, slot: Slot) {
        let bucket = self.table.entries(slot.bucket).bucket;
        self.free(bucket, usize::from(slot.way) % WAYS);
    }

    /// Frees the expired and dead entries of the next `budget_buckets` buckets and returns how
    /// many there were.
    ///
    /// The whole table must be swept at least every 2^15 s minus the longest timeout in use, or an
    /// expired entry comes back to life as expiry wraps; a few buckets a second are enough.
    pub fn sweep(
        &mut self,
        budget_buckets: usize,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> usize {
        let buckets = self.table.buckets();
        let mut freed = 0;
        for _ in 0..budget_buckets.min(buckets) {
            let bucket = self.table.entries(self.cursor).bucket;
            for way in 0..WAYS {
                let value = bucket.value(way);
                if !value.is_free() && !is_alive(bucket.word(way), value, now_s, &epoch_of) {
                    self.free(bucket, way);
                    freed += 1;
                }
            }
            self.cursor += 1;
            if self.cursor as usize == buckets {
                self.cursor = 0;
                self.sweeps += 1;
            }
        }
        freed
    }

    /// Moves the live entries of the next `budget_buckets` buckets of `old` here, and frees the
    /// others, so that counts stay exact over both tables. Flows that this table has already are
    /// only freed there. `old` is done when nothing of it is used any more. Returns how many
    /// entries found no place here and are lost.
    ///
    /// Nothing may be inserted into `old` between the first call and the last, and both must have
    /// the same [`InstanceKey`], or flows that are known by a hash of theirs are never found again.
    pub fn migrate_from(
        &mut self,
        old: &mut StickyOwner,
        budget_buckets: usize,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> usize {
        let mut lost = 0;
        let buckets = old.table.buckets();
        for _ in 0..budget_buckets.min(buckets) {
            let entries = old.table.entries(old.cursor);
            for way in 0..WAYS {
                let value = entries.bucket.value(way);
                if value.is_free() {
                    continue;
                }
                let key = entries.key(way);
                if is_alive(key.word(), value, now_s, &epoch_of) && self.find(&key).is_none() {
                    let entry = NewEntry {
                        as_id: value.as_id(),
                        epoch: value.epoch(),
                        state: value.state(),
                        expiry_tick: value.expiry_tick(),
                    };
                    lost += usize::from(self.insert(&key, entry, now_s, &epoch_of).is_err());
                }
                old.free(entries.bucket, way);
            }
            old.cursor += 1;
            if old.cursor as usize == buckets {
                old.cursor = 0;
                old.sweeps += 1;
            }
        }
        lost
    }

    /// The key that places and recognises flows.
    #[must_use]
    pub fn instance(&self) -> &InstanceKey {
        self.table.instance()
    }

    /// The place for a flow that has no entry.
    fn place(
        &self,
        key: &FlowKey,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> Option<Slot> {
        let pair = self.table.bucket_of(key);
        let [first, second] =
            [pair.first, pair.second].map(|index| self.survey(index, now_s, &epoch_of));
        let (index, survey) =
            if second.free > first.free { (pair.second, second) } else { (pair.first, first) };
        if let Some(way) = survey.vacant {
            return Some(Slot { bucket: index, way });
        }
        [(pair.first, first), (pair.second, second)]
            .into_iter()
            .filter_map(|(bucket, survey)| survey.closing.map(|closing| (bucket, closing)))
            .min_by_key(|&(_, (remaining_s, _))| remaining_s)
            .map(|(bucket, (_, way))| Slot { bucket, way })
    }

    fn survey(&self, index: u32, now_s: u32, epoch_of: &impl Fn(AsId) -> Option<u8>) -> Survey {
        let bucket = self.table.entries(index).bucket;
        let mut survey = Survey::default();
        for way in 0..WAYS {
            let value = bucket.value(way);
            if value.is_free() || !is_alive(bucket.word(way), value, now_s, epoch_of) {
                survey.free += 1;
                survey.vacant = survey.vacant.or(Some(way as u8));
            } else if value.state() == FlowState::Closing {
                let candidate = (value.remaining_s(now_s), way as u8);
                survey.closing =
                    Some(survey.closing.map_or(candidate, |closing| closing.min(candidate)));
            }
        }
        survey
    }

    fn free(&self, bucket: &Bucket, way: usize) {
        let value = bucket.value(way);
        self.uncount(bucket.word(way), value);
        bucket.set_value(way, FlowValue::free(value.sequence()));
    }

    fn uncount(&self, word: u64, value: FlowValue) {
        if !value.is_free() {
            self.table.live_flows().leave(value.as_id(), is_direct_word(word));
        }
    }
}

/// What a bucket offers a new flow.
#[derive(Clone, Copy, Debug, Default)]
struct Survey {
    free: u32,
    vacant: Option<u8>,
    /// Seconds to live and position.
    closing: Option<(i16, u8)>,
}

/// Whether an entry counts: not expired, and of its AS's present epoch.
fn is_alive(
    word: u64,
    value: FlowValue,
    now_s: u32,
    epoch_of: &impl Fn(AsId) -> Option<u8>,
) -> bool {
    value.is_live(now_s) && (is_direct_word(word) || epoch_of(value.as_id()) == Some(value.epoch()))
}
