//! Internet checksums, computed the long way: every word is added up in a wide integer and reduced
//! modulo 65535 at the end.
//!
//! A checksum of zero and one of 0xffff mean the same number. RFC 1624 §3 makes updates come out as
//! 0x0000 (a header is never all zeros), which TCP, ICMP and the IPv4 header use; UDP keeps 0x0000
//! for "no checksum" and sends 0xffff instead (RFC 768).

use super::ip4::{Header, UDP, word};

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

/// Sum of the pseudo header of RFC 793 and RFC 768.
fn pseudo_header(packet: &[u8], header: &Header) -> u64 {
    let len = header.total_len - header.header_len;
    sum(&packet[12..20]) + u64::from(header.protocol) + len as u64
}

/// The bare sum of the pseudo header, uncomplemented: what a sender leaves for a network card.
pub fn partial(packet: &[u8]) -> u16 {
    ((pseudo_header(packet, &Header::of(packet)) - 1) % MODULUS + 1) as u16
}

/// True when the TCP or UDP checksum field holds the bare sum of the pseudo header.
pub fn is_partial(packet: &[u8]) -> bool {
    let header = Header::of(packet);
    let len = if header.protocol == UDP { 8 } else { 20 };
    if packet.len() < header.header_len + len {
        return false;
    }
    let at = field(&header);
    // The sum is never 0, so "no checksum" cannot be mistaken for it.
    word(packet, at) == partial(packet)
}

/// Offset of the checksum field of a TCP or UDP packet.
fn field(header: &Header) -> usize {
    header.header_len + if header.protocol == UDP { 6 } else { 16 }
}

/// How far the TCP or UDP checksum of a whole IPv4 packet is from right, modulo 65535; 0 is right.
pub fn transport_error(packet: &[u8]) -> u64 {
    let header = Header::of(packet);
    (pseudo_header(packet, &header) + sum(&packet[header.header_len..header.total_len])) % MODULUS
}

/// Finishes an IPv4 packet whose addresses, ports or TTL were changed from those of `before`: the
/// header checksum is made anew; the TCP or UDP checksum stays exactly as right or as wrong as it
/// was, and an absent one stays absent.
pub fn finish(before: &[u8], after: &mut [u8]) {
    let header = Header::of(after);
    after[10..12].fill(0);
    let ip = of(&after[..header.header_len]);
    after[10..12].copy_from_slice(&ip.to_be_bytes());

    if !header.has_ports() || header.total_len < field(&header) + 2 {
        return;
    }
    let at = field(&header);
    if header.protocol == UDP && before[at..at + 2] == [0, 0] {
        return;
    }
    let error = transport_error(before);
    after[at..at + 2].fill(0);
    // The field that brings the sum back to `error`.
    let value = (error + MODULUS - transport_error(after)) % MODULUS;
    let value = if value == 0 && header.protocol == UDP { MODULUS } else { value };
    after[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

/// Gives a whole IPv4 packet a right header checksum and, for TCP and UDP, a right transport one.
pub fn seal(packet: &mut [u8]) {
    let header = Header::of(packet);
    packet[10..12].fill(0);
    let ip = of(&packet[..header.header_len]);
    packet[10..12].copy_from_slice(&ip.to_be_bytes());
    if header.has_ports() {
        let at = field(&header);
        packet[at..at + 2].fill(0);
        let value = (MODULUS - transport_error(packet)) % MODULUS;
        let value = if value == 0 && header.protocol == UDP { MODULUS } else { value };
        packet[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
    }
}
