//! Neighbour solicitations and advertisements to us: the part of `ip6-local` that answers for our
//! addresses and VIPs, and tells control what neighbours say (RFC 4861 §7, RFC 4862 §5.4).

use std::net::{IpAddr, Ipv6Addr};

use dataplane::adjacency::{L2_HEADER_MAX, L2Header};
use dataplane::clock::Now;
use dataplane::event::Event;
use dataplane::fib::FibEntry;
use dataplane::frame::{Frame, flag};
use dataplane::interface::{Interface, MacAddress};
use dataplane::snapshot::Snapshot;
use dataplane::wire::Header;
use dataplane::wire::ethernet::{EthernetHeader, ether_type};
use dataplane::wire::ipv4::protocol;
use dataplane::wire::ipv6::{ALL_NODES, Ipv6Header, group_mac};
use dataplane::wire::neighbor_discovery::{
    Envelope, HOP_LIMIT, MAX_LEN, NeighborError, NeighborHeader, NeighborKind, NeighborMessage,
};
use dataplane::worker::WorkerState;
use zerocopy::IntoBytes;

use crate::ip_local::Counter;
use crate::lb_punt::station;

/// Bytes of an answer: Ethernet header, IPv6 header, message with one option.
const ANSWER_MAX: usize = L2_HEADER_MAX + Ipv6Header::LEN + MAX_LEN;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The packet is the answer now.
    Answer,
    /// It is dealt with, and counted as this.
    End(Counter),
}

/// A message that may be believed, with the addresses it came by.
struct Heard {
    message: NeighborMessage,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    /// The link-layer address it tells: its option's, else the frame's source.
    mac: MacAddress,
}

impl Heard {
    /// Somebody wants to take the target and asks whether it is free.
    fn is_probe(&self) -> bool {
        self.message.kind == NeighborKind::Solicitation && self.source.is_unspecified()
    }
}

fn why_refused(error: NeighborError) -> Counter {
    match error {
        NeighborError::HopLimit => Counter::HopLimit,
        NeighborError::Truncated => Counter::NeighborOption,
        NeighborError::Checksum => Counter::IcmpChecksum,
        NeighborError::Kind => Counter::NeighborCode,
        NeighborError::Target | NeighborError::Contradiction => Counter::NeighborTarget,
    }
}

/// Reads the message of packet `at`, whose checksum is right already.
fn read(frame: &Frame, at: usize) -> Result<Heard, Counter> {
    let l3 = usize::from(frame.lanes.l3_offset[at]);
    let l4 = usize::from(frame.lanes.l4_offset[at]);
    let data = frame.data(at);
    let header = Ipv6Header::at(data, l3).ok_or(Counter::NeighborTooShort)?;
    let end = l3 + Ipv6Header::LEN + usize::from(header.payload_len.get());
    let bytes = data.get(l4..end).ok_or(Counter::Split)?;
    if header.hop_limit != HOP_LIMIT {
        return Err(Counter::HopLimit);
    }
    if bytes.get(1).is_some_and(|code| *code != 0) {
        return Err(Counter::NeighborCode);
    }
    if bytes.len() < NeighborHeader::LEN {
        return Err(Counter::NeighborTooShort);
    }
    let (source, destination) = (header.source(), header.destination());
    let envelope = Envelope { source, destination, hop_limit: header.hop_limit };
    let message = NeighborMessage::parse(bytes, &envelope).map_err(why_refused)?;
    let frame_source = EthernetHeader::at(data, 0).map(EthernetHeader::source);
    let mac = message.link_layer.or(frame_source).unwrap_or_default();
    Ok(Heard { message, source, destination, mac })
}

/// True for an address on a network of the interface. That of link-local addresses is everywhere.
fn is_connected(interface: &Interface, address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
        || interface.addresses.iter().any(|own| own.contains(address.into()))
}

fn is_vip(snapshot: &Snapshot, address: Ipv6Addr) -> bool {
    matches!(snapshot.fib6.lookup(address), FibEntry::Vip { .. })
}

/// True for an address of the interface.
fn has(interface: &Interface, address: Ipv6Addr) -> bool {
    interface.addresses.iter().any(|own| own.address == IpAddr::V6(address))
}

/// Checks who tells, which the message alone does not show.
fn check_teller(snapshot: &Snapshot, interface: &Interface, heard: &Heard) -> Result<(), Counter> {
    let mac = heard.mac;
    let nobody = mac.is_multicast() || mac == MacAddress::default() || mac == interface.mac;
    // Nobody has an Ethernet address at the other end of a tunnel.
    if !heard.is_probe() && nobody || interface.port.is_none() {
        return Err(Counter::NeighborMac);
    }
    let target = heard.message.target;
    let on_link = if heard.message.kind == NeighborKind::Solicitation {
        heard.is_probe() || is_connected(interface, heard.source)
    } else {
        let ours = has(interface, target)
            || matches!(snapshot.fib6.lookup(target), FibEntry::Local | FibEntry::Vip { .. });
        if ours {
            return Err(Counter::NeighborConflict);
        }
        is_connected(interface, target)
    };
    if on_link { Ok(()) } else { Err(Counter::NeighborOffLink) }
}

