//! The first stage for packets that are like the ones before: from the same interface to the same
//! service of a VIP whose replies come another way in. Everything about the VIP is known beforehand
//! then, and there is little left to do for each.

use balancer::{FlowValue, KeyKind};
use dataplane::frame::Frame;

use super::STAGE;
use super::declined::Declined;
use super::fitting::{AlikeJob, Fitting};
use super::lane::{Cx, Lane, LaneFamily};
use super::likeness::Varying;
use super::pattern::Pattern;
use super::services::Source;
use crate::ip_input::check_source;

/// A pattern that no packet of so many groups in a row fits is given up.
const PATIENCE: u8 = 8;

/// Which of two a group is.
fn group_of(start: usize) -> usize {
    start / STAGE % 2
}

/// A pattern, and the packets of two groups that fitted it or one before.
#[derive(Debug)]
pub(super) struct Alike<F: LaneFamily> {
    /// `None`: no packets can fit.
    pattern: Option<Pattern<F>>,
    groups: [Fitting<F>; 2],
    /// Groups in a row of which no packet fitted.
    in_vain: u8,
}

impl<F: LaneFamily> Default for Alike<F> {
    fn default() -> Self {
        Self { pattern: None, groups: Default::default(), in_vain: 0 }
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
        let group = group_of(start);
        let taken = match pattern.destination.kind {
            _ if pattern.replies => self.locate_among_replies(cx, lane, frame, start),
            KeyKind::Exact => self.locate_exact(cx, lane, frame, start),
            KeyKind::Tag => self.locate_tag(cx, lane, frame, start),
            KeyKind::End => self.locate_end(cx, lane, frame, start),
            KeyKind::Full => 0,
        };
        if taken & !wanted != 0 {
            self.groups[group].keep(start, wanted);
        }
        let taken = taken & wanted;
        if taken == 0 {
            self.groups[group].waiting = 0;
            self.in_vain += 1;
            if self.in_vain >= PATIENCE {
                self.pattern = None;
            }
        } else {
            self.in_vain = 0;
        }
        taken
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
        let (finder, marks) = (cx.worker.sticky.finder(), F::marks(cx.snapshot));
        let group = &mut self.groups[group_of(start)];
        let mut jobs = group.jobs.iter_mut();
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
            *job = AlikeJob { place, value: FlowValue::default(), len, passing, at };
            marked |= u32::from(marks.may_hold(flow.src)) << index;
            taken |= 1 << index;
        }
        (group.pattern, group.waiting) = (Some(pattern), STAGE - jobs.len());
        if cx.snapshot.tunnel_policy.has_sources() {
            marked = taken;
        }
        if marked != 0 {
            taken &= !odd_ones::<F>(cx, &pattern, frame, start, marked);
            group.keep(start, taken);
        }
        if !cx.worker.sticky.is_large() {
            group.fetch_all(cx);
        }
        taken
    }

    /// Fetches what is known of the flows of the group from slot `start` on, where it is far away.
    #[inline]
    pub(super) fn fetch(&mut self, cx: &Cx<'_>, start: usize) {
        if cx.worker.sticky.is_large() {
            self.groups[group_of(start)].fetch_all(cx);
        }
    }

    /// Second stage, for the group from slot `start` on: looks up the flows of the packets that fitted,
    /// and sends them on. [Fetches](Self::fetch) the other group meanwhile.
    #[inline]
    pub(super) fn finish(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        (frame, start): (&mut Frame, usize),
        declined: &mut Declined,
    ) {
        let [first, second] = &mut self.groups;
        let (group, next) = if group_of(start) == 0 { (first, second) } else { (second, first) };
        if group.any() {
            group.finish(cx, lane, (frame, declined), next);
        } else if cx.worker.sticky.is_large() {
            next.fetch_all(cx);
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
