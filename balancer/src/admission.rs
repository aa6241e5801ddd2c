//! New flows in the simple case, which is nearly every one: there is a free place in one of the flow's
//! buckets, and no other flow has to be looked at.
//!
//! What [`StickyOwner::insert`] does for all, for flows whose buckets were looked up already.

use std::sync::Arc;

use crate::address::Address;
use crate::bucket::WAYS;
use crate::flow_key::{FlowKey, WordKey};
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::place::{Place, Seen};
use crate::staged::Located;
use crate::sticky::StickyTable;
use crate::sticky_owner::StickyOwner;

/// Where a flow that has no entry can have one: free or expired, until the owner's next change.
#[derive(Clone, Copy, Debug)]
pub struct Vacancy {
    bucket: u32,
    way: u8,
}

/// What a flow meets whose key is its word alone.
#[derive(Clone, Copy, Debug)]
pub enum Reception<'a> {
    /// It has an entry, which did not expire. The caller compares epochs.
    Known(Seen<'a>),
    /// Nothing is left of it, and it may have the entry that [`insert`](StickyOwner::insert) would take.
    New(Vacancy),
    /// `insert` has to look closer.
    Doubtful,
}

impl StickyOwner {
    /// What the flow of a place meets, of which nothing need have been looked up before.
    #[must_use]
    pub fn receive(&self, place: &Place, now_s: u32) -> Reception<'_> {
        if let Some(seen) = self.seen_anywhere(place, now_s) {
            return Reception::Known(seen);
        }
        let pair = self.table().buckets_of(place.word);
        let buckets = [pair.first, pair.second];
        let bucket = |index| self.table().entries(index).bucket;
        // The flow may be in the table before, or take the entry that it had.
        if self.old.is_some() || buckets.into_iter().any(|at| bucket(at).ways(place.word) != 0) {
            return Reception::Doubtful;
        }
        let mut vacancies = buckets.into_iter().filter_map(|at| {
            let way = bucket(at).room(now_s).way()?;
            Some(Vacancy { bucket: at, way: way as u8 })
        });
        vacancies.next().map_or(Reception::Doubtful, Reception::New)
    }

    /// Makes the entry of the flow of a place, which has [met](Self::receive) a vacancy. `value` is its
    /// [beginning](crate::Updates::beginning); `note` the tuple of the client's packets where the VIP's
    /// keys are [`KeyKind::End`](crate::KeyKind::End).
    pub fn begin<A: Address>(
        &mut self,
        place: &Place,
        vacancy: Vacancy,
        note: Option<&FlowTuple<A>>,
        value: FlowValue,
    ) {
        self.note_stray(place.word, vacancy.bucket);
        let entries = self.table().entries(vacancy.bucket);
        let way = usize::from(vacancy.way) % WAYS;
        let old = entries.bucket.value(way);
        self.uncount(entries.bucket.word(way), old);
        self.table().live_flows().enter(value.as_id(), false);
        let value = value.with_sequence(old.sequence().wrapping_add(1));
        entries.replace(way, &FlowKey::of_word(place.word, note), value);
    }

    /// Undoes that: the flow has no entry any more.
    #[cold]
    pub fn withdraw(&mut self, place: &Place) {
        if let Some((slot, _)) = self.find_wanted(&WordKey(place.word)) {
            self.remove(slot);
        }
    }

    /// [Receives](Self::receive) a flow of which [`known`](Self::known) found nothing, and lets it
    /// [begin](Self::begin). False, and nothing is changed, if it meets no vacancy.
    #[inline(always)]
    #[must_use]
    pub fn admit<A: Address>(
        &mut self,
        located: &Located,
        note: Option<&FlowTuple<A>>,
        value: FlowValue,
        now_s: u32,
    ) -> bool {
        let bucket = self.table().first_bucket(located.hash);
        let place = Place { word: located.word, bucket };
        if let Some(mut rooms) = self.rooms(now_s) {
            let room = rooms.find(&place).unwrap_or_default();
            if rooms.fill((&place, room), note, value) {
                rooms.count();
                return true;
            }
        }
        let Reception::New(vacancy) = self.receive(&place, now_s) else { return false };
        self.begin(&place, vacancy, note, value);
        true
    }

    /// Whether a flow, whose key is its word alone, has an entry in one of several tables, this owner's own
    /// aside, that did not expire. One of another epoch counts as well.
    #[inline]
    #[must_use]
    pub fn is_known_elsewhere(
        &self,
        tables: &[Arc<StickyTable>],
        located: &Located,
        now_s: u32,
    ) -> bool {
        let others = tables.iter().filter(|table| !self.is_own(table));
        let mut entries = others.filter_map(|table| table.read(&WordKey(located.word)));
        entries.any(|value| value.is_live(now_s))
    }

    /// Fetches what [`is_known_elsewhere`](Self::is_known_elsewhere) looks at of a flow that is not known.
    #[inline]
    pub fn fetch_elsewhere(&self, tables: &[Arc<StickyTable>], place: &Place) {
        for table in tables.iter().filter(|table| !self.is_own(table)) {
            let hash = table.instance().hash(place.word);
            table.prefetch(hash, false);
            table.prefetch_second(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::application_server::AsId;
    use crate::sticky_owner::NewEntry;
    use crate::tcp_state::FlowState;
    use crate::vip::{KeyKind, VipId};

    const NO_NOTE: Option<&FlowTuple<Ipv4Addr>> = None;

    #[test]
    fn what_is_admitted_is_known_and_what_is_known_is_not_admitted() {
        let instance = crate::InstanceKey::from_bytes([3; 32]);
        let mut owner = StickyOwner::new(2, instance, 16).unwrap();
        let vip = VipId::new(5).unwrap();
        let mut admitted = 0;
        for port in 0..100 {
            let tuple = FlowTuple {
                src: Ipv4Addr::new(10, 0, 0, 1),
                dst: Ipv4Addr::new(10, 0, 0, 2),
                src_port: port,
                dst_port: 80,
                protocol: 17,
            };
            let located = owner.locate(KeyKind::Exact, vip, &tuple);
            let as_id = AsId::new(u32::from(port) % 16).unwrap();
            let entry = FlowValue::new(as_id, 0, FlowState::Udp, 50, 0);
            if owner.admit(&located, NO_NOTE, entry, 10) {
                admitted += 1;
                let known = owner.known(&located, NO_NOTE, 10);
                assert_eq!(known.unwrap().value.as_id(), as_id);
                assert!(!owner.admit(&located, NO_NOTE, entry, 10));
                let key = FlowKey::exact(tuple.src, port, vip);
                assert_eq!(owner.lookup(&key, 10).unwrap().as_id(), as_id);
            }
            assert_eq!(owner.used(), admitted);
        }
        // Two buckets of four ways, each the first of some.
        assert_eq!(admitted, 8);
    }

    /// Whoever has no place in his first bucket is found in his second, and when he leaves there is one.
    #[test]
    fn who_withdraws_was_never_there() {
        let mut owner = StickyOwner::new(8, crate::InstanceKey::from_bytes([8; 32]), 1).unwrap();
        let (vip, now_s) = (VipId::new(5).unwrap(), 10);
        let entry = FlowValue::new(AsId::new(0).unwrap(), 0, FlowState::Udp, 50, 0);
        let (mut places, mut strays) = (Vec::new(), 0);
        for port in 0..60 {
            let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
            let tuple = FlowTuple { src, dst, src_port: port, dst_port: 80, protocol: 17 };
            let finder = owner.finder();
            let mut place = finder.place(KeyKind::Exact, vip, &tuple);
            finder.aim(&mut place);
            let Reception::New(vacancy) = owner.receive(&place, now_s) else { continue };
            strays += usize::from(vacancy.bucket != place.bucket);
            owner.begin(&place, vacancy, NO_NOTE, entry);
            assert!(matches!(owner.receive(&place, now_s), Reception::Known(_)));
            assert!((0..8).all(|bucket| owner.is_sound_at(bucket)));
            places.push(place);
        }
        assert!(strays > 0 && owner.used() as usize == places.len());
        for place in places {
            // Strays as well, though there is room in their first bucket by now.
            assert!(matches!(owner.receive(&place, now_s), Reception::Known(_)));
            owner.withdraw(&place);
            assert!(!matches!(owner.receive(&place, now_s), Reception::Known(_)));
        }
        assert_eq!((owner.used(), owner.table().live_flows().of(AsId::new(0).unwrap())), (0, 0));
    }

    /// Two tables get the same flows, which expire by and by, one by `insert` alone.
    #[test]
    fn who_is_admitted_gets_the_place_of_who_is_inserted() {
        let instance = crate::InstanceKey::from_bytes([9; 32]);
        let [mut plain, mut quick] = [(); 2].map(|()| StickyOwner::new(16, instance, 4).unwrap());
        let vip = VipId::new(5).unwrap();
        let (mut admitted, mut in_second, mut refused) = (0, 0, 0);
        for n in 0..4000u32 {
            // More at once than fit, now and then.
            let (now_s, life_s) = (n / 3, if n % 1000 < 300 { 40 } else { 12 });
            let tuple = FlowTuple {
                src: Ipv4Addr::from(n.wrapping_mul(0x9e37_79b1)),
                dst: Ipv4Addr::new(10, 0, 0, 2),
                src_port: 7,
                dst_port: 80,
                protocol: 17,
            };
            // By turns with a note and without.
            let (kind, key, note) = match n % 2 {
                0 => (KeyKind::Exact, FlowKey::exact(tuple.src, tuple.src_port, vip), None),
                _ => (KeyKind::End, FlowKey::end(&instance, &tuple, vip), Some(&tuple)),
            };
            let entry = NewEntry {
                as_id: AsId::new(n % 4).unwrap(),
                epoch: 0,
                state: FlowState::Udp,
                expiry_tick: (now_s + life_s) as u16,
            };
            let place = plain.insert(&key, entry, now_s, |_| Some(0)).ok();
            let located = quick.locate(kind, vip, &tuple);
            if quick.admit(&located, note, entry.into(), now_s) {
                admitted += 1;
                let slot = place.expect("a place for who is admitted");
                in_second += u32::from(slot.bucket() == quick.table().bucket_of(&key).second);
            } else {
                refused += 1;
                assert_eq!(quick.insert(&key, entry, now_s, |_| Some(0)).ok(), place);
            }
            assert_eq!(quick.find(&key), plain.find(&key));
            assert_eq!(quick.find(&key).map(|(slot, _)| slot), place);
        }
        for at in 0..plain.table().capacity() {
            assert_eq!(quick.table().entry(at), plain.table().entry(at));
        }
        assert_eq!(quick.used(), plain.used());
        for server in (0..4).map(|n| AsId::new(n).unwrap()) {
            let flows = [&quick, &plain].map(|owner| owner.table().live_flows().of(server));
            assert_eq!(flows[0], flows[1]);
        }
        assert!(
            admitted > 2000 && in_second > 200 && refused > 200,
            "{admitted} {in_second} {refused}"
        );
    }
}
