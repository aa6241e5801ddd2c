//! The last steps of a packet that leaves: TTL, size, waiting for a neighbour, the new header.

use std::net::Ipv4Addr;

use super::checksum;
use super::icmp::Error;
use super::ip4::Header;
use super::model::{Held, NewFlowOrder, Reference, Transit};
use super::outcome::Reason;
use super::reason;

/// Packets held at once, in all.
pub(super) const HELD_MAX: usize = 1024;
/// Packets held for one neighbour.
const HELD_PER_NEIGHBOR: usize = 64;
/// How long a packet is held, in seconds.
const HELD_S: u32 = 3;

impl Reference {
    /// Routes a packet towards `next_hop`.
    pub(super) fn forward(
        &mut self,
        transit: Transit,
        interface: u16,
        next_hop: Ipv4Addr,
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let mtu = self.config.interface(interface).mtu;
        if !transit.originated && header.ttl <= 1 {
            self.out.count(reason::TTL_EXPIRED);
            return self.error(transit, Error::TimeExceeded, table);
        }
        if header.total_len > mtu {
            if header.dont_fragment {
                self.out.count(reason::TOO_BIG_DF);
                return self.error(transit, Error::FragmentationNeeded { mtu }, table);
            }
            return self.out.drop(reason::TOO_BIG);
        }
        match self.config.neighbors.get(&(interface, next_hop)).copied() {
            Some(mac) => self.send(transit, interface, mac),
            None => self.hold(transit, interface, next_hop),
        }
    }

    /// Gives the packet its Ethernet header, and takes a hop off unless it is our own.
    fn send(&mut self, transit: Transit, interface: u16, mac: [u8; 6]) {
        let mut packet = transit.packet.clone();
        if !transit.originated {
            packet[8] -= 1;
            checksum::finish(&transit.packet, &mut packet);
        }
        let mut frame = mac.to_vec();
        frame.extend_from_slice(&self.config.interface(interface).mac);
        frame.extend_from_slice(&[0x08, 0x00]);
        frame.extend_from_slice(&packet);
        self.transmit(interface, frame);
    }

    /// Puts a frame on the wire.
    pub(super) fn transmit(&mut self, interface: u16, frame: Vec<u8>) {
        self.out.sent.push((interface, frame));
    }

    /// Counts a packet that ends here because it was dealt with.
    pub(super) fn end(&mut self, reason: Reason) {
        self.out.count(reason);
        self.out.consumed += 1;
    }

    /// Parks the packet until the neighbour answers, and asks for it at most once a second.
    fn hold(&mut self, transit: Transit, interface: u16, next_hop: Ipv4Addr) {
        let neighbor = (interface, next_hop);
        if self.held.len() >= HELD_MAX {
            return self.out.drop(reason::HOLD_FULL);
        }
        if self.asked_s.insert(neighbor, self.now_s) != Some(self.now_s) {
            self.out.needed.push(neighbor);
        }
        let same = |held: &&Held| (held.interface, held.next_hop) == neighbor;
        if self.held.iter().filter(same).count() >= HELD_PER_NEIGHBOR {
            return self.out.drop(reason::NEXT_HOP_FULL);
        }
        self.out.count(reason::HELD);
        self.held.push(Held { interface, next_hop, since_s: self.now_s, transit });
    }

    /// What happens to held packets once per turn: those whose neighbour is known by now leave,
    /// those that waited too long are dropped.
    pub(super) fn release_held(&mut self, table: &dyn NewFlowOrder) {
        for held in std::mem::take(&mut self.held) {
            let known = self.config.neighbors.contains_key(&(held.interface, held.next_hop));
            if known && self.config.interface(held.interface).up {
                self.out.count(reason::RELEASED);
                self.forward(held.transit, held.interface, held.next_hop, table);
            } else if self.now_s - held.since_s >= HELD_S {
                self.out.drop(reason::HOLD_TIMEOUT);
            } else {
                self.held.push(held);
            }
        }
        let held = &self.held;
        self.asked_s.retain(|(interface, next_hop), _| {
            held.iter().any(|h| h.interface == *interface && h.next_hop == *next_hop)
        });
    }
}
