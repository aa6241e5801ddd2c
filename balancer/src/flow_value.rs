//! What a sticky table knows of a flow, in one 64-bit word.
//!
//! From the top: AS 20, epoch 8, cell 1, state 4, expiry tick 16, sequence 15. State 0 is a free
//! entry; the bit *cell* says that the entry's key goes on in a cell beside the buckets.

use crate::application_server::AsId;
use crate::tcp_state::FlowState;

const SEQUENCE_MASK: u64 = 0x7fff;
pub(crate) const EXPIRY_SHIFT: u32 = 15;
const STATE_SHIFT: u32 = 31;
const STATE_MASK: u8 = 0xf;
const CELL: u64 = 1 << 35;
pub(crate) const EPOCH_SHIFT: u32 = 36;
const AS_SHIFT: u32 = 44;

/// By so many bits to the left, and the expiry tick is at the top of the word.
pub(crate) const EXPIRY_TO_TOP: i32 = u64::BITS as i32 - 16 - EXPIRY_SHIFT as i32;
/// The bits of the state.
pub(crate) const STATE_BITS: u64 = (STATE_MASK as u64) << STATE_SHIFT;

/// The bits of state and expiry.
const UPDATE_BITS: u64 = STATE_BITS | 0xffff << EXPIRY_SHIFT;

/// The same, and those of AS and epoch.
const OWNED_UPDATE_BITS: u64 = UPDATE_BITS | u64::MAX << EPOCH_SHIFT;

/// The value of a flow entry. The default is a free one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowValue(u64);

