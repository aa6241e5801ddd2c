//! The two stages for packets that are like the ones before: from the same interface to the same
//! service of a VIP whose replies come another way in. Everything about the VIP is known beforehand
//! then, and there is little left to do for each.

use balancer::{KeyKind, Passing, Place};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;

use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::likeness::Varying;
use super::pattern::Pattern;
use super::run::Run;
use super::second_stage::{
    count_existing, count_received, count_sent, is_due, is_partial, sampled,
};
use super::services::Source;
use super::stragglers::Stragglers;
use super::{Next, STAGE};
use crate::ip_input::check_source;

/// A pattern that no packet of so many groups in a row fits is given up.
const PATIENCE: u8 = 8;

/// A packet between the two stages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AlikeJob {
    pub(super) place: Place,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    pub(super) passing: Passing,
    /// The slot in the frame.
    pub(super) at: u8,
}

/// The packets of a group that fit a pattern.
#[derive(Debug)]
pub(super) struct Alike<F: LaneFamily> {
    /// `None`: there are none.
    pattern: Option<Pattern<F>>,
    jobs: [AlikeJob; STAGE],
    waiting: usize,
    /// Groups in a row of which no packet fitted.
    in_vain: u8,
}

impl<F: LaneFamily> Default for Alike<F> {
    fn default() -> Self {
        Self { pattern: None, jobs: [AlikeJob::default(); STAGE], waiting: 0, in_vain: 0 }
    }
}

impl<F: LaneFamily> Alike<F> {
    /// Whether any packets can fit.
    pub(super) fn has_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Whether packets of this pattern are meant.
    pub(super) fn expects(&self, pattern: &Pattern<F>) -> bool {
        self.pattern.as_ref().is_some_and(|own| own.is_of_the_same(pattern))
    }

    /// From now on packets of this pattern are meant.
    pub(super) fn expect(&mut self, pattern: Pattern<F>) {
        self.pattern = Some(pattern);
        self.in_vain = 0;
    }

    /// First stage: finds the packets of a group, from slot `start` on, that are wanted and fit the
    /// pattern, and fetches what is known of their flows. Returns a bit for each, counted from `start`
    /// on.
    #[inline]
    pub(super) fn gather(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        (start, wanted): (usize, u32),
    ) -> u32 {
        let Some(pattern) = &self.pattern else { return 0 };
        let taken = match pattern.destination.kind {
            _ if pattern.replies => self.locate_among_replies(cx, lane, frame, start),
            KeyKind::Exact => self.locate_exact(cx, lane, frame, start),
            KeyKind::Tag => self.locate_tag(cx, lane, frame, start),
            KeyKind::End => self.locate_end(cx, lane, frame, start),
            KeyKind::Full => 0,
        };
        if taken & !wanted != 0 {
            self.keep(start, wanted);
        }
        let taken = taken & wanted;
        if taken == 0 {
            self.waiting = 0;
            self.in_vain += 1;
            if self.in_vain >= PATIENCE {
                self.pattern = None;
            }
        } else {
            self.in_vain = 0;
        }
        taken
    }

