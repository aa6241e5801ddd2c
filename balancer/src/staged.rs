//! What most packets need, in stages: the flows of a burst are located first, so that the lines of
//! the sticky table are on their way for all of them, and looked up then.
//!
//! The stages together do what [`Balancer::select`](crate::Balancer::select) and
//! [`Balancer::attribute_reply`](crate::Balancer::attribute_reply) do for a flow that has a live entry
//! of this worker; whatever they do not find goes there.

use crate::address::Address;
use crate::bucket::{Bucket, Entries, WAYS};
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::instance_key::InstanceKey;
use crate::protocol::Protocol;
use crate::side_cells::Cell;
use crate::sticky::StickyTable;
use crate::sticky_owner::StickyOwner;
use crate::tcp_flags::{Segment, TcpFlags};
use crate::tcp_state::{Direction, FlowState};
use crate::timeouts::{ProfileId, TimeoutProfiles};
use crate::vip::{KeyKind, VipId};

/// Where the entry of a flow is, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Located {
    pub(crate) word: u64,
    pub(crate) hash: u64,
}

/// By what passes and state: the state that follows and when the flow expires then, as [`FlowValue`]
/// has them. A flow's entry is brought up to date by one look into it.
#[derive(Clone, Debug)]
pub struct Updates {
    /// The snapshot and second that they are of.
    of: Option<(u64, u32)>,
    values: [[FlowValue; STATES]; Passing::KINDS * Course::PROFILES],
    /// The same for flows that live on; [`FlowValue::no_update`] for those that end at once (timeouts
    /// of 0).
    lasting: [[FlowValue; STATES]; Passing::KINDS * Course::PROFILES],
}

/// States fit into this many; those that are none are never asked for.
const STATES: usize = 16;

/// A number that is no state's: where the first state of other flows than TCP's is.
const NOT_TCP: usize = 15;

/// The same of TCP, which is of no use for entries either.
const NO_STATE: usize = 0;

impl Default for Updates {
    fn default() -> Self {
        Self::new()
    }
}

impl Updates {
    /// None yet: they have to be [renewed](Self::renew) first.
    #[must_use]
    pub const fn new() -> Self {
        let none = [[FlowValue::free(0); STATES]; Passing::KINDS * Course::PROFILES];
        Self { of: None, values: none, lasting: none }
    }

    /// Makes these those of this second. `generation` tells snapshots apart, of which each has its
    /// own timeouts.
    #[inline]
    pub fn renew(&mut self, timeouts: &TimeoutProfiles, generation: u64, now_s: u32) {
        if self.of != Some((generation, now_s)) {
            self.of = Some((generation, now_s));
            self.compute(timeouts, now_s);
        }
    }

    /// With what a flow of TCP or UDP begins whose first packet is this: its state, and when it expires then.
    /// `owner` are its AS and epoch ([`FlowValue::owner_of`]); `protocol` is the IP protocol number.
    #[inline(always)]
    #[must_use]
    pub fn beginning(&self, passing: Passing, protocol: u8, owner: u32) -> FlowValue {
        const TCP: u8 = Protocol::Tcp.number();
        let column = if protocol == TCP { NO_STATE } else { NOT_TCP };
        self.values[passing.index()][column].owned_by(owner)
    }

    /// What a packet makes of a flow's entry.
    #[inline(always)]
    pub(crate) fn after(&self, value: FlowValue, passing: Passing) -> FlowValue {
        let states = &self.values[passing.index()];
        value.updated(states[usize::from(value.state_bits()) % STATES])
    }

    /// Whether an entry is as a packet of this second leaves it, and alive.
    #[inline(always)]
    pub(crate) fn has_seen(&self, value: FlowValue, passing: Passing) -> bool {
        let states = &self.lasting[passing.index()];
        value.updated(states[usize::from(value.state_bits()) % STATES]) == value
    }

