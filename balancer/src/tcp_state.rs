//! The states of a flow, the transitions that a packet makes, and how long each state lasts.

use crate::protocol::Protocol;

/// The longest timeout: expiry is compared modulo 2^16 seconds (9 h 6 min).
pub const MAX_TIMEOUT_S: u16 = 32_767;

/// The flags of a TCP header that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(u8);

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

    /// Whether this ends a connection: FIN or RST.
    #[inline]
    #[must_use]
    pub const fn closes(self) -> bool {
        self.0 & (Self::FIN.0 | Self::RST.0) != 0
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the AS.
    ToClient,
}

/// The state of a flow. 0 is left for free entries.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowState {
    /// A flow of UDP, or of another protocol that is not TCP.
    Udp = 1,
    /// TCP: the client's SYN was seen and no other packet of the client.
    HalfOpen = 2,
    /// TCP: the client has sent more than SYNs.
    Established = 3,
    /// TCP: either side has sent FIN or RST.
    Closing = 4,
}

impl FlowState {
    #[inline]
    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Udp,
            2 => Self::HalfOpen,
            3 => Self::Established,
            _ => Self::Closing,
        }
    }

    /// The state after a flow's first packet, which comes from the client. `protocol` is the IP
    /// protocol number.
    #[inline]
    #[must_use]
    pub const fn first(protocol: u8, flags: TcpFlags) -> Self {
        if protocol != Protocol::Tcp.number() {
            Self::Udp
        } else if flags.closes() {
            Self::Closing
        } else if flags.opens() {
            Self::HalfOpen
        } else {
            Self::Established
        }
    }

    /// The state after a further packet.
    ///
    /// A SYN on [`Closing`](Self::Closing) starts another connection and is not handled here.
    #[inline]
    #[must_use]
    pub const fn next(self, direction: Direction, flags: TcpFlags) -> Self {
        match self {
            Self::Udp => Self::Udp,
            Self::Closing => Self::Closing,
            Self::HalfOpen | Self::Established if flags.closes() => Self::Closing,
            // Only the client's word counts: with direct return nothing else is seen.
            Self::HalfOpen if matches!(direction, Direction::ToServer) && !flags.opens() => {
                Self::Established
            }
            Self::HalfOpen => Self::HalfOpen,
            Self::Established => Self::Established,
        }
    }
}

/// How long a flow lives after its last packet, by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP and half-open TCP (`lb conf timeout`), seconds.
    pub udp_or_half_open_s: u16,
    /// Established TCP (`tcp-established-timeout`), seconds.
    pub established_s: u16,
    /// Closing TCP (`tcp-closing-timeout`), seconds.
    pub closing_s: u16,
}

/// A timeout above [`MAX_TIMEOUT_S`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a timeout is at most {MAX_TIMEOUT_S} seconds, not {0}")]
pub struct TimeoutError(
    /// The timeout, seconds.
    pub u64,
);

impl Timeouts {
    /// Checks one timeout, in seconds. 0 is valid: every packet then is a flow of its own.
    ///
    /// # Errors
    ///
    /// When it is above [`MAX_TIMEOUT_S`].
    pub fn check(timeout_s: u64) -> Result<u16, TimeoutError> {
        u16::try_from(timeout_s)
            .ok()
            .filter(|&timeout_s| timeout_s <= MAX_TIMEOUT_S)
            .ok_or(TimeoutError(timeout_s))
    }

    /// The timeout of a state, seconds; never above [`MAX_TIMEOUT_S`].
    #[inline]
    #[must_use]
    pub const fn of(&self, state: FlowState) -> u16 {
        let timeout_s = match state {
            FlowState::Udp | FlowState::HalfOpen => self.udp_or_half_open_s,
            FlowState::Established => self.established_s,
            FlowState::Closing => self.closing_s,
        };
        if timeout_s > MAX_TIMEOUT_S { MAX_TIMEOUT_S } else { timeout_s }
    }

    /// The expiry tick of a flow in `state` whose last packet is of `now_s`.
    #[inline]
    #[must_use]
    pub const fn expiry_tick(&self, state: FlowState, now_s: u32) -> u16 {
        (now_s as u16).wrapping_add(self.of(state))
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { udp_or_half_open_s: 40, established_s: 900, closing_s: 120 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ToClient, ToServer};
    use FlowState::{Closing, Established, HalfOpen, Udp};

    const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);
    const FIN_ACK: TcpFlags = TcpFlags::FIN.with(TcpFlags::ACK);

    #[test]
    fn first_packets() {
        for (protocol, flags, state) in [
            (Protocol::Udp, TcpFlags::NONE, Udp),
            (Protocol::Udp, TcpFlags::SYN, Udp),
            (Protocol::Tcp, TcpFlags::SYN, HalfOpen),
            (Protocol::Tcp, SYN_ACK, Established),
            (Protocol::Tcp, TcpFlags::ACK, Established),
            (Protocol::Tcp, TcpFlags::NONE, Established),
            (Protocol::Tcp, FIN_ACK, Closing),
            (Protocol::Tcp, TcpFlags::RST, Closing),
            (Protocol::Tcp, TcpFlags::SYN.with(TcpFlags::FIN), Closing),
        ] {
            assert_eq!(FlowState::first(protocol.number(), flags), state, "{protocol:?} {flags:?}");
        }
    }

    #[test]
    fn what_is_not_tcp_is_as_udp() {
        for protocol in [0, 1, 47, 50, 132] {
            assert_eq!(FlowState::first(protocol, TcpFlags::FIN), Udp);
        }
    }

    #[test]
    fn every_transition() {
        let packets = [
            (ToServer, TcpFlags::SYN),
            (ToServer, TcpFlags::ACK),
            (ToServer, FIN_ACK),
            (ToServer, TcpFlags::RST),
            (ToClient, SYN_ACK),
            (ToClient, TcpFlags::ACK),
            (ToClient, FIN_ACK),
            (ToClient, TcpFlags::RST),
        ];
        for (state, after) in [
            (Udp, [Udp; 8]),
            (
                HalfOpen,
                [HalfOpen, Established, Closing, Closing, HalfOpen, HalfOpen, Closing, Closing],
            ),
            (
                Established,
                [
                    Established,
                    Established,
                    Closing,
                    Closing,
                    Established,
                    Established,
                    Closing,
                    Closing,
                ],
            ),
            (Closing, [Closing; 8]),
        ] {
            for ((direction, flags), expected) in packets.into_iter().zip(after) {
                let next = state.next(direction, flags);
                assert_eq!(next, expected, "{state:?} {direction:?} {flags:?}");
            }
        }
    }

    #[test]
    fn timeouts_by_state() {
        let timeouts = Timeouts::default();
        let by_state = [Udp, HalfOpen, Established, Closing].map(|state| timeouts.of(state));
        assert_eq!(by_state, [40, 40, 900, 120]);
        assert_eq!(timeouts.expiry_tick(Udp, 65_530), 34);
        assert_eq!(Timeouts::check(32_767), Ok(32_767));
        assert_eq!(Timeouts::check(32_768), Err(TimeoutError(32_768)));
        let long = Timeouts { established_s: 65_535, ..timeouts };
        assert_eq!(long.of(Established), MAX_TIMEOUT_S);
    }

    #[test]
    fn states_survive_their_bits() {
        for state in [Udp, HalfOpen, Established, Closing] {
            assert_eq!(FlowState::from_bits(state as u8), state);
        }
    }
}
