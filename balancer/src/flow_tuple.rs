//! A packet's 5-tuple.

/// The 5-tuple of a packet, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowTuple<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Source port, host byte order; 0 for protocols without ports.
    pub src_port: u16,
    /// Destination port, host byte order; 0 for protocols without ports.
    pub dst_port: u16,
    /// IP protocol number (IANA); in IPv6 that of the upper layer.
    pub protocol: u8,
}

impl<A> FlowTuple<A> {
    /// The tuple of the packets that answer.
    #[must_use]
    pub fn reversed(self) -> Self {
        let Self { src, dst, src_port, dst_port, protocol } = self;
        Self { src: dst, dst: src, src_port: dst_port, dst_port: src_port, protocol }
    }
}
