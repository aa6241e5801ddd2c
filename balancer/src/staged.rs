//! What most packets need, in stages: the flows of a burst are located first, so that the lines of
//! the sticky table are on their way for all of them, and looked up then.
//!
//! The stages together do what [`Balancer::select`](crate::Balancer::select) and
//! [`Balancer::attribute_reply`](crate::Balancer::attribute_reply) do for a flow that has a live entry
//! of this worker; whatever they do not find goes there.

use std::net::IpAddr;

use crate::address::Address;
use crate::bucket::{Bucket, Entries, WAYS};
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::side_cells::Cell;
use crate::sticky_owner::{NewEntry, StickyOwner};
use crate::tcp_state::{Direction, FlowState, TcpFlags, Timeouts};
use crate::vip::{KeyKind, VipId};

/// Where the entry of a flow is, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Located {
    word: u64,
    hash: u64,
}

/// By kind of packet and state: the state that follows and when the flow expires then, as
/// [`FlowValue`] has them. A flow's entry is brought up to date by one look into it.
#[derive(Clone, Debug)]
pub struct Updates {
    of: (Timeouts, u32),
    values: [[FlowValue; STATES]; Passing::KINDS],
}

/// States fit into this many; those that are none are never asked for.
const STATES: usize = 8;

impl Updates {
    /// For packets of this second.
    #[must_use]
    pub fn new(timeouts: &Timeouts, now_s: u32) -> Self {
        let update = |passing: Passing, bits: u8| {
            let next = FlowState::from_bits(bits).next(passing.direction(), passing.flags());
            FlowValue::update(next, timeouts.expiry_tick(next, now_s))
        };
        let of_kind = |kind| std::array::from_fn(|bits| update(Passing(kind as u8), bits as u8));
        Self { of: (*timeouts, now_s), values: std::array::from_fn(of_kind) }
    }

    /// Makes these those of this second.
    #[inline]
    pub fn renew(&mut self, timeouts: &Timeouts, now_s: u32) {
        if self.of != (*timeouts, now_s) {
            *self = Self::new(timeouts, now_s);
        }
    }
}

/// What a packet does to the state of its flow, as far as the packet tells.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing(u8);

impl Passing {
    const OPENS: u8 = 1;
    const CLOSES: u8 = 2;
    const REPLY: u8 = 4;
    const KINDS: usize = 8;

    /// A packet that goes this way with these flags ([`TcpFlags::NONE`] for all but TCP).
    #[inline(always)]
    #[must_use]
    pub fn new(direction: Direction, flags: TcpFlags) -> Self {
        OF_FLAGS[usize::from(matches!(direction, Direction::ToClient))][usize::from(flags.octet())]
    }

    const fn compute(direction: Direction, flags: TcpFlags) -> Self {
        let reply = matches!(direction, Direction::ToClient) as u8 * Self::REPLY;
        let opens = flags.opens() as u8 * Self::OPENS;
        let closes = flags.closes() as u8 * Self::CLOSES;
        Self(opens | closes | reply)
    }

    /// Whether it goes to the client.
    #[inline]
    #[must_use]
    pub const fn is_reply(self) -> bool {
        self.0 & Self::REPLY != 0
    }

    /// Whether it opens a connection.
    #[inline]
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & Self::OPENS != 0
    }

    /// Flags that do the same.
    fn flags(self) -> TcpFlags {
        match self {
            Self(kind) if kind & Self::CLOSES != 0 => TcpFlags::RST,
            Self(kind) if kind & Self::OPENS != 0 => TcpFlags::SYN,
            _ => TcpFlags::ACK,
        }
    }

    fn direction(self) -> Direction {
        if self.0 & Self::REPLY == 0 { Direction::ToServer } else { Direction::ToClient }
    }
}

/// By direction and flags: what a packet does.
static OF_FLAGS: [[Passing; 256]; 2] = {
    let mut table = [[Passing(0); 256]; 2];
    let mut octet = 0;
    while octet < 256 {
        let flags = TcpFlags::from_octet(octet as u8);
        table[0][octet] = Passing::compute(Direction::ToServer, flags);
        table[1][octet] = Passing::compute(Direction::ToClient, flags);
        octet += 1;
    }
    table
};

/// A live entry, until the owner's next change.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    bucket: &'a Bucket,
    way: usize,
    /// What it says.
    pub value: FlowValue,
}

