//! The only writer of a sticky table.
//!
//! Entries expire lazily: an expired one counts as free for insertion, and the live counts drop
//! exactly once for each entry, when it is swept, overwritten or removed. Entries are dead before
//! their time when their epoch is not their AS's any more (`del flush`).

use std::sync::Arc;

use crate::application_server::AsId;
use crate::bucket::{Bucket, Entries, WAYS};
use crate::flow_key::{FlowKey, Wanted, is_direct_word};
use crate::flow_value::FlowValue;
use crate::instance_key::{BucketPair, InstanceKey};
use crate::live_flows::WithFlows;
use crate::placement::{InVain, Place};
use crate::sticky::{BucketCountError, StickyTable};
use crate::strays::Strays;
use crate::tcp_state::FlowState;

/// Writes one [`StickyTable`]; moves with its worker, and cannot be copied.
#[derive(Debug)]
pub struct StickyOwner {
    table: Arc<StickyTable>,
    /// The next bucket to sweep.
    cursor: u32,
    /// How often the sweep went through the whole table.
    sweeps: u64,
    /// Searches for flows that could move.
    pub(crate) in_vain: InVain,
    pub(crate) strays: Strays,
    /// The table before this one, as long as it has flows that have not followed.
    pub(crate) old: Option<Box<StickyOwner>>,
    /// Every entry is counted for its AS.
    pub(crate) counted: bool,
}

/// The place of an entry, valid until the owner's next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub(crate) bucket: u32,
    pub(crate) way: u8,
    /// In the table before this one.
    pub(crate) in_old: bool,
}

impl Slot {
    /// The bucket, one of the flow's [two](StickyTable::bucket_of).
    #[must_use]
    pub const fn bucket(self) -> u32 {
        self.bucket
    }

    /// Whether it is in the table before.
    pub(crate) const fn is_in_old(self) -> bool {
        self.in_old
    }

