//! Where the entry of a new flow goes, in a table that may be full.

use crate::application_server::AsId;
use crate::bucket::{Entries, WAYS};
use crate::flow_key::FlowKey;
use crate::instance_key::BucketPair;
use crate::sticky_owner::{Slot, StickyOwner, is_alive};
use crate::tcp_state::FlowState;

/// So many searches for a flow that could move may be in vain in a second. Each looks into eight
/// buckets, which are far away in a large table: where all are full, as in a flood, more would cost
/// others the worker's time.
const VAIN_SEARCHES: u32 = 1024;

/// Where the entry of a flow goes, until the owner's next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its own entry, a vacant one, or that of a flow which makes room.
    Take(Slot),
    /// That of a live flow, which moves to its other bucket.
    Vacate {
        /// The place.
        from: Slot,
        /// Where the live flow goes: a vacant entry.
        to: Slot,
    },
}

/// How many searches for flows that could move were in vain in a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InVain {
    second: u32,
    searches: u32,
}

impl StickyOwner {
    /// The place for a flow that has no entry and begins in this state.
    pub(crate) fn new_place(
        &mut self,
        key: &FlowKey,
        state: FlowState,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
    ) -> Option<Place> {
        let pair = self.table().bucket_of(key);
        let vacant = self.vacancy(pair.first, now_s).or_else(|| self.vacancy(pair.second, now_s));
        vacant.map(Place::Take).or_else(|| self.place_in_full(pair, state, now_s, &epoch_of))
    }

    /// A free entry of a bucket; else an expired one.
    #[inline]
    fn vacancy(&self, index: u32, now_s: u32) -> Option<Slot> {
        let way = self.table().entries(index).bucket.room(now_s).way()?;
        Some(Slot { bucket: index, way: way as u8, in_old: false })
    }

    /// An entry of a bucket that counts no more, be it that its AS has another epoch now.
    fn dead(&self, index: u32, now_s: u32, epoch_of: &impl Fn(AsId) -> Option<u8>) -> Option<Slot> {
        let bucket = self.table().entries(index).bucket;
        let is_alive = |way| is_alive(bucket.word(way), bucket.value(way), now_s, epoch_of);
        let way = (0..WAYS).find(|&way| !is_alive(way))?;
        Some(Slot { bucket: index, way: way as u8, in_old: false })
    }

    /// The place for a flow whose buckets are full of entries that did not expire. Who sent but a SYN
    /// has not proved that he exists, and may not cost another his entry who has.
    #[cold]
    fn place_in_full(
        &mut self,
        pair: BucketPair,
        state: FlowState,
        now_s: u32,
        epoch_of: &impl Fn(AsId) -> Option<u8>,
    ) -> Option<Place> {
        let buckets = [pair.first, pair.second];
        let dead = buckets.into_iter().find_map(|bucket| self.dead(bucket, now_s, epoch_of));
        if let Some(slot) = dead {
            return Some(Place::Take(slot));
        }
        if let Some(place) = self.place_by_moving(buckets, now_s, epoch_of) {
            return Some(place);
        }
        let lesser = self.slots_of(buckets).filter_map(|(slot, entries)| {
            let value = entries.bucket.value(usize::from(slot.way));
            state.may_displace(value.state()).then(|| (slot, value.remaining_s(now_s)))
        });
        lesser.min_by_key(|&(_, remaining_s)| remaining_s).map(|(slot, _)| Place::Take(slot))
    }

    /// The place of a flow that can move to its other bucket, if such a flow may be searched for.
    fn place_by_moving(
        &mut self,
        buckets: [u32; 2],
        now_s: u32,
        epoch_of: &impl Fn(AsId) -> Option<u8>,
    ) -> Option<Place> {
        if self.in_vain.second != now_s {
            self.in_vain = InVain { second: now_s, searches: 0 };
        }
        if self.in_vain.searches == VAIN_SEARCHES {
            return None;
        }
        let place = self.slots_of(buckets).find_map(|(from, entries)| {
            let choices = self.table().buckets_of(entries.bucket.word(usize::from(from.way)));
            let other = if choices.first == from.bucket { choices.second } else { choices.first };
            if buckets.contains(&other) {
                return None;
            }
            let vacant = self.vacancy(other, now_s);
            let to = vacant.or_else(|| self.dead(other, now_s, epoch_of))?;
            Some(Place::Vacate { from, to })
        });
        self.in_vain.searches += u32::from(place.is_none());
        place
    }

    /// The places of two buckets.
    fn slots_of(&self, buckets: [u32; 2]) -> impl Iterator<Item = (Slot, Entries<'_>)> {
        buckets.into_iter().flat_map(move |bucket| {
            (0..WAYS).map(move |way| {
                (Slot { bucket, way: way as u8, in_old: false }, self.table().entries(bucket))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::instance_key::InstanceKey;
    use crate::sticky_owner::NewEntry;
    use crate::vip::VipId;

    fn key(n: u32) -> FlowKey {
        FlowKey::exact(Ipv4Addr::from(n.wrapping_mul(0x9e37_79b1)), 7, VipId::new(3).unwrap())
    }

    /// Whether a flow got an entry.
    fn insert(owner: &mut StickyOwner, n: u32, now_s: u32) -> bool {
        let (as_id, state) = (AsId::new(0).unwrap(), FlowState::Udp);
        let entry = NewEntry { as_id, epoch: 0, state, expiry_tick: 100 };
        owner.insert(&key(n), entry, now_s, |_| Some(0)).is_ok()
    }

    #[test]
    fn a_flood_on_a_full_table_ends_searches_for_a_second() {
        let mut owner = StickyOwner::new(4, InstanceKey::from_bytes([8; 32]), 1).unwrap();
        // Enough for any right table, so that a wrong one fails here and does not hang.
        let mut all = 0..100_000;
        while owner.used() < 16 {
            insert(&mut owner, all.next().unwrap(), 1);
        }
        let mut refused = 0;
        while refused < VAIN_SEARCHES {
            refused += u32::from(!insert(&mut owner, all.next().unwrap(), 2));
        }
        // One place, in a bucket that is not one of the newcomer's.
        let (slot, _) = owner.find(&key(0)).expect("the first flow of all");
        owner.remove(slot);
        let newcomer = all.find(|n| {
            let pair = owner.table().bucket_of(&key(*n));
            ![pair.first, pair.second].contains(&slot.bucket())
        });
        let newcomer = newcomer.unwrap();
        assert!(!insert(&mut owner, newcomer, 2), "the search was given up");
        assert!(insert(&mut owner, newcomer, 3), "one moved");
        assert_eq!(owner.used(), 16);
    }
}
