//! The first stage for packets that are like the ones before: from the same interface to the same
//! service of a VIP whose replies come another way in. Everything about the VIP is known beforehand
//! then, and there is little left to do for each.

use balancer::KeyKind;
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;

use super::STAGE;
use super::declined::Declined;
use super::fitting::Fitting;
use super::lane::{Cx, Lane, LaneFamily};
use super::ones::{Bits, Ones};
use super::ordinary::L3;
use super::pattern::Pattern;
use super::services::Source;
use crate::ip_input::check_source;

/// A pattern that no packet of so many groups in a row fits is given up.
const PATIENCE: u8 = 8;

/// So many groups are between stages at once.
pub(super) const GROUPS: usize = 2;

/// Which of them the group from slot `start` on is.
#[inline]
pub(super) fn group_of(start: usize) -> usize {
    start / STAGE % GROUPS
}

/// A pattern, and the packets of two groups that fitted it or one before.
#[derive(Debug)]
pub(super) struct Alike<F: LaneFamily> {
    /// `None`: no packets can fit.
    pattern: Option<Pattern<F>>,
    groups: [Fitting<F>; GROUPS],
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
        (start, wanted): (usize, Bits),
    ) -> Bits {
        let Some(pattern) = &self.pattern else { return 0 };
        let of = (start, wanted);
        let Fits { mut taken, marked } = match (pattern.protocol, pattern.replies) {
            (protocol::TCP, false) => {
                self.locate_of::<{ protocol::TCP }, false>(cx, lane, frame, of)
            }
            (protocol::TCP, true) => self.locate_of::<{ protocol::TCP }, true>(cx, lane, frame, of),
            (protocol::UDP, false) => {
                self.locate_of::<{ protocol::UDP }, false>(cx, lane, frame, of)
            }
            (protocol::UDP, true) => self.locate_of::<{ protocol::UDP }, true>(cx, lane, frame, of),
            _ => Fits::NONE,
        };
        let group = &mut self.groups[group_of(start)];
        group.waiting = taken.count_ones() as usize;
        if marked & 1 != 0 {
            let odd = odd_ones::<F>(cx, frame, start, taken);
            taken &= !odd;
            if odd != 0 {
                group.keep(start, taken);
            }
        }
        group.aim(cx);
        if taken == 0 {
            self.in_vain += 1;
            if self.in_vain >= PATIENCE {
                self.pattern = None;
            }
        } else {
            self.in_vain = 0;
        }
        taken
    }

    /// The packets that fit the pattern, where it is of a protocol and there are `REPLIES` or not.
    #[inline]
    fn locate_of<const PROTOCOL: u8, const REPLIES: bool>(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        of: (usize, Bits),
    ) -> Fits {
        match self.pattern.as_ref().map(|pattern| pattern.destination.kind) {
            Some(KeyKind::Exact) => self.locate_exact::<PROTOCOL, REPLIES>(cx, lane, frame, of),
            Some(KeyKind::Tag) => self.locate_tag::<PROTOCOL, REPLIES>(cx, lane, frame, of),
            Some(KeyKind::End) => self.locate_end::<PROTOCOL, REPLIES>(cx, lane, frame, of),
            Some(KeyKind::Full) | None => Fits::NONE,
        }
    }

    // Functions of their own that do nothing else, as their loops need all registers.
    #[inline(never)]
    fn locate_exact<const PROTOCOL: u8, const REPLIES: bool>(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        of: (usize, Bits),
    ) -> Fits {
        self.locate(cx, lane, frame, of, (KeyKind::Exact, PROTOCOL, REPLIES))
    }

    #[inline(never)]
    fn locate_tag<const PROTOCOL: u8, const REPLIES: bool>(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        of: (usize, Bits),
    ) -> Fits {
        self.locate(cx, lane, frame, of, (KeyKind::Tag, PROTOCOL, REPLIES))
    }

    #[inline(never)]
    fn locate_end<const PROTOCOL: u8, const REPLIES: bool>(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        of: (usize, Bits),
    ) -> Fits {
        self.locate(cx, lane, frame, of, (KeyKind::End, PROTOCOL, REPLIES))
    }

    /// The packets that fit the pattern, whose keys are of this kind and whose protocol is this, where
    /// packets may be `replies` or not. Their flows are still to be fetched.
    #[inline(always)]
    fn locate(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        (start, wanted): (usize, Bits),
        (kind, protocol, replies): (KeyKind, u8, bool),
    ) -> Fits {
        let group = &mut self.groups[group_of(start)];
        group.pattern = self.pattern;
        // A copy, as it is nothing to the loop what else is written then.
        let Some(mut pattern) = self.pattern else { return Fits::NONE };
        pattern.protocol = protocol;
        let Some(slots) = frame.slots::<STAGE>(start) else { return Fits::NONE };
        let wanted = wanted & from_interface(frame, start, pattern.interface);
        let (vip, course) = (pattern.destination.vip, pattern.destination.course);
        let (finder, marks) = (cx.worker.sticky.finder(), F::marks(cx.snapshot));
        let mut marked = 0;
        let mut jobs = group.jobs.iter_mut();
        let mut others = !wanted;
        for index in Ones(wanted) {
            let data = match &slots[index] {
                Some(packet) if packet.is_plain() => packet.data(),
                _ => &[],
            };
            let Some(varying) = F::varying(&pattern.like, (protocol, true), data) else {
                others |= 1 << index;
                continue;
            };
            let flow = pattern.flow(&varying);
            let services = &mut lane.services;
            if replies
                && !matches!(services.find_among_clients(cx.snapshot, &flow), Source::Stranger)
            {
                others |= 1 << index;
                continue;
            }
            // As many as packets.
            let Some(job) = jobs.next() else { break };
            F::point(&finder, &mut job.place, (kind, vip), (&flow, data));
            (job.len, job.at) = (varying.len, (start + index) as u8);
            job.passing = course.passing(varying.flags);
            marked |= marks.hint(flow.src);
        }
        Fits { taken: !others, marked }
    }

    /// Second stage, for the group from slot `start` on: looks up the flows of the packets that fitted,
    /// and sends them on.
    #[inline]
    pub(super) fn finish(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        (frame, start): (&mut Frame, usize),
        declined: &mut Declined,
    ) {
        self.groups[group_of(start)].finish(cx, lane, (frame, declined));
    }
}

