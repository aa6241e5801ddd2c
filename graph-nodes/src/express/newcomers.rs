//! [`Newcomers`]: the packets of a group whose flows are not known, which have their VIP in common.

use balancer::{Address, FlowHasher, FlowTuple, FlowValue, KeyKind, Reception, Seen, Vacancy, Vip};
use dataplane::frame::Frame;

use super::STAGE;
use super::fitting::AlikeJob;
use super::lane::{Cx, Lane, LaneFamily};
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

/// The packets that may be sent on the ways that their jobs have now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placed {
    /// So many, the first ones.
    pub(super) packets: usize,
    /// Those of them whose flows begin: a bit for each.
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

    /// Finds ways for packets of flows that are not known, and makes the flows known. Ends with the first
    /// that is not simple: those behind it may be of the same flow. In loops of their own, as the CPU
    /// looks ahead over more packets then. Fetches the buckets of packets that come next.
    pub(super) fn place<F: LaneFamily>(
        &self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        (pattern, jobs, coming): (&Pattern<F>, &mut [AlikeJob], &[AlikeJob]),
    ) -> Placed {
        let slots = match pattern.flow_from_nobody().filter(|_| self.kind == KeyKind::Exact) {
            Some(like) => self.slots(jobs, |job| {
                let (client, src_port) = job.place.exact_client();
                let src = F::Address::from_bits(u128::from(client.to_bits()));
                Some(FlowTuple { src, src_port, ..like })
            }),
            None => self.slots(jobs, |job| F::flow(frame.data(usize::from(job.at)))),
        };
        let mut entries = [FlowValue::default(); STAGE];
        let chosen = self.choose(cx, lane, jobs, &slots, &mut entries);
        let (jobs, entries) = (&mut jobs[..chosen], &entries[..chosen]);
        match self.kind {
            KeyKind::End => self.begin::<F, true>(cx, lane, frame, (jobs, coming), entries),
            _ => self.begin::<F, false>(cx, lane, frame, (jobs, coming), entries),
        }
    }

    /// Counts so many flows that began for their VIP.
    pub(super) fn count(&self, cx: &Cx<'_>, new: u32) {
        if let Some(stats) = cx.worker.shared.vips.get(self.vip.id.index()) {
            stats.first.add(u64::from(new));
        }
    }

    /// Where the new-flow table has the ASs of packets' flows. Fetches that.
    #[inline(never)]
    fn slots<A: Address>(
        &self,
        jobs: &[AlikeJob],
        flow: impl Fn(&AlikeJob) -> Option<FlowTuple<A>>,
    ) -> [u32; STAGE] {
        let mut slots = [0; STAGE];
        for (slot, job) in slots.iter_mut().zip(jobs) {
            // Of packets that have one: they fitted the pattern.
            let Some(flow) = flow(job) else { break };
            let found = self.vip.table.slot_of(self.hasher.hash(&flow, self.vip.src_ip_sticky));
            self.vip.table.prefetch(found);
            *slot = found as u32;
        }
        slots
    }

    /// Finds the ways to those ASs, and what the flows' entries will be. Returns of how many, before the first
    /// for which that is not simple.
    #[inline(never)]
    fn choose<F: LaneFamily>(
        &self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        jobs: &mut [AlikeJob],
        slots: &[u32; STAGE],
        entries: &mut [FlowValue; STAGE],
    ) -> usize {
        let mut chosen = 0;
        for (slot, entry) in slots[..jobs.len().min(STAGE)].iter().zip(entries) {
            let Some(server) = self.vip.server_in_slot(*slot as usize) else { break };
            let position = match lane.servers.position_to(server) {
                Ok(position) => position,
                Err(position) if is_needed(&jobs[..chosen], position) => break,
                Err(position) => {
                    lane.servers.to(cx.snapshot, server);
                    position
                }
            };
            let (way, Some(job)) = (lane.servers.at(position), jobs.get_mut(chosen)) else { break };
            let Some(epoch) = way.epoch() else { break };
            if !way.takes(job.len) || !way.is_alone() {
                break;
            }
            *entry = lane.updates.beginning(job.passing, self.protocol, (server, epoch));
            job.way = position;
            chosen += 1;
        }
        chosen
    }

    /// Makes the entries, but of flows that have one, and fetches the buckets of packets that come next one
    /// by one. The tuples are kept too if they are to be `NOTED`.
    #[inline(never)]
    fn begin<F: LaneFamily, const NOTED: bool>(
        &self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        (jobs, coming): (&mut [AlikeJob], &[AlikeJob]),
        entries: &[FlowValue],
    ) -> Placed {
        let (mut placed, mut ahead) = (Placed::default(), coming.iter());
        for entry in entries {
            if let Some(job) = ahead.next() {
                cx.worker.sticky.fetch_first(&job.place);
            }
            let Some(job) = jobs.get(placed.packets) else { break };
            // A SYN starts a connection here, whatever others know.
            if self.others && !job.passing.opens() && is_known_elsewhere(cx, job) {
                break;
            }
            let note = if NOTED { F::flow(frame.data(usize::from(job.at))) } else { None };
            let (note, now_s) = (note.as_ref(), cx.now.tick_s);
            let begins = if cx.worker.sticky.begin_at_once(&job.place, note, *entry, now_s) {
                true
            } else {
                let place = job.place;
                match receive_closely(cx, lane, jobs, placed.packets) {
                    Some(Some(vacancy)) => {
                        cx.worker.sticky.begin(&place, vacancy, note, *entry);
                        true
                    }
                    Some(None) => false,
                    None => break,
                }
            };
            placed.new |= u32::from(begins) << placed.packets;
            placed.packets += 1;
        }
        ahead.for_each(|job| cx.worker.sticky.fetch_first(&job.place));
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
