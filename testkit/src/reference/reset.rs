//! Resets for connections to ports that no VIP has (RFC 9293 §3.10.7.1).

use super::checksum;
use super::error::TTL;
use super::frame::tcp_flag::{ACK, FIN, RST, SYN};
use super::ip::{Header, TCP, long, octets, set_word, word};
use super::model::{NewFlowOrder, Reference, Transit};
use super::reason;

/// Resets sent in one second at most.
const RESETS_PER_SECOND: u32 = 1000;

impl Reference {
    /// Answers a TCP packet with a reset.
    pub(super) fn reset(&mut self, transit: Transit, table: &dyn NewFlowOrder) {
        let header = Header::of(&transit.packet);
        let (upper, _) = Self::whole(&transit.packet).expect("it was read");
        let tcp = &transit.packet[upper.at..header.total_len];
        let flags = tcp[13];
        if flags & RST != 0 {
            return self.out.drop(reason::RESET_TO_RESET);
        }
        if upper.fragment.is_some() {
            return self.out.drop(reason::RESET_TO_FRAGMENT);
        }
        let offset = usize::from(tcp[12] >> 4) * 4;
        if offset < 20 || offset > tcp.len() {
            return self.out.drop(reason::RESET_HEADER);
        }
        let now_s = self.now_s;
        if !self.mine().resets.allows(now_s, RESETS_PER_SECOND) {
            return self.out.drop(reason::RESET_LIMIT);
        }
        let mut segment = vec![0; 20];
        set_word(&mut segment, 0, word(tcp, 2));
        set_word(&mut segment, 2, word(tcp, 0));
        segment[12] = 0x50;
        if flags & ACK != 0 {
            segment[4..8].copy_from_slice(&tcp[8..12]);
            segment[13] = RST;
        } else {
            let used = (tcp.len() - offset) as u32
                + u32::from(flags & SYN != 0)
                + u32::from(flags & FIN != 0);
            segment[8..12].copy_from_slice(&long(tcp, 4).wrapping_add(used).to_be_bytes());
            segment[13] = RST | ACK;
        }
        let mut packet = if header.v6 {
            vec![0x60, 0, 0, 0, 0, 20, TCP, TTL]
        } else {
            vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, TTL, TCP, 0, 0]
        };
        packet.extend(octets(header.destination));
        packet.extend(octets(header.source));
        packet.extend(segment);
        checksum::seal(&mut packet);
        self.out.count(reason::RESETS_SENT);
        self.lookup(Transit { packet, originated: true, ..transit }, table);
    }
}
