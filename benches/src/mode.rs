//! What is done with packets.

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::frame_template::Direction;
use crate::observer::{Expect, Way};
use crate::service::VipPorts;

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
    /// The same for IPv6.
    Ip6,
    /// Balanced to ASs by GRE over IPv4.
    LbGre4,
    /// Balanced to ASs by GRE over IPv6.
    LbGre6,
    /// Balanced to ASs by IP in IPv4.
    LbIpip,
    /// Balanced to ASs by IP in IPv6.
    LbIpip6,
    /// Balanced to ASs by GUE over IPv4.
    LbGue,
    /// Balanced to ASs by GUE over IPv6.
    LbGue6,
    /// Balanced to ASs by their address and a DSCP.
    LbL3dsr,
    /// Balanced to ASs by their Ethernet address.
    LbDr,
    /// Balanced to ASs by NAT.
    LbNat4,
    /// Answers of ASs, on their way back through NAT.
    LbNat4Return,
    /// What a file of commands says.
    Configured,
    /// Balanced to ASs by NAT, over IPv6.
    LbNat6,
    /// Answers of ASs, on their way back through NAT, over IPv6.
    LbNat6Return,
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
    /// The same for IPv6
    Ip6,
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
    /// IP in IPv4
    Ipip,
    /// IP in IPv6
    Ipip6,
    /// GUE over IPv4
    Gue,
    /// GUE over IPv6
    Gue6,
    /// The AS's address and a DSCP
    L3dsr,
    /// The AS's Ethernet address
    Dr,
    /// Clients to ASs by NAT
    Nat4,
    /// ASs' answers to clients
    Nat4Return,
    /// Clients to ASs by NAT, over IPv6
    Nat6,
    /// ASs' answers to clients, over IPv6
    Nat6Return,
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
                ModeWord::Ip6 => vec![Self::Ip6],
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
            EncapWord::Ipip6 => Self::LbIpip6,
            EncapWord::Gue => Self::LbGue,
            EncapWord::Gue6 => Self::LbGue6,
            EncapWord::L3dsr => Self::LbL3dsr,
            EncapWord::Dr => Self::LbDr,
            EncapWord::Nat4 => Self::LbNat4,
            EncapWord::Nat4Return => Self::LbNat4Return,
            EncapWord::Nat6 => Self::LbNat6,
            EncapWord::Nat6Return => Self::LbNat6Return,
        }
    }

    /// Words for it, in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Macswap => "macswap",
            Self::Ip4 => "ip4",
            Self::Ip6 => "ip6",
            Self::LbGre4 => "lb gre4",
            Self::LbGre6 => "lb gre6",
            Self::LbIpip => "lb ipip",
            Self::LbIpip6 => "lb ipip6",
            Self::LbGue => "lb gue",
            Self::LbGue6 => "lb gue6",
            Self::LbL3dsr => "lb l3dsr",
            Self::LbDr => "lb dr",
            Self::LbNat4 => "lb nat4",
            Self::LbNat4Return => "lb nat4-return",
            Self::Configured => "configured",
            Self::LbNat6 => "lb nat6",
            Self::LbNat6Return => "lb nat6-return",
        }
    }

    /// Does the graph run?
    pub fn has_graph(self) -> bool {
        !matches!(self, Self::Io | Self::Macswap)
    }

    /// How its VIP sends packets to ASs, if it has one, in words of `lb vip`.
    pub fn encap(self) -> Option<&'static str> {
        match self {
            Self::Io | Self::Macswap | Self::Ip4 | Self::Ip6 | Self::Configured => None,
            Self::LbGre4 => Some("gre4"),
            Self::LbGre6 => Some("gre6"),
            Self::LbIpip | Self::LbIpip6 => Some("ipip"),
            Self::LbGue | Self::LbGue6 => Some("gue"),
            Self::LbL3dsr => Some("l3dsr"),
            Self::LbDr => Some("dr"),
            Self::LbNat4 | Self::LbNat4Return => Some("nat4"),
            Self::LbNat6 | Self::LbNat6Return => Some("nat6"),
        }
    }

    /// Is the answers' way back through us?
    pub fn is_nat(self) -> bool {
        matches!(self, Self::LbNat4 | Self::LbNat4Return | Self::LbNat6 | Self::LbNat6Return)
    }

    /// Ports of its VIP when `wanted` are asked for: NAT knows no VIPs of all ports, and the others
    /// have all unless asked otherwise, as in the VPP of the comparison.
    pub fn ports(self, wanted: Option<VipPorts>) -> VipPorts {
        match wanted {
            _ if self.is_nat() => VipPorts::One,
            Some(ports) => ports,
            None => VipPorts::All,
        }
    }

    /// Is it of use for clients of this family?
    pub fn takes(self, family: Family) -> bool {
        match self {
            Self::Ip4 | Self::LbNat4 | Self::LbNat4Return => family == Family::Ip4,
            Self::Ip6 | Self::LbNat6 | Self::LbNat6Return => family == Family::Ip6,
            _ => true,
        }
    }

    /// The family of clients when none is asked for.
    pub fn usual_family(self) -> Family {
        if self.takes(Family::Ip4) { Family::Ip4 } else { Family::Ip6 }
    }

    /// The family of ASs whose VIP is of family `vip`: tunnels have a family of their own.
    pub fn server_family(self, vip: Family) -> Family {
        match self {
            Self::LbGre4 | Self::LbIpip | Self::LbGue => Family::Ip4,
            Self::LbGre6 | Self::LbIpip6 | Self::LbGue6 => Family::Ip6,
            _ => vip,
        }
    }

    /// The way of the packets it makes sense for. Modes without a VIP take packets of either.
    pub fn direction(self) -> Direction {
        match self {
            Self::LbNat4Return | Self::LbNat6Return => Direction::Return,
            _ => Direction::Forward,
        }
    }

    /// What leaves.
    pub fn expect(self) -> Expect {
        match self {
            Self::Io | Self::Macswap | Self::Ip4 | Self::Ip6 => Expect::Unchanged,
            Self::Configured => Expect::Anything,
            Self::LbGre4 => Expect::ToServer(Way::Gre(Family::Ip4)),
            Self::LbGre6 => Expect::ToServer(Way::Gre(Family::Ip6)),
            Self::LbIpip => Expect::ToServer(Way::Ipip(Family::Ip4)),
            Self::LbIpip6 => Expect::ToServer(Way::Ipip(Family::Ip6)),
            Self::LbGue => Expect::ToServer(Way::Gue(Family::Ip4)),
            Self::LbGue6 => Expect::ToServer(Way::Gue(Family::Ip6)),
            Self::LbL3dsr => Expect::ToServer(Way::L3dsr),
            Self::LbDr => Expect::ToServer(Way::Dr),
            Self::LbNat4 | Self::LbNat6 => Expect::ToServer(Way::Nat),
            Self::LbNat4Return | Self::LbNat6Return => Expect::Answers,
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

    #[test]
    fn tunnels_take_both_families_and_nat_its_own() {
        let both = [Family::Ip4, Family::Ip6];
        let taken = |mode: Mode| both.map(|family| mode.takes(family));
        assert_eq!(taken(Mode::LbGre6), [true, true]);
        assert_eq!(taken(Mode::LbNat4Return), [true, false]);
        assert_eq!(taken(Mode::LbNat6), [false, true]);
        assert_eq!(Mode::LbNat6.usual_family(), Family::Ip6);
        assert_eq!(Mode::LbGre6.usual_family(), Family::Ip4);
        assert_eq!(Mode::LbGre4.server_family(Family::Ip6), Family::Ip4);
        assert_eq!(Mode::LbDr.server_family(Family::Ip6), Family::Ip6);
    }

    #[test]
    fn nat_has_one_port_whatever_is_asked_for() {
        assert_eq!(Mode::LbNat4.ports(Some(VipPorts::All)), VipPorts::One);
        assert_eq!(Mode::LbGre4.ports(Some(VipPorts::One)), VipPorts::One);
        assert_eq!(Mode::LbGre4.ports(None), VipPorts::All);
    }
}
