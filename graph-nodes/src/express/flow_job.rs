//! [`FlowJob`]: a packet between the two stages.

use balancer::{Direction, KeyKind, Located, Passing, TcpFlags, VipId};

/// A packet whose flow is to be looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowJob {
    pub(super) located: Located,
    pub(super) role: Role,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    /// Of a packet to an AS behind NAT: the port there, host byte order.
    pub(super) port: u16,
    /// The slot in the frame.
    pub(super) at: u8,
    pub(super) upper: u8,
    pub(super) passing: Passing,
    pub(super) kind: KeyKind,
}

impl FlowJob {
    /// No job.
    pub(super) fn none() -> Self {
        Self {
            located: Located::default(),
            role: Role::Reply(0),
            len: 0,
            port: 0,
            at: 0,
            upper: 0,
            passing: Passing::new(Direction::ToServer, TcpFlags::NONE),
            kind: KeyKind::Tag,
        }
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// From a client.
    ToVip(VipId),
    /// From an AS behind NAT: the position of its service.
    Reply(u16),
}
