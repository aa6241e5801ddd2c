//! Replies get the name by which clients know their AS, and are sent to them.

use balancer::{AsId, FlowTuple, KeyKind};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::packet::Packet;

use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::ones::Ones;
use super::ordinary::Ordinary;
use super::replies::{Replies, ReplyJob, ReplyJobs};
use super::sending::leave;
use super::services::Source;
use super::{Next, STAGE};

/// What was sent of a group.
pub(super) struct Sent {
    /// A bit for each: all before the first that could not be sent.
    pub(super) packets: u32,
    /// All leave by the interface of the first.
    alike: bool,
}

/// Sends replies on the ways that were found, a bit for each from slot `start` on, and fetches the buckets of
/// those that come next one by one. They have still to [leave](leave_all).
#[inline(never)]
pub(super) fn send_back_all<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &Lane<F>,
    frame: &mut Frame,
    (jobs, start, mut packets): (&ReplyJobs, usize, u32),
    udp: bool,
    next: &Replies,
) -> Sent {
    let (services, clients, sticky) = (&lane.services, &lane.clients, &cx.worker.sticky);
    let mut ahead = Ones(if sticky.is_large() { next.rest() } else { 0 });
    let first = &jobs[packets.trailing_zeros() as usize % STAGE];
    let (interface, mut differences) = (clients.at(first.client).interface, 0);
    let Some(slots) = frame.slots_mut::<STAGE>(start) else {
        return Sent { packets: 0, alike: false };
    };
    for index in Ones(packets) {
        if let Some(index) = ahead.next() {
            next.fetch(cx, index);
        }
        let job = &jobs[index];
        let (service, client) = (services.answering(job.service), clients.at(job.client));
        let sent = match &mut slots[index] {
            Some(packet) => {
                client.restore::<F>(packet, &service.restored, udp)
                    || rename_apart(lane, packet, job)
            }
            None => false,
        };
        if !sent {
            packets &= (1 << index) - 1;
            break;
        }
        count_answer(cx, service.server, job.len);
        differences |= client.interface.0 ^ interface.0;
    }
    ahead.for_each(|index| next.fetch(cx, index));
    Sent { packets, alike: differences == 0 }
}

/// Counts a packet of so many bytes for the AS that it comes from.
#[inline(always)]
fn count_answer(cx: &Cx<'_>, server: AsId, len: u16) {
    if let Some(stats) = cx.worker.shared.servers.get(server.index()) {
        stats.reply_packets.add(1);
        stats.reply_bytes.add(u64::from(len));
    }
}

/// Renames a packet that is not like most, or whose way is not. Apart, as the loop needs its registers.
#[inline(never)]
fn rename_apart<F: LaneFamily>(lane: &Lane<F>, packet: &mut Packet, job: &ReplyJob) -> bool {
    let service = lane.services.in_place(job.service);
    service.is_some_and(|service| lane.clients.at(job.client).rename::<F>(packet, service))
}

/// Lets packets leave that were sent: most often all of a group, by one interface.
#[inline]
pub(super) fn leave_all<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &Lane<F>,
    frame: &mut Frame,
    (jobs, start): (&ReplyJobs, usize),
    sent: &Sent,
) {
    let (first, count) = (sent.packets.trailing_zeros(), sent.packets.count_ones());
    // One behind the other.
    if sent.alike && count > 1 && sent.packets >> first == u32::MAX >> (u32::BITS - count) {
        let first = first as usize % STAGE;
        let slots = start + first..start + first + count as usize;
        frame.lanes.tx_interface[slots.clone()].fill(lane.clients.at(jobs[first].client).interface);
        return cx.set_next_of(slots, Next::Output);
    }
    for index in Ones(sent.packets) {
        leave(cx, frame, start + index, lane.clients.at(jobs[index].client).interface);
    }
}

/// Sends a reply by itself, whatever was found out about it before. False, and it is declined, if it is not
/// for the express way, or behind one that was not.
#[inline(never)]
pub(super) fn leave_one<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &mut Lane<F>,
    (frame, declined): (&mut Frame, &mut Declined),
    at: usize,
) -> bool {
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
        let route = self.routes.route::<F>(cx.snapshot, tuple.dst);
        let client = self.clients.find(cx.snapshot, route);
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
        count_answer(cx, service.server, *len);
        Some(client.interface)
    }
}
