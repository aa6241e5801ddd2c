//! [`Place`]: where a flow is looked for, in steps.

use std::net::Ipv4Addr;

use crate::address::Address;
use crate::bucket::{Bucket, WAYS};
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::staged::{Finder, Known, Located, Passing, Updates};
use crate::sticky_owner::StickyOwner;
use crate::vip::{KeyKind, VipId};

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

    /// Tells the first bucket of the flow of a place.
    #[inline(always)]
    pub fn aim(&self, place: &mut Place) {
        place.bucket = self.table.first_bucket(self.instance.hash(place.word));
    }

    /// What the flow's entry in its first bucket says, which is here by now; that of a free one if it is
    /// not there. Then, if the table is `large` ([`StickyOwner::is_large`]), fetches the second bucket.
    #[inline(always)]
    #[must_use]
    pub fn glance(&self, place: &Place, large: bool) -> FlowValue {
        let bucket = self.table.entries(place.bucket).bucket;
        let ways = bucket.ways(place.word);
        if ways == 0 {
            if large {
                self.table.prefetch_second(self.instance.hash(place.word));
            }
            return FlowValue::default();
        }
        bucket.value(ways.trailing_zeros() as usize % WAYS)
    }
}

impl StickyOwner {
    /// Tells the first bucket of the flow of a place, and fetches it.
    #[inline(always)]
    pub fn fetch(&self, place: &mut Place) {
        let hash = self.instance().hash(place.word);
        self.table().prefetch(hash, false);
        place.bucket = self.table().first_bucket(hash);
    }

    /// Fetches the first bucket of the flow of a place.
    #[inline(always)]
    pub fn fetch_first(&self, place: &Place) {
        self.table().prefetch_bucket(place.bucket);
    }

    /// The flow's entry, if it is in its first bucket.
    #[inline(always)]
    #[must_use]
    pub fn look(&self, place: &Place) -> Option<Seen<'_>> {
        let bucket = self.table().entries(place.bucket).bucket;
        let ways = bucket.ways(place.word);
        let way = ways.trailing_zeros() as usize % WAYS;
        (ways != 0).then(|| Seen { bucket, way, value: bucket.value(way) })
    }

    /// Fetches the second bucket of the flow of a place, if the flow may be there.
    #[inline]
    pub fn fetch_second(&self, place: &Place) {
        if self.strays.may_be(place.bucket) {
            self.table().prefetch_second(self.instance().hash(place.word));
        }
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
        let located = self.located(place);
        let Known { bucket, way, value } = self.known::<Ipv4Addr>(&located, None, now_s)?;
        Some(Seen { bucket, way, value })
    }
}

/// What the last packet found in its flow's entry, and had nothing to add to: most packets of a burst find
/// the same. Of one second.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    passing: Passing,
    update: FlowValue,
    changed: bool,
}

impl Usual {
    /// What no packet finds.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { passing: Passing::NOTHING, update: FlowValue::no_update(), changed: false }
    }

    /// Whether an entry that says this is alive, and a packet has nothing to add to it, as is usual.
    #[inline(always)]
    #[must_use]
    pub fn is(&self, value: FlowValue, passing: Passing) -> bool {
        passing == self.passing && value.updated(self.update) == value
    }

    /// Whether some entry was changed, so that others may say something else than they did before.
    #[inline(always)]
    #[must_use]
    pub fn any_changed(&self) -> bool {
        self.changed
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
        let mut value = self.value;
        // Most packets of a second change nothing; the line then stays clean.
        if !updates.has_seen(value, passing) {
            if !value.is_live(now_s) {
                return false;
            }
            value = updates.after(value, passing);
            self.bucket.set_value(self.way, value);
            usual.changed = true;
        }
        if updates.has_seen(value, passing) {
            (usual.passing, usual.update) = (passing, value.only_update());
        }
        true
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
    use crate::tcp_state::Direction;
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
        let (mut as_usually, mut usual) = (0, Usual::nothing());
        for step in 0..20_000u32 {
            let now_s = step / 100;
            updates.renew(&timeouts, 1, now_s);
            // Some come several times a second.
            let flow = tuple(step.wrapping_mul(7919) % 200 / (1 + step / 16 % 2 * 20));
            let flags = [TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN][step as usize % 3];
            let passing = course.passing(flags);
            let finder = owner.finder();
            let mut place = finder.place(KeyKind::Exact, vip, &flow);
            if step % 4 < 2 {
                owner.fetch(&mut place);
            } else {
                finder.aim(&mut place);
                owner.fetch_first(&place);
            }
            let located = plain.locate(KeyKind::Exact, vip, &flow);
            let expected = plain.known(&located, NO_TUPLE, now_s).map(|known| {
                known.keep(passing, &updates);
                known.value
            });
            // As usual, or not: both keep the same.
            if step % 50 == 0 {
                usual = Usual::nothing();
            }
            let in_place = owner.look(&place);
            let value = in_place.map(|seen| seen.value);
            assert_eq!(finder.glance(&place, step % 2 == 0), value.unwrap_or_default());
            let as_usual = value.is_some_and(|value| usual.is(value, passing));
            as_usually += u32::from(as_usual);
            let kept = in_place.filter(|seen| match step % 3 {
                0 => seen.keep(passing, &updates, now_s),
                _ => as_usual || seen.keep_usual(passing, &updates, now_s, &mut usual),
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
                let first = updates.beginning(passing, flow.protocol, (as_id, 0));
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
        let counts = [seen_first, seen_later, expired, none, as_usually];
        assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    }
}
