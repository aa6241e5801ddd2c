//! A flow as an AS sees it, and which flows of ours that can be.
//!
//! An AS behind NAT knows a client's address and port, and its own; not the VIP. Two flows that it
//! could not tell apart must not be alive at once.

use crate::address::Address;
use crate::application_server::AsId;
use crate::balancer::Balancer;
use crate::flow_key::{FlowKey, Wanted};
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::nat_reverse::{Candidate, Endpoint};
use crate::side_cells::Cell;
use crate::sticky_owner::Slot;
use crate::tcp_state::FlowState;
use crate::vip::{KeyKind, Vip};

/// A flow at an AS that stands behind NAT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerView<'a, A> {
    /// From the client to the AS.
    pub(crate) tuple: FlowTuple<A>,
    /// The VIPs behind which the AS's service stands.
    pub(crate) endpoint: &'a Endpoint,
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

/// A live flow through a VIP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowThrough {
    pub(crate) value: FlowValue,
    /// The client's tuple, unless the VIP says it all.
    cell: Option<Cell>,
}

impl FlowThrough {
    /// The address and port that the client uses; `vip` is the flow's.
    pub(crate) fn origin<A: Address>(&self, vip: &Vip) -> Option<(A, u16)> {
        match &self.cell {
            Some(cell) => Some((A::from_bits(cell.address), cell.port)),
            None => Some((A::from_ip(vip.key.prefix.network)?, vip.key.ports.single()?)),
        }
    }
}

/// A search for the live flow of a client to an AS's service through one VIP.
struct ThroughVip<'v> {
    word: u64,
    vip: &'v Vip,
    as_id: AsId,
    epoch: Option<u8>,
    now_s: u32,
    /// The client's end, and the port of the AS.
    client: u128,
    client_port: u16,
    server_port: u16,
    protocol: u8,
    /// The flow that is not meant.
    except: Option<Cell>,
}

impl Wanted for ThroughVip<'_> {
    type Found = FlowThrough;

    fn word(&self) -> u64 {
        self.word
    }

    fn judge(&self, value: FlowValue, cell: impl FnOnce() -> Cell) -> Option<FlowThrough> {
        let alive = value.is_live(self.now_s) && self.epoch == Some(value.epoch());
        if !alive || value.as_id() != self.as_id {
            return None;
        }
        if self.vip.kind == KeyKind::Exact {
            return (!value.has_cell()).then_some(FlowThrough { value, cell: None });
        }
        let cell = value.has_cell().then(cell)?;
        let matches = cell.client == self.client
            && cell.client_port == self.client_port
            && cell.protocol == self.protocol
            && self.vip.target_port(cell.port) == self.server_port
            && self.except != Some(cell);
        matches.then_some(FlowThrough { value, cell: Some(cell) })
    }
}

impl<'a> Balancer<'a> {
    /// The search for a flow through a candidate's VIP, other than `asker`.
    fn through<A: Address>(
        &self,
        view: &ServerView<'_, A>,
        candidate: Candidate,
        asker: Option<&FlowKey>,
    ) -> Option<ThroughVip<'a>> {
        let tables = self.tables;
        let vip = tables.vip(candidate.vip)?;
        let tuple = &view.tuple;
        // By the client's end alone, whatever the destination.
        let word = self.key(vip, tuple).word();
        if vip.kind == KeyKind::Exact && asker.is_some_and(|asker| asker.word() == word) {
            return None;
        }
        Some(ThroughVip {
            word,
            vip,
            as_id: candidate.as_id,
            epoch: tables.epoch_of(candidate.as_id),
            now_s: self.now_s,
            client: tuple.src.bits(),
            client_port: tuple.src_port,
            server_port: tuple.dst_port,
            protocol: tuple.protocol,
            except: asker.and_then(|asker| asker.cell().copied()),
        })
    }

    /// The worker's own flow of a view through a candidate's VIP, other than `asker`.
    pub(crate) fn own_through<A: Address>(
        &self,
        view: &ServerView<'_, A>,
        candidate: Candidate,
        asker: Option<&FlowKey>,
    ) -> Option<(Slot, FlowThrough)> {
        self.owner.find_wanted(&self.through(view, candidate, asker)?)
    }

    /// A peer's flow of a view through a candidate's VIP, other than `asker`.
    pub(crate) fn peer_through<A: Address>(
        &self,
        view: &ServerView<'_, A>,
        candidate: Candidate,
        asker: Option<&FlowKey>,
    ) -> Option<FlowThrough> {
        let wanted = self.through(view, candidate, asker)?;
        self.others().find_map(|(_, peer)| peer.read(&wanted))
    }

    /// Whether the client's address and port have flows at the service already, other than the
    /// asker's, which the server could not tell from a new one.
    ///
    /// A closing flow of a peer counts as in use: only the peer can end it.
    pub(crate) fn occupancy<A: Address>(
        &self,
        view: &ServerView<'_, A>,
        asker: &FlowKey,
    ) -> Occupancy {
        let mut occupancy = Occupancy::Free;
        for &candidate in view.endpoint.candidates() {
            let own = self.own_through(view, candidate, Some(asker)).map(|(_, flow)| flow.value);
            if own.is_some_and(|value| value.state() != FlowState::Closing)
                || self.peer_through(view, candidate, Some(asker)).is_some()
            {
                return Occupancy::InUse;
            }
            if own.is_some() {
                occupancy = Occupancy::Closing;
            }
        }
        // Nearly always there is no direct flow at all, and then no need to look for one.
        if asker.is_direct() || !self.any_direct() {
            return occupancy;
        }
        let direct = FlowKey::direct(self.owner.instance(), &view.tuple);
        match self.own(&direct) {
            Some((_, value)) if value.state() != FlowState::Closing => Occupancy::InUse,
            _ if self.at_peers(&direct).is_some() => Occupancy::InUse,
            Some(_) => Occupancy::Closing,
            None => occupancy,
        }
    }

    /// Ends this worker's closing flows that would clash with the asker's.
    pub(crate) fn supersede<A: Address>(&mut self, view: &ServerView<'_, A>, asker: &FlowKey) {
        for &candidate in view.endpoint.candidates() {
            while let Some((slot, _)) = self.own_through(view, candidate, Some(asker)) {
                self.owner.remove(slot);
            }
        }
        if !asker.is_direct() && self.any_direct() {
            let direct = FlowKey::direct(self.owner.instance(), &view.tuple);
            if let Some((slot, _)) = self.own(&direct) {
                self.owner.remove(slot);
            }
        }
    }

    fn any_direct(&self) -> bool {
        self.owner.table().live_flows().direct() > 0
            || self.peers.iter().any(|peer| peer.live_flows().direct() > 0)
    }
}
