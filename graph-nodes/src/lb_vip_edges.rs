//! What `lb4-vip` and `lb6-vip` count, and where they send packets.

use std::net::IpAddr;

use dataplane::forwarding::{Method, ServerPath};
use dataplane::{family_next_nodes, family_node_counters};

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// To an AS, in GRE over IPv4.
        Gre4 => ("lb4-gre4", "lb6-gre4"),
        /// To an AS, in GRE over IPv6.
        Gre6 => ("lb4-gre6", "lb6-gre6"),
        /// To an AS, in IPv4.
        Ipip4 => ("lb4-ipip4", "lb6-ipip4"),
        /// To an AS, in IPv6.
        Ipip6 => ("lb4-ipip6", "lb6-ipip6"),
        /// To an AS, in UDP over IPv4.
        Gue4 => ("lb4-gue4", "lb6-gue4"),
        /// To an AS, in UDP over IPv6.
        Gue6 => ("lb4-gue6", "lb6-gue6"),
        /// To an AS, which is told the VIP by the DSCP.
        L3dsr => ("lb4-l3dsr", "lb6-l3dsr"),
        /// To an AS, as they are.
        DirectRouting => ("lb4-dr", "lb6-dr"),
        /// To an AS, translated.
        Nat => ("lb4-nat4", "lb6-nat6"),
        /// Pings, and on addresses that are ours as well what no VIP takes.
        Local => ("ip4-local", "ip6-local"),
        /// What the sender is told about.
        IcmpError => ("ip4-icmp-error", "ip6-icmp-error"),
        /// TCP to ports that no VIP has, with `no-match rst`.
        Reset => "lb-tcp-reset",
        /// What no VIP takes, with `no-match punt`.
        Punt => "lb-punt",
        /// Everything else.
        Drop => "error-drop",
    }
}

impl Next {
    /// The node of an AS's method.
    #[inline]
    pub(crate) fn of(path: &ServerPath) -> Self {
        let v6 = matches!(path.address, IpAddr::V6(_));
        match (path.method, v6) {
            (Method::Gre, false) => Self::Gre4,
            (Method::Gre, true) => Self::Gre6,
            (Method::Ipip, false) => Self::Ipip4,
            (Method::Ipip, true) => Self::Ipip6,
            (Method::Gue, false) => Self::Gue4,
            (Method::Gue, true) => Self::Gue6,
            (Method::L3dsr { .. }, _) => Self::L3dsr,
            (Method::DirectRouting, _) => Self::DirectRouting,
            (Method::Nat, _) => Self::Nat,
        }
    }

    /// True for the nodes whose outer headers show the flow's hash.
    #[inline]
    pub(crate) fn is_tunnel(self) -> bool {
        matches!(
            self,
            Self::Gre4 | Self::Gre6 | Self::Ipip4 | Self::Ipip6 | Self::Gue4 | Self::Gue6
        )
    }
}

family_node_counters! {
    /// What the VIP nodes count.
    pub enum Counter {
        /// An IPv6 extension header ends behind the packet, or stands where it may not.
        ExtensionTruncated => (("", "ip6 extension header truncated"), Error),
        /// More extension headers than are walked over.
        Extensions => (("", "too many ip6 extension headers"), Error),
        /// The packet is to go on from here to other places (RFC 8200 §4.4, RFC 5095).
        Routed => (("", "ip6 routing header with segments left"), Error),
        /// The headers are not all in the first buffer.
        Split => ("headers not in the first buffer", Error),
        /// An ICMP error that does not show which packet it is about.
        QuoteShort => ("icmp error quotes too little", Error),
        /// An ICMP error about something that did not come from a VIP here.
        QuoteUnknown => ("icmp error about no flow", Error),
        /// An ICMP error on its way to the AS of the flow it is about.
        ErrorForwarded => ("icmp errors forwarded", Info),
        /// A later fragment waits for its first.
        Held => ("fragments held", Info),
        /// A fragment waits no more.
        Released => ("held fragments released", Info),
        /// A later fragment that found no place to wait.
        TooManyHeld => ("too many fragments held", Error),
        /// A later fragment whose first did not come, or went to a VIP that is gone.
        NoFirst => ("fragment without its first", Error),
        /// The IP packet ends before the TCP or UDP header does.
        Truncated => ("tcp or udp header truncated", Error),
        /// The address has VIPs, but not for this protocol and port.
        NoPort => ("no such port on the VIP", Error),
        /// Neither TCP nor UDP, and no VIP for all protocols.
        Protocol => ("protocol not supported", Error),
        /// Its checksum cannot be updated, and IPv6 does not do without.
        UdpChecksumZero => (("", "udp checksum zero"), Error),
        /// No hop left; the client gets a "time exceeded".
        Ttl => (("ip4 ttl <= 1", "ip6 ttl <= 1"), Error),
        /// No AS takes new flows.
        NoServer => ("no server configured", Error),
        /// The client has another flow with this port at every AS that was tried.
        TupleInUse => ("nat tuple in use", Error),
        /// No place for the flow, whose replies could be another VIP's.
        TableFull => ("sticky table full", Error),
        /// A SYN whose maximum segment size was lowered.
        MssClamped => ("mss clamped", Info),
    }
}
