//! The way back: which VIP an AS's packet answers for.

use crate::address::Address;
use crate::application_server::AsId;
use crate::balancer::Balancer;
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::nat_reverse::Candidate;
use crate::server_view::{FlowThrough, ServerView};
use crate::sticky_owner::Slot;
use crate::tcp_flags::TcpFlags;
use crate::tcp_state::{Direction, FlowState};
use crate::timeouts::ProfileId;
use crate::vip::VipId;

/// What happens to a packet from an AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyVerdict<A> {
    /// The source is no AS's service: pass it on untouched.
    NotMapped,
    /// It answers for this VIP: the source becomes the address and port that the client uses.
    Translate {
        /// The VIP.
        vip: VipId,
        /// The AS that answers.
        as_id: AsId,
        /// The address that the client uses: one of the VIP's, or of an interface of ours where it
        /// came to the node port.
        address: A,
        /// The port that the client uses, host byte order.
        port: u16,
    },
    /// It answers a client that came to the AS itself: pass it on untouched.
    Direct,
    /// Several VIPs, addresses or ports could be meant and no flow tells which: drop, counted as
    /// [`NO_FLOW`].
    NoFlow,
}

/// The drop reason of [`ReplyVerdict::NoFlow`].
pub const NO_FLOW: &str = "nat reply without flow";

/// The worker's own entry of the flow that a packet answers.
struct OwnFlow {
    slot: Slot,
    profile: ProfileId,
    state: FlowState,
}

impl Balancer<'_> {
    /// Finds out whom a packet answers that comes from an interface with `nat4 in` or `nat6 in`,
    /// and keeps its flow's entry up to date.
    ///
    /// `tuple` is the packet's: source is the AS, destination the client. In this order: the
    /// worker's own entries, the reverse map where it names one address and port only, and the
    /// peers' entries. At most one flow fits: a new one is not let in beside another at the
    /// service.
    pub fn attribute_reply<A: Address>(
        &mut self,
        tuple: &FlowTuple<A>,
        flags: TcpFlags,
    ) -> ReplyVerdict<A> {
        let (verdict, own) = self.whom_it_answers(tuple);
        if let Some(OwnFlow { slot, profile, state }) = own {
            self.refresh(slot, profile, state.next(Direction::ToClient, flags));
        }
        verdict
    }

    /// The same, but changes nothing: for packets about a flow, such as an ICMP error from an AS,
    /// whose quoted packet went from the client to the AS. `tuple` is still the one of a reply.
    #[must_use]
    pub fn peek_reply<A: Address>(&self, tuple: &FlowTuple<A>) -> ReplyVerdict<A> {
        self.whom_it_answers(tuple).0
    }

    /// The verdict, and the worker's own entry of the flow.
    fn whom_it_answers<A: Address>(
        &self,
        tuple: &FlowTuple<A>,
    ) -> (ReplyVerdict<A>, Option<OwnFlow>) {
        let tables = self.tables;
        let Some(endpoint) = tables.reverse.get(tuple.src, tuple.src_port, tuple.protocol) else {
            return (ReplyVerdict::NotMapped, None);
        };
        let view = ServerView { tuple: tuple.reversed(), endpoint };
        for &candidate in endpoint.candidates() {
            if let Some((slot, flow)) = self.own_through(&view, candidate, None) {
                let profile = tables.vip(candidate.vip).map_or(ProfileId::GLOBAL, |v| v.profile);
                let own = OwnFlow { slot, profile, state: flow.value.state() };
                return (translation(candidate, &flow), Some(own));
            }
        }
        if self.owner.direct_flows() > 0 {
            let direct = FlowKey::direct(self.owner.instance(), &view.tuple);
            if let Some((slot, value)) = self.own(&direct) {
                let own = OwnFlow { slot, profile: ProfileId::GLOBAL, state: value.state() };
                return (ReplyVerdict::Direct, Some(own));
            }
        }
        (self.without_own_entry(&view), None)
    }

    fn without_own_entry<A: Address>(&self, view: &ServerView<'_, A>) -> ReplyVerdict<A> {
        let endpoint = view.endpoint;
        let stateless = endpoint.only_candidate().and_then(|candidate| {
            let vip = self.tables.vip(candidate.vip)?;
            let (address, port) = vip.origin(view.tuple.dst_port)?;
            let Candidate { vip, as_id } = candidate;
            Some(ReplyVerdict::Translate { vip, as_id, address, port })
        });
        // A peer's entry of the VIP would say the same as the map.
        if stateless.is_none() {
            for &candidate in endpoint.candidates() {
                if let Some(flow) = self.peer_through(view, candidate, None) {
                    return translation(candidate, &flow);
                }
            }
        }
        if self.others().any(|(_, peer)| peer.live_flows().direct() > 0) {
            let direct = FlowKey::direct(self.owner.instance(), &view.tuple);
            if self.at_peers(&direct).is_some() {
                return ReplyVerdict::Direct;
            }
        }
        stateless.unwrap_or(ReplyVerdict::NoFlow)
    }
}

fn translation<A: Address>(candidate: Candidate, flow: &FlowThrough<A>) -> ReplyVerdict<A> {
    let Candidate { vip, as_id } = candidate;
    ReplyVerdict::Translate { vip, as_id, address: flow.address, port: flow.port }
}
