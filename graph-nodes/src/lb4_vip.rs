//! `lb4-vip`: finds the VIP of a packet to a VIP's address.

use balancer::Prefix;
use dataplane::frame::{Frame, flag};
use dataplane::node::{Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::{next_nodes, node_counters};

use crate::transport::{NoPorts, flow};

next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// To an AS, translated.
        Nat4 => "lb4-nat4",
        /// ICMP, and what no VIP matches on an address that is ours as well.
        Local => "ip4-local",
        /// What no VIP matches.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `lb4-vip` counts.
    pub enum Counter {
        /// The address has VIPs, but not for this protocol and port.
        NoPort => ("no such port on the VIP", Error),
        /// Neither TCP, UDP nor ICMP.
        Protocol => ("protocol not supported", Error),
        /// A fragment of a TCP or UDP packet; the AS could be found for the first one only.
        Fragment => ("fragment to a VIP", Error),
        /// The IP packet ends before the TCP or UDP header does.
        Truncated => ("tcp or udp header truncated", Error),
        /// The TCP or UDP header is not in the first buffer.
        Split => ("headers not in the first buffer", Error),
    }
}

/// Looks up (address, protocol, port) among the VIPs.
///
/// # Reads
/// IPv4 header, TCP or UDP header; flag `LOCAL_FALLBACK`; `Snapshot::lb`.
/// # Writes
/// Lane `vip`.
/// # Next nodes
/// `lb4-nat4`; `ip4-local` for ICMP, and on addresses of our own for what no VIP matches;
/// `error-drop`.
/// # Counters
/// See [`Counter`]; all are drops.
/// # Drops
/// Unknown ports and protocols, fragments, truncated headers.
#[derive(Debug, Default)]
pub struct Lb4Vip;

/// The VIP of a packet; `None` for what `ip4-local` gets.
fn find(
    snapshot: &Snapshot,
    packet: &Packet,
    l3: usize,
    l4: usize,
    local: bool,
) -> Result<Option<u32>, Counter> {
    let data = packet.data();
    let header = Ipv4Header::at(data, l3).ok_or(Counter::Truncated)?;
    if header.protocol == protocol::ICMP {
        return Ok(None);
    }
    let tuple = match flow(data, l3, l4) {
        Ok(_) if header.is_fragment() => return Err(Counter::Fragment),
        Ok((tuple, _)) => tuple,
        Err(NoPorts::Protocol) if local => return Ok(None),
        Err(NoPorts::Protocol) => return Err(Counter::Protocol),
        Err(NoPorts::LaterFragment) => return Err(Counter::Fragment),
        Err(NoPorts::Truncated) => return Err(Counter::Truncated),
        Err(NoPorts::Split) => return Err(Counter::Split),
    };
    let group = snapshot.lb.group_of(Prefix::host(tuple.dst.into()));
    match group.and_then(|group| snapshot.lb.find_vip(group, tuple.protocol, tuple.dst_port)) {
        Some(vip) => Ok(Some(vip.get())),
        None if local => Ok(None),
        None => Err(Counter::NoPort),
    }
}

impl Node for Lb4Vip {
    const NAME: &'static str = "lb4-vip";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let l4 = usize::from(frame.lanes.l4_offset[at]);
            let local = frame.lanes.flags[at] & flag::LOCAL_FALLBACK != 0;
            let Some(packet) = frame.packet(at) else { continue };
            match find(cx.snapshot, packet, l3, l4, local) {
                Ok(Some(vip)) => {
                    frame.lanes.vip[at] = vip;
                    cx.set_next(at, Next::Nat4);
                }
                Ok(None) => cx.set_next(at, Next::Local),
                Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
            }
        }
    }

    fn trace(&self, snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let l4 = usize::from(frame.lanes.l4_offset[at]);
        let local = frame.lanes.flags[at] & flag::LOCAL_FALLBACK != 0;
        let vip = frame.packet(at).and_then(|p| find(snapshot, p, l3, l4, local).ok().flatten());
        TraceDetail::Lb { vip, server: None }
    }
}
