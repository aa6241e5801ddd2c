//! The last steps of a packet that leaves: hops, size, waiting for a neighbour, the new header.

use std::net::IpAddr;

use super::checksum;
use super::error::Error;
use super::ip::{Header, set_ttl};
use super::model::{Held, NewFlowOrder, Reference, Transit};
use super::outcome::Reason;
use super::reason;
use super::route::is_up;

/// Packets held at once, in all of a family.
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
        next_hop: IpAddr,
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let mtu = self.config.interface(interface).mtu;
        if !transit.originated && header.ttl <= 1 {
            self.out.count(texts.ttl_expired);
            return self.error(transit, Error::TimeExceeded, table);
        }
        if header.total_len > mtu {
            if header.dont_fragment {
                self.out.count(texts.too_big);
                return self.error(transit, Error::TooBig { mtu, from_vip: false }, table);
            }
            return self.out.drop(reason::TOO_BIG);
        }
        if self.is_tunnel(interface) {
            return self.tunnel_output(transit, interface, table);
        }
        match self.config.neighbors.get(&(interface, next_hop)).copied() {
            Some(mac) => self.send(transit, interface, mac),
            None => self.hold(transit, interface, next_hop),
        }
    }

    /// Takes a hop off a packet unless it is our own.
    pub(super) fn hop(transit: &mut Transit) {
        if !transit.originated {
            let ttl = Header::of(&transit.packet).ttl;
            set_ttl(&mut transit.packet, ttl - 1);
            checksum::seal_header(&mut transit.packet);
        }
    }

    /// Gives the packet its Ethernet header.
    fn send(&mut self, mut transit: Transit, interface: u16, mac: [u8; 6]) {
        Self::hop(&mut transit);
        let kind = if transit.packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
        let (port, frame) = self.framed(interface, mac, kind, &transit.packet);
        self.transmit(port, frame);
    }

    /// Puts a frame on the wire.
    pub(super) fn transmit(&mut self, port: u16, frame: Vec<u8>) {
        self.out.sent.push((port, frame));
    }

    /// Counts a packet that ends here because it was dealt with.
    pub(super) fn end(&mut self, reason: Reason) {
        self.out.count(reason);
        self.out.consumed += 1;
    }

    /// Parks the packet until the neighbour answers, and asks for it at most once a second.
    fn hold(&mut self, transit: Transit, interface: u16, next_hop: IpAddr) {
        let neighbor = (interface, next_hop);
        let (v6, now_s) = (next_hop.is_ipv6(), self.now_s);
        let texts = reason::of(v6);
        let family = self.family(v6);
        if family.held.len() >= HELD_MAX {
            return self.out.drop(texts.hold_full);
        }
        let same = |held: &&Held| (held.interface, held.next_hop) == neighbor;
        let full = family.held.iter().filter(same).count() >= HELD_PER_NEIGHBOR;
        let ask = family.asked_s.insert(neighbor, now_s) != Some(now_s);
        if !full {
            family.held.push(Held { interface, next_hop, since_s: now_s, transit });
        }
        if ask {
            self.out.needed.push(neighbor);
        }
        if full { self.out.drop(texts.next_hop_full) } else { self.out.count(texts.held) }
    }

    /// What happens to held packets once per turn: those whose neighbour is known by now leave,
    /// those that waited too long are dropped.
    pub(super) fn release_held(&mut self, v6: bool, table: &dyn NewFlowOrder) {
        let texts = reason::of(v6);
        for held in std::mem::take(&mut self.family(v6).held) {
            let known = self.config.neighbors.contains_key(&(held.interface, held.next_hop));
            if known && is_up(&self.config, held.interface) {
                self.out.count(texts.released);
                self.forward(held.transit, held.interface, held.next_hop, table);
            } else if self.now_s - held.since_s >= HELD_S {
                self.out.drop(texts.hold_timeout);
            } else {
                self.family(v6).held.push(held);
            }
        }
        let family = self.family(v6);
        let held = &family.held;
        family.asked_s.retain(|(interface, next_hop), _| {
            held.iter().any(|h| h.interface == *interface && h.next_hop == *next_hop)
        });
    }
}
