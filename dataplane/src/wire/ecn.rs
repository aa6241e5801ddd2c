//! DSCP and ECN at the ends of a tunnel (RFC 2983, RFC 6040).

use crate::forwarding::{TunnelDscp, TunnelEcn};

/// Congestion experienced: both ECN bits set.
pub const CE: u8 = 3;
/// ECN-capable transport, code point 1.
pub const ECT1: u8 = 1;
/// ECN-capable transport, code point 0.
pub const ECT0: u8 = 2;
/// The transport does not understand ECN.
pub const NOT_ECT: u8 = 0;

const MASK: u8 = 3;

/// The outer type of service or traffic class for an inner one. Copying the DSCP is the uniform
/// model of RFC 2983 §3.1; of a fixed one only the low 6 bits count.
#[inline]
pub const fn outer_traffic_class(inner: u8, dscp: TunnelDscp, ecn: TunnelEcn) -> u8 {
    let class = match dscp {
        TunnelDscp::Copy => inner & !MASK,
        TunnelDscp::Fixed(dscp) => dscp << 2,
    };
    match ecn {
        TunnelEcn::Rfc6040 => class | inner & MASK,
        TunnelEcn::Zero => class,
    }
}

/// The ECN bits of a packet that leaves a tunnel (RFC 6040 §4.2, figure 4), from those of both
/// headers (the other bits of the arguments are ignored). `None`: drop it, since it met congestion
/// and its transport could not be told otherwise.
#[inline]
pub const fn decapsulated_ecn(inner: u8, outer: u8) -> Option<u8> {
    match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (_, CE) => Some(CE),
        (ECT0, ECT1) => Some(ECT1),
        (inner, _) => Some(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encapsulation_copies_or_replaces() {
        let normal = TunnelEcn::Rfc6040;
        assert_eq!(outer_traffic_class(0xbb, TunnelDscp::Copy, normal), 0xbb);
        assert_eq!(outer_traffic_class(0xbb, TunnelDscp::Fixed(0), normal), 0x03);
        assert_eq!(outer_traffic_class(0xb9, TunnelDscp::Fixed(63), normal), 0xfd);
        assert_eq!(outer_traffic_class(0xbb, TunnelDscp::Copy, TunnelEcn::Zero), 0xb8);
        assert_eq!(outer_traffic_class(0xbb, TunnelDscp::Fixed(10), TunnelEcn::Zero), 0x28);
    }

    #[test]
    fn decapsulation_follows_figure_4() {
        // One row per inner code point; columns: outer Not-ECT, ECT(0), ECT(1), CE.
        let figure = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT0, [Some(ECT0), Some(ECT0), Some(ECT1), Some(CE)]),
            (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in figure {
            for (outer, expected) in [NOT_ECT, ECT0, ECT1, CE].into_iter().zip(row) {
                let (inner, outer) = (0xb8 | inner, 0x44 | outer);
                assert_eq!(decapsulated_ecn(inner, outer), expected, "{inner} in {outer}");
            }
        }
    }

    /// What a router marks between the ends reaches the receiver, and nothing else changes.
    #[test]
    fn a_tunnel_is_transparent_to_ecn() {
        for inner in 0..=255_u8 {
            let outer = outer_traffic_class(inner, TunnelDscp::Copy, TunnelEcn::Rfc6040);
            assert_eq!(decapsulated_ecn(inner, outer), Some(inner & 3));
            if inner & 3 != NOT_ECT {
                assert_eq!(decapsulated_ecn(inner, outer | CE), Some(CE));
            }
        }
    }
}
