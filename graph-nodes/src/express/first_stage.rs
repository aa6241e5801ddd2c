//! The first stage: ordinary packets are read, and the lines of their flows are fetched.

use balancer::{Address, KeyKind, TcpFlags};
use dataplane::family::Family;
use dataplane::frame::Frame;

use super::STAGE;
use super::answers::AnswerPattern;
use super::destinations::Destination;
use super::flow_job::FlowJob;
use super::gate::Gate;
use super::lane::{Arrived, Cx, Lane, LaneFamily};
use super::ones::Bits;
use super::ordinary::{Link, Ordinary};
use super::pattern::Pattern;
use super::services::{Service, Source};
use crate::ip_input::check_source;

impl<F: LaneFamily> Lane<F> {
    /// First stage, for the packets of a group that are wanted: a bit for each, counted from slot
    /// `start` on. Checks them and fetches what is known of their flows; what it returns are those
    /// that are not for this lane.
    #[inline]
    pub(super) fn gather(
        &mut self,
        cx: &Cx<'_>,
        gate: &mut Gate,
        frame: &Frame,
        start: usize,
        wanted: Bits,
    ) -> Bits {
        let arrived = self.receive(cx, gate, frame, start, wanted).min(STAGE);
        // Two loops, as one body for both runs out of registers.
        let nat_in = self.packets[..arrived].iter().any(|arrived| arrived.nat_in);
        if nat_in {
            self.locate_replies(cx, arrived);
            self.learn_answers(gate);
            self.learn(cx, gate);
        } else {
            self.locate(cx, arrived);
            self.learn(cx, gate);
        }
        let taken = self.jobs[..self.waiting]
            .iter()
            .fold(0, |taken: Bits, job| taken | 1 << (usize::from(job.at) - start));
        wanted & !taken
    }

    /// Reads the ordinary ones of the packets that are wanted, and returns how many there are.
    #[inline(never)]
    fn receive(
        &mut self,
        cx: &Cx<'_>,
        gate: &mut Gate,
        frame: &Frame,
        start: usize,
        wanted: Bits,
    ) -> usize {
        let end = frame.len().min(start + STAGE);
        let interfaces = &frame.lanes.rx_interface[start..end];
        let mut arrived = 0;
        for (index, (slot, rx)) in frame.packets()[start..end].iter().zip(interfaces).enumerate() {
            let Some(packet) = slot.as_ref().filter(|_| wanted >> index & 1 != 0) else { continue };
            gate.turn_to(cx.snapshot, *rx);
            let data = packet.data();
            let ours = Link::of(data).is_some_and(|link| {
                link.station == gate.station && link.ether_type == F::ETHER_TYPE
            });
            if !ours || !packet.is_plain() || F::V6 && !gate.ip6 {
                continue;
            }
            if let Some(packet) = F::read(data) {
                let nat_in = gate.nat_in[usize::from(F::V6)];
                let at = (start + index) as u8;
                self.packets[arrived % STAGE] = Arrived { packet, nat_in, at };
                arrived += 1;
            }
        }
        arrived
    }

    /// Finds the VIPs of the first packets that have arrived, and where their flows' entries are.
    fn locate(&mut self, cx: &Cx<'_>, arrived: usize) {
        self.waiting = 0;
        let Some(Arrived { packet, .. }) = self.packets[..arrived].first() else { return };
        let Some(&destination) = self.destinations.find(cx.snapshot, &packet.tuple) else {
            return self.locate_each(cx, arrived);
        };
        let last = &self.destinations;
        let one = self.packets[..arrived].iter().all(|other| last.is_last(&other.packet.tuple));
        let Destination { kind, nat, mss, target, .. } = destination;
        match (kind, target) {
            _ if !one || mss => self.locate_each(cx, arrived),
            (KeyKind::Exact, Some(port)) => {
                self.locate_all(cx, arrived, &destination, KeyKind::Exact, port);
            }
            (KeyKind::End, Some(port)) => {
                self.locate_all(cx, arrived, &destination, KeyKind::End, port);
            }
            (KeyKind::Full, Some(port)) => {
                self.locate_all(cx, arrived, &destination, KeyKind::Full, port);
            }
            // Without NAT nobody asks for the port.
            (KeyKind::Tag, _) if !nat => {
                self.locate_all(cx, arrived, &destination, KeyKind::Tag, 0);
            }
            _ => self.locate_each(cx, arrived),
        }
    }

    /// Expects the next packets to be like the first that was found.
    fn learn(&mut self, cx: &Cx<'_>, gate: &Gate) {
        let mut jobs = self.jobs[..self.waiting].iter();
        let Some(job) = jobs.find(|job| !job.passing.is_reply()) else { return };
        let Arrived { packet, .. } = self.packets[usize::from(job.from) % STAGE];
        if let Some(&destination) = self.destinations.find(cx.snapshot, &packet.tuple) {
            let any_port = self.destinations.last_has_any_port();
            self.pattern = Pattern::of(gate, &packet, destination, any_port);
        }
    }

