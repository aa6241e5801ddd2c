//! [`Rooms`]: entries for flows that begin, found and filled in loops over a burst.

use std::hint::select_unpredictable;

use crate::address::Address;
use crate::bucket::{Bucket, Entries, Room, WAYS};
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::live_flows::Tally;
use crate::place::Place;
use crate::sticky::StickyTable;
use crate::sticky_owner::StickyOwner;
use crate::strays::Strays;

/// What a loop over a burst needs to find and to fill rooms, close at hand: the first loop finds them, and
/// what only few flows need is on its way when the last one fills them.
///
/// A room that was found is good for the rest of the burst: no entry is moved meanwhile, and one that somebody
/// has got, be it another flow or this one, is not [filled](Self::fill) again.
#[derive(Debug)]
pub struct Rooms<'a> {
    table: &'a StickyTable,
    buckets: &'a [Bucket],
    strays: &'a Strays,
    tally: Tally<'a>,
    now_s: u32,
}

impl StickyOwner {
    /// Where flows that begin can have entries. `None` as long as flows follow from a table before this one,
    /// or go past VIPs: each takes a closer look then.
    #[inline]
    #[must_use]
    pub fn rooms(&self, now_s: u32) -> Option<Rooms<'_>> {
        if self.old.is_some() || self.direct_flows() > 0 {
            return None;
        }
        let table = &**self.table();
        let (buckets, tally) = (table.all_buckets(), table.live_flows().tally());
        Some(Rooms { table, buckets, strays: &self.strays, tally, now_s })
    }
}

