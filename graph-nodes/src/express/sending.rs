//! The second stage's second loop: packets are changed and sent on the ways that were found.

use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::packet::Packet;
use dataplane::worker::WorkerState;

use super::Next;
use super::fitting::{AlikeJob, NO_WAY};
use super::lane::{Cx, LaneFamily};
use super::ones::{Bits, Ones, row};
use super::second_stage::{count_in, count_sent};
use super::server_way::{ServerWay, ShortCut};
use super::server_ways::ServerWays;

/// Sends packets on the ways that were found. They have still to [leave](leave_all). Returns how many were looked at
/// before one that could not be sent.
pub(super) fn send_all<F: LaneFamily>(
    cx: &Cx<'_>,
    servers: &ServerWays<F>,
    frame: &mut Frame,
    packets: (&[AlikeJob], bool),
) -> usize {
    // A loop for each short cut, which leaves less to decide for a packet.
    let first = packets.0.iter().find(|job| job.way != NO_WAY);
    match first.map_or(ShortCut::Nothing, |job| servers.at(job.way).short_cut()) {
        ShortCut::Redirect => send(cx, servers, frame, packets, ServerWay::redirect),
        ShortCut::Mark => send(cx, servers, frame, packets, ServerWay::mark),
        ShortCut::Wrap => send(cx, servers, frame, packets, ServerWay::wrap_plain),
        ShortCut::Nothing => send(cx, servers, frame, packets, |_, _, _, _| false),
    }
}

/// The same by one of the short cuts.
#[inline(never)]
fn send<F: LaneFamily>(
    cx: &Cx<'_>,
    servers: &ServerWays<F>,
    frame: &mut Frame,
    (jobs, udp): (&[AlikeJob], bool),
    change: impl Fn(&ServerWay<F>, &mut Packet, &WorkerState, (u16, bool)) -> bool,
) -> usize {
    let (counts, mut left) = (&cx.worker.shared.servers[..], jobs.iter());
    while let Some(job) = left.next() {
        if job.way == NO_WAY {
            continue;
        }
        let way = servers.at(job.way);
        let changed = frame.packet_mut(usize::from(job.at)).is_some_and(|packet| {
            change(way, packet, cx.worker, (job.len, udp))
                || way.change_apart(packet, cx.snapshot, cx.worker, job.len)
        });
        if !changed {
            return jobs.len() - left.len() - 1;
        }
        count_in(counts, way.server, job.len);
    }
    jobs.len()
}

/// Sends a packet, of UDP or else TCP, on the way to the AS of its flow, if it can.
#[inline]
pub(super) fn forward<F: LaneFamily>(
    cx: &Cx<'_>,
    way: &ServerWay<F>,
    frame: &mut Frame,
    (job, udp): (&AlikeJob, bool),
) -> Option<InterfaceId> {
    let packet = frame.packet_mut(usize::from(job.at))?;
    if !way.change_alike(packet, cx.snapshot, cx.worker, (job.len, udp)) {
        return None;
    }
    count_sent(cx, way.server, job.len);
    Some(way.interface)
}

/// Lets packets leave that were sent: most often all of a group, by one interface. `out`: a bit for each that
/// has no way.
#[inline]
pub(super) fn leave_all<F: LaneFamily>(
    cx: &mut Cx<'_>,
    servers: &ServerWays<F>,
    frame: &mut Frame,
    (jobs, out): (&[AlikeJob], Bits),
) {
    debug_assert!(
        (0..).zip(jobs).all(|(index, job)| (out >> index & 1 != 0) == (job.way == NO_WAY))
    );
    if let ([first, .., last], Some(interface)) = (jobs, servers.exit()) {
        let start = usize::from(first.at);
        let slots = start..usize::from(last.at) + 1;
        if slots.len() == jobs.len() {
            frame.lanes.tx_interface[slots.clone()].fill(interface);
            cx.set_next_of(slots, Next::Output);
            // As long as nobody says otherwise.
            let out = Ones(out & row(0, jobs.len()));
            return out.for_each(|index| cx.set_next(start + index, Next::Ethernet));
        }
    }
    for job in jobs.iter().filter(|job| job.way != NO_WAY) {
        leave(cx, frame, usize::from(job.at), servers.at(job.way).interface);
    }
}

/// Lets the packet in a slot leave by an interface.
#[inline(always)]
pub(super) fn leave(cx: &mut Cx<'_>, frame: &mut Frame, at: usize, interface: InterfaceId) {
    frame.lanes.tx_interface[at] = interface;
    cx.set_next(at, Next::Output);
}
