//! TCP and UDP as the balancing nodes see them: ports and flags to decide by.

use balancer::{FlowTuple, TcpFlags};
use dataplane::family::Family;
use dataplane::frame::{Frame, flag};
use dataplane::wire::Header;
use dataplane::wire::extension::{UpperLayer, UpperLayerError};
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;

use crate::upper::NOT_FOUND;

/// Why a packet's ports cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPorts {
    /// The IP packet ends before the TCP or UDP header does.
    Truncated,
    /// The TCP or UDP header is not in the first buffer.
    Split,
}

/// True for the protocols whose ports count.
#[inline]
pub(crate) fn has_ports(upper: u8) -> bool {
    matches!(upper, protocol::TCP | protocol::UDP)
}

/// An IP packet whose upper layer was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpPacket<F: Family> {
    /// Its header.
    pub(crate) header: F::Header,
    /// Where it starts.
    pub(crate) l3: usize,
    /// Where it ends, as its header claims: not before the upper layer starts.
    pub(crate) end: usize,
    /// What it carries.
    pub(crate) upper: UpperLayer,
}

impl<F: Family> IpPacket<F> {
    /// Finds the upper layer of the IP packet at `l3`.
    #[inline]
    pub(crate) fn at(data: &[u8], l3: usize) -> Result<Self, UpperLayerError> {
        let upper = F::Header::upper_layer(data, l3)?;
        let header = *F::Header::at(data, l3).ok_or(UpperLayerError::Split)?;
        Ok(Self { header, l3, end: l3 + header.packet_len(), upper })
    }

    /// The packet in slot `at` of the frame, whose upper layer `ip4-input` or `ip6-input` found.
    /// Fragments are looked at once more, for their identification, as is what was not found.
    #[inline]
    pub(crate) fn of_lanes(frame: &Frame, at: usize) -> Result<Self, UpperLayerError> {
        let lanes = &frame.lanes;
        let l3 = usize::from(lanes.l3_offset[at]);
        let protocol = lanes.protocol[at];
        if lanes.flags[at] & flag::FRAGMENT != 0 || protocol == NOT_FOUND {
            return Self::at(frame.data(at), l3);
        }
        let header = *F::Header::at(frame.data(at), l3).ok_or(UpperLayerError::Split)?;
        let offset = usize::from(lanes.l4_offset[at]);
        let upper = UpperLayer { protocol, offset, fragment: None };
        Ok(Self { header, l3, end: l3 + header.packet_len(), upper })
    }

    /// A fragment other than the first, so that there is no upper-layer header.
    #[inline]
    pub(crate) fn is_later_fragment(&self) -> bool {
        self.upper.fragment.is_some_and(|fragment| !fragment.is_first())
    }

    /// Bytes of the upper layer.
    #[inline]
    pub(crate) fn upper_len(&self) -> usize {
        self.end.saturating_sub(self.upper.offset)
    }

    /// The 5-tuple, and the TCP flags (none for other protocols). Ports are 0 in later fragments
    /// and in protocols other than TCP and UDP, whose headers have to be there.
    #[inline]
    pub(crate) fn flow(&self, data: &[u8]) -> Result<(FlowTuple<F::Address>, TcpFlags), NoPorts> {
        let (src, dst) = (self.header.source(), self.header.destination());
        let (upper, at) = (self.upper.protocol, self.upper.offset);
        let mut tuple = FlowTuple { src, dst, src_port: 0, dst_port: 0, protocol: upper };
        let mut flags = TcpFlags::NONE;
        if !has_ports(upper) || self.is_later_fragment() {
            return Ok((tuple, flags));
        }
        let len = if upper == protocol::TCP { TcpHeader::LEN } else { UdpHeader::LEN };
        if self.upper_len() < len {
            return Err(NoPorts::Truncated);
        }
        if upper == protocol::TCP {
            let tcp = TcpHeader::at(data, at).ok_or(NoPorts::Split)?;
            (tuple.src_port, tuple.dst_port) = (tcp.source_port.get(), tcp.destination_port.get());
            flags = TcpFlags::from_octet(tcp.flags);
        } else {
            let udp = UdpHeader::at(data, at).ok_or(NoPorts::Split)?;
            (tuple.src_port, tuple.dst_port) = (udp.source_port.get(), udp.destination_port.get());
        }
        Ok((tuple, flags))
    }
}
