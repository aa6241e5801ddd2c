//! [`Replies`]: the replies of a group that fitted a pattern, and their two stages.

use balancer::{FlowTuple, KeyKind, Located, Visit, WithFlows};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::wire::ipv4::protocol;

use super::STAGE;
use super::answering::{leave_all, leave_one, send_back_all};
use super::answers::AnswerPattern;
use super::client_ways::UsualWay;
use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::likeness::Varying;
use super::ones::{Bits, Ones};
use super::reply_flow::keep_flows;
use super::run::Run;
use super::second_stage::{count_received, is_due, is_partial, sampled};

/// A reply between the two stages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplyJob {
    /// Its flow, if that is looked for.
    pub(super) located: Located,
    pub(super) visit: Visit,
    /// Where the AS's service is remembered.
    pub(super) service: u16,
    /// Where the way to the client is.
    pub(super) client: u16,
    /// Bytes of the IP packet.
    pub(super) len: u16,
}

/// The jobs of a group, in the places of their packets.
pub(super) type ReplyJobs = [ReplyJob; STAGE];

/// The replies of a group that fitted a pattern.
#[derive(Debug)]
pub(super) struct Replies {
    /// Where they came from.
    interface: InterfaceId,
    /// They are of UDP or else TCP.
    udp: bool,
    jobs: ReplyJobs,
    /// The group's first slot in the frame.
    start: usize,
    /// The packets that are there, a bit for each.
    waiting: Bits,
    /// Those of them that may have a flow.
    looked_for: Bits,
    /// The way of the last.
    client: u16,
    /// Not all go that way.
    several: bool,
    /// What was there before the first stage.
    before: Before,
}

/// Works out what there is to remember for an ordinary packet; false if it is none.
#[cold]
#[inline(never)]
fn work_out<F: LaneFamily>(cx: &Cx<'_>, lane: &mut Lane<F>, data: &[u8]) -> bool {
    let Some(tuple) = F::flow(data) else { return false };
    lane.services.find(cx.snapshot, &tuple);
    let route = lane.routes.route::<F>(cx.snapshot, tuple.dst);
    lane.clients.find(cx.snapshot, route);
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
            start: 0,
            waiting: 0,
            looked_for: 0,
            client: UsualWay::NOWHERE,
            several: false,
            before: Before::default(),
        }
    }
}

