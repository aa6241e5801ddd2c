//! [`FragmentWays`]: where the nodes of a family find what is known of fragmented datagrams.

use balancer::{FragmentKey, FragmentTable};
use dataplane::family::{Family, Ip4, Ip6};
use dataplane::wire::ip::IpHeader;
use dataplane::worker::WorkerState;

use crate::transport::IpPacket;

/// A family whose fragments are kept together.
pub trait FragmentWays: Family {
    #[doc(hidden)]
    fn ways(worker: &mut WorkerState) -> &mut FragmentTable<Self::Address>;
}

impl FragmentWays for Ip4 {
    #[inline]
    fn ways(worker: &mut WorkerState) -> &mut FragmentTable<Self::Address> {
        &mut worker.fragments4
    }
}

impl FragmentWays for Ip6 {
    #[inline]
    fn ways(worker: &mut WorkerState) -> &mut FragmentTable<Self::Address> {
        &mut worker.fragments6
    }
}

/// The datagram that a fragment is of; `None` for a whole packet.
pub(crate) fn fragment_key<F: Family>(packet: &IpPacket<F>) -> Option<FragmentKey<F::Address>> {
    let fragment = packet.upper.fragment?;
    // The fragments of an IPv6 datagram need not agree about what they say follows (RFC 8200 §4.5).
    let protocol = if F::V6 { 0 } else { packet.upper.protocol };
    let (src, dst) = (packet.header.source(), packet.header.destination());
    Some(FragmentKey { src, dst, id: fragment.id, protocol })
}
