//! [`ClientWay`]: the way of an AS's replies to clients behind one next hop.

use dataplane::adjacency::{AdjacencyId, L2Header};
use dataplane::interface::{InterfaceId, MacAddress};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;

use super::ordinary::L3;
use super::readdress::{Readdress, Side};
use super::server_way::set_link;
use super::services::Service;

/// How packets get to clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientWay {
    link: L2Header,
    /// Where they leave.
    pub(super) interface: InterfaceId,
    /// The largest packet that may take this way, in bytes; 0 when none may.
    largest: u16,
}

impl ClientWay {
    /// A way that no packet can take.
    pub(super) fn closed() -> Self {
        let nobody = MacAddress([0; 6]);
        let link = L2Header::new(nobody, nobody, &[], 0);
        Self { link, interface: InterfaceId::LOCAL0, largest: 0 }
    }

    /// The way by a next hop.
    pub(super) fn by(snapshot: &Snapshot, hop: AdjacencyId) -> Self {
        let adjacency = snapshot.adjacency(hop).filter(|adjacency| adjacency.tunnel.is_none());
        let way = adjacency.and_then(|adjacency| {
            let link = adjacency.rewrite?;
            Some(Self { link, interface: adjacency.interface, largest: adjacency.mtu })
        });
        way.unwrap_or_else(Self::closed)
    }

    /// The bytes of the largest packet that may take it; 0 when none may.
    #[inline(always)]
    pub(super) fn largest(&self) -> u16 {
        self.largest
    }

    /// The Ethernet header, if it has no tags.
    #[inline(always)]
    pub(super) fn untagged(&self) -> Option<&[u8; L3]> {
        self.link.untagged()
    }

    /// Whether a packet of so many bytes may take it.
    #[inline(always)]
    pub(super) fn takes(&self, len: u16) -> bool {
        len <= self.largest
    }

    /// Gives an ordinary packet the name under which the client knows the AS, and the Ethernet header
    /// to the client. False when there is no room in front of it; it is as it was then.
    #[inline]
    pub(super) fn rename<F: Readdress>(
        &self,
        packet: &mut Packet,
        service: &Service<F::Address>,
    ) -> bool {
        let Some(l3) = set_link(packet, &self.link) else { return false };
        F::readdress(packet.data_mut(), l3, Side::Source, &service.client_view, Some(service.port));
        true
    }
}
