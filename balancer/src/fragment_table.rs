//! Which way the fragments of a datagram go.
//!
//! Only the first fragment has ports. It is decided for as any packet; what comes of it is kept
//! here for the others, which have but the addresses, the protocol and the identification
//! (RFC 791 §3.2, RFC 8200 §4.5). One table for each worker and family; it never grows.

use crate::address::Address;
use crate::application_server::AsId;
use crate::flow_tuple::FlowTuple;
use crate::instance_key::InstanceKey;
use crate::lb_tables::LbTables;
use crate::vip::VipId;

/// How long after its first fragment the way of a datagram is known, seconds.
pub const FRAGMENT_LIFETIME_S: u32 = 5;

/// Datagrams among which the place for a new one is chosen.
const WAYS: usize = 4;

/// What the fragments of a datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// IP protocol number; in IPv6 that of the fragment header's next header.
    pub protocol: u8,
}

/// What becomes of the fragments of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentWay<A> {
    /// From a client to a VIP: they go to the AS.
    ToServer {
        /// The VIP.
        vip: VipId,
        /// The AS.
        as_id: AsId,
    },
    /// From an AS that answers for a VIP: the source becomes the address that the client uses.
    ToClient {
        /// The VIP.
        vip: VipId,
        /// The AS.
        as_id: AsId,
        /// The address.
        address: A,
    },
    /// From an AS that answers for itself: they pass untouched.
    Untouched,
}

impl<A> FragmentWay<A> {
    fn as_id(&self) -> Option<AsId> {
        match *self {
            Self::ToServer { as_id, .. } | Self::ToClient { as_id, .. } => Some(as_id),
            Self::Untouched => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry<A> {
    key: FragmentKey<A>,
    way: FragmentWay<A>,
    /// The AS's epoch; 0 without AS.
    epoch: u8,
    since_s: u32,
}

impl<A> Entry<A> {
    fn age_s(&self, now_s: u32) -> u32 {
        now_s.wrapping_sub(self.since_s)
    }
}

/// The datagrams of which a worker has seen the first fragment lately.
#[derive(Debug)]
pub struct FragmentTable<A> {
    sets: Box<[[Option<Entry<A>>; WAYS]]>,
    instance: InstanceKey,
}

impl<A: Address> FragmentTable<A> {
    /// A table for at least this many datagrams, and never more than twice as many. `instance` is
    /// the key of the worker's sticky table, so that strangers cannot aim at a datagram's place.
    #[must_use]
    pub fn new(datagrams: usize, instance: InstanceKey) -> Self {
        let sets = datagrams.div_ceil(WAYS).next_power_of_two();
        Self { sets: vec![[None; WAYS]; sets].into(), instance }
    }

    /// How many datagrams fit at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// Remembers the way of a datagram from now on. The oldest of four has to go where all are in
    /// use.
    pub fn insert(
        &mut self,
        key: FragmentKey<A>,
        way: FragmentWay<A>,
        tables: &LbTables,
        now_s: u32,
    ) {
        let epoch = way.as_id().and_then(|id| tables.epoch_of(id)).unwrap_or(0);
        let set = self.set_of(&key);
        let Some(set) = self.sets.get_mut(set) else { return };
        let own = set.iter().position(|entry| entry.is_some_and(|entry| entry.key == key));
        let oldest = (0..WAYS)
            .max_by_key(|&way| set[way].as_ref().map_or(u32::MAX, |entry| entry.age_s(now_s)));
        if let Some(place) = own.or(oldest) {
            set[place] = Some(Entry { key, way, epoch, since_s: now_s });
        }
    }

    /// The way of a datagram, unless its first fragment was not seen, is too long ago, or the AS
    /// was flushed since.
    #[must_use]
    pub fn get(
        &self,
        key: &FragmentKey<A>,
        tables: &LbTables,
        now_s: u32,
    ) -> Option<FragmentWay<A>> {
        let set = self.sets.get(self.set_of(key))?;
        let entry = set.iter().flatten().find(|entry| entry.key == *key)?;
        let same_epoch =
            entry.way.as_id().is_none_or(|id| tables.epoch_of(id) == Some(entry.epoch));
        (entry.age_s(now_s) < FRAGMENT_LIFETIME_S && same_epoch).then_some(entry.way)
    }

    fn set_of(&self, key: &FragmentKey<A>) -> usize {
        let FragmentKey { src, dst, id, protocol } = *key;
        let (src_port, dst_port) = ((id >> 16) as u16, id as u16);
        let tuple = FlowTuple { src, dst, src_port, dst_port, protocol };
        self.instance.hash_tuple(&tuple) as usize & (self.sets.len() - 1)
    }
}
