//! Replies get the name by which clients know their AS, and are sent to them.

use balancer::{FlowTuple, KeyKind};
use dataplane::fib::FibEntry;
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::packet::Packet;

use super::Next;
use super::client_ways::ClientWays;
use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::ordinary::Ordinary;
use super::replies::ReplyJob;
use super::reply_flow::ReplyFlow;
use super::services::Source;

/// What was sent of a group.
pub(super) struct Sent {
    /// So many, before one that could not be sent.
    pub(super) packets: usize,
    /// All leave by the interface of the first.
    alike: bool,
}

/// Sends replies on the ways that were found, and fetches the buckets of those that come next one by one.
/// They have still to [leave](leave_all).
#[inline(never)]
pub(super) fn send_back_all<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &Lane<F>,
    frame: &mut Frame,
    (jobs, udp): (&[ReplyJob], bool),
    coming: &[ReplyFlow],
) -> Sent {
    let (services, clients) = (&lane.services, &lane.clients);
    let (mut ahead, mut left) = (coming.iter(), jobs.iter());
    let interface =
        jobs.first().map_or(InterfaceId::LOCAL0, |job| clients.at(job.client).interface);
    let (mut packets, mut differences) = (jobs.len(), 0);
    while let Some(job) = left.next() {
        if let Some(flow) = ahead.next() {
            cx.worker.sticky.prefetch(&flow.located, KeyKind::Exact);
        }
        let (service, client) = (services.answering(job.service), clients.at(job.client));
        let sent = match frame.packet_mut(usize::from(job.at)) {
            Some(packet) => {
                client.restore::<F>(packet, &service.restored, udp)
                    || rename_apart(lane, packet, job)
            }
            None => false,
        };
        if !sent {
            packets -= left.len() + 1;
            break;
        }
        if let Some(stats) = cx.worker.shared.servers.get(service.server.index()) {
            stats.reply_packets.add(1);
            stats.reply_bytes.add(u64::from(job.len));
        }
        differences |= client.interface.0 ^ interface.0;
    }
    ahead.for_each(|flow| cx.worker.sticky.prefetch(&flow.located, KeyKind::Exact));
    Sent { packets, alike: differences == 0 }
}

/// Renames a packet that is not like most, or whose way is not. Apart, as the loop needs its registers.
#[inline(never)]
fn rename_apart<F: LaneFamily>(lane: &Lane<F>, packet: &mut Packet, job: &ReplyJob) -> bool {
    let service = lane.services.in_place(job.service);
    service.is_some_and(|service| lane.clients.at(job.client).rename::<F>(packet, service))
}

/// Lets packets leave that were sent: most often all of a group, by one interface.
#[inline]
pub(super) fn leave_all(
    cx: &mut Cx<'_>,
    clients: &ClientWays,
    frame: &mut Frame,
    (jobs, sent): (&[ReplyJob], &Sent),
) {
    let jobs = &jobs[..sent.packets];
    if let [first, .., last] = jobs {
        let slots = usize::from(first.at)..usize::from(last.at) + 1;
        if sent.alike && slots.len() == jobs.len() {
            frame.lanes.tx_interface[slots.clone()].fill(clients.at(first.client).interface);
            return cx.set_next_of(slots, Next::Output);
        }
    }
    for job in jobs {
        leave(cx, frame, usize::from(job.at), clients.at(job.client).interface);
    }
}

/// Lets a packet leave by an interface.
#[inline(always)]
fn leave(cx: &mut Cx<'_>, frame: &mut Frame, at: usize, interface: InterfaceId) {
    frame.lanes.tx_interface[at] = interface;
    cx.set_next(at, Next::Output);
}

/// Sends a reply by itself, whatever was found out about it before. False, and it is declined, if it is not
/// for the express way, or behind one that was not.
#[inline(never)]
pub(super) fn leave_one<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    (frame, declined): (&mut Frame, &mut Declined),
    at: u8,
) -> bool {
    let at = usize::from(at);
    let Some(packet) = F::read(frame.data(at)) else { return false };
    let (src, dst) = (packet.tuple.src, packet.tuple.dst);
    let follows = declined.any() && declined.has(src, dst);
    let leaves = if follows { None } else { lane.answer(cx, frame, &packet, at) };
    match leaves {
        Some(interface) => leave(cx, frame, at, interface),
        None => declined.add(src, dst),
    }
    leaves.is_some()
}

impl<F: LaneFamily> Lane<F> {
    /// Sends an AS's packet to the client that it answers, and keeps its flow's entry up to date. `None`
    /// leaves it to the other nodes.
    #[inline]
    pub(super) fn answer(
        &mut self,
        cx: &Cx<'_>,
        frame: &mut Frame,
        packet: &Ordinary<F::Address>,
        at: usize,
    ) -> Option<InterfaceId> {
        let Ordinary { tuple, flags, len, .. } = packet;
        let Source::One(service) = self.services.find(cx.snapshot, tuple) else { return None };
        let hop = self.routes.lookup::<F>(cx.snapshot, tuple.dst);
        let FibEntry::Adjacency(hop) = hop else { return None };
        let client = self.clients.find(cx.snapshot, hop);
        if !client.takes(*len) {
            return None;
        }
        let (dst, dst_port) = (service.client_view.address, service.port);
        let flow = FlowTuple { dst, dst_port, ..tuple.reversed() };
        let full = (service.kind == KeyKind::Full).then_some(&flow);
        let (sticky, now_s) = (&cx.worker.sticky, cx.now.tick_s);
        let located = sticky.locate(service.kind, service.vip, &flow);
        match sticky.known(&located, full, now_s) {
            Some(known) if known.value.owner() == service.owner => {
                known.keep(service.course.passing(*flags), &self.updates);
            }
            // The service names its VIP, and nobody could be meant who came to the AS itself.
            _ if !self.any_direct => {}
            _ => return None,
        }
        if !client.rename::<F>(frame.packet_mut(at)?, service) {
            return None;
        }
        if let Some(stats) = cx.worker.shared.servers.get(service.server.index()) {
            stats.reply_packets.add(1);
            stats.reply_bytes.add(u64::from(*len));
        }
        Some(client.interface)
    }
}
