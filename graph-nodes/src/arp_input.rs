//! `arp-input`: answers for our addresses and VIPs, and tells control what neighbours say.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::adjacency::L2Header;
use dataplane::event::Event;
use dataplane::fib::FibEntry;
use dataplane::frame::Frame;
use dataplane::interface::{Interface, MacAddress};
use dataplane::node::{Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::arp::ArpHeader;
use dataplane::wire::ethernet::ether_type;
use dataplane::{next_nodes, node_counters};

use crate::lb_punt::station;

next_nodes! {
    /// Where ARP messages go; those that are dealt with end here.
    pub enum Next {
        /// Answers.
        Output => "interface-output",
        /// Everything that is wrong.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `arp-input` counts.
    pub enum Counter {
        /// Fewer bytes than a message for IPv4 over Ethernet has.
        TooShort => ("ARP message truncated", Error),
        /// Hardware type or length is not Ethernet's.
        NotEthernet => ("L2 type not ethernet", Error),
        /// Protocol type or length is not IPv4's.
        NotIp4 => ("L3 type not IP4", Error),
        /// Neither request nor reply.
        Operation => ("ARP opcode not request or reply", Error),
        /// The sender gives a group address, or all zeros, as its own.
        SenderMac => ("ARP sender hardware address invalid", Error),
        /// Our own message came back.
        Ours => ("ARP message of our own received", Error),
        /// Another station uses an address of ours.
        Conflict => ("IP4 source address matches local interface", Error),
        /// The sender's address is on none of the interface's networks.
        OffLink => ("ARP sender address not on a connected network", Error),
        /// No room in front of the message for the VLAN tag of the answer.
        NoRoom => ("no room for the ethernet header", Error),
        /// Requests that were answered.
        RepliesSent => ("ARP replies sent", Info),
        /// Replies to our requests.
        RepliesReceived => ("ARP replies received", Info),
        /// Broadcasts between others.
        NotForUs => ("ARP message for another station", Info),
    }
}

/// What to do with a message.
enum Verdict {
    Answer,
    Replied,
    Ignore,
}

/// The ARP responder and listener (RFC 826, RFC 5227).
///
/// It answers requests for an address of the interface they came in by, and for any VIP, when the
/// sender is on one of the interface's networks or probes (sender 0.0.0.0). It never answers for an
/// address of another interface. On the tap to the kernel it answers for everybody but the kernel
/// itself, as a proxy (RFC 1027), and learns nothing.
///
/// It learns as RFC 826 says: what a message for us says of its sender, and changes of neighbours
/// that are known already. Control hears of a reply to us even if it tells nothing new, because it
/// may be the answer to a probe that decides whether the neighbour is still there.
///
/// # Reads
/// The ARP message; the addresses of the interface; the FIB (which addresses are ours or VIPs).
/// # Writes
/// The packet, which becomes the answer with the tags of its VLAN; lane `tx_interface`; events `NeighborSeen`.
/// # Next nodes
/// `interface-output`, `error-drop`. Messages that need no answer end here.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Malformed messages, conflicts with our addresses, our own messages, senders that are not
/// on-link.
#[derive(Debug, Default)]
pub struct ArpInput;

fn judge(
    snapshot: &Snapshot,
    interface: &Interface,
    arp: &ArpHeader,
) -> Result<(Verdict, bool), Counter> {
    if arp.hardware_type.get() != ArpHeader::ETHERNET || arp.hardware_len != 6 {
        return Err(Counter::NotEthernet);
    }
    if arp.protocol_type.get() != ether_type::IPV4 || arp.protocol_len != 4 {
        return Err(Counter::NotIp4);
    }
    let request = match arp.operation.get() {
        ArpHeader::REQUEST => true,
        ArpHeader::REPLY => false,
        _ => return Err(Counter::Operation),
    };
    let sender_mac = MacAddress(arp.sender_mac);
    if sender_mac.is_multicast() || sender_mac == MacAddress::default() {
        return Err(Counter::SenderMac);
    }
    if interface.punt {
        return Ok((to_kernel(arp, request), false));
    }
    if sender_mac == interface.mac {
        return Err(Counter::Ours);
    }
    let (sender, target) = (arp.sender(), arp.target());
    let is_vip = |address| matches!(snapshot.fib4.lookup(address), FibEntry::Vip { .. });
    let is_own = |address: Ipv4Addr| {
        interface.addresses.iter().any(|own| own.address == IpAddr::V4(address))
    };
    let probe = request && sender == Ipv4Addr::UNSPECIFIED;
    if !probe {
        if is_own(sender) || is_vip(sender) || snapshot.fib4.lookup(sender) == FibEntry::Local {
            return Err(Counter::Conflict);
        }
        if !interface.addresses.iter().any(|own| own.contains(sender.into())) {
            return Err(Counter::OffLink);
        }
    }
    let for_us = is_own(target) || is_vip(target);
    let learn = !probe && news(snapshot, interface, sender, sender_mac, for_us, request);
    let verdict = match (for_us, request) {
        (true, true) => Verdict::Answer,
        (true, false) => Verdict::Replied,
        (false, _) => Verdict::Ignore,
    };
    Ok((verdict, learn))
}

/// The kernel finds all the world behind the tap, but the addresses that it has itself.
fn to_kernel(arp: &ArpHeader, request: bool) -> Verdict {
    let asks = arp.sender() != Ipv4Addr::UNSPECIFIED && arp.sender() != arp.target();
    if request && asks { Verdict::Answer } else { Verdict::Ignore }
}

/// True when control should hear what the message says of its sender.
fn news(
    snapshot: &Snapshot,
    interface: &Interface,
    sender: Ipv4Addr,
    mac: MacAddress,
    for_us: bool,
    request: bool,
) -> bool {
    let known = snapshot
        .adjacency_of(interface.id, sender.into())
        .and_then(|id| snapshot.adjacency(id))
        .and_then(|adjacency| adjacency.rewrite.as_ref());
    match known {
        Some(rewrite) => rewrite.destination() != mac || (for_us && !request),
        None => for_us,
    }
}

/// Turns the request in packet `at` into its answer, on the same VLAN. False, and nothing changed,
/// when there is no room in front for a tag that the port took out of the request.
fn answer(snapshot: &Snapshot, interface: &Interface, frame: &mut Frame, at: usize) -> bool {
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    let Some(arp) = ArpHeader::at(frame.data(at), l3) else { return false };
    let destination = MacAddress(arp.sender_mac);
    let mut l2 = snapshot.l2_header(interface, destination, ether_type::ARP);
    let mut mac = interface.mac;
    if interface.punt {
        mac = station(interface);
        l2 = L2Header::new(destination, mac, &[], ether_type::ARP);
    }
    if !frame.set_l2(at, &l2) {
        return false;
    }
    if let Some(arp) = ArpHeader::at_mut(frame.data_mut(at), l2.len()) {
        arp.answer(mac);
    }
    frame.lanes.tx_interface[at] = interface.id;
    true
}

impl Node for ArpInput {
    const NAME: &'static str = "arp-input";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let l3 = usize::from(frame.lanes.l3_offset[at]);
            let rx = frame.lanes.rx_interface[at];
            let snapshot = cx.snapshot;
            let Some(arp) = ArpHeader::at(frame.data(at), l3).copied() else {
                cx.drop_packet(frame, at, Next::Drop, Counter::TooShort);
                continue;
            };
            let Some(interface) = snapshot.interface(rx) else {
                cx.drop_packet(frame, at, Next::Drop, Counter::OffLink);
                continue;
            };
            let verdict = match judge(snapshot, interface, &arp) {
                Ok((verdict, learn)) => {
                    if learn {
                        let mac = MacAddress(arp.sender_mac);
                        let address = arp.sender().into();
                        let event = Event::NeighborSeen { interface: rx, address, mac };
                        let known = snapshot.adjacency_of(rx, address).is_some();
                        cx.worker.post_neighbor(event, known, cx.now);
                    }
                    verdict
                }
                Err(reason) => {
                    cx.drop_packet(frame, at, Next::Drop, reason);
                    continue;
                }
            };
            match verdict {
                Verdict::Answer => {
                    if !answer(snapshot, interface, frame, at) {
                        cx.drop_packet(frame, at, Next::Drop, Counter::NoRoom);
                        continue;
                    }
                    cx.count(Counter::RepliesSent, 1);
                    cx.set_next(at, Next::Output);
                    continue;
                }
                Verdict::Replied => cx.count(Counter::RepliesReceived, 1),
                Verdict::Ignore => cx.count(Counter::NotForUs, 1),
            }
            // Dealt with: the packet ends here, and is no drop.
            cx.worker.garbage.extend(frame.take(at));
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.rx_interface[at])
    }
}
