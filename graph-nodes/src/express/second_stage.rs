//! The second stage: flows are looked up, and packets are rewritten and sent.

use balancer::{AsId, KeyKind};
use dataplane::family::Family;
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::packet::Packet;
use dataplane::wire::ip::IpHeader;
use dataplane::worker::{ServerStats, WorkerShared};

use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::ordinary::L3;
use super::run::Run;
use super::{Next, STAGE};
use crate::ip_input::{SAMPLE_EVERY, has_partial_checksum};

/// What became of a packet of a flow that may have an AS.
enum Sent {
    /// It has one: where the packet leaves; `None` leaves it as it was, to the other nodes.
    Known(Option<InterfaceId>),
    Unknown,
}

impl<F: LaneFamily> Lane<F> {
    /// Second stage: looks up the flows of the packets that were accepted, and sends them on.
    #[inline(never)]
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, frame: &mut Frame, declined: &mut Declined) {
        let waiting = std::mem::take(&mut self.waiting).min(STAGE);
        if waiting == 0 {
            return;
        }
        if cx.worker.sticky.is_large() {
            for job in &self.jobs[..waiting] {
                cx.worker.sticky.prefetch_second(&job.located);
            }
        }
        let first = usize::from(self.jobs[0].at);
        let rx = frame.lanes.rx_interface[first];
        let partial = is_due::<F>(cx, rx) && frame.packet(first).is_some_and(is_partial::<F>);
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
        }
        let mut received = Run::of(rx);
        let mut existing = Run::of(self.jobs[0].subject);
        let mut forwarded = 0;
        for index in usize::from(partial)..waiting {
            let job = &self.jobs[index];
            let (at, subject, reply) = (usize::from(job.at), job.subject, job.passing.is_reply());
            if declined.any() && Self::follows_declined(frame, at, declined) {
                continue;
            }
            let leaves = if reply {
                self.send_back(cx, frame, index)
            } else {
                match self.send(cx, frame, index) {
                    Sent::Known(leaves) => {
                        if leaves.is_some() && !existing.add(subject) {
                            count_existing(&cx.worker.shared, existing);
                            existing = Run { of: subject, packets: 1 };
                        }
                        leaves
                    }
                    Sent::Unknown => {
                        let job = self.jobs[index];
                        let packet = self.packets[usize::from(job.from) % STAGE].packet;
                        self.send_new(cx, frame, &job, (&packet.tuple, packet.flags))
                    }
                }
            };
            let Some(interface) = leaves else {
                declined.add_ordinary::<F>(frame.data(at));
                continue;
            };
            forwarded += 1;
            let rx = frame.lanes.rx_interface[at];
            if !received.add(rx) {
                count_received::<F>(&cx.worker.shared, received);
                received = Run { of: rx, packets: 1 };
            }
            frame.lanes.tx_interface[at] = interface;
            cx.set_next(at, Next::Output);
        }
        count_existing(&cx.worker.shared, existing);
        count_received::<F>(&cx.worker.shared, received);
        self.forwarded += u64::from(forwarded);
        if !partial {
            sampled::<F>(cx, rx, forwarded);
        }
    }

    #[cold]
    fn follows_declined(frame: &Frame, at: usize, declined: &Declined) -> bool {
        F::read(frame.data(at))
            .is_some_and(|packet| declined.has(packet.tuple.src, packet.tuple.dst))
    }

    /// Sends a packet to the AS of its flow, if it has one.
    #[inline(always)]
    fn send(&mut self, cx: &mut Cx<'_>, frame: &mut Frame, index: usize) -> Sent {
        let job = &self.jobs[index];
        let at = usize::from(job.at);
        let flow = &self.packets[usize::from(job.from) % STAGE].packet.tuple;
        let known = match job.kind {
            KeyKind::Full => cx.worker.sticky.known(&job.located, Some(flow), cx.now.tick_s),
            _ => cx.worker.sticky.known::<F::Address>(&job.located, None, cx.now.tick_s),
        };
        let Some(known) = known else { return Sent::Unknown };
        let value = known.value;
        let server = value.as_id();
        let way = self.servers.to(cx.snapshot, server);
        // A SYN may start another connection.
        if job.passing.opens() || !way.is_of(value.epoch()) {
            return Sent::Unknown;
        }
        known.keep(job.passing, &self.updates);
        let Some(packet) = frame.packet_mut(at) else { return Sent::Known(None) };
        if !way.takes(job.len) || !way.change(packet, cx.snapshot, cx.worker, (job.port, job.len)) {
            return Sent::Known(None);
        }
        count_sent(cx, server, job.len);
        Sent::Known(Some(way.interface))
    }

    /// Sends an AS's packet to the client that it answers. `None` leaves it to the other nodes.
    #[inline(always)]
    fn send_back(&mut self, cx: &Cx<'_>, frame: &mut Frame, index: usize) -> Option<InterfaceId> {
        let job = &self.jobs[index];
        let packet = self.packets[usize::from(job.from) % STAGE].packet;
        let leaves = self.answer(cx, frame, &packet, usize::from(job.at));
        self.translated += u64::from(leaves.is_some());
        leaves
    }
}

/// Counts packets of known flows to a VIP.
#[inline(never)]
pub(super) fn count_existing(shared: &WorkerShared, run: Run<u32>) {
    if run.packets > 0
        && let Some(stats) = shared.vips.get(run.of as usize)
    {
        stats.existing.add(run.packets);
    }
}

/// Counts packets that an interface received.
#[inline(never)]
pub(super) fn count_received<F: Family>(shared: &WorkerShared, run: Run<InterfaceId>) {
    if run.packets > 0
        && let Some(stats) = shared.interfaces.get(run.of.index())
    {
        let counter = if F::V6 { &stats.ip6 } else { &stats.ip4 };
        counter.add(run.packets);
    }
}

/// Counts a packet of so many bytes for the AS that it goes to.
#[inline(always)]
pub(super) fn count_sent(cx: &Cx<'_>, server: AsId, len: u16) {
    count_in(&cx.worker.shared.servers, server, len);
}

/// The same, in the counters of a worker.
#[inline(always)]
pub(super) fn count_in(counts: &[ServerStats], server: AsId, len: u16) {
    if let Some(stats) = counts.get(server.index()) {
        stats.packets.add(1);
        stats.bytes.add(u64::from(len));
    }
}

/// True when it is the turn of a packet of this interface to be looked at: has it a checksum that a
/// network card should have made?
#[inline]
pub(super) fn is_due<F: Family>(cx: &Cx<'_>, rx: InterfaceId) -> bool {
    cx.worker.until_sample[usize::from(F::V6)].get(rx.index()) == Some(&0)
}

/// True of an ordinary packet that has. It is not for the express way: `ip4-input` or `ip6-input`
/// counts it.
#[cold]
pub(super) fn is_partial<F: Family>(packet: &Packet) -> bool {
    F::Header::upper_layer(packet.data(), L3)
        .is_ok_and(|upper| has_partial_checksum::<F::Header>(packet, L3, &upper))
}

/// After packets of an interface, the first of which was looked at if it was its turn.
#[inline]
pub(super) fn sampled<F: Family>(cx: &mut Cx<'_>, rx: InterfaceId, packets: u32) {
    if let Some(until) = cx.worker.until_sample[usize::from(F::V6)].get_mut(rx.index()) {
        let left = if *until == 0 { SAMPLE_EVERY } else { *until };
        *until = left.saturating_sub(packets);
    }
}
