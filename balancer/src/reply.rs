//! The way back: which VIP an AS's packet answers for.

use crate::application_server::AsId;
use crate::balancer::Balancer;
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::nat_reverse::{Attribution, Candidate};
use crate::sticky_owner::Slot;
use crate::tcp_state::{Direction, FlowState, TcpFlags};
use crate::vip::VipId;

/// What happens to a packet from an AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyVerdict {
    /// The source is no AS's service: pass it on untouched.
    NotMapped,
    /// It answers for this VIP: the source becomes the VIP's address and port.
    Translate {
        /// The VIP.
        vip: VipId,
        /// The AS that answers.
        as_id: AsId,
    },
    /// It answers a client that came to the AS itself: pass it on untouched.
    Direct,
    /// Several VIPs could be meant and no flow tells which: drop, counted as [`NO_FLOW`].
    NoFlow,
}

/// The drop reason of [`ReplyVerdict::NoFlow`].
pub const NO_FLOW: &str = "nat reply without flow";

impl From<Candidate> for ReplyVerdict {
    fn from(candidate: Candidate) -> Self {
        Self::Translate { vip: candidate.vip, as_id: candidate.as_id }
    }
}

impl Balancer<'_> {
    /// Finds out whom a packet answers that comes from an interface with `nat4 in`, and keeps its
    /// flow's entry up to date.
    ///
    /// `tuple` is the packet's: source is the AS, destination the client. In this order: the
    /// worker's own entries, the peers', and the reverse map where it names one VIP only. A flow
    /// that is not closing goes before one that is.
    pub fn attribute_reply(&mut self, tuple: &FlowTuple, flags: TcpFlags) -> ReplyVerdict {
        let tables = self.tables;
        let Some(endpoint) = tables.reverse.get(tuple.src, tuple.src_port, tuple.protocol) else {
            return ReplyVerdict::NotMapped;
        };
        let (client, port) = (tuple.dst, tuple.dst_port);
        let direct = FlowKey::direct(client, port, endpoint.id());

        let mut closing: Option<(Slot, ReplyVerdict)> = None;
        for &candidate in endpoint.candidates() {
            let key = FlowKey::vip(client, port, candidate.vip);
            if let Some((slot, value)) = self.own(key)
                && value.as_id() == candidate.as_id
            {
                if value.state() != FlowState::Closing {
                    self.refresh(slot, value.state().next(Direction::ToClient, flags));
                    return candidate.into();
                }
                closing = closing.or(Some((slot, candidate.into())));
            }
        }
        if self.owner.table().live_flows().direct() > 0
            && let Some((slot, value)) = self.own(direct)
        {
            if value.state() != FlowState::Closing {
                self.refresh(slot, value.state().next(Direction::ToClient, flags));
                return ReplyVerdict::Direct;
            }
            closing = closing.or(Some((slot, ReplyVerdict::Direct)));
        }
        if let Some((slot, verdict)) = closing {
            self.refresh(slot, FlowState::Closing);
            return verdict;
        }

        match endpoint.attribution() {
            // A peer's entry of the VIP would say the same as the map.
            Attribution::Unique(_) if self.at_peers(direct).is_some() => ReplyVerdict::Direct,
            Attribution::Unique(candidate) => candidate.into(),
            Attribution::Shared(candidates) => self.attribute_by_peers(candidates, direct),
        }
    }

    fn attribute_by_peers(&self, candidates: &[Candidate], direct: FlowKey) -> ReplyVerdict {
        let (client, port) = (direct.client(), direct.client_port());
        let flows = candidates
            .iter()
            .filter_map(|&candidate| {
                let value = self.at_peers(FlowKey::vip(client, port, candidate.vip))?;
                let same = value.as_id() == candidate.as_id;
                same.then_some((value.state(), candidate.into()))
            })
            .chain(self.at_peers(direct).map(|value| (value.state(), ReplyVerdict::Direct)));
        let mut verdict = ReplyVerdict::NoFlow;
        for (state, found) in flows {
            if state != FlowState::Closing {
                return found;
            }
            if verdict == ReplyVerdict::NoFlow {
                verdict = found;
            }
        }
        verdict
    }
}
