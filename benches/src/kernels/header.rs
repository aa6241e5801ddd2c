//! Headers: found, checked and read, as every packet's are.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use balancer::FlowTuple;
use dataplane::wire::Header;
use dataplane::wire::ethernet::EthernetHeader;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::wire::udp::UdpHeader;

use super::kernel::Kernel;
use super::world::BURST;
use crate::family::Family;
use crate::instructions::frames::of_clients;
use crate::traffic::Protocol;

const GROUP: &str = "header";
/// Start of the IP header.
const L3: usize = EthernetHeader::LEN;

/// The 5-tuple of a frame whose headers are as they should be.
#[inline]
fn parse<H: IpHeader>(frame: &[u8], valid: impl Fn(&H) -> bool) -> Option<FlowTuple<H::Address>>
where
    H::Address: balancer::Address,
{
    EthernetHeader::at(frame, 0)?;
    let header = H::at(frame, L3)?;
    let upper = H::upper_layer(frame, L3).ok()?;
    let whole = L3 + header.packet_len() <= frame.len();
    if header.version() != H::VERSION || !whole || !valid(header) {
        return None;
    }
    let udp = UdpHeader::at(frame, upper.offset)?;
    let (src, dst) = (header.source(), header.destination());
    let (src_port, dst_port) = (udp.source_port.get(), udp.destination_port.get());
    Some(FlowTuple { src, dst, src_port, dst_port, protocol: upper.protocol })
}

#[inline]
fn parse4(frame: &[u8]) -> Option<FlowTuple<Ipv4Addr>> {
    parse(frame, Ipv4Header::is_checksum_right)
}

/// IPv6 has no checksum of its own.
#[inline]
fn parse6(frame: &[u8]) -> Option<FlowTuple<Ipv6Addr>> {
    parse::<Ipv6Header>(frame, |_| true)
}

fn frames(family: Family) -> Vec<Vec<u8>> {
    of_clients(family, 0..BURST as u64, Protocol::Udp, 64, false, BURST)
}

/// Of both families.
pub(super) fn all() -> Vec<Kernel> {
    let ip4 = Kernel::new(GROUP, "ipv4 and udp, parsed and checked", BURST, || {
        let frames = frames(Family::Ip4);
        move || frames.iter().for_each(|frame| _ = black_box(parse4(frame)))
    });
    let ip6 = Kernel::new(GROUP, "ipv6 and udp, parsed and checked", BURST, || {
        let frames = frames(Family::Ip6);
        move || frames.iter().for_each(|frame| _ = black_box(parse6(frame)))
    });
    vec![ip4.and_counted(), ip6.and_counted()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_frames_are_as_they_should_be() {
        let (ip4, ip6) = (frames(Family::Ip4), frames(Family::Ip6));
        assert!(ip4.iter().all(|frame| parse4(frame).is_some()));
        assert!(ip6.iter().all(|frame| parse6(frame).is_some()));
        assert!(ip6.iter().all(|frame| parse4(frame).is_none()));
    }
}
