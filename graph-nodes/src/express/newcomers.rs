//! [`Newcomers`]: the packets of a group whose flows are not known, which have their VIP in common.

use balancer::{
    Address, AsId, FlowHasher, FlowTuple, FlowValue, KeyKind, Reception, Seen, Vacancy, Vip,
};
use dataplane::frame::Frame;

use super::STAGE;
use super::fitting::AlikeJob;
use super::lane::{Cx, Lane, LaneFamily};
use super::ones::{Bits, row};
use super::pattern::Pattern;

/// Any number will do, where no AS was found yet.
const NOBODY: AsId = AsId::new(0).expect("there is a first one");

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
    pub(super) new: Bits,
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
    /// looks ahead over more packets then.
    pub(super) fn place<F: LaneFamily>(
        &self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        (pattern, jobs): (&Pattern<F>, &mut [AlikeJob]),
    ) -> Placed {
        fetch_seconds(cx, jobs.iter().filter(|job| !job.room.is_any()));
        if self.others {
            fetch_elsewhere(cx, jobs);
        }
        let mut servers = [NOBODY; STAGE];
        let known = match pattern.flow_from_nobody().filter(|_| self.kind == KeyKind::Exact) {
            Some(like) => self.find_servers(jobs, &mut servers, |job| {
                let (client, src_port) = job.place.exact_client();
                let src = F::Address::from_bits(u128::from(client.to_bits()));
                Some(FlowTuple { src, src_port, ..like })
            }),
            None => self
                .find_servers(jobs, &mut servers, |job| F::flow(frame.data(usize::from(job.at)))),
        };
        let mut entries = [FlowValue::default(); STAGE];
        let mut chosen = self.choose(cx, lane, jobs, &servers[..known], &mut entries);
        if self.others {
            chosen = before_known(cx, &jobs[..chosen]);
        }
        let (jobs, entries) = (&mut jobs[..chosen], &entries[..chosen]);
        find_beyond(cx, jobs);
        match self.kind {
            KeyKind::End => begin::<F, true>(cx, lane, frame, jobs, entries),
            _ => begin::<F, false>(cx, lane, frame, jobs, entries),
        }
    }

    /// Counts so many flows that began for their VIP.
    pub(super) fn count(&self, cx: &Cx<'_>, new: u32) {
        if let Some(stats) = cx.worker.shared.vips.get(self.vip.id.index()) {
            stats.first.add(u64::from(new));
        }
    }

    /// Asks the new-flow table for the ASs of packets' flows. Returns of how many there is one.
    #[inline(never)]
    fn find_servers<A: Address>(
        &self,
        jobs: &[AlikeJob],
        servers: &mut [AsId; STAGE],
        flow: impl Fn(&AlikeJob) -> Option<FlowTuple<A>>,
    ) -> usize {
        let mut found = 0;
        for (server, job) in servers.iter_mut().zip(jobs) {
            // Packets have one: they fitted the pattern.
            let Some(flow) = flow(job) else { break };
            let hash = self.hasher.hash(&flow, self.vip.src_ip_sticky);
            let Some(chosen) = self.vip.server_for(hash) else { break };
            *server = chosen;
            found += 1;
        }
        found
    }

    /// Finds the ways to those ASs, and what the flows' entries will be. Returns of how many, before the first
    /// for which that is not simple.
    #[inline(never)]
    fn choose<F: LaneFamily>(
        &self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        jobs: &mut [AlikeJob],
        servers: &[AsId],
        entries: &mut [FlowValue; STAGE],
    ) -> usize {
        let mut chosen = 0;
        for (server, entry) in servers.iter().zip(entries) {
            let mut way = lane.servers.position_to(*server);
            if let Err(position) = way
                && !is_needed(&jobs[..chosen], position)
            {
                lane.servers.to(cx.snapshot, *server);
                way = lane.servers.position_to(*server);
            }
            let (Ok((way, owner)), Some(job)) = (way, jobs.get_mut(chosen)) else { break };
            if !lane.servers.is_open_at(way) || !lane.servers.at(way).takes(job.len) {
                break;
            }
            *entry = lane.updates.beginning(job.passing, self.protocol, owner);
            job.way = way;
            chosen += 1;
        }
        chosen
    }
}

