//! Where a packet would go, and why, without anything changing.

use crate::address::Address;
use crate::application_server::AsId;
use crate::balancer::Balancer;
use crate::flow_tuple::FlowTuple;
use crate::vip::Vip;

/// Where a flow's packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The AS; `None` when no AS takes new flows.
    pub server: Option<AsId>,
    /// What decides it.
    pub why: Why,
}

/// What decides where a flow's packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// This worker knows the flow.
    Own,
    /// Another worker knows the flow; its position among the peers.
    Peer(usize),
    /// Nobody does; the slot of the new-flow table.
    Slot(usize),
    /// Nobody does, and new flows take turns ([`Rotation::next`](crate::Rotation::next) says
    /// whose it is). The AS is the one of the new-flow table, to which packets go that cannot be
    /// remembered.
    RoundRobin,
    /// No AS takes new flows.
    NoServer,
}

impl Balancer<'_> {
    /// Where a client's packet to a VIP would go, unless it started a flow whose client address and
    /// port are taken there. For packets about a flow (ICMP errors, later fragments), and for
    /// people who ask.
    #[must_use]
    pub fn peek<A: Address>(&self, vip: &Vip, tuple: &FlowTuple<A>) -> Explanation {
        let key = self.key(vip, tuple);
        if let Some((_, value)) = self.own(&key) {
            return Explanation { server: Some(value.as_id()), why: Why::Own };
        }
        if let Some((peer, value)) = self.at_peers(&key) {
            return Explanation { server: Some(value.as_id()), why: Why::Peer(peer) };
        }
        let slot = vip.table.slot_of(self.tables.hasher.hash(tuple, vip.src_ip_sticky));
        let server = vip.server_in_slot(slot);
        let why = match server {
            None => Why::NoServer,
            Some(_) if vip.rotation.is_some() => Why::RoundRobin,
            Some(_) => Why::Slot(slot),
        };
        Explanation { server, why }
    }
}
