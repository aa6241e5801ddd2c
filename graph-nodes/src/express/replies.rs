//! [`Replies`]: the replies of a group that fitted a pattern, and their second stage.

use std::marker::PhantomData;

use balancer::{FlowTuple, FlowValue, KeyKind, Passing, Place, Seen, TcpFlags, Updates, Usual};
use dataplane::adjacency::AdjacencyId;
use dataplane::fib::FibEntry;
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;

use super::answers::Candidate;
use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::run::Run;
use super::second_stage::{count_received, is_due, is_partial, sampled};
use super::services::{Service, Services, Source};
use super::{Next, STAGE};

/// A reply between the two stages.
#[derive(Clone, Copy, Debug)]
struct ReplyJob {
    place: Place,
    /// What the entry of its flow said in the second stage.
    value: FlowValue,
    /// The next hop towards the client.
    hop: AdjacencyId,
    /// Where the AS's service is remembered.
    position: u16,
    /// Bytes of the IP packet.
    len: u16,
    passing: Passing,
    /// The slot in the frame.
    at: u8,
}

impl ReplyJob {
    fn none() -> Self {
        let (place, value) = (Place::default(), FlowValue::default());
        let (hop, passing) = (AdjacencyId(0), Passing::default());
        Self { place, value, hop, position: 0, len: 0, passing, at: 0 }
    }
}

/// The replies of a group that fitted a pattern.
#[derive(Debug)]
pub(super) struct Replies<F: LaneFamily> {
    /// Where they came from.
    interface: InterfaceId,
    jobs: [ReplyJob; STAGE],
    waiting: usize,
    /// The [changes](super::services::Services::changes) before the first stage.
    changes: u64,
    family: PhantomData<F>,
}

impl<F: LaneFamily> Default for Replies<F> {
    fn default() -> Self {
        let interface = InterfaceId::LOCAL0;
        let jobs = [ReplyJob::none(); STAGE];
        Self { interface, jobs, waiting: 0, changes: 0, family: PhantomData }
    }
}

impl<F: LaneFamily> Replies<F> {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.waiting > 0
    }

    /// First stage, for the candidates in the group from slot `start` on: which service of an AS do they
    /// come from, and where do they go? Returns a bit for each that is taken, counted from `start` on.
    #[inline]
    pub(super) fn gather(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        candidates: &[Candidate<F::Address>],
        start: usize,
    ) -> u32 {
        let Some(pattern) = &lane.answers else { return 0 };
        self.interface = pattern.interface;
        self.changes = lane.services.changes();
        let taken = match pattern.kind {
            KeyKind::Exact => self.locate_exact(cx, lane, candidates, start),
            KeyKind::End => self.locate_end(cx, lane, candidates, start),
            KeyKind::Tag | KeyKind::Full => 0,
        };
        if !cx.worker.sticky.is_large() {
            self.fetch_all(cx);
        }
        taken
    }

    // Functions of their own, as their loops need all registers.
    #[inline(never)]
    fn locate_exact(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        candidates: &[Candidate<F::Address>],
        start: usize,
    ) -> u32 {
        self.locate(cx, lane, candidates, start, KeyKind::Exact)
    }

    #[inline(never)]
    fn locate_end(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        candidates: &[Candidate<F::Address>],
        start: usize,
    ) -> u32 {
        self.locate(cx, lane, candidates, start, KeyKind::End)
    }

    /// The same for keys of this kind.
    #[inline(always)]
    fn locate(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        candidates: &[Candidate<F::Address>],
        start: usize,
        kind: KeyKind,
    ) -> u32 {
        let Some(protocol) = lane.answers.as_ref().map(|pattern| pattern.protocol) else {
            return 0;
        };
        let finder = cx.worker.sticky.finder();
        let mut jobs = self.jobs.iter_mut();
        let mut taken = 0;
        for &Candidate { src, dst, src_port, dst_port, flags, len, at } in candidates {
            let flow = FlowTuple { src, dst, src_port, dst_port, protocol };
            let (position, Source::One(service)) = lane.services.find(cx.snapshot, &flow) else {
                continue;
            };
            if service.kind != kind || service.mss && flags.contains(TcpFlags::SYN) {
                continue;
            }
            let FibEntry::Adjacency(hop) = lane.routes.lookup::<F>(cx.snapshot, dst) else {
                continue;
            };
            // As many as candidates.
            let Some(job) = jobs.next() else { break };
            finder.point(&mut job.place, kind, service.vip, &flow.reversed());
            job.passing = service.course.passing(flags);
            (job.hop, job.position, job.len, job.at) = (hop, position, len, at);
            taken |= 1 << ((usize::from(at) - start) % STAGE);
        }
        self.waiting = STAGE - jobs.len();
        taken
    }

    /// Fetches the first buckets of the flows.
    #[inline]
    pub(super) fn fetch_all(&mut self, cx: &Cx<'_>) {
        for job in &mut self.jobs[..self.waiting.min(STAGE)] {
            cx.worker.sticky.fetch(&mut job.place);
        }
    }

    /// Second stage: looks up the flows, and sends the packets on. Of large tables, buckets for the next
    /// group are fetched one by one, as the CPU waits when it is to fetch more at once than it can.
    #[inline(never)]
    pub(super) fn finish(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        (frame, declined): (&mut Frame, &mut Declined),
        next: &mut Self,
    ) {
        let waiting = std::mem::take(&mut self.waiting).min(STAGE);
        let jobs = &mut self.jobs[..waiting];
        let (finder, large) = (cx.worker.sticky.finder(), cx.worker.sticky.is_large());
        // In a loop of its own, as the CPU looks ahead over more packets then.
        for job in &mut *jobs {
            job.value = finder.glance(&job.place, large);
        }
        let [first, ..] = &*jobs else { return };
        let (rx, first) = (self.interface, usize::from(first.at));
        let partial = is_due::<F>(cx, rx) && frame.packet(first).is_some_and(is_partial::<F>);
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
        }
        let jobs = &jobs[usize::from(partial)..];
        let mut awkward = declined.any() || lane.services.changes() != self.changes;
        let coming = if large { next.waiting.min(STAGE) } else { 0 };
        let mut ahead = next.jobs[..coming].iter_mut();
        let (mut others, mut usual) = (0, Usual::nothing());
        for job in jobs {
            if let Some(job) = ahead.next() {
                cx.worker.sticky.fetch(&mut job.place);
            }
            let sent = answer(cx, lane, frame, job, (awkward.then_some(&*declined), &mut usual));
            let Some(interface) = sent else {
                declined.add_ordinary::<F>(frame.data(usize::from(job.at)));
                (awkward, others) = (true, others + 1);
                continue;
            };
            let at = usize::from(job.at);
            frame.lanes.tx_interface[at] = interface;
            cx.set_next(at, Next::Output);
        }
        ahead.for_each(|job| cx.worker.sticky.fetch(&mut job.place));
        let forwarded = jobs.len() as u32 - others;
        count_received::<F>(&cx.worker.shared, Run { of: rx, packets: u64::from(forwarded) });
        lane.forwarded += u64::from(forwarded);
        lane.translated += u64::from(forwarded);
        if !partial {
            sampled::<F>(cx, rx, forwarded);
        }
    }
}

