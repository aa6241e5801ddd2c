//! The balancing decision: which AS a client's packet to a VIP goes to.

use crate::address::Address;
use crate::application_server::{AsId, ServerState};
use crate::balancer::Balancer;
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::placement::Place;
use crate::protocol::Protocol;
use crate::rotation::Rotation;
use crate::server_view::{Occupancy, ServerView};
use crate::sticky_owner::NewEntry;
use crate::tcp_flags::TcpFlags;
use crate::tcp_state::FlowState;
use crate::vip::Vip;
use crate::vip_counter::VipCounter;

/// How many ASs are tried for a new flow whose client address and port are taken at the first.
pub const CLASH_SERVERS_MAX: usize = 8;

/// How many slots of the new-flow table, or turns of the rotation, are looked at for them.
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
    /// Its buckets are full, and without an entry nobody could tell whom its replies answer: drop,
    /// counted as [`TABLE_FULL`].
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

/// The ASs for a new flow, the first one first.
#[derive(Clone, Copy)]
enum Preference<'v> {
    /// From a slot of the new-flow table on.
    Table { vip: &'v Vip, slot: usize },
    /// From a turn of the rotation on.
    Rotation { rotation: &'v Rotation, turn: usize },
}

impl Preference<'_> {
    /// The AS that many steps from the first; `None` when there is none at all.
    fn at(self, step: usize) -> Option<AsId> {
        match self {
            // No division for the first step, which is nearly always enough.
            Self::Table { vip, slot } if step == 0 => vip.server_in_slot(slot),
            Self::Table { vip, slot } => vip.server_in_slot((slot + step) % self.len()),
            Self::Rotation { rotation, turn } => rotation.at(turn.wrapping_add(step)),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Table { vip, .. } => vip.table.length().get() as usize,
            Self::Rotation { rotation, .. } => rotation.len(),
        }
    }
}

impl<'a> Balancer<'a> {
    /// Decides for a client's packet to a VIP and keeps its flow's entry up to date.
    ///
    /// `tuple` is the packet's, also where it came to the VIP's node port; `flags` are
    /// [`TcpFlags::NONE`] for everything but TCP. In this order:
    ///
    /// 1. An entry that is alive keeps its AS. A SYN is a retransmission, unless the connection is
    ///    [closing](FlowState::is_closing) or the AS removed: it then starts a new one.
    /// 2. For other packets than SYNs, an entry at a peer is adopted: the NIC moved the flow.
    /// 3. The rotation, for what starts a flow and finds room to be remembered; else the new-flow
    ///    table. Nothing is kept of a packet that no AS takes.
    pub fn select<A: Address>(
        &mut self,
        vip: &Vip,
        tuple: &FlowTuple<A>,
        flags: TcpFlags,
    ) -> Decision {
        let own = self.own_to_vip(vip, tuple);
        let next = |state: FlowState| state.next(vip.client_direction(), flags);
        if let Some((slot, value)) = own
            && self.is_alive_to_vip(value)
            && !(flags.opens() && self.is_over(value.state(), value.as_id()))
        {
            self.refresh(slot, vip.profile, next(value.state()));
            return Decision::Existing(value.as_id());
        }
        let key = self.key(vip, tuple);
        if !flags.opens()
            && let Some((_, value)) = self.at_peers(&key)
        {
            self.insert(&key, self.entry(vip, value.as_id(), next(value.state())), false);
            return Decision::Existing(value.as_id());
        }
        // Not searched for again: nothing was changed since.
        let place = match own {
            Some((slot, _)) => Some(Place::Take(slot)),
            None => self.new_place(&key, FlowState::first(tuple.protocol, flags)),
        };
        self.select_new(vip, &key, tuple, flags, place)
    }

    /// Whether a SYN on such an entry starts another connection.
    fn is_over(&self, state: FlowState, as_id: AsId) -> bool {
        state.is_closing()
            || state.is_tcp()
                && self.tables.server(as_id).is_none_or(|s| s.state == ServerState::Removed)
    }

    fn entry(&self, vip: &Vip, as_id: AsId, state: FlowState) -> NewEntry {
        let epoch = self.tables.epoch_of(as_id).unwrap_or(0);
        NewEntry { as_id, epoch, state, expiry_tick: self.expiry_tick(vip.profile, state) }
    }

    /// Decides for a flow without a live entry; `place` is where its entry goes, if there is one.
    fn select_new<A: Address>(
        &mut self,
        vip: &Vip,
        key: &FlowKey,
        tuple: &FlowTuple<A>,
        flags: TcpFlags,
        place: Option<Place>,
    ) -> Decision {
        let preference = self.preference(vip, tuple, flags, place.is_some());
        let Some(first) = preference.at(0) else {
            return Decision::NoServer;
        };
        if self.can_clash(vip, first, tuple) {
            return self.select_beside_others(vip, key, tuple, flags, preference);
        }
        let Some(place) = place else {
            // Whoever cannot clash can do without an entry.
            return Decision::Untracked(first);
        };
        let entry = self.entry(vip, first, FlowState::first(tuple.protocol, flags));
        self.owner.put(place, key, entry);
        Decision::New(first)
    }