impl StickyOwner {
    /// Where the entry of a client's flow to a VIP with keys of this kind is. `tuple` is that of
    /// the client's packets.
    #[inline(always)]
    #[must_use]
    pub fn locate<A: Address>(&self, kind: KeyKind, vip: VipId, tuple: &FlowTuple<A>) -> Located {
        let instance = self.instance();
        let word = match (kind, tuple.src.into()) {
            (KeyKind::Exact, IpAddr::V4(client)) => {
                FlowKey::exact_word(client, tuple.src_port, vip)
            }
            (KeyKind::Full, _) => FlowKey::full_word(instance, tuple.src, tuple.src_port, vip),
            _ => FlowKey::tag_word(instance, tuple, vip),
        };
        Located { word, hash: instance.hash(word) }
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

    /// Makes the entry of a flow of which [`known`](Self::known) found nothing, in the simplest case:
    /// its keys are not [`KeyKind::Full`], nothing is left of it, and its first bucket has a free way.
    /// False, and nothing is changed, otherwise: [`insert`](Self::insert) looks closer.
    #[inline]
    #[must_use]
    pub fn admit(&mut self, located: &Located, entry: NewEntry) -> bool {
        let table = self.table();
        let first = table.first_entries(located.hash);
        let left = table.second_entries(located.hash).bucket.ways(located.word);
        let free = (0..WAYS).find(|&way| first.bucket.value(way).is_free());
        let Some(way) = free.filter(|_| left | first.bucket.ways(located.word) == 0) else {
            return false;
        };
        let NewEntry { as_id, epoch, state, expiry_tick } = entry;
        let sequence = first.bucket.value(way).sequence().wrapping_add(1);
        let value = FlowValue::new(as_id, epoch, state, expiry_tick, sequence);
        first.replace(way, &FlowKey::of_word(located.word), value);
        table.live_flows().enter(as_id, false);
        true
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
        let mut entries = self.table().first_entries(located.hash);
        let mut ways = entries.bucket.ways(located.word);
        if ways == 0 {
            entries = self.table().second_entries(located.hash);
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
}

/// Whether an entry with the right word is the flow's.
#[inline]
fn is_whole<A: Address>(
    entries: &Entries<'_>,
    way: usize,
    value: FlowValue,
    full: Option<&FlowTuple<A>>,
) -> bool {
    match full {
        None => !value.has_cell(),
        Some(tuple) => value.has_cell() && entries.cell(way) == Cell::of(tuple),
    }
}

impl Known<'_> {
    /// Keeps the entry up to date. Most packets of a second change nothing; the line then stays
    /// clean.
    #[inline(always)]
    pub fn keep(&self, passing: Passing, updates: &Updates) {
        let states = &updates.values[usize::from(passing.0) % Passing::KINDS];
        let new = self.value.updated(states[usize::from(self.value.state_bits()) % STATES]);
        if new != self.value {
            self.bucket.set_value(self.way, new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application_server::AsId;

    #[test]
    fn updates_are_those_of_the_states() {
        let (fin, syn, rst, ack) = (TcpFlags::FIN, TcpFlags::SYN, TcpFlags::RST, TcpFlags::ACK);
        let all = [fin, syn, rst, ack, syn.with(ack), fin.with(ack), syn.with(fin), TcpFlags::NONE];
        let timeouts = Timeouts::default();
        let updates = Updates::new(&timeouts, 70_000);
        for flags in all {
            for direction in [Direction::ToServer, Direction::ToClient] {
                let passing = Passing::new(direction, flags);
                assert_eq!(passing.opens(), flags.opens());
                for bits in 1..5 {
                    let state = FlowState::from_bits(bits);
                    let old = FlowValue::new(AsId::new(77).unwrap(), 9, state, 5, 6);
                    let next = state.next(direction, flags);
                    let expected = old.refreshed(next, timeouts.expiry_tick(next, 70_000));
                    let update = updates.values[usize::from(passing.0)][usize::from(bits)];
                    assert_eq!(old.updated(update), expected, "{state:?} {direction:?} {flags:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_admitted_is_known_and_what_is_known_is_not_admitted() {
        let instance = crate::InstanceKey::from_bytes([3; 32]);
        let mut owner = StickyOwner::new(2, instance, 16).unwrap();
        let vip = VipId::new(5).unwrap();
        let mut admitted = 0;
        for port in 0..100 {
            let tuple = FlowTuple {
                src: std::net::Ipv4Addr::new(10, 0, 0, 1),
                dst: std::net::Ipv4Addr::new(10, 0, 0, 2),
                src_port: port,
                dst_port: 80,
                protocol: 17,
            };
            let located = owner.locate(KeyKind::Exact, vip, &tuple);
            let state = FlowState::Udp;
            let as_id = AsId::new(u32::from(port) % 16).unwrap();
            let entry = NewEntry { as_id, epoch: 0, state, expiry_tick: 50 };
            if owner.admit(&located, entry) {
                admitted += 1;
                let known = owner.known(&located, None::<&FlowTuple<std::net::Ipv4Addr>>, 10);
                assert_eq!(known.unwrap().value.as_id(), as_id);
                assert!(!owner.admit(&located, entry));
                let key = FlowKey::exact(tuple.src, port, vip);
                assert_eq!(owner.lookup(&key, 10).unwrap().as_id(), as_id);
            }
            assert_eq!(owner.used(), admitted);
        }
        // Two buckets of four ways, each the first of some.
        assert_eq!(admitted, 8);
    }

    #[test]
    fn updates_follow_the_clock_and_the_configuration() {
        let mut timeouts = Timeouts::default();
        let mut updates = Updates::new(&timeouts, 1);
        let expiry = |updates: &Updates| updates.values[0][1].expiry_tick();
        assert_eq!(expiry(&updates), 41);
        updates.renew(&timeouts, 2);
        assert_eq!(expiry(&updates), 42);
        timeouts.udp_or_half_open_s = 7;
        updates.renew(&timeouts, 2);
        assert_eq!(expiry(&updates), 9);
    }
}
