//! [`Scope`]: what a test asks for. The graph learns one thing after the other; what it cannot do
//! yet is neither generated for it nor expected of it.

/// Parts of the packet path, each true when it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Hosts and routes of IPv6.
    pub ip6: bool,
    /// VIPs of IPv6.
    pub vip6: bool,
    /// VLAN sub-interfaces.
    pub vlan: bool,
    /// IPIP tunnel interfaces.
    pub tunnels: bool,
    /// Fragments to VIPs and from ASs follow their first.
    pub fragments: bool,
    /// ICMP errors find their flow.
    pub icmp_errors: bool,
    /// Source routes and packets from our own tunnel source are refused.
    pub checks: bool,
    /// Methods without translation.
    pub encaps: bool,
    /// Prefix, range and all-port VIPs, kept and shifted target ports.
    pub ports: bool,
    /// Node ports.
    pub node_ports: bool,
    /// Round robin.
    pub round_robin: bool,
    /// `src_ip_sticky`.
    pub src_ip_sticky: bool,
    /// Policies for packets that no VIP takes, but for punting.
    pub no_match: bool,
    /// Segment sizes are clamped.
    pub mss: bool,
    /// VIPs and routes come and go at run time.
    pub changes: bool,
}

impl Scope {
    /// Translation of IPv4 alone.
    pub const V4_NAT: Self = Self {
        ip6: false,
        vip6: false,
        vlan: false,
        tunnels: false,
        fragments: false,
        icmp_errors: false,
        checks: false,
        encaps: false,
        ports: false,
        node_ports: false,
        round_robin: false,
        src_ip_sticky: false,
        no_match: false,
        mss: false,
        changes: false,
    };

    /// Everything.
    pub const ALL: Self = Self {
        ip6: true,
        vip6: true,
        vlan: true,
        tunnels: true,
        fragments: true,
        icmp_errors: true,
        checks: true,
        encaps: true,
        ports: true,
        node_ports: true,
        round_robin: true,
        src_ip_sticky: true,
        no_match: true,
        mss: true,
        changes: true,
    };
}
