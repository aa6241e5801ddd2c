//! [`Replies`]: the replies of a group that fitted a pattern, and their two stages.

use balancer::{FlowTuple, KeyKind, TcpFlags, WithFlows};
use dataplane::fib::FibEntry;
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::wire::ipv4::protocol;

use super::STAGE;
use super::answering::{leave_all, leave_one, send_back_all};
use super::answers::AnswerPattern;
use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::likeness::Varying;
use super::ones::Ones;
use super::reply_flow::{ReplyFlow, keep_flows};
use super::run::Run;
use super::second_stage::{count_received, is_due, is_partial, sampled};
use super::services::Source;

/// So many buckets of a large table are fetched at once, as for [requests](super::fitting).
const EARLY: usize = STAGE / 2;

/// A reply between the two stages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplyJob {
    /// Where the AS's service is remembered.
    pub(super) service: u16,
    /// Where the way to the client is.
    pub(super) client: u16,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    /// The slot in the frame.
    pub(super) at: u8,
}

/// The replies of a group that fitted a pattern.
#[derive(Debug)]
pub(super) struct Replies {
    /// Where they came from.
    interface: InterfaceId,
    /// They are of UDP or else TCP.
    udp: bool,
    jobs: [ReplyJob; STAGE],
    waiting: usize,
    /// The flows of those that may have one.
    flows: [ReplyFlow; STAGE],
    looked_for: usize,
    /// What was there before the first stage.
    before: Before,
    /// One of them is too long for its way, or may not take it.
    closer: bool,
}

/// What a loop over a group found.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// The packets that are taken, a bit for each.
    taken: u32,
    /// Those that were not looked at: something of the first has to be worked out.
    left: u32,
}

/// Works out what there is to remember for an ordinary packet; false if it is none.
#[cold]
#[inline(never)]
fn work_out<F: LaneFamily>(cx: &Cx<'_>, lane: &mut Lane<F>, data: &[u8]) -> bool {
    let Some(tuple) = F::flow(data) else { return false };
    lane.services.find(cx.snapshot, &tuple);
    if let FibEntry::Adjacency(hop) = lane.routes.lookup::<F>(cx.snapshot, tuple.dst) {
        lane.clients.find(cx.snapshot, hop);
    }
    true
}

/// What the first stage goes by. As long as it is the same, what that found is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Before {
    /// How often something else was remembered of services and ways.
    changes: u64,
    /// How often an AS without flows got one.
    beginnings: u32,
}

impl Before {
    fn now<F: LaneFamily>(cx: &Cx<'_>, lane: &Lane<F>) -> Self {
        let changes = lane.services.changes() + lane.clients.changes();
        Self { changes, beginnings: cx.worker.sticky.table().live_flows().beginnings() }
    }
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            interface: InterfaceId::LOCAL0,
            udp: false,
            jobs: [ReplyJob::default(); STAGE],
            waiting: 0,
            flows: [ReplyFlow::default(); STAGE],
            looked_for: 0,
            before: Before::default(),
            closer: false,
        }
    }
}

