//! What identifies a flow in a sticky table.

use std::net::{IpAddr, Ipv4Addr};

use crate::address::Address;
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::instance_key::InstanceKey;
use crate::side_cells::Cell;
use crate::vip::{KeyKind, MAX_VIPS, VipId};

/// The index of direct flows, which have no VIP.
const DIRECT_INDEX: u32 = MAX_VIPS as u32;

/// The key of a flow: one word, and for some flows a cell beside the buckets.
///
/// The low 16 bits of the word are the VIP's index. The others are, by the kind of the VIP:
///
/// - *exact*: the client's IPv4 address and, below it, the port, both as packets have them, the low
///   end first: nobody need swap their bytes. The VIP implies the rest of the 5-tuple, so two flows
///   never share an entry.
/// - *tag*: 48 bits of a hash of the 5-tuple under the key of this instance.
/// - *end*: 48 bits of a hash of the client's address and port under the key of this instance, so
///   that a reply finds the entry too. As with *exact*, the VIP implies the rest. The cell has the
///   5-tuple for those who list flows; nobody compares it.
/// - *full*: the same hash; the cell has the 5-tuple in full and tells flows apart. Up to eight
///   flows from one client port fit, as they have the same buckets.
/// - *direct* flows, from a client straight to an AS's service, are full as well, with the hash of
///   the whole 5-tuple and an index that no VIP has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    word: u64,
    cell: Option<Cell>,
}

impl FlowKey {
    /// A client's flow to a VIP of one IPv4 address and port (host byte order).
    #[must_use]
    pub fn exact(client: Ipv4Addr, port: u16, vip: VipId) -> Self {
        Self { word: Self::exact_word(client, port, vip), cell: None }
    }

    /// The word of an exact flow.
    #[inline(always)]
    pub(crate) fn exact_word(client: Ipv4Addr, port: u16, vip: VipId) -> u64 {
        let client = u64::from(u32::from_le_bytes(client.octets()));
        client << 32 | u64::from(port.swap_bytes()) << 16 | u64::from(vip.get())
    }

    /// A client's flow to a VIP whose replies do not pass us.
    #[must_use]
    pub fn tag<A: Address>(instance: &InstanceKey, tuple: &FlowTuple<A>, vip: VipId) -> Self {
        Self { word: Self::tag_word(instance, tuple, vip), cell: None }
    }

    /// The word of such a flow.
    #[inline]
    pub(crate) fn tag_word<A: Address>(
        instance: &InstanceKey,
        tuple: &FlowTuple<A>,
        vip: VipId,
    ) -> u64 {
        tagged(instance.hash_tuple(tuple), vip.get())
    }

    /// The same, told by an IPv4 packet's bytes from the source address on, of which the last four do not
    /// count.
    #[inline]
    pub(crate) fn tag_word_of_ends(
        instance: &InstanceKey,
        (ends, protocol): (&[u8; 16], u8),
        vip: VipId,
    ) -> u64 {
        tagged(instance.hash_ends(ends, protocol), vip.get())
    }

    /// A client's flow to a VIP of one IPv6 address and port whose replies pass us.
    #[must_use]
    pub fn end<A: Address>(instance: &InstanceKey, tuple: &FlowTuple<A>, vip: VipId) -> Self {
        let word = Self::end_word(instance, tuple.src, tuple.src_port, vip);
        Self { word, cell: Some(Cell::note_of(tuple)) }
    }

    /// A client's flow to a VIP of several addresses or ports whose replies pass us.
    #[must_use]
    pub fn full<A: Address>(instance: &InstanceKey, tuple: &FlowTuple<A>, vip: VipId) -> Self {
        let word = Self::end_word(instance, tuple.src, tuple.src_port, vip);
        Self { word, cell: Some(Cell::of(tuple)) }
    }

    /// A client's flow to an AS's service itself.
    #[must_use]
    pub fn direct<A: Address>(instance: &InstanceKey, tuple: &FlowTuple<A>) -> Self {
        let word = tagged(instance.hash_tuple(tuple), DIRECT_INDEX);
        Self { word, cell: Some(Cell::of(tuple)) }
    }

    /// The word of a client's flow to a VIP with keys of this kind.
    #[inline(always)]
    pub(crate) fn word_to_vip<A: Address>(
        instance: &InstanceKey,
        kind: KeyKind,
        vip: VipId,
        tuple: &FlowTuple<A>,
    ) -> u64 {
        match (kind, tuple.src.into()) {
            (KeyKind::Exact, IpAddr::V4(client)) => Self::exact_word(client, tuple.src_port, vip),
            (KeyKind::End | KeyKind::Full, _) => {
                Self::end_word(instance, tuple.src, tuple.src_port, vip)
            }
            (KeyKind::Exact | KeyKind::Tag, _) => Self::tag_word(instance, tuple, vip),
        }
    }

    /// The key of a flow that its word tells from all others; `note` is what its cell is to say, if it
    /// has one.
    #[inline(always)]
    pub(crate) fn of_word<A: Address>(word: u64, note: Option<&FlowTuple<A>>) -> Self {
        Self { word, cell: note.map(Cell::note_of) }
    }

    /// The word of the flow, or of all full flows, of a client's address and port (host byte order)
    /// to a VIP.
    #[inline]
    pub(crate) fn end_word<A: Address>(
        instance: &InstanceKey,
        client: A,
        port: u16,
        vip: VipId,
    ) -> u64 {
        tagged(instance.hash_end(client, port), vip.get())
    }

