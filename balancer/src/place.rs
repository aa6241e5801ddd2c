//! [`Place`]: where a flow is looked for, in steps.

use std::net::Ipv4Addr;

use crate::address::Address;
use crate::bucket::{Bucket, WAYS};
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::prefetch::prefetch;
use crate::staged::{Finder, Known, Located, Passing, Updates};
use crate::sticky::View;
use crate::sticky_owner::StickyOwner;
use crate::vip::{KeyKind, VipId};
use crate::visit::Visit;

/// The first bucket where the entry of a flow may be, whose key is its word alone. Told in steps, so that
/// what one waits for can come meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    pub(crate) word: u64,
    pub(crate) bucket: u32,
}

/// The entry of a flow where it was seen; it may have expired.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) way: usize,
    /// What the entry says.
    pub value: FlowValue,
}

impl Finder<'_> {
    /// The place of a flow, of which [`aim`](Self::aim) has to tell the bucket. `tuple` is that of
    /// the client's packets.
    #[inline(always)]
    #[must_use]
    pub fn place<A: Address>(&self, kind: KeyKind, vip: VipId, tuple: &FlowTuple<A>) -> Place {
        let mut place = Place::default();
        self.point(&mut place, kind, vip, tuple);
        place
    }

    /// Makes this the [place](Self::place) of a flow. Where it is in the table, the steps that follow
    /// write.
    #[inline(always)]
    pub fn point<A: Address>(
        &self,
        place: &mut Place,
        kind: KeyKind,
        vip: VipId,
        tuple: &FlowTuple<A>,
    ) {
        place.word = FlowKey::word_to_vip(&self.instance, kind, vip, tuple);
    }

    /// The same as [`point`](Self::point) for [`KeyKind::Tag`], by the bytes that the client's IPv4 packet of
    /// this protocol has from the source address on: addresses, ports, and four more that do not count.
    #[inline(always)]
    pub fn point_by_ends(&self, place: &mut Place, vip: VipId, ends: &[u8; 16], protocol: u8) {
        place.word = FlowKey::tag_word_of_ends(&self.instance, (ends, protocol), vip);
    }

    /// Tells the first bucket of the flow of a place.
    #[inline(always)]
    pub fn aim(&self, place: &mut Place) {
        place.bucket = self.table.first_bucket(self.instance.hash(place.word));
    }

    /// The same as [`point`](Self::point) for one of which [`aim_at`](Self::aim_at) tells both buckets.
    #[inline(always)]
    pub fn name<A: Address>(
        &self,
        located: &mut Located,
        kind: KeyKind,
        vip: VipId,
        tuple: &FlowTuple<A>,
    ) {
        located.word = FlowKey::word_to_vip(&self.instance, kind, vip, tuple);
    }

    /// Tells the buckets of a flow that has its [name](Self::name).
    #[inline(always)]
    pub fn aim_at(&self, located: &mut Located) {
        located.hash = self.instance.hash(located.word);
    }
}

impl Place {
    /// The client's address and port (host byte order), where the VIP's keys are [`KeyKind::Exact`].
    #[inline(always)]
    #[must_use]
    pub const fn exact_client(&self) -> (Ipv4Addr, u16) {
        let turned = self.word.swap_bytes();
        (Ipv4Addr::from_bits(turned as u32), (turned >> 32) as u16)
    }
}

impl StickyOwner {
    /// Fetches the first bucket of the flow of a place.
    #[inline(always)]
    pub fn fetch_first(&self, place: &Place) {
        self.table().prefetch_bucket(place.bucket);
    }

    /// The flow's entry, if it is in its first bucket.
    #[inline(always)]
    #[must_use]
    pub fn look(&self, place: &Place) -> Option<Seen<'_>> {
        seen_in(self.table().entries(place.bucket).bucket, place.word)
    }

    /// What a loop needs to look into first buckets.
    #[inline(always)]
    #[must_use]
    pub fn first_buckets(&self) -> FirstBuckets<'_> {
        FirstBuckets(self.table().view())
    }

    /// Whether a flow that is not in its first bucket may be somewhere else.
    #[inline(always)]
    #[must_use]
    pub fn may_be_elsewhere(&self, located: &Located) -> bool {
        self.strays.may_be(self.table().first_bucket(located.hash)) || self.old.is_some()
    }

    /// Fetches the flow's second bucket.
    #[inline(always)]
    pub fn prefetch_other(&self, located: &Located) {
        self.table().prefetch_second(located.hash);
    }

    /// Fetches the second bucket of the flow of a place.
    #[inline]
    pub fn fetch_second(&self, place: &Place) {
        self.table().prefetch_second(self.instance().hash(place.word));
    }

    /// Where the flow of a place is looked for.
    #[inline]
    #[must_use]
    pub fn located(&self, place: &Place) -> Located {
        Located { word: place.word, hash: self.instance().hash(place.word) }
    }

    /// The flow's entry, wherever it is, if it did not expire.
    #[inline(never)]
    #[must_use]
    pub fn seen_anywhere(&self, place: &Place, now_s: u32) -> Option<Seen<'_>> {
        self.seen(&self.located(place), now_s)
    }

    /// The same for a flow whose buckets are known, and whose key is its word alone.
    #[inline(always)]
    #[must_use]
    pub fn seen(&self, located: &Located, now_s: u32) -> Option<Seen<'_>> {
        let Known { bucket, way, value } = self.known::<Ipv4Addr>(located, None, now_s)?;
        Some(Seen { bucket, way, value })
    }
}