/// What a loop over a group found.
#[derive(Clone, Copy, Debug)]
struct Fits {
    /// The packets that fit, a bit for each.
    taken: Bits,
    /// The lowest bit is set if the source of one of them takes a closer look.
    marked: u64,
}

impl Fits {
    const NONE: Self = Self { taken: 0, marked: 0 };
}

/// The packets of a group that came from an interface: a bit for each, and any where there are none.
#[inline(always)]
pub(super) fn from_interface(frame: &Frame, start: usize, interface: InterfaceId) -> Bits {
    let Some(group) = frame.lanes.rx_interface[start..].first_chunk::<STAGE>() else { return 0 };
    // Nearly always all, which is seen many at once when no loop ends early.
    let differences = group.iter().fold(0, |all, of| all | of.0 ^ interface.0);
    if differences == 0 { Bits::MAX } else { some_from_interface(group, interface) }
}

#[cold]
fn some_from_interface(group: &[InterfaceId; STAGE], interface: InterfaceId) -> Bits {
    let bits = group.iter().enumerate().map(|(index, of)| Bits::from(*of == interface) << index);
    bits.fold(0, |all, bit| all | bit)
}

/// Of packets that fit the pattern those whose source is none that others may have, or that of outer
/// headers of ours: if they come back, they are somebody else's to count.
#[cold]
fn odd_ones<F: LaneFamily>(cx: &Cx<'_>, frame: &Frame, start: usize, packets: Bits) -> Bits {
    let is_odd = |index: &usize| {
        let Some(header) = F::Header::at(frame.data(start + index), L3) else { return true };
        let (src, dst) = (header.source(), header.destination());
        let forged = |src| check_source::<F>(cx.snapshot, (src, dst), false).is_some();
        F::may_be_ours(cx.snapshot, src) && (!F::is_source(src) || forged(src))
    };
    Ones(packets).filter(is_odd).fold(0, |odd, index| odd | 1 << index)
}
