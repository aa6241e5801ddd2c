//! What forwarding a packet over an adjacency takes: used by `ip4-rewrite` and by the nodes that
//! translate, which do it in the same pass.

use dataplane::adjacency::{Adjacency, AdjacencyId, ETHERNET_HEADER_LEN};
use dataplane::frame::Lanes;
use dataplane::interface::InterfaceId;
use dataplane::snapshot::Snapshot;
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;

use crate::ip4_arp::UNRESOLVED;

/// Why a packet cannot take the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It has no hop left.
    Ttl,
    /// It is too big and must not be fragmented.
    DontFragment,
    /// It is too big.
    Mtu,
}

/// The link of the next hop that the lanes of packet `at` name, and the largest IP packet it takes:
/// an adjacency's, or for a host that nobody asked for yet its network's.
#[inline]
pub(crate) fn link(snapshot: &Snapshot, lanes: &Lanes, at: usize) -> Option<(InterfaceId, u16)> {
    let id = lanes.adjacency[at];
    if id == UNRESOLVED {
        return snapshot.interface(lanes.tx_interface[at]).map(|link| (link.id, link.mtu));
    }
    snapshot.adjacency(AdjacencyId(id)).map(|adjacency| (adjacency.interface, adjacency.mtu))
}

/// Checks TTL and size before anything is written to the packet. A packet of our own keeps its TTL.
#[inline]
pub(crate) fn obstacle(header: &Ipv4Header, mtu: u16, originated: bool) -> Option<Obstacle> {
    if header.ttl <= 1 && !originated {
        return Some(Obstacle::Ttl);
    }
    if header.total_len.get() <= mtu {
        return None;
    }
    Some(if header.dont_fragment() { Obstacle::DontFragment } else { Obstacle::Mtu })
}

/// Takes a hop off (unless the packet is our own) and writes the Ethernet header in front of the IP
/// header at `l3`. False when the adjacency is incomplete or the packet has no room for the header;
/// it is unchanged then.
#[inline]
pub(crate) fn forward(data: &mut [u8], l3: usize, adjacency: &Adjacency, originated: bool) -> bool {
    let Some(rewrite) = &adjacency.rewrite else { return false };
    let Some(start) = l3.checked_sub(ETHERNET_HEADER_LEN) else { return false };
    if let Some(header) = Ipv4Header::at_mut(data, l3)
        && !originated
    {
        header.decrement_ttl();
    }
    match data.get_mut(start..l3) {
        Some(room) => {
            room.copy_from_slice(rewrite);
            true
        }
        None => false,
    }
}
