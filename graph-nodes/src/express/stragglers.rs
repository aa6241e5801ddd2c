//! [`Stragglers`]: the packets of a group that fit a pattern, but are not sent by what is known of
//! their flows alone.

use balancer::{FlowTuple, TcpFlags};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::wire::ipv4::protocol;

use super::STAGE;
use super::declined::Declined;
use super::fitting::AlikeJob;
use super::flow_job::FlowJob;
use super::lane::{Cx, Lane, LaneFamily};
use super::newcomers::{Newcomers, Placed, fetch_seconds};
use super::ones::{Bits, Ones, row};
use super::pattern::Pattern;
use super::sending::{forward, leave, leave_all, send_all};

/// They wait until the others are sent, and keep their order. So do the packets of a flow: as long as
/// its first packet waits, nothing is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stragglers {
    /// Those of flows that were not seen, a bit for each.
    unknown: Bits,
    /// All from some packet on: what follows it may be of the same flow.
    rest: Bits,
}

impl Stragglers {
    /// The flows of so many packets were not seen, of the one at `index` and those behind it.
    #[inline(always)]
    pub(super) fn add_unknown(&mut self, index: usize, packets: usize) {
        self.unknown |= row(index, packets);
    }

    /// Whether some packet's flow was not seen.
    #[inline(always)]
    pub(super) fn any_unknown(&self) -> bool {
        self.unknown != 0
    }

    /// The packets whose flows were not seen.
    #[inline(always)]
    pub(super) fn unknown<'a>(&self, jobs: &'a [AlikeJob]) -> impl Iterator<Item = &'a AlikeJob> {
        Ones(self.unknown).filter_map(|index| jobs.get(index))
    }

    /// A packet takes a closer look; all behind it wait, too.
    #[inline(always)]
    pub(super) fn add_all_from(&mut self, index: usize) {
        self.rest |= Bits::MAX << index;
    }

    /// All of them, a bit for each.
    #[inline(always)]
    pub(super) fn all(&self) -> Bits {
        self.unknown | self.rest
    }

    /// Whether few of so many packets are of unknown flows: most of those are in their second buckets then.
    #[inline(always)]
    pub(super) fn are_few(&self, packets: usize) -> bool {
        const FEW: usize = 4;
        self.unknown.count_ones() as usize * FEW < packets
    }

    /// Whether they are all of so many packets, and nothing was seen of any.
    #[inline(always)]
    pub(super) fn are_all_unknown(&self, packets: usize) -> bool {
        self.unknown != 0 && self.unknown.count_ones() as usize == packets
    }

    /// Sends them, or declines them. Returns how many were declined, and how many of the others their VIP
    /// has counted already.
    #[inline(always)]
    pub(super) fn send<F: LaneFamily>(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &mut Frame,
        group: (&Pattern<F>, &mut [AlikeJob]),
        declined: &mut Declined,
    ) -> (u32, u32) {
        if self.all() == 0 {
            return (0, 0);
        }
        self.send_some(cx, lane, frame, group, declined)
    }

    #[inline(never)]
    fn send_some<F: LaneFamily>(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &mut Frame,
        (pattern, jobs): (&Pattern<F>, &mut [AlikeJob]),
        declined: &mut Declined,
    ) -> (u32, u32) {
        if self.are_few(jobs.len()) {
            self.send_strays(cx, lane, frame, (pattern, jobs));
            if self.all() == 0 {
                return (0, 0);
            }
        }
        let new = match Newcomers::of(cx, lane, pattern).filter(|_| self.unknown != 0) {
            Some(newcomers) => self.send_placed(cx, lane, frame, (pattern, jobs), &newcomers),
            None => {
                fetch_seconds(cx, self.unknown(jobs));
                0
            }
        };
        if self.all() == 0 {
            return (0, new);
        }
        let (others, counted) = self.send_left(cx, lane, frame, (pattern, jobs), declined);
        (others, counted + new)
    }

    /// Sends those whose flows are in their second buckets, up to the first that is not.
    #[inline(always)]
    fn send_strays<F: LaneFamily>(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &mut Frame,
        (pattern, jobs): (&Pattern<F>, &[AlikeJob]),
    ) {
        let (udp, mut packets) = (pattern.protocol == protocol::UDP, 0);
        for job in self.unknown(jobs) {
            let Some(interface) = forward_anywhere(cx, lane, frame, (job, udp)) else { break };
            leave(cx, frame, usize::from(job.at), interface);
            packets += 1;
        }
        self.end(packets);
    }

    /// Sends those of unknown flows whose ways are simply found, now that the others are sent. Returns how many
    /// of them are the first of their flows, which it counts for their VIP.
    #[inline(always)]
    fn send_placed<F: LaneFamily>(
        &mut self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &mut Frame,
        (pattern, jobs): (&Pattern<F>, &mut [AlikeJob]),
        newcomers: &Newcomers<'_>,
    ) -> u32 {
        let placed = if self.are_all_unknown(jobs.len()) {
            send_new(cx, lane, frame, (pattern, jobs), newcomers)
        } else {
            // Side by side, as loops over the whole group would cost more than the few.
            let (mut few, mut count) = ([AlikeJob::default(); STAGE], 0);
            for (own, job) in few.iter_mut().zip(self.unknown(jobs)) {
                *own = *job;
                count += 1;
            }
            send_new(cx, lane, frame, (pattern, &mut few[..count]), newcomers)
        };
        self.end(placed.packets);
        let new = placed.new.count_ones();
        newcomers.count(cx, new);
        new
    }

    /// So many of the packets of unknown flows are sent, the first ones.
    #[inline]
    fn end(&mut self, packets: usize) {
        // Nearly always all of them.
        let left = if packets == self.unknown.count_ones() as usize {
            0
        } else {
            // Those behind the ones that are sent.
            Ones(self.unknown).skip(packets).fold(0, |left, index| left | 1 << index)
        };
        self.rest &= !(self.unknown & !left);
        self.unknown = left;
    }

    /// Sends what is left, one by one.
    fn send_left<F: LaneFamily>(
        &self,
        cx: &mut Cx<'_>,
        lane: &mut Lane<F>,
        frame: &mut Frame,
        (pattern, jobs): (&Pattern<F>, &[AlikeJob]),
        declined: &mut Declined,
    ) -> (u32, u32) {
        let udp = pattern.protocol == protocol::UDP;
        let (mut others, mut counted) = (0, 0);
        for index in Ones(self.all()) {
            let Some(job) = jobs.get(index) else { break };
            let simply = if declined.any() || self.unknown >> index & 1 == 0 {
                None
            } else {
                forward_anywhere(cx, lane, frame, (job, udp))
            };
            let interface = match simply {
                Some(interface) => interface,
                None => match send_otherwise(cx, lane, frame, (pattern, job), declined) {
                    Some(Otherwise { interface, counted: already }) => {
                        counted += u32::from(already);
                        interface
                    }
                    None => {
                        others += 1;
                        continue;
                    }
                },
            };
            leave(cx, frame, usize::from(job.at), interface);
        }
        (others, counted)
    }
}

