//! Replies get the name by which clients know their AS, and are sent to them.

use balancer::{AsId, FlowTuple, KeyKind};
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::packet::Packet;
use dataplane::worker::ServerStats;

use super::declined::Declined;
use super::lane::{Cx, Lane, LaneFamily};
use super::ones::{Bits, Ones};
use super::ordinary::{L3, Ordinary};
use super::replies::{ReplyJob, ReplyJobs};
use super::sending::leave;
use super::services::Source;
use super::{Next, STAGE};

/// Replies of a group: their jobs, its first slot, and a bit for each that is meant.
pub(super) type Of<'a> = (&'a ReplyJobs, usize, Bits);

/// Sends replies on the ways that were found. They have still to [leave](leave_all). `one_way`: where the way
/// of all of them is. Returns what was sent: all before the first that could not be.
pub(super) fn send_back_all<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &Lane<F>,
    frame: &mut Frame,
    of: Of<'_>,
    (udp, one_way): (bool, Option<u16>),
) -> Bits {
    match one_way.and_then(|way| lane.clients.at(way).untagged()) {
        Some(link) => send_one_way(cx, lane, frame, of, (udp, *link)),
        None => send_many_ways(cx, lane, frame, of, udp),
    }
}

/// The same for packets that all get this Ethernet header.
#[inline(never)]
fn send_one_way<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &Lane<F>,
    frame: &mut Frame,
    of: Of<'_>,
    (udp, link): (bool, [u8; L3]),
) -> Bits {
    send_back(cx, lane, frame, of, (udp, Some(&link)))
}

#[inline(never)]
fn send_many_ways<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &Lane<F>,
    frame: &mut Frame,
    of: Of<'_>,
    udp: bool,
) -> Bits {
    send_back(cx, lane, frame, of, (udp, None))
}

#[inline(always)]
fn send_back<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &Lane<F>,
    frame: &mut Frame,
    (jobs, start, packets): Of<'_>,
    (udp, one_link): (bool, Option<&[u8; L3]>),
) -> Bits {
    let (services, clients) = (&lane.services, &lane.clients);
    let servers = &*cx.worker.shared.servers;
    let Some(slots) = frame.slots_mut::<STAGE>(start) else { return 0 };
    let mut sent = packets;
    for index in Ones(packets) {
        let job = &jobs[index];
        let service = services.answering(job.service);
        let link = if one_link.is_some() { one_link } else { clients.at(job.client).untagged() };
        let restored = match (&mut slots[index], link) {
            (Some(packet), Some(link)) => {
                F::restore(packet.data_mut(), link, &service.restored, udp)
            }
            _ => false,
        };
        if !restored && !rename_apart(lane, slots[index].as_mut(), job) {
            sent &= (1 << index) - 1;
            break;
        }
        count_answer(servers, service.server, job.len);
    }
    sent
}

/// Counts a packet of so many bytes for the AS that it comes from.
#[inline(always)]
fn count_answer(servers: &[ServerStats], server: AsId, len: u16) {
    if let Some(stats) = servers.get(server.index()) {
        stats.reply_packets.add(1);
        stats.reply_bytes.add(u64::from(len));
    }
}

/// Renames a packet that is not like most, or whose way is not. Apart, as the loop needs its registers.
#[inline(never)]
fn rename_apart<F: LaneFamily>(
    lane: &Lane<F>,
    packet: Option<&mut Packet>,
    job: &ReplyJob,
) -> bool {
    let (Some(packet), Some(service)) = (packet, lane.services.in_place(job.service)) else {
        return false;
    };
    lane.clients.at(job.client).rename::<F>(packet, service)
}

/// Lets packets leave that were sent: most often all of a group, on one way.
#[inline]
pub(super) fn leave_all<F: LaneFamily>(
    cx: &mut Cx<'_>,
    lane: &Lane<F>,
    frame: &mut Frame,
    (jobs, start, sent): Of<'_>,
    one_way: Option<u16>,
) {
    let (first, count) = (sent.trailing_zeros(), sent.count_ones());
    // One behind the other.
    if let Some(way) = one_way
        && count > 1
        && sent >> first == Bits::MAX >> (Bits::BITS - count)
    {
        let first = start + first as usize;
        let slots = first..first + count as usize;
        frame.lanes.tx_interface[slots.clone()].fill(lane.clients.at(way).interface);
        return cx.set_next_of(slots, Next::Output);
    }
    for index in Ones(sent) {
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
            Some(known) if service.visit.is_to(known.value) => {
                known.keep(service.visit.with(*flags).passing(), &self.updates);
            }
            // The service names its VIP, and nobody could be meant who came to the AS itself.
            _ if !self.any_direct => {}
            _ => return None,
        }
        if !client.rename::<F>(frame.packet_mut(at)?, service) {
            return None;
        }
        count_answer(&cx.worker.shared.servers, service.server, *len);
        Some(client.interface)
    }
}
