//! [`FlowJob`]: a packet between the two stages.

use balancer::{KeyKind, Located, Passing};

/// A packet whose flow is to be looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowJob {
    pub(super) located: Located,
    /// From a client: the VIP's index.
    pub(super) subject: u32,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    /// Of a packet to an AS behind NAT: the port there, host byte order.
    pub(super) port: u16,
    /// The slot in the frame.
    pub(super) at: u8,
    /// Where in the group its addresses and ports are.
    pub(super) from: u8,
    /// What it does to its flow, and which way it goes.
    pub(super) passing: Passing,
    pub(super) kind: KeyKind,
}

impl FlowJob {
    /// No job.
    pub(super) fn none() -> Self {
        Self {
            located: Located::default(),
            subject: 0,
            len: 0,
            port: 0,
            at: 0,
            from: 0,
            passing: Passing::default(),
            kind: KeyKind::Tag,
        }
    }
}
