//! Node ports: packets to our own addresses that a VIP takes (`type nodeport node_port`).

use dataplane::family::Family;
use dataplane::fib::FibEntry;
use dataplane::frame::Frame;
use dataplane::snapshot::Snapshot;
use dataplane::wire::Header;
use dataplane::wire::icmpv4::Icmpv4Header;
use dataplane::wire::ip::IpHeader;

use crate::icmp_about_flow::{About, is_error, quoted_packet};
use crate::transport::{IpPacket, has_ports};

/// Value of the `vip` lane of a packet to a node port, for which there is no prefix with VIPs.
pub(crate) const NODE_PORT: u32 = u32::MAX;

/// True when the whole packet in slot `at` is for a VIP by its node port, or an ICMP error about
/// something that was answered from one.
pub(crate) fn is_for_node_port<F: Family>(snapshot: &Snapshot, frame: &Frame, at: usize) -> bool {
    find::<F>(snapshot, frame, at).is_some()
}

fn find<F: Family>(snapshot: &Snapshot, frame: &Frame, at: usize) -> Option<()> {
    let packet = IpPacket::<F>::of_lanes(frame, at).ok()?;
    let data = frame.data(at);
    let us = packet.header.destination();
    let (protocol, port) = if has_ports(packet.upper.protocol) {
        let (flow, _) = packet.flow(data).ok()?;
        (flow.protocol, flow.dst_port)
    } else {
        let kind = Icmpv4Header::at(data, packet.upper.offset)?.kind;
        if packet.upper.protocol != F::ICMP || !is_error::<F>(kind) {
            return None;
        }
        let About::Packet(quoted) = quoted_packet(data, &packet) else { return None };
        if quoted.src != us {
            return None;
        }
        (quoted.protocol, quoted.src_port)
    };
    snapshot.lb.find_node_port(F::V6, protocol, port)?;
    let own =
        matches!(F::lookup(snapshot, us), FibEntry::Local | FibEntry::Vip { local: true, .. });
    own.then_some(())
}
