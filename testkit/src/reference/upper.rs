//! Where the upper-layer header of a packet is, and whether the packet is a fragment: the IPv4
//! header tells, in IPv6 the extension headers are walked (RFC 8200 §4).

use std::net::IpAddr;

use super::ip::{Header, TCP, has_ports, long, word};

/// Extension headers that are walked at most.
const EXTENSIONS_MAX: usize = 8;

/// A piece of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Place in the datagram, in units of 8 bytes.
    pub offset: u16,
    /// More follow.
    pub more: bool,
    /// Identification.
    pub id: u32,
}

/// The upper layer of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Protocol number. Of a later IPv6 fragment: what its fragment header names.
    pub protocol: u8,
    /// Offset of the upper-layer header, or of a later fragment's data.
    pub at: usize,
    /// Set for pieces of datagrams, not for atomic fragments (RFC 6946).
    pub fragment: Option<Fragment>,
}

/// Why the upper layer of an IPv6 packet was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// An extension header ends behind the packet, or stands where it must not.
    Truncated,
    /// More extension headers than anybody needs.
    TooMany,
    /// The packet is to go on to somewhere else (RFC 8200 §4.4, RFC 5095).
    Routed,
}

impl Upper {
    /// Finds the upper layer of a packet whose lengths are right.
    pub fn of(packet: &[u8]) -> Result<Self, Lost> {
        let header = Header::of(packet);
        if header.v6 {
            return Self::walk(&packet[..header.total_len.min(packet.len())], header.protocol);
        }
        let field = word(packet, 6);
        let fragment = (field & 0x3fff != 0).then(|| Fragment {
            offset: field & 0x1fff,
            more: field & 0x2000 != 0,
            id: u32::from(word(packet, 4)),
        });
        Ok(Self { protocol: header.protocol, at: header.header_len, fragment })
    }

    fn walk(packet: &[u8], first: u8) -> Result<Self, Lost> {
        let mut upper = Self { protocol: first, at: 40, fragment: None };
        let mut piece = false;
        for walked in 0.. {
            // Hop-by-hop options, routing, fragment, authentication, destination options.
            if !matches!(upper.protocol, 0 | 43 | 44 | 51 | 60) {
                return Ok(upper);
            }
            // Hop-by-hop options come first or not at all (RFC 8200 §4.1).
            if upper.protocol == 0 && walked > 0 {
                return Err(Lost::Truncated);
            }
            if walked == EXTENSIONS_MAX {
                return Err(Lost::TooMany);
            }
            let rest = packet.get(upper.at..).filter(|rest| rest.len() >= 8);
            let rest = rest.ok_or(Lost::Truncated)?;
            let len = match upper.protocol {
                44 => 8,
                // RFC 4302 §2.2: in units of 4 bytes, less 2.
                51 => (usize::from(rest[1]) + 2) * 4,
                _ => (usize::from(rest[1]) + 1) * 8,
            };
            // A fragment of a fragment is nothing that anybody makes.
            if rest.len() < len || upper.protocol == 44 && piece {
                return Err(Lost::Truncated);
            }
            piece |= upper.protocol == 44;
            if upper.protocol == 43 && rest[3] > 0 {
                return Err(Lost::Routed);
            }
            let this = upper.protocol;
            (upper.protocol, upper.at) = (rest[0], upper.at + len);
            if this == 44 {
                let (offset, more) = (word(rest, 2) >> 3, rest[3] & 1 == 1);
                if offset > 0 || more {
                    upper.fragment = Some(Fragment { offset, more, id: long(rest, 4) });
                }
                if offset > 0 {
                    return Ok(upper);
                }
            }
        }
        unreachable!("the walk is bounded")
    }

    /// True for a piece that does not start with the upper-layer header.
    pub fn is_later(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset > 0)
    }
}

/// Addresses, ports and protocol; ports are 0 for protocols without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Protocol number.
    pub protocol: u8,
}

impl Tuple {
    /// Of a packet whose upper layer was found; `None` when it ends before its ports' header does.
    /// Later fragments have no ports.
    pub fn of(packet: &[u8], upper: &Upper) -> Option<Self> {
        let header = Header::of(packet);
        let (mut source_port, mut destination_port) = (0, 0);
        if has_ports(upper.protocol) && !upper.is_later() {
            let len = if upper.protocol == TCP { 20 } else { 8 };
            if header.total_len.min(packet.len()) < upper.at + len {
                return None;
            }
            (source_port, destination_port) = (word(packet, upper.at), word(packet, upper.at + 2));
        }
        Some(Self {
            source: header.source,
            destination: header.destination,
            source_port,
            destination_port,
            protocol: upper.protocol,
        })
    }

    /// The same conversation from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

/// TCP flags of a packet, 0 for everything else.
pub fn flags_of(packet: &[u8], upper: &Upper) -> u8 {
    if upper.protocol == TCP && !upper.is_later() { packet[upper.at + 13] } else { 0 }
}
