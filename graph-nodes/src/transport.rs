//! TCP and UDP as the balancing nodes see them: ports and flags to decide by, and the translation
//! of one end of a flow.

use std::net::Ipv4Addr;

use balancer::{FlowTuple, Protocol, TcpFlags};
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;

/// Why a packet has no ports to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPorts {
    /// Neither TCP nor UDP, or no IPv4 header at all.
    Protocol,
    /// A fragment other than the first.
    LaterFragment,
    /// The IP packet ends before the TCP or UDP header does.
    Truncated,
    /// The TCP or UDP header is not in the first buffer.
    Split,
}

/// Which end of a flow is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

/// Reads the 5-tuple and the TCP flags (none for UDP) of the IPv4 packet at `l3`.
#[inline]
pub(crate) fn flow(
    data: &[u8],
    l3: usize,
    l4: usize,
) -> Result<(FlowTuple<Ipv4Addr>, TcpFlags), NoPorts> {
    let header = Ipv4Header::at(data, l3).ok_or(NoPorts::Protocol)?;
    let protocol = Protocol::from_number(header.protocol).ok_or(NoPorts::Protocol)?;
    if header.is_later_fragment() {
        return Err(NoPorts::LaterFragment);
    }
    let l4_len = match protocol {
        Protocol::Tcp => TcpHeader::LEN,
        Protocol::Udp => UdpHeader::LEN,
    };
    if l4 + l4_len > l3 + usize::from(header.total_len.get()) {
        return Err(NoPorts::Truncated);
    }
    let (src_port, dst_port, flags) = match protocol {
        Protocol::Tcp => {
            let tcp = TcpHeader::at(data, l4).ok_or(NoPorts::Split)?;
            let flags = TcpFlags::from_octet(tcp.flags);
            (tcp.source_port.get(), tcp.destination_port.get(), flags)
        }
        Protocol::Udp => {
            let udp = UdpHeader::at(data, l4).ok_or(NoPorts::Split)?;
            (udp.source_port.get(), udp.destination_port.get(), TcpFlags::NONE)
        }
    };
    let (src, dst) = (header.source(), header.destination());
    Ok((FlowTuple { src, dst, src_port, dst_port, protocol: header.protocol }, flags))
}

/// Replaces address and port (host order) of one end, and updates both checksums by what changed
/// (RFC 1624). Nothing else of the packet is touched. `flow` must have succeeded on it.
#[inline]
pub(crate) fn translate(
    data: &mut [u8],
    l3: usize,
    l4: usize,
    end: End,
    address: Ipv4Addr,
    port: u16,
) {
    let Some(header) = Ipv4Header::at_mut(data, l3) else { return };
    let protocol = Protocol::from_number(header.protocol);
    let delta = match end {
        End::Source => header.set_source(address),
        End::Destination => header.set_destination(address),
    };
    match protocol {
        Some(Protocol::Tcp) => {
            let Some(tcp) = TcpHeader::at_mut(data, l4) else { return };
            let field = match end {
                End::Source => &mut tcp.source_port,
                End::Destination => &mut tcp.destination_port,
            };
            let old = field.get();
            field.set(port);
            tcp.update_checksum(delta.word(old, port));
        }
        Some(Protocol::Udp) => {
            let Some(udp) = UdpHeader::at_mut(data, l4) else { return };
            let field = match end {
                End::Source => &mut udp.source_port,
                End::Destination => &mut udp.destination_port,
            };
            let old = field.get();
            field.set(port);
            udp.update_checksum(delta.word(old, port));
        }
        None => {}
    }
}
