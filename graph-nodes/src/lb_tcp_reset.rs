//! `lb-tcp-reset`: answers TCP to ports that no VIP has, as a host without the service would.

use dataplane::adjacency::ETHERNET_HEADER_LEN;
use dataplane::family::{Family, Ip4, Ip6};
use dataplane::frame::{Frame, flag};
use dataplane::node::{Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::wire::Header;
use dataplane::wire::checksum::transport_checksum;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::wire::tcp::{TcpHeader, tcp_flag};
use dataplane::{next_nodes, node_counters};

use crate::encapsulation::{Outer, OuterFamily, Shim};
use crate::ip_local::OWN_TTL;

/// Data offset of a header without options, in place.
const NO_OPTIONS: u8 = (TcpHeader::LEN as u8 / 4) << 4;

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// IPv4 resets, on their way to the client.
        Lookup4 => "ip4-lookup",
        /// IPv6 resets.
        Lookup6 => "ip6-lookup",
        /// Packets that get no reset.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `lb-tcp-reset` counts.
    pub enum Counter {
        /// Resets made.
        Sent => ("resets sent", Info),
        /// The packet is a reset itself.
        ToReset => ("no reset to a reset", Error),
        /// The packet is a fragment: how long its segment is cannot be told.
        ToFragment => ("no reset to a fragment", Error),
        /// The data offset is below 5 words, or past the end of the packet.
        Malformed => ("tcp header invalid", Error),
        /// Too many resets in this second.
        RateLimited => ("reset rate limit exceeded", Error),
        /// No buffer for the reset.
        NoBuffer => ("no buffer for a reset", Error),
    }
}

/// Makes resets by RFC 9293 §3.10.7.1, for a connection that does not exist.
///
/// The reset goes into a buffer of its own, whatever shape the packet had; the packet is freed.
///
/// # Reads
/// IP header, TCP header; lanes `l4_offset`, `protocol`; flag `FRAGMENT`.
/// # Writes
/// A new packet in place of the old one; lanes `l3_offset`, `l4_offset`; flag `ORIGINATED`.
/// # Next nodes
/// `ip4-lookup`, `ip6-lookup`, `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets that get no reset.
#[derive(Debug, Default)]
pub struct LbTcpReset;

/// The segment that a reset answers.
struct Segment {
    header: TcpHeader,
    /// Bytes of data.
    data_len: usize,
}

/// Reads the segment of a packet.
fn segment<F: Family>(frame: &Frame, at: usize) -> Result<(F::Header, Segment), Counter> {
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    let l4 = usize::from(frame.lanes.l4_offset[at]);
    let data = frame.data(at);
    let ip = *F::Header::at(data, l3).ok_or(Counter::Malformed)?;
    let header = *TcpHeader::at(data, l4).ok_or(Counter::Malformed)?;
    if header.flags & tcp_flag::RST != 0 {
        return Err(Counter::ToReset);
    }
    if frame.lanes.flags[at] & flag::FRAGMENT != 0 {
        return Err(Counter::ToFragment);
    }
    let len = (l3 + ip.packet_len()).saturating_sub(l4);
    if header.header_len() < TcpHeader::LEN {
        return Err(Counter::Malformed);
    }
    let data_len = len.checked_sub(header.header_len()).ok_or(Counter::Malformed)?;
    Ok((ip, Segment { header, data_len }))
}

/// The TCP header of the reset, without checksum.
fn reset(segment: &Segment) -> TcpHeader {
    let Segment { header, data_len } = segment;
    let has = |bit: u8| u32::from(header.flags & bit != 0);
    let (sequence, acknowledgement, flags) = if header.flags & tcp_flag::ACK != 0 {
        (header.acknowledgement.get(), 0, tcp_flag::RST)
    } else {
        let used = *data_len as u32 + has(tcp_flag::SYN) + has(tcp_flag::FIN);
        let next = header.sequence.get().wrapping_add(used);
        (0, next, tcp_flag::RST | tcp_flag::ACK)
    };
    TcpHeader {
        source_port: header.destination_port,
        destination_port: header.source_port,
        sequence: sequence.into(),
        acknowledgement: acknowledgement.into(),
        data_offset: NO_OPTIONS,
        flags,
        window: 0.into(),
        checksum: 0.into(),
        urgent: 0.into(),
    }
}

/// Writes the reset into an empty packet, behind room for an Ethernet header. False when it is too
/// small.
fn write<F: OuterFamily>(ip: &F::Header, segment: &Segment, packet: &mut Packet) -> bool {
    let l4 = ETHERNET_HEADER_LEN + F::Header::LEN;
    if !packet.extend(l4 + TcpHeader::LEN) {
        return false;
    }
    let data = packet.data_mut();
    data.fill(0);
    let (source, destination) = (ip.destination(), ip.source());
    if let Some(room) = TcpHeader::at_mut(data, l4) {
        *room = reset(segment);
    }
    let checksum = transport_checksum(source, destination, protocol::TCP, &data[l4..]);
    if let Some(tcp) = TcpHeader::at_mut(data, l4) {
        tcp.checksum.set(checksum.0);
    }
    let outer = Outer {
        source,
        destination,
        class: 0,
        hop_limit: OWN_TTL,
        dont_fragment: true,
        id: 0,
        flow_label: 0,
        shim: Shim::Plain,
    };
    if let Some(room) = data.get_mut(ETHERNET_HEADER_LEN..) {
        F::write(room, &outer, protocol::TCP, TcpHeader::LEN);
    }
    true
}

impl LbTcpReset {
    fn answer<F: OuterFamily>(
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
    ) -> Result<(), Counter> {
        let (ip, segment) = segment::<F>(frame, at)?;
        if !cx.worker.resets.allow(cx.now.tick_s) {
            return Err(Counter::RateLimited);
        }
        let mut made = cx.io.alloc().ok_or(Counter::NoBuffer)?;
        if !write::<F>(&ip, &segment, &mut made) {
            cx.worker.garbage.push(made);
            return Err(Counter::NoBuffer);
        }
        if let Some(packet) = frame.packet_mut(at) {
            cx.worker.garbage.push(std::mem::replace(packet, made));
        }
        frame.lanes.l3_offset[at] = ETHERNET_HEADER_LEN as u16;
        frame.lanes.l4_offset[at] = (ETHERNET_HEADER_LEN + F::Header::LEN) as u16;
        frame.lanes.protocol[at] = protocol::TCP;
        frame.lanes.flags[at] = flag::ORIGINATED;
        Ok(())
    }
}

impl Node for LbTcpReset {
    const NAME: &'static str = "lb-tcp-reset";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let v6 = frame.data(at).get(l3).is_some_and(|byte| byte >> 4 == Ipv6Header::VERSION);
            let done = if v6 {
                Self::answer::<Ip6>(cx, frame, at).map(|()| Next::Lookup6)
            } else {
                Self::answer::<Ip4>(cx, frame, at).map(|()| Next::Lookup4)
            };
            match done {
                Ok(next) => {
                    cx.count(Counter::Sent, 1);
                    cx.set_next(at, next);
                }
                Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
            }
        }
    }
}
