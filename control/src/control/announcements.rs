//! Tells links which addresses are ours, and notices who else claims them.
//!
//! IPv4 addresses are announced at once (RFC 5227 §3). IPv6 addresses are probed for first
//! (RFC 4862 §5.4) and announced a second later unless somebody else has them. They are used from
//! the start (RFC 4429): configuration never waits for the network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dataplane::interface::{InterfaceId, MacAddress};
use dataplane::wire::ethernet::ether_type;

use super::Control;
use crate::model::{Model, NeighborKey};
use crate::neighbor::{arp, discovery};

/// Time that others have to object to an address, in milliseconds (RetransTimer of RFC 4861).
const PROBE_MS: u64 = 1_000;

/// Most addresses of a VIP prefix that are announced one by one; of a larger one only those that
/// neighbours ask for are known to them.
const MOST_OF_A_PREFIX: u128 = 16;

/// Stations that are remembered and logged for claiming an address of ours.
const CONFLICTS_MAX: usize = 256;

/// What links have been told.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// Own addresses and VIPs on their links.
    ours: BTreeSet<NeighborKey>,
    /// When those that are being probed for are to be announced, in milliseconds.
    probed: BTreeMap<NeighborKey, u64>,
    /// Stations that claim an address of ours, each reported once.
    conflicts: BTreeSet<(NeighborKey, MacAddress)>,
    /// Messages that claimed one.
    conflicts_seen: u64,
}

impl Announcements {
    /// True when the address is ours on this link.
    pub(super) fn is_ours(&self, key: NeighborKey) -> bool {
        self.ours.contains(&key)
    }

    /// What a link was told is to be told again.
    pub(super) fn forget(&mut self, interface: InterfaceId) {
        self.ours.retain(|(link, _)| *link != interface);
    }

    /// Messages in which somebody else claimed an address of ours.
    pub(super) fn conflicts_seen(&self) -> u64 {
        self.conflicts_seen
    }
}

/// The addresses that `model` has on its links, VIPs among them.
fn own_addresses(model: &Model) -> BTreeSet<NeighborKey> {
    let mut ours = BTreeSet::new();
    for link in model.interfaces.iter().filter(|link| link.is_ethernet() && model.is_up(link.id)) {
        ours.extend(link.own_addresses().map(|own| (link.id, own.address)));
    }
    for network in model.lb.prefixes() {
        let link = model.connected_to(network.address).filter(|link| {
            link.is_ethernet() && model.is_up(link.id) && link.is_connected_to(network.last())
        });
        let Some(link) = link else { continue };
        let addresses = network.addresses(MOST_OF_A_PREFIX);
        let hosts = addresses.filter(|address| link.can_have_neighbor(*address));
        ours.extend(hosts.map(|address| (link.id, address)));
    }
    ours
}

impl Control {
    /// Tells links of own addresses and VIPs that are new to them.
    pub(super) fn announce(&mut self) {
        let present = own_addresses(&self.model);
        let new: Vec<_> = present.difference(&self.announcements.ours).copied().collect();
        self.announcements.probed.retain(|key, _| present.contains(key));
        self.announcements.conflicts.retain(|(key, _)| present.contains(key));
        self.announcements.ours = present;
        for key @ (interface, address) in new {
            let Some(mac) = self.model.interface(interface).map(|link| link.mac) else { continue };
            match address {
                IpAddr::V4(own) => {
                    let message = arp::request(mac, own, own);
                    self.transmit(interface, MacAddress::BROADCAST, ether_type::ARP, &message);
                }
                IpAddr::V6(own) => {
                    let probe = discovery::probe(own);
                    self.transmit(interface, probe.to, ether_type::IPV6, &probe.packet);
                    self.announcements.probed.insert(key, self.now_ms + PROBE_MS);
                }
            }
        }
    }

    /// Announces the addresses that nobody has objected to.
    pub(super) fn announce_probed(&mut self) {
        let now_ms = self.now_ms;
        let due = self.announcements.probed.extract_if(.., |_, due_ms| *due_ms <= now_ms);
        let due: Vec<NeighborKey> = due.map(|(key, _)| key).collect();
        for (interface, address) in due {
            let mac = self.model.interface(interface).map(|link| link.mac);
            if let (Some(mac), IpAddr::V6(own)) = (mac, address) {
                let told = discovery::advertisement(mac, own);
                self.transmit(interface, told.to, ether_type::IPV6, &told.packet);
            }
        }
    }

    /// Somebody else claims an address of ours.
    pub(super) fn conflict(&mut self, key: NeighborKey, mac: MacAddress) {
        let (interface, address) = key;
        if self.model.interface(interface).is_some_and(|link| link.mac == mac) {
            return;
        }
        self.announcements.conflicts_seen += 1;
        self.announcements.probed.remove(&key);
        let few = self.announcements.conflicts.len() < CONFLICTS_MAX;
        if few && self.announcements.conflicts.insert((key, mac)) {
            let name = self.model.name_of(interface);
            tracing::warn!(
                "{mac} on {name} claims our address {address}: one of the two must give it up"
            );
        }
    }
}
