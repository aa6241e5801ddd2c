//! The two stages for replies of ASs behind NAT that are like the ones before: from the same
//! interface and of the same protocol, to VIPs with keys of the same kind.

use std::marker::PhantomData;

use balancer::KeyKind;
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;

use super::alike::{GROUPS, from_interface, group_of};
use super::declined::Declined;
use super::gate::Gate;
use super::lane::{Cx, Lane, LaneFamily};
use super::likeness::Common;
use super::ones::Bits;
use super::replies::Replies;

/// What replies have in common. Holds in one snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerPattern<F: LaneFamily> {
    pub(super) interface: InterfaceId,
    pub(super) like: F::Like,
    pub(super) protocol: u8,
    pub(super) kind: KeyKind,
}

impl<F: LaneFamily> AnswerPattern<F> {
    /// The pattern of a reply of this protocol that came through this gate.
    pub(super) fn of(gate: &Gate, protocol: u8, kind: KeyKind) -> Option<Self> {
        if kind == KeyKind::Full {
            return None;
        }
        let (station, summed) = (gate.station, false);
        let like = F::like(&Common { station, dst: None, dst_port: None, protocol, summed });
        Some(Self { interface: gate.interface, like, protocol, kind })
    }
}

/// The packets of two groups that fit a pattern.
#[derive(Debug)]
pub(super) struct Answers<F: LaneFamily> {
    groups: [Replies; GROUPS],
    family: PhantomData<F>,
}

impl<F: LaneFamily> Default for Answers<F> {
    fn default() -> Self {
        Self { groups: Default::default(), family: PhantomData }
    }
}

impl<F: LaneFamily> Answers<F> {
    /// First stage: finds the packets of a group, from slot `start` on, that are wanted and fit the
    /// pattern, and fetches what is known of their flows. Returns a bit for each, counted from `start`
    /// on.
    #[inline]
    pub(super) fn gather(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        start: usize,
        wanted: Bits,
    ) -> Bits {
        let Some(pattern) = lane.answers else { return 0 };
        let wanted = wanted & from_interface(frame, start, pattern.interface);
        let group = &mut self.groups[group_of(start)];
        let taken = group.gather(cx, lane, &pattern, frame, (start, wanted));
        if taken == 0 {
            lane.answers = None;
        }
        taken
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
        let group = &mut self.groups[group_of(start)];
        if group.any() {
            group.finish(cx, lane, (frame, declined));
        }
    }
}