/// Fetches the second buckets of packets' flows.
pub(super) fn fetch_seconds<'a>(cx: &Cx<'_>, jobs: impl Iterator<Item = &'a AlikeJob>) {
    jobs.for_each(|job| cx.worker.sticky.fetch_second(&job.place));
}

/// Fetches what [`before_known`] looks at.
#[inline(never)]
fn fetch_elsewhere(cx: &Cx<'_>, jobs: &[AlikeJob]) {
    for job in jobs.iter().filter(|job| !job.passing.opens()) {
        cx.worker.sticky.fetch_elsewhere(&cx.snapshot.sticky_tables, &job.place);
    }
}

/// Looks once more for room for flows for which none was found, now that their second buckets are there.
fn find_beyond(cx: &Cx<'_>, jobs: &mut [AlikeJob]) {
    let Some(rooms) = cx.worker.sticky.rooms(cx.now.tick_s) else { return };
    for job in jobs.iter_mut().filter(|job| !job.room.is_any()) {
        job.room = rooms.find_beyond(&job.place);
    }
}

/// Makes the entries, but of flows that have one. The tuples are kept too if they are to be `NOTED`.
fn begin<F: LaneFamily, const NOTED: bool>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    frame: &Frame,
    jobs: &mut [AlikeJob],
    entries: &[FlowValue],
) -> Placed {
    let mut placed = Placed::default();
    loop {
        let rest = placed.packets..;
        let begun = fill_rooms::<F, NOTED>(cx, frame, &jobs[rest.clone()], &entries[rest]);
        placed.new |= row(placed.packets, begun);
        placed.packets += begun;
        let (Some(job), Some(entry)) = (jobs.get(placed.packets), entries.get(placed.packets))
        else {
            return placed;
        };
        let place = job.place;
        let note = if NOTED { F::flow(frame.data(usize::from(job.at))) } else { None };
        match receive_closely(cx, lane, jobs, placed.packets) {
            Some(Some(vacancy)) => {
                cx.worker.sticky.begin(&place, vacancy, note.as_ref(), *entry);
                placed.new |= 1 << placed.packets;
            }
            Some(None) => {}
            None => return placed,
        }
        placed.packets += 1;
    }
}

/// Makes entries in the rooms that were found, up to the first that is not there any more. Returns how many.
#[inline(never)]
fn fill_rooms<F: LaneFamily, const NOTED: bool>(
    cx: &Cx<'_>,
    frame: &Frame,
    jobs: &[AlikeJob],
    entries: &[FlowValue],
) -> usize {
    let Some(mut rooms) = cx.worker.sticky.rooms(cx.now.tick_s) else { return 0 };
    let mut begun = 0;
    for (job, entry) in jobs.iter().zip(entries) {
        let note = if NOTED { F::flow(frame.data(usize::from(job.at))) } else { None };
        if !rooms.fill((&job.place, job.room), note.as_ref(), *entry) {
            break;
        }
        begun += 1;
    }
    rooms.count();
    begun
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

/// How many packets there are before the first of a flow that another worker knows.
#[inline(never)]
fn before_known(cx: &Cx<'_>, jobs: &[AlikeJob]) -> usize {
    let (peers, sticky) = (&cx.snapshot.sticky_tables, &cx.worker.sticky);
    let is_known = |job: &AlikeJob| {
        // A SYN starts a connection here, whatever others know.
        !job.passing.opens()
            && sticky.is_known_elsewhere(peers, &sticky.located(&job.place), cx.now.tick_s)
    };
    jobs.iter().position(is_known).unwrap_or(jobs.len())
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