impl Replies {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.waiting != 0
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
        (start, wanted): (usize, Bits),
    ) -> Bits {
        (self.interface, self.udp) = (pattern.interface, pattern.protocol == protocol::UDP);
        self.before = Before::now(cx, lane);
        (self.start, self.waiting, self.looked_for) = (start, 0, 0);
        (self.client, self.several) = (UsualWay::NOWHERE, false);
        let mut left = wanted;
        while left != 0 {
            let of = (start, left);
            left = match (pattern.kind, self.udp) {
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
                (KeyKind::Tag | KeyKind::Full, _) => 0,
            };
            if left != 0 && !work_out(cx, lane, frame.data(start + left.trailing_zeros() as usize))
            {
                left &= left - 1;
            }
        }
        self.aim(cx);
        self.waiting
    }

    // Functions of their own, as their loops need all registers.
    #[inline(never)]
    fn locate_exact<F: LaneFamily, const PROTOCOL: u8>(
        &mut self,
        cx: &Cx<'_>,
        lane: &Lane<F>,
        pattern: &AnswerPattern<F>,
        frame: &Frame,
        of: (usize, Bits),
    ) -> Bits {
        self.locate(cx, lane, (&pattern.like, KeyKind::Exact, PROTOCOL), frame, of)
    }

    #[inline(never)]
    fn locate_end<F: LaneFamily, const PROTOCOL: u8>(
        &mut self,
        cx: &Cx<'_>,
        lane: &Lane<F>,
        pattern: &AnswerPattern<F>,
        frame: &Frame,
        of: (usize, Bits),
    ) -> Bits {
        self.locate(cx, lane, (&pattern.like, KeyKind::End, PROTOCOL), frame, of)
    }

    /// The same up to the first packet of which something has to be worked out, for keys of this kind and this
    /// protocol. Returns what is left then. The loop calls nothing, as it needs all registers.
    #[inline(always)]
    fn locate<F: LaneFamily>(
        &mut self,
        cx: &Cx<'_>,
        lane: &Lane<F>,
        (like, kind, protocol): (&F::Like, KeyKind, u8),
        frame: &Frame,
        (start, wanted): (usize, Bits),
    ) -> Bits {
        // A copy, as it is nothing to the loop what else is written then.
        let (like, finder) = (*like, cx.worker.sticky.finder());
        // Where somebody speaks to an AS directly, all flows must be there.
        let with_flows =
            if lane.any_direct { WithFlows::ALL } else { cx.worker.sticky.with_flows() };
        let routes = lane.routes.finder(cx.snapshot);
        let (services, clients) = (lane.services.finder(protocol), lane.clients.finder());
        let Some(slots) = frame.slots::<STAGE>(start) else { return 0 };
        let (mut missed, mut flowless, mut ones) = (0 as Bits, 0 as Bits, Ones(wanted));
        let mut way = UsualWay::none(self.client);
        let left = loop {
            let Some(index) = ones.next() else { break 0 };
            // No closure, as the compiler may make a call of it.
            let varying = match &slots[index] {
                Some(packet) if packet.is_plain() => {
                    F::varying(&like, (protocol, false), packet.data())
                }
                _ => None,
            };
            let Some(Varying { src, dst, src_port, dst_port, flags, len }) = varying else {
                missed |= 1 << index;
                continue;
            };
            let tuple = FlowTuple { src, dst, src_port, dst_port, protocol };
            let Some((service, answerer)) = services.find(&tuple) else {
                break ones.0 | 1 << index;
            };
            if !answerer.takes(kind, protocol, flags) {
                missed |= 1 << index;
                continue;
            }
            if !routes.is_usual::<F>(dst, &way.route) {
                let Some(other) = clients.find_by::<F>(&routes, dst) else {
                    break ones.0 | 1 << index;
                };
                if way.client != UsualWay::NOWHERE && way.client != other.client {
                    self.several = true;
                }
                way = other;
            }
            if len > way.largest {
                missed |= 1 << index;
                continue;
            }
            let job = &mut self.jobs[index];
            (job.service, job.client, job.len) = (service, way.client, len);
            if with_flows.include(answerer.server) {
                finder.name(&mut job.located, kind, answerer.vip, &tuple.reversed());
                job.visit = answerer.visit.with(flags);
            } else {
                flowless |= 1 << index;
            }
        };
        let taken = wanted & !left & !missed;
        self.client = way.client;
        self.waiting |= taken;
        self.looked_for |= taken & !flowless;
        left
    }

    /// Works out where the flows are looked for, and fetches that.
    #[inline]
    fn aim(&mut self, cx: &Cx<'_>) {
        let (finder, first) = (cx.worker.sticky.finder(), cx.worker.sticky.first_buckets());
        for index in Ones(self.looked_for) {
            let located = &mut self.jobs[index].located;
            finder.aim_at(located);
            first.fetch(located);
        }
    }

    /// Second stage: looks up the flows, and sends the packets on.
    #[inline(never)]
    pub(super) fn finish<F: LaneFamily>(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        (frame, declined): (&mut Frame, &mut Declined),
    ) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let looked_for = std::mem::take(&mut self.looked_for);
        let (rx, first) = (self.interface, self.start + waiting.trailing_zeros() as usize % STAGE);
        let partial = is_due::<F>(cx, rx) && frame.packet(first).is_some_and(is_partial::<F>);
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
            waiting &= waiting - 1;
        }
        let mut plain = 0;
        if !declined.any() && !self.is_outdated(cx, lane, waiting & !looked_for != 0) {
            // If there must be flows, all were looked for.
            let of = (&self.jobs, looked_for);
            plain = waiting & keep_flows(cx, &lane.updates, of, lane.any_direct);
        }
        let one_way = if self.several { None } else { Some(self.client) };
        let of = (&self.jobs, self.start, plain);
        let sent = send_back_all(cx, lane, frame, of, (self.udp, one_way));
        leave_all(cx, lane, frame, (&self.jobs, self.start, sent), one_way);
        let mut others = 0;
        for index in Ones(waiting & !sent) {
            others += u32::from(!leave_one(cx, lane, (frame, declined), self.start + index));
        }
        let forwarded = waiting.count_ones() - others;
        count_received::<F>(&cx.worker.shared, Run { of: rx, packets: u64::from(forwarded) });
        lane.forwarded += u64::from(forwarded);
        lane.translated += u64::from(forwarded);
        if !partial {
            sampled::<F>(cx, rx, forwarded);
        }
    }

    /// Whether what the first stage found may not hold any more; `some_flowless`: not all have flows.
    #[inline]
    fn is_outdated<F: LaneFamily>(&self, cx: &Cx<'_>, lane: &Lane<F>, some_flowless: bool) -> bool {
        let now = Before::now(cx, lane);
        // It is nothing to those whose flows were looked for that others got their first ones.
        let begun = some_flowless && now.beginnings != self.before.beginnings;
        now.changes != self.before.changes || begun
    }
}
