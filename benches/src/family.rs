//! [`Family`] of the clients and of the VIP.

use serde::{Deserialize, Serialize};

/// IPv4 or IPv6.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum, Serialize, Deserialize,
)]
pub enum Family {
    /// IPv4
    #[default]
    #[value(name = "4")]
    #[serde(rename = "4")]
    Ip4,
    /// IPv6
    #[value(name = "6")]
    #[serde(rename = "6")]
    Ip6,
}

impl Family {
    /// Bytes of an IP header without options or extension headers.
    pub const fn header_len(self) -> usize {
        match self {
            Self::Ip4 => 20,
            Self::Ip6 => 40,
        }
    }

    /// The shortest frame on the wire, in bytes with check sequence: Ethernet's minimum for IPv4, and
    /// for IPv6 the first that has room for a TCP header, whatever is inside (CSIT's 78 bytes).
    pub const fn shortest(self) -> u16 {
        match self {
            Self::Ip4 => 64,
            Self::Ip6 => 78,
        }
    }

    /// EtherType (IEEE 802).
    pub const fn ether_type(self) -> u16 {
        match self {
            Self::Ip4 => 0x0800,
            Self::Ip6 => 0x86dd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_frame_has_room_for_tcp() {
        for family in [Family::Ip4, Family::Ip6] {
            let headers = 14 + family.header_len() + 20 + 4;
            assert!(usize::from(family.shortest()) >= headers, "{family:?}");
        }
    }
}