/// Sends packets of flows that are not known, up to the first that is not sent as simply.
fn send_new<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    frame: &mut Frame,
    (pattern, jobs): (&Pattern<F>, &mut [AlikeJob]),
    newcomers: &Newcomers<'_>,
) -> Placed {
    let mut placed = newcomers.place(cx, lane, frame, (pattern, jobs));
    let (jobs, udp) = (&jobs[..placed.packets], pattern.protocol == protocol::UDP);
    let sent = send_all(cx, &lane.servers, frame, (jobs, udp));
    leave_all(cx, &lane.servers, frame, (&jobs[..sent], 0));
    if sent < jobs.len() {
        let back = Bits::MAX << sent & placed.new;
        let flows = Ones(back).filter_map(|index| jobs.get(index));
        flows.for_each(|job| cx.worker.sticky.withdraw(&job.place));
        placed = Placed { packets: sent, new: placed.new & !back };
    }
    placed
}

/// Sends a packet to the AS of its flow, if it has one, wherever that is remembered.
#[inline(never)]
fn forward_anywhere<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    frame: &mut Frame,
    (job, udp): (&AlikeJob, bool),
) -> Option<InterfaceId> {
    let now_s = cx.now.tick_s;
    let seen = cx.worker.sticky.seen_anywhere(&job.place, now_s)?;
    let way = lane.servers.of_flow(cx.snapshot, seen.value)?;
    // A SYN may start another connection.
    let simple = !job.passing.opens() && way.takes(job.len);
    if !simple || !seen.keep(job.passing, &lane.updates, now_s) {
        return None;
    }
    forward(cx, way, frame, (job, udp))
}

/// Where a packet leaves that [`forward`] did not send.
struct Otherwise {
    interface: InterfaceId,
    /// The VIP has counted it already.
    counted: bool,
}

/// Sends a packet that [`forward`] did not, or that comes when others were declined; `None` declines
/// it.
#[inline(never)]
fn send_otherwise<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    frame: &mut Frame,
    (pattern, job): (&Pattern<F>, &AlikeJob),
    declined: &mut Declined,
) -> Option<Otherwise> {
    let at = usize::from(job.at);
    let varying = F::varying(&pattern.like, (pattern.protocol, true), frame.data(at))?;
    let flow = pattern.flow(&varying);
    if declined.any() && declined.has(flow.src, flow.dst) {
        return None;
    }
    let sent = send_one_by_one(cx, lane, frame, (pattern, job), (&flow, varying.flags));
    if sent.is_none() {
        declined.add(flow.src, flow.dst);
    }
    sent
}

/// The same for a packet that may be sent.
fn send_one_by_one<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    frame: &mut Frame,
    (pattern, job): (&Pattern<F>, &AlikeJob),
    (flow, flags): (&FlowTuple<F::Address>, TcpFlags),
) -> Option<Otherwise> {
    let sticky = &cx.worker.sticky;
    let located = sticky.located(&job.place);
    let known = sticky.known::<F::Address>(&located, None, cx.now.tick_s);
    let is_live =
        known.is_some_and(|known| lane.servers.of_flow(cx.snapshot, known.value).is_some());
    if is_live && !job.passing.opens() {
        let udp = flow.protocol == protocol::UDP;
        let interface = forward_anywhere(cx, lane, frame, (job, udp))?;
        return Some(Otherwise { interface, counted: false });
    }
    let Pattern { destination, .. } = pattern;
    let flow_job = FlowJob {
        located,
        subject: destination.vip.get(),
        len: job.len,
        port: destination.target.unwrap_or_default(),
        at: job.at,
        from: 0,
        passing: job.passing,
        kind: destination.kind,
    };
    let interface = lane.send_new(cx, frame, &flow_job, (flow, flags))?;
    Some(Otherwise { interface, counted: true })
}
