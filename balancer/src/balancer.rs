//! What a worker decides with: the snapshot's tables, its own flows, and a view of its peers'.

use std::net::IpAddr;
use std::sync::Arc;

use crate::address::Address;
use crate::flow_key::{FlowKey, WordKey};
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::lb_tables::LbTables;
use crate::placement::Place;
use crate::sticky::StickyTable;
use crate::sticky_owner::{NewEntry, Slot, StickyOwner};
use crate::tcp_state::FlowState;
use crate::timeouts::ProfileId;
use crate::vip::{KeyKind, Vip};

/// Decides for one worker; made for each burst, as its parts only live that long.
///
/// Three packets need it: a client's to a VIP ([`select`](Self::select)), an AS's reply
/// ([`attribute_reply`](Self::attribute_reply)) and a client's to an AS itself
/// ([`record_direct`](Self::record_direct)). Packets about a flow, such as ICMP errors, only ask
/// ([`peek`](Self::peek), [`peek_reply`](Self::peek_reply)).
#[derive(Debug)]
pub struct Balancer<'a> {
    /// The snapshot's tables.
    pub tables: &'a LbTables,
    /// The worker's flows.
    pub owner: &'a mut StickyOwner,
    /// The flows of all workers, whose tables all have the same
    /// [`InstanceKey`](crate::InstanceKey); the worker's own may be among them and is passed over.
    pub peers: &'a [Arc<StickyTable>],
    /// Now, seconds on any clock that never stands still for long or goes back.
    pub now_s: u32,
}

impl Balancer<'_> {
    /// The key of a client's flow to a VIP.
    pub(crate) fn key<A: Address>(&self, vip: &Vip, tuple: &FlowTuple<A>) -> FlowKey {
        match (vip.kind, tuple.src.into()) {
            (KeyKind::Exact, IpAddr::V4(client)) => FlowKey::exact(client, tuple.src_port, vip.id),
            (KeyKind::End, _) => FlowKey::end(self.owner.instance(), tuple, vip.id),
            (KeyKind::Full, _) => FlowKey::full(self.owner.instance(), tuple, vip.id),
            (KeyKind::Exact | KeyKind::Tag, _) => {
                FlowKey::tag(self.owner.instance(), tuple, vip.id)
            }
        }
    }

    /// The worker's own entry of a client's flow to a VIP, alive or not. What every packet does: the
    /// key is not made in full where a word is enough.
    pub(crate) fn own_to_vip<A: Address>(
        &self,
        vip: &Vip,
        tuple: &FlowTuple<A>,
    ) -> Option<(Slot, FlowValue)> {
        if vip.kind == KeyKind::Full {
            return self.owner.find(&self.key(vip, tuple));
        }
        let word = FlowKey::word_to_vip(self.owner.instance(), vip.kind, vip.id, tuple);
        self.owner.find_wanted(&WordKey(word))
    }

    /// Whether an entry of a flow to a VIP counts: not expired, and of its AS's present epoch.
    pub(crate) fn is_alive_to_vip(&self, value: FlowValue) -> bool {
        value.is_live(self.now_s) && self.tables.epoch_of(value.as_id()) == Some(value.epoch())
    }

    /// Whether an entry counts: not expired, and of its AS's present epoch.
    fn is_alive(&self, key: &FlowKey, value: FlowValue) -> bool {
        if key.is_direct() { value.is_live(self.now_s) } else { self.is_alive_to_vip(value) }
    }

    /// The worker's own entry of a flow, if alive.
    pub(crate) fn own(&self, key: &FlowKey) -> Option<(Slot, FlowValue)> {
        self.owner.find(key).filter(|&(_, value)| self.is_alive(key, value))
    }

    /// The other workers' tables and their positions among all.
    pub(crate) fn others(&self) -> impl Iterator<Item = (usize, &Arc<StickyTable>)> {
        self.peers.iter().enumerate().filter(|(_, peer)| !self.owner.is_own(peer))
    }

    /// A flow's entry in another worker's table, if alive, and that worker's position.
    pub(crate) fn at_peers(&self, key: &FlowKey) -> Option<(usize, FlowValue)> {
        self.others()
            .filter(|(_, peer)| !key.is_direct() || peer.live_flows().direct() > 0)
            .find_map(|(index, peer)| {
                let value = peer.lookup(key, self.now_s)?;
                self.is_alive(key, value).then_some((index, value))
            })
    }

    /// When a flow in this state expires that has a packet now.
    pub(crate) fn expiry_tick(&self, profile: ProfileId, state: FlowState) -> u16 {
        self.tables.timeouts.of(profile).expiry_tick(state, self.now_s)
    }

    /// Gives a flow its next state and a new expiry.
    pub(crate) fn refresh(&mut self, slot: Slot, profile: ProfileId, state: FlowState) {
        let expiry_tick = self.expiry_tick(profile, state);
        self.owner.refresh(slot, state, expiry_tick);
    }

    /// Where the entry of a flow goes that has none and begins in this state.
    pub(crate) fn new_place(&mut self, key: &FlowKey, state: FlowState) -> Option<Place> {
        let tables = self.tables;
        self.owner.new_place(key, state, self.now_s, |as_id| tables.epoch_of(as_id))
    }

    /// Makes or replaces a flow's entry; returns whether there was room. One that is `vital`, as
    /// without it the packet must be dropped, may take the place of the half-open flow that would
    /// expire first, be it half-open itself: a flood of SYNs then finds room among themselves, and
    /// a handshake gets through that is faster than the flood comes round.
    pub(crate) fn insert(&mut self, key: &FlowKey, entry: NewEntry, vital: bool) -> bool {
        let Self { tables, owner, now_s, .. } = self;
        let claim = match entry.state {
            state if vital && state.is_half_open() => FlowState::Established,
            state => state,
        };
        owner.insert_as(claim, key, entry, *now_s, |as_id| tables.epoch_of(as_id)).is_ok()
    }
}
