//! Internet checksums, computed the long way: every word is added up in a wide integer and reduced
//! modulo 65535 at the end.
//!
//! A checksum of zero and one of 0xffff mean the same number. RFC 1624 §3 makes updates come out as
//! 0x0000 (a header is never all zeros), which TCP, ICMP and the IPv4 header use; UDP keeps 0x0000
//! for "no checksum" and sends 0xffff instead (RFC 768, RFC 8200 §8.1).

use super::ip::{Header, ICMP6, TCP, UDP, set_word, word};
use super::upper::Upper;

const MODULUS: u64 = 65_535;

/// Sum of the big-endian 16-bit words of `bytes`; an odd last byte is the high half of a word.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0))).sum()
}

/// The value of the checksum field for `bytes`, whose own field counts as zero.
pub fn of(bytes: &[u8]) -> u16 {
    ((MODULUS - sum(bytes) % MODULUS) % MODULUS) as u16
}

/// True when `bytes`, checksum field included, add up.
pub fn holds(bytes: &[u8]) -> bool {
    sum(bytes).is_multiple_of(MODULUS)
}

/// How far `bytes`, checksum field included, are from adding up, modulo 65535.
pub fn error(bytes: &[u8]) -> u64 {
    sum(bytes) % MODULUS
}

/// Writes the checksum at `at` so that `bytes` are as far from adding up as `error` says.
pub fn keep_error(bytes: &mut [u8], at: usize, error: u64) {
    set_word(bytes, at, 0);
    let value = (error + MODULUS - sum(bytes) % MODULUS) % MODULUS;
    set_word(bytes, at, value as u16);
}

/// The checksum `field` after what it covers changed from `before` to `after`, whatever else it
/// covers (RFC 1624 §3).
pub fn updated(field: u16, before: &[u8], after: &[u8]) -> u16 {
    let without = u64::from(field) + sum(before) % MODULUS + MODULUS;
    ((without - sum(after) % MODULUS) % MODULUS) as u16
}

/// Sum of the pseudo header of RFC 9293 §3.1, RFC 768 and RFC 8200 §8.1.
fn pseudo_header(packet: &[u8], upper: &Upper) -> u64 {
    let header = Header::of(packet);
    let addresses = if header.v6 { &packet[8..40] } else { &packet[12..20] };
    sum(addresses) + u64::from(upper.protocol) + (header.total_len - upper.at) as u64
}

/// The bare sum of the pseudo header, uncomplemented: what a sender leaves for a network card.
pub fn partial(packet: &[u8], upper: &Upper) -> u16 {
    ((pseudo_header(packet, upper) - 1) % MODULUS + 1) as u16
}

/// True when the TCP or UDP checksum field of a whole packet holds the bare sum of the pseudo
/// header, and that is not the right checksum by chance.
pub fn is_partial(packet: &[u8], upper: &Upper) -> bool {
    let len = if upper.protocol == UDP { 8 } else { 20 };
    // The sum is never 0, so "no checksum" cannot be mistaken for it.
    packet.len() >= upper.at + len
        && field(packet, upper).is_some_and(|at| word(packet, at) == partial(packet, upper))
        && transport_error(packet, upper) != 0
}

/// Offset of the checksum that covers the packet's addresses, if the packet has it.
pub fn field(packet: &[u8], upper: &Upper) -> Option<usize> {
    let header = Header::of(packet);
    let inside = match upper.protocol {
        TCP => 16,
        UDP => 6,
        ICMP6 if header.v6 => 2,
        _ => return None,
    };
    let at = upper.at + inside;
    (!upper.is_later() && header.total_len.min(packet.len()) >= at + 2).then_some(at)
}

/// How far the upper-layer checksum of a packet is from right, modulo 65535; 0 is right.
pub fn transport_error(packet: &[u8], upper: &Upper) -> u64 {
    let end = Header::of(packet).total_len;
    (pseudo_header(packet, upper) + sum(&packet[upper.at..end])) % MODULUS
}

/// Makes the header checksum of an IPv4 packet right; IPv6 has none.
pub fn seal_header(packet: &mut [u8]) {
    if packet[0] >> 4 == 4 {
        let len = Header::of(packet).header_len;
        set_word(packet, 10, 0);
        let sum = of(&packet[..len]);
        set_word(packet, 10, sum);
    }
}

/// Finishes a packet whose addresses, ports or upper layer were changed from those of `before`: the
/// header checksum is made anew; the transport checksum stays exactly as right or as wrong as it
/// was, and an absent one stays absent. A first fragment's covers what is not here; the same
/// difference is right for it.
pub fn finish(before: &[u8], after: &mut [u8], upper: &Upper) {
    seal_header(after);
    let Some(at) = field(after, upper) else { return };
    if upper.protocol == UDP && before[at..at + 2] == [0, 0] {
        return;
    }
    let error = transport_error(before, upper);
    set_word(after, at, 0);
    // The field that brings the sum back to `error`.
    let value = (error + MODULUS - transport_error(after, upper)) % MODULUS;
    let value = if value == 0 && upper.protocol == UDP { MODULUS } else { value };
    set_word(after, at, value as u16);
}

/// Gives a whole packet a right header checksum and, where there is one, a right transport one.
pub fn seal(packet: &mut [u8]) {
    seal_header(packet);
    let Ok(upper) = Upper::of(packet) else { return };
    let Some(at) = field(packet, &upper) else { return };
    set_word(packet, at, 0);
    let value = (MODULUS - transport_error(packet, &upper)) % MODULUS;
    let value = if value == 0 && upper.protocol == UDP { MODULUS } else { value };
    set_word(packet, at, value as u16);
}
