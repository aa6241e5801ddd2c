//! [`Fitting`]: the packets of a group that fitted a pattern, and their second stage.

use balancer::{FlowValue, Passing, Place, Updates, Usual};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;

use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::pattern::Pattern;
use super::run::Run;
use super::second_stage::{
    count_existing, count_received, count_sent, is_due, is_partial, sampled,
};
use super::stragglers::Stragglers;
use super::{Next, STAGE};

/// A packet between the two stages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AlikeJob {
    pub(super) place: Place,
    /// What the entry of its flow said in the second stage.
    pub(super) value: FlowValue,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    pub(super) passing: Passing,
    /// The slot in the frame.
    pub(super) at: u8,
}

/// The packets of a group that fitted a pattern.
#[derive(Debug)]
pub(super) struct Fitting<F: LaneFamily> {
    /// `None`: there are none.
    pub(super) pattern: Option<Pattern<F>>,
    pub(super) jobs: [AlikeJob; STAGE],
    pub(super) waiting: usize,
}

impl<F: LaneFamily> Default for Fitting<F> {
    fn default() -> Self {
        Self { pattern: None, jobs: [AlikeJob::default(); STAGE], waiting: 0 }
    }
}

impl<F: LaneFamily> Fitting<F> {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.waiting > 0
    }

    /// Forgets the packets that are not wanted; they fitted an earlier pattern, too.
    #[cold]
    pub(super) fn keep(&mut self, start: usize, wanted: u32) {
        let mut kept = 0;
        for index in 0..self.waiting.min(STAGE) {
            let job = self.jobs[index];
            if wanted >> (usize::from(job.at) - start) & 1 != 0 {
                self.jobs[kept] = job;
                kept += 1;
            }
        }
        self.waiting = kept;
    }

    /// Fetches the first buckets of the flows.
    #[inline]
    pub(super) fn fetch_all(&mut self, cx: &Cx<'_>) {
        for job in &mut self.jobs[..self.waiting.min(STAGE)] {
            cx.worker.sticky.fetch(&mut job.place);
        }
    }

    /// The second stage. Of large tables, buckets for the next group are fetched one by one, as the CPU
    /// waits when it is to fetch more at once than it can.
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
        let (Some(pattern), [first, ..]) = (&self.pattern, &*jobs) else { return };
        let (rx, first) = (pattern.interface, usize::from(first.at));
        let partial = is_due::<F>(cx, rx) && frame.packet(first).is_some_and(is_partial::<F>);
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
        }
        let jobs = &jobs[usize::from(partial)..];
        let mut stragglers = Stragglers::of(pattern, jobs);
        if declined.any() {
            stragglers.add_all_from(0);
        }
        let coming = if large { next.waiting.min(STAGE) } else { 0 };
        let mut ahead = next.jobs[..coming].iter_mut();
        let mut usual = Usual::nothing();
        let mut left = jobs.iter();
        while let Some(job) = left.next() {
            if let Some(job) = ahead.next() {
                cx.worker.sticky.fetch(&mut job.place);
            }
            if stragglers.are_the_rest() {
                continue;
            }
            let index = || jobs.len() - left.len() - 1;
            let value = if usual.any_changed() { look_again(cx, job) } else { job.value };
            match forward(cx, lane, frame, job, (value, &mut usual)) {
                Forwarded::To(interface) => leave(cx, frame, job, interface),
                Forwarded::Unknown => stragglers.add_unknown(index()),
                Forwarded::No => stragglers.add_all_from(index()),
            }
        }
        ahead.for_each(|job| cx.worker.sticky.fetch(&mut job.place));
        let (others, counted) = stragglers.send(cx, lane, frame, declined);
        let forwarded = jobs.len() as u32 - others;
        let (shared, existing) = (&cx.worker.shared, u64::from(forwarded - counted));
        count_existing(shared, Run { of: pattern.destination.vip.get(), packets: existing });
        count_received::<F>(shared, Run { of: rx, packets: u64::from(forwarded) });
        lane.forwarded += u64::from(forwarded);
        if !partial {
            sampled::<F>(cx, rx, forwarded);
        }
    }
}

/// What became of a packet whose flow was looked up.
pub(super) enum Forwarded {
    /// It leaves there.
    To(InterfaceId),
    /// Its flow was not seen, or has no AS.
    Unknown,
    /// It is not for the way to its flow's AS, or not as simply.
    No,
}

/// What the entry of a flow says now.
#[inline(never)]
fn look_again(cx: &Cx<'_>, job: &AlikeJob) -> FlowValue {
    cx.worker.sticky.look(&job.place).map_or(FlowValue::default(), |seen| seen.value)
}

/// Sends a packet to the AS of its flow, whose entry says this.
#[inline(always)]
pub(super) fn forward<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    frame: &mut Frame,
    job: &AlikeJob,
    (value, usual): (FlowValue, &mut Usual),
) -> Forwarded {
    let Some(way) = lane.servers.of_flow(cx.snapshot, value) else { return Forwarded::Unknown };
    let takes = way.takes(job.len);
    if !takes || !usual.is(value, job.passing) {
        if let Some(refused) = look_closer(cx, &lane.updates, (job, value, takes), usual) {
            return refused;
        }
    }
    let Some(packet) = frame.packet_mut(usize::from(job.at)) else { return Forwarded::No };
    if !way.change_alike(packet, cx.snapshot, cx.worker, job.len) {
        return Forwarded::No;
    }
    count_sent(cx, value.as_id(), job.len);
    Forwarded::To(way.interface)
}

/// Brings the entry of a flow up to date that says this; `takes`: the way to its AS takes a packet of
/// this length. `Some` when it may not go there. Apart, as most packets do without.
#[inline(never)]
fn look_closer(
    cx: &Cx<'_>,
    updates: &Updates,
    (job, value, takes): (&AlikeJob, FlowValue, bool),
    usual: &mut Usual,
) -> Option<Forwarded> {
    let (sticky, now_s) = (&cx.worker.sticky, cx.now.tick_s);
    let seen = sticky.look(&job.place).or_else(|| sticky.seen_anywhere(&job.place, now_s));
    let Some(seen) = seen.filter(|seen| seen.value == value) else {
        return Some(Forwarded::Unknown);
    };
    // A SYN may start another connection.
    if job.passing.opens() || !takes {
        let is_live = seen.value.is_live(now_s);
        return Some(if is_live { Forwarded::No } else { Forwarded::Unknown });
    }
    (!seen.keep_usual(job.passing, updates, now_s, usual)).then_some(Forwarded::Unknown)
}

/// Lets a packet leave by an interface.
#[inline(always)]
pub(super) fn leave(cx: &mut Cx<'_>, frame: &mut Frame, job: &AlikeJob, interface: InterfaceId) {
    let at = usize::from(job.at);
    frame.lanes.tx_interface[at] = interface;
    cx.set_next(at, Next::Output);
}
