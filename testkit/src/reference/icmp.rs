//! What the box answers itself: echo requests (RFC 792, RFC 1122 §3.2.2.6) and errors about packets
//! it cannot forward (RFC 1812 §4.3).

use super::checksum;
use super::ip4::{Header, ICMP};
use super::model::{NewFlowOrder, Reference, Transit};
use super::outcome::Reason;
use super::reason;
use super::route::covers;

/// TTL of packets made here.
const TTL: u8 = 64;
/// Most bytes of an ICMP error, IP header included (RFC 1812 §4.3.2.3).
const ERROR_LEN_MAX: usize = 576;
/// Precedence 6, internetwork control (RFC 1812 §4.3.2.5).
const ERROR_TOS: u8 = 0xc0;

/// Errors sent in one second at most.
const ERRORS_PER_SECOND: u32 = 1000;
/// Echoes answered or taken in one second at most.
const ECHOES_PER_SECOND: u32 = 10_000;

/// How many of something there were in the present second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    second: u32,
    count: u32,
}

impl Rate {
    /// Counts one more; false when there were `limit` already.
    fn allows(&mut self, now_s: u32, limit: u32) -> bool {
        if self.second != now_s {
            *self = Self { second: now_s, count: 0 };
        }
        let allowed = self.count < limit;
        self.count += u32::from(allowed);
        allowed
    }
}

/// The errors that the box sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    TimeExceeded,
    NetUnreachable,
    FragmentationNeeded { mtu: usize },
}

impl Reference {
    /// A packet to one of our own addresses.
    pub(super) fn local(&mut self, mut transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        if header.fragment {
            return self.out.drop(reason::LOCAL_FRAGMENT);
        }
        if header.has_ports() {
            return self.out.drop(reason::NO_LISTENER);
        }
        if header.protocol != ICMP {
            return self.out.drop(reason::LOCAL_PROTOCOL);
        }
        let message = &mut transit.packet[header.header_len..header.total_len];
        if message.len() < 8 {
            return self.out.drop(reason::ICMP_SHORT);
        }
        if !checksum::holds(message) {
            return self.out.drop(reason::ICMP_CHECKSUM);
        }
        let kind = (message[0], message[1]);
        if kind != (8, 0) && kind != (0, 0) {
            return self.out.drop(reason::ICMP_TYPE);
        }
        if !self.echoes.allows(self.now_s, ECHOES_PER_SECOND) {
            return self.out.drop(reason::ECHO_LIMIT);
        }
        if kind == (0, 0) {
            self.out.count(reason::ECHO_PUNTED);
            let packet = transit.packet[..header.total_len].to_vec();
            return self.out.punted.push((transit.rx, packet));
        }
        // The reply is the request with another type; identifier, number and data stay.
        message[0] = 0;
        message[2..4].fill(0);
        let sum = checksum::of(message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        transit.packet[12..16].copy_from_slice(&header.destination.octets());
        transit.packet[16..20].copy_from_slice(&header.source.octets());
        transit.packet[8] = TTL;
        checksum::seal(&mut transit.packet);
        transit.originated = true;
        self.out.count(reason::ECHO_ANSWERED);
        self.lookup(transit, table);
    }

    /// Why no error may be sent about a packet (RFC 1812 §4.3.2.7).
    fn no_error_about(transit: &Transit) -> Option<Reason> {
        let header = Header::of(&transit.packet);
        if transit.originated {
            return Some(reason::ABOUT_OWN);
        }
        if header.fragment_offset > 0 {
            return Some(reason::ABOUT_FRAGMENT);
        }
        let message = &transit.packet[header.header_len..];
        let query = message.len() >= 8 && matches!(message[0], 0 | 8..=10 | 13..=18);
        (header.protocol == ICMP && !query).then_some(reason::ABOUT_ERROR)
    }

    /// Sends an ICMP error about a packet to its source, unless that is forbidden.
    pub(super) fn error(&mut self, transit: Transit, error: Error, table: &dyn NewFlowOrder) {
        if let Some(reason) = Self::no_error_about(&transit) {
            return self.out.drop(reason);
        }
        let header = Header::of(&transit.packet);
        let own = &self.config.interface(transit.rx).addresses;
        let near = own.iter().find(|(own, len)| covers(*own, *len, header.source));
        let Some((from, _)) = near.or(own.first()).copied() else {
            return self.out.drop(reason::NO_SOURCE);
        };
        if !self.errors.allows(self.now_s, ERRORS_PER_SECOND) {
            return self.out.drop(reason::ERROR_LIMIT);
        }
        let (kind, code, mtu, counted) = match error {
            Error::TimeExceeded => (11, 0, 0, reason::TTL_ERROR_SENT),
            Error::NetUnreachable => (3, 0, 0, reason::UNREACHABLE_SENT),
            Error::FragmentationNeeded { mtu } => (3, 4, mtu as u16, reason::UNREACHABLE_SENT),
        };
        let mut message = vec![kind, code, 0, 0, 0, 0];
        message.extend_from_slice(&mtu.to_be_bytes());
        let quoted = header.total_len.min(ERROR_LEN_MAX - 20 - 8);
        message.extend_from_slice(&transit.packet[..quoted]);
        let sum = checksum::of(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());

        self.ip_id = self.ip_id.wrapping_add(1);
        let mut packet = vec![0x45, ERROR_TOS];
        packet.extend_from_slice(&(20 + message.len() as u16).to_be_bytes());
        packet.extend_from_slice(&self.ip_id.to_be_bytes());
        packet.extend_from_slice(&[0, 0, TTL, ICMP, 0, 0]);
        packet.extend_from_slice(&from.octets());
        packet.extend_from_slice(&header.source.octets());
        packet.extend_from_slice(&message);
        checksum::seal(&mut packet);
        self.out.count(counted);
        self.lookup(Transit { rx: transit.rx, packet, originated: true }, table);
    }
}
