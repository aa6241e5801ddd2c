//! Packets that come out of a tunnel of ours: the part of `ip4-local` and `ip6-local` that takes the
//! outer header off (RFC 2003, RFC 2473, RFC 4213).

use dataplane::family::{Family, Ip4, Ip6};
use dataplane::frame::Frame;
use dataplane::node::NodeCx;
use dataplane::wire::Header;
use dataplane::wire::ecn::decapsulated_ecn;
use dataplane::wire::ethernet::{EthernetHeader, ether_type};
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;

use crate::icmp_kind::LocalFamily;
use crate::ip_local::{Counter, IpLocal, Next};

/// Adjusts the inner packet's ECN field to what its outer header met on the way (RFC 6040 §4.2).
/// What is no packet of this family is sorted out where packets come in.
fn adjust_ecn<Inner: Family>(inner: &mut [u8], outer_class: u8) -> Result<(), Counter> {
    let Some(header) = Inner::Header::at_mut(inner, 0) else { return Ok(()) };
    if header.version() != Inner::Header::VERSION {
        return Ok(());
    }
    let class = header.traffic_class();
    let ecn = decapsulated_ecn(class, outer_class).ok_or(Counter::Congested)?;
    if ecn != class & 3 {
        header.set_traffic_class(class & !3 | ecn);
    }
    Ok(())
}

/// Takes the outer header off packet `at`, whose payload is `protocol`, and gives it to the input
/// node of the inner family as a packet of the tunnel's interface.
pub(crate) fn decapsulate<F: LocalFamily>(
    cx: &NodeCx<'_, IpLocal<F>>,
    frame: &mut Frame,
    at: usize,
) -> Result<Next, Counter> {
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    let l4 = usize::from(frame.lanes.l4_offset[at]);
    let inner4 = frame.lanes.protocol[at] == protocol::IPIP;
    let header = *F::Header::at(frame.data(at), l3).ok_or(Counter::Protocol)?;
    let ends = (header.destination().into(), header.source().into());
    let tunnel = cx.snapshot.tunnels.get(&ends).and_then(|id| cx.snapshot.interface(*id));
    let tunnel = tunnel.ok_or(Counter::Protocol)?;
    if !tunnel.up {
        return Err(Counter::TunnelDown);
    }
    let end = l3 + header.packet_len();
    let packet = frame.packet_mut(at).ok_or(Counter::Protocol)?;
    // What stands behind the outer packet is not the inner one's.
    packet.truncate(end);
    let inner = packet.data_mut().get_mut(l4..).ok_or(Counter::Split)?;
    match inner4 {
        true => adjust_ecn::<Ip4>(inner, header.traffic_class())?,
        false => adjust_ecn::<Ip6>(inner, header.traffic_class())?,
    }
    // The addresses of the frame move in front of the inner packet.
    let start = l4.checked_sub(EthernetHeader::LEN).ok_or(Counter::Split)?;
    packet.data_mut().copy_within(..12, start);
    if !packet.trim_front(start as u16) {
        return Err(Counter::Split);
    }
    if let Some(ethernet) = EthernetHeader::at_mut(packet.data_mut(), 0) {
        ethernet.ether_type.set(if inner4 { ether_type::IPV4 } else { ether_type::IPV6 });
    }
    let len = packet.len().saturating_sub(EthernetHeader::LEN);
    if let Some(stats) = cx.worker.shared.interfaces.get(tunnel.id.index()) {
        stats.rx_packets.add(1);
        stats.rx_bytes.add(len as u64);
    }
    let lanes = &mut frame.lanes;
    lanes.rx_interface[at] = tunnel.id;
    lanes.l3_offset[at] = EthernetHeader::LEN as u16;
    lanes.l4_offset[at] = 0;
    lanes.protocol[at] = 0;
    lanes.flags[at] = 0;
    Ok(if inner4 { Next::Input4 } else { Next::Input6 })
}
