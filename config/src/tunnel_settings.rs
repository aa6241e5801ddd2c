//! What the outer header of a tunnelled packet is made of.

use std::fmt;

use crate::Prefix;
use crate::choice::choices;

/// The DSCP of outer headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelDscp {
    /// That of the inner packet.
    Copy,
    /// This one, 0..=63.
    Set(u8),
}

impl fmt::Display for TunnelDscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TunnelDscp::Copy => f.write_str("copy"),
            TunnelDscp::Set(dscp) => dscp.fmt(f),
        }
    }
}

choices! {
    /// The ECN bits of outer headers.
    TunnelEcn {
        /// Copied from the inner packet (RFC 6040, normal mode).
        Rfc6040 = "rfc6040",
        /// Always 0: the tunnel does not take part in congestion notification.
        Zero = "zero",
    }
}

choices! {
    /// The don't-fragment bit of outer IPv4 headers.
    TunnelDf {
        /// That of the inner packet; an inner IPv6 packet has it by nature.
        Copy = "copy",
        /// Always 1.
        Set = "set",
        /// Always 0.
        Clear = "clear",
    }
}

choices! {
    /// What happens to a packet that is too big once encapsulated and may be fragmented. One that
    /// may not is answered with an ICMP error either way.
    TooBig {
        /// It is dropped and counted.
        Drop = "drop",
        /// The outer packet is fragmented.
        Fragment = "fragment",
    }
}

/// Outer source addresses that differ from flow to flow, so that routers and network cards that
/// look at outer addresses only still spread the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrcEntropy {
    /// One source address for all flows.
    Off,
    /// An address of this prefix for each flow; host bits clear, and at least one of them.
    Prefix(Prefix),
}

impl fmt::Display for SrcEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SrcEntropy::Off => f.write_str("off"),
            SrcEntropy::Prefix(prefix) => prefix.fmt(f),
        }
    }
}