    #[cold]
    fn compute(&mut self, timeouts: &TimeoutProfiles, now_s: u32) {
        for (of_profile, timeouts) in self.values.chunks_mut(Passing::KINDS).zip(timeouts.iter()) {
            for direction in [Direction::ToServer, Direction::OneWay, Direction::ToClient] {
                for segment in Segment::ALL {
                    let kind = Passing::kind(direction, segment);
                    for (column, protocol) in [(NO_STATE, Protocol::Tcp), (NOT_TCP, Protocol::Udp)]
                    {
                        let first = FlowState::first_by(protocol.number(), segment);
                        let expiry = timeouts.expiry_tick(first, now_s);
                        of_profile[kind][column] = FlowValue::update(first, expiry);
                    }
                    for state in FlowState::ALL {
                        let next = state.after(direction, segment);
                        let expiry = timeouts.expiry_tick(next, now_s);
                        of_profile[kind][state as usize] = FlowValue::update(next, expiry);
                    }
                }
            }
        }
        let all = self.values.iter().flatten().zip(self.lasting.iter_mut().flatten());
        for (value, lasting) in all {
            *lasting = if value.is_live(now_s) { *value } else { FlowValue::no_update() };
        }
    }
}

/// What a packet does to the state of its flow: from the low end on, its [`Segment`] 3 bits, its
/// [`Direction`] 2, the profile of its VIP 3, and whether it opens a connection.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passing(u16);

impl Passing {
    const DIRECTION_SHIFT: u32 = 3;
    const PROFILE_SHIFT: u32 = 5;
    /// Directions and segments.
    const KINDS: usize = 1 << Self::PROFILE_SHIFT;
    const OPENS: u16 = 1 << (Self::PROFILE_SHIFT + 3);
    /// What no packet does.
    pub(crate) const NOTHING: Self = Self(u16::MAX >> 1);

    const fn kind(direction: Direction, segment: Segment) -> usize {
        (direction as usize) << Self::DIRECTION_SHIFT | segment as usize
    }

    /// Whether it goes to the client.
    #[inline]
    #[must_use]
    pub const fn is_reply(self) -> bool {
        const REPLY: u16 = (Direction::ToClient as u16) << Passing::DIRECTION_SHIFT;
        self.0 & REPLY != 0
    }

    /// Whether it opens a connection.
    #[inline]
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & Self::OPENS != 0
    }

    /// What a packet with these flags does, but for its course.
    #[inline(always)]
    pub(crate) fn of_flags(flags: TcpFlags) -> Self {
        OF_FLAGS[usize::from(flags.octet())]
    }

    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Where its [`Updates`] are.
    #[inline(always)]
    const fn index(self) -> usize {
        self.0 as usize % (Self::KINDS * Course::PROFILES)
    }
}

/// What all packets have in common that go one way between clients and ASs of one VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course(Passing);

impl Course {
    /// So many profiles have [`Updates`].
    pub const PROFILES: usize = 8;

    /// The packets of a VIP's flows in this direction; `None` where its profile is one too many.
    #[must_use]
    pub const fn new(direction: Direction, profile: ProfileId) -> Option<Self> {
        if profile.index() >= Self::PROFILES {
            return None;
        }
        let profile = (profile.index() as u16) << Passing::PROFILE_SHIFT;
        Some(Self(Passing(profile | (direction as u16) << Passing::DIRECTION_SHIFT)))
    }

    /// A packet with these flags ([`TcpFlags::NONE`] for all but TCP).
    #[inline(always)]
    #[must_use]
    pub fn passing(self, flags: TcpFlags) -> Passing {
        Passing(self.0.0 | Passing::of_flags(flags).0)
    }

    /// What its packets do whatever their flags are.
    pub(crate) const fn bits(self) -> u16 {
        self.0.0
    }
}

/// By flags: what a packet does, but for its course.
static OF_FLAGS: [Passing; 256] = {
    let mut table = [Passing(0); 256];
    let mut octet = 0;
    while octet < 256 {
        let flags = TcpFlags::from_octet(octet as u8);
        let opens = if flags.opens() { Passing::OPENS } else { 0 };
        table[octet] = Passing(opens | flags.segment() as u16);
        octet += 1;
    }
    table
};

