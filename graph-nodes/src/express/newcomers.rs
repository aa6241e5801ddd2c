//! [`Newcomers`]: the packets of a group whose flows are not known, which have their VIP in common.

use balancer::{FlowHasher, KeyKind, Located, Vip};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::wire::ipv4::protocol;

use super::STAGE;
use super::fitting::AlikeJob;
use super::lane::{Cx, Lane, LaneFamily};
use super::pattern::Pattern;
use super::second_stage::count_sent;

/// Gives ASs to flows that begin, where that is simple: the new-flow table decides, there is room for
/// an entry, and no other flow has to be looked at. All else is for
/// [`Lane::send_new`](super::lane::Lane).
pub(super) struct Newcomers<'a> {
    vip: &'a Vip,
    hasher: &'a FlowHasher,
    /// IP protocol number.
    protocol: u8,
    kind: KeyKind,
    /// There are other workers, who may know a flow.
    others: bool,
    /// By the place of a packet among the group's.
    slots: [u32; STAGE],
    located: [Located; STAGE],
    /// How many got an AS.
    pub(super) first: u32,
}

impl<'a> Newcomers<'a> {
    /// Those that fit a pattern; `None` when none is simple.
    pub(super) fn of<F: LaneFamily>(
        cx: &Cx<'a>,
        lane: &Lane<F>,
        pattern: &Pattern<F>,
    ) -> Option<Self> {
        let snapshot = cx.snapshot;
        let vip = snapshot.lb.vip(pattern.destination.vip)?;
        if vip.rotation.is_some() || lane.any_direct {
            return None;
        }
        Some(Self {
            vip,
            hasher: &snapshot.lb.hasher,
            protocol: pattern.protocol,
            kind: pattern.destination.kind,
            others: snapshot.sticky_tables.len() > 1,
            slots: [0; STAGE],
            located: [Located::default(); STAGE],
            first: 0,
        })
    }

    /// Works out where the new-flow table has the AS of a packet's flow, and fetches that; false if the
    /// flow is known.
    #[inline(always)]
    pub(super) fn prepare<F: LaneFamily>(
        &mut self,
        cx: &Cx<'_>,
        frame: &Frame,
        index: usize,
        job: &AlikeJob,
    ) -> bool {
        let sticky = &cx.worker.sticky;
        let located = sticky.located(&job.place);
        if sticky.known::<F::Address>(&located, None, cx.now.tick_s).is_some() {
            return false;
        }
        let Some(flow) = F::flow(frame.data(usize::from(job.at))) else { return false };
        let slot = self.vip.table.slot_of(self.hasher.hash(&flow, self.vip.src_ip_sticky));
        self.vip.table.prefetch(slot);
        self.slots[index % STAGE] = slot as u32;
        self.located[index % STAGE] = located;
        true
    }

    /// Sends a [prepared](Self::prepare) packet to an AS, which keeps its flow from now on. `None`
    /// when that is not simple; the packet is as it was then.
    #[inline(always)]
    pub(super) fn send<F: LaneFamily>(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &mut Frame,
        (index, job): (usize, &AlikeJob),
    ) -> Option<InterfaceId> {
        let server = self.vip.server_in_slot(self.slots[index % STAGE] as usize)?;
        let way = lane.servers.to(cx.snapshot, server);
        if !way.takes(job.len) || !way.is_alone() {
            return None;
        }
        let entry = lane.updates.beginning(job.passing, self.protocol, (server, way.epoch()?));
        let (now_s, located) = (cx.now.tick_s, self.located[index % STAGE]);
        // A SYN starts a connection here, whatever others know.
        if self.others && !job.passing.opens() {
            let peers = &cx.snapshot.sticky_tables;
            if cx.worker.sticky.is_known_elsewhere(peers, &located, now_s) {
                return None;
            }
        }
        let udp = self.protocol == protocol::UDP;
        let packet = frame.packet_mut(usize::from(job.at))?;
        let flow = if self.kind == KeyKind::End { F::flow(packet.data()) } else { None };
        if !cx.worker.sticky.admit(&located, flow.as_ref(), entry, now_s)
            || !way.change_alike(packet, cx.snapshot, cx.worker, (job.len, udp))
        {
            return None;
        }
        count_sent(cx, server, job.len);
        self.first += 1;
        Some(way.interface)
    }

    /// Counts them for their VIP.
    pub(super) fn count(&self, cx: &Cx<'_>) {
        if let Some(stats) = cx.worker.shared.vips.get(self.vip.id.index()) {
            stats.first.add(u64::from(self.first));
        }
    }
}
