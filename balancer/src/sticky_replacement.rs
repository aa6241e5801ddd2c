//! A sticky table takes the place of another, of another size, while packets flow.
//!
//! The owner has both until the last flow has followed, which happens in slices: a flow is in
//! exactly one of them, and stays where it is until its turn, whatever happens to it meanwhile. New
//! flows begin in the new table.

use std::sync::Arc;

use crate::application_server::AsId;
use crate::bucket::WAYS;
use crate::flow_key::Wanted;
use crate::placement::Place;
use crate::sticky::StickyTable;
use crate::sticky_owner::{NewEntry, Slot, StickyOwner, is_alive};

/// What became of a slice of a table that is being replaced.
#[derive(Debug, Default)]
pub struct Followed {
    /// Flows that found no place in the new table, or had to leave theirs to others, and are known
    /// no more.
    pub lost: usize,
    /// The table before, once it is empty.
    pub retired: Option<Box<StickyOwner>>,
}

impl StickyOwner {
    /// Puts an empty table of the same [`InstanceKey`](crate::InstanceKey) in the place of this one,
    /// whose flows are still found and [`follow`](Self::follow) in slices. Returns the table before
    /// this one when not all of its flows had followed yet; the flows left in it are lost.
    pub fn replace(&mut self, mut new: Box<StickyOwner>) -> Option<Box<StickyOwner>> {
        let left = self.old.take();
        std::mem::swap(self, &mut *new);
        self.old = Some(new);
        left
    }

    /// Moves the flows of the next `budget_buckets` buckets of the table before to this one; does
    /// nothing when there is none.
    ///
    /// Nobody who looks into the old table first and then into this one misses a flow that moves.
    pub fn follow(
        &mut self,
        budget_buckets: usize,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> Followed {
        let Some(mut old) = self.old.take() else { return Followed::default() };
        let lost = self.migrate_from(&mut old, budget_buckets, now_s, epoch_of);
        if old.used() == 0 {
            return Followed { lost, retired: Some(old) };
        }
        self.old = Some(old);
        Followed { lost, retired: None }
    }

    /// Moves the live entries of the next `budget_buckets` buckets of `old` here, and frees the
    /// others, so that counts stay exact over both tables. Flows that this table has already are
    /// only freed there. `old` is done when nothing of it is used any more. Returns how many
    /// entries found no place here, or had to make room for others, and are lost.
    ///
    /// No other flow may get an entry in `old` between the first call and the last, and both must
    /// have the same [`InstanceKey`](crate::InstanceKey), or flows that are known by a hash of theirs
    /// are never found again.
    pub fn migrate_from(
        &mut self,
        old: &mut StickyOwner,
        budget_buckets: usize,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> usize {
        let mut lost = 0;
        for _ in 0..budget_buckets.min(old.table().buckets()) {
            debug_assert!(old.is_sound_at(old.cursor()), "bucket {}", old.cursor());
            let entries = old.table().entries(old.cursor());
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
                    let place = self.new_place(&key, entry.state, now_s, &epoch_of);
                    lost += usize::from(!place.is_some_and(|place| {
                        let is_free = self.is_vacant(place, now_s, &epoch_of);
                        self.put(place, &key, entry);
                        is_free
                    }));
                }
                // Behind its new place, so that there is always one of it to be found.
                old.free(entries.bucket, way);
            }
            old.step();
        }
        lost
    }

    /// Whether nobody has to go for who gets a place.
    fn is_vacant(&self, place: Place, now_s: u32, epoch_of: &impl Fn(AsId) -> Option<u8>) -> bool {
        let Place::Take(slot) = place else { return true };
        let (word, value) = self.entry_at(slot);
        !is_alive(word, value, now_s, epoch_of)
    }

    /// The table before, as long as flows of it are still to follow.
    #[must_use]
    pub fn table_before(&self) -> Option<&Arc<StickyTable>> {
        self.old.as_deref().map(StickyOwner::table)
    }

    /// Whether a table is this one, or the one before that is still in use.
    pub(crate) fn is_own(&self, table: &Arc<StickyTable>) -> bool {
        Arc::ptr_eq(self.table(), table)
            || self.table_before().is_some_and(|before| Arc::ptr_eq(before, table))
    }

    /// The direct flows, which go past a VIP.
    #[inline]
    #[must_use]
    pub fn direct_flows(&self) -> u32 {
        let before = self.table_before().map_or(0, |before| before.live_flows().direct());
        self.table().live_flows().direct() + before
    }

    /// The place of what is wanted in the table before.
    #[cold]
    pub(crate) fn find_before<W: Wanted>(&self, wanted: &W) -> Option<(Slot, W::Found)> {
        let old = self.old.as_deref()?;
        let (slot, found) = old.find_in(old.table().buckets_of(wanted.word()), wanted)?;
        Some((slot.of_old(true), found))
    }

    /// The owner of the table before and the place in it, if a place is there.
    #[inline]
    pub(crate) fn before(&mut self, slot: Slot) -> Option<(&mut StickyOwner, Slot)> {
        if slot.is_in_old() { self.in_before(slot) } else { None }
    }

    #[cold]
    fn in_before(&mut self, slot: Slot) -> Option<(&mut StickyOwner, Slot)> {
        Some((self.old.as_deref_mut()?, slot.of_old(false)))
    }
}