/// The neighbour that control should hear of, if there is news of one: somebody new who speaks to
/// us, or a known one that moved.
fn news(
    snapshot: &Snapshot,
    interface: &Interface,
    heard: &Heard,
    for_us: bool,
) -> Option<Ipv6Addr> {
    let known = |address: Ipv6Addr| {
        let id = snapshot.adjacency_of(interface.id, address.into())?;
        Some(snapshot.adjacency(id)?.rewrite?.destination())
    };
    match heard.message.kind {
        NeighborKind::Solicitation => {
            let told = heard.message.link_layer.is_some() && is_connected(interface, heard.source);
            if heard.is_probe() || !told {
                return None;
            }
            let is_news = known(heard.source).map_or(for_us, |mac| mac != heard.mac);
            is_news.then_some(heard.source)
        }
        NeighborKind::Advertisement { overriding, .. } => {
            // One to us may be the answer to a probe, which tells that the neighbour is still there.
            let to_us = !heard.destination.is_multicast();
            let is_news = match known(heard.message.target) {
                Some(mac) if mac != heard.mac => overriding,
                _ => to_us,
            };
            is_news.then_some(heard.message.target)
        }
    }
}

/// Makes packet `at` the advertisement that answers a solicitation. False when it is spread over
/// several buffers.
fn answer(
    snapshot: &Snapshot,
    interface: &Interface,
    frame: &mut Frame,
    at: usize,
    heard: &Heard,
) -> bool {
    // Whoever probes has no address yet: all nodes hear that the target is taken.
    let probe = heard.is_probe();
    let (to, mac) = match probe {
        true => (ALL_NODES, group_mac(ALL_NODES)),
        false => (heard.source, heard.mac),
    };
    let target = heard.message.target;
    let kind = NeighborKind::Advertisement { router: true, solicited: !probe, overriding: true };
    let own = if interface.punt { station(interface) } else { interface.mac };
    let message = NeighborMessage { kind, target, link_layer: Some(own) };
    let mut body = [0; MAX_LEN];
    let len = message.write(&mut body, target, to);
    let header = Ipv6Header {
        version_class_flow: Ipv6Header::first_word(0, 0).into(),
        payload_len: (len as u16).into(),
        next_header: protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        source: target.octets(),
        destination: to.octets(),
    };
    let mut l2 = snapshot.l2_header(interface, mac, ether_type::IPV6);
    if interface.punt {
        l2 = L2Header::new(mac, own, &[], ether_type::IPV6);
    }
    let (l3, l4) = (l2.len(), l2.len() + Ipv6Header::LEN);
    let mut bytes = [0; ANSWER_MAX];
    bytes[..l3].copy_from_slice(l2.as_bytes());
    bytes[l3..l4].copy_from_slice(header.as_bytes());
    bytes[l4..l4 + len].copy_from_slice(&body[..len]);
    let Some(packet) = frame.packet_mut(at) else { return false };
    if !packet.assign(&bytes[..l4 + len]) {
        return false;
    }
    frame.lanes.l3_offset[at] = l3 as u16;
    frame.lanes.l4_offset[at] = l4 as u16;
    frame.lanes.flags[at] = flag::ORIGINATED;
    frame.lanes.tx_interface[at] = interface.id;
    true
}

/// The kernel finds all the world behind the tap, but the addresses that it has or probes for.
fn to_kernel(
    snapshot: &Snapshot,
    interface: &Interface,
    frame: &mut Frame,
    at: usize,
    heard: &Heard,
) -> Result<Outcome, Counter> {
    if heard.message.kind != NeighborKind::Solicitation {
        return Ok(Outcome::End(Counter::NeighborHeard));
    }
    if heard.is_probe() || heard.source == heard.message.target {
        return Ok(Outcome::End(Counter::NeighborNotForUs));
    }
    let answered = answer(snapshot, interface, frame, at, heard);
    if answered { Ok(Outcome::Answer) } else { Err(Counter::Split) }
}

/// Deals with packet `at`, a neighbour solicitation or advertisement with a right checksum.
pub(crate) fn discover(
    snapshot: &Snapshot,
    worker: &mut WorkerState,
    now: Now,
    frame: &mut Frame,
    at: usize,
) -> Result<Outcome, Counter> {
    let rx = frame.lanes.rx_interface[at];
    let interface = snapshot.interface(rx).ok_or(Counter::NeighborOffLink)?;
    let heard = read(frame, at)?;
    if interface.punt {
        return to_kernel(snapshot, interface, frame, at, &heard);
    }
    check_teller(snapshot, interface, &heard)?;
    let target = heard.message.target;
    let for_us =
        has(interface, target) || is_connected(interface, target) && is_vip(snapshot, target);
    if let Some(address) = news(snapshot, interface, &heard, for_us) {
        let (address, mac) = (address.into(), heard.mac);
        let known = snapshot.adjacency_of(rx, address).is_some();
        worker.post_neighbor(Event::NeighborSeen { interface: rx, address, mac }, known, now);
    }
    if heard.message.kind != NeighborKind::Solicitation {
        return Ok(Outcome::End(Counter::NeighborHeard));
    }
    if !for_us {
        return Ok(Outcome::End(Counter::NeighborNotForUs));
    }
    let answered = answer(snapshot, interface, frame, at, &heard);
    if answered { Ok(Outcome::Answer) } else { Err(Counter::Split) }
}
