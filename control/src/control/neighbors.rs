//! Between the neighbour table and the network.

use dataplane::event::Request;
use dataplane::interface::{InterfaceId, MacAddress};
use dataplane::packet::Packet;

use super::Control;
use crate::model::{Ip4Network, NeighborKey};
use crate::neighbor::{Update, arp};

impl Control {
    /// Sends what the neighbour table wants sent, and notes what it has to say.
    pub(super) fn carry_out(&mut self, update: Update) {
        self.dirty |= update.changed;
        for action in update.actions {
            let (interface, target) = action.neighbor;
            let Some(link) = self.model.interface(interface) else { continue };
            let Some(own) = link.source_for(target) else { continue };
            let frame = arp::request(link.mac, own, target, action.to);
            self.transmit(interface, &frame);
        }
        for (interface, address) in update.failed {
            let name = self.model.interface(interface).map_or("?", |link| &link.name);
            tracing::warn!("neighbor {address} on {name} does not answer");
        }
    }

    /// A packet waits for a neighbour.
    pub(super) fn neighbor_needed(&mut self, key: NeighborKey) {
        if self.can_be_neighbor(key) && !self.model.static_neighbors.contains_key(&key) {
            let update = self.neighbors.need(key, self.now_ms);
            self.carry_out(update);
        }
    }

    /// ARP said where a neighbour is.
    pub(super) fn neighbor_seen(&mut self, key: NeighborKey, mac: MacAddress) {
        if self.can_be_neighbor(key) && !self.model.static_neighbors.contains_key(&key) {
            let update = self.neighbors.seen(key, mac, self.now_ms);
            self.carry_out(update);
        }
    }

    /// True for hosts on a network of an interface that is up, other than ourselves.
    fn can_be_neighbor(&self, (interface, address): NeighborKey) -> bool {
        let Some(link) = self.model.interface(interface).filter(|link| link.up) else {
            return false;
        };
        let on_link =
            link.addresses.iter().any(|own| Ip4Network::of(*own).is_host_address(address));
        on_link
            && self.model.owner_of(address).is_none()
            && self.model.lb.on_address(address).next().is_none()
    }

    /// Sends a complete Ethernet frame. What cannot be sent is lost, as on any network.
    pub(super) fn transmit(&mut self, interface: InterfaceId, frame: &[u8]) {
        if let Some(packet) = self.packet(frame) {
            self.request(Request::Transmit { interface, packet });
        }
    }

    /// Routes an IPv4 packet, which follows 14 bytes of room for the Ethernet header.
    pub(crate) fn route(&mut self, bytes: &[u8]) -> bool {
        match self.packet(bytes) {
            Some(packet) => self.request(Request::Route { packet }),
            None => false,
        }
    }

    fn packet(&mut self, bytes: &[u8]) -> Option<Packet> {
        let mut packet = self.hardware.alloc()?;
        if packet.assign(bytes) {
            return Some(packet);
        }
        self.hardware.free(&mut vec![packet]);
        None
    }

    /// Puts a packet into the mailbox of the first worker that has room.
    fn request(&mut self, mut request: Request) -> bool {
        for worker in &self.workers {
            match worker.shared.request(request) {
                Ok(()) => return true,
                Err(refused) => request = refused,
            }
        }
        if let Request::Transmit { packet, .. } | Request::Route { packet } = request {
            self.hardware.free(&mut vec![packet]);
        }
        false
    }
}
