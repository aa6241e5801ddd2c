//! What a worker decides with: the snapshot's tables, its own flows, and a view of its peers'.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::application_server::AsId;
use crate::flow_key::FlowKey;
use crate::flow_value::FlowValue;
use crate::lb_tables::LbTables;
use crate::nat_reverse::Endpoint;
use crate::sticky::StickyTable;
use crate::sticky_owner::{NewEntry, Slot, StickyOwner};
use crate::tcp_state::FlowState;
use crate::vip::VipId;

/// Decides for one worker; made for each burst, as its parts only live that long.
///
/// Three packets need it: a client's to a VIP ([`select`](Self::select)), an AS's reply
/// ([`attribute_reply`](Self::attribute_reply)) and a client's to an AS itself
/// ([`record_direct`](Self::record_direct)).
#[derive(Debug)]
pub struct Balancer<'a> {
    /// The snapshot's tables.
    pub tables: &'a LbTables,
    /// The worker's flows.
    pub owner: &'a mut StickyOwner,
    /// The flows of all workers; the worker's own table may be among them and is passed over.
    pub peers: &'a [Arc<StickyTable>],
    /// Now, seconds on any clock that never stands still for long or goes back.
    pub now_s: u32,
}

/// Who asks whether a client's address and port are taken at a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A flow to this VIP.
    Vip(VipId),
    /// A direct flow.
    Direct,
}

/// How free a client's address and port are at a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Occupancy {
    /// Nothing is known of them there.
    Free,
    /// A flow there is over for us ([`Balancer::supersede`] ends it), but the server still keeps
    /// its TIME_WAIT. The new flow comes through another VIP, so its sequence numbers and
    /// timestamps need not be newer, and then the server answers the SYN with an ACK of the old
    /// connection: the client resets and tries again a second later (RFC 6191).
    Closing,
    /// A flow there is alive.
    InUse,
}

impl Balancer<'_> {
    /// Whether an entry counts: not expired, and of its AS's present epoch.
    pub(crate) fn is_alive(&self, key: FlowKey, value: FlowValue) -> bool {
        value.is_live(self.now_s)
            && (key.is_direct() || self.tables.epoch_of(value.as_id()) == Some(value.epoch()))
    }

    /// The worker's own entry of a flow, if alive.
    pub(crate) fn own(&self, key: FlowKey) -> Option<(Slot, FlowValue)> {
        self.owner.find(key).filter(|&(_, value)| self.is_alive(key, value))
    }

    /// A flow's entry in another worker's table, if alive.
    pub(crate) fn at_peers(&self, key: FlowKey) -> Option<FlowValue> {
        let own = self.owner.table();
        self.peers
            .iter()
            .filter(|peer| !Arc::ptr_eq(peer, own))
            .filter(|peer| !key.is_direct() || peer.live_flows().direct() > 0)
            .find_map(|peer| {
                peer.lookup(key, self.now_s).filter(|&value| self.is_alive(key, value))
            })
    }

    /// Gives a flow its next state and a new expiry.
    pub(crate) fn refresh(&mut self, slot: Slot, state: FlowState) {
        let expiry_tick = self.tables.timeouts.expiry_tick(state, self.now_s);
        self.owner.refresh(slot, state, expiry_tick);
    }

    /// Makes or replaces a flow's entry; returns whether there was room.
    pub(crate) fn insert(&mut self, key: FlowKey, mut entry: NewEntry) -> bool {
        let Self { tables, owner, now_s, .. } = self;
        entry.expiry_tick = tables.timeouts.expiry_tick(entry.state, *now_s);
        owner.insert(key, entry, *now_s, |as_id| tables.epoch_of(as_id)).is_ok()
    }

    /// Whether the client's address and port have flows at the service already, other than the
    /// asker's, which the server could not tell from a new one.
    ///
    /// A closing flow of a peer counts as in use: only the peer can end it.
    pub(crate) fn occupancy(
        &self,
        endpoint: &Endpoint,
        client: (Ipv4Addr, u16),
        asker: Asker,
    ) -> Occupancy {
        let mut occupancy = Occupancy::Free;
        for (key, as_id) in rivals(endpoint, client, asker, self.any_direct()) {
            let is_rival = |value: &FlowValue| as_id.is_none_or(|as_id| value.as_id() == as_id);
            let own = self.own(key).map(|(_, value)| value).filter(is_rival);
            if own.is_some_and(|value| value.state() != FlowState::Closing)
                || self.at_peers(key).as_ref().is_some_and(is_rival)
            {
                return Occupancy::InUse;
            }
            if own.is_some() {
                occupancy = Occupancy::Closing;
            }
        }
        occupancy
    }

    /// Ends this worker's closing flows that would clash with the asker's.
    pub(crate) fn supersede(&mut self, endpoint: &Endpoint, client: (Ipv4Addr, u16), asker: Asker) {
        for (key, as_id) in rivals(endpoint, client, asker, self.any_direct()) {
            if let Some((slot, value)) = self.own(key)
                && as_id.is_none_or(|as_id| value.as_id() == as_id)
            {
                self.owner.remove(slot);
            }
        }
    }

    fn any_direct(&self) -> bool {
        self.owner.table().live_flows().direct() > 0
            || self.peers.iter().any(|peer| peer.live_flows().direct() > 0)
    }
}

/// The flows that would clash with the asker's: their keys, and the AS that a VIP's flow must have
/// for it. Nearly always there is no direct flow at all, and then no need to look for one.
fn rivals(
    endpoint: &Endpoint,
    (address, port): (Ipv4Addr, u16),
    asker: Asker,
    any_direct: bool,
) -> impl Iterator<Item = (FlowKey, Option<AsId>)> {
    let direct = (any_direct && asker != Asker::Direct)
        .then(|| (FlowKey::direct(address, port, endpoint.id()), None));
    endpoint
        .candidates()
        .iter()
        .filter(move |candidate| asker != Asker::Vip(candidate.vip))
        .map(move |candidate| (FlowKey::vip(address, port, candidate.vip), Some(candidate.as_id)))
        .chain(direct)
}
