//! `ethernet-input`: checks the Ethernet header and sorts by what it carries.

use dataplane::frame::{Frame, flag};
use dataplane::interface::MacAddress;
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
        /// Fewer bytes than the header, or than the VLAN tag it announces.
        TooShort => ("ethernet header truncated", Error),
        /// The header is spread over several buffers.
        Split => ("headers not in the first buffer", Error),
        /// A frame for another station.
        MacMismatch => ("l3 mac mismatch", Error),
        /// A frame of a VLAN; none is configured.
        UnknownVlan => ("unknown vlan", Error),
        /// An IEEE 802.3 frame (spanning tree and the like).
        Llc => ("802.3 frame with llc header", Error),
        /// IPv6 on an interface without an IPv6 address.
        Ip6 => ("ip6 not enabled", Error),
        /// Any other EtherType.
        UnknownType => ("unknown ethernet type", Error),
    }
}

/// Accepts frames for our address and for groups; removes priority tags.
///
/// A priority tag (VLAN identifier 0) says nothing that matters here. It is removed, so that later
/// nodes find the IP header at one offset and write the Ethernet header over the old one.
///
/// # Reads
/// The Ethernet header; a tag that the port stripped; `Interface::mac`.
/// # Writes
/// Lane `l3_offset`; flag `LINK_GROUP`; the packet, when it has a priority tag.
/// # Next nodes
/// `ip4-input`, `ip6-input`, `arp-input`, `error-drop`.
/// # Counters
/// See [`Counter`]; all are drops.
/// # Drops
/// Truncated headers, frames for other stations, VLANs, LLC, IPv6, unknown types.
#[derive(Debug, Default)]
pub struct EthernetInput;

/// Reads the header of one frame: what it carries and whether it came to a group.
fn parse(packet: &mut Packet, mac: MacAddress) -> Result<(Next, bool), Counter> {
    let short = if packet.segments() > 1 { Counter::Split } else { Counter::TooShort };
    let ethernet = EthernetHeader::at(packet.data(), 0).ok_or(short)?;
    let destination = ethernet.destination();
    let group = destination.is_multicast();
    if !group && destination != mac {
        return Err(Counter::MacMismatch);
    }
    if packet.stripped_vlan().is_some_and(|tci| vlan_id(tci) != 0) {
        return Err(Counter::UnknownVlan);
    }
    let mut kind = ethernet.ether_type.get();
    if kind == ether_type::VLAN {
        let tag = VlanHeader::at(packet.data(), EthernetHeader::LEN).ok_or(short)?;
        kind = tag.ether_type.get();
        if vlan_id(tag.tci.get()) != 0 || kind == ether_type::VLAN {
            return Err(Counter::UnknownVlan);
        }
        // The addresses move up to where the tag was.
        packet.data_mut().copy_within(..12, VlanHeader::LEN);
        if !packet.trim_front(VlanHeader::LEN as u16) {
            return Err(short);
        }
    }
    match kind {
        ether_type::IPV4 => Ok((Next::Ip4, group)),
        ether_type::ARP => Ok((Next::Arp, group)),
        ether_type::IPV6 => Ok((Next::Ip6, group)),
        ether_type::VLAN | ether_type::SERVICE_VLAN => Err(Counter::UnknownVlan),
        ..ether_type::FIRST => Err(Counter::Llc),
        _ => Err(Counter::UnknownType),
    }
}

impl Node for EthernetInput {
    const NAME: &'static str = "ethernet-input";
    type Next = Next;
    type Counter = Counter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            let interface = cx.snapshot.interface(frame.lanes.rx_interface[at]);
            let mac = interface.map_or(MacAddress::default(), |interface| interface.mac);
            let Some(packet) = frame.packet_mut(at) else { continue };
            let ip6 = interface.is_some_and(|i| i.addresses.iter().any(|a| a.address.is_ipv6()));
            match parse(packet, mac) {
                Ok((Next::Ip6, _)) if !ip6 => {
                    cx.drop_packet(frame, at, Next::Drop, Counter::Ip6);
                }
                Ok((next, group)) => {
                    frame.lanes.l3_offset[at] = EthernetHeader::LEN as u16;
                    if group {
                        frame.lanes.flags[at] |= flag::LINK_GROUP;
                    }
                    cx.set_next(at, next);
                }
                Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Interface(frame.lanes.rx_interface[at])
    }
}
