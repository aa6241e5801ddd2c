//! A packet's 5-tuple.

use std::net::Ipv4Addr;

use crate::protocol::Protocol;

/// The 5-tuple of an IPv4 TCP or UDP packet, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowTuple {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Source port, host byte order.
    pub src_port: u16,
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}
