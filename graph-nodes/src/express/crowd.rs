//! [`Crowd`]: the packets of a group that fit one of the patterns of late.

use dataplane::frame::Frame;

use super::STAGE;
use super::alike::{Alike, GROUPS, group_of};
use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::ones::{Bits, Ones};
use super::pattern::Pattern;

/// So many patterns: most interfaces bring packets to a few services, such as those of HTTP and HTTPS.
const PATTERNS: usize = 4;

/// When fewer packets of a group than one in so many fit any pattern, looking for them is in vain.
const FEW: u32 = 4;

/// After so many such groups in a row…
const POOR: u8 = 8;

/// … so many go without: where many services are asked at once, looking costs more than it saves.
const REST: u8 = 128;

/// Packets that fit patterns, and what became of them of late.
#[derive(Debug)]
pub(super) struct Crowd<F: LaneFamily> {
    alike: [Alike<F>; PATTERNS],
    /// By group: the patterns that packets of it wait at, a bit for each.
    waiting: [Bits; GROUPS],
    /// The next to be replaced.
    next: usize,
    poor: u8,
    rest: u8,
    generation: u64,
}

impl<F: LaneFamily> Default for Crowd<F> {
    fn default() -> Self {
        let alike = std::array::from_fn(|_| Alike::default());
        Self { alike, waiting: [0; GROUPS], next: 0, poor: 0, rest: 0, generation: 0 }
    }
}

impl<F: LaneFamily> Crowd<F> {
    /// Before the first packet of a frame: patterns hold in one snapshot.
    pub(super) fn begin(&mut self, cx: &Cx<'_>) {
        if self.generation != cx.snapshot.generation {
            *self = Self { generation: cx.snapshot.generation, ..Self::default() };
        }
    }

    /// First stage: finds the packets of a group, from slot `start` on, that are wanted and fit a
    /// pattern. Returns a bit for each, counted from `start` on.
    pub(super) fn gather(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        start: usize,
        wanted: Bits,
    ) -> Bits {
        if self.rest > 0 {
            self.rest -= 1;
            return 0;
        }
        let mut left = wanted;
        let (mut asked, mut waiting) = (false, 0);
        for (at, alike) in self.alike.iter_mut().enumerate() {
            if left != 0 && alike.has_pattern() {
                asked = true;
                let fitting = alike.gather(cx, lane, frame, (start, left));
                left &= !fitting;
                waiting |= Bits::from(fitting != 0) << at;
            }
        }
        self.waiting[group_of(start)] = waiting;
        let taken = wanted & !left;
        if asked {
            let enough = taken.count_ones() * FEW >= wanted.count_ones();
            self.poor = if enough { 0 } else { self.poor + 1 };
        }
        taken
    }

    /// Second stage, for the group from slot `start` on: looks up the flows of these packets, and sends
    /// them on.
    #[inline]
    pub(super) fn finish(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        (frame, start): (&mut Frame, usize),
        declined: &mut Declined,
    ) {
        for at in Ones(std::mem::take(&mut self.waiting[group_of(start)])) {
            self.alike[at % PATTERNS].finish(cx, lane, (frame, start), declined);
        }
    }

    /// After each group: makes room for the pattern of packets that fitted none.
    #[inline]
    pub(super) fn learn(&mut self, lane: &mut Lane<F>) {
        if self.poor >= POOR {
            (self.poor, self.rest) = (0, REST);
        }
        if lane.pattern.is_none() {
            return;
        }
        // A packet may fit a pattern and be none of it for another reason.
        let known = |pattern: &Pattern<F>| self.alike.iter().any(|alike| alike.expects(pattern));
        if let Some(pattern) = lane.pattern.take().filter(|pattern| !known(pattern)) {
            let free = self.alike.iter().position(|alike| !alike.has_pattern());
            let at = free.unwrap_or(self.next) % PATTERNS;
            self.next = at + 1;
            self.alike[at].expect(pattern);
        }
    }
}

const _: () = assert!(STAGE == Bits::BITS as usize, "a bit for each packet of a group");