    /// Whether this is a direct flow.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        is_direct_word(self.word)
    }

    /// The VIP; `None` for a direct flow.
    #[must_use]
    pub fn vip(&self) -> Option<VipId> {
        VipId::new(u32::from(self.word as u16)).filter(|_| !self.is_direct())
    }

    /// The client's address and port (host byte order), if the key is [`exact`](Self::exact), which
    /// it cannot tell from a [`tag`](Self::tag) by itself: the VIP's
    /// [`KeyKind`](crate::KeyKind) does.
    #[must_use]
    pub(crate) fn exact_client(&self) -> (Ipv4Addr, u16) {
        let [_, _, high, low, client @ ..] = self.word.to_le_bytes();
        (Ipv4Addr::from(client), u16::from_be_bytes([high, low]))
    }

    /// The word in the bucket.
    #[inline]
    pub(crate) const fn word(&self) -> u64 {
        self.word
    }

    /// What the cell holds of an end, full or direct flow.
    #[inline]
    pub(crate) const fn cell(&self) -> Option<&Cell> {
        self.cell.as_ref()
    }

    /// The key of an entry.
    pub(crate) fn from_entry(word: u64, value: FlowValue, cell: impl FnOnce() -> Cell) -> Self {
        Self { word, cell: value.has_cell().then(cell) }
    }
}

/// Whether a bucket's key word belongs to a direct flow.
#[inline]
pub(crate) const fn is_direct_word(word: u64) -> bool {
    word as u16 as u32 == DIRECT_INDEX
}

#[inline(always)]
fn tagged(hash: u64, index: u32) -> u64 {
    hash & !0xffff | u64::from(index)
}

/// What a search of a bucket wants.
pub(crate) trait Wanted {
    /// What it finds out of an entry.
    type Found;

    /// The key word of the entries.
    fn word(&self) -> u64;

    /// Looks at an entry with this word that is not free; `None` to go on. The cell means
    /// something only if the value says that there is one.
    fn judge(&self, value: FlowValue, cell: impl FnOnce() -> Cell) -> Option<Self::Found>;
}

impl Wanted for FlowKey {
    type Found = FlowValue;

    fn word(&self) -> u64 {
        self.word
    }

    fn judge(&self, value: FlowValue, cell: impl FnOnce() -> Cell) -> Option<FlowValue> {
        let matches = match &self.cell {
            None => !value.has_cell(),
            Some(own) => value.has_cell() && (own.is_note || *own == cell()),
        };
        matches.then_some(value)
    }
}

/// A key that is its word alone: smaller than a [`FlowKey`], for what every packet does. Words of
/// different kinds that are alive at once are not equal, but for a hash that is by chance: all
/// keys of a VIP are of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordKey(pub(crate) u64);

impl Wanted for WordKey {
    type Found = FlowValue;

    fn word(&self) -> u64 {
        self.0
    }

    fn judge(&self, value: FlowValue, _cell: impl FnOnce() -> Cell) -> Option<FlowValue> {
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_in_every_part() {
        let instance = InstanceKey::from_bytes([5; 32]);
        let [one, two] = [1, 2].map(|n| VipId::new(n).unwrap());
        let base = FlowTuple {
            src: Ipv4Addr::new(10, 10, 10, 1),
            dst: Ipv4Addr::new(10, 0, 0, 1),
            src_port: 7,
            dst_port: 80,
            protocol: 6,
        };
        let others = [
            FlowTuple { src: Ipv4Addr::new(10, 10, 10, 2), ..base },
            FlowTuple { dst: Ipv4Addr::new(10, 0, 0, 2), ..base },
            FlowTuple { src_port: 8, ..base },
            FlowTuple { dst_port: 81, ..base },
            FlowTuple { protocol: 17, ..base },
        ];
        for other in &others {
            assert_ne!(FlowKey::tag(&instance, &base, one), FlowKey::tag(&instance, other, one));
            assert_ne!(FlowKey::full(&instance, &base, one), FlowKey::full(&instance, other, one));
            assert_ne!(FlowKey::direct(&instance, &base), FlowKey::direct(&instance, other));
        }
        assert_ne!(FlowKey::tag(&instance, &base, one), FlowKey::tag(&instance, &base, two));
        assert_ne!(FlowKey::full(&instance, &base, one), FlowKey::full(&instance, &base, two));
        let exact = |tuple: &FlowTuple<Ipv4Addr>| FlowKey::exact(tuple.src, tuple.src_port, one);
        assert_ne!(exact(&base), exact(&others[0]));
        assert_ne!(exact(&base), exact(&others[2]));
        // A reply knows the client and the VIP only.
        let word = FlowKey::full(&instance, &others[1], one).word();
        assert_eq!(word, FlowKey::end_word(&instance, base.src, base.src_port, one));
        assert!(FlowKey::direct(&instance, &base).is_direct() && !exact(&base).is_direct());
    }

    /// The parts that a key shows must not stand out in a tag.
    #[test]
    fn tags_follow_the_instance() {
        let tuple = FlowTuple {
            src: Ipv4Addr::new(10, 10, 10, 1),
            dst: Ipv4Addr::new(10, 0, 0, 1),
            src_port: 7,
            dst_port: 80,
            protocol: 6,
        };
        let vip = VipId::new(3).unwrap();
        let [a, b] = [[1; 32], [2; 32]].map(InstanceKey::from_bytes);
        assert_ne!(FlowKey::tag(&a, &tuple, vip), FlowKey::tag(&b, &tuple, vip));
        assert_ne!(FlowKey::full(&a, &tuple, vip).word(), FlowKey::full(&b, &tuple, vip).word());
    }
}