    /// Whether an AS may take a flow of a VIP for another one. Not where replies go past us; nor
    /// where all flows to its service come through a VIP of one address and port, which names them
    /// all by what the AS sees of them. Spares new flows two searches.
    fn can_clash<A: Address>(&self, vip: &Vip, as_id: AsId, tuple: &FlowTuple<A>) -> bool {
        let is_alone = |view: ServerView<'_, A>| view.endpoint.only_candidate().is_some();
        let by_server = || !vip.kind.is_of_one_service() || self.any_direct();
        vip.nat && (by_server() || !self.service(vip, as_id, tuple).is_some_and(is_alone))
    }

    /// The same where the AS may have another flow of the client's address and port.
    fn select_beside_others<A: Address>(
        &mut self,
        vip: &Vip,
        key: &FlowKey,
        tuple: &FlowTuple<A>,
        flags: TcpFlags,
        preference: Preference<'_>,
    ) -> Decision {
        let Some(first) = preference.at(0) else {
            return Decision::NoServer;
        };
        // A new connection keeps clear of a server's TIME_WAIT where it can; a packet from the
        // middle of one goes where the table says.
        let wanted = if flags.opens() { Occupancy::Free } else { Occupancy::Closing };
        let (as_id, view) = match self.service(vip, first, tuple) {
            Some(view) if self.occupancy(&view, key) <= wanted => (first, view),
            _ => match self.other_server(vip, preference, key, tuple, wanted) {
                Some(other) => other,
                None => return Decision::TupleInUse,
            },
        };
        self.supersede(&view, key);
        let stateless = view.endpoint.only_candidate().is_some()
            && vip.origin::<A>(view.tuple.dst_port).is_some();
        let state = FlowState::first(tuple.protocol, flags);
        if self.insert(key, self.entry(vip, as_id, state), !stateless) {
            Decision::New(as_id)
        } else if stateless {
            Decision::Untracked(as_id)
        } else {
            Decision::TableFullDrop
        }
    }

    /// Which ASs a new flow prefers. What cannot be remembered follows the new-flow table, so that
    /// all of its packets go the same way; so does a TCP packet that does not start a connection,
    /// as it may be of a flow that could not be remembered so far.
    fn preference<'v, A: Address>(
        &self,
        vip: &'v Vip,
        tuple: &FlowTuple<A>,
        flags: TcpFlags,
        has_place: bool,
    ) -> Preference<'v> {
        if let Some(rotation) = &vip.rotation
            && (flags.opens() || tuple.protocol != Protocol::Tcp.number())
            && !rotation.is_empty()
            && has_place
        {
            return Preference::Rotation { rotation, turn: rotation.take() };
        }
        let slot = vip.table.slot_of(self.tables.hasher.hash(tuple, vip.src_ip_sticky));
        Preference::Table { vip, slot }
    }

    /// The flow at an AS behind a VIP with NAT.
    fn service<A: Address>(
        &self,
        vip: &Vip,
        as_id: AsId,
        tuple: &FlowTuple<A>,
    ) -> Option<ServerView<'a, A>> {
        let tables = self.tables;
        let dst = A::from_ip(tables.server(as_id)?.address)?;
        let dst_port = vip.target_port(tuple.dst_port);
        let endpoint = tables.reverse.get(dst, dst_port, tuple.protocol)?;
        Some(ServerView { tuple: FlowTuple { dst, dst_port, ..*tuple }, endpoint })
    }

    /// The first AS of a preference at which the client's address and port are as free as wanted;
    /// failing that, the first at which no flow is alive. The search is bounded, as an attacker can
    /// make ports clash on purpose.
    #[cold]
    fn other_server<A: Address>(
        &self,
        vip: &Vip,
        preference: Preference<'_>,
        key: &FlowKey,
        tuple: &FlowTuple<A>,
        wanted: Occupancy,
    ) -> Option<(AsId, ServerView<'a, A>)> {
        let mut tried = [None; CLASH_SERVERS_MAX];
        let mut count = 0;
        let mut closing = None;
        let limit = CLASH_SERVERS_MAX.min(vip.members.len());
        for step in 0..preference.len().min(CLASH_SLOTS_MAX) {
            if count == limit {
                break;
            }
            let as_id = preference.at(step)?;
            if tried[..count].contains(&Some(as_id)) {
                continue;
            }
            tried[count] = Some(as_id);
            count += 1;
            let Some(view) = self.service(vip, as_id, tuple) else { continue };
            match self.occupancy(&view, key) {
                occupancy if occupancy <= wanted => return Some((as_id, view)),
                Occupancy::Closing => closing = closing.or(Some((as_id, view))),
                _ => {}
            }
        }
        closing
    }
}