/// The service that a packet comes from, where services may not be where they were found. `None` if
/// nobody knows any more, or if a packet between the same addresses was declined.
#[inline(never)]
fn service_again<'l, F: LaneFamily>(
    services: &'l Services<F>,
    frame: &Frame,
    job: &ReplyJob,
    declined: &Declined,
) -> Option<&'l Service<F::Address>> {
    let flow = F::flow(frame.data(usize::from(job.at)))?;
    let follows = declined.any() && declined.has(flow.src, flow.dst);
    services.at(job.position, &flow).filter(|_| !follows)
}

/// Sends the packet of an AS's service to the client that it answers. `declined` where packets were, or
/// services may not be where they were found. `None` leaves it to the other nodes, as it was.
#[inline(always)]
fn answer<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &mut Lane<F>,
    frame: &mut Frame,
    job: &ReplyJob,
    (declined, usual): (Option<&Declined>, &mut Usual),
) -> Option<InterfaceId> {
    let service = match declined {
        Some(declined) => service_again(&lane.services, frame, job, declined)?,
        None => lane.services.in_place(job.position)?,
    };
    let packet = frame.packet_mut(usize::from(job.at))?;
    let client = lane.clients.by(cx.snapshot, job.hop, job.len)?;
    let as_usual = job.value.owner() == service.owner
        && usual.is(job.value, job.passing)
        && !usual.any_changed();
    // The service names its VIP, and nobody could be meant who came to the AS itself.
    if !as_usual && !keep(cx, &lane.updates, service.owner, job, usual) && lane.any_direct {
        return None;
    }
    if !client.restore::<F>(packet, service) {
        return None;
    }
    if let Some(stats) = cx.worker.shared.servers.get(service.server.index()) {
        stats.reply_packets.add(1);
        stats.reply_bytes.add(u64::from(job.len));
    }
    Some(client.interface)
}

/// Keeps the entry of a flow of this owner up to date, wherever it is. False if there is none that is
/// alive. Apart, as most packets do without.
#[inline(never)]
fn keep(cx: &Cx<'_>, updates: &Updates, owner: u32, job: &ReplyJob, usual: &mut Usual) -> bool {
    let (sticky, now_s) = (&cx.worker.sticky, cx.now.tick_s);
    let mut keep = |seen: Seen<'_>| {
        seen.value.owner() == owner && seen.keep_usual(job.passing, updates, now_s, usual)
    };
    sticky.look(&job.place).is_some_and(&mut keep)
        || sticky.seen_anywhere(&job.place, now_s).is_some_and(keep)
}
