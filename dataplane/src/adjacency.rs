//! Adjacencies: a next hop on a link, with the link-layer header that reaches it.

use std::net::IpAddr;

use crate::interface::{InterfaceId, MacAddress};
use crate::wire::ethernet::ether_type;

/// Index of an adjacency in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct AdjacencyId(pub u32);

impl AdjacencyId {
    /// Position in per-adjacency arrays.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Bytes of an untagged Ethernet header.
pub const ETHERNET_HEADER_LEN: usize = 14;

/// Bytes of an Ethernet header with two VLAN tags, the longest there is here.
pub const L2_HEADER_MAX: usize = ETHERNET_HEADER_LEN + 2 * 4;

/// An Ethernet header with the VLAN tags of its link, ready to be put in front of an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L2Header {
    len: u8,
    bytes: [u8; L2_HEADER_MAX],
}

impl L2Header {
    /// The header from `source` to `destination`. `tags` are the VLAN tags from the outside in, at
    /// most two: tag protocol (0x8100 or 0x88a8) and VLAN identifier; priority is 0.
    pub fn new(
        destination: MacAddress,
        source: MacAddress,
        tags: &[(u16, u16)],
        ether_type: u16,
    ) -> Self {
        let mut bytes = [0; L2_HEADER_MAX];
        bytes[..6].copy_from_slice(&destination.0);
        bytes[6..12].copy_from_slice(&source.0);
        let mut len = 12;
        for (protocol, vlan) in tags.iter().take(2) {
            bytes[len..len + 2].copy_from_slice(&protocol.to_be_bytes());
            bytes[len + 2..len + 4].copy_from_slice(&vlan.to_be_bytes());
            len += 4;
        }
        bytes[len..len + 2].copy_from_slice(&ether_type.to_be_bytes());
        Self { len: len as u8 + 2, bytes }
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        // Bounded again for the optimiser: `len` is never more.
        &self.bytes[..usize::from(self.len).min(L2_HEADER_MAX)]
    }

    /// The bytes of a header without tags.
    #[inline]
    pub fn untagged(&self) -> Option<&[u8; ETHERNET_HEADER_LEN]> {
        let plain = usize::from(self.len) == ETHERNET_HEADER_LEN;
        self.bytes.first_chunk().filter(|_| plain)
    }

    /// The station it goes to.
    #[inline]
    pub fn destination(&self) -> MacAddress {
        let [a, b, c, d, e, f, ..] = self.bytes;
        MacAddress([a, b, c, d, e, f])
    }

    /// How many bytes it has: 14, 18 or 22.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }
}

/// The outer addresses of an IP-in-IP tunnel (RFC 2003, RFC 2473, RFC 4213), and the way to its
/// far end. Source and destination are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Our end.
    pub source: IpAddr,
    /// The far end.
    pub destination: IpAddr,
    /// The way there, never a tunnel itself; `None` without a route.
    pub underlay: Option<AdjacencyId>,
}

/// One neighbour on one link, or the far end of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjacency {
    /// Link it is on.
    pub interface: InterfaceId,
    /// The neighbour's address; packets of its family take this adjacency.
    pub next_hop: IpAddr,
    /// Largest IP packet this adjacency takes, in bytes; of a tunnel, without the outer header.
    pub mtu: u16,
    /// The header to write, or `None` while the neighbour's Ethernet address is not known and for
    /// a tunnel.
    pub rewrite: Option<L2Header>,
    /// The tunnel that packets enter here.
    pub tunnel: Option<Tunnel>,
}

impl Adjacency {
    /// The EtherType of what an adjacency with this next hop carries.
    pub fn ether_type(next_hop: IpAddr) -> u16 {
        match next_hop {
            IpAddr::V4(_) => ether_type::IPV4,
            IpAddr::V6(_) => ether_type::IPV6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stand_between_addresses_and_type() {
        let (to, from) = (MacAddress([1; 6]), MacAddress([2; 6]));
        let plain = L2Header::new(to, from, &[], 0x0800);
        assert_eq!(plain.as_bytes(), [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0]);
        let tagged = L2Header::new(to, from, &[(0x88a8, 5), (0x8100, 0x123)], 0x86dd);
        assert_eq!(tagged.len(), 22);
        assert_eq!(plain.untagged().map(|bytes| &bytes[..]), Some(plain.as_bytes()));
        assert_eq!(tagged.untagged(), None);
        assert_eq!(tagged.as_bytes()[12..], [0x88, 0xa8, 0, 5, 0x81, 0, 0x01, 0x23, 0x86, 0xdd]);
    }
}
