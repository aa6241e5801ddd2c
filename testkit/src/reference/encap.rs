//! The ways to an AS.

use std::net::IpAddr;

use super::checksum;
use super::error::Error;
use super::ip::{Header, set_destination, set_tos, set_word};
use super::model::{NewFlowOrder, Reference, Transit};
use super::outer::Wrap;
use super::quote::Quote;
use super::reason;
use super::route::{Destination, route};
use super::service::{Method, Vip};
use super::tunnel_settings::TooBig;
use super::upper::{Tuple, Upper};

/// What kind of packet is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// A whole packet or a first fragment.
    Whole(Upper),
    /// A later fragment.
    Later,
    /// An ICMP error about a flow.
    Error(Upper, Quote),
}

/// A packet on its way to an AS whose link is known.
struct Way<'a> {
    transit: &'a Transit,
    /// What the flow's hash is of.
    flow: &'a Tuple,
    method: Method,
    server: IpAddr,
    interface: u16,
    next_hop: IpAddr,
}

impl Method {
    /// What it puts around packets; `None` if it changes them instead.
    fn wrap(self) -> Option<Wrap> {
        match self {
            Self::Gre4 | Self::Gre6 => Some(Wrap::Gre),
            Self::Ipip => Some(Wrap::Plain),
            Self::Gue => Some(Wrap::Gue),
            Self::L3dsr { .. } | Self::Dr | Self::Nat => None,
        }
    }
}

impl Reference {
    /// Bytes that the way to an AS adds.
    pub(super) fn overhead(&self, vip: &Vip, server: IpAddr) -> Option<usize> {
        let wrap = self.server(vip, server)?.method.wrap();
        Some(wrap.map_or(0, |wrap| wrap.overhead(server.is_ipv6())))
    }

    /// Sends a client's packet to an AS of a VIP.
    pub(super) fn send_to_server(
        &mut self,
        transit: &Transit,
        vip: &Vip,
        server: IpAddr,
        flow: &Tuple,
        load: &Load,
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let counts = self.out.servers.entry((vip.key, server)).or_default();
        counts.packets += 1;
        counts.bytes += header.total_len as u64;
        let method = self.server(vip, server).map_or(vip.method, |server| server.method);
        let texts = reason::method(header.v6, method, server.is_ipv6());
        let Destination::Neighbor { interface, next_hop } = route(&self.config, server) else {
            return self.out.drop(texts.no_route);
        };
        let way = Way { transit, flow, method, server, interface, next_hop };
        if let Some(wrap) = method.wrap() {
            return self.encapsulate(&way, wrap, table);
        }
        let mtu = self.config.interface(interface).mtu;
        if header.total_len > mtu {
            if !header.dont_fragment {
                return self.out.drop(texts.mtu);
            }
            self.out.count(texts.mtu_df);
            let error = Error::TooBig { mtu, from_vip: false };
            return self.error(transit.clone(), error, table);
        }
        let sent = match method {
            Method::L3dsr { dscp } => marked(transit, server, dscp, load),
            Method::Nat => {
                let port = if *load == Load::Later { 0 } else { self.port_at(vip, flow) };
                translated(transit, (server, port), load)
            }
            // As our own it keeps its hops.
            _ => Transit { originated: true, ..transit.clone() },
        };
        self.forward(sent, interface, next_hop, table);
    }

    /// The AS's port for a client's packet.
    fn port_at(&self, vip: &Vip, flow: &Tuple) -> u16 {
        vip.target_port(flow.destination_port, self.is_through_node_port(vip, flow))
    }

