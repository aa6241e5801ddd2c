//! Packet headers in the words of VPP's traces.

use dataplane::interface::MacAddress;
use smoltcp::wire::{
    ArpOperation, ArpPacket, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet,
    IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

const DSCP: [(u8, &str); 21] = [
    (0, "CS0"),
    (8, "CS1"),
    (10, "AF11"),
    (12, "AF12"),
    (14, "AF13"),
    (16, "CS2"),
    (18, "AF21"),
    (20, "AF22"),
    (22, "AF23"),
    (24, "CS3"),
    (26, "AF31"),
    (28, "AF32"),
    (30, "AF33"),
    (32, "CS4"),
    (34, "AF41"),
    (36, "AF42"),
    (38, "AF43"),
    (40, "CS5"),
    (46, "EF"),
    (48, "CS6"),
    (56, "CS7"),
];

/// The Ethernet header in a line; nothing when there is none.
pub(super) fn ethernet(bytes: &[u8]) -> Option<String> {
    let frame = EthernetFrame::new_checked(bytes).ok()?;
    // Tags (IEEE 802.1Q): their protocol, priority and identifier, and the next EtherType.
    let (mut kind, mut at, mut tags) = (u16::from(frame.ethertype()), 14, String::new());
    while let (0x8100 | 0x88a8, Some(&[a, b, c, d])) = (kind, bytes.get(at..at + 4)) {
        let name = if kind == 0x8100 { "802.1q" } else { "802.1ad" };
        tags.push_str(&format!(" {name} vlan {}", u16::from_be_bytes([a, b]) & 0xfff));
        (kind, at) = (u16::from_be_bytes([c, d]), at + 4);
    }
    let kind = match EthernetProtocol::from(kind) {
        EthernetProtocol::Ipv4 => "IP4".to_owned(),
        EthernetProtocol::Arp => "ARP".to_owned(),
        EthernetProtocol::Ipv6 => "IP6".to_owned(),
        EthernetProtocol::Unknown(other) => format!("0x{other:04x}"),
    };
    let (from, to) = (MacAddress(frame.src_addr().0), MacAddress(frame.dst_addr().0));
    Some(format!("{kind}: {from} -> {to}{tags}"))
}

/// An ARP message.
pub(super) fn arp(bytes: &[u8]) -> Vec<String> {
    let Ok(arp) = ArpPacket::new_checked(bytes) else { return vec!["truncated".to_owned()] };
    let operation = match arp.operation() {
        ArpOperation::Request => "request",
        ArpOperation::Reply => "reply",
        ArpOperation::Unknown(_) => "unknown operation",
    };
    let station = |mac: &[u8], address: &[u8]| {
        let mac: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let address: Vec<_> = address.iter().map(ToString::to_string).collect();
        format!("{}/{}", mac.join(":"), address.join("."))
    };
    let sender = station(arp.source_hardware_addr(), arp.source_protocol_addr());
    let target = station(arp.target_hardware_addr(), arp.target_protocol_addr());
    vec![
        format!("{operation}, type ethernet/IP4, address size 6/4"),
        format!("{sender} -> {target}"),
    ]
}

/// How many packets inside each other are shown.
const DEPTH: usize = 3;

/// An IP packet, as much of it as there is, and what it carries.
pub(super) fn ip(bytes: &[u8]) -> Vec<String> {
    inner(bytes, DEPTH)
}

fn inner(bytes: &[u8], depth: usize) -> Vec<String> {
    match bytes.first().map(|byte| byte >> 4) {
        _ if depth == 0 => Vec::new(),
        Some(6) => ip6(bytes, depth),
        _ => ip4(bytes, depth),
    }
}

fn protocol_name(protocol: IpProtocol) -> String {
    match u8::from(protocol) {
        1 => "ICMP".to_owned(),
        4 => "IP_IN_IP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        41 => "IPV6".to_owned(),
        47 => "GRE".to_owned(),
        58 => "ICMP6".to_owned(),
        other => format!("protocol {other}"),
    }
}

fn ip6(bytes: &[u8], depth: usize) -> Vec<String> {
    let ip = Ipv6Packet::new_unchecked(bytes);
    if bytes.len() < 40 {
        return vec!["truncated".to_owned()];
    }
    let mut lines = vec![
        format!("{}: {} -> {}", protocol_name(ip.next_header()), ip.src_addr(), ip.dst_addr()),
        format!(
            "  tos 0x{:02x}, flow label 0x{:x}, hop limit {}, payload length {}",
            ip.traffic_class(),
            ip.flow_label(),
            ip.hop_limit(),
            ip.payload_len()
        ),
    ];
    let mut length = usize::from(ip.payload_len()) + 40;
    length = length.min(bytes.len());
    let (mut next, mut at) = (u8::from(ip.next_header()), 40);
    // Extension headers up to the fragment header (RFC 8200 §4): type, length in units of 8 bytes.
    while let (0 | 43 | 44 | 60, Some(header)) = (next, bytes.get(at..at + 8)) {
        if next == 44 {
            let place = u16::from_be_bytes([header[2], header[3]]);
            let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let more = if place & 1 == 1 { ", more" } else { "" };
            lines.push(format!("  fragment id 0x{id:08x}, offset {}{more}", place & !7));
            if place & !7 != 0 {
                return lines;
            }
        }
        at += if next == 44 { 8 } else { usize::from(header[1]) * 8 + 8 };
        next = header[0];
    }
    lines.extend(transport(next.into(), bytes.get(at..length).unwrap_or_default(), depth));
    lines
}

fn ip4(bytes: &[u8], depth: usize) -> Vec<String> {
    // The recorded bytes may end before the packet does.
    let ip = Ipv4Packet::new_unchecked(bytes);
    if bytes.len() < 20 || ip.version() != 4 || bytes.len() < usize::from(ip.header_len()) {
        return vec!["truncated".to_owned()];
    }
    let name = protocol_name(ip.next_header());
    let dscp = DSCP.iter().find(|(value, _)| *value == ip.dscp());
    let dscp = dscp.map_or_else(|| ip.dscp().to_string(), |(_, name)| (*name).to_owned());
    let ecn = ["NON_ECN", "ECT_1", "ECT_0", "CE"][usize::from(ip.ecn() & 3)];
    let mut fragment = format!("  fragment id 0x{:04x}", ip.ident());
    if ip.frag_offset() > 0 {
        fragment.push_str(&format!(", offset {}", ip.frag_offset()));
    }
    let flags = [(ip.dont_frag(), "DONT_FRAGMENT"), (ip.more_frags(), "MORE_FRAGMENTS")];
    for (_, flag) in flags.iter().filter(|(set, _)| *set) {
        fragment.push_str(&format!(", flags {flag}"));
    }
    let mut lines = vec![
        format!("{name}: {} -> {}", ip.src_addr(), ip.dst_addr()),
        format!(
            "  tos 0x{:02x}, ttl {}, length {}, checksum 0x{:04x} dscp {dscp} ecn {ecn}",
            bytes[1],
            ip.hop_limit(),
            ip.total_len(),
            ip.checksum()
        ),
        fragment,
    ];
    if ip.frag_offset() == 0 {
        let payload = &bytes[usize::from(ip.header_len())..];
        lines.extend(transport(ip.next_header(), payload, depth));
    }
    lines
}

/// What an outer packet carries.
fn carried(protocol: u8, bytes: &[u8], depth: usize) -> Vec<String> {
    match protocol {
        4 | 41 => inner(bytes, depth - 1),
        // GRE (RFC 2784): flags and version, EtherType of the payload.
        _ => {
            let [a, b, c, d, ref payload @ ..] = *bytes else { return Vec::new() };
            let kind = match u16::from_be_bytes([c, d]) {
                0x0800 => "IP4".to_owned(),
                0x86dd => "IP6".to_owned(),
                other => format!("0x{other:04x}"),
            };
            let flags = u16::from_be_bytes([a, b]);
            let mut lines = vec![format!("GRE {kind}, flags 0x{flags:04x}")];
            if flags == 0 && kind.starts_with("IP") {
                lines.extend(inner(payload, depth - 1));
            }
            lines
        }
    }
}

fn transport(protocol: IpProtocol, bytes: &[u8], depth: usize) -> Vec<String> {
    match protocol {
        IpProtocol::Udp if bytes.len() >= 8 => {
            let udp = UdpPacket::new_unchecked(bytes);
            vec![
                format!("UDP: {} -> {}", udp.src_port(), udp.dst_port()),
                format!("  length {}, checksum 0x{:04x}", udp.len(), udp.checksum()),
            ]
        }
        IpProtocol::Tcp if bytes.len() >= 20 => {
            let tcp = TcpPacket::new_unchecked(bytes);
            let flags = [
                (tcp.fin(), "FIN"),
                (tcp.syn(), "SYN"),
                (tcp.rst(), "RST"),
                (tcp.psh(), "PSH"),
                (tcp.ack(), "ACK"),
                (tcp.urg(), "URG"),
            ];
            let flags = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| format!(" {flag}"));
            vec![
                format!("TCP: {} -> {}", tcp.src_port(), tcp.dst_port()),
                format!(
                    "  seq. 0x{:08x} ack 0x{:08x}",
                    tcp.seq_number().0 as u32,
                    tcp.ack_number().0 as u32
                ),
                format!(
                    "  flags 0x{:02x}{}, tcp header: {} bytes",
                    bytes[13],
                    flags.collect::<String>(),
                    tcp.header_len()
                ),
                format!("  window {}, checksum 0x{:04x}", tcp.window_len(), tcp.checksum()),
            ]
        }
        IpProtocol::Icmp if bytes.len() >= 8 => {
            let icmp = Icmpv4Packet::new_unchecked(bytes);
            let name = match icmp.msg_type() {
                Icmpv4Message::EchoRequest => "echo_request",
                Icmpv4Message::EchoReply => "echo_reply",
                Icmpv4Message::DstUnreachable => "destination_unreachable",
                Icmpv4Message::TimeExceeded => "time_exceeded",
                _ => "message",
            };
            vec![format!(
                "ICMP {name} checksum 0x{:04x} id {}",
                icmp.checksum(),
                u16::from_be_bytes([bytes[4], bytes[5]])
            )]
        }
        IpProtocol::Icmpv6 if bytes.len() >= 8 => vec![icmp6(bytes)],
        _ if matches!(u8::from(protocol), 4 | 41 | 47) => carried(protocol.into(), bytes, depth),
        _ => Vec::new(),
    }
}

/// A line about an ICMPv6 message of at least 8 bytes.
fn icmp6(bytes: &[u8]) -> String {
    let name = match bytes[0] {
        1 => "destination_unreachable",
        2 => "packet_too_big",
        3 => "time_exceeded",
        4 => "parameter_problem",
        128 => "echo_request",
        129 => "echo_reply",
        133 => "router_solicitation",
        134 => "router_advertisement",
        135 => "neighbor_solicitation",
        136 => "neighbor_advertisement",
        _ => "message",
    };
    let checksum = u16::from_be_bytes([bytes[2], bytes[3]]);
    let target = bytes.get(8..24).filter(|_| matches!(bytes[0], 135 | 136));
    let target = target.and_then(|octets| <[u8; 16]>::try_from(octets).ok());
    match target {
        Some(target) => {
            let target = std::net::Ipv6Addr::from(target);
            format!("ICMP {name} checksum 0x{checksum:04x} target address {target}")
        }
        None => {
            let ident = u16::from_be_bytes([bytes[4], bytes[5]]);
            format!("ICMP {name} checksum 0x{checksum:04x} id {ident}")
        }
    }
}