/// The buckets where flows are looked for first, close at hand for a loop that calls something, too.
#[derive(Clone, Copy, Debug)]
pub struct FirstBuckets<'a>(View<'a>);

impl<'a> FirstBuckets<'a> {
    /// The entry of a flow, if it is there.
    #[inline(always)]
    #[must_use]
    pub fn look(&self, located: &Located) -> Option<Seen<'a>> {
        seen_in(self.0.first(located.hash), located.word)
    }

    /// Fetches the bucket of a flow.
    #[inline(always)]
    pub fn fetch(&self, located: &Located) {
        prefetch(self.0.first(located.hash));
    }
}

/// The entry of this word in a bucket, if there is one.
#[inline(always)]
fn seen_in(bucket: &Bucket, word: u64) -> Option<Seen<'_>> {
    let ways = bucket.ways(word);
    let way = ways.trailing_zeros() as usize % WAYS;
    (ways != 0).then(|| Seen { bucket, way, value: bucket.value(way) })
}

/// What the last packet found in its flow's entry, or left there, that another one has nothing to add to: most
/// packets of a burst find or leave the same. Of one second.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    passing: Passing,
    update: FlowValue,
    /// Seconds until an entry expires that is like this.
    remaining_s: u16,
    /// The packet left it.
    left: bool,
}

impl Usual {
    /// What no packet finds.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            passing: Passing::NOTHING,
            update: FlowValue::no_update(),
            remaining_s: 0,
            left: false,
        }
    }

    /// Whether the packet left it: the next ones may be the first of their flows in this second, too.
    #[inline]
    #[must_use]
    pub const fn is_left(&self) -> bool {
        self.left
    }

    /// Whether an entry that says this is alive, and a packet has nothing to add to it, as is usual.
    #[inline(always)]
    #[must_use]
    pub fn is(&self, value: FlowValue, passing: Passing) -> bool {
        passing == self.passing && value.updated(self.update) == value
    }

    /// Whether an entry that says this is alive, and is as is usual after a packet that does this, which comes as
    /// the first in a second.
    #[inline(always)]
    fn follows(&self, value: FlowValue, passing: Passing) -> bool {
        // It is alive if it gets fewer seconds more than are left then.
        passing == self.passing
            && value.state_bits() == self.update.state_bits()
            && self.update.expiry_tick().wrapping_sub(value.expiry_tick()) < self.remaining_s
    }

    /// The same, and whether the entry is of the packet's AS.
    #[inline(always)]
    #[must_use]
    pub fn is_of(&self, value: FlowValue, visit: Visit) -> bool {
        // If the packet does what is usual, that cancels out, and the owner and the usual update are left.
        let usual = self.update.word() | u64::from(self.passing.bits());
        value.owned_update() == visit.bits() ^ usual
    }
}

