//! The flags of a TCP header, as far as they matter to a flow.

/// The flags of a TCP header that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(u8);

/// What a segment is to the states of a flow: the first of its flags in this order. IPVS judges
/// alike (Linux, `net/netfilter/ipvs/ip_vs_proto_tcp.c`, `tcp_state_idx`).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// RST, whatever else.
    Rst,
    /// SYN.
    Syn,
    /// FIN.
    Fin,
    /// ACK.
    Ack,
    /// None of them: no connection has such segments.
    Bare,
}

impl Segment {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rst, Self::Syn, Self::Fin, Self::Ack, Self::Bare];
}

impl TcpFlags {
    /// No flags; what UDP packets have.
    pub const NONE: Self = Self(0);
    /// FIN.
    pub const FIN: Self = Self(0x01);
    /// SYN.
    pub const SYN: Self = Self(0x02);
    /// RST.
    pub const RST: Self = Self(0x04);
    /// ACK.
    pub const ACK: Self = Self(0x10);

    /// The flags in octet 13 of a TCP header (RFC 9293 §3.1).
    #[inline]
    #[must_use]
    pub const fn from_octet(octet: u8) -> Self {
        Self(octet)
    }

    /// The flags as in the header.
    #[inline]
    #[must_use]
    pub const fn octet(self) -> u8 {
        self.0
    }

    /// Both sets of flags.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of these flags are set.
    #[inline]
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether this opens a connection: SYN, and neither ACK, FIN nor RST.
    #[inline]
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::FIN.0 | Self::RST.0) == Self::SYN.0
    }

    /// What the segment is to the states of its flow.
    #[inline]
    #[must_use]
    pub const fn segment(self) -> Segment {
        if self.contains(Self::RST) {
            Segment::Rst
        } else if self.contains(Self::SYN) {
            Segment::Syn
        } else if self.contains(Self::FIN) {
            Segment::Fin
        } else if self.contains(Self::ACK) {
            Segment::Ack
        } else {
            Segment::Bare
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_flag_decides() {
        let order = [
            (TcpFlags::RST, Segment::Rst),
            (TcpFlags::SYN, Segment::Syn),
            (TcpFlags::FIN, Segment::Fin),
            (TcpFlags::ACK, Segment::Ack),
        ];
        for octet in 0..=u8::MAX {
            let flags = TcpFlags::from_octet(octet);
            let strongest = order.into_iter().find(|(flag, _)| octet & flag.octet() != 0);
            let expected = strongest.map_or(Segment::Bare, |(_, segment)| segment);
            assert_eq!(flags.segment(), expected, "{octet:#04x}");
            // Other flags (PSH, URG, ECE, CWR) do not matter.
            assert_eq!(flags.opens(), octet & 0x17 == 0x02, "{octet:#04x}");
        }
    }
}
