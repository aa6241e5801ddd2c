//! The first packet of a flow, and the SYN of a connection that is known already.

use balancer::{
    AsId, Balancer, Decision, FlowTuple, FlowValue, KeyKind, ServerState, TcpFlags, Vip, VipId,
};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;

use super::flow_job::FlowJob;
use super::lane::{Cx, Lane, LaneFamily};
use super::second_stage::count_sent;

impl<F: LaneFamily> Lane<F> {
    /// Chooses the AS of a flow that has no entry here, where that cannot end in a refusal, or whose
    /// client sends a SYN, and sends its packet there. `None` leaves it to the other nodes.
    #[inline(never)]
    pub(super) fn send_new(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &mut Frame,
        job: &FlowJob,
        (tuple, flags): (&FlowTuple<F::Address>, TcpFlags),
    ) -> Option<InterfaceId> {
        let vip = cx.snapshot.lb.vip(VipId::new(job.subject)?)?;
        let repeated = job.passing.opens().then(|| self.repeated(cx, job, tuple)).flatten();
        let decision = match repeated {
            Some(server) => Decision::Existing(server),
            None => self.decide(cx, vip, job, tuple, flags)?,
        };
        let server = decision.server()?;
        let way = self.servers.to(cx.snapshot, server);
        let packet = frame.packet_mut(usize::from(job.at))?;
        if !way.takes(job.len) || !way.change(packet, cx.snapshot, cx.worker, (job.port, job.len)) {
            return None;
        }
        count_sent(cx, server, job.len);
        let stats = cx.worker.shared.vips.get(vip.id.index())?;
        match decision {
            Decision::Existing(_) => stats.existing.add(1),
            Decision::New(_) => stats.first.add(1),
            _ => stats.untracked.add(1),
        }
        Some(way.interface)
    }

    /// The AS of the connection that a SYN is part of, as one that was lost and is sent again; `None`
    /// when it starts another one.
    #[inline]
    fn repeated(
        &mut self,
        cx: &Cx<'_>,
        job: &FlowJob,
        flow: &FlowTuple<F::Address>,
    ) -> Option<AsId> {
        let full = (job.kind == KeyKind::Full).then_some(flow);
        let known = cx.worker.sticky.known(&job.located, full, cx.now.tick_s)?;
        let (state, server) = (known.value.state(), known.value.as_id());
        let is_over = state.is_closing()
            || state.is_tcp() && cx.snapshot.lb.server(server)?.state == ServerState::Removed;
        if is_over || !self.servers.to(cx.snapshot, server).is_of(known.value.epoch()) {
            return None;
        }
        known.keep(job.passing, &self.updates);
        Some(server)
    }

    /// Decides for a flow that has no entry here, or whose connection is over.
    #[inline]
    fn decide(
        &mut self,
        cx: &mut Cx<'_>,
        vip: &Vip,
        job: &FlowJob,
        flow: &FlowTuple<F::Address>,
        flags: TcpFlags,
    ) -> Option<Decision> {
        let lb = &cx.snapshot.lb;
        let first = vip.server_for(lb.hasher.hash(flow, vip.src_ip_sticky))?;
        let way = self.servers.to(cx.snapshot, first);
        if vip.rotation.is_some() || !way.takes(job.len) || !way.is_alone() || self.any_direct {
            return None;
        }
        let (peers, now_s) = (&cx.snapshot.sticky_tables, cx.now.tick_s);
        let epoch = way.epoch()?;
        let owner = &mut cx.worker.sticky;
        // A SYN starts a connection here, whatever others know.
        let simple = job.kind != KeyKind::Full
            && (job.passing.opens()
                || peers.len() <= 1
                || !owner.is_known_elsewhere(peers, &job.located, now_s));
        let of = FlowValue::owner_of(first, epoch);
        let entry = self.updates.beginning(job.passing, flow.protocol, of);
        let note = (job.kind == KeyKind::End).then_some(flow);
        if simple && owner.admit(&job.located, note, entry, now_s) {
            return Some(Decision::New(first));
        }
        Some(select::<F>(cx, vip, flow, flags))
    }
}

/// What is not simple.
#[cold]
fn select<F: LaneFamily>(
    cx: &mut Cx<'_>,
    vip: &Vip,
    flow: &FlowTuple<F::Address>,
    flags: TcpFlags,
) -> Decision {
    let lb = &cx.snapshot.lb;
    let (owner, peers) = (&mut cx.worker.sticky, &cx.snapshot.sticky_tables);
    Balancer { tables: lb, owner, peers, now_s: cx.now.tick_s }.select(vip, flow, flags)
}
