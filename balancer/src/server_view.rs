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
use crate::vip::Vip;

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
pub(crate) struct FlowThrough<A> {
    pub(crate) value: FlowValue,
    /// The address that the client uses.
    pub(crate) address: A,
    /// The port that the client uses, host byte order.
    pub(crate) port: u16,
}

/// A search for the live flow of a client to an AS's service through a VIP of one service.
struct ThroughService<A> {
    word: u64,
    flow: LiveFlow,
    address: A,
    port: u16,
}

/// The same through a VIP of several addresses or ports, which the entry must tell.
struct ThroughVip<'s, A> {
    word: u64,
    flow: LiveFlow,
    vip: &'s Vip,
    /// From the client to the AS.
    tuple: &'s FlowTuple<A>,
    /// The flow that is not meant.
    except: Option<&'s Cell>,
}

/// What the value of a flow must say that is alive at an AS.
#[derive(Clone, Copy)]
struct LiveFlow {
    as_id: AsId,
    epoch: Option<u8>,
    now_s: u32,
}

impl LiveFlow {
    fn is(self, value: FlowValue) -> bool {
        value.as_id() == self.as_id
            && value.is_live(self.now_s)
            && self.epoch == Some(value.epoch())
    }
}

impl<A: Address> Wanted for ThroughService<A> {
    type Found = FlowThrough<A>;

    fn word(&self) -> u64 {
        self.word
    }

    fn judge(&self, value: FlowValue, _cell: impl FnOnce() -> Cell) -> Option<FlowThrough<A>> {
        let Self { address, port, .. } = *self;
        self.flow.is(value).then_some(FlowThrough { value, address, port })
    }
}

impl<A: Address> Wanted for ThroughVip<'_, A> {
    type Found = FlowThrough<A>;

    fn word(&self) -> u64 {
        self.word
    }

    fn judge(&self, value: FlowValue, cell: impl FnOnce() -> Cell) -> Option<FlowThrough<A>> {
        if !self.flow.is(value) || !value.has_cell() {
            return None;
        }
        // The VIP has one protocol, and so have its flows and the service.
        let cell = cell();
        let matches = cell.client == self.tuple.src.bits()
            && cell.client_port == self.tuple.src_port
            && self.vip.target_port(cell.port) == self.tuple.dst_port
            && self.except != Some(&cell);
        let (address, port) = (A::from_bits(cell.address), cell.port);
        matches.then_some(FlowThrough { value, address, port })
    }
}

/// Where to look for a flow.
trait FlowSearch<A> {
    /// What tells where it was found.
    type Place;

    fn find<W: Wanted<Found = FlowThrough<A>>>(
        self,
        wanted: &W,
    ) -> Option<(Self::Place, FlowThrough<A>)>;
}

/// In the worker's own table.
struct AmongOwn<'b>(&'b Balancer<'b>);

impl<A> FlowSearch<A> for AmongOwn<'_> {
    type Place = Slot;

    #[inline]
    fn find<W: Wanted<Found = FlowThrough<A>>>(self, wanted: &W) -> Option<(Slot, W::Found)> {
        self.0.owner.find_wanted(wanted)
    }
}

/// In the other workers' tables.
struct AtPeers<'b>(&'b Balancer<'b>);

impl<A> FlowSearch<A> for AtPeers<'_> {
    type Place = ();

    fn find<W: Wanted<Found = FlowThrough<A>>>(self, wanted: &W) -> Option<((), W::Found)> {
        self.0.others().find_map(|(_, peer)| peer.read(wanted)).map(|flow| ((), flow))
    }
}

impl Balancer<'_> {
    /// Finds the live flow of a view through a candidate's VIP, other than `asker`.
    fn through<A: Address, T>(
        &self,
        view: &ServerView<'_, A>,
        candidate: Candidate,
        asker: Option<&FlowKey>,
        find: impl FlowSearch<A, Place = T>,
    ) -> Option<(T, FlowThrough<A>)> {
        let tables = self.tables;
        let vip = tables.vip(candidate.vip)?;
        let Candidate { as_id, .. } = candidate;
        let flow = LiveFlow { as_id, epoch: tables.epoch_of(as_id), now_s: self.now_s };
        let tuple = &view.tuple;
        let word = FlowKey::word_to_vip(self.owner.instance(), vip.kind, vip.id, tuple);
        if vip.kind.is_of_one_service() {
            if asker.is_some_and(|asker| asker.word() == word) {
                return None;
            }
            let address = A::from_ip(vip.key.prefix.network)?;
            let port = vip.key.ports.single()?;
            return find.find(&ThroughService { word, flow, address, port });
        }
        let except = asker.and_then(FlowKey::cell);
        find.find(&ThroughVip { word, flow, vip, tuple, except })
    }

    /// The worker's own flow of a view through a candidate's VIP, other than `asker`.
    #[inline]
    pub(crate) fn own_through<A: Address>(
        &self,
        view: &ServerView<'_, A>,
        candidate: Candidate,
        asker: Option<&FlowKey>,
    ) -> Option<(Slot, FlowThrough<A>)> {
        self.through(view, candidate, asker, AmongOwn(self))
    }

    /// A peer's flow of a view through a candidate's VIP, other than `asker`.
    pub(crate) fn peer_through<A: Address>(
        &self,
        view: &ServerView<'_, A>,
        candidate: Candidate,
        asker: Option<&FlowKey>,
    ) -> Option<FlowThrough<A>> {
        self.through(view, candidate, asker, AtPeers(self)).map(|(_, flow)| flow)
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
            if own.is_some_and(|value| !value.state().is_closing())
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
            Some((_, value)) if !value.state().is_closing() => Occupancy::InUse,
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

    /// Whether any worker knows a direct flow.
    pub(crate) fn any_direct(&self) -> bool {
        self.owner.direct_flows() > 0
            || self.peers.iter().any(|peer| peer.live_flows().direct() > 0)
    }
}
