//! The balancing decision: which AS a client's packet to a VIP goes to.

use std::net::Ipv4Addr;

use crate::application_server::{AsId, ServerState};
use crate::balancer::{Asker, Balancer, Occupancy};
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::nat_reverse::Endpoint;
use crate::protocol::Protocol;
use crate::sticky_owner::NewEntry;
use crate::tcp_state::{Direction, FlowState, TcpFlags};
use crate::vip::Vip;
use crate::vip_counter::VipCounter;

/// How many ASs are tried for a new flow whose client address and port are taken at the first.
pub const CLASH_SERVERS_MAX: usize = 8;

/// How many slots of the new-flow table are looked at for them.
pub const CLASH_SLOTS_MAX: usize = 1024;

/// What happens to a client's packet to a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It belongs to a known flow: forward to the AS.
    Existing(AsId),
    /// It starts a flow, now known: forward to the AS.
    New(AsId),
    /// Its buckets are full; forward to the AS that the new-flow table says.
    Untracked(AsId),
    /// No AS takes new flows: drop.
    NoServer,
    /// Its buckets are full, and without an entry its replies could not be told from another
    /// VIP's: drop, counted as [`TABLE_FULL`].
    TableFullDrop,
    /// Its client address and port are taken at every AS that was tried: drop, counted as
    /// [`TUPLE_IN_USE`].
    TupleInUse,
}

/// The drop reason of [`Decision::TableFullDrop`].
pub const TABLE_FULL: &str = "sticky table full";

/// The drop reason of [`Decision::TupleInUse`].
pub const TUPLE_IN_USE: &str = "nat tuple in use";

impl Decision {
    /// The AS to forward to; `None` to drop.
    #[must_use]
    pub const fn server(self) -> Option<AsId> {
        match self {
            Self::Existing(as_id) | Self::New(as_id) | Self::Untracked(as_id) => Some(as_id),
            Self::NoServer | Self::TableFullDrop | Self::TupleInUse => None,
        }
    }

    /// The VIP's counter for the packet; `None` for the drops that VPP does not know.
    #[must_use]
    pub const fn counter(self) -> Option<VipCounter> {
        match self {
            Self::Existing(_) => Some(VipCounter::Existing),
            Self::New(_) => Some(VipCounter::First),
            Self::Untracked(_) => Some(VipCounter::Untracked),
            Self::NoServer => Some(VipCounter::NoServer),
            Self::TableFullDrop | Self::TupleInUse => None,
        }
    }
}

impl<'a> Balancer<'a> {
    /// Decides for a client's packet to a VIP and keeps its flow's entry up to date.
    ///
    /// `tuple` is the packet's; `flags` are [`TcpFlags::NONE`] for UDP. In this order:
    ///
    /// 1. An entry that is alive keeps its AS. A SYN is a retransmission, unless the connection is
    ///    closing or the AS removed: it then starts a new one.
    /// 2. For other TCP packets, an entry at a peer is adopted: the NIC moved the flow.
    /// 3. The new-flow table. Nothing is kept of a packet that no AS takes.
    pub fn select(&mut self, vip: &Vip, tuple: &FlowTuple, flags: TcpFlags) -> Decision {
        let key = FlowKey::vip(tuple.src, tuple.src_port, vip.id);
        if let Some((slot, value)) = self.own(key)
            && !(flags.opens() && self.is_over(value.state(), value.as_id()))
        {
            self.refresh(slot, value.state().next(Direction::ToServer, flags));
            return Decision::Existing(value.as_id());
        }
        if vip.key.protocol == Protocol::Tcp
            && !flags.opens()
            && let Some(value) = self.at_peers(key)
        {
            let state = value.state().next(Direction::ToServer, flags);
            self.insert(key, self.entry(value.as_id(), state));
            return Decision::Existing(value.as_id());
        }
        self.select_new(vip, key, tuple, flags)
    }

    /// Whether a SYN on such an entry starts another connection.
    fn is_over(&self, state: FlowState, as_id: AsId) -> bool {
        state == FlowState::Closing
            || state != FlowState::Udp
                && self.tables.server(as_id).is_none_or(|s| s.state == ServerState::Removed)
    }

    fn entry(&self, as_id: AsId, state: FlowState) -> NewEntry {
        NewEntry { as_id, epoch: self.tables.epoch_of(as_id).unwrap_or(0), state, expiry_tick: 0 }
    }

    fn select_new(
        &mut self,
        vip: &Vip,
        key: FlowKey,
        tuple: &FlowTuple,
        flags: TcpFlags,
    ) -> Decision {
        let slot = vip.table.slot_of(self.tables.hasher.hash(tuple, vip.src_ip_sticky));
        let Some(first) = vip.server_in_slot(slot) else {
            return Decision::NoServer;
        };
        let client = (tuple.src, tuple.src_port);
        // A new connection keeps clear of a server's TIME_WAIT where it can; a packet from the
        // middle of one goes where the table says.
        let wanted = if flags.opens() { Occupancy::Free } else { Occupancy::Closing };
        let (as_id, endpoint) = match self.service(vip, first, client) {
            Some((endpoint, occupancy)) if occupancy <= wanted => (first, endpoint),
            _ => match self.other_server(vip, slot, client, wanted) {
                Some(other) => other,
                None => return Decision::TupleInUse,
            },
        };
        self.supersede(endpoint, client, Asker::Vip(vip.id));
        let state = FlowState::first(vip.key.protocol, flags);
        if self.insert(key, self.entry(as_id, state)) {
            Decision::New(as_id)
        } else if endpoint.is_shared() {
            Decision::TableFullDrop
        } else {
            Decision::Untracked(as_id)
        }
    }

    /// The service of the VIP at an AS, and how free the client's address and port are there.
    fn service(
        &self,
        vip: &Vip,
        as_id: AsId,
        client: (Ipv4Addr, u16),
    ) -> Option<(&'a Endpoint, Occupancy)> {
        let tables = self.tables;
        let address = tables.server(as_id)?.address;
        let endpoint = tables.reverse.get(address, vip.target_port, vip.key.protocol)?;
        Some((endpoint, self.occupancy(endpoint, client, Asker::Vip(vip.id))))
    }

    /// The first AS of the new-flow table from `slot` on at which the client's address and port
    /// are as free as wanted; failing that, the first at which no flow is alive. The search is
    /// bounded, as an attacker can make ports clash on purpose.
    #[cold]
    fn other_server(
        &self,
        vip: &Vip,
        slot: usize,
        client: (Ipv4Addr, u16),
        wanted: Occupancy,
    ) -> Option<(AsId, &'a Endpoint)> {
        let mut tried = [None; CLASH_SERVERS_MAX];
        let mut count = 0;
        let mut closing = None;
        let limit = CLASH_SERVERS_MAX.min(vip.members.len());
        let length = vip.table.length().get() as usize;
        for step in 0..length.min(CLASH_SLOTS_MAX) {
            if count == limit {
                break;
            }
            let as_id = vip.server_in_slot((slot + step) % length)?;
            if tried[..count].contains(&Some(as_id)) {
                continue;
            }
            tried[count] = Some(as_id);
            count += 1;
            match self.service(vip, as_id, client) {
                Some((endpoint, occupancy)) if occupancy <= wanted => {
                    return Some((as_id, endpoint));
                }
                Some((endpoint, Occupancy::Closing)) => {
                    closing = closing.or(Some((as_id, endpoint)));
                }
                _ => {}
            }
        }
        closing
    }
}
