//! What forwarding a packet over an adjacency takes: used by `ip4-rewrite`, `ip6-rewrite` and the
//! nodes that translate, which do it in the same pass.

use dataplane::adjacency::{Adjacency, AdjacencyId};
use dataplane::family::Family;
use dataplane::frame::{Frame, Lanes};
use dataplane::interface::InterfaceId;
use dataplane::snapshot::Snapshot;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;

/// Value of the `adjacency` lane of a packet whose next hop is its own destination, on the network
/// of its `tx_interface`.
pub(crate) const UNRESOLVED: u32 = u32::MAX;

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

/// Checks hops and size before anything is written to the packet. A packet of our own loses
/// no hop.
#[inline]
pub(crate) fn obstacle<F: Family>(
    header: &F::Header,
    mtu: u16,
    originated: bool,
) -> Option<Obstacle> {
    if header.hop_limit() <= 1 && !originated {
        return Some(Obstacle::Ttl);
    }
    if header.packet_len() <= usize::from(mtu) {
        return None;
    }
    Some(if F::dont_fragment(header) { Obstacle::DontFragment } else { Obstacle::Mtu })
}

/// Writes the link-layer header in front of packet `at` and takes a hop off (unless the packet is
/// our own). False when the adjacency is incomplete or the packet has no room for the header; it is
/// unchanged then.
#[inline]
pub(crate) fn forward<F: Family>(
    frame: &mut Frame,
    at: usize,
    adjacency: &Adjacency,
    originated: bool,
) -> bool {
    let Some(rewrite) = &adjacency.rewrite else { return false };
    if !frame.set_l2(at, rewrite) {
        return false;
    }
    if !originated {
        take_hop::<F>(frame, at);
    }
    true
}

/// Takes a hop off packet `at`.
#[inline]
pub(crate) fn take_hop<F: Family>(frame: &mut Frame, at: usize) {
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    if let Some(header) = F::Header::at_mut(frame.data_mut(at), l3) {
        header.decrement_hop_limit();
    }
}