    /// Expects the next replies to be like the first of these.
    fn learn_answers(&mut self, gate: &Gate) {
        let mut jobs = self.jobs[..self.waiting].iter();
        if let Some(job) = jobs.find(|job| job.passing.is_reply())
            && self.answers.is_none()
        {
            let protocol = self.packets[usize::from(job.from) % STAGE].packet.tuple.protocol;
            self.answers = AnswerPattern::of(gate, protocol, job.kind);
        }
    }

    /// The same for packets to one VIP, of which everything but the flow is known.
    #[inline(always)]
    fn locate_all(
        &mut self,
        cx: &Cx<'_>,
        arrived: usize,
        destination: &Destination,
        kind: KeyKind,
        port: u16,
    ) {
        let (vip, course, sticky) = (destination.vip, destination.course, &cx.worker.sticky);
        let mut waiting = 0;
        for (from, Arrived { packet, at, .. }) in self.packets[..arrived].iter().enumerate() {
            let Ordinary { tuple, flags, len, unsummed } = packet;
            if destination.nat && *unsummed || is_forged::<F>(cx, (tuple.src, tuple.dst)) {
                continue;
            }
            let located = sticky.locate(kind, vip, tuple);
            sticky.prefetch(&located, kind);
            let passing = course.passing(*flags);
            let (subject, from) = (vip.get(), from as u8);
            self.jobs[waiting % STAGE] =
                FlowJob { located, subject, len: *len, port, at: *at, from, passing, kind };
            waiting += 1;
        }
        self.waiting = waiting;
    }

    /// The same for packets to several.
    #[inline(never)]
    fn locate_each(&mut self, cx: &Cx<'_>, arrived: usize) {
        let mut waiting = 0;
        for from in 0..arrived {
            if let Some(job) = self.vip_job(cx, from) {
                cx.worker.sticky.prefetch(&job.located, job.kind);
                self.jobs[waiting % STAGE] = job;
                waiting += 1;
            }
        }
        self.waiting = waiting;
    }

    /// The same where packets may be ASs' replies.
    #[inline(never)]
    fn locate_replies(&mut self, cx: &Cx<'_>, arrived: usize) {
        let mut waiting = 0;
        for from in 0..arrived {
            let Arrived { packet, nat_in, at } = self.packets[from % STAGE];
            let job = match self.services.find_among_clients(cx.snapshot, &packet.tuple) {
                // Nobody must overtake a packet that goes another way: it is known at once that it does.
                Source::One(service) if nat_in => {
                    let route = self.routes.route::<F>(cx.snapshot, packet.tuple.dst);
                    let takes = self.clients.find(cx.snapshot, route).takes(packet.len);
                    takes.then(|| reply_job(cx, service, &packet, (at, from as u8))).flatten()
                }
                Source::Involved if nat_in => None,
                _ => self.vip_job(cx, from),
            };
            if let Some(job) = job {
                cx.worker.sticky.prefetch(&job.located, job.kind);
                self.jobs[waiting % STAGE] = job;
                waiting += 1;
            }
        }
        self.waiting = waiting;
    }

    /// A packet that may be for a VIP, among others.
    fn vip_job(&mut self, cx: &Cx<'_>, from: usize) -> Option<FlowJob> {
        let Arrived { packet, at, .. } = self.packets[from % STAGE];
        let Ordinary { tuple, flags, len, unsummed } = packet;
        if is_forged::<F>(cx, (tuple.src, tuple.dst)) {
            return None;
        }
        let &Destination { vip, kind, nat, mss, target, course } =
            self.destinations.find(cx.snapshot, &tuple)?;
        if mss && flags.contains(TcpFlags::SYN) || nat && unsummed {
            return None;
        }
        let port = match target {
            Some(port) => port,
            None => cx.snapshot.lb.vip(vip)?.target_port(tuple.dst_port),
        };
        Some(FlowJob {
            located: cx.worker.sticky.locate(kind, vip, &tuple),
            subject: vip.get(),
            len,
            port,
            at,
            from: from as u8,
            passing: course.passing(flags),
            kind,
        })
    }
}

/// The job of a packet that answers for a VIP.
#[inline]
fn reply_job<A: Address>(
    cx: &Cx<'_>,
    service: &Service<A>,
    packet: &Ordinary<A>,
    (at, from): (u8, u8),
) -> Option<FlowJob> {
    if service.mss && packet.flags.contains(TcpFlags::SYN) {
        return None;
    }
    Some(FlowJob {
        located: cx.worker.sticky.locate(service.kind, service.vip, &packet.tuple.reversed()),
        subject: 0,
        len: packet.len,
        port: 0,
        at,
        from,
        passing: service.visit.with(packet.flags).passing(),
        kind: service.kind,
    })
}

/// Whether the FIB has something against the source of a packet.
#[inline(always)]
pub(super) fn is_forged<F: Family>(cx: &Cx<'_>, addresses: (F::Address, F::Address)) -> bool {
    F::may_be_ours(cx.snapshot, addresses.0)
        && check_source::<F>(cx.snapshot, addresses, false).is_some()
}
