//! [`IcmpError`]: the errors that nodes ask `ip4-icmp-error` to send.

use dataplane::wire::icmpv4::{icmp_type, unreachable_code};

/// An ICMP error, as the frame's `icmp` lane carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum IcmpError {
    /// TTL exceeded in transit.
    TtlExceeded,
    /// No route to the destination.
    NetUnreachable,
    /// Fragmentation needed and DF set; the MTU is that of the packet's adjacency.
    FragmentationNeeded,
}

impl IcmpError {
    const ALL: [Self; 3] = [Self::TtlExceeded, Self::NetUnreachable, Self::FragmentationNeeded];

    /// The error a lane value stands for.
    pub(crate) fn from_lane(value: u8) -> Self {
        Self::ALL[usize::from(value) % Self::ALL.len()]
    }

    /// ICMP type and code.
    pub(crate) fn type_and_code(self) -> (u8, u8) {
        match self {
            Self::TtlExceeded => (icmp_type::TIME_EXCEEDED, 0),
            Self::NetUnreachable => (icmp_type::UNREACHABLE, unreachable_code::NET),
            Self::FragmentationNeeded => {
                (icmp_type::UNREACHABLE, unreachable_code::FRAGMENTATION_NEEDED)
            }
        }
    }
}
