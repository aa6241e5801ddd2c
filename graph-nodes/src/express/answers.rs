//! The two stages for replies of ASs behind NAT that are like the ones before: from the same
//! interface and of the same protocol, to VIPs with keys of the same kind.

use balancer::{KeyKind, Passing, Place, TcpFlags, Updates};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;

use super::client_way::{next_hop, restore};
use super::declined::Declined;
use super::gate::Gate;
use super::lane::{Cx, Lane, LaneFamily};
use super::likeness::{Common, Varying};
use super::ordinary::L3;
use super::run::Run;
use super::second_stage::{count_received, is_due, is_partial, sampled};
use super::services::{Service, Source};
use super::{Next, STAGE};

/// What replies have in common. Holds in one snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerPattern<F: LaneFamily> {
    interface: InterfaceId,
    like: F::Like,
    protocol: u8,
    kind: KeyKind,
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

/// A reply between the two stages.
#[derive(Clone, Copy, Debug, Default)]
struct AnswerJob {
    place: Place,
    /// Where the AS's service is remembered.
    position: u16,
    /// Bytes of the IP packet.
    len: u16,
    passing: Passing,
    /// The slot in the frame.
    at: u8,
}

/// The packets of a group that fit a pattern.
#[derive(Debug)]
pub(super) struct Answers<F: LaneFamily> {
    pattern: Option<AnswerPattern<F>>,
    jobs: [AnswerJob; STAGE],
    waiting: usize,
    /// The [changes](super::services::Services::changes) before the first stage.
    changes: u64,
}

impl<F: LaneFamily> Default for Answers<F> {
    fn default() -> Self {
        Self { pattern: None, jobs: [AnswerJob::default(); STAGE], waiting: 0, changes: 0 }
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
        self.pattern = lane.answers;
        let Some(pattern) = lane.answers else { return 0 };
        let taken = match pattern.kind {
            KeyKind::Exact => self.locate_exact(cx, lane, frame, (start, wanted)),
            KeyKind::End => self.locate_end(cx, lane, frame, (start, wanted)),
            KeyKind::Tag | KeyKind::Full => 0,
        };
        if taken == 0 {
            lane.answers = None;
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
        of: (usize, u32),
    ) -> u32 {
        self.locate(cx, lane, frame, of, KeyKind::Exact)
    }

    #[inline(never)]
    fn locate_end(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        of: (usize, u32),
    ) -> u32 {
        self.locate(cx, lane, frame, of, KeyKind::End)
    }

    /// The same for keys of this kind.
    #[inline(always)]
    fn locate(
        &mut self,
        cx: &Cx<'_>,
        lane: &mut Lane<F>,
        frame: &Frame,
        (start, wanted): (usize, u32),
        kind: KeyKind,
    ) -> u32 {
        // A copy, as it is nothing to the loop what else is written then.
        let Some(pattern) = self.pattern else { return 0 };
        let end = frame.len().min(start + STAGE);
        let interfaces = &frame.lanes.rx_interface[start..end];
        self.changes = lane.services.changes();
        let finder = cx.worker.sticky.finder();
        let mut jobs = self.jobs.iter_mut();
        let mut taken = 0;
        for (index, (slot, rx)) in frame.packets()[start..end].iter().zip(interfaces).enumerate() {
            let Some(packet) = slot else { continue };
            if wanted >> index & 1 == 0 || !packet.is_plain() || *rx != pattern.interface {
                continue;
            }
            let varying = F::varying(&pattern.like, pattern.protocol, packet.data());
            let Some(varying) = varying else { continue };
            let flow = varying.flow(pattern.protocol);
            let (position, Source::One(service)) = lane.services.find(cx.snapshot, &flow) else {
                continue;
            };
            let Varying { flags, len, .. } = varying;
            let passing = service.course.passing(flags);
            if service.kind != kind || service.mss && flags.contains(TcpFlags::SYN) {
                continue;
            }
            let place = finder.place(kind, service.vip, &flow.reversed());
            let Some(job) = jobs.next() else { break };
            *job = AnswerJob { place, position, len, passing, at: (start + index) as u8 };
            taken |= 1 << index;
        }
        self.waiting = STAGE - jobs.len();
        for job in &mut self.jobs[..self.waiting.min(STAGE)] {
            cx.worker.sticky.fetch(&mut job.place);
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
        let partial = is_due::<F>(cx, rx) && frame.packet(first).is_some_and(is_partial::<F>);
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
        }
        let jobs = &jobs[usize::from(partial)..];
        let moved = lane.services.changes() != self.changes;
        let mut others = 0;
        for job in jobs {
            let at = usize::from(job.at);
            let follows = declined.any() && declined.has_ordinary::<F>(frame.data(at));
            let sent = if follows { None } else { answer(cx, lane, frame, job, moved) };
            let Some(interface) = sent else {
                declined.add_ordinary::<F>(frame.data(at));
                others += 1;
                continue;
            };
            frame.lanes.tx_interface[at] = interface;
            cx.set_next(at, Next::Output);
        }
        let forwarded = jobs.len() as u32 - others;
        count_received::<F>(&cx.worker.shared, Run { of: rx, packets: u64::from(forwarded) });
        lane.forwarded += u64::from(forwarded);
        lane.translated += u64::from(forwarded);
        if !partial {
            sampled::<F>(cx, rx, forwarded);
        }
    }
}

/// Sends an AS's packet to the client that it answers. `moved`: services may not be where they were
/// found. `None` leaves it to the other nodes, as it was.
#[inline(always)]
fn answer<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    frame: &mut Frame,
    job: &AnswerJob,
    moved: bool,
) -> Option<InterfaceId> {
    let packet = frame.packet_mut(usize::from(job.at))?;
    let service = if moved {
        lane.services.at(job.position, &F::flow(packet.data())?)?
    } else {
        lane.services.in_place(job.position)?
    };
    let client = F::Header::at(packet.data(), L3)?.destination();
    let to = next_hop::<F>(&mut lane.routes, cx.snapshot, client, job.len)?;
    let kept = cx.worker.sticky.seen(&job.place).is_some_and(|seen| {
        seen.value.owner() == service.owner && seen.keep(job.passing, &lane.updates, cx.now.tick_s)
    });
    // The service names its VIP, and nobody could be meant who came to the AS itself.
    if !kept && !keep_elsewhere(cx, &lane.updates, service, job) && lane.any_direct {
        return None;
    }
    if !restore::<F>(packet, service, to) {
        return None;
    }
    if let Some(stats) = cx.worker.shared.servers.get(service.server.index()) {
        stats.reply_packets.add(1);
        stats.reply_bytes.add(u64::from(job.len));
    }
    Some(to.interface)
}

/// Keeps the entry of a flow up to date that is not where it was looked for first, if it is alive.
#[inline(never)]
fn keep_elsewhere<A>(
    cx: &Cx<'_>,
    updates: &Updates,
    service: &Service<A>,
    job: &AnswerJob,
) -> bool {
    let seen = cx.worker.sticky.seen_anywhere(&job.place, cx.now.tick_s);
    seen.is_some_and(|seen| {
        seen.value.owner() == service.owner && seen.keep(job.passing, updates, cx.now.tick_s)
    })
}