impl FlowValue {
    #[inline]
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline]
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// An occupied entry. Of the sequence, the low 15 bits are kept.
    #[inline]
    pub(crate) const fn new(
        as_id: AsId,
        epoch: u8,
        state: FlowState,
        expiry: u16,
        sequence: u16,
    ) -> Self {
        Self(
            (as_id.get() as u64) << AS_SHIFT
                | (epoch as u64) << EPOCH_SHIFT
                | (state as u64) << STATE_SHIFT
                | (expiry as u64) << EXPIRY_SHIFT
                | sequence as u64 & SEQUENCE_MASK,
        )
    }

    /// The same for an entry whose key has a cell.
    #[inline]
    pub(crate) const fn with_cell(self, has_cell: bool) -> Self {
        if has_cell { Self(self.0 | CELL) } else { Self(self.0 & !CELL) }
    }

    /// Whether the entry's key goes on in its cell.
    #[inline]
    pub(crate) const fn has_cell(self) -> bool {
        self.0 & CELL != 0
    }

    /// A free entry, which keeps the sequence of what was there.
    #[inline]
    pub(crate) const fn free(sequence: u16) -> Self {
        Self(sequence as u64 & SEQUENCE_MASK)
    }

    #[inline]
    pub(crate) const fn is_free(self) -> bool {
        self.state_bits() == 0
    }

    /// Counts modulo 2^15 what was in the entry.
    #[inline]
    pub(crate) const fn sequence(self) -> u16 {
        (self.0 & SEQUENCE_MASK) as u16
    }

    /// The same with another sequence.
    #[inline]
    pub(crate) const fn with_sequence(self, sequence: u16) -> Self {
        Self(self.0 & !SEQUENCE_MASK | sequence as u64 & SEQUENCE_MASK)
    }

    /// The same flow in another state and with another expiry.
    #[inline]
    pub(crate) const fn refreshed(self, state: FlowState, expiry: u16) -> Self {
        self.updated(Self::update(state, expiry))
    }

    /// Only a state and an expiry, for [`updated`](Self::updated).
    pub(crate) const fn update(state: FlowState, expiry: u16) -> Self {
        Self((state as u64) << STATE_SHIFT | (expiry as u64) << EXPIRY_SHIFT)
    }

    /// State and expiry alone, as an [`update`](Self::update).
    #[inline]
    pub(crate) const fn only_update(self) -> Self {
        Self(self.0 & UPDATE_BITS)
    }

    /// AS, epoch, state and expiry alone.
    #[inline(always)]
    pub(crate) const fn owned_update(self) -> u64 {
        self.0 & OWNED_UPDATE_BITS
    }

    /// An update that no flow's entry is up to date by: its state is none.
    pub(crate) const fn no_update() -> Self {
        Self((STATE_MASK as u64) << STATE_SHIFT)
    }

    /// The same flow with another one's state and expiry.
    #[inline]
    pub(crate) const fn updated(self, update: Self) -> Self {
        Self(self.0 & !UPDATE_BITS | update.0)
    }

    /// Whether an occupied entry has a state that there is.
    #[cfg(not(loom))]
    pub(crate) const fn has_state(self) -> bool {
        let bits = self.state_bits();
        FlowState::from_bits(bits) as u8 == bits
    }

    /// The number of the state, 0 of a free entry.
    #[inline]
    pub(crate) const fn state_bits(self) -> u8 {
        (self.0 >> STATE_SHIFT) as u8 & STATE_MASK
    }

    /// Bits of an [`owner`](Self::owner).
    pub const OWNER_BITS: u32 = u64::BITS - EPOCH_SHIFT;

    /// The AS and its epoch, in one number: the flow is alive only if both are right.
    #[inline(always)]
    #[must_use]
    pub const fn owner(self) -> u32 {
        (self.0 >> EPOCH_SHIFT) as u32
    }

    /// The [`owner`](Self::owner) of flows of an AS in an epoch.
    #[inline]
    #[must_use]
    pub const fn owner_of(as_id: AsId, epoch: u8) -> u32 {
        as_id.get() << (AS_SHIFT - EPOCH_SHIFT) | epoch as u32
    }

    /// An [`update`](Self::update) as the value of a flow of this [`owner`](Self::owner).
    #[inline(always)]
    pub(crate) const fn owned_by(self, owner: u32) -> Self {
        Self(self.0 | (owner as u64) << EPOCH_SHIFT)
    }

    /// The AS of the flow. Means nothing for a direct flow.
    #[inline]
    #[must_use]
    pub const fn as_id(self) -> AsId {
        AsId::from_low_bits(self.0 >> AS_SHIFT)
    }

    /// The AS's epoch when the flow was given to it.
    #[inline]
    #[must_use]
    pub const fn epoch(self) -> u8 {
        (self.0 >> EPOCH_SHIFT) as u8
    }

    /// The flow's state.
    #[inline]
    #[must_use]
    pub const fn state(self) -> FlowState {
        FlowState::from_bits(self.state_bits())
    }

    /// The second at which the flow expires, modulo 65 536.
    #[inline]
    #[must_use]
    pub const fn expiry_tick(self) -> u16 {
        (self.0 >> EXPIRY_SHIFT) as u16
    }

    /// Whether the entry is occupied and expires after `now_s`.
    #[inline]
    #[must_use]
    pub const fn is_live(self, now_s: u32) -> bool {
        !self.is_free() && self.remaining_s(now_s) > 0
    }

    /// Seconds until expiry, 0 or less when expired. Right while the true figure is within
    /// -32 768 to 32 767, for which the sweep and the limit on timeouts care.
    #[inline]
    #[must_use]
    pub const fn remaining_s(self, now_s: u32) -> i16 {
        self.expiry_tick().wrapping_sub(now_s as u16) as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field at its ends, the others at both of theirs.
    #[test]
    fn fields_do_not_overlap() {
        let ids = [0, (1 << 20) - 1].map(|id| AsId::new(id).unwrap());
        let states = [FlowState::Established, FlowState::Other];
        for bits in 0..64u32 {
            let pick = |bit: u32| (bits >> bit & 1) as usize;
            let (as_id, epoch) = (ids[pick(0)], [0, 255][pick(1)]);
            let (state, cell) = (states[pick(2)], pick(3) == 1);
            let (expiry, sequence) = ([0, 0xffff][pick(4)], [0, 0x7fff][pick(5)]);
            let value = FlowValue::new(as_id, epoch, state, expiry, sequence).with_cell(cell);
            let check = |value: FlowValue, state, expiry, sequence| {
                assert_eq!((value.as_id(), value.epoch()), (as_id, epoch));
                assert_eq!((value.state(), value.has_cell()), (state, cell));
                assert_eq!((value.expiry_tick(), value.sequence()), (expiry, sequence));
                assert!(!value.is_free());
            };
            check(value, state, expiry, sequence);
            for state in FlowState::ALL {
                check(value.refreshed(state, 9), state, 9, sequence);
            }
            check(value.with_sequence(5), state, expiry, 5);
            let free = FlowValue::free(value.sequence());
            assert!(free.is_free() && !free.has_cell() && free.sequence() == sequence);
        }
    }

    #[test]
    fn sequences_wrap_at_15_bits() {
        let zero = AsId::new(0).unwrap();
        for (sequence, kept) in [(0x7fff, 0x7fff), (0x8000, 0), (0xffff, 0x7fff)] {
            let value = FlowValue::new(zero, 0, FlowState::Established, 0, sequence);
            assert_eq!((value.sequence(), value.expiry_tick()), (kept, 0));
            let value = FlowValue::free(sequence);
            assert!(value.is_free() && value.sequence() == kept);
            let value = FlowValue::new(zero, 0, FlowState::Udp, 0, 0).with_sequence(sequence);
            assert_eq!((value.sequence(), value.expiry_tick()), (kept, 0));
        }
    }

    #[test]
    fn expiry_survives_both_wraps() {
        let zero = AsId::new(0).unwrap();
        for now in [0, 100, 65_530, 65_536 * 3 - 1, u32::MAX - 5, u32::MAX] {
            let expiry = now.wrapping_add(40) as u16;
            let value = FlowValue::new(zero, 0, FlowState::Udp, expiry, 0);
            assert!(value.is_live(now));
            assert!(value.is_live(now.wrapping_add(39)));
            assert!(!value.is_live(now.wrapping_add(40)));
            assert!(!value.is_live(now.wrapping_add(40 + 32_768)));
        }
        assert!(!FlowValue::free(5).is_live(0));
    }
}
