//! What is counted: the node's name and the counter's text, as `show errors` prints them.

use super::outcome::Reason;
use super::service::Method;

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident = ($node:literal, $text:literal);)+) => {
        $($(#[$meta])* pub const $name: Reason = ($node, $text);)+

        /// Those that exist once.
        const SINGLE: &[Reason] = &[$($name),+];
    };
}

/// The same for both families: the IPv4 node and text, then those of IPv6.
macro_rules! twins {
    ($($(#[$meta:meta])* $name:ident = ($node4:literal, $text4:literal), ($node6:literal, $text6:literal);)+) => {
        /// What is counted in both families.
        #[derive(Clone, Copy, Debug)]
        pub struct Twins {
            $($(#[$meta])* pub $name: Reason,)+
        }

        /// Of IPv4.
        const OF_IP4: Twins = Twins { $($name: ($node4, $text4)),+ };
        /// Of IPv6.
        const OF_IP6: Twins = Twins { $($name: ($node6, $text6)),+ };

        impl Twins {
            fn all(&self) -> Vec<Reason> {
                vec![$(self.$name),+]
            }
        }
    };
}

/// The same for every way to an AS.
macro_rules! ways {
    ($($(#[$meta:meta])* $name:ident = $text4:literal, $text6:literal;)+) => {
        /// What is counted where packets get on their way to an AS.
        #[derive(Clone, Copy, Debug)]
        pub struct Way {
            $($(#[$meta])* pub $name: Reason,)+
        }

        impl Way {
            const fn of4(node: &'static str) -> Self {
                Self { $($name: (node, $text4)),+ }
            }

            const fn of6(node: &'static str) -> Self {
                Self { $($name: (node, $text6)),+ }
            }
        }
    };
}

/// The reasons of a family.
pub fn of(v6: bool) -> &'static Twins {
    if v6 { &OF_IP6 } else { &OF_IP4 }
}

ways! {
    /// The AS cannot be reached.
    no_route = "no route to the server", "no route to the server";
    /// No address to put into the outer header.
    no_source = "no tunnel source address", "no tunnel source address";
    /// Too big with its outer header, and the sender can help it.
    sender_told = "too big after encap, sender told", "too big after encap, sender told";
    /// Too big with its outer header.
    too_big = "too big after encap", "too big after encap";
    /// Sent in pieces.
    fragmented = "outer packets fragmented", "outer packets fragmented";
    /// Too big for the AS's link, may not be fragmented.
    mtu_df = "ip4 MTU exceeded and DF set", "ip6 MTU exceeded";
    /// Too big for the AS's link.
    mtu = "mtu exceeded", "mtu exceeded";
}

/// The reasons of a way to an AS, by the families of the client's packet and of the AS.
pub fn method(v6: bool, method: Method, server_v6: bool) -> Way {
    match (method, v6, server_v6) {
        (Method::Gre4, false, _) => Way::of4("lb4-gre4"),
        (Method::Gre4, true, _) => Way::of6("lb6-gre4"),
        (Method::Gre6, false, _) => Way::of4("lb4-gre6"),
        (Method::Gre6, true, _) => Way::of6("lb6-gre6"),
        (Method::Ipip, false, false) => Way::of4("lb4-ipip4"),
        (Method::Ipip, false, true) => Way::of4("lb4-ipip6"),
        (Method::Ipip, true, false) => Way::of6("lb6-ipip4"),
        (Method::Ipip, true, true) => Way::of6("lb6-ipip6"),
        (Method::Gue, false, false) => Way::of4("lb4-gue4"),
        (Method::Gue, false, true) => Way::of4("lb4-gue6"),
        (Method::Gue, true, false) => Way::of6("lb6-gue4"),
        (Method::Gue, true, true) => Way::of6("lb6-gue6"),
        (Method::L3dsr { .. }, false, _) => Way::of4("lb4-l3dsr"),
        (Method::L3dsr { .. }, true, _) => Way::of6("lb6-l3dsr"),
        (Method::Dr, false, _) => Way::of4("lb4-dr"),
        (Method::Dr, true, _) => Way::of6("lb6-dr"),
        (Method::Nat, false, _) => Way::of4("lb4-nat4"),
        (Method::Nat, true, _) => Way::of6("lb6-nat6"),
    }
}

/// All reasons that a way of this name can have.
fn of_way(node: &'static str) -> Vec<Reason> {
    let way = if node.starts_with("lb4") { Way::of4(node) } else { Way::of6(node) };
    let tunnel = [way.no_route, way.no_source, way.sender_told, way.too_big, way.fragmented];
    match node.split('-').nth(1) {
        Some("l3dsr" | "dr" | "nat4") if node.starts_with("lb4") => {
            vec![way.no_route, way.mtu_df, way.mtu]
        }
        Some("l3dsr" | "dr" | "nat6") => vec![way.no_route, way.mtu_df],
        _ => tunnel.to_vec(),
    }
}

/// Names of the nodes where packets get on their way to an AS.
const WAYS: &[&str] = &[
    "lb4-gre4",
    "lb4-gre6",
    "lb4-ipip4",
    "lb4-ipip6",
    "lb4-gue4",
    "lb4-gue6",
    "lb4-l3dsr",
    "lb4-dr",
    "lb4-nat4",
    "lb6-gre4",
    "lb6-gre6",
    "lb6-ipip4",
    "lb6-ipip6",
    "lb6-gue4",
    "lb6-gue6",
    "lb6-l3dsr",
    "lb6-dr",
    "lb6-nat6",
];

/// What the fused node counts for others: their reasons. Its own count says nothing new.
pub fn of_plain(reason: Reason) -> Option<Reason> {
    match reason {
        ("lb-express", "good nat4 in2out packets processed") => Some(OF_IP4.translated),
        ("lb-express", "good nat6 in2out packets processed") => Some(OF_IP6.translated),
        ("lb-express", "packets on the express way") => None,
        reason => Some(reason),
    }
}

/// All of them.
pub fn all() -> Vec<Reason> {
    let ways = WAYS.iter().flat_map(|node| of_way(node));
    SINGLE.iter().copied().chain(OF_IP4.all()).chain(OF_IP6.all()).chain(ways).collect()
}

twins! {
    /// A source that is ours.
    spoofed = ("ip4-input", "ip4 spoofed local-address packet drops"), ("ip6-input", "ip6 spoofed local-address packet drops");
    /// The sender left the checksum to its network card.
    partial_checksum = ("ip4-input", "partial checksum: turn off tx offload on the sender"), ("ip6-input", "partial checksum: turn off tx offload on the sender");
    /// No prefix covers the destination.
    no_route = ("ip4-lookup", "ip4 destination lookup miss"), ("ip6-lookup", "ip6 destination lookup miss");
    /// The link that the route leads to is down.
    link_down = ("ip4-lookup", "blackholed packets"), ("ip6-lookup", "blackholed packets");
    /// No hop left.
    ttl_expired = ("ip4-rewrite", "ip4 ttl <= 1"), ("ip6-rewrite", "ip6 ttl <= 1");
    /// Too big, may not be fragmented.
    too_big = ("ip4-rewrite", "ip4 MTU exceeded and DF set"), ("ip6-rewrite", "ip6 MTU exceeded");
    /// Put on hold.
    held = ("ip4-arp", "packets held for a neighbor"), ("ip6-discover-neighbor", "packets held for a neighbor");
    /// Went on.
    released = ("ip4-arp", "held packets released"), ("ip6-discover-neighbor", "held packets released");
    /// Too many packets for one neighbour.
    next_hop_full = ("ip4-arp", "hold queue of the next hop full"), ("ip6-discover-neighbor", "hold queue of the next hop full");
    /// Too many packets.
    hold_full = ("ip4-arp", "hold queue full"), ("ip6-discover-neighbor", "hold queue full");
    /// The neighbour did not answer.
    hold_timeout = ("ip4-arp", "neighbor not resolved in time"), ("ip6-discover-neighbor", "neighbor not resolved in time");
    /// An error about TTL was sent.
    ttl_error_sent = ("ip4-icmp-error", "hop limit exceeded response sent"), ("ip6-icmp-error", "hop limit exceeded response sent");
    /// Another error was sent.
    unreachable_sent = ("ip4-icmp-error", "destination unreachable response sent"), ("ip6-icmp-error", "destination unreachable response sent");
    /// About our own packet.
    about_own = ("ip4-icmp-error", "no error about our own packet"), ("ip6-icmp-error", "no error about our own packet");
    /// About an error.
    about_error = ("ip4-icmp-error", "no error about an icmp error"), ("ip6-icmp-error", "no error about an icmp error");
    /// About a fragment.
    about_fragment = ("ip4-icmp-error", "no error about a later fragment"), ("ip6-icmp-error", "no error about a later fragment");
    /// From nowhere.
    no_source = ("ip4-icmp-error", "no address to send an error from"), ("ip6-icmp-error", "no address to send an error from");
    /// Too many errors.
    error_limit = ("ip4-icmp-error", "icmp error rate limit exceeded"), ("ip6-icmp-error", "icmp error rate limit exceeded");
    /// An echo was answered.
    echo_answered = ("ip4-local", "echo replies sent"), ("ip6-local", "echo replies sent");
    /// An echo reply went to control.
    echo_punted = ("ip4-local", "echo replies punted"), ("ip6-local", "echo replies punted");
    /// Too many echoes.
    echo_limit = ("ip4-local", "echo rate limit exceeded"), ("ip6-local", "echo rate limit exceeded");
    /// A fragment for us.
    local_fragment = ("ip4-local", "fragment for us"), ("ip6-local", "fragment for us");
    /// Too short for ICMP.
    icmp_short = ("ip4-local", "icmp message truncated"), ("ip6-local", "icmp message truncated");
    /// Wrong ICMP checksum.
    icmp_checksum = ("ip4-local", "bad icmp checksum"), ("ip6-local", "bad icmp checksum");
    /// Other ICMP.
    icmp_type = ("ip4-local", "icmp message not handled"), ("ip6-local", "icmp message not handled");
    /// TCP or UDP for us.
    no_listener = ("ip4-local", "no listener"), ("ip6-local", "no listener");
    /// Another protocol for us.
    local_protocol = ("ip4-local", "unknown ip protocol"), ("ip6-local", "unknown ip6 protocol");
    /// No TCP or UDP.
    vip_protocol = ("lb4-vip", "protocol not supported"), ("lb6-vip", "protocol not supported");
    /// Too short for its transport header.
    vip_truncated = ("lb4-vip", "tcp or udp header truncated"), ("lb6-vip", "tcp or udp header truncated");
    /// No VIP on this port.
    vip_port = ("lb4-vip", "no such port on the VIP"), ("lb6-vip", "no such port on the VIP");
    /// A reply was translated.
    translated = ("lb-nat4-in2out", "Good in2out packets processed"), ("lb-nat6-in2out", "Good in2out packets processed");
    /// No hop left for a reply.
    reply_ttl_expired = ("lb-nat4-in2out", "ip4 ttl <= 1"), ("lb-nat6-in2out", "ip6 ttl <= 1");
    /// A reply too big for the client's link, may not be fragmented.
    reply_too_big = ("lb-nat4-in2out", "ip4 MTU exceeded and DF set"), ("lb-nat6-in2out", "ip6 MTU exceeded");
    /// Nowhere to send a reply.
    reply_no_route = ("lb-nat4-in2out", "ip4 destination lookup miss"), ("lb-nat6-in2out", "ip6 destination lookup miss");
    /// Nobody knows whose reply it is.
    no_flow = ("lb-nat4-in2out", "nat reply without flow"), ("lb-nat6-in2out", "nat reply without flow");
    /// The client has a conversation through a VIP with this port at this server.
    direct_tuple_in_use = ("lb4-direct", "nat tuple in use"), ("lb6-direct", "nat tuple in use");
    /// A tunnel that is down.
    tunnel_down = ("ip4-local", "tunnel interface is down"), ("ip6-local", "tunnel interface is down");
    /// Congestion that the packet cannot tell of.
    tunnel_congested = ("ip4-local", "congestion experienced on a packet without ecn"), ("ip6-local", "congestion experienced on a packet without ecn");
    /// Out of a tunnel.
    decapsulated = ("ip4-local", "tunnel packets decapsulated"), ("ip6-local", "tunnel packets decapsulated");
    /// An error that quotes too little.
    quote_short = ("lb4-vip", "icmp error quotes too little"), ("lb6-vip", "icmp error quotes too little");
    /// An error about nothing of ours.
    quote_unknown = ("lb4-vip", "icmp error about no flow"), ("lb6-vip", "icmp error about no flow");
    /// An error about a flow.
    icmp_forwarded = ("lb4-vip", "icmp errors forwarded"), ("lb6-vip", "icmp errors forwarded");
    /// Waits for the first fragment.
    fragment_held = ("lb4-vip", "fragments held"), ("lb6-vip", "fragments held");
    /// The first fragment came.
    fragments_released = ("lb4-vip", "held fragments released"), ("lb6-vip", "held fragments released");
    /// Too many wait.
    fragments_full = ("lb4-vip", "too many fragments held"), ("lb6-vip", "too many fragments held");
    /// The first did not come.
    fragment_alone = ("lb4-vip", "fragment without its first"), ("lb6-vip", "fragment without its first");
    /// No hop left for an AS.
    vip_ttl_expired = ("lb4-vip", "ip4 ttl <= 1"), ("lb6-vip", "ip6 ttl <= 1");
    /// No AS takes new flows.
    no_server = ("lb4-vip", "no server configured"), ("lb6-vip", "no server configured");
    /// Every AS has another conversation with this client's port.
    tuple_in_use = ("lb4-vip", "nat tuple in use"), ("lb6-vip", "nat tuple in use");
    /// A SYN tells a smaller segment size.
    mss_clamped = ("lb4-vip", "mss clamped"), ("lb6-vip", "mss clamped");
    /// A tunnel's far end cannot be reached.
    tunnel_no_route = ("ipip4-output", "no route to the tunnel destination"), ("ipip6-output", "no route to the tunnel destination");
    /// Waits for the first fragment.
    reply_fragment_held = ("lb-nat4-in2out", "fragments held"), ("lb-nat6-in2out", "fragments held");
    /// The first fragment came.
    reply_fragments_released = ("lb-nat4-in2out", "held fragments released"), ("lb-nat6-in2out", "held fragments released");
    /// Too many wait.
    reply_fragments_full = ("lb-nat4-in2out", "too many fragments held"), ("lb-nat6-in2out", "too many fragments held");
    /// The first did not come.
    reply_fragment_alone = ("lb-nat4-in2out", "fragment without its first"), ("lb-nat6-in2out", "fragment without its first");
    /// A SYN of an AS tells a smaller segment size.
    reply_mss_clamped = ("lb-nat4-in2out", "mss clamped"), ("lb-nat6-in2out", "mss clamped");
}

reasons! {
    /// A frame on an interface that is down.
    INTERFACE_DOWN = ("dpdk-input", "interface is down");
    /// Fewer bytes than the Ethernet header or the VLAN tag has.
    SHORT_FRAME = ("ethernet-input", "ethernet header truncated");
    /// For another station.
    WRONG_MAC = ("ethernet-input", "l3 mac mismatch");
    /// Of a VLAN.
    VLAN = ("ethernet-input", "unknown vlan");
    /// IEEE 802.3 with a length field.
    LLC = ("ethernet-input", "802.3 frame with llc header");
    /// IPv6.
    IP6 = ("ethernet-input", "ip6 not enabled");
    /// Any other type.
    UNKNOWN_TYPE = ("ethernet-input", "unknown ethernet type");
    /// Too few bytes for ARP.
    ARP_SHORT = ("arp-input", "ARP message truncated");
    /// Not Ethernet addresses.
    ARP_NOT_ETHERNET = ("arp-input", "L2 type not ethernet");
    /// Not IPv4 addresses.
    ARP_NOT_IP4 = ("arp-input", "L3 type not IP4");
    /// Neither request nor reply.
    ARP_OPERATION = ("arp-input", "ARP opcode not request or reply");
    /// An Ethernet address that no station has.
    ARP_SENDER_MAC = ("arp-input", "ARP sender hardware address invalid");
    /// Our own message.
    ARP_OURS = ("arp-input", "ARP message of our own received");
    /// Somebody else has our address.
    ARP_CONFLICT = ("arp-input", "IP4 source address matches local interface");
    /// A sender of another network.
    ARP_OFF_LINK = ("arp-input", "ARP sender address not on a connected network");
    /// A request was answered.
    ARP_ANSWERED = ("arp-input", "ARP replies sent");
    /// A reply to us.
    ARP_REPLY_RECEIVED = ("arp-input", "ARP replies received");
    /// A message for others.
    ARP_NOT_FOR_US = ("arp-input", "ARP message for another station");
    /// Fewer than 20 bytes.
    IP4_SHORT = ("ip4-input", "ip4 length < 20 bytes");
    /// Another version.
    IP4_VERSION = ("ip4-input", "ip4 version != 4");
    /// IHL below 5.
    IP4_HEADER_LEN = ("ip4-input", "ip4 header length < 20 bytes");
    /// The packet claims to be shorter than its header.
    IP4_TOTAL_LEN = ("ip4-input", "ip4 length < header length");
    /// The packet claims to be longer than the frame.
    IP4_TRUNCATED = ("ip4-input", "ip4 length > l2 length");
    /// Wrong header checksum.
    IP4_CHECKSUM = ("ip4-input", "bad ip4 checksum");
    /// TTL 0.
    IP4_TTL_ZERO = ("ip4-input", "ip4 ttl == 0");
    /// A source that no host has.
    IP4_MARTIAN_SOURCE = ("ip4-input", "ip4 martian source address");
    /// A destination that no host has.
    IP4_MARTIAN_DESTINATION = ("ip4-input", "ip4 martian destination address");
    /// A group or the limited broadcast.
    IP4_GROUP = ("ip4-input", "ip4 multicast or broadcast destination");
    /// Unicast sent to all stations.
    IP4_LINK_GROUP = ("ip4-input", "ip4 unicast in a link-layer broadcast");
    /// A network's broadcast address.
    BROADCAST = ("ip4-lookup", "ip4 directed broadcast");
    /// Too big.
    TOO_BIG = ("ip4-rewrite", "mtu exceeded");
    /// A fragment to a VIP.
    VIP_FRAGMENT = ("lb4-vip", "fragment to a VIP");
    /// A fragment of an AS.
    REPLY_FRAGMENT = ("lb-nat4-in2out", "fragment from a nat4 server");
    /// On a VLAN that is down.
    SUBINTERFACE_DOWN = ("ethernet-input", "subinterface down");
    /// A way of the sender's choice.
    IP4_SOURCE_ROUTE = ("ip4-input", "ip4 source route option");
    /// Fewer than 40 bytes.
    IP6_SHORT = ("ip6-input", "ip6 length < 40 bytes");
    /// Another version.
    IP6_VERSION = ("ip6-input", "ip6 version != 6");
    /// The packet claims to be longer than the frame.
    IP6_TRUNCATED = ("ip6-input", "ip6 length > l2 length");
    /// Hop limit 0.
    IP6_TTL_ZERO = ("ip6-input", "ip6 ttl == 0");
    /// A source that no host has.
    IP6_MARTIAN_SOURCE = ("ip6-input", "ip6 martian source address");
    /// A destination that no host has.
    IP6_MARTIAN_DESTINATION = ("ip6-input", "ip6 martian destination address");
    /// A group that we are not in.
    IP6_GROUP = ("ip6-input", "ip6 multicast destination");
    /// Unicast sent to all stations.
    IP6_LINK_GROUP = ("ip6-input", "ip6 unicast in a link-layer broadcast");
    /// An address that is good on its link only.
    LINK_LOCAL = ("ip6-lookup", "ip6 link-local packet not forwarded");
    /// A packet-too-big was sent.
    TOO_BIG_SENT6 = ("ip6-icmp-error", "packet too big response sent");
    /// An extension header ends behind the packet.
    LOCAL_EXTENSION_SHORT = ("ip6-local", "ip6 extension header truncated");
    /// Too many extension headers.
    LOCAL_EXTENSIONS = ("ip6-local", "too many ip6 extension headers");
    /// To go on to somewhere else.
    LOCAL_ROUTED = ("ip6-local", "ip6 routing header with segments left");
    /// Neighbour discovery from behind a router.
    ND_HOP_LIMIT = ("ip6-local", "hop_limit != 255");
    /// Neighbour discovery with a code.
    ND_CODE = ("ip6-local", "invalid code for type");
    /// Neighbour discovery without its fields.
    ND_SHORT = ("ip6-local", "payload length too small for type");
    /// An option without length, or longer than the message.
    ND_OPTION = ("ip6-local", "option has zero length");
    /// Neighbour discovery about what it cannot be about.
    ND_TARGET = ("ip6-local", "neighbor discovery target invalid");
    /// An Ethernet address that no neighbour has.
    ND_MAC = ("ip6-local", "neighbor discovery hardware address invalid");
    /// Somebody else has our address.
    ND_CONFLICT = ("ip6-local", "IP6 source address matches local interface");
    /// About an address of another network.
    ND_OFF_LINK = ("ip6-local", "neighbor solicitations from source not on link");
    /// A solicitation was answered.
    ND_ANSWERED = ("ip6-local", "neighbor advertisements sent");
    /// An advertisement.
    ND_RECEIVED = ("ip6-local", "neighbor advertisements received");
    /// A solicitation for others.
    ND_NOT_FOR_US = ("ip6-local", "neighbor solicitation for another station");
    /// An extension header ends behind the packet.
    VIP_EXTENSION_SHORT = ("lb6-vip", "ip6 extension header truncated");
    /// Too many extension headers.
    VIP_EXTENSIONS = ("lb6-vip", "too many ip6 extension headers");
    /// To go on to somewhere else.
    VIP_ROUTED = ("lb6-vip", "ip6 routing header with segments left");
    /// No checksum where IPv6 demands one.
    UDP_CHECKSUM_ZERO = ("lb6-vip", "udp checksum zero");
    /// A reset was sent.
    RESETS_SENT = ("lb-tcp-reset", "resets sent");
    /// About a reset.
    RESET_TO_RESET = ("lb-tcp-reset", "no reset to a reset");
    /// About a fragment.
    RESET_TO_FRAGMENT = ("lb-tcp-reset", "no reset to a fragment");
    /// About a segment with a wrong data offset.
    RESET_HEADER = ("lb-tcp-reset", "tcp header invalid");
    /// Too many resets.
    RESET_LIMIT = ("lb-tcp-reset", "reset rate limit exceeded");
    /// Given to the kernel.
    PUNTED = ("lb-punt", "packets punted");
    /// Too many given to the kernel.
    PUNT_LIMIT = ("lb-punt", "punt rate limit exceeded");
}

/// Counted once for each packet that ends because it was dealt with.
pub const CONSUMING: &[Reason] = &[ARP_REPLY_RECEIVED, ARP_NOT_FOR_US, ND_RECEIVED, ND_NOT_FOR_US];
