//! What may differ where the graph gets several packets at once, and the reference one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::ip::{Header, ICMP, word};
use super::outcome::Outcome;
use super::scenario::Universe;
use super::upper::{Fragment, Upper};

/// Leaves those frames of a burst whose outcome does not depend on the order in which nodes run.
pub(super) fn choose(frames: &mut Vec<(u16, Vec<u8>)>, universe: &Universe) {
    // Queues are polled one after the other, so that only one of them keeps its order.
    let Some(first) = frames.first().map(|(interface, _)| *interface) else { return };
    let vips = &universe.config.vips;
    let servers: BTreeSet<IpAddr> =
        vips.iter().flat_map(|vip| vip.servers.keys().copied()).collect();
    let mut begun = BTreeSet::new();
    let mut spoken_to = BTreeMap::new();
    let servers_of = |address: IpAddr| {
        let vips = vips.iter().filter(move |vip| vip.key.has(address));
        vips.flat_map(|vip| vip.servers.keys().copied()).collect::<BTreeSet<IpAddr>>()
    };
    frames.retain(|(interface, frame)| {
        let packet = &frame[ip_at(frame).min(frame.len())..];
        let header = is_whole_header(packet).then(|| Header::of(packet));
        // What is for an AS itself meets the flows of VIPs in another node.
        let direct = header.as_ref().is_some_and(|header| servers.contains(&header.destination));
        // So do flows of a client's port through two VIPs that share an AS: which of them is new depends
        // on which is handled first, and the other may be refused.
        let shared = header.as_ref().is_some_and(|header| {
            let upper = Upper::of(packet).ok().filter(|upper| packet.len() >= upper.at + 2);
            let Some(upper) = upper else { return false };
            let client = (header.source, word(packet, upper.at));
            let first = *spoken_to.entry(client).or_insert(header.destination);
            first != header.destination
                && !servers_of(first).is_disjoint(&servers_of(header.destination))
        });
        // Fragments that wait for the first of their datagram follow the last one that says so.
        let again = header.is_some_and(|header| {
            let fragment = Upper::of(packet).ok().and_then(|upper| upper.fragment);
            fragment.is_some_and(|Fragment { offset, id, .. }| {
                offset == 0 && !begun.insert((header.source, header.destination, id))
            })
        });
        *interface == first && !direct && !shared && !again
    });
}

/// True if there is as much of a packet as [`Header::of`] reads.
fn is_whole_header(packet: &[u8]) -> bool {
    let least = if packet.first().is_some_and(|byte| byte >> 4 == 6) { 40 } else { 20 };
    packet.len() >= least
}

/// Forgets what may differ between packets handled one by one and in a burst: the order of events,
/// of flows among each other, which packet is the sample of its interface, and the identification of
/// our own packets.
pub(super) fn loosen(outcome: &mut Outcome) {
    for v6 in [false, true] {
        outcome.counts.remove(&super::reason::of(v6).partial_checksum);
    }
    outcome.needed.sort_unstable();
    outcome.seen.sort_unstable();
    for (_, frame) in &mut outcome.sent {
        let at = ip_at(frame);
        let error =
            frame.get(at + 9) == Some(&ICMP) && frame.get(at + 20).is_some_and(|kind| *kind != 0);
        if frame.get(at).is_some_and(|byte| byte >> 4 == 4) && (error || is_tunnelled(frame)) {
            frame[at + 4..at + 6].fill(0);
            frame[at + 10..at + 12].fill(0);
        }
        if let Some(inner) = error_inside(frame, at) {
            frame[inner + 4..inner + 6].fill(0);
            frame[inner + 10..inner + 12].fill(0);
        }
        let fragment6 = frame.get(at).is_some_and(|byte| byte >> 4 == 6)
            && frame.get(at + 6) == Some(&44)
            && frame.len() >= at + 48;
        if fragment6 {
            frame[at + 44..at + 48].fill(0);
        }
    }
    // Stable: packets with the same addresses, protocol and ports keep their order, unless they are
    // inside others. Fragments come behind whole packets, and those that waited for their first
    // behind those that need not.
    outcome.sent.sort_by_key(|(interface, frame)| {
        let at = ip_at(frame);
        let parts = match frame.get(at).map(|byte| byte >> 4) {
            _ if is_tunnelled(frame) || is_later_fragment(frame) => {
                [at..frame.len(), 0..0, 0..0, 0..0]
            }
            Some(6) => [at + 6..at + 7, at + 8..at + 40, at + 40..at + 44, 0..0],
            _ => [at + 9..at + 10, at + 12..at + 20, at + 20..at + 24, at + 6..at + 8],
        };
        let parts = parts.map(|part| frame.get(part).map(<[u8]>::to_vec));
        (*interface, frame[12..at].to_vec(), parts)
    });
}

/// True for a frame with a packet in a packet, or a fragment of one.
fn is_tunnelled(frame: &[u8]) -> bool {
    let at = ip_at(frame);
    let (protocol, port) = match frame.get(at).map(|byte| byte >> 4) {
        Some(6) => (frame.get(at + 6), frame.get(at + 42..at + 44)),
        _ => (frame.get(at + 9), frame.get(at + 22..at + 24)),
    };
    let gue = [6080_u16, 6081].map(u16::to_be_bytes);
    match protocol {
        Some(17) => gue.iter().any(|gue| port == Some(gue)),
        protocol => matches!(protocol, Some(4 | 41 | 44 | 47)),
    }
}

/// True for an IPv4 fragment that is not the first of its datagram.
fn is_later_fragment(frame: &[u8]) -> bool {
    let at = ip_at(frame);
    let field = || frame.get(at + 6..at + 8);
    frame.get(at).is_some_and(|byte| byte >> 4 == 4)
        && field().is_some_and(|field| word(field, 0) & 0x1fff != 0)
}

/// Where in a frame with a packet in the packet at `at` the IPv4 header of an ICMP error of ours is:
/// behind nothing, GRE, or GUE of either variant.
fn error_inside(frame: &[u8], at: usize) -> Option<usize> {
    let outer = if frame.get(at)? >> 4 == 6 { 40 } else { 20 };
    let is_error = |inner: &usize| {
        let header = frame.get(*inner..*inner + 21);
        header.is_some_and(|ip| ip[..2] == [0x45, 0xc0] && ip[9] == ICMP && ip[20] != 0)
    };
    let inside = is_tunnelled(frame).then(|| [0, 4, 8, 12].map(|shim| at + outer + shim))?;
    inside.into_iter().find(is_error)
}

/// Where the IP packet of a frame starts, behind tags.
pub(super) fn ip_at(frame: &[u8]) -> usize {
    let mut at = 14;
    while frame.len() >= at
        && [[0x81, 0x00], [0x88, 0xa8]].contains(&[frame[at - 2], frame[at - 1]])
    {
        at += 4;
    }
    at
}
