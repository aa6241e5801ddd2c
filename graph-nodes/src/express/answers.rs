//! The two stages for replies of ASs behind NAT that are like the ones before: from the same
//! interface and of the same protocol, to VIPs with keys of the same kind.

use balancer::{Address, KeyKind, TcpFlags};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::wire::ipv4::protocol;

use super::STAGE;
use super::alike::{GROUPS, from_interface, group_of};
use super::declined::Declined;
use super::gate::Gate;
use super::lane::{Cx, Lane, LaneFamily};
use super::likeness::{Common, Varying};
use super::ones::Ones;
use super::replies::Replies;

/// What replies have in common. Holds in one snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerPattern<F: LaneFamily> {
    pub(super) interface: InterfaceId,
    like: F::Like,
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

/// A packet that is like a pattern: what is [`Varying`] of it, each for itself, as the loop stores them so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<A> {
    pub(super) src: A,
    pub(super) dst: A,
    /// Host byte order, as the next.
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) flags: TcpFlags,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    /// The slot in the frame.
    pub(super) at: u8,
}

impl<A: Address> Candidate<A> {
    fn none() -> Self {
        let (src, dst) = (A::from_bits(0), A::from_bits(0));
        Self { src, dst, src_port: 0, dst_port: 0, flags: TcpFlags::NONE, len: 0, at: 0 }
    }
}

/// The packets of two groups that fit a pattern.
#[derive(Debug)]
pub(super) struct Answers<F: LaneFamily> {
    candidates: [Candidate<F::Address>; STAGE],
    groups: [Replies<F>; GROUPS],
}

impl<F: LaneFamily> Default for Answers<F> {
    fn default() -> Self {
        Self { candidates: [Candidate::none(); STAGE], groups: Default::default() }
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
        wanted: u32,
    ) -> u32 {
        let Some(pattern) = lane.answers else { return 0 };
        let wanted = wanted & from_interface(frame, start, pattern.interface);
        let found = match pattern.protocol {
            protocol::UDP => self.find_alike::<{ protocol::UDP }>(&pattern, frame, (start, wanted)),
            _ => self.find_alike::<{ protocol::TCP }>(&pattern, frame, (start, wanted)),
        };
        let group = &mut self.groups[group_of(start)];
        let taken = group.gather(cx, lane, &self.candidates[..found.min(STAGE)], start);
        if taken == 0 {
            lane.answers = None;
        }
        taken
    }

    /// Finds those of the wanted packets of a group that are like the pattern, which is of this protocol,
    /// and tells how many there are. A loop of its own, as it needs all registers.
    #[inline(never)]
    fn find_alike<const PROTOCOL: u8>(
        &mut self,
        pattern: &AnswerPattern<F>,
        frame: &Frame,
        (start, wanted): (usize, u32),
    ) -> usize {
        // A copy, as it is nothing to the loop what else is written then.
        let like = pattern.like;
        let Some(slots) = frame.slots::<STAGE>(start) else { return 0 };
        let mut candidates = self.candidates.iter_mut();
        for index in Ones(wanted) {
            let varying = match &slots[index] {
                Some(packet) if packet.is_plain() => F::varying(&like, PROTOCOL, packet.data()),
                _ => None,
            };
            let Some(Varying { src, dst, src_port, dst_port, flags, len }) = varying else {
                continue;
            };
            // As many as packets.
            let Some(candidate) = candidates.next() else { break };
            let at = (start + index) as u8;
            *candidate = Candidate { src, dst, src_port, dst_port, flags, len, at };
        }
        STAGE - candidates.len()
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
