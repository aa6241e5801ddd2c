//! Packets inside packets: GRE, IP in IP and GUE, and the way back.

use std::net::IpAddr;

use super::{PacketBuilder, validated_packet};

/// UDP port that GUE receivers listen on unless told otherwise.
pub const GUE_PORT: u16 = 6080;

impl PacketBuilder {
    /// `inner`, a whole IP packet of either version, in GRE without optional fields (RFC 2784).
    pub fn gre(
        source: impl Into<IpAddr>,
        destination: impl Into<IpAddr>,
        inner: &[u8],
    ) -> PacketBuilder {
        let ether_type = if is_v6(inner) { [0x86, 0xdd] } else { [0x08, 0x00] };
        let data = [&[0, 0], &ether_type[..], inner].concat();
        Self::other(source, destination, 47).data(data)
    }

    /// `inner`, a whole IP packet of either version, in another one (RFC 2003, RFC 2473).
    pub fn ipip(
        source: impl Into<IpAddr>,
        destination: impl Into<IpAddr>,
        inner: &[u8],
    ) -> PacketBuilder {
        let protocol = if is_v6(inner) { 41 } else { 4 };
        Self::other(source, destination, protocol).data(inner)
    }

    /// `inner`, a whole IP packet of either version, at once behind a UDP header (GUE variant 1).
    pub fn gue(
        source: (impl Into<IpAddr>, u16),
        destination: impl Into<IpAddr>,
        inner: &[u8],
    ) -> PacketBuilder {
        Self::udp(source, (destination, GUE_PORT)).data(inner)
    }

    /// An ICMP or ICMPv6 error that says "too big, at most `mtu` bytes" and quotes `packet`.
    pub fn too_big(
        source: impl Into<IpAddr>,
        destination: impl Into<IpAddr>,
        mtu: u16,
        packet: &[u8],
    ) -> PacketBuilder {
        let kind = if is_v6(packet) { (2, 0) } else { (3, 4) };
        let [a, b] = mtu.to_be_bytes();
        Self::icmp(source, destination, kind, [0, 0, a, b]).data(packet)
    }
}

/// The part of an IP packet that an error quotes when it keeps `l4_len` bytes behind the IP header
/// (options included; IPv6 extension headers count as payload).
pub fn quote(packet: &[u8], l4_len: usize) -> &[u8] {
    let header_len = if is_v6(packet) { 40 } else { usize::from(packet[0] & 15) * 4 };
    &packet[..packet.len().min(header_len + l4_len)]
}

/// Takes the outer header off a GRE, IP-in-IP or GUE packet, after checking everything in it.
///
/// # Panics
/// When the packet is none of them, or anything is wrong.
pub fn decapsulated(packet: &[u8]) -> &[u8] {
    let (protocol, payload) = validated_packet(packet);
    let inner = match protocol {
        4 | 41 => payload,
        47 => {
            assert_eq!(payload[..2], [0, 0], "GRE flags and version");
            let v6 = match payload[2..4] {
                [0x08, 0x00] => false,
                [0x86, 0xdd] => true,
                _ => panic!("GRE protocol type {:x?}", &payload[2..4]),
            };
            assert_eq!(is_v6(&payload[4..]), v6, "GRE protocol type");
            &payload[4..]
        }
        17 => {
            assert_eq!(u16::from_be_bytes([payload[2], payload[3]]), GUE_PORT, "GUE port");
            &payload[8..]
        }
        other => panic!("protocol {other} is no tunnel"),
    };
    assert!(protocol == 47 || protocol == 17 || is_v6(inner) == (protocol == 41), "inner version");
    inner
}

pub(super) fn is_v6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    #[test]
    fn decapsulation_undoes_encapsulation() {
        let v4 = PacketBuilder::udp((A, 1), (B, 2)).data(*b"four").packet();
        let v6 = PacketBuilder::tcp((A6, 1), (B6, 2), 0x10).data(*b"six").packet();
        for inner in [&v4, &v6] {
            for outer in [
                PacketBuilder::gre(A, B, inner),
                PacketBuilder::gre(A6, B6, inner),
                PacketBuilder::ipip(A, B, inner),
                PacketBuilder::ipip(A6, B6, inner),
                PacketBuilder::gue((A, 50000), B, inner),
                PacketBuilder::gue((A6, 50000), B6, inner),
            ] {
                assert_eq!(decapsulated(&outer.packet()), *inner);
            }
        }
    }

    #[test]
    fn outer_headers_look_as_the_rfcs_say() {
        let v4 = PacketBuilder::udp((A, 1), (B, 2)).packet();
        let v6 = PacketBuilder::udp((A6, 1), (B6, 2)).packet();
        let gre = PacketBuilder::gre(A, B, &v6).packet();
        assert_eq!((gre[9], &gre[20..24]), (47, &[0, 0, 0x86, 0xdd][..]));
        assert_eq!(PacketBuilder::ipip(A6, B6, &v4).packet()[6], 4);
        assert_eq!(PacketBuilder::ipip(A, B, &v6).packet()[9], 41);
        let gue = PacketBuilder::gue((A, 0xc000), B, &v4).packet();
        assert_eq!(gue[20..26], [0xc0, 0, 0x17, 0xc0, 0, 36]);
    }

    #[test]
    #[should_panic(expected = "inner version")]
    fn a_wrong_protocol_number_is_seen() {
        let v6 = PacketBuilder::udp((A6, 1), (B6, 2)).packet();
        decapsulated(&PacketBuilder::other(A, B, 4).data(v6).packet());
    }

    #[test]
    fn errors_quote() {
        let v4 = PacketBuilder::udp((A, 1), (B, 2)).ip_options(&[1, 1, 1, 0]).packet();
        assert_eq!(quote(&v4, 8), &v4[..32]);
        assert_eq!(quote(&v4, 999), &v4[..]);
        let error = PacketBuilder::too_big(B, A, 1400, quote(&v4, 8)).packet();
        assert_eq!(
            (error[20..22].to_vec(), error[24..28].to_vec()),
            (vec![3, 4], vec![0, 0, 5, 0x78])
        );
        assert_eq!(validated_packet(&error).1[8..], v4[..32]);
        let v6 = PacketBuilder::tcp((A6, 1), (B6, 2), 2).packet();
        let error = PacketBuilder::too_big(B6, A6, 1280, quote(&v6, 8)).packet();
        assert_eq!(error[40..42], [2, 0]);
        assert_eq!(validated_packet(&error).1[8..], v6[..48]);
    }
}
