//! ARP as a router and load balancer speaks it (RFC 826, RFC 5227 probes).

use std::net::{IpAddr, Ipv4Addr};

use super::config::{Interface, covers};
use super::ip::{address4, word};
use super::model::Reference;
use super::outcome::Reason;
use super::reason;

/// Bytes of a message for IPv4 over Ethernet.
const MESSAGE_LEN: usize = 28;

/// The fields of a message.
struct Message {
    request: bool,
    sender_mac: [u8; 6],
    sender: Ipv4Addr,
    target: Ipv4Addr,
}

fn read(bytes: &[u8]) -> Result<Message, Reason> {
    if bytes.len() < MESSAGE_LEN {
        return Err(reason::ARP_SHORT);
    }
    if word(bytes, 0) != 1 || bytes[4] != 6 {
        return Err(reason::ARP_NOT_ETHERNET);
    }
    if word(bytes, 2) != 0x0800 || bytes[5] != 4 {
        return Err(reason::ARP_NOT_IP4);
    }
    let operation = word(bytes, 6);
    if operation != 1 && operation != 2 {
        return Err(reason::ARP_OPERATION);
    }
    let mut sender_mac = [0; 6];
    sender_mac.copy_from_slice(&bytes[8..14]);
    Ok(Message {
        request: operation == 1,
        sender_mac,
        sender: address4(bytes, 14),
        target: address4(bytes, 24),
    })
}

/// True when the message asks who uses an address before anybody does (RFC 5227 §2.1.1).
fn is_probe(message: &Message) -> bool {
    message.request && message.sender == Ipv4Addr::UNSPECIFIED
}

impl Reference {
    pub(super) fn arp_input(&mut self, rx: u16, message: &[u8]) {
        let interface = self.config.interface(rx).clone();
        let checked = read(message)
            .and_then(|parsed| self.check_sender(&interface, &parsed).map_or(Ok(parsed), Err));
        let parsed = match checked {
            Ok(parsed) => parsed,
            Err(reason) => return self.out.drop(reason),
        };
        let for_us = self.answers_for(&interface, parsed.target);
        self.learn(rx, &parsed, for_us);
        match (for_us, parsed.request) {
            (true, true) => {
                self.out.count(reason::ARP_ANSWERED);
                let mut reply = vec![0, 1, 0x08, 0x00, 6, 4, 0, 2];
                reply.extend_from_slice(&interface.mac);
                reply.extend_from_slice(&parsed.target.octets());
                reply.extend_from_slice(&parsed.sender_mac);
                reply.extend_from_slice(&parsed.sender.octets());
                // Padding goes back as it came.
                reply.extend_from_slice(&message[MESSAGE_LEN..]);
                let (port, frame) = self.framed(rx, parsed.sender_mac, 0x0806, &reply);
                self.transmit(port, frame);
            }
            (true, false) => self.end(reason::ARP_REPLY_RECEIVED),
            (false, _) => self.end(reason::ARP_NOT_FOR_US),
        }
    }

    /// What is wrong with who sent it.
    fn check_sender(&self, interface: &Interface, message: &Message) -> Option<Reason> {
        let mac = message.sender_mac;
        if mac[0] & 1 == 1 || mac == [0; 6] {
            return Some(reason::ARP_SENDER_MAC);
        }
        if mac == interface.mac {
            return Some(reason::ARP_OURS);
        }
        if is_probe(message) {
            return None;
        }
        if self.config.is_own(message.sender.into()) || self.is_vip(message.sender.into()) {
            return Some(reason::ARP_CONFLICT);
        }
        let on_link = |(own, len): &(IpAddr, u8)| covers(*own, *len, message.sender.into());
        (!interface.addresses.iter().any(on_link)).then_some(reason::ARP_OFF_LINK)
    }

    /// We answer for the receiving interface's addresses, not for those of others, and for VIPs.
    fn answers_for(&self, interface: &Interface, target: Ipv4Addr) -> bool {
        let target = IpAddr::V4(target);
        interface.addresses.iter().any(|(own, _)| *own == target) || self.is_vip(target)
    }

    /// Tells control about the sender: a new neighbour that speaks to us, a known one that moved,
    /// and every reply to us (RFC 826's merge, and probing).
    fn learn(&mut self, rx: u16, message: &Message, for_us: bool) {
        if is_probe(message) {
            return;
        }
        let sender = IpAddr::V4(message.sender);
        let news = match self.config.neighbors.get(&(rx, sender)) {
            Some(known) => *known != message.sender_mac || (for_us && !message.request),
            None => for_us,
        };
        if news {
            self.out.seen.push((rx, sender, message.sender_mac));
        }
    }
}