impl Rooms<'_> {
    /// Room for the flow of a place in its first bucket, where that says all there is to know: the flow cannot
    /// be in its second one. `None` when it has an entry here, be it expired or not.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, place: &Place) -> Option<Room> {
        let Some(bucket) = self.buckets.get(place.bucket as usize) else { return Some(Room::NONE) };
        if bucket.ways(place.word) != 0 {
            return None;
        }
        let is_doubtful = self.strays.may_be(place.bucket);
        Some(select_unpredictable(is_doubtful, Room::NONE, bucket.room(self.now_s)))
    }

    /// The same for a flow that may be in its second bucket, which is looked at, too.
    #[inline(always)]
    #[must_use]
    pub fn find_beyond(&self, place: &Place) -> Room {
        let second = self.table.buckets_of(place.word).second;
        let [first, second] = [place.bucket, second].map(|at| self.table.entries(at).bucket);
        match first.ways(place.word) | second.ways(place.word) {
            0 => first.room(self.now_s),
            _ => Room::NONE,
        }
    }

    /// Makes the entry of the flow of a place in the room that was found for it. `value` is its
    /// [beginning](crate::Updates::beginning); `note` the tuple of the client's packets where the VIP's
    /// keys are [`KeyKind::End`](crate::KeyKind::End). False, and nothing is changed, if there was none
    /// or somebody has got it.
    #[inline(always)]
    #[must_use]
    pub fn fill<A: Address>(
        &mut self,
        (place, room): (&Place, Room),
        note: Option<&FlowTuple<A>>,
        value: FlowValue,
    ) -> bool {
        let index = place.bucket as usize;
        let Some(way) = room.way() else { return false };
        let Some(bucket) = self.buckets.get(index) else { return false };
        let old = bucket.value(way);
        // Not one by one, as most are free in one minute and expired in the next.
        if !old.is_free() & (old.remaining_s(self.now_s) > 0) {
            return false;
        }
        self.tally.replace((old.as_id(), !old.is_free()), value.as_id());
        let entries = Entries { bucket, cells: self.table.cells(), first_cell: index * WAYS };
        let value = value.with_sequence(old.sequence().wrapping_add(1));
        entries.replace(way, &FlowKey::of_word(place.word, note), value);
        true
    }

    /// Counts the entries that were made. Whoever fills rooms has to.
    #[inline(always)]
    pub fn count(self) {
        self.tally.end();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::application_server::AsId;
    use crate::instance_key::InstanceKey;
    use crate::sticky_owner::NewEntry;
    use crate::tcp_state::FlowState;
    use crate::vip::{KeyKind, VipId};

    const NO_NOTE: Option<&FlowTuple<Ipv4Addr>> = None;
    const SERVERS: u32 = 3;
    const LIFE_S: u32 = 10;

    fn key(port: u16) -> FlowKey {
        FlowKey::exact(Ipv4Addr::LOCALHOST, port, VipId::new(5).unwrap())
    }

    fn place(owner: &StickyOwner, port: u16) -> Place {
        let (src, dst) = (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        let tuple = FlowTuple { src, dst, src_port: port, dst_port: 80, protocol: 17 };
        let finder = owner.finder();
        let mut place = finder.place(KeyKind::Exact, VipId::new(5).unwrap(), &tuple);
        finder.aim(&mut place);
        place
    }

    fn entry(port: u16, now_s: u32) -> NewEntry {
        let as_id = AsId::new(u32::from(port) % SERVERS).unwrap();
        let expiry_tick = (now_s + LIFE_S) as u16;
        NewEntry { as_id, epoch: 0, state: FlowState::Udp, expiry_tick }
    }

    fn owner(buckets: u64) -> StickyOwner {
        StickyOwner::new(buckets, InstanceKey::from_bytes([4; 32]), SERVERS as usize).unwrap()
    }

    /// Bursts of flows, of which some are known, come several times, expire, or share buckets.
    #[test]
    fn flows_that_get_rooms_are_those_that_are_inserted() {
        let [mut plain, mut quick] = [owner(16), owner(16)];
        let (mut at_once, mut beyond, mut known, mut taken) = (0, 0, 0, 0);
        let mut random = 1u32;
        for burst in 0..2000u32 {
            let now_s = burst * 2;
            let ports: [u16; 8] = std::array::from_fn(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u16 % 80
            });
            let places = ports.map(|port| place(&quick, port));
            let rooms = quick.rooms(now_s).unwrap();
            let found = places.map(|place| rooms.find(&place));
            let again = |(place, room): (Place, Option<Room>)| match room {
                Some(Room::NONE) => Some(rooms.find_beyond(&place)),
                room => room,
            };
            let rooms: Vec<_> = places.into_iter().zip(found).map(again).collect();
            for ((port, place), (room, first)) in
                ports.into_iter().zip(places).zip(rooms.into_iter().zip(found))
            {
                let new = entry(port, now_s);
                let mut filling = quick.rooms(now_s).unwrap();
                let room = room.unwrap_or_default();
                let filled = filling.fill((&place, room), NO_NOTE, new.into());
                filling.count();
                assert!(!filled || plain.lookup(&key(port), now_s).is_none(), "{port} is known");
                if !filled {
                    taken += u32::from(room.is_any());
                    known += u32::from(quick.lookup(&key(port), now_s).is_some());
                    quick.insert(&key(port), new, now_s, |_| Some(0)).unwrap();
                } else if first == Some(room) {
                    at_once += 1;
                } else {
                    beyond += 1;
                }
                plain.insert(&key(port), new, now_s, |_| Some(0)).unwrap();
            }
            for port in 0..80 {
                let [one, other] = [&plain, &quick].map(|owner| owner.lookup(&key(port), now_s));
                let what = |value: FlowValue| (value.as_id(), value.expiry_tick());
                assert_eq!(one.map(what), other.map(what), "burst {burst}, port {port}");
            }
            assert!((0..16).all(|bucket| quick.is_sound_at(bucket)) && quick.counts_are_right());
            for owner in [&mut plain, &mut quick] {
                owner.sweep(2, now_s, |_| Some(0));
            }
        }
        let counts = [at_once, beyond, known, taken];
        assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    }

    #[test]
    fn two_flows_with_one_room_are_two() {
        let mut owner = owner(1);
        let places = [1, 2].map(|port| place(&owner, port));
        let mut rooms = owner.rooms(0).unwrap();
        let [one, other] = places.map(|place| rooms.find(&place).unwrap());
        assert!(one == other && one.is_any());
        assert!(rooms.fill((&places[0], one), NO_NOTE, entry(1, 0).into()));
        assert!(!rooms.fill((&places[1], other), NO_NOTE, entry(2, 0).into()));
        assert!(!rooms.fill((&places[1], Room::NONE), NO_NOTE, entry(2, 0).into()));
        rooms.count();
        assert_eq!((owner.used(), owner.lookup(&key(2), 0)), (1, None));
        owner.insert(&key(2), entry(2, 0), 0, |_| Some(0)).unwrap();
        assert_eq!(owner.used(), 2);
        assert!(owner.rooms(0).unwrap().find(&places[0]).is_none(), "it has an entry");
    }

    #[test]
    fn each_takes_a_closer_look_while_flows_follow_or_go_past_vips() {
        let mut owner = owner(16);
        owner.insert(&key(1), entry(1, 0), 0, |_| Some(0)).unwrap();
        assert!(owner.rooms(0).is_some());
        let new = StickyOwner::resized(owner.table(), 32).unwrap();
        owner.replace(Box::new(new));
        assert!(owner.rooms(0).is_none());
        while owner.table_before().is_some() {
            owner.follow(8, 0, |_| Some(0));
        }
        assert!(owner.rooms(0).is_some());
        let (src, dst) = (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        let tuple = FlowTuple { src, dst, src_port: 9, dst_port: 80, protocol: 17 };
        let direct = FlowKey::direct(owner.instance(), &tuple);
        owner.insert(&direct, entry(0, 0), 0, |_| Some(0)).unwrap();
        assert!(owner.rooms(0).is_none());
    }
}