/// What a loop over a burst needs to find the [`Place`](crate::Place)s of flows, close at hand.
#[derive(Clone, Copy, Debug)]
pub struct Finder<'a> {
    pub(crate) table: &'a StickyTable,
    pub(crate) instance: InstanceKey,
}

/// A live entry, until the owner's next change.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) way: usize,
    /// What it says.
    pub value: FlowValue,
}

impl StickyOwner {
    /// Where the entry of a client's flow to a VIP with keys of this kind is. `tuple` is that of
    /// the client's packets.
    #[inline(always)]
    #[must_use]
    pub fn locate<A: Address>(&self, kind: KeyKind, vip: VipId, tuple: &FlowTuple<A>) -> Located {
        locate(self.instance(), kind, vip, tuple)
    }

    /// What a loop over a burst needs to locate flows.
    #[inline(always)]
    #[must_use]
    pub fn finder(&self) -> Finder<'_> {
        Finder { table: self.table(), instance: *self.instance() }
    }

    /// Fetches the flow's second bucket, where its first is here by now and does not have it: for
    /// tables that are larger than the caches ([`is_large`](Self::is_large)).
    #[inline(always)]
    pub fn prefetch_second(&self, located: &Located) {
        let table = self.table();
        if table.first_entries(located.hash).bucket.ways(located.word) == 0 {
            table.prefetch_second(located.hash);
        }
    }

    /// Whether a bucket is likely to come from memory that is far away.
    #[inline]
    #[must_use]
    pub fn is_large(&self) -> bool {
        /// 512 KiB: half of a core's second-level cache or less.
        const SMALL: usize = 1 << 13;
        self.table().buckets() > SMALL
    }

    /// Fetches what [`known`](Self::known) looks at first, the cells of [`KeyKind::Full`] included.
    #[inline(always)]
    pub fn prefetch(&self, located: &Located, kind: KeyKind) {
        self.table().prefetch(located.hash, kind == KeyKind::Full);
    }

    /// The flow's entry, if it did not expire. `full` is the tuple of the client's packets where the
    /// VIP's keys are [`KeyKind::Full`]. The caller compares epochs.
    #[inline(always)]
    #[must_use]
    pub fn known<A: Address>(
        &self,
        located: &Located,
        full: Option<&FlowTuple<A>>,
        now_s: u32,
    ) -> Option<Known<'_>> {
        match known_in(self.table(), located, full, now_s) {
            None if self.old.is_some() => self.known_before(located, full, now_s),
            known => known,
        }
    }

    /// The same of a flow that has not followed yet from the table before.
    #[cold]
    fn known_before<A: Address>(
        &self,
        located: &Located,
        full: Option<&FlowTuple<A>>,
        now_s: u32,
    ) -> Option<Known<'_>> {
        known_in(self.table_before()?, located, full, now_s)
    }
}

#[inline(always)]
fn locate<A: Address>(
    instance: &InstanceKey,
    kind: KeyKind,
    vip: VipId,
    tuple: &FlowTuple<A>,
) -> Located {
    let word = FlowKey::word_to_vip(instance, kind, vip, tuple);
    Located { word, hash: instance.hash(word) }
}

/// The flow's entry in one table, if it did not expire.
#[inline(always)]
fn known_in<'a, A: Address>(
    table: &'a StickyTable,
    located: &Located,
    full: Option<&FlowTuple<A>>,
    now_s: u32,
) -> Option<Known<'a>> {
    let mut entries = table.first_entries(located.hash);
    let mut ways = entries.bucket.ways(located.word);
    if ways == 0 {
        entries = table.second_entries(located.hash);
        ways = entries.bucket.ways(located.word);
    }
    while ways != 0 {
        let way = ways.trailing_zeros() as usize % WAYS;
        ways &= ways - 1;
        let value = entries.bucket.value(way);
        if value.is_live(now_s) && is_whole(&entries, way, value, full) {
            return Some(Known { bucket: entries.bucket, way, value });
        }
    }
    None
}