    /// The same place of this table or the one before.
    pub(crate) const fn of_old(self, in_old: bool) -> Self {
        Self { in_old, ..self }
    }
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

impl From<NewEntry> for FlowValue {
    /// The first of its place, whose sequence is 0.
    fn from(entry: NewEntry) -> Self {
        let NewEntry { as_id, epoch, state, expiry_tick } = entry;
        Self::new(as_id, epoch, state, expiry_tick, 0)
    }
}

/// Both buckets of a flow are full of live entries, and none of them can move.
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
        Ok(Self::of(StickyTable::new(buckets, instance, servers_max)?, true))
    }

    /// The owner of a table, of which every entry is counted if there is none.
    fn of(table: StickyTable, is_empty: bool) -> Self {
        let (in_vain, strays) = (InVain::default(), Strays::new(table.buckets()));
        let (table, old) = (Arc::new(table), None);
        Self { table, cursor: 0, sweeps: 0, in_vain, strays, old, counted: is_empty }
    }

    /// A table in files; entries that are there count only once stock was taken of them
    /// ([`take_stock`](Self::take_stock)).
    ///
    /// # Errors
    ///
    /// When `buckets` is not a number of buckets, or the files cannot be mapped: they are too long,
    /// on a disk, or there is not the room.
    #[cfg(not(loom))]
    pub fn in_files(
        buckets: u64,
        files: &crate::TableFiles<'_>,
        instance: InstanceKey,
        servers_max: usize,
    ) -> std::io::Result<Self> {
        let is_empty = files.buckets.metadata()?.len() == 0;
        Ok(Self::of(StickyTable::in_files(buckets, files, instance, servers_max)?, is_empty))
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
    #[inline(always)]
    #[must_use]
    pub fn table(&self) -> &Arc<StickyTable> {
        &self.table
    }

    /// Entries in use, including expired ones that were not swept yet.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.table.used()
    }

    /// Which ASs may have flows here. All, as long as the flows of the table before are still to follow,
    /// or no stock was taken of files.
    #[inline]
    #[must_use]
    pub fn with_flows(&self) -> WithFlows<'_> {
        if self.counted && self.old.is_none() {
            self.table.live_flows().with_flows()
        } else {
            WithFlows::ALL
        }
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
        match self.find_in(self.table.buckets_of(wanted.word()), wanted) {
            None if self.old.is_some() => self.find_before(wanted),
            found => found,
        }
    }

    /// The place of what is wanted in its buckets.
    #[inline]
    pub(crate) fn find_in<W: Wanted>(
        &self,
        pair: BucketPair,
        wanted: &W,
    ) -> Option<(Slot, W::Found)> {
        // One body for both buckets, which the compiler then takes in.
        [pair.first, pair.second].into_iter().find_map(|bucket| {
            let (way, found) = self.table.entries(bucket).find(wanted)?;
            Some((Slot { bucket, way: way as u8, in_old: false }, found))
        })
    }

    /// Makes or replaces the entry of a flow.
    ///
    /// Takes, in this order: the flow's own entry; a free or expired one in the first of its two
    /// buckets, then in the second; a dead one in either; one of a flow that can move to a vacant one in
    /// its other bucket, unless too many searches for such were in vain in this second; of those that
    /// [make room](FlowState::may_displace) for it, the one that would expire first. Never one that is at
    /// work, nor UDP.
    /// `epoch_of` gives the epoch of an AS, `None` if there is no such AS.
    ///
    /// First the first bucket, so that most lookups need one cache line; as entries move, tables
    /// are filled all the same: see `half_load_fits` and `three_quarters_nearly_fit` in the tests.
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
        self.insert_as(entry.state, key, entry, now_s, epoch_of)
    }

    /// The same for a flow for which others make room as for one in the state `claim`.
    pub(crate) fn insert_as(
        &mut self,
        claim: FlowState,
        key: &FlowKey,
        entry: NewEntry,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> Result<Slot, Full> {
        let own = self.find(key).map(|(slot, _)| Place::Take(slot));
        let place = own.or_else(|| self.new_place(key, claim, now_s, epoch_of)).ok_or(Full)?;
        Ok(self.put(place, key, entry))
    }

    /// Makes or replaces the entry of a flow: its own or in a [`new_place`](Self::new_place).
    pub(crate) fn put(&mut self, place: Place, key: &FlowKey, entry: NewEntry) -> Slot {
        if let Place::Take(slot) = place
            && let Some((old, slot_there)) = self.before(slot)
        {
            // It keeps its place until it follows.
            old.put(Place::Take(slot_there), key, entry);
            return slot;
        }
        let slot = match place {
            Place::Take(slot) => slot,
            Place::Vacate { from, to } => {
                self.relocate(from, to);
                from
            }
        };
        self.note_stray(key.word(), slot.bucket);
        let entries = self.table.entries(slot.bucket);
        let way = usize::from(slot.way) % WAYS;
        let old = entries.bucket.value(way);
        self.uncount(entries.bucket.word(way), old);
        let sequence = old.sequence().wrapping_add(1);
        entries.replace(way, key, FlowValue::from(entry).with_sequence(sequence));
        self.table.live_flows().enter(entry.as_id, key.is_direct());
        slot
    }

    /// Moves a live flow to a vacant entry.
    fn relocate(&mut self, from: Slot, to: Slot) {
        self.note_stray(self.entry_at(from).0, to.bucket);
        let [source, target] = [from, to].map(|slot| self.table.entries(slot.bucket));
        let [from, to] = [from, to].map(|slot| usize::from(slot.way) % WAYS);
        self.uncount(target.bucket.word(to), target.bucket.value(to));
        target.adopt(to, &source, from);
    }

    /// Gives the flow in `slot` another state and expiry; no effect on a free entry.
    pub fn refresh(&mut self, slot: Slot, state: FlowState, expiry_tick: u16) {
        if let Some((old, slot)) = self.before(slot) {
            return old.refresh(slot, state, expiry_tick);
        }
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
        if let Some((old, slot)) = self.before(slot) {
            return old.remove(slot);
        }
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
        self.sweep_those(budget_buckets, |entries, way| {
            !is_alive(entries.bucket.word(way), entries.bucket.value(way), now_s, &epoch_of)
        })
    }

    /// Frees the entries of the next `budget_buckets` buckets of which `is_over` says so, and returns
    /// how many there were. Free ones are not asked about.
    #[inline]
    pub(crate) fn sweep_those(
        &mut self,
        budget_buckets: usize,
        is_over: impl Fn(&Entries<'_>, usize) -> bool,
    ) -> usize {
        let buckets = self.table.buckets();
        let mut freed = 0;
        for _ in 0..budget_buckets.min(buckets) {
            debug_assert!(self.is_sound_at(self.cursor), "bucket {}", self.cursor);
            debug_assert!(self.cursor > 0 || self.counts_are_right(), "the counts are wrong");
            let entries = self.table.entries(self.cursor);
            for way in 0..WAYS {
                if entries.bucket.value(way).is_free() {
                    continue;
                }
                if is_over(&entries, way) {
                    self.free(entries.bucket, way);
                    freed += 1;
                    continue;
                }
                let first = self.table.buckets_of(entries.bucket.word(way)).first;
                if first != self.cursor {
                    self.strays.meet(first);
                }
            }
            self.step();
        }
        // Here when they are next.
        for bucket in (self.cursor..).take(budget_buckets.min(buckets - self.cursor as usize)) {
            self.table.prefetch_bucket(bucket);
        }
        freed
    }

    /// The next bucket, one further than before.
    pub(crate) fn step(&mut self) {
        self.strays.leave(self.cursor);
        self.cursor += 1;
        if self.cursor as usize == self.table.buckets() {
            self.strays.end_round();
            self.cursor = 0;
            self.sweeps += 1;
        }
    }

    /// The key word and value in a place.
    pub(crate) fn entry_at(&self, slot: Slot) -> (u64, FlowValue) {
        let (bucket, way) = (self.table.entries(slot.bucket).bucket, usize::from(slot.way) % WAYS);
        (bucket.word(way), bucket.value(way))
    }

    /// The bucket that is next.
    pub(crate) fn cursor(&self) -> u32 {
        self.cursor
    }

    /// The key that places and recognises flows.
    #[inline]
    #[must_use]
    pub fn instance(&self) -> &InstanceKey {
        self.table.instance()
    }

    pub(crate) fn free(&self, bucket: &Bucket, way: usize) {
        let value = bucket.value(way);
        self.uncount(bucket.word(way), value);
        bucket.set_value(way, FlowValue::free(value.sequence()));
    }

    #[inline(always)]
    pub(crate) fn uncount(&self, word: u64, value: FlowValue) {
        if !value.is_free() {
            self.table.live_flows().leave(value.as_id(), is_direct_word(word));
        }
    }
}

/// Whether an entry counts: not expired, and of its AS's present epoch.
pub(crate) fn is_alive(
    word: u64,
    value: FlowValue,
    now_s: u32,
    epoch_of: &impl Fn(AsId) -> Option<u8>,
) -> bool {
    value.is_live(now_s) && (is_direct_word(word) || epoch_of(value.as_id()) == Some(value.epoch()))
}
