//! `ethernet-input`: checks the Ethernet header and sorts by VLAN and by what it carries.

use dataplane::frame::{Frame, flag};
use dataplane::interface::{Interface, InterfaceId};
use dataplane::node::{Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::ethernet::{EthernetHeader, VlanHeader, ether_type, vlan_id};
use dataplane::{next_nodes, node_counters};

next_nodes! {
    /// Where frames go.
    pub enum Next {
        /// IPv4.
        Ip4 => "ip4-input",
        /// IPv6.
        Ip6 => "ip6-input",
        /// ARP.
        Arp => "arp-input",
        /// Everything else.
        Drop => "error-drop",
    }
}

node_counters! {
    /// What `ethernet-input` counts.
    pub enum Counter {
        /// Fewer bytes than the header, or than the VLAN tags it announces.
        TooShort => ("ethernet header truncated", Error),
        /// The header is spread over several buffers.
        Split => ("headers not in the first buffer", Error),
        /// A frame for another station.
        MacMismatch => ("l3 mac mismatch", Error),
        /// A frame of a VLAN that no sub-interface has.
        UnknownVlan => ("unknown vlan", Error),
        /// A frame of a VLAN whose sub-interface is administratively down.
        SubInterfaceDown => ("subinterface down", Error),
        /// An IEEE 802.3 frame (spanning tree and the like).
        Llc => ("802.3 frame with llc header", Error),
        /// IPv6 on an interface without an IPv6 address.
        Ip6 => ("ip6 not enabled", Error),
        /// Any other EtherType.
        UnknownType => ("unknown ethernet type", Error),
    }
}

/// Accepts frames for our address and for groups; finds the sub-interface of tagged ones.
///
/// A VLAN is told by the protocol of its outer tag, which is not known of a tag that the port took
/// out of the frame, and by its identifiers; an inner tag is a customer's. Tags stay where they are: nodes find the IP
/// header by lane `l3_offset`, and frames that leave get a header of their own link.
///
/// A priority tag (VLAN identifier 0) says nothing that matters here, and is removed.
///
/// # Reads
/// The Ethernet header and up to two tags; a tag that the port stripped; `Interface::mac`,
/// `Interface::sub_interfaces`, `Interface::up`, `Interface::punt`.
/// # Writes
/// Lanes `l3_offset`, `rx_interface` (of a VLAN); flag `LINK_GROUP`; the packet, when it has a
/// priority tag; the rx counters of sub-interfaces.
/// # Next nodes
/// `ip4-input`, `ip6-input`, `arp-input`, `error-drop`.
/// # Counters
/// See [`Counter`]; all are drops.
/// # Drops
/// Truncated headers, frames for other stations, unknown VLANs, three tags, LLC, unknown types.
#[derive(Debug, Default)]
pub struct EthernetInput;

/// What stands in front of the payload.
#[derive(Clone, Copy, Debug, Default)]
struct Tags {
    /// VLAN identifiers, the outer one first.
    ids: [u16; 2],
    len: usize,
    /// Protocol of the outer tag; `None` of one that the port stripped.
    protocol: Option<u16>,
    /// An inner tag is no customer's.
    strange: bool,
    /// Start of the payload.
    payload: usize,
    /// What the payload is.
    kind: u16,
}

impl Tags {
    /// Reads the tags of a frame whose Ethernet header is there.
    fn of(packet: &Packet, outer: u16, short: Counter) -> Result<Self, Counter> {
        let mut tags = Self { payload: EthernetHeader::LEN, kind: outer, ..Self::default() };
        match packet.stripped_vlan() {
            Some(tci) => tags.push(tci),
            None => tags.protocol = Some(outer),
        }
        while matches!(tags.kind, ether_type::VLAN | ether_type::SERVICE_VLAN) {
            if tags.len == tags.ids.len() {
                return Err(Counter::UnknownVlan);
            }
            let tag = VlanHeader::at(packet.data(), tags.payload).ok_or(short)?;
            tags.strange = tags.len == 1 && tags.kind != ether_type::VLAN;
            tags.push(tag.tci.get());
            tags.kind = tag.ether_type.get();
            tags.payload += VlanHeader::LEN;
        }
        Ok(tags)
    }

    fn push(&mut self, tci: u16) {
        self.ids[self.len] = vlan_id(tci);
        self.len += 1;
    }

    /// The interface that a frame with these tags belongs to.
    fn interface(&self, snapshot: &Snapshot, port: &Interface) -> Result<InterfaceId, Counter> {
        let (outer, inner) = match self.ids[..self.len] {
            [] => return Ok(port.id),
            [0] if self.protocol != Some(ether_type::SERVICE_VLAN) => return Ok(port.id),
            [0] | [0, _] => return Err(Counter::UnknownVlan),
            _ if self.strange => return Err(Counter::UnknownVlan),
            [outer] => (outer, None),
            [outer, inner, ..] => (outer, Some(inner)),
        };
        let mut vlans = port.sub_interfaces.iter();
        let vlan = vlans.find(|vlan| {
            let protocol = self.protocol.unwrap_or(vlan.outer.0);
            (vlan.outer, vlan.inner) == ((protocol, outer), inner)
        });
        let found = vlan.and_then(|vlan| snapshot.interface(vlan.interface));
        match found {
            Some(interface) if interface.up => Ok(interface.id),
            Some(_) => Err(Counter::SubInterfaceDown),
            None => Err(Counter::UnknownVlan),
        }
    }
}

/// A frame that was accepted.
struct Parsed {
    next: Next,
    /// It came to a group of stations.
    group: bool,
    interface: InterfaceId,
    l3: usize,
}

/// Reads the header of a frame that arrived on `port`.
fn parse(snapshot: &Snapshot, port: &Interface, packet: &mut Packet) -> Result<Parsed, Counter> {
    let short = if packet.segments() > 1 { Counter::Split } else { Counter::TooShort };
    let ethernet = EthernetHeader::at(packet.data(), 0).ok_or(short)?;
    let destination = ethernet.destination();
    let group = destination.is_multicast();
    // The kernel speaks to whatever station it was told of.
    if !group && destination != port.mac && !port.punt {
        return Err(Counter::MacMismatch);
    }
    let tags = Tags::of(packet, ethernet.ether_type.get(), short)?;
    let interface = tags.interface(snapshot, port)?;
    let mut l3 = tags.payload;
    if interface == port.id && l3 > EthernetHeader::LEN {
        // The addresses move up to where the priority tag was.
        packet.data_mut().copy_within(..12, VlanHeader::LEN);
        if !packet.trim_front(VlanHeader::LEN as u16) {
            return Err(short);
        }
        l3 = EthernetHeader::LEN;
    }
    let next = match tags.kind {
        ether_type::IPV4 => Next::Ip4,
        ether_type::IPV6 if !takes_ip6(snapshot, interface) => return Err(Counter::Ip6),
        ether_type::IPV6 => Next::Ip6,
        ether_type::ARP => Next::Arp,
        ..ether_type::FIRST => return Err(Counter::Llc),
        _ => return Err(Counter::UnknownType),
    };
    Ok(Parsed { next, group, interface, l3 })
}

/// Whether IPv6 packets may come in there.
pub(crate) fn takes_ip6(snapshot: &Snapshot, interface: InterfaceId) -> bool {
    let interface = snapshot.interface(interface);
    interface.is_some_and(|interface| {
        interface.punt || interface.addresses.iter().any(|own| own.address.is_ipv6())
    })
}

/// True for what most frames are: an IPv4 packet without a tag for the port's own station.
#[inline]
fn is_plain_ip4(port: &Interface, packet: Option<&Packet>) -> bool {
    packet.is_some_and(|packet| {
        let header = EthernetHeader::at(packet.data(), 0);
        header.is_some_and(|header| {
            header.ether_type.get() == ether_type::IPV4 && header.destination() == port.mac
        }) && packet.stripped_vlan().is_none()
    })
}

/// Judges the frame in slot `at`, whatever it is; `port` is the interface that it arrived on.
fn accept(
    cx: &mut NodeCx<'_, EthernetInput>,
    frame: &mut Frame,
    at: usize,
    port: Option<&Interface>,
) {
    let rx = frame.lanes.rx_interface[at];
    let Some(packet) = frame.packet_mut(at) else { return };
    let len = packet.len();
    let parsed = match port {
        Some(port) => parse(cx.snapshot, port, packet),
        None => Err(Counter::MacMismatch),
    };
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(reason) => return cx.drop_packet(frame, at, Next::Drop, reason),
    };
    if parsed.interface != rx
        && let Some(stats) = cx.worker.shared.interfaces.get(parsed.interface.index())
    {
        stats.rx_packets.add(1);
        stats.rx_bytes.add(len as u64);
    }
    frame.lanes.rx_interface[at] = parsed.interface;
    frame.lanes.l3_offset[at] = parsed.l3 as u16;
    if parsed.group {
        frame.lanes.flags[at] |= flag::LINK_GROUP;
    }
    cx.set_next(at, parsed.next);
}

impl Node for EthernetInput {
    const NAME: &'static str = "ethernet-input";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        let mut from = 0;
        while from < frame.len() {
            let slots = frame.same_rx(from);
            from = slots.end;
            let port = cx.snapshot.interface(frame.lanes.rx_interface[slots.start]);
            for at in slots {
                if port.is_some_and(|port| is_plain_ip4(port, frame.packet(at))) {
                    frame.lanes.l3_offset[at] = EthernetHeader::LEN as u16;
                    cx.set_next(at, Next::Ip4);
                } else {
                    accept(cx, frame, at, port);
                }
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.rx_interface[at])
    }
}
