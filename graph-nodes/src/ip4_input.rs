//! `ip4-input`: checks the IPv4 header.

use dataplane::fib::{FibDrop, FibEntry};
use dataplane::frame::{Frame, flag};
use dataplane::interface::MAX_INTERFACES;
use dataplane::node::{Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::wire::Header;
use dataplane::wire::checksum::{is_valid, pseudo_header_sum, sum};
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;
use dataplane::{next_nodes, node_counters};

/// One in so many TCP and UDP packets per interface is looked at for a partial checksum.
const SAMPLE_EVERY: u32 = 1024;

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Most packets.
        Lookup => "ip4-lookup",
        /// Packets of interfaces on which replies of nat4 ASs arrive.
        In2out => "lb-nat4-in2out",
        /// Packets that fail a check.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `ip4-input` counts.
    pub enum Counter {
        /// Fewer than 20 bytes behind the Ethernet header.
        TooShort => ("ip4 length < 20 bytes", Error),
        /// The header with its options is spread over several buffers.
        Split => ("headers not in the first buffer", Error),
        /// The version field is not 4.
        Version => ("ip4 version != 4", Error),
        /// The header-length field is below 5.
        HeaderLen => ("ip4 header length < 20 bytes", Error),
        /// Total length is shorter than the header.
        TotalLen => ("ip4 length < header length", Error),
        /// Total length is longer than what arrived.
        Truncated => ("ip4 length > l2 length", Error),
        /// The header checksum is wrong.
        Checksum => ("bad ip4 checksum", Error),
        /// The TTL is 0, which no router sends.
        TtlZero => ("ip4 ttl == 0", Error),
        /// The source is an address of ours, which we do not send to ourselves. A service behind a
        /// VIP could otherwise be made to talk to itself for ever.
        Spoofed => ("ip4 spoofed local-address packet drops", Error),
        /// The source is not a host's address.
        MartianSource => ("ip4 martian source address", Error),
        /// The destination is not a routable address.
        MartianDestination => ("ip4 martian destination address", Error),
        /// Multicast or limited broadcast, of which we are no member.
        Group => ("ip4 multicast or broadcast destination", Error),
        /// A unicast packet that was sent to all stations (RFC 1812 §5.3.4).
        LinkGroup => ("ip4 unicast in a link-layer broadcast", Error),
        /// A sampled TCP or UDP checksum was that of the pseudo-header alone: the sender leaves the
        /// rest to a network card that this packet never passed. It is forwarded as it is.
        PartialChecksum => ("partial checksum: turn off tx offload on the sender", Warning),
    }
}

/// Validates IPv4 headers (RFC 1812 §5.2.2) and drops martians (§5.3.7).
///
/// # Reads
/// The IPv4 header; the FIB's verdict on the source; of one in 1024 TCP and UDP packets per interface, the first included, the L4
/// checksum; `Interface::nat4_in`.
/// # Writes
/// Lane `l4_offset`; the interface's `ip4` counter.
/// # Next nodes
/// `lb-nat4-in2out` on nat4-in interfaces, else `ip4-lookup`; `error-drop`.
/// # Counters
/// See [`Counter`]; all but `partial checksum…` are drops.
/// # Drops
/// Whatever fails a check, each with its own reason.
#[derive(Debug)]
pub struct Ip4Input {
    /// By interface: TCP and UDP packets until the next sample.
    until_sample: Box<[u32; MAX_INTERFACES]>,
}

impl Default for Ip4Input {
    fn default() -> Self {
        Self { until_sample: Box::new([0; MAX_INTERFACES]) }
    }
}

/// Checks everything that the header alone tells.
fn check(packet: &Packet, l3: usize, link_group: bool) -> Result<&Ipv4Header, Counter> {
    let data = packet.data();
    let split = packet.segments() > 1;
    let Some(header) = Ipv4Header::at(data, l3) else {
        return Err(if split && packet.len() >= l3 + Ipv4Header::LEN {
            Counter::Split
        } else {
            Counter::TooShort
        });
    };
    if header.version() != 4 {
        return Err(Counter::Version);
    }
    let header_len = header.header_len();
    if header_len < Ipv4Header::LEN {
        return Err(Counter::HeaderLen);
    }
    let total_len = usize::from(header.total_len.get());
    if total_len < header_len {
        return Err(Counter::TotalLen);
    }
    if l3 + total_len > packet.len() {
        return Err(Counter::Truncated);
    }
    let whole = data.get(l3..l3 + header_len).ok_or(Counter::Split)?;
    if !is_valid(sum(whole)) {
        return Err(Counter::Checksum);
    }
    if header.ttl == 0 {
        return Err(Counter::TtlZero);
    }
    if matches!(header.source[0], 0 | 127 | 224..) {
        return Err(Counter::MartianSource);
    }
    match header.destination[0] {
        0 | 127 => Err(Counter::MartianDestination),
        224..240 => Err(Counter::Group),
        240.. if header.destination == [255; 4] => Err(Counter::Group),
        240.. => Err(Counter::MartianDestination),
        _ if link_group => Err(Counter::LinkGroup),
        _ => Ok(header),
    }
}

/// True when the packet's TCP or UDP checksum is the bare sum of the pseudo-header.
fn has_partial_checksum(data: &[u8], header: &Ipv4Header, l4: usize) -> bool {
    let field = if header.protocol == protocol::TCP {
        TcpHeader::at(data, l4).map(|tcp| tcp.checksum.get())
    } else {
        UdpHeader::at(data, l4).map(|udp| udp.checksum.get()).filter(|sum| *sum != 0)
    };
    let len = header.total_len.get().saturating_sub(header.header_len() as u16);
    let pseudo = pseudo_header_sum(header.source(), header.destination(), header.protocol, len);
    field == Some(pseudo.fold())
}

impl Node for Ip4Input {
    const NAME: &'static str = "ip4-input";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let rx = frame.lanes.rx_interface[at];
            let link_group = frame.lanes.flags[at] & flag::LINK_GROUP != 0;
            if let Some(stats) = cx.worker.shared.interfaces.get(rx.index()) {
                stats.ip4.add(1);
            }
            let Some(packet) = frame.packet(at) else { continue };
            let header = match check(packet, l3, link_group) {
                Ok(header) => header,
                Err(reason) => {
                    cx.drop_packet(frame, at, Next::Drop, reason);
                    continue;
                }
            };
            let reason = match cx.snapshot.fib4.lookup(header.source()) {
                FibEntry::Local | FibEntry::Vip { .. } => Some(Counter::Spoofed),
                FibEntry::Drop(FibDrop::Broadcast) => Some(Counter::MartianSource),
                _ => None,
            };
            if let Some(reason) = reason {
                cx.drop_packet(frame, at, Next::Drop, reason);
                continue;
            }
            let l4 = l3 + header.header_len();
            if matches!(header.protocol, protocol::TCP | protocol::UDP)
                && !header.is_fragment()
                && let Some(until) = self.until_sample.get_mut(rx.index())
            {
                if *until == 0 {
                    *until = SAMPLE_EVERY;
                    if has_partial_checksum(packet.data(), header, l4) {
                        cx.count(Counter::PartialChecksum, 1);
                    }
                }
                *until -= 1;
            }
            frame.lanes.l4_offset[at] = l4 as u16;
            let nat4_in = cx.snapshot.interface(rx).is_some_and(|interface| interface.nat4_in);
            cx.set_next(at, if nat4_in { Next::In2out } else { Next::Lookup });
        }
    }
}
