//! [`Fitting`]: the packets of a group that fitted a pattern, and their second stage.

use balancer::{Passing, Place, Room};
use dataplane::frame::Frame;
use dataplane::wire::ipv4::protocol;

use super::STAGE;
use super::declined::Declined;
use super::finding::find_ways;
use super::lane::{Cx, Lane, LaneFamily};
use super::ones::Bits;
use super::pattern::Pattern;
use super::run::Run;
use super::second_stage::{count_existing, count_received, is_due, is_partial, sampled};
use super::sending::{leave_all, send_all};
use super::stragglers::Stragglers;

/// No position of a way.
pub(super) const NO_WAY: u16 = u16::MAX;

/// A packet between the two stages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AlikeJob {
    pub(super) place: Place,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    pub(super) passing: Passing,
    /// Where the way to the AS of its flow is; [`NO_WAY`] when it is sent otherwise.
    pub(super) way: u16,
    /// The slot in the frame.
    pub(super) at: u8,
    /// Where its flow can have an entry, if that was not seen.
    pub(super) room: Room,
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
    /// Forgets the packets that are not wanted; they fitted an earlier pattern, too.
    #[cold]
    pub(super) fn keep(&mut self, start: usize, wanted: Bits) {
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

    /// Works out where the flows are looked for first, and fetches that.
    #[inline]
    pub(super) fn aim(&mut self, cx: &Cx<'_>) {
        let (sticky, finder) = (&cx.worker.sticky, cx.worker.sticky.finder());
        for job in &mut self.jobs[..self.waiting.min(STAGE)] {
            finder.aim(&mut job.place);
            sticky.fetch_first(&job.place);
        }
    }

    /// The second stage.
    #[inline(never)]
    pub(super) fn finish(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        (frame, declined): (&mut Frame, &mut Declined),
    ) {
        let waiting = std::mem::take(&mut self.waiting).min(STAGE);
        let jobs = &mut self.jobs[..waiting];
        let (Some(pattern), [first, ..]) = (&self.pattern, &*jobs) else { return };
        let (rx, first) = (pattern.interface, usize::from(first.at));
        let partial = is_due::<F>(cx, rx) && frame.packet(first).is_some_and(is_partial::<F>);
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
        }
        let jobs = &mut jobs[usize::from(partial)..];
        let mut stragglers = Stragglers::default();
        if declined.any() {
            stragglers.add_all_from(0);
            jobs.iter_mut().for_each(|job| job.way = NO_WAY);
        } else {
            stragglers = find_ways(cx, lane, jobs);
        }
        let udp = pattern.protocol == protocol::UDP;
        if !stragglers.are_all_unknown(jobs.len()) {
            let sent = send_all(cx, &lane.servers, frame, (jobs, udp));
            leave_all(cx, &lane.servers, frame, (&jobs[..sent], stragglers.all()));
            if sent < jobs.len() {
                stragglers.add_all_from(sent);
            }
        }
        let (others, counted) = stragglers.send(cx, lane, frame, (pattern, jobs), declined);
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