    /// Puts a header of our own around a packet.
    fn encapsulate(&mut self, way: &Way<'_>, wrap: Wrap, table: &dyn NewFlowOrder) {
        let header = Header::of(&way.transit.packet);
        let texts = reason::method(header.v6, way.method, way.server.is_ipv6());
        let v6 = way.server.is_ipv6();
        let Some(source) = self.tunnel_source(way.interface, way.server) else {
            return self.out.drop(texts.no_source);
        };
        let mtu = self.config.interface(way.interface).mtu;
        let room = self.room_to(way.interface, wrap.overhead(v6));
        let settings = self.config.tunnels;
        let mut fragmented = false;
        if header.total_len > room {
            // A small IPv6 packet has to get through, and its sender cannot help (RFC 2473 §7.1).
            let helps = if header.v6 { header.total_len > 1280 } else { header.dont_fragment };
            if helps {
                self.out.count(texts.sender_told);
                let mtu = if header.v6 { room.max(1280) } else { room };
                let error = Error::TooBig { mtu, from_vip: true };
                return self.error(way.transit.clone(), error, table);
            }
            if settings.too_big == TooBig::Drop {
                return self.out.drop(texts.too_big);
            }
            fragmented = true;
        }
        let inner = &way.transit.packet[..header.total_len];
        let entropy = table.entropy(way.flow);
        let mut packet =
            super::outer::wrapped(inner, wrap, (source, way.server), &settings, entropy);
        if fragmented && !v6 {
            packet[6] = 0;
        }
        self.identify(&mut packet);
        let packets = if fragmented {
            self.out.count(texts.fragmented);
            // Copies beyond the first are made here.
            let pieces = self.outer_fragments(&packet, mtu);
            self.out.made += pieces.len() as u64 - 1;
            pieces
        } else {
            vec![packet]
        };
        for packet in packets {
            let sent = Transit { packet, originated: true, ..way.transit.clone() };
            self.forward(sent, way.interface, way.next_hop, table);
        }
    }

    /// Gives an outer IPv4 packet that may be fragmented an identification of its own (RFC 6864).
    pub(super) fn identify(&mut self, packet: &mut [u8]) {
        if packet[0] >> 4 == 4 {
            if packet[6] & 0x40 == 0 {
                let worker = self.mine();
                worker.outer_id = worker.outer_id.wrapping_add(1);
                let id = worker.outer_id as u16;
                set_word(packet, 4, id);
            }
            checksum::seal_header(packet);
        }
    }

    /// The outer source: configured, or the address of the interface nearest to the AS.
    fn tunnel_source(&self, interface: u16, server: IpAddr) -> Option<IpAddr> {
        let configured = self.config.tunnels.source(server.is_ipv6());
        let own = &self.config.interface(interface).addresses;
        let own = own.iter().filter(|(own, _)| own.is_ipv6() == server.is_ipv6());
        let near = own.clone().find(|(own, len)| super::config::covers(*own, *len, server));
        let first = || near.or(own.clone().next()).map(|(own, _)| *own);
        configured.or_else(first)
    }
}

/// The packet with the AS's address and the DSCP that tells it of the VIP; ECN stays.
fn marked(transit: &Transit, server: IpAddr, dscp: u8, load: &Load) -> Transit {
    let mut packet = transit.packet.clone();
    let ecn = Header::of(&packet).tos & 3;
    set_destination(&mut packet, server);
    set_tos(&mut packet, dscp << 2 | ecn);
    match load {
        Load::Whole(upper) | Load::Error(upper, _) => {
            checksum::finish(&transit.packet, &mut packet, upper);
        }
        Load::Later => checksum::seal_header(&mut packet),
    }
    Transit { packet, ..transit.clone() }
}

/// The packet with the AS's address and port.
fn translated(transit: &Transit, to: (IpAddr, u16), load: &Load) -> Transit {
    let mut packet = transit.packet.clone();
    set_destination(&mut packet, to.0);
    match load {
        Load::Whole(upper) => {
            set_word(&mut packet, upper.at + 2, to.1);
            checksum::finish(&transit.packet, &mut packet, upper);
        }
        Load::Later => checksum::seal_header(&mut packet),
        Load::Error(upper, quote) => {
            quote.translate(&mut packet, true, to);
            finish_error(&transit.packet, &mut packet, upper);
        }
    }
    Transit { packet, ..transit.clone() }
}

/// Keeps the checksum of a changed ICMP error as right as it was.
pub(super) fn finish_error(before: &[u8], after: &mut [u8], upper: &Upper) {
    checksum::finish(before, after, upper);
    let header = Header::of(after);
    if !header.v6 {
        let error = checksum::error(&before[upper.at..header.total_len]);
        checksum::keep_error(&mut after[upper.at..header.total_len], 2, error);
    }
}
