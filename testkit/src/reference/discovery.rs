//! Neighbour discovery as a router and load balancer speaks it (RFC 4861 §7, RFC 4862 §5.4).

use std::net::{IpAddr, Ipv6Addr};

use super::checksum;
use super::config::{Interface, Kind, covers};
use super::ip::{Header, ICMP6, address6, is_link_local};
use super::model::{Reference, Transit};
use super::outcome::Reason;
use super::reason;
use super::upper::Upper;

/// All nodes of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The Ethernet address of that group (RFC 2464 §7).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// Type of a neighbour solicitation.
const SOLICITATION: u8 = 135;

/// The fields of a solicitation or an advertisement.
struct Message {
    solicitation: bool,
    /// Flags of an advertisement.
    solicited: bool,
    overriding: bool,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    /// The link-layer address option that belongs to the message.
    option: Option<[u8; 6]>,
    /// The link-layer address that counts: the option's, else the frame's source.
    mac: [u8; 6],
}

impl Message {
    /// A solicitation by somebody who does not have the address yet.
    fn is_probe(&self) -> bool {
        self.solicitation && self.source.is_unspecified()
    }
}

/// True for the group that solicitations for an address go to.
fn is_solicited_node(address: Ipv6Addr) -> bool {
    let s = address.segments();
    s[..6] == [0xff02, 0, 0, 0, 0, 1] && s[6] >> 8 == 0xff
}

/// The link-layer address of the first option of this type.
fn option(options: &[u8], wanted: u8) -> Result<Option<[u8; 6]>, Reason> {
    let (mut at, mut found) = (0, None);
    while at < options.len() {
        let len = options.get(at + 1).map_or(0, |len| usize::from(*len) * 8);
        if len == 0 || at + len > options.len() {
            return Err(reason::ND_OPTION);
        }
        if options[at] == wanted && found.is_none() {
            let mut mac = [0; 6];
            mac.copy_from_slice(&options[at + 2..at + 8]);
            found = Some(mac);
        }
        at += len;
    }
    Ok(found)
}

fn read(transit: &Transit, upper: &Upper) -> Result<Message, Reason> {
    let packet = &transit.packet;
    let header = Header::of(packet);
    let message = &packet[upper.at..header.total_len];
    if header.ttl != 255 {
        return Err(reason::ND_HOP_LIMIT);
    }
    if message[1] != 0 {
        return Err(reason::ND_CODE);
    }
    if message.len() < 24 {
        return Err(reason::ND_SHORT);
    }
    let solicitation = message[0] == SOLICITATION;
    let option = option(&message[24..], if solicitation { 1 } else { 2 })?;
    let read = Message {
        solicitation,
        solicited: message[4] & 0x40 != 0,
        overriding: message[4] & 0x20 != 0,
        source: address6(packet, 8),
        destination: address6(packet, 24),
        target: address6(message, 8),
        option,
        mac: option.unwrap_or(transit.link_source),
    };
    let wrong = if solicitation {
        read.source.is_unspecified()
            && (read.option.is_some() || !is_solicited_node(read.destination))
    } else {
        read.destination.is_multicast() && read.solicited
    };
    if wrong || read.target.is_multicast() {
        return Err(reason::ND_TARGET);
    }
    Ok(read)
}

impl Reference {
    /// A solicitation or an advertisement with a right checksum.
    pub(super) fn neighbor_discovery(&mut self, transit: &Transit, upper: &Upper) {
        let interface = self.config.interface(transit.rx).clone();
        let checked = read(transit, upper)
            .and_then(|read| self.check_teller(&interface, &read).map_or(Ok(read), Err));
        let message = match checked {
            Ok(message) => message,
            Err(reason) => return self.out.drop(reason),
        };
        if !message.solicitation {
            self.learn_advertised(transit.rx, &message);
            return self.end(reason::ND_RECEIVED);
        }
        let for_us = self.is_solicited_here(&interface, message.target);
        self.learn_solicitor(transit.rx, &interface, &message, for_us);
        if !for_us {
            return self.end(reason::ND_NOT_FOR_US);
        }
        self.out.count(reason::ND_ANSWERED);
        let to = if message.is_probe() { ALL_NODES_MAC } else { message.mac };
        let advertisement = advertisement(&message, interface.mac);
        let (port, frame) = self.framed(transit.rx, to, 0x86dd, &advertisement);
        self.transmit(port, frame);
    }

