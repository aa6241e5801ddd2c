//! Between the neighbour table and the network.

use std::net::IpAddr;

use dataplane::event::Request;
use dataplane::interface::{InterfaceId, MacAddress};
use dataplane::packet::Packet;
use dataplane::wire::ethernet::ether_type;

use super::Control;
use crate::model::NeighborKey;
use crate::neighbor::{Action, Update, arp, discovery};

impl Control {
    /// Sends what the neighbour table wants sent, and notes what it has to say.
    pub(super) fn carry_out(&mut self, update: Update) {
        self.dirty |= update.changed;
        for action in update.actions {
            self.ask(action);
        }
        for (interface, address) in update.failed {
            if !self.failures.allow((self.now_ms / 1_000) as u32) {
                // A scan asks for very many; `show ip neighbors` has them.
                continue;
            }
            tracing::warn!(
                "neighbor {address} on {} does not answer",
                self.model.name_of(interface)
            );
        }
    }

    /// Asks for a neighbour.
    fn ask(&mut self, Action { neighbor: (interface, target), to }: Action) {
        let Some(link) = self.model.interface(interface) else { return };
        match (link.source_for(target), target) {
            (Some(IpAddr::V4(own)), IpAddr::V4(target)) => {
                let message = arp::request(link.mac, own, target);
                let to = to.unwrap_or(MacAddress::BROADCAST);
                self.transmit(interface, to, ether_type::ARP, &message);
            }
            (Some(IpAddr::V6(own)), IpAddr::V6(target)) => {
                let asked = discovery::solicitation(link.mac, own, target, to);
                self.transmit(interface, asked.to, ether_type::IPV6, &asked.packet);
            }
            _ => {}
        }
    }

    /// A packet waits for a neighbour.
    pub(super) fn neighbor_needed(&mut self, key: NeighborKey) {
        if self.can_be_neighbor(key) && !self.model.static_neighbors.contains_key(&key) {
            let update = self.neighbors.need(key, self.now_ms);
            self.carry_out(update);
        }
    }

    /// ARP or neighbour discovery said where a neighbour is.
    pub(super) fn neighbor_seen(&mut self, key: NeighborKey, mac: MacAddress) {
        if self.announcements.is_ours(key) {
            self.conflict(key, mac);
        } else if self.can_be_neighbor(key) && !self.model.static_neighbors.contains_key(&key) {
            let update = self.neighbors.seen(key, mac, self.now_ms);
            self.carry_out(update);
        }
    }

    /// True for hosts on a network of an interface that is up, other than ourselves.
    fn can_be_neighbor(&self, (interface, address): NeighborKey) -> bool {
        let link = self.model.interface(interface).filter(|link| link.is_ethernet());
        link.is_some_and(|link| self.model.is_up(interface) && link.can_have_neighbor(address))
            && self.model.owner_of(address).is_none()
            // An AS may lie in a prefix with VIPs.
            && (self.neighbors.is_needed((interface, address))
                || self.model.lb.prefix_of(address).is_none_or(|vips| !self.takes(interface, vips)))
    }

    /// True when a prefix with VIPs takes the packets of hosts on a link.
    fn takes(&self, interface: InterfaceId, vips: crate::model::Network) -> bool {
        let link = self.model.interface(interface);
        let connected = link.and_then(|l| l.own_addresses().find(|own| own.contains(vips.address)));
        vips.is_host() || connected.is_some_and(|own| vips.prefix_len >= own.prefix_len)
    }

    /// Sends a frame. What cannot be sent is lost, as on any network.
    pub(super) fn transmit(
        &mut self,
        interface: InterfaceId,
        to: MacAddress,
        ether_type: u16,
        payload: &[u8],
    ) {
        let Some(link) = self.model.interface(interface) else { return };
        let header = link.l2_header(to, ether_type);
        if let Some(packet) = self.packet(&[header.as_bytes(), payload].concat()) {
            self.request(Request::Transmit { interface, packet });
        }
    }

    /// Routes an IP packet, which follows 14 bytes of room for the Ethernet header.
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
