//! [`IcmpError`]: the errors that nodes ask `ip4-icmp-error` and `ip6-icmp-error` to send.

use dataplane::wire::{icmpv4, icmpv6};

/// An ICMP error, as the frame's `icmp` lane carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum IcmpError {
    /// TTL or hop limit exceeded in transit.
    TtlExceeded,
    /// No route to the destination.
    NetUnreachable,
    /// Fragmentation needed and DF set, or packet too big. The MTU is that of lane `mtu`, or of the
    /// packet's adjacency when that is 0.
    TooBig,
    /// Nobody listens on the port.
    PortUnreachable,
    /// Nobody takes the protocol. ICMPv6 has no such error and says port unreachable.
    ProtocolUnreachable,
}

impl IcmpError {
    const ALL: [Self; 5] = [
        Self::TtlExceeded,
        Self::NetUnreachable,
        Self::TooBig,
        Self::PortUnreachable,
        Self::ProtocolUnreachable,
    ];

    /// The error a lane value stands for.
    pub(crate) fn from_lane(value: u8) -> Self {
        Self::ALL[usize::from(value) % Self::ALL.len()]
    }

    /// ICMP type and code (RFC 792, RFC 1122 §3.2.2.1).
    pub(crate) fn type_and_code4(self) -> (u8, u8) {
        use icmpv4::{icmp_type, unreachable_code};
        let code = match self {
            Self::TtlExceeded => return (icmp_type::TIME_EXCEEDED, 0),
            Self::NetUnreachable => unreachable_code::NET,
            Self::TooBig => unreachable_code::FRAGMENTATION_NEEDED,
            Self::PortUnreachable => unreachable_code::PORT,
            Self::ProtocolUnreachable => unreachable_code::PROTOCOL,
        };
        (icmp_type::UNREACHABLE, code)
    }

    /// ICMPv6 type and code (RFC 4443 §3).
    pub(crate) fn type_and_code6(self) -> (u8, u8) {
        use icmpv6::{icmpv6_type, unreachable_code};
        match self {
            Self::TtlExceeded => (icmpv6_type::TIME_EXCEEDED, 0),
            Self::TooBig => (icmpv6_type::PACKET_TOO_BIG, 0),
            Self::NetUnreachable => (icmpv6_type::UNREACHABLE, unreachable_code::NO_ROUTE),
            Self::PortUnreachable | Self::ProtocolUnreachable => {
                (icmpv6_type::UNREACHABLE, unreachable_code::PORT)
            }
        }
    }
}
