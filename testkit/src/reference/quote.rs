//! The packet that an ICMP error is about, as far as the error quotes it.

use std::net::IpAddr;

use super::checksum;
use super::ip::{Header, TCP, UDP, has_ports, octets, set_destination, set_source, set_word, word};
use super::upper::{Tuple, Upper};

/// A quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    /// Where it starts in the packet that quotes it.
    at: usize,
    /// Where its upper layer is, counted from its own start.
    upper: Upper,
    /// It is a later fragment, which has no ports.
    pub(super) later: bool,
    /// Addresses and ports as it was sent.
    pub(super) tuple: Tuple,
}

impl Quote {
    /// The quote in an ICMP error of at least 8 bytes; `None` if it is of another family or has
    /// less than 8 bytes of its upper layer (RFC 792).
    pub(super) fn of(packet: &[u8], icmp: &Upper) -> Option<Self> {
        let outer = Header::of(packet);
        let at = icmp.at + 8;
        let quoted = &packet[at..outer.total_len];
        let (version, least) = if outer.v6 { (6, 40) } else { (4, 20) };
        if quoted.len() < least || quoted[0] >> 4 != version {
            return None;
        }
        let header = Header::of(quoted);
        if header.header_len < least || quoted.len() < header.header_len {
            return None;
        }
        // A header that says of its packet that it is shorter than the header.
        if header.total_len < header.header_len {
            return None;
        }
        let upper = Upper::of(quoted).ok()?;
        if quoted.len() < upper.at + 8 {
            return None;
        }
        let later = upper.is_later();
        let ports = has_ports(upper.protocol) && !later;
        let port = |at| if ports { word(quoted, upper.at + at) } else { 0 };
        let tuple = Tuple {
            source: header.source,
            destination: header.destination,
            source_port: port(0),
            destination_port: port(2),
            protocol: upper.protocol,
        };
        Some(Self { at, upper, later, tuple })
    }

    /// Gives the quoted packet another source or destination address and port, and keeps all its
    /// checksums as right as they were. What they cover is not all here: they are updated.
    pub(super) fn translate(&self, packet: &mut [u8], source: bool, to: (IpAddr, u16)) {
        let end = Header::of(packet).total_len;
        let quoted = &mut packet[self.at..end];
        let (address, port) = if source {
            (self.tuple.source, self.tuple.source_port)
        } else {
            (self.tuple.destination, self.tuple.destination_port)
        };
        let (before, after) = (octets(address), octets(to.0));
        if source {
            set_source(quoted, to.0)
        } else {
            set_destination(quoted, to.0)
        }
        if to.0.is_ipv4() {
            let sum = checksum::updated(word(quoted, 10), &before, &after);
            set_word(quoted, 10, sum);
        }
        let l4 = self.upper.at;
        set_word(quoted, l4 + if source { 0 } else { 2 }, to.1);
        let field = match self.tuple.protocol {
            TCP => l4 + 16,
            UDP => l4 + 6,
            _ => return,
        };
        let absent = self.tuple.protocol == UDP && quoted.get(field..field + 2) == Some(&[0, 0]);
        if quoted.len() < field + 2 || absent {
            return;
        }
        let before = [before, port.to_be_bytes().to_vec()].concat();
        let after = [after, to.1.to_be_bytes().to_vec()].concat();
        let sum = checksum::updated(word(quoted, field), &before, &after);
        let sum = if sum == 0 && self.tuple.protocol == UDP { 0xffff } else { sum };
        set_word(quoted, field, sum);
    }
}
