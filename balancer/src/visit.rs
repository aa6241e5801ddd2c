//! [`Visit`]: what a reply does to its flow, and whose flow that must be.

use crate::flow_value::{EPOCH_SHIFT, EXPIRY_SHIFT, FlowValue};
use crate::staged::{Course, Passing};
use crate::tcp_flags::TcpFlags;

/// An AS in an epoch, and what a packet of it does to its flow: the one where flows' entries have it, the
/// other where these have their sequence, which is nothing to packets. So one comparison tells that an entry
/// [is as most are](crate::Usual::is_of).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visit(u64);

const _: () = assert!((Passing::NOTHING.bits() as u64) < 1 << EXPIRY_SHIFT);

impl Visit {
    /// Nobody's.
    pub const NONE: Self = Self(0);

    /// What the packets on a course have in common, whose flows' entries have this for an
    /// [owner](FlowValue::owner).
    #[must_use]
    pub const fn new(owner: u32, course: Course) -> Self {
        Self((owner as u64) << EPOCH_SHIFT | course.bits() as u64)
    }

    /// That of a packet with these flags ([`TcpFlags::NONE`] for all but TCP).
    #[inline(always)]
    #[must_use]
    pub fn with(self, flags: TcpFlags) -> Self {
        Self(self.0 | u64::from(Passing::of_flags(flags).bits()))
    }

    /// What the packet does to its flow.
    #[inline(always)]
    #[must_use]
    pub const fn passing(self) -> Passing {
        Passing::from_bits(self.0 as u16)
    }

    /// Whether a flow with this entry is the AS's, if it did not expire.
    #[inline(always)]
    #[must_use]
    pub const fn is_to(self, value: FlowValue) -> bool {
        value.owner() as u64 == self.0 >> EPOCH_SHIFT
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}