impl Seen<'_> {
    /// Like [`keep`](Self::keep). What it finds, or leaves for the next packet, is usual then.
    #[inline]
    #[must_use]
    pub fn keep_usual(
        &self,
        passing: Passing,
        updates: &Updates,
        now_s: u32,
        usual: &mut Usual,
    ) -> bool {
        let (mut value, mut left) = (self.value, false);
        // Most packets of a second change nothing; the line then stays clean.
        if !updates.has_seen(value, passing) {
            if !value.is_live(now_s) {
                return false;
            }
            value = updates.after(value, passing);
            self.bucket.set_value(self.way, value);
            left = true;
        }
        if updates.has_seen(value, passing) {
            let remaining_s = value.remaining_s(now_s) as u16;
            *usual = Usual { passing, update: value.only_update(), remaining_s, left };
        }
        true
    }

    /// Brings the entry up to date for the first packet of its flow in this second, where what that leaves is
    /// [usual](Usual). False if it is not, and nothing is done.
    #[inline(always)]
    #[must_use]
    pub fn keep_as_usual(&self, usual: &Usual, passing: Passing) -> bool {
        let follows = usual.follows(self.value, passing);
        if follows {
            self.bucket.set_value(self.way, self.value.updated(usual.update));
        }
        follows
    }

    /// The same, where the entry must be of the packet's AS.
    #[inline(always)]
    #[must_use]
    pub fn keep_as_usual_for(&self, usual: &Usual, visit: Visit) -> bool {
        visit.is_to(self.value) && self.keep_as_usual(usual, visit.passing())
    }

    /// Keeps the entry up to date, unless it is free or has expired: false then, and nothing is done.
    #[inline(always)]
    #[must_use]
    pub fn keep(&self, passing: Passing, updates: &Updates, now_s: u32) -> bool {
        self.keep_usual(passing, updates, now_s, &mut Usual::nothing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application_server::AsId;
    use crate::instance_key::InstanceKey;
    use crate::protocol::Protocol;
    use crate::sticky_owner::NewEntry;
    use crate::tcp_flags::TcpFlags;
    use crate::tcp_state::{Direction, FlowState};
    use crate::timeouts::{ProfileId, TimeoutProfiles, Timeouts};
    use crate::{Course, FlowKey};

    const NO_TUPLE: Option<&FlowTuple<Ipv4Addr>> = None;

    fn tuple(n: u32) -> FlowTuple<Ipv4Addr> {
        FlowTuple {
            src: Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b1)),
            dst: Ipv4Addr::new(10, 0, 0, 2),
            src_port: n as u16,
            dst_port: 80,
            protocol: Protocol::Tcp.number(),
        }
    }

    /// Entries of the same state that are brought up to date as the one before, by when they expire.
    #[test]
    fn only_what_lives_is_kept_as_usual() {
        let (vip, now_s) = (VipId::new(3).unwrap(), 0x1_0002);
        let timeouts = TimeoutProfiles::new(Timeouts { udp_s: 9, ..Timeouts::default() });
        let mut updates = Updates::new();
        updates.renew(&timeouts, 1, now_s);
        let course = Course::new(Direction::ToServer, ProfileId::GLOBAL).unwrap();
        let passing = course.passing(TcpFlags::NONE);
        let mut owner = StickyOwner::new(64, InstanceKey::from_bytes([5; 32]), 16).unwrap();
        let mut begin = |remaining_s: i32| {
            let (flow, as_id) = (tuple(remaining_s as u32), AsId::new(1).unwrap());
            let expiry_tick = now_s.wrapping_add_signed(remaining_s) as u16;
            let entry = NewEntry { as_id, epoch: 0, state: FlowState::Udp, expiry_tick };
            let key = FlowKey::exact(flow.src, flow.src_port, vip);
            owner.insert(&key, entry, now_s - 20, |_| Some(0)).unwrap();
            let mut place = owner.finder().place(KeyKind::Exact, vip, &flow);
            owner.finder().aim(&mut place);
            place
        };
        let first = begin(5);
        // Before the clock's low bits wrapped, after it, now, as it should be, and by a longer timeout.
        let others =
            [-20, -3, -1, 0, 1, 8, 9, 10, 300].map(|remaining_s| (begin(remaining_s), remaining_s));
        let mut usual = Usual::nothing();
        assert!(owner.look(&first).unwrap().keep_usual(passing, &updates, now_s, &mut usual));
        assert!(usual.is_left());
        for (place, remaining_s) in others {
            let seen = owner.look(&place).unwrap();
            let kept = seen.keep_as_usual(&usual, passing);
            assert_eq!(kept, (1..=9).contains(&remaining_s), "{remaining_s}");
            let after = owner.look(&place).unwrap().value.remaining_s(now_s);
            assert_eq!(i32::from(after), if kept { 9 } else { remaining_s });
            assert!(!seen.keep_as_usual(&Usual::nothing(), passing));
        }
        assert!(owner.look(&first).unwrap().keep_usual(passing, &updates, now_s, &mut usual));
        assert!(!usual.is_left());
    }

    /// What the steps find and keep is what a look-up finds and keeps; of timeouts, some are 0.
    #[test]
    fn what_is_seen_is_what_is_known() {
        let vip = VipId::new(3).unwrap();
        let (fin_wait_s, close_wait_s) = (0, 0);
        let global = Timeouts {
            syn_s: 1,
            established_s: 4,
            fin_wait_s,
            close_wait_s,
            ..Timeouts::default()
        };
        let (timeouts, mut updates) = (TimeoutProfiles::new(global), Updates::new());
        let course = Course::new(Direction::ToServer, ProfileId::GLOBAL).unwrap();
        let [mut owner, mut plain] =
            [(); 2].map(|()| StickyOwner::new(64, InstanceKey::from_bytes([5; 32]), 16).unwrap());
        let (mut seen_first, mut seen_later, mut expired, mut none) = (0, 0, 0, 0);
        let (mut as_usually, mut first_in_second, mut usual) = (0, 0, Usual::nothing());
        let keeps_as_usual = |seen: &Seen<'_>, usual: &Usual, flags: TcpFlags| {
            let visit = |owner| Visit::new(owner, course).with(flags);
            let of_another = visit(seen.value.owner() ^ 1);
            assert!(!seen.keep_as_usual_for(usual, of_another));
            usual.is_left() && seen.keep_as_usual_for(usual, visit(seen.value.owner()))
        };
        for step in 0..20_000u32 {
            let now_s = step / 100;
            updates.renew(&timeouts, 1, now_s);
            // Some come several times a second.
            let flow = tuple(step.wrapping_mul(7919) % 200 / (1 + step / 16 % 2 * 20));
            let flags = [TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN][step as usize % 3];
            let passing = course.passing(flags);
            let finder = owner.finder();
            let mut place = finder.place(KeyKind::Exact, vip, &flow);
            finder.aim(&mut place);
            owner.fetch_first(&place);
            let mut named = Located::default();
            finder.name(&mut named, KeyKind::Exact, vip, &flow);
            finder.aim_at(&mut named);
            owner.prefetch_other(&named);
            let located = plain.locate(KeyKind::Exact, vip, &flow);
            let expected = plain.known(&located, NO_TUPLE, now_s).map(|known| {
                known.keep(passing, &updates);
                known.value
            });
            // As usual, or not: both keep the same.
            if step % 50 == 0 {
                usual = Usual::nothing();
            }
            assert_eq!(place.exact_client(), (flow.src, flow.src_port));
            let in_place = owner.look(&place);
            let value = in_place.map(|seen| seen.value);
            let first = owner.first_buckets();
            first.fetch(&named);
            assert_eq!(first.look(&named).map(|seen| seen.value), value);
            let anywhere = owner.seen(&named, now_s).map(|seen| seen.value);
            assert_eq!(anywhere, owner.seen_anywhere(&place, now_s).map(|seen| seen.value));
            assert!(anywhere.is_none() || value.is_some() || owner.may_be_elsewhere(&named));
            let as_usual = value.is_some_and(|value| usual.is(value, passing));
            as_usually += u32::from(as_usual);
            for (of, epoch) in [(step % 16, 0), (0, 0), (step % 16, 1)] {
                let owner = FlowValue::owner_of(AsId::new(of).unwrap(), epoch);
                let visit = Visit::new(owner, course).with(flags);
                assert_eq!(visit.passing(), passing);
                let is_to = value.is_some_and(|value| visit.is_to(value));
                assert_eq!(is_to, value.is_some_and(|value| value.owner() == owner));
                let is_of = value.is_some_and(|value| usual.is_of(value, visit));
                assert_eq!(is_of, as_usual && is_to, "step {step}");
            }
            let kept = in_place.filter(|seen| match step % 3 {
                0 => seen.keep(passing, &updates, now_s),
                _ if as_usual => true,
                _ if keeps_as_usual(seen, &usual, flags) => {
                    first_in_second += 1;
                    true
                }
                _ => seen.keep_usual(passing, &updates, now_s, &mut usual),
            });
            expired += u32::from(in_place.is_some() && kept.is_none());
            let kept = kept.or_else(|| {
                let seen = owner.seen_anywhere(&place, now_s)?;
                assert!(seen.keep(passing, &updates, now_s));
                seen_later += 1;
                Some(seen)
            });
            seen_first += u32::from(in_place.is_some());
            assert_eq!(kept.map(|seen| seen.value), expected, "step {step}");
            if expected.is_none() {
                none += 1;
                let as_id = AsId::new(step % 16).unwrap();
                let first =
                    updates.beginning(passing, flow.protocol, FlowValue::owner_of(as_id, 0));
                let (state, expiry_tick) = (first.state(), first.expiry_tick());
                let entry = NewEntry { as_id, epoch: 0, state, expiry_tick };
                let key = FlowKey::exact(flow.src, flow.src_port, vip);
                let places = [&mut owner, &mut plain]
                    .map(|owner| owner.insert(&key, entry, now_s, |_| Some(0)).ok());
                assert_eq!(places[0], places[1]);
            }
        }
        for at in 0..plain.table().capacity() {
            assert_eq!(owner.table().entry(at), plain.table().entry(at));
        }
        let counts = [seen_first, seen_later, expired, none, as_usually, first_in_second];
        assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    }
}