    /// Forgets the packets that are not wanted; they fitted an earlier pattern, too.
    #[cold]
    fn keep(&mut self, start: usize, wanted: u32) {
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

    // Functions of their own, as their loops need all registers.
    #[inline(never)]
    fn locate_exact(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        start: usize,
    ) -> u32 {
        self.locate(cx, lane, frame, start, (KeyKind::Exact, false))
    }

    #[inline(never)]
    fn locate_tag(&mut self, cx: &Cx<'_>, lane: &mut Lane<F>, frame: &Frame, start: usize) -> u32 {
        self.locate(cx, lane, frame, start, (KeyKind::Tag, false))
    }

    #[inline(never)]
    fn locate_end(&mut self, cx: &Cx<'_>, lane: &mut Lane<F>, frame: &Frame, start: usize) -> u32 {
        self.locate(cx, lane, frame, start, (KeyKind::End, false))
    }

    #[inline(never)]
    fn locate_among_replies(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        start: usize,
    ) -> u32 {
        match self.pattern.as_ref().map(|pattern| pattern.destination.kind) {
            Some(kind @ (KeyKind::Exact | KeyKind::Tag | KeyKind::End)) => {
                self.locate(cx, lane, frame, start, (kind, true))
            }
            _ => 0,
        }
    }

    /// The same for keys of this kind, where packets may be `replies` or not.
    #[inline(always)]
    fn locate(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        start: usize,
        (kind, replies): (KeyKind, bool),
    ) -> u32 {
        // A copy, as it is nothing to the loop what else is written then.
        let Some(pattern) = self.pattern else { return 0 };
        let end = frame.len().min(start + STAGE);
        let interfaces = &frame.lanes.rx_interface[start..end];
        let (vip, course) = (pattern.destination.vip, pattern.destination.course);
        let finder = cx.worker.sticky.finder();
        let mut jobs = self.jobs.iter_mut();
        let (mut taken, mut marked) = (0, 0);
        for (index, (slot, rx)) in frame.packets()[start..end].iter().zip(interfaces).enumerate() {
            let Some(packet) = slot else { continue };
            if !packet.is_plain() || *rx != pattern.interface {
                continue;
            }
            let Some(varying) = F::varying(&pattern.like, packet.data()) else { continue };
            let flow = pattern.flow(&varying);
            if replies && !matches!(lane.services.find(cx.snapshot, &flow), (_, Source::Stranger)) {
                continue;
            }
            let Varying { flags, len, .. } = varying;
            let place = finder.place(kind, vip, &flow);
            let (passing, at) = (course.passing(flags), (start + index) as u8);
            let Some(job) = jobs.next() else { break };
            *job = AlikeJob { place, len, passing, at };
            marked |= u32::from(F::may_be_ours(cx.snapshot, flow.src)) << index;
            taken |= 1 << index;
        }
        self.waiting = STAGE - jobs.len();
        if cx.snapshot.tunnel_policy.has_sources() {
            marked = taken;
        }
        if marked != 0 {
            taken &= !odd_ones::<F>(cx, &pattern, frame, start, marked);
            self.keep(start, taken);
        }
        for job in self.jobs[..self.waiting.min(STAGE)].iter_mut() {
            finder.fetch(&mut job.place);
        }
        taken
    }

    /// Second stage: looks up the flows of the packets that fitted, and sends them on.
    #[inline]
    pub(super) fn finish(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &mut Frame,
        declined: &mut Declined,
    ) {
        if self.waiting > 0 {
            self.finish_some(cx, lane, frame, declined);
        }
    }

    #[inline(never)]
    fn finish_some(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &mut Frame,
        declined: &mut Declined,
    ) {
        let waiting = std::mem::take(&mut self.waiting).min(STAGE);
        let jobs = &mut self.jobs[..waiting];
        let (finder, large) = (cx.worker.sticky.finder(), cx.worker.sticky.is_large());
        for job in &mut *jobs {
            finder.see(&mut job.place, large);
        }
        let (Some(pattern), [first, ..]) = (&self.pattern, &*jobs) else { return };
        let (rx, first) = (pattern.interface, usize::from(first.at));
        let partial = is_due::<F>(cx, rx) && is_partial::<F>(frame.data(first));
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
        }
        let jobs = &jobs[usize::from(partial)..];
        let mut stragglers = Stragglers::of(pattern, jobs);
        if declined.any() {
            stragglers.add_all_from(0);
        }
        for (index, job) in jobs.iter().enumerate() {
            if stragglers.are_the_rest() {
                break;
            }
            match forward(cx, lane, frame, job, false) {
                Forwarded::To(interface) => leave(cx, frame, job, interface),
                Forwarded::Unknown => stragglers.add_unknown(index),
                Forwarded::No => stragglers.add_all_from(index),
            }
        }
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

/// Of marked packets that fit the pattern those whose source is none that others may have, or that of
/// outer headers of ours: if they come back, they are somebody else's to count.
#[cold]
fn odd_ones<F: LaneFamily>(
    cx: &Cx<'_>,
    pattern: &Pattern<F>,
    frame: &Frame,
    start: usize,
    marked: u32,
) -> u32 {
    let is_odd = |index: &usize| {
        let varying = F::varying(&pattern.like, frame.data(start + index));
        varying.is_none_or(|Varying { src, dst, .. }| {
            let forged = |src| check_source::<F>(cx.snapshot, (src, dst), false).is_some();
            F::is_tunnel_source(&cx.snapshot.tunnel_policy, src)
                || F::may_be_ours(cx.snapshot, src) && (!F::is_source(src) || forged(src))
        })
    };
    let marked = (0..STAGE).filter(|index| marked >> index & 1 != 0);
    marked.filter(is_odd).fold(0, |odd, index| odd | 1 << index)
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

/// Sends a packet to the AS of its flow, if it has one and was seen in its place; or `anywhere`.
#[inline(always)]
pub(super) fn forward<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    frame: &mut Frame,
    job: &AlikeJob,
    anywhere: bool,
) -> Forwarded {
    let sticky = &cx.worker.sticky;
    let seen = match sticky.seen(&job.place) {
        None if anywhere => sticky.seen_anywhere(&job.place, cx.now.tick_s),
        seen => seen,
    };
    let Some(seen) = seen else { return Forwarded::Unknown };
    let way = lane.servers.of_flow(cx.snapshot, seen.value);
    let Some(way) = way else { return Forwarded::Unknown };
    // A SYN may start another connection.
    if job.passing.opens() || !way.takes(job.len) {
        let is_live = seen.value.is_live(cx.now.tick_s);
        return if is_live { Forwarded::No } else { Forwarded::Unknown };
    }
    if !seen.keep(job.passing, &lane.updates, cx.now.tick_s) {
        return Forwarded::Unknown;
    }
    let server = seen.value.as_id();
    let packet = frame.packet_mut(usize::from(job.at));
    if !packet.is_some_and(|packet| way.change_alike(packet, cx.snapshot, cx.worker, job.len)) {
        return Forwarded::No;
    }
    count_sent(cx, server, job.len);
    Forwarded::To(way.interface)
}

/// Lets a packet leave by an interface.
#[inline(always)]
pub(super) fn leave(cx: &mut Cx<'_>, frame: &mut Frame, job: &AlikeJob, interface: InterfaceId) {
    let at = usize::from(job.at);
    frame.lanes.tx_interface[at] = interface;
    cx.set_next(at, Next::Output);
}
