//! The first packet of a flow.

use balancer::{Balancer, Decision, FlowState, NewEntry, VipId};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;

use super::STAGE;
use super::lane::{Cx, Lane};
use super::ordinary::{Ordinary, OrdinaryFamily};
use super::readdress::Readdress;
use super::second_stage::count_sent;

impl<F: OrdinaryFamily + Readdress> Lane<F> {
    /// Chooses the AS of a flow that has no entry here, where that cannot end in a refusal, and sends
    /// its packet there.
    #[inline(never)]
    pub(super) fn send_new(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &mut Frame,
        index: usize,
    ) -> Option<InterfaceId> {
        let job = self.jobs[index];
        let at = usize::from(job.at);
        let Ordinary { tuple, flags, .. } = self.packets[usize::from(job.from) % STAGE].packet;
        let lb = &cx.snapshot.lb;
        let vip = lb.vip(VipId::new(job.subject)?)?;
        let first = vip.server_for(lb.hasher.hash(&tuple, vip.src_ip_sticky))?;
        let way = self.servers.to(cx.snapshot, first);
        if vip.rotation.is_some() || !way.takes(job.len) || !way.is_alone() || self.any_direct {
            return None;
        }
        let state = FlowState::first(tuple.protocol, flags);
        let expiry_tick = lb.timeouts.of(vip.profile).expiry_tick(state, cx.now.tick_s);
        let epoch = lb.epoch_of(first)?;
        let entry = NewEntry { as_id: first, epoch, state, expiry_tick };
        let nobody_else = flags.opens() || cx.snapshot.sticky_tables.len() <= 1;
        let simple = !job.kind.has_cell() && nobody_else;
        let decision = if simple && cx.worker.sticky.admit(&job.located, entry) {
            Decision::New(first)
        } else {
            let (owner, peers) = (&mut cx.worker.sticky, &cx.snapshot.sticky_tables);
            let mut balancer = Balancer { tables: lb, owner, peers, now_s: cx.now.tick_s };
            balancer.select(vip, &tuple, flags)
        };
        let server = decision.server()?;
        let way = self.servers.to(cx.snapshot, server);
        let packet = frame.packet_mut(at)?;
        if !way.takes(job.len) || !way.change(packet, cx.snapshot, cx.worker, &tuple, job.port) {
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
}
