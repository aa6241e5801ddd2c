//! The last steps of a packet on its way to an AS, which all methods have in common.

use dataplane::adjacency::{Adjacency, AdjacencyId};
use dataplane::family::Family;
use dataplane::forwarding::ServerPath;
use dataplane::frame::{Frame, flag};
use dataplane::snapshot::Snapshot;
use dataplane::wire::Header;
use dataplane::wire::checksum::Delta;
use dataplane::wire::icmpv6::Icmpv6Header;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;

/// The way to the AS of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) path: &'a ServerPath,
    pub(crate) id: AdjacencyId,
    pub(crate) adjacency: &'a Adjacency,
}

/// The way to the AS in the `server` lane, if there is one.
#[inline]
pub(crate) fn way<'a>(snapshot: &'a Snapshot, frame: &Frame, at: usize) -> Option<Way<'a>> {
    let server = balancer::AsId::new(frame.lanes.server[at])?;
    let path = snapshot.server_path(server)?;
    let id = path.adjacency?;
    Some(Way { path, id, adjacency: snapshot.adjacency(id)? })
}

/// Why a packet that keeps its size does not fit the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooBig {
    /// Its sender is told.
    Tell,
    /// It may be fragmented, which is not offered for packets that go on as they are.
    Drop,
}

/// Checks the size of a packet that goes on without an outer header.
#[inline]
pub(crate) fn too_big<F: Family>(header: &F::Header, mtu: u16) -> Option<TooBig> {
    if header.packet_len() <= usize::from(mtu) {
        return None;
    }
    Some(if F::dont_fragment(header) { TooBig::Tell } else { TooBig::Drop })
}

/// Writes the Ethernet header for the adjacency and takes a hop off, unless the packet keeps its
/// hops. False when the adjacency is incomplete (or a tunnel): the rewrite node of the family does
/// both then, by the lanes.
#[inline]
#[must_use]
pub(crate) fn deliver<F: Family>(
    frame: &mut Frame,
    at: usize,
    way: &Way<'_>,
    keeps_hops: bool,
) -> bool {
    frame.lanes.adjacency[at] = way.id.0;
    frame.lanes.tx_interface[at] = way.adjacency.interface;
    if keeps_hops {
        frame.lanes.flags[at] |= flag::ORIGINATED;
    }
    // An error of ours about what an AS sent as its VIP goes to that AS.
    let keeps_hops = frame.lanes.flags[at] & flag::ORIGINATED != 0;
    let Some(rewrite) = &way.adjacency.rewrite else { return false };
    if !frame.set_l2(at, rewrite) {
        return false;
    }
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    if !keeps_hops && let Some(header) = F::Header::at_mut(frame.data_mut(at), l3) {
        header.decrement_hop_limit();
    }
    true
}

/// Lets the checksum of the upper layer at `l4` follow a change of the pseudo-header. Not for later
/// fragments, which have none.
#[inline]
pub(crate) fn follow_pseudo_header(data: &mut [u8], l4: usize, upper: u8, delta: Delta) {
    match upper {
        protocol::TCP => {
            if let Some(tcp) = TcpHeader::at_mut(data, l4) {
                tcp.update_checksum(delta);
            }
        }
        protocol::UDP => {
            if let Some(udp) = UdpHeader::at_mut(data, l4) {
                udp.update_checksum(delta);
            }
        }
        protocol::ICMPV6 => {
            if let Some(icmp) = Icmpv6Header::at_mut(data, l4) {
                icmp.update_checksum(delta);
            }
        }
        _ => {}
    }
}