/// Whether an entry with the right word is the flow's. All keys of a VIP are of one kind, so that
/// without a tuple the word tells.
#[inline]
fn is_whole<A: Address>(
    entries: &Entries<'_>,
    way: usize,
    value: FlowValue,
    full: Option<&FlowTuple<A>>,
) -> bool {
    match full {
        None => true,
        Some(tuple) => value.has_cell() && entries.cell(way) == Cell::of(tuple),
    }
}

impl Known<'_> {
    /// Keeps the entry up to date. Most packets of a second change nothing; the line then stays
    /// clean.
    #[inline(always)]
    pub fn keep(&self, passing: Passing, updates: &Updates) {
        let new = updates.after(self.value, passing);
        if new != self.value {
            self.bucket.set_value(self.way, new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application_server::AsId;
    use crate::timeouts::Timeouts;

    const DIRECTIONS: [Direction; 3] =
        [Direction::ToServer, Direction::OneWay, Direction::ToClient];

    /// So many profiles, of which each has timeouts of its own.
    fn profiles(count: u16) -> (TimeoutProfiles, Vec<ProfileId>) {
        let global = Timeouts::default();
        let own = (0..count).map(|n| Timeouts { udp_s: 1000 + n, syn_s: 10 + n, ..global });
        let mut ids = vec![ProfileId::GLOBAL; usize::from(count)];
        let profiles = TimeoutProfiles::collect(global, own.map(Some).zip(&mut ids));
        (profiles, [vec![ProfileId::GLOBAL], ids].concat())
    }

    fn updated(updates: &Updates, passing: Passing, state: FlowState) -> FlowValue {
        let old = FlowValue::new(AsId::new(77).unwrap(), 9, state, 5, 6);
        old.updated(updates.values[passing.index()][state as usize])
    }

    #[test]
    fn updates_are_those_of_the_states() {
        let (profiles, ids) = profiles(9);
        let mut updates = Updates::new();
        updates.renew(&profiles, 1, 70_000);
        let mut courses = 0;
        for direction in DIRECTIONS {
            for profile in &ids {
                let Some(course) = Course::new(direction, *profile) else { continue };
                courses += 1;
                for flags in (0..=u8::MAX).map(TcpFlags::from_octet) {
                    let passing = course.passing(flags);
                    assert_eq!(passing.opens(), flags.opens());
                    assert_eq!(passing.is_reply(), direction == Direction::ToClient);
                    for protocol in [Protocol::Tcp, Protocol::Udp].map(Protocol::number) {
                        let first = FlowState::first(protocol, flags);
                        let expiry = profiles.of(*profile).expiry_tick(first, 70_000);
                        let server = AsId::new(78).unwrap();
                        let expected = FlowValue::new(server, 10, first, expiry, 0);
                        let owner = FlowValue::owner_of(server, 10);
                        assert_eq!(updates.beginning(passing, protocol, owner), expected);
                    }
                    for state in FlowState::ALL {
                        let next = state.next(direction, flags);
                        let expiry = profiles.of(*profile).expiry_tick(next, 70_000);
                        let new = updated(&updates, passing, state);
                        assert_eq!((new.state(), new.expiry_tick()), (next, expiry));
                        assert_eq!((new.as_id().get(), new.epoch(), new.sequence()), (77, 9, 6));
                    }
                }
            }
        }
        assert_eq!(courses, 3 * Course::PROFILES, "the last two profiles are too many");
    }

    #[test]
    fn updates_follow_the_clock_and_the_configuration() {
        let mut timeouts = Timeouts::default();
        let mut updates = Updates::default();
        let udp = Course::new(Direction::OneWay, ProfileId::GLOBAL).unwrap();
        let mut expiry = |timeouts: Timeouts, generation, now_s| {
            updates.renew(&TimeoutProfiles::new(timeouts), generation, now_s);
            updated(&updates, udp.passing(TcpFlags::NONE), FlowState::Udp).expiry_tick()
        };
        assert_eq!(expiry(timeouts, 7, 1), 41);
        assert_eq!(expiry(timeouts, 7, 2), 42);
        timeouts.udp_s = 7;
        assert_eq!(expiry(timeouts, 8, 2), 9);
    }
}
