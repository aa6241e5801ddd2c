//! Adjacencies: a next hop on a link, with the Ethernet header that reaches it.

use std::net::Ipv4Addr;

use crate::interface::{InterfaceId, MacAddress};

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

/// One neighbour on one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjacency {
    /// Link it is on.
    pub interface: InterfaceId,
    /// The neighbour's address.
    pub next_hop: Ipv4Addr,
    /// Largest IP packet this adjacency takes, in bytes.
    pub mtu: u16,
    /// The Ethernet header to write (destination, source, type 0x0800), or `None` while the
    /// neighbour's address is not known.
    pub rewrite: Option<[u8; ETHERNET_HEADER_LEN]>,
}

impl Adjacency {
    /// The IPv4 Ethernet header from `source` to `destination`.
    pub fn ip4_rewrite(destination: MacAddress, source: MacAddress) -> [u8; ETHERNET_HEADER_LEN] {
        let mut header = [0; ETHERNET_HEADER_LEN];
        header[..6].copy_from_slice(&destination.0);
        header[6..12].copy_from_slice(&source.0);
        header[12..].copy_from_slice(&0x0800_u16.to_be_bytes());
        header
    }
}
