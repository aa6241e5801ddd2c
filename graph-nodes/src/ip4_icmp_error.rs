//! `ip4-icmp-error`: tells senders why their packet did not get through.

use std::net::Ipv4Addr;

use dataplane::frame::{Frame, flag};
use dataplane::node::{Node, NodeCx};
use dataplane::wire::Header;
use dataplane::wire::checksum::sum;
use dataplane::wire::ethernet::EthernetHeader;
use dataplane::wire::icmpv4::Icmpv4Header;
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::{next_nodes, node_counters};

use crate::forwarding::link;
use crate::icmp_error::IcmpError;
use crate::ip4_local::OWN_TTL;

/// An error message is at most this long, IP header included (RFC 1812 §4.3.2.3).
const MESSAGE_MAX: usize = 576;
/// DSCP CS6 (RFC 1812 §4.3.2.5: errors have precedence 6).
const TOS: u8 = 0xc0;
const L3: usize = EthernetHeader::LEN;
const L4: usize = L3 + Ipv4Header::LEN;
const QUOTE: usize = L4 + Icmpv4Header::LEN;
const QUOTE_MAX: usize = MESSAGE_MAX - Ipv4Header::LEN - Icmpv4Header::LEN;

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// The error, on its way to the sender.
        Lookup => "ip4-lookup",
        /// A packet about which no error is sent.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `ip4-icmp-error` counts.
    pub enum Counter {
        /// Time exceeded.
        TtlSent => ("hop limit exceeded response sent", Info),
        /// Destination unreachable, "fragmentation needed" included.
        UnreachableSent => ("destination unreachable response sent", Info),
        /// The packet was made by this box.
        Own => ("no error about our own packet", Error),
        /// The packet is an ICMP error itself, or an ICMP message too short to tell.
        AboutError => ("no error about an icmp error", Error),
        /// The packet is a fragment other than the first.
        AboutFragment => ("no error about a later fragment", Error),
        /// The packet came to a group of stations.
        AboutBroadcast => ("no error about a broadcast", Error),
        /// The receiving interface has no address to speak from.
        NoSource => ("no address to send an error from", Error),
        /// Too many errors in this second.
        RateLimited => ("icmp error rate limit exceeded", Error),
        /// No buffer for the message.
        NoBuffer => ("no buffer for an icmp error", Error),
    }
}

/// Makes ICMP errors by the rules of RFC 1812 §4.3.2.
///
/// The message goes into a buffer of its own, whatever shape the packet had; the packet is freed.
///
/// # Reads
/// The packet; lane `icmp`, and `adjacency` for the MTU; addresses of the receiving interface.
/// # Writes
/// A new packet in place of the old one; lanes `l3_offset`, `l4_offset`; flag `ORIGINATED`.
/// # Next nodes
/// `ip4-lookup`, `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets about which no error may be sent, or none can be.
#[derive(Debug, Default)]
pub struct Ip4IcmpError;

/// Checks whether an error about the packet may be sent (RFC 1812 §4.3.2.7).
fn permitted(data: &[u8], l3: usize, flags: u8) -> Result<(), Counter> {
    if flags & flag::ORIGINATED != 0 {
        return Err(Counter::Own);
    }
    if flags & flag::LINK_GROUP != 0 {
        return Err(Counter::AboutBroadcast);
    }
    let header = Ipv4Header::at(data, l3).ok_or(Counter::AboutError)?;
    if header.is_later_fragment() {
        return Err(Counter::AboutFragment);
    }
    if header.protocol == protocol::ICMP {
        let icmp = Icmpv4Header::at(data, l3 + header.header_len()).ok_or(Counter::AboutError)?;
        if icmp.is_error() {
            return Err(Counter::AboutError);
        }
    }
    // Group destinations and sources that are no host's do not get past ip4-input.
    Ok(())
}

/// Writes the message about the IP packet `quote` into `room`, which is as long as the message.
fn write(
    room: &mut [u8],
    quote: &[u8],
    (source, destination): (Ipv4Addr, Ipv4Addr),
    error: IcmpError,
    mtu: u16,
    id: u16,
) {
    let total_len = (room.len() - L3) as u16;
    room[..QUOTE].fill(0);
    room[QUOTE..].copy_from_slice(quote);
    if let Some(ethernet) = EthernetHeader::at_mut(room, 0) {
        ethernet.ether_type.set(dataplane::wire::ethernet::ether_type::IPV4);
    }
    if let Some(header) = Ipv4Header::at_mut(room, L3) {
        header.version_ihl = 0x45;
        header.tos = TOS;
        header.total_len.set(total_len);
        header.id.set(id);
        header.ttl = OWN_TTL;
        header.protocol = protocol::ICMP;
        header.source = source.octets();
        header.destination = destination.octets();
    }
    let checksum = sum(&room[L3..L4]).checksum();
    if let Some(header) = Ipv4Header::at_mut(room, L3) {
        header.checksum.set(checksum.0);
    }
    if let Some(icmp) = Icmpv4Header::at_mut(room, L4) {
        (icmp.kind, icmp.code) = error.type_and_code();
        icmp.sequence.set(mtu);
    }
    let checksum = sum(&room[L4..]).checksum();
    if let Some(icmp) = Icmpv4Header::at_mut(room, L4) {
        icmp.checksum.set(checksum.0);
    }
}

impl Ip4IcmpError {
    fn send(cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize) -> Result<Counter, Counter> {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let snapshot = cx.snapshot;
        let data = frame.data(at);
        permitted(data, l3, frame.lanes.flags[at])?;
        let header = Ipv4Header::at(data, l3).ok_or(Counter::AboutError)?;
        let destination = header.source();
        let interface = snapshot.interface(frame.lanes.rx_interface[at]);
        let source = interface.and_then(|i| i.source4(destination)).ok_or(Counter::NoSource)?;
        if !cx.worker.icmp_errors.allow(cx.now.tick_s) {
            return Err(Counter::RateLimited);
        }
        let error = IcmpError::from_lane(frame.lanes.icmp[at]);
        let mtu = match error {
            IcmpError::FragmentationNeeded => {
                link(snapshot, &frame.lanes, at).map_or(0, |(_, mtu)| mtu)
            }
            IcmpError::TtlExceeded | IcmpError::NetUnreachable => 0,
        };
        let ip = data.get(l3..).unwrap_or_default();
        let quote_len = usize::from(header.total_len.get()).min(ip.len()).min(QUOTE_MAX);
        let mut message = cx.io.alloc().ok_or(Counter::NoBuffer)?;
        if !message.extend(QUOTE + quote_len) {
            cx.worker.garbage.push(message);
            return Err(Counter::NoBuffer);
        }
        let id = cx.worker.next_ip_id();
        write(message.data_mut(), &ip[..quote_len], (source, destination), error, mtu, id);
        if let Some(packet) = frame.packet_mut(at) {
            cx.worker.garbage.push(std::mem::replace(packet, message));
        }
        frame.lanes.l3_offset[at] = L3 as u16;
        frame.lanes.l4_offset[at] = L4 as u16;
        frame.lanes.flags[at] = flag::ORIGINATED;
        Ok(match error {
            IcmpError::TtlExceeded => Counter::TtlSent,
            IcmpError::NetUnreachable | IcmpError::FragmentationNeeded => Counter::UnreachableSent,
        })
    }
}

impl Node for Ip4IcmpError {
    const NAME: &'static str = "ip4-icmp-error";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            match Self::send(cx, frame, at) {
                Ok(sent) => {
                    cx.count(sent, 1);
                    cx.set_next(at, Next::Lookup);
                }
                Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
            }
        }
    }
}
