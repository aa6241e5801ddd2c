//! [`Reference`]: the box, one packet at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::config::{Config, Service};
use super::flows::{Flows, State};
use super::icmp::Rate;
use super::ip4::word;
use super::outcome::Outcome;
use super::reason;

/// Which ASs a new flow of a client would go to, best first.
///
/// This is the one thing that the reference does not work out itself: it is the new-flow table of
/// `balancer`, which has properties of its own (shares, permutations, disruption).
pub trait NewFlowOrder {
    /// ASs in the order in which the client's slot and those behind it name them.
    fn order(&self, vip: Service, client: (Ipv4Addr, u16)) -> Vec<Ipv4Addr>;
}

/// A packet inside the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transit {
    /// Interface it came by.
    pub(super) rx: u16,
    /// Everything behind the Ethernet header.
    pub(super) packet: Vec<u8>,
    /// It was made here, so no error may be sent about it.
    pub(super) originated: bool,
}

/// A packet that waits for a neighbour's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) interface: u16,
    pub(super) next_hop: Ipv4Addr,
    pub(super) since_s: u32,
    pub(super) transit: Transit,
}

/// The executable specification of the packet path.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The configuration in force.
    pub config: Config,
    /// The clock, in seconds.
    pub now_s: u32,
    pub(super) flows: Flows,
    /// How often each AS of each VIP was flushed.
    pub(super) flushes: BTreeMap<(Service, Ipv4Addr), u32>,
    /// Removed ASs that flows may still use.
    pub(super) removed: BTreeSet<(Service, Ipv4Addr)>,
    pub(super) held: Vec<Held>,
    /// When control was last asked for the neighbours that packets wait for.
    pub(super) asked_s: BTreeMap<(u16, Ipv4Addr), u32>,
    pub(super) errors: Rate,
    pub(super) echoes: Rate,
    /// By interface: whole TCP and UDP packets seen, for sampling.
    pub(super) sampled: BTreeMap<u16, u64>,
    /// Identification of the last packet made here.
    pub(super) ip_id: u16,
    pub(super) out: Outcome,
}

impl Reference {
    /// A box that has just been started.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now_s: 0,
            flows: Flows::new(),
            flushes: BTreeMap::new(),
            removed: BTreeSet::new(),
            held: Vec::new(),
            asked_s: BTreeMap::new(),
            errors: Rate::default(),
            echoes: Rate::default(),
            sampled: BTreeMap::new(),
            ip_id: 0,
            out: Outcome::default(),
        }
    }

    /// A frame arrives on interface `rx`.
    pub fn receive(&mut self, rx: u16, frame: &[u8], table: &dyn NewFlowOrder) -> Outcome {
        self.ethernet_input(rx, frame, table);
        self.finish()
    }

    pub(super) fn finish(&mut self) -> Outcome {
        let mut outcome = std::mem::take(&mut self.out);
        outcome.held = self.held.len() as u64;
        outcome
    }

    /// Seconds pass.
    pub fn wait(&mut self, seconds: u32) {
        self.now_s += seconds;
    }

    /// Flows alive per VIP and AS; those of [`Goal::Direct`](super::flows::Goal) are not an AS's.
    pub fn live_flows(&self) -> BTreeMap<(Service, Ipv4Addr), u64> {
        let mut live = BTreeMap::new();
        for (key, flow) in &self.flows {
            if let super::flows::Goal::Vip(vip) = key.goal
                && self.is_alive(key)
            {
                *live.entry((vip, flow.server)).or_default() += 1;
            }
        }
        live
    }

    fn ethernet_input(&mut self, rx: u16, frame: &[u8], table: &dyn NewFlowOrder) {
        let interface = self.config.interface(rx).clone();
        if !interface.up {
            return self.out.drop(reason::INTERFACE_DOWN);
        }
        if frame.len() < 14 {
            return self.out.drop(reason::SHORT_FRAME);
        }
        let group = frame[0] & 1 == 1;
        if !group && frame[..6] != interface.mac {
            return self.out.drop(reason::WRONG_MAC);
        }
        let mut at = 12;
        if matches!(word(frame, at), 0x8100 | 0x88a8) {
            // A service tag is a provider's; there is no network of ours in it.
            if word(frame, at) == 0x88a8 {
                return self.out.drop(reason::VLAN);
            }
            if frame.len() < 18 {
                return self.out.drop(reason::SHORT_FRAME);
            }
            // VLAN 0 says priority only (IEEE 802.1Q); every other one is a network we are not on.
            if word(frame, 14) & 0x0fff != 0 || matches!(word(frame, 16), 0x8100 | 0x88a8) {
                return self.out.drop(reason::VLAN);
            }
            at = 16;
        }
        let payload = frame[at + 2..].to_vec();
        match word(frame, at) {
            0x0800 => {
                let transit = Transit { rx, packet: payload, originated: false };
                self.ip4_input(transit, group, table);
            }
            0x0806 => self.arp_input(rx, &payload),
            0x86dd => self.out.drop(reason::IP6),
            0..0x0600 => self.out.drop(reason::LLC),
            _ => self.out.drop(reason::UNKNOWN_TYPE),
        }
    }
}

/// True while the flow's state may be overtaken by a new connection.
pub(super) fn is_closing(state: State) -> bool {
    state == State::Closing
}
