//! ICMP errors about packets that the box cannot forward (RFC 1812 §4.3, RFC 4443 §2.4 and §3).

use std::net::IpAddr;

use super::checksum;
use super::config::covers;
use super::ip::{Header, ICMP, ICMP6, octets, set_word};
use super::model::{NewFlowOrder, Reference, Transit};
use super::outcome::Reason;
use super::reason;
use super::upper::Upper;

/// Hops of packets made here.
pub(super) const TTL: u8 = 64;
/// Precedence 6, internetwork control (RFC 1812 §4.3.2.5).
const ERROR_TOS: u8 = 0xc0;
/// Errors sent in one second at most.
const ERRORS_PER_SECOND: u32 = 1000;

/// The errors that the box sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    TimeExceeded,
    NetUnreachable,
    PortUnreachable,
    ProtocolUnreachable,
    /// The largest packet that fits.
    TooBig {
        mtu: usize,
        /// Sent in the VIP's name: hosts believe their peer rather than a router.
        from_vip: bool,
    },
}

impl Error {
    /// Type, code, the 32 bits behind the checksum, and what is counted.
    fn fields(self, v6: bool) -> (u8, u8, u32, Reason) {
        let texts = reason::of(v6);
        match (self, v6) {
            (Self::TimeExceeded, false) => (11, 0, 0, texts.ttl_error_sent),
            (Self::TimeExceeded, true) => (3, 0, 0, texts.ttl_error_sent),
            (Self::NetUnreachable, false) => (3, 0, 0, texts.unreachable_sent),
            (Self::NetUnreachable, true) => (1, 0, 0, texts.unreachable_sent),
            (Self::PortUnreachable, false) => (3, 3, 0, texts.unreachable_sent),
            (Self::ProtocolUnreachable, false) => (3, 2, 0, texts.unreachable_sent),
            (Self::PortUnreachable | Self::ProtocolUnreachable, true) => {
                (1, 4, 0, texts.unreachable_sent)
            }
            // The next-hop MTU is the low half of the word (RFC 1191 §4).
            (Self::TooBig { mtu, .. }, false) => (3, 4, mtu as u32, texts.unreachable_sent),
            (Self::TooBig { mtu, .. }, true) => (2, 0, mtu as u32, reason::TOO_BIG_SENT6),
        }
    }
}

/// True for an ICMP message that is no error: RFC 1122 §3.2.2, RFC 4443 §2.1 (and redirects, which
/// are treated as errors).
fn is_query(v6: bool, message: &[u8]) -> bool {
    message.len() >= 8
        && if v6 {
            message[0] >= 128 && message[0] != 137
        } else {
            matches!(message[0], 0 | 8..=10 | 13..=18)
        }
}

impl Reference {
    /// Why no error may be sent about a packet (RFC 1812 §4.3.2.7, RFC 4443 §2.4).
    fn no_error_about(transit: &Transit) -> Option<Reason> {
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        if transit.originated {
            return Some(texts.about_own);
        }
        let Ok(upper) = Upper::of(&transit.packet) else { return None };
        let icmp = upper.protocol == header.icmp();
        if icmp && !upper.is_later() && !is_query(header.v6, &transit.packet[upper.at..]) {
            return Some(texts.about_error);
        }
        upper.is_later().then_some(texts.about_fragment)
    }

    /// Sends an ICMP error about a packet to its source, unless that is forbidden.
    pub(super) fn error(&mut self, transit: Transit, error: Error, table: &dyn NewFlowOrder) {
        if let Some(reason) = Self::no_error_about(&transit) {
            return self.out.drop(reason);
        }
        let header = Header::of(&transit.packet);
        let texts = reason::of(header.v6);
        let Some(from) = self.error_source(&transit, error) else {
            return self.out.drop(texts.no_source);
        };
        let now_s = self.now_s;
        if !self.family(header.v6).errors.allows(now_s, ERRORS_PER_SECOND) {
            return self.out.drop(texts.error_limit);
        }
        let (kind, code, rest, counted) = error.fields(header.v6);
        let mut message = vec![kind, code, 0, 0];
        message.extend_from_slice(&rest.to_be_bytes());
        // RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c).
        let room = if header.v6 { 1280 - 40 - 8 } else { 576 - 20 - 8 };
        message.extend_from_slice(&transit.packet[..header.total_len.min(room)]);
        let packet = self.made_here(from, header.source, &message);
        self.out.count(counted);
        self.lookup(Transit { packet, originated: true, ..transit }, table);
    }

    /// Where an error comes from: the VIP, or the address of the receiving interface nearest to the
    /// packet's source.
    fn error_source(&self, transit: &Transit, error: Error) -> Option<IpAddr> {
        let header = Header::of(&transit.packet);
        if let Error::TooBig { from_vip: true, .. }
        | Error::PortUnreachable
        | Error::ProtocolUnreachable = error
        {
            return Some(header.destination);
        }
        let own = &self.config.interface(transit.rx).addresses;
        let mut own = own.iter().filter(|(own, _)| own.is_ipv6() == header.v6);
        let near = own.clone().find(|(own, len)| covers(*own, *len, header.source));
        near.or(own.next()).map(|(own, _)| *own)
    }

    /// An ICMP error message in an IP packet of ours.
    fn made_here(&mut self, from: IpAddr, to: IpAddr, message: &[u8]) -> Vec<u8> {
        let mut packet;
        if from.is_ipv6() {
            packet = vec![0x60 | ERROR_TOS >> 4, ERROR_TOS << 4, 0, 0, 0, 0, ICMP6, TTL];
            set_word(&mut packet, 4, message.len() as u16);
        } else {
            let family = self.family(false);
            family.ip_id = family.ip_id.wrapping_add(1);
            let id = family.ip_id;
            packet = vec![0x45, ERROR_TOS, 0, 0, 0, 0, 0, 0, TTL, ICMP, 0, 0];
            set_word(&mut packet, 2, 20 + message.len() as u16);
            set_word(&mut packet, 4, id);
        }
        packet.extend(octets(from));
        packet.extend(octets(to));
        let at = packet.len();
        packet.extend_from_slice(message);
        if from.is_ipv4() {
            let sum = checksum::of(&packet[at..]);
            set_word(&mut packet, at + 2, sum);
        }
        checksum::seal(&mut packet);
        packet
    }
}