impl Replies {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.waiting > 0
    }

    /// First stage, for the packets of the group that are wanted, of which there is a bit for each from slot
    /// `start` on: are they like the pattern, which service of an AS do they come from, and where do they go?
    /// Returns a bit for each that is taken.
    #[inline]
    pub(super) fn gather<F: LaneFamily>(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        pattern: &AnswerPattern<F>,
        frame: &Frame,
        (start, wanted): (usize, u32),
    ) -> u32 {
        (self.interface, self.udp) = (pattern.interface, pattern.protocol == protocol::UDP);
        self.before = Before::now(cx, lane);
        (self.waiting, self.looked_for, self.closer) = (0, 0, false);
        let (mut left, mut taken) = (wanted, 0);
        while left != 0 {
            let of = (start, left);
            let found = match (pattern.kind, self.udp) {
                (KeyKind::Exact, true) => {
                    self.locate_exact::<F, { protocol::UDP }>(cx, lane, pattern, frame, of)
                }
                (KeyKind::Exact, false) => {
                    self.locate_exact::<F, { protocol::TCP }>(cx, lane, pattern, frame, of)
                }
                (KeyKind::End, true) => {
                    self.locate_end::<F, { protocol::UDP }>(cx, lane, pattern, frame, of)
                }
                (KeyKind::End, false) => {
                    self.locate_end::<F, { protocol::TCP }>(cx, lane, pattern, frame, of)
                }
                (KeyKind::Tag | KeyKind::Full, _) => Found { taken: 0, left: 0 },
            };
            taken |= found.taken;
            left = found.left;
            if left != 0 && !work_out(cx, lane, frame.data(start + left.trailing_zeros() as usize))
            {
                left &= left - 1;
            }
        }
        self.aim(cx);
        taken
    }

    // Functions of their own, as their loops need all registers.
    #[inline(never)]
    fn locate_exact<F: LaneFamily, const PROTOCOL: u8>(
        &mut self,
        cx: &Cx<'_>,
        lane: &Lane<F>,
        pattern: &AnswerPattern<F>,
        frame: &Frame,
        of: (usize, u32),
    ) -> Found {
        self.locate(cx, lane, (&pattern.like, KeyKind::Exact, PROTOCOL), frame, of)
    }

    #[inline(never)]
    fn locate_end<F: LaneFamily, const PROTOCOL: u8>(
        &mut self,
        cx: &Cx<'_>,
        lane: &Lane<F>,
        pattern: &AnswerPattern<F>,
        frame: &Frame,
        of: (usize, u32),
    ) -> Found {
        self.locate(cx, lane, (&pattern.like, KeyKind::End, PROTOCOL), frame, of)
    }

    /// The same up to the first packet of which something has to be worked out, for keys of this kind and this
    /// protocol. The loop calls nothing, as it needs all registers.
    #[inline(always)]
    fn locate<F: LaneFamily>(
        &mut self,
        cx: &Cx<'_>,
        lane: &Lane<F>,
        (like, kind, protocol): (&F::Like, KeyKind, u8),
        frame: &Frame,
        (start, wanted): (usize, u32),
    ) -> Found {
        // A copy, as it is nothing to the loop what else is written then.
        let (like, finder) = (*like, cx.worker.sticky.finder());
        // Where somebody speaks to an AS directly, all flows must be there.
        let with_flows =
            if lane.any_direct { WithFlows::ALL } else { cx.worker.sticky.with_flows() };
        let routes = lane.routes.finder(cx.snapshot);
        let (services, clients) = (lane.services.finder(), lane.clients.finder());
        let Some(slots) = frame.slots::<STAGE>(start) else { return Found { taken: 0, left: 0 } };
        let mut jobs = self.jobs[self.waiting.min(STAGE)..].iter_mut();
        let mut flows = self.flows[self.looked_for.min(STAGE)..].iter_mut();
        let (mut taken, mut spare, mut ones) = (0, 0, Ones(wanted));
        let left = loop {
            let rest = ones.0;
            let Some(index) = ones.next() else { break 0 };
            // No closure, as the compiler may make a call of it.
            let varying = match &slots[index] {
                Some(packet) if packet.is_plain() => F::varying(&like, protocol, packet.data()),
                _ => None,
            };
            let Some(Varying { src, dst, src_port, dst_port, flags, len }) = varying else {
                continue;
            };
            let tuple = FlowTuple { src, dst, src_port, dst_port, protocol };
            let Some((service_at, source)) = services.find(&tuple) else { break rest };
            let Source::One(service) = source else { continue };
            if service.kind != kind || service.mss && flags.contains(TcpFlags::SYN) {
                continue;
            }
            let Some(entry) = routes.find::<F>(dst) else { break rest };
            let FibEntry::Adjacency(hop) = entry else { continue };
            let Some((client, way)) = clients.find(hop) else { break rest };
            // As many as packets, as the flows.
            let Some(job) = jobs.next() else { break 0 };
            (job.service, job.client, job.len) = (service_at, client, len);
            job.at = (start + index) as u8;
            spare |= way.spare(len);
            if with_flows.include(service.server) {
                let Some(flow) = flows.next() else { break 0 };
                finder.name(&mut flow.located, kind, service.vip, &tuple.reversed());
                (flow.owner, flow.passing) = (service.owner, service.course.passing(flags));
            }
            taken |= 1 << index;
        };
        (self.waiting, self.looked_for) = (STAGE - jobs.len(), STAGE - flows.len());
        self.closer |= spare < 0;
        Found { taken, left }
    }

    /// Works out where the flows are looked for, and fetches that: all of a small table, which is near, and
    /// the [`EARLY`] ones of a large one.
    #[inline]
    fn aim(&mut self, cx: &Cx<'_>) {
        let (sticky, finder) = (&cx.worker.sticky, cx.worker.sticky.finder());
        for flow in &mut self.flows[..self.looked_for.min(STAGE)] {
            finder.aim_at(&mut flow.located);
        }
        let early = if sticky.is_large() { EARLY } else { STAGE };
        for flow in &self.flows[..self.looked_for.min(early)] {
            sticky.prefetch(&flow.located, KeyKind::Exact);
        }
    }

    /// Fetches the others.
    #[inline]
    pub(super) fn fetch_rest(&self, cx: &Cx<'_>) {
        for flow in self.rest() {
            cx.worker.sticky.prefetch(&flow.located, KeyKind::Exact);
        }
    }

    /// Those that are not fetched early.
    #[inline]
    fn rest(&self) -> &[ReplyFlow] {
        self.flows[..self.looked_for.min(STAGE)].get(EARLY..).unwrap_or_default()
    }

    /// Second stage: looks up the flows, and sends the packets on. The rest of what the next group needs of a
    /// large table is fetched meanwhile.
    #[inline(never)]
    pub(super) fn finish<F: LaneFamily>(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        (frame, declined): (&mut Frame, &mut Declined),
        next: &Self,
    ) {
        let waiting = std::mem::take(&mut self.waiting).min(STAGE);
        let jobs = &self.jobs[..waiting];
        let [first, ..] = jobs else { return };
        let (rx, first) = (self.interface, usize::from(first.at));
        let partial = is_due::<F>(cx, rx) && frame.packet(first).is_some_and(is_partial::<F>);
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
        }
        let jobs = &jobs[usize::from(partial)..];
        let plain = if declined.any() || self.is_outdated(cx, lane, waiting) {
            0
        } else {
            let flows = &self.flows[..self.looked_for.min(STAGE)];
            // If there must be flows, all were looked for.
            keep_flows(cx, &lane.updates, flows, lane.any_direct).unwrap_or(jobs.len())
        };
        let coming = if cx.worker.sticky.is_large() { next.rest() } else { &[] };
        let (plain, rest) = jobs.split_at(plain.min(jobs.len()));
        let sent = send_back_all(cx, lane, frame, (plain, self.udp), coming);
        leave_all(cx, &lane.clients, frame, (plain, &sent));
        let mut others = 0;
        for job in plain[sent.packets..].iter().chain(rest) {
            others += u32::from(!leave_one(cx, lane, (frame, declined), job.at));
        }
        let forwarded = jobs.len() as u32 - others;
        count_received::<F>(&cx.worker.shared, Run { of: rx, packets: u64::from(forwarded) });
        lane.forwarded += u64::from(forwarded);
        lane.translated += u64::from(forwarded);
        if !partial {
            sampled::<F>(cx, rx, forwarded);
        }
    }

    /// Whether what the first stage found of so many packets may not hold any more, or not for all of them.
    #[inline]
    fn is_outdated<F: LaneFamily>(&self, cx: &Cx<'_>, lane: &Lane<F>, waiting: usize) -> bool {
        let now = Before::now(cx, lane);
        // It is nothing to those whose flows were looked for that others got their first ones.
        let begun = self.looked_for < waiting && now.beginnings != self.before.beginnings;
        self.closer || now.changes != self.before.changes || begun
    }
}
