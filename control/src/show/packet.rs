//! Packet headers in the words of VPP's traces.

use dataplane::interface::MacAddress;
use smoltcp::wire::{
    ArpOperation, ArpPacket, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet,
    IpProtocol, Ipv4Packet, TcpPacket, UdpPacket,
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
    let kind = match frame.ethertype() {
        EthernetProtocol::Ipv4 => "IP4".to_owned(),
        EthernetProtocol::Arp => "ARP".to_owned(),
        EthernetProtocol::Ipv6 => "IP6".to_owned(),
        EthernetProtocol::Unknown(other) => format!("0x{other:04x}"),
    };
    let (from, to) = (MacAddress(frame.src_addr().0), MacAddress(frame.dst_addr().0));
    Some(format!("{kind}: {from} -> {to}"))
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

/// An IPv4 packet, as much of it as there is.
pub(super) fn ip4(bytes: &[u8]) -> Vec<String> {
    // The recorded bytes may end before the packet does.
    let ip = Ipv4Packet::new_unchecked(bytes);
    if bytes.len() < 20 || ip.version() != 4 || bytes.len() < usize::from(ip.header_len()) {
        return vec!["truncated".to_owned()];
    }
    let name = match ip.next_header() {
        IpProtocol::Tcp => "TCP".to_owned(),
        IpProtocol::Udp => "UDP".to_owned(),
        IpProtocol::Icmp => "ICMP".to_owned(),
        other => format!("protocol {}", u8::from(other)),
    };
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
        lines.extend(transport(ip.next_header(), payload));
    }
    lines
}

fn transport(protocol: IpProtocol, bytes: &[u8]) -> Vec<String> {
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
        _ => Vec::new(),
    }
}
