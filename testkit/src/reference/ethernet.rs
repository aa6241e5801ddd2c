//! Which interface a frame belongs to, and what it carries (IEEE 802.3, 802.1Q).

use super::config::Kind;
use super::ip::word;
use super::model::{NewFlowOrder, Reference, Transit};
use super::outcome::Reason;
use super::reason;

/// A customer's tag, and a provider's.
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// The VLANs that a frame names, outer first, and where its type is.
struct Tags {
    service_tag: bool,
    vlans: Vec<u16>,
    type_at: usize,
}

fn tags(frame: &[u8]) -> Result<Tags, Reason> {
    let mut tags = Tags { service_tag: word(frame, 12) == 0x88a8, vlans: Vec::new(), type_at: 12 };
    while tags.vlans.len() < 2 && TAGS.contains(&word(frame, tags.type_at)) {
        if frame.len() < tags.type_at + 6 {
            return Err(reason::SHORT_FRAME);
        }
        tags.vlans.push(word(frame, tags.type_at + 2) & 0x0fff);
        tags.type_at += 4;
    }
    Ok(tags)
}

impl Reference {
    pub(super) fn ethernet_input(&mut self, rx: u16, frame: &[u8], table: &dyn NewFlowOrder) {
        let port = self.config.interface(rx).clone();
        if !port.up {
            return self.out.drop(reason::INTERFACE_DOWN);
        }
        if frame.len() < 14 {
            return self.out.drop(reason::SHORT_FRAME);
        }
        let group = frame[0] & 1 == 1;
        if !group && frame[..6] != port.mac {
            return self.out.drop(reason::WRONG_MAC);
        }
        let (rx, at) = match tags(frame).and_then(|tags| Ok((self.vlan(rx, frame, &tags)?, tags))) {
            Ok((rx, tags)) => (rx, tags.type_at),
            Err(reason) => return self.out.drop(reason),
        };
        let interface = self.config.interface(rx);
        if !interface.up {
            return self.out.drop(reason::SUBINTERFACE_DOWN);
        }
        let mut link_source = [0; 6];
        link_source.copy_from_slice(&frame[6..12]);
        let packet = frame[at + 2..].to_vec();
        let transit = Transit { rx, link_source, packet, originated: false };
        match word(frame, at) {
            0x0800 => self.ip4_input(transit, group, table),
            0x0806 => self.arp_input(rx, &transit.packet),
            // As in VPP, an address makes an interface speak IPv6.
            0x86dd if !interface.addresses.iter().any(|(own, _)| own.is_ipv6()) => {
                self.out.drop(reason::IP6);
            }
            0x86dd => self.ip6_input(transit, group, table),
            0..0x0600 => self.out.drop(reason::LLC),
            _ => self.out.drop(reason::UNKNOWN_TYPE),
        }
    }

    /// The interface that these tags name.
    fn vlan(&self, port: u16, frame: &[u8], tags: &Tags) -> Result<u16, Reason> {
        let three = TAGS.contains(&word(frame, tags.type_at));
        match tags.vlans[..] {
            // Three tags, and the third unseen.
            _ if three => Err(reason::VLAN),
            [] => Ok(port),
            // VLAN 0 says priority only (IEEE 802.1Q).
            [0] if !tags.service_tag => Ok(port),
            [0] | [0, _] => Err(reason::VLAN),
            // Inside there is a customer's tag.
            [_, _] if word(frame, 16) != 0x8100 => Err(reason::VLAN),
            _ => self
                .config
                .indices()
                .find(|index| match self.config.interface(*index).kind {
                    Kind::Vlan { parent, outer, inner, service_tag } => {
                        parent == port
                            && tags.service_tag == service_tag
                            && tags.vlans[0] == outer
                            && tags.vlans.get(1).copied() == inner
                    }
                    _ => false,
                })
                .ok_or(reason::VLAN),
        }
    }

    /// The frame of a packet to `mac`, with the tags of the interface's VLAN, and its port.
    pub(super) fn framed(
        &self,
        interface: u16,
        mac: [u8; 6],
        kind: u16,
        payload: &[u8],
    ) -> (u16, Vec<u8>) {
        let mut frame = mac.to_vec();
        frame.extend_from_slice(&self.config.interface(interface).mac);
        let mut port = interface;
        if let Kind::Vlan { parent, outer, inner, service_tag } =
            self.config.interface(interface).kind
        {
            port = parent;
            let tpid: u16 = if service_tag { 0x88a8 } else { 0x8100 };
            frame.extend_from_slice(&tpid.to_be_bytes());
            frame.extend_from_slice(&outer.to_be_bytes());
            if let Some(inner) = inner {
                frame.extend_from_slice(&0x8100_u16.to_be_bytes());
                frame.extend_from_slice(&inner.to_be_bytes());
            }
        }
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(payload);
        (port, frame)
    }
}
