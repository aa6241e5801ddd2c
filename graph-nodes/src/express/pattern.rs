//! [`Pattern`]: what most packets of a burst have in common.

use balancer::{Address, FlowTuple, KeyKind};
use dataplane::interface::InterfaceId;

use super::destinations::Destination;
use super::gate::Gate;
use super::likeness::{Common, Likeness, Varying};
use super::ordinary::Ordinary;

/// Packets from one interface to one service of one VIP. What is said here holds in one snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern<F: Likeness> {
    pub(super) interface: InterfaceId,
    /// ASs' replies come from there, too.
    pub(super) replies: bool,
    pub(super) like: F::Like,
    pub(super) destination: Destination,
    dst: F::Address,
    /// `None`: any.
    dst_port: Option<u16>,
    /// IP protocol number.
    pub(super) protocol: u8,
}

impl<F: Likeness> Pattern<F> {
    /// The pattern of this packet, which came through this gate, to this destination. `any_port`:
    /// whatever its port is. `None` where packets must be looked at one by one.
    pub(super) fn of(
        gate: &Gate,
        packet: &Ordinary<F::Address>,
        destination: Destination,
        any_port: bool,
    ) -> Option<Self> {
        let Destination { kind, nat, mss, target, .. } = destination;
        // An entry may have to be compared in full.
        if mss || kind == KeyKind::Full || nat && target.is_none() {
            return None;
        }
        let FlowTuple { dst, dst_port, protocol, .. } = packet.tuple;
        let dst_port = (!any_port).then_some(dst_port);
        let like = F::like(&Common {
            station: gate.station,
            dst: Some(dst),
            dst_port,
            protocol,
            summed: nat,
        });
        let replies = gate.nat_in[usize::from(F::V6)];
        Some(Self {
            interface: gate.interface,
            replies,
            like,
            destination,
            dst,
            dst_port,
            protocol,
        })
    }

    /// Whether packets of both are the same.
    pub(super) fn is_of_the_same(&self, other: &Self) -> bool {
        let of =
            |pattern: &Self| (pattern.interface, pattern.dst, pattern.dst_port, pattern.protocol);
        of(self) == of(other)
    }

    /// The flow from nobody, where all flows go to one port.
    pub(super) fn flow_from_nobody(&self) -> Option<FlowTuple<F::Address>> {
        let (src, dst_port) = (F::Address::from_bits(0), self.dst_port?);
        Some(FlowTuple { src, dst: self.dst, src_port: 0, dst_port, protocol: self.protocol })
    }

    /// The flow of a packet.
    #[inline(always)]
    pub(super) fn flow(&self, varying: &Varying<F::Address>) -> FlowTuple<F::Address> {
        let Varying { src, src_port, dst_port, .. } = *varying;
        FlowTuple { src, dst: self.dst, src_port, dst_port, protocol: self.protocol }
    }
}
