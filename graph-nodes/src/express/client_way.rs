//! The way of an AS's reply to the client.

use dataplane::adjacency::Adjacency;
use dataplane::family::Family;
use dataplane::fib::FibEntry;
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;

use super::lane::LaneFamily;
use super::readdress::{Readdress, Side};
use super::server_way::set_link;
use super::services::Service;
use crate::recent_routes::RecentRoutes;

/// The next hop towards a client, if a packet of so many bytes can leave for it at once.
#[inline]
pub(super) fn next_hop<'s, F: Family>(
    routes: &mut RecentRoutes,
    snapshot: &'s Snapshot,
    client: F::Address,
    len: u16,
) -> Option<&'s Adjacency> {
    let FibEntry::Adjacency(id) = routes.lookup::<F>(snapshot, client) else { return None };
    let adjacency = snapshot.adjacency(id)?;
    let open = adjacency.rewrite.is_some() && adjacency.tunnel.is_none() && len <= adjacency.mtu;
    open.then_some(adjacency)
}

/// [`rename`], for packets from the one service that is meant.
#[inline(always)]
pub(super) fn restore<F: LaneFamily>(
    packet: &mut Packet,
    service: &Service<F::Address>,
    to: &Adjacency,
) -> bool {
    let Some(link) = &to.rewrite else { return false };
    match link.untagged() {
        Some(link) if F::restore(packet.data_mut(), link, &service.restored) => true,
        _ => rename::<F>(packet, service, to),
    }
}

/// Gives an ordinary packet the name under which the client knows the AS, and the Ethernet header to
/// the client. False when there is no room in front of it; it is as it was then.
#[inline]
pub(super) fn rename<F: Readdress>(
    packet: &mut Packet,
    service: &Service<F::Address>,
    to: &Adjacency,
) -> bool {
    let Some(link) = &to.rewrite else { return false };
    let Some(l3) = set_link(packet, link) else { return false };
    F::readdress(packet.data_mut(), l3, Side::Source, &service.client_view, Some(service.port));
    true
}
