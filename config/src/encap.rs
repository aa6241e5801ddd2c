//! Forwarding methods.

use crate::Family;
use crate::choice::choices;

choices! {
    /// How packets travel from the load balancer to an AS.
    Encap {
        /// GRE over IPv6.
        Gre6 = "gre6",
        /// GRE over IPv4: VPP's default.
        Gre4 = "gre4",
        /// IP in IP, over the family of the AS's address: the tunnel mode of LVS.
        Ipip = "ipip" | "tun",
        /// UDP encapsulation with the flow's entropy as source port, over the family of the AS's
        /// address.
        Gue = "gue",
        /// Layer-3 direct server return: the destination is rewritten, the DSCP names the VIP.
        L3dsr = "l3dsr",
        /// Direct routing: only the Ethernet addresses change.
        Dr = "dr" | "dsr",
        /// Destination NAT to an IPv4 AS.
        Nat4 = "nat4",
        /// Destination NAT to an IPv6 AS.
        Nat6 = "nat6",
    }
}

impl Encap {
    /// Does this method translate addresses, so that replies come back through us?
    pub const fn is_nat(self) -> bool {
        matches!(self, Encap::Nat4 | Encap::Nat6)
    }

    /// The family that an AS of a VIP of family `vip` must have; `None` is either.
    pub const fn as_family(self, vip: Family) -> Option<Family> {
        match self {
            Encap::Gre4 | Encap::Nat4 => Some(Family::Ip4),
            Encap::Gre6 | Encap::Nat6 => Some(Family::Ip6),
            Encap::L3dsr | Encap::Dr => Some(vip),
            Encap::Ipip | Encap::Gue => None,
        }
    }

    /// The NAT of a family.
    pub const fn nat(family: Family) -> Encap {
        match family {
            Family::Ip4 => Encap::Nat4,
            Family::Ip6 => Encap::Nat6,
        }
    }
}
