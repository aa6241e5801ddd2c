//! The way back: which VIP an AS's packet answers for.

use crate::application_server::AsId;
use crate::balancer::Balancer;
use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::nat_reverse::{Attribution, Candidate};
use crate::tcp_state::{Direction, TcpFlags};
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
    /// worker's own entries, the peers', and the reverse map where it names one VIP only. At most
    /// one flow fits: a new one is not let in beside another at the service.
    pub fn attribute_reply(&mut self, tuple: &FlowTuple, flags: TcpFlags) -> ReplyVerdict {
        let tables = self.tables;
        let Some(endpoint) = tables.reverse.get(tuple.src, tuple.src_port, tuple.protocol) else {
            return ReplyVerdict::NotMapped;
        };
        let (client, port) = (tuple.dst, tuple.dst_port);
        let direct = FlowKey::direct(client, port, endpoint.id());

        for &candidate in endpoint.candidates() {
            let key = FlowKey::vip(client, port, candidate.vip);
            if let Some((slot, value)) = self.own(key)
                && value.as_id() == candidate.as_id
            {
                self.refresh(slot, value.state().next(Direction::ToClient, flags));
                return candidate.into();
            }
        }
        if self.owner.table().live_flows().direct() > 0
            && let Some((slot, value)) = self.own(direct)
        {
            self.refresh(slot, value.state().next(Direction::ToClient, flags));
            return ReplyVerdict::Direct;
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
        let is_meant = |candidate: &&Candidate| {
            self.at_peers(FlowKey::vip(client, port, candidate.vip))
                .is_some_and(|value| value.as_id() == candidate.as_id)
        };
        if let Some(&candidate) = candidates.iter().find(is_meant) {
            candidate.into()
        } else if self.at_peers(direct).is_some() {
            ReplyVerdict::Direct
        } else {
            ReplyVerdict::NoFlow
        }
    }
}
