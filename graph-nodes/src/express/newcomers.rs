//! [`Newcomers`]: the packets of a group whose flows are not known, which have their VIP in common.

use balancer::{FlowHasher, FlowValue, KeyKind, Reception, Seen, Vacancy, Vip};
use dataplane::frame::Frame;

use super::STAGE;
use super::fitting::{AlikeJob, NO_WAY};
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
    /// first that is not simple: those behind it may be of the same flow. In loops of their own, as the CPU
    /// looks ahead over more packets then.
    pub(super) fn place<F: LaneFamily>(
        &self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        jobs: &mut [AlikeJob],
        unknown: u32,
    ) -> Placed {
        let slots = self.slots::<F>(frame, jobs, unknown);
        let mut entries = [FlowValue::default(); STAGE];
        let chosen = self.choose(cx, lane, jobs, (unknown, &slots), &mut entries);
        let placed = match self.kind {
            KeyKind::End => self.begin::<F, true>(cx, lane, frame, jobs, (chosen, &entries)),
            _ => self.begin::<F, false>(cx, lane, frame, jobs, (chosen, &entries)),
        };
        for index in Ones(chosen & !placed.all) {
            jobs[index].way = NO_WAY;
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
    #[inline(never)]
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

    /// Finds the ways to those ASs, and what the flows' entries will be. Returns those before the first for
    /// which that is not simple: a bit for each.
    #[inline(never)]
    fn choose<F: LaneFamily>(
        &self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        jobs: &mut [AlikeJob],
        (of, slots): (u32, &[u32; STAGE]),
        entries: &mut [FlowValue; STAGE],
    ) -> u32 {
        let mut chosen = 0;
        for index in Ones(of) {
            let Some(server) = self.vip.server_in_slot(slots[index % STAGE] as usize) else {
                break;
            };
            let position = match lane.servers.position_to(server) {
                Ok(position) => position,
                Err(position) if is_needed(jobs, position) => break,
                Err(position) => {
                    lane.servers.to(cx.snapshot, server);
                    position
                }
            };
            let (way, Some(job)) = (lane.servers.at(position), jobs.get_mut(index)) else { break };
            let Some(epoch) = way.epoch() else { break };
            if !way.takes(job.len) || !way.is_alone() {
                break;
            }
            let owner = (server, epoch);
            entries[index % STAGE] = lane.updates.beginning(job.passing, self.protocol, owner);
            job.way = position;
            chosen |= 1 << index;
        }
        chosen
    }

    /// Makes the entries, but of flows that have one. The tuples are kept too if they are to be `NOTED`.
    #[inline(never)]
    fn begin<F: LaneFamily, const NOTED: bool>(
        &self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        jobs: &mut [AlikeJob],
        (chosen, entries): (u32, &[FlowValue; STAGE]),
    ) -> Placed {
        let (mut placed, now_s) = (Placed::default(), cx.now.tick_s);
        for index in Ones(chosen) {
            let Some(job) = jobs.get(index) else { break };
            let vacancy = match cx.worker.sticky.vacancy_at_once(&job.place, now_s) {
                Some(vacancy) => Some(vacancy),
                None => match receive_closely(cx, lane, jobs, index) {
                    Some(vacancy) => vacancy,
                    None => break,
                },
            };
            if let (Some(vacancy), Some(job)) = (vacancy, jobs.get(index)) {
                // A SYN starts a connection here, whatever others know.
                if self.others && !job.passing.opens() && is_known_elsewhere(cx, job) {
                    break;
                }
                let note = if NOTED { F::flow(frame.data(usize::from(job.at))) } else { None };
                let entry = entries[index % STAGE];
                cx.worker.sticky.begin(&job.place, vacancy, note.as_ref(), entry);
                placed.new |= 1 << index;
            }
            placed.all |= 1 << index;
        }
        placed
    }
}

/// What the flow of a packet meets that has no vacancy at once: another vacancy, or its entry, by which the
/// packet's way is found. `None` when that is not simple.
#[inline(never)]
fn receive_closely<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &mut Lane<F>,
    jobs: &mut [AlikeJob],
    index: usize,
) -> Option<Option<Vacancy>> {
    let job = *jobs.get(index)?;
    match cx.worker.sticky.receive(&job.place, cx.now.tick_s) {
        Reception::New(vacancy) => Some(Some(vacancy)),
        Reception::Known(seen) => {
            jobs[index].way = way_of_known(cx, lane, (jobs, &job), seen)?;
            Some(None)
        }
        Reception::Doubtful => None,
    }
}

/// Whether another worker knows the flow of a packet.
#[inline(never)]
fn is_known_elsewhere(cx: &Cx<'_>, job: &AlikeJob) -> bool {
    let (peers, sticky) = (&cx.snapshot.sticky_tables, &cx.worker.sticky);
    sticky.is_known_elsewhere(peers, &sticky.located(&job.place), cx.now.tick_s)
}

/// Whether packets need the way that is at a position.
#[cold]
fn is_needed(jobs: &[AlikeJob], position: u16) -> bool {
    jobs.iter().any(|job| job.way == position)
}

/// The way of a packet whose flow was not found at once, or began with a packet before it; `None` when
/// that is not simple. Brings the flow's entry up to date.
fn way_of_known<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &mut Lane<F>,
    (jobs, job): (&[AlikeJob], &AlikeJob),
    seen: Seen<'_>,
) -> Option<u16> {
    let way = match lane.servers.position(seen.value) {
        Ok(way) => way,
        Err(way) if is_needed(jobs, way) => return None,
        Err(way) => lane.servers.work_out(cx.snapshot, seen.value).then_some(way)?,
    };
    // A SYN may start another connection.
    let simple = !job.passing.opens() && lane.servers.at(way).takes(job.len);
    (simple && seen.keep(job.passing, &lane.updates, cx.now.tick_s)).then_some(way)
}
