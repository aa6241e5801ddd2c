//! [`Newcomers`]: the packets of a group whose flows are not known, which have their VIP in common.

use balancer::{FlowHasher, FlowValue, KeyKind, Reception, Seen, Vip};
use dataplane::frame::Frame;

use super::STAGE;
use super::fitting::AlikeJob;
use super::lane::{Cx, Lane, LaneFamily};
use super::ones::Ones;
use super::pattern::Pattern;

/// Gives ASs to flows that begin, where that is simple: the new-flow table decides, there is room for
/// an entry, and no other flow has to be looked at.
pub(super) struct Newcomers<'a> {
    vip: &'a Vip,
    hasher: &'a FlowHasher,
    /// IP protocol number.
    protocol: u8,
    kind: KeyKind,
    /// There are other workers, who may know a flow.
    others: bool,
}

/// The packets of a group that may be sent on the ways that their jobs have now: a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placed {
    /// All of them.
    pub(super) all: u32,
    /// Those whose flows begin.
    pub(super) new: u32,
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
        })
    }

    /// Finds ways for the packets of flows that are not known, and makes the flows known. Ends with the
    /// first that is not simple: those behind it may be of the same flow.
    #[inline(never)]
    pub(super) fn place<F: LaneFamily>(
        &self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        jobs: &mut [AlikeJob],
        unknown: u32,
    ) -> Placed {
        let slots = self.slots::<F>(frame, jobs, unknown);
        let mut placed = Placed::default();
        for index in Ones(unknown) {
            let Some((before, [job, ..])) = jobs.split_at_mut_checked(index) else { break };
            let slot = slots[index % STAGE] as usize;
            let (way, new) = match cx.worker.sticky.receive(&job.place, cx.now.tick_s) {
                Reception::New(vacancy) => {
                    let Some((way, entry)) = self.entrance(cx, lane, (before, job), slot) else {
                        break;
                    };
                    let flow = if self.kind == KeyKind::End {
                        F::flow(frame.data(usize::from(job.at)))
                    } else {
                        None
                    };
                    cx.worker.sticky.begin(&job.place, vacancy, flow.as_ref(), entry);
                    (way, 1)
                }
                Reception::Known(seen) => {
                    let Some(way) = way_of_known(cx, lane, (before, job), seen) else { break };
                    (way, 0)
                }
                Reception::Doubtful => break,
            };
            job.way = way;
            placed.all |= 1 << index;
            placed.new |= new << index;
        }
        placed
    }

    /// Counts so many flows that began for their VIP.
    pub(super) fn count(&self, cx: &Cx<'_>, new: u32) {
        if let Some(stats) = cx.worker.shared.vips.get(self.vip.id.index()) {
            stats.first.add(u64::from(new));
        }
    }

    /// Where the new-flow table has the ASs of packets' flows. Fetches that.
    #[inline(always)]
    fn slots<F: LaneFamily>(&self, frame: &Frame, jobs: &[AlikeJob], of: u32) -> [u32; STAGE] {
        let mut slots = [0; STAGE];
        for index in Ones(of) {
            let Some(job) = jobs.get(index) else { break };
            // Of packets that have one: they fitted the pattern.
            let Some(flow) = F::flow(frame.data(usize::from(job.at))) else { break };
            let slot = self.vip.table.slot_of(self.hasher.hash(&flow, self.vip.src_ip_sticky));
            self.vip.table.prefetch(slot);
            slots[index % STAGE] = slot as u32;
        }
        slots
    }

    /// The way of a packet whose flow begins, and the flow's entry; `None` when that is not simple.
    #[inline(always)]
    fn entrance<F: LaneFamily>(
        &self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        (before, job): (&[AlikeJob], &AlikeJob),
        slot: usize,
    ) -> Option<(u16, FlowValue)> {
        let server = self.vip.server_in_slot(slot)?;
        let position = match lane.servers.position_to(server) {
            Ok(position) => position,
            Err(position) if is_needed(before, position) => return None,
            Err(position) => {
                lane.servers.to(cx.snapshot, server);
                position
            }
        };
        let way = lane.servers.at(position);
        if !way.takes(job.len) || !way.is_alone() {
            return None;
        }
        let entry = lane.updates.beginning(job.passing, self.protocol, (server, way.epoch()?));
        // A SYN starts a connection here, whatever others know.
        if self.others && !job.passing.opens() {
            let (peers, sticky) = (&cx.snapshot.sticky_tables, &cx.worker.sticky);
            if sticky.is_known_elsewhere(peers, &sticky.located(&job.place), cx.now.tick_s) {
                return None;
            }
        }
        Some((position, entry))
    }
}

/// Whether packets before need the way that is at a position.
#[cold]
fn is_needed(before: &[AlikeJob], position: u16) -> bool {
    before.iter().any(|job| job.way == position)
}

/// The way of a packet whose flow was not found at once, or began with a packet before it; `None` when
/// that is not simple. Brings the flow's entry up to date.
#[inline(never)]
fn way_of_known<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &mut Lane<F>,
    (before, job): (&[AlikeJob], &AlikeJob),
    seen: Seen<'_>,
) -> Option<u16> {
    let way = match lane.servers.position(seen.value) {
        Ok(way) => way,
        Err(way) if is_needed(before, way) => return None,
        Err(way) => lane.servers.work_out(cx.snapshot, seen.value).then_some(way)?,
    };
    // A SYN may start another connection.
    let simple = !job.passing.opens() && lane.servers.at(way).takes(job.len);
    (simple && seen.keep(job.passing, &lane.updates, cx.now.tick_s)).then_some(way)
}
