//! The maximum segment size that a SYN tells (RFC 9293 §3.7.1): lowered, never raised.

use std::net::IpAddr;

use super::checksum;
use super::frame::tcp_flag::SYN;
use super::ip::{TCP, set_word, word};
use super::model::Reference;
use super::route::{Destination, route};
use super::service::{Mss, Vip};
use super::upper::Upper;

/// Lowers the option to `limit`; true if it was larger. Checksums stay as they are.
fn lower(packet: &mut [u8], upper: &Upper, limit: u16) -> bool {
    let at = upper.at;
    let len = super::ip::Header::of(packet).total_len.min(packet.len());
    if upper.protocol != TCP || upper.is_later() || packet[at + 13] & SYN == 0 {
        return false;
    }
    let end = at + usize::from(packet[at + 12] >> 4) * 4;
    if end > len {
        return false;
    }
    let mut option = at + 20;
    while option < end {
        match packet[option] {
            0 => return false,
            1 => option += 1,
            kind => {
                let Some(size) = packet[..end].get(option + 1).map(|len| usize::from(*len)) else {
                    return false;
                };
                if size < 2 || option + size > end {
                    return false;
                }
                if kind == 2 && size == 4 {
                    let larger = word(packet, option + 2) > limit;
                    if larger {
                        set_word(packet, option + 2, limit);
                    }
                    return larger;
                }
                option += size;
            }
        }
    }
    false
}

impl Reference {
    /// The largest segment that a VIP's clients and this AS shall tell each other; `None` to let it
    /// alone.
    fn mss_limit(&self, vip: &Vip, server: IpAddr) -> Option<u16> {
        let headers = if vip.key.network.is_ipv6() { 60 } else { 40 };
        match vip.mss {
            Mss::Keep => None,
            Mss::At(limit) => Some(limit),
            Mss::Auto => match route(&self.config, server) {
                Destination::Neighbor { interface, .. } => {
                    let overhead = self.overhead(vip, server)?;
                    Some(self.room_to(interface, overhead).saturating_sub(headers) as u16)
                }
                _ => None,
            },
        }
    }

    /// Lowers the maximum segment size of a SYN as the VIP says.
    pub(super) fn clamp(
        &self,
        vip: &Vip,
        server: IpAddr,
        upper: &Upper,
        packet: &mut [u8],
    ) -> bool {
        let Some(limit) = self.mss_limit(vip, server) else { return false };
        let before = packet.to_vec();
        let clamped = lower(packet, upper, limit);
        if clamped {
            checksum::finish(&before, packet, upper);
        }
        clamped
    }
}