    /// What is wrong with who sent it.
    fn check_teller(&self, interface: &Interface, message: &Message) -> Option<Reason> {
        let mac = message.mac;
        let nobody = mac[0] & 1 == 1 || mac == [0; 6] || mac == interface.mac;
        // A tunnel carries no Ethernet.
        let tunnel = matches!(interface.kind, Kind::Tunnel { .. });
        if !message.is_probe() && nobody || tunnel {
            return Some(reason::ND_MAC);
        }
        let on_link = |address: Ipv6Addr| is_connected(interface, address);
        if message.solicitation {
            let good = message.is_probe() || on_link(message.source);
            return (!good).then_some(reason::ND_OFF_LINK);
        }
        let target = IpAddr::V6(message.target);
        if self.config.is_own(target) || self.is_vip(target) {
            return Some(reason::ND_CONFLICT);
        }
        (!on_link(message.target)).then_some(reason::ND_OFF_LINK)
    }

    /// We answer for the receiving interface's addresses, and for VIPs in its networks.
    fn is_solicited_here(&self, interface: &Interface, target: Ipv6Addr) -> bool {
        interface.addresses.iter().any(|(own, _)| *own == IpAddr::V6(target))
            || is_connected(interface, target) && self.is_vip(target.into())
    }

    /// Tells control about who asks: a new neighbour that speaks to us, a known one that moved.
    fn learn_solicitor(&mut self, rx: u16, interface: &Interface, message: &Message, for_us: bool) {
        if message.is_probe()
            || message.option.is_none()
            || !is_connected(interface, message.source)
        {
            return;
        }
        let sender = IpAddr::V6(message.source);
        let news = match self.config.neighbors.get(&(rx, sender)) {
            Some(known) => *known != message.mac,
            None => for_us,
        };
        if news {
            self.out.seen.push((rx, sender, message.mac));
        }
    }

    /// Tells control about who answers: every answer to us, and known neighbours that moved. One
    /// that does not override changes no known address.
    fn learn_advertised(&mut self, rx: u16, message: &Message) {
        let target = IpAddr::V6(message.target);
        let for_us = !message.destination.is_multicast();
        let news = match self.config.neighbors.get(&(rx, target)) {
            Some(known) if *known == message.mac => for_us,
            Some(_) => message.overriding,
            None => for_us,
        };
        if news {
            self.out.seen.push((rx, target, message.mac));
        }
    }
}

/// True for an address that hosts on the link can have: every link has link-local ones.
fn is_connected(interface: &Interface, address: Ipv6Addr) -> bool {
    is_link_local(address.into())
        || interface.addresses.iter().any(|(own, len)| covers(*own, *len, address.into()))
}

/// The answer to a solicitation: router, override, and solicited unless nobody has asked.
fn advertisement(message: &Message, mac: [u8; 6]) -> Vec<u8> {
    let to = if message.is_probe() { ALL_NODES } else { message.source };
    let flags = if message.is_probe() { 0xa0 } else { 0xe0 };
    let mut packet = vec![0x60, 0, 0, 0, 0, 32, ICMP6, 255];
    packet.extend_from_slice(&message.target.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(&[136, 0, 0, 0, flags, 0, 0, 0]);
    packet.extend_from_slice(&message.target.octets());
    packet.extend_from_slice(&[2, 1]);
    packet.extend_from_slice(&mac);
    checksum::seal(&mut packet);
    packet
}
