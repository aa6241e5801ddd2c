//! `ip4-local`: packets for the box itself.

use dataplane::event::Event;
use dataplane::frame::{Frame, flag};
use dataplane::node::{Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::wire::Header;
use dataplane::wire::checksum::{Delta, is_valid, sum};
use dataplane::wire::icmpv4::{Icmpv4Header, icmp_type};
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::{next_nodes, node_counters};

/// TTL of the packets made here.
pub(crate) const OWN_TTL: u8 = 64;

next_nodes! {
    /// Where packets go; those given to control end here.
    pub enum Next {
        /// Answers.
        Lookup => "ip4-lookup",
        /// What nobody here wants.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `ip4-local` counts.
    pub enum Counter {
        /// Echo requests that were answered.
        Echo => ("echo replies sent", Info),
        /// Echo replies handed to control, which may have asked (`ping`).
        Punt => ("echo replies punted", Info),
        /// Control does not keep up.
        PuntFull => ("punt queue full", Error),
        /// Too many echo requests or replies in this second.
        RateLimited => ("echo rate limit exceeded", Error),
        /// A fragment; nothing is reassembled here.
        Fragment => ("fragment for us", Error),
        /// The message is not in one piece in the first buffer.
        Split => ("headers not in the first buffer", Error),
        /// Shorter than an ICMP header.
        IcmpTooShort => ("icmp message truncated", Error),
        /// The ICMP checksum is wrong.
        IcmpChecksum => ("bad icmp checksum", Error),
        /// Any other ICMP message.
        IcmpType => ("icmp message not handled", Error),
        /// TCP or UDP to an address of ours.
        NoListener => ("no listener", Error),
        /// Another protocol.
        Protocol => ("unknown ip protocol", Error),
    }
}

/// What becomes of a packet for us.
enum Verdict {
    Echo,
    Punt,
}

/// Answers ICMP echo requests to interface addresses and VIPs in place (RFC 792, RFC 1122 §3.2.2.6)
/// and punts echo replies.
///
/// # Reads
/// The IPv4 header and the whole ICMP message.
/// # Writes
/// The packet, which becomes the answer: addresses swapped, type, checksums and TTL set, everything
/// else as it came; flag `ORIGINATED`; events `Punt`.
/// # Next nodes
/// `ip4-lookup` for answers; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Whatever is not an echo.
#[derive(Debug, Default)]
pub struct Ip4Local;

fn judge(packet: &Packet, l3: usize, l4: usize) -> Result<Verdict, Counter> {
    let header = Ipv4Header::at(packet.data(), l3).ok_or(Counter::Protocol)?;
    if header.is_fragment() {
        return Err(Counter::Fragment);
    }
    match header.protocol {
        protocol::ICMP => {}
        protocol::TCP | protocol::UDP => return Err(Counter::NoListener),
        _ => return Err(Counter::Protocol),
    }
    let end = l3 + usize::from(header.total_len.get());
    if end < l4 + Icmpv4Header::LEN {
        return Err(Counter::IcmpTooShort);
    }
    let message = packet.data().get(l4..end).ok_or(Counter::Split)?;
    if !is_valid(sum(message)) {
        return Err(Counter::IcmpChecksum);
    }
    match (message[0], message[1]) {
        (icmp_type::ECHO_REQUEST, 0) => Ok(Verdict::Echo),
        (icmp_type::ECHO_REPLY, 0) => Ok(Verdict::Punt),
        _ => Err(Counter::IcmpType),
    }
}

/// Turns an echo request into its reply.
fn reply(data: &mut [u8], l3: usize, l4: usize) {
    if let Some(icmp) = Icmpv4Header::at_mut(data, l4) {
        let word = |kind: u8| u16::from_be_bytes([kind, 0]);
        let delta = Delta::NONE.word(word(icmp_type::ECHO_REQUEST), word(icmp_type::ECHO_REPLY));
        icmp.kind = icmp_type::ECHO_REPLY;
        icmp.update_checksum(delta);
    }
    if let Some(header) = Ipv4Header::at_mut(data, l3) {
        // Swapping addresses does not change the sum.
        std::mem::swap(&mut header.source, &mut header.destination);
        header.set_ttl(OWN_TTL);
    }
}

impl Node for Ip4Local {
    const NAME: &'static str = "ip4-local";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let l4 = usize::from(frame.lanes.l4_offset[at]);
            let Some(packet) = frame.packet(at) else { continue };
            let verdict = judge(packet, l3, l4).and_then(|verdict| {
                let ok = cx.worker.icmp_echos.allow(cx.now.tick_s);
                if ok { Ok(verdict) } else { Err(Counter::RateLimited) }
            });
            match verdict {
                Ok(Verdict::Echo) => {
                    reply(frame.data_mut(at), l3, l4);
                    frame.lanes.flags[at] = flag::ORIGINATED;
                    cx.count(Counter::Echo, 1);
                    cx.set_next(at, Next::Lookup);
                }
                Ok(Verdict::Punt) => {
                    let interface = frame.lanes.rx_interface[at];
                    let Some(packet) = frame.take(at) else { continue };
                    let event = Event::Punt { interface, l3_offset: l3 as u16, packet };
                    let shared = &cx.worker.shared;
                    let stats = shared.interfaces.get(interface.index());
                    match shared.post(event) {
                        Ok(()) => {
                            cx.count(Counter::Punt, 1);
                            stats.inspect(|stats| stats.punts.add(1));
                        }
                        Err(event) => {
                            cx.count(Counter::PuntFull, 1);
                            stats.inspect(|stats| stats.drops.add(1));
                            if let Event::Punt { packet, .. } = event {
                                cx.worker.garbage.push(packet);
                            }
                        }
                    }
                }
                Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
            }
        }
    }
}
