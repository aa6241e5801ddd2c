//! Direct flows: a client reaches an AS's service itself, through the load balancer as a router.
//!
//! Their replies look exactly like replies for a VIP. An entry tells them apart.

use crate::address::Address;
use crate::application_server::AsId;
use crate::balancer::Balancer;
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::server_view::{Occupancy, ServerView};
use crate::sticky_owner::NewEntry;
use crate::tcp_flags::TcpFlags;
use crate::tcp_state::{Direction, FlowState};
use crate::timeouts::ProfileId;

/// What happens to a client's packet to an AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectDecision {
    /// Not to a service that stands behind a VIP: just route it.
    NotMapped,
    /// Of a known direct flow: route it.
    Existing,
    /// The first of a direct flow, now known: route it.
    New,
    /// No room for an entry, so its replies would be translated: drop, counted as
    /// [`TABLE_FULL`](crate::TABLE_FULL).
    TableFullDrop,
    /// The client has a flow through a VIP with this address and port at this service: drop,
    /// counted as [`TUPLE_IN_USE`](crate::TUPLE_IN_USE).
    TupleInUse,
}

impl Balancer<'_> {
    /// Decides for a client's packet whose destination is an AS's address, and keeps its flow's
    /// entry up to date: no VIP's, so it lives as long as the global timeouts say. `tuple` is the
    /// packet's.
    pub fn record_direct<A: Address>(
        &mut self,
        tuple: &FlowTuple<A>,
        flags: TcpFlags,
    ) -> DirectDecision {
        let tables = self.tables;
        let Some(endpoint) = tables.reverse.get(tuple.dst, tuple.dst_port, tuple.protocol) else {
            return DirectDecision::NotMapped;
        };
        let key = FlowKey::direct(self.owner.instance(), tuple);
        if let Some((slot, value)) = self.own(&key)
            && !(flags.opens() && value.state().is_closing())
        {
            let next = value.state().next(Direction::ToServer, flags);
            self.refresh(slot, ProfileId::GLOBAL, next);
            return DirectDecision::Existing;
        }
        let view = ServerView { tuple: *tuple, endpoint };
        if self.occupancy(&view, &key) == Occupancy::InUse {
            return DirectDecision::TupleInUse;
        }
        self.supersede(&view, &key);
        let state = FlowState::first(tuple.protocol, flags);
        let expiry_tick = self.expiry_tick(ProfileId::GLOBAL, state);
        let entry = NewEntry { as_id: AsId::from_low_bits(0), epoch: 0, state, expiry_tick };
        if self.insert(&key, entry, true) {
            DirectDecision::New
        } else {
            DirectDecision::TableFullDrop
        }
    }
}
