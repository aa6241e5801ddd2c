//! What is done with packets.

use serde::{Deserialize, Serialize};

use crate::frame_template::Direction;
use crate::observer::{Expect, Way};

/// A forward mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Sent as they came, without any graph: what ports and the bench itself cost.
    Io,
    /// The same with the Ethernet addresses exchanged: every packet is touched.
    Macswap,
    /// Routed by the graph: one route for all.
    Ip4,
    /// Balanced to ASs by GRE over IPv4.
    LbGre4,
    /// Balanced to ASs by GRE over IPv6.
    LbGre6,
    /// Balanced to ASs by IP in IP.
    LbIpip,
    /// Balanced to ASs by GUE.
    LbGue,
    /// Balanced to ASs by their address and a DSCP.
    LbL3dsr,
    /// Balanced to ASs by their Ethernet address.
    LbDr,
    /// Balanced to ASs by NAT.
    LbNat4,
    /// Answers of ASs, on their way back through NAT.
    LbNat4Return,
}

/// What `--mode` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeWord {
    /// Ports only
    Io,
    /// Ports, and every packet's Ethernet addresses exchanged
    Macswap,
    /// The graph with one route
    Ip4,
    /// The graph with a VIP; see --encap
    Lb,
}

/// What `--encap` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EncapWord {
    /// GRE over IPv4
    Gre4,
    /// GRE over IPv6
    Gre6,
    /// IP in IP
    Ipip,
    /// GUE
    Gue,
    /// The AS's address and a DSCP
    L3dsr,
    /// The AS's Ethernet address
    Dr,
    /// Clients to ASs by NAT
    Nat4,
    /// ASs' answers to clients
    Nat4Return,
}

impl Mode {
    /// The modes that words name, in their order, each once, `io` first: it is what others are
    /// compared with.
    pub fn named(modes: &[ModeWord], encaps: &[EncapWord]) -> Vec<Self> {
        let mut named = vec![Self::Io];
        for mode in modes {
            let all = match mode {
                ModeWord::Io => vec![Self::Io],
                ModeWord::Macswap => vec![Self::Macswap],
                ModeWord::Ip4 => vec![Self::Ip4],
                ModeWord::Lb => encaps.iter().map(|encap| Self::of_encap(*encap)).collect(),
            };
            all.into_iter().for_each(|mode| {
                if !named.contains(&mode) {
                    named.push(mode);
                }
            });
        }
        named
    }

    fn of_encap(encap: EncapWord) -> Self {
        match encap {
            EncapWord::Gre4 => Self::LbGre4,
            EncapWord::Gre6 => Self::LbGre6,
            EncapWord::Ipip => Self::LbIpip,
            EncapWord::Gue => Self::LbGue,
            EncapWord::L3dsr => Self::LbL3dsr,
            EncapWord::Dr => Self::LbDr,
            EncapWord::Nat4 => Self::LbNat4,
            EncapWord::Nat4Return => Self::LbNat4Return,
        }
    }

    /// Words for it, in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Macswap => "macswap",
            Self::Ip4 => "ip4",
            Self::LbGre4 => "lb gre4",
            Self::LbGre6 => "lb gre6",
            Self::LbIpip => "lb ipip",
            Self::LbGue => "lb gue",
            Self::LbL3dsr => "lb l3dsr",
            Self::LbDr => "lb dr",
            Self::LbNat4 => "lb nat4",
            Self::LbNat4Return => "lb nat4-return",
        }
    }

    /// Does the graph run?
    pub fn has_graph(self) -> bool {
        !matches!(self, Self::Io | Self::Macswap)
    }

    /// How its VIP sends packets to ASs, if it has one, in words of `lb vip`.
    pub fn encap(self) -> Option<&'static str> {
        match self {
            Self::Io | Self::Macswap | Self::Ip4 => None,
            Self::LbGre4 => Some("gre4"),
            Self::LbGre6 => Some("gre6"),
            Self::LbIpip => Some("ipip"),
            Self::LbGue => Some("gue"),
            Self::LbL3dsr => Some("l3dsr"),
            Self::LbDr => Some("dr"),
            Self::LbNat4 | Self::LbNat4Return => Some("nat4"),
        }
    }

    /// The way of the packets it makes sense for. Modes without a VIP take packets of either.
    pub fn direction(self) -> Direction {
        match self {
            Self::LbNat4Return => Direction::Return,
            _ => Direction::Forward,
        }
    }

    /// What leaves.
    pub fn expect(self) -> Expect {
        match self {
            Self::Io | Self::Macswap | Self::Ip4 => Expect::Unchanged,
            Self::LbGre4 => Expect::ToServer(Way::Gre4),
            Self::LbGre6 => Expect::ToServer(Way::Gre6),
            Self::LbIpip => Expect::ToServer(Way::Ipip),
            Self::LbGue => Expect::ToServer(Way::Gue),
            Self::LbL3dsr => Expect::ToServer(Way::L3dsr),
            Self::LbDr => Expect::ToServer(Way::Dr),
            Self::LbNat4 => Expect::ToServer(Way::Nat4),
            Self::LbNat4Return => Expect::Answers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_is_always_there_and_first() {
        let lb = Mode::named(&[ModeWord::Lb], &[EncapWord::Nat4, EncapWord::Nat4Return]);
        assert_eq!(lb, [Mode::Io, Mode::LbNat4, Mode::LbNat4Return]);
        let twice = Mode::named(&[ModeWord::Ip4, ModeWord::Io, ModeWord::Ip4], &[EncapWord::Nat4]);
        assert_eq!(twice, [Mode::Io, Mode::Ip4]);
    }
}
