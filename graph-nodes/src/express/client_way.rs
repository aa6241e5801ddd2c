//! The way of an AS's reply to the client, and [`ClientWays`]: where clients are, remembered.

use balancer::Address;
use dataplane::adjacency::{Adjacency, AdjacencyId};
use dataplane::family::Family;
use dataplane::fib::FibEntry;
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;

use super::readdress::{Readdress, Side};
use super::server_way::set_link;
use super::services::Service;

/// How many ranges of clients are remembered.
const RANGES: usize = 64;

/// Addresses of IPv6 clients that have one next hop.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    /// Of the snapshot that says so; 0 in an empty one.
    generation: u64,
    first: u128,
    /// The last one less the first.
    width: u128,
    /// `None` where no packet may go.
    hop: Option<AdjacencyId>,
}

/// Made of what the FIB says: another snapshot empties it. Most clients are behind the default route,
/// in a few wide ranges between the prefixes of others.
#[derive(Debug)]
pub(super) struct ClientWays(Box<[Range; RANGES]>);

impl Default for ClientWays {
    fn default() -> Self {
        Self(Box::new([Range::default(); RANGES]))
    }
}

/// What the FIB says of a client.
fn hop<F: Family>(snapshot: &Snapshot, client: F::Address) -> Option<AdjacencyId> {
    match F::lookup(snapshot, client) {
        FibEntry::Adjacency(id) => Some(id),
        _ => None,
    }
}

impl ClientWays {
    /// The next hop towards a client, if a packet of so many bytes can leave for it at once.
    #[inline]
    pub(super) fn next_hop<'s, F: Family>(
        &mut self,
        snapshot: &'s Snapshot,
        client: F::Address,
        len: u16,
    ) -> Option<&'s Adjacency> {
        let id =
            if F::V6 { self.remembered::<F>(snapshot, client) } else { hop::<F>(snapshot, client) };
        let adjacency = snapshot.adjacency(id?)?;
        let open =
            adjacency.rewrite.is_some() && adjacency.tunnel.is_none() && len <= adjacency.mtu;
        open.then_some(adjacency)
    }

    #[inline]
    fn remembered<F: Family>(
        &mut self,
        snapshot: &Snapshot,
        client: F::Address,
    ) -> Option<AdjacencyId> {
        let bits = client.bits();
        // Clients of one network share a cell; those of several need not be in one range.
        let network = (bits >> 80) as u64;
        let at = (network.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % RANGES;
        let range = &mut self.0[at];
        if range.generation != snapshot.generation || bits.wrapping_sub(range.first) > range.width {
            range.learn::<F>(snapshot, client);
        }
        range.hop
    }
}

impl Range {
    /// Makes this the range of a client.
    #[cold]
    #[inline(never)]
    fn learn<F: Family>(&mut self, snapshot: &Snapshot, client: F::Address) {
        let (first, last) = F::around(snapshot, client);
        *self = Self {
            generation: snapshot.generation,
            first: first.bits(),
            width: last.bits() - first.bits(),
            hop: hop::<F>(snapshot, client),
        };
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
