//! What is counted: the node's name and the counter's text, as `show errors` prints them.

use super::outcome::Reason;

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident = ($node:literal, $text:literal);)+) => {
        $($(#[$meta])* pub const $name: Reason = ($node, $text);)+

        /// All of them.
        pub const ALL: &[Reason] = &[$($name),+];
    };
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
    /// A source that is ours.
    IP4_SPOOFED = ("ip4-input", "ip4 spoofed local-address packet drops");
    /// A source that no host has.
    IP4_MARTIAN_SOURCE = ("ip4-input", "ip4 martian source address");
    /// A destination that no host has.
    IP4_MARTIAN_DESTINATION = ("ip4-input", "ip4 martian destination address");
    /// A group or the limited broadcast.
    IP4_GROUP = ("ip4-input", "ip4 multicast or broadcast destination");
    /// Unicast sent to all stations.
    IP4_LINK_GROUP = ("ip4-input", "ip4 unicast in a link-layer broadcast");
    /// The sender left the checksum to its network card.
    IP4_PARTIAL_CHECKSUM =
        ("ip4-input", "partial checksum: turn off tx offload on the sender");

    /// No prefix covers the destination.
    NO_ROUTE = ("ip4-lookup", "ip4 destination lookup miss");
    /// The link that the route leads to is down.
    LINK_DOWN = ("ip4-lookup", "blackholed packets");
    /// A network's broadcast address.
    BROADCAST = ("ip4-lookup", "ip4 directed broadcast");

    /// No hop left.
    TTL_EXPIRED = ("ip4-rewrite", "ip4 ttl <= 1");
    /// Too big, may not be fragmented.
    TOO_BIG_DF = ("ip4-rewrite", "ip4 MTU exceeded and DF set");
    /// Too big.
    TOO_BIG = ("ip4-rewrite", "mtu exceeded");

    /// Put on hold.
    HELD = ("ip4-arp", "packets held for a neighbor");
    /// Went on.
    RELEASED = ("ip4-arp", "held packets released");
    /// Too many packets for one neighbour.
    NEXT_HOP_FULL = ("ip4-arp", "hold queue of the next hop full");
    /// Too many packets.
    HOLD_FULL = ("ip4-arp", "hold queue full");
    /// The neighbour did not answer.
    HOLD_TIMEOUT = ("ip4-arp", "neighbor not resolved in time");

    /// An error about TTL was sent.
    TTL_ERROR_SENT = ("ip4-icmp-error", "hop limit exceeded response sent");
    /// Another error was sent.
    UNREACHABLE_SENT = ("ip4-icmp-error", "destination unreachable response sent");
    /// About our own packet.
    ABOUT_OWN = ("ip4-icmp-error", "no error about our own packet");
    /// About an error.
    ABOUT_ERROR = ("ip4-icmp-error", "no error about an icmp error");
    /// About a fragment.
    ABOUT_FRAGMENT = ("ip4-icmp-error", "no error about a later fragment");
    /// From nowhere.
    NO_SOURCE = ("ip4-icmp-error", "no address to send an error from");
    /// Too many errors.
    ERROR_LIMIT = ("ip4-icmp-error", "icmp error rate limit exceeded");

    /// An echo was answered.
    ECHO_ANSWERED = ("ip4-local", "echo replies sent");
    /// An echo reply went to control.
    ECHO_PUNTED = ("ip4-local", "echo replies punted");
    /// Too many echoes.
    ECHO_LIMIT = ("ip4-local", "echo rate limit exceeded");
    /// A fragment for us.
    LOCAL_FRAGMENT = ("ip4-local", "fragment for us");
    /// Too short for ICMP.
    ICMP_SHORT = ("ip4-local", "icmp message truncated");
    /// Wrong ICMP checksum.
    ICMP_CHECKSUM = ("ip4-local", "bad icmp checksum");
    /// Other ICMP.
    ICMP_TYPE = ("ip4-local", "icmp message not handled");
    /// TCP or UDP for us.
    NO_LISTENER = ("ip4-local", "no listener");
    /// Another protocol for us.
    LOCAL_PROTOCOL = ("ip4-local", "unknown ip protocol");

    /// A fragment to a VIP.
    VIP_FRAGMENT = ("lb4-vip", "fragment to a VIP");
    /// No TCP or UDP.
    VIP_PROTOCOL = ("lb4-vip", "protocol not supported");
    /// Too short for its transport header.
    VIP_TRUNCATED = ("lb4-vip", "tcp or udp header truncated");
    /// No VIP on this port.
    VIP_PORT = ("lb4-vip", "no such port on the VIP");
    /// No AS takes new flows.
    NO_SERVER = ("lb4-nat4", "no server configured");
    /// Every AS has another conversation with this client's port.
    TUPLE_IN_USE = ("lb4-nat4", "nat tuple in use");
    /// The client has a conversation through a VIP with this port at this server.
    DIRECT_TUPLE_IN_USE = ("lb4-direct", "nat tuple in use");
    /// The AS cannot be reached.
    NO_ROUTE_TO_SERVER = ("lb4-nat4", "no route to the server");
    /// No hop left for an AS.
    NAT_TTL_EXPIRED = ("lb4-nat4", "ip4 ttl <= 1");
    /// Too big for the AS's link, may not be fragmented.
    NAT_TOO_BIG_DF = ("lb4-nat4", "ip4 MTU exceeded and DF set");
    /// Too big for the AS's link.
    NAT_TOO_BIG = ("lb4-nat4", "mtu exceeded");

    /// A reply was translated.
    TRANSLATED = ("lb-nat4-in2out", "Good in2out packets processed");
    /// A fragment of an AS.
    REPLY_FRAGMENT = ("lb-nat4-in2out", "fragment from a nat4 server");
    /// No hop left for a reply.
    REPLY_TTL_EXPIRED = ("lb-nat4-in2out", "ip4 ttl <= 1");
    /// A reply too big for the client's link, may not be fragmented.
    REPLY_TOO_BIG_DF = ("lb-nat4-in2out", "ip4 MTU exceeded and DF set");
    /// Nowhere to send a reply.
    REPLY_NO_ROUTE = ("lb-nat4-in2out", "ip4 destination lookup miss");
    /// Nobody knows whose reply it is.
    NO_FLOW = ("lb-nat4-in2out", "nat reply without flow");
}

/// Counted once for each packet that ends because it was dealt with.
pub const CONSUMING: &[Reason] = &[ARP_REPLY_RECEIVED, ARP_NOT_FOR_US];
