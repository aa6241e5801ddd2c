//! Links that go away and come back: noticed by asking the kernel, and carried out.
//!
//! The driver of a virtual device over a network interface of the kernel says "up" whatever happens.
//! While a link is down, packets towards it are dropped with a reason instead of being given to a port
//! that would keep or lose them. An interface that was deleted and made anew is another one to the
//! kernel: the workers give up their queues, the device is opened anew, and they get the new queues.

use std::collections::BTreeMap;

use dataplane::dpdk::queue::PortQueues;
use dataplane::event::Request;
use dataplane::interface::{InterfaceId, PortId};

use super::Control;
use crate::model::Kind;
use crate::runtime::hardware::KernelSide;

/// How often the kernel is asked, in milliseconds.
const LOOK_MS: u64 = 200;
/// Time from one attempt to open a device to the next, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// The state of a port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// It takes packets, or nobody can say.
    #[default]
    Up,
    /// No carrier, or administratively down at the kernel's side.
    Down,
    /// The kernel's interface is gone, or another one has its name.
    Lost,
}

impl LinkState {
    /// As `show interface` and the API name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Lost => "lost",
        }
    }
}

/// What is known of a port's link.
#[derive(Debug, Default)]
struct Watched {
    /// The kernel's index of the interface that the port stands on.
    index: Option<u32>,
    state: LinkState,
    /// When the device may be opened anew, in milliseconds.
    retry_ms: u64,
    /// It was said why that does not work.
    complained: bool,
}

/// A port whose queues change hands.
#[derive(Debug)]
struct Exchange {
    interface: InterfaceId,
    port: PortId,
    /// The kernel's index of the new interface.
    index: u32,
    /// The workers are given new queues; before that, they give up the old ones.
    giving: bool,
    /// By worker: what it is still to be asked with.
    to_ask: Vec<Option<Box<PortQueues>>>,
    /// By worker: what it answered.
    answers: Vec<Option<Box<PortQueues>>>,
}

/// The links of all ports.
#[derive(Debug, Default)]
pub(super) struct Links {
    next_look_ms: u64,
    watched: BTreeMap<InterfaceId, Watched>,
    /// One port after the other, so that each gets its number back.
    exchange: Option<Exchange>,
    /// Ports whose link is up again.
    returned: Vec<PortId>,
}

impl Control {
    /// The state of the link of a device, or of a VLAN's device.
    pub fn link_state(&self, interface: InterfaceId) -> LinkState {
        let interface = match self.model.interface(interface).map(|link| link.kind) {
            Some(Kind::SubInterface { parent, .. }) => parent,
            _ => interface,
        };
        self.links.watched.get(&interface).map(|watched| watched.state).unwrap_or_default()
    }

    /// Looks at the links from time to time, and goes on with what has begun.
    pub(super) fn watch_links(&mut self) {
        if !self.dirty {
            for port in std::mem::take(&mut self.links.returned) {
                self.greet(port);
            }
        }
        if self.now_ms >= self.links.next_look_ms {
            self.links.next_look_ms = self.now_ms + LOOK_MS;
            let devices = self.model.interfaces.iter().filter_map(|link| match link.kind {
                Kind::Device(port) => Some((link.id, port)),
                _ => None,
            });
            for (interface, port) in devices.collect::<Vec<_>>() {
                if let Some(seen) = self.hardware.kernel_side(port) {
                    self.look_at(interface, port, seen);
                }
            }
        }
        self.go_on_exchanging();
    }

    fn look_at(&mut self, interface: InterfaceId, port: PortId, seen: KernelSide) {
        let watched = self.links.watched.entry(interface).or_default();
        let state = match seen {
            KernelSide::Gone => LinkState::Lost,
            KernelSide::Present { index, .. } if *watched.index.get_or_insert(index) != index => {
                LinkState::Lost
            }
            KernelSide::Present { running: true, .. } => LinkState::Up,
            KernelSide::Present { running: false, .. } => LinkState::Down,
        };
        let before = std::mem::replace(&mut watched.state, state);
        let due = self.now_ms >= watched.retry_ms && self.links.exchange.is_none();
        if before != state {
            self.link_changed(interface, port, state);
        }
        // A transaction may have begun before the change and ended after it.
        let up = state == LinkState::Up;
        if self.model.interface(interface).is_some_and(|link| link.link_up != up) {
            self.model.change_interface(interface, |link| link.link_up = up);
            self.dirty = true;
        }
        if let (LinkState::Lost, KernelSide::Present { index, .. }, true) = (state, seen, due) {
            self.begin_exchange(interface, port, index);
        }
    }

    fn link_changed(&mut self, interface: InterfaceId, port: PortId, state: LinkState) {
        let name = self.model.name_of(interface).to_owned();
        match state {
            LinkState::Up => tracing::info!("{name}: the link is up"),
            LinkState::Down => tracing::warn!("{name}: the link is down"),
            LinkState::Lost => tracing::warn!("{name}: the network interface behind it is gone"),
        }
        if state == LinkState::Up {
            self.links.returned.push(port);
        }
    }

    /// Speaks to the neighbours behind a port that has its link back: they may have changed behind our
    /// back, and forgotten us. The workers know already that they may send there.
    fn greet(&mut self, port: PortId) {
        let links = self.model.interfaces.iter();
        let links = links.filter(|link| self.model.port_of(link) == Some(port));
        let links: Vec<_> = links.map(|link| link.id).collect();
        for id in links {
            let update = self.neighbors.recheck(id, self.now_ms);
            self.carry_out(update);
            self.announcements.forget(id);
        }
        self.announce();
    }

    /// Asks the workers for their queues of a port.
    fn begin_exchange(&mut self, interface: InterfaceId, port: PortId, index: u32) {
        if let Err(reason) = self.hardware.can_reopen(port) {
            return self.complain(interface, &reason);
        }
        let workers = self.workers.len();
        let empty = || Some(Box::new(PortQueues::none(port)));
        self.links.exchange = Some(Exchange {
            interface,
            port,
            index,
            giving: false,
            to_ask: (0..workers).map(|_| empty()).collect(),
            answers: (0..workers).map(|_| None).collect(),
        });
    }

    /// Says once what has to be done by hand.
    fn complain(&mut self, interface: InterfaceId, reason: &str) {
        let retry_ms = self.now_ms + RETRY_MS;
        let watched = self.links.watched.entry(interface).or_default();
        watched.retry_ms = retry_ms;
        if !std::mem::replace(&mut watched.complained, true) {
            let name = self.model.name_of(interface);
            tracing::error!("restart needed for {name}: {reason}");
        }
    }

    fn go_on_exchanging(&mut self) {
        let Some(mut exchange) = self.links.exchange.take() else { return };
        for (at, worker) in self.workers.iter().enumerate() {
            if let Some(queues) = exchange.to_ask[at].take()
                && let Err(Request::SwapQueues(refused)) =
                    worker.shared.request(Request::SwapQueues(queues))
            {
                // Its mailbox is full: next time.
                exchange.to_ask[at] = Some(refused);
            }
            if let Some(answer) = worker.shared.next_swapped() {
                exchange.answers[at] = Some(answer);
            }
        }
        if exchange.answers.iter().any(Option::is_none) {
            self.links.exchange = Some(exchange);
        } else if exchange.giving {
            self.end_exchange(&exchange);
        } else {
            self.reopen(exchange);
        }
    }

    /// Opens the device anew, and gives the workers its queues.
    fn reopen(&mut self, mut exchange: Exchange) {
        let old: Vec<_> = exchange.answers.iter_mut().filter_map(Option::take).collect();
        // The last of the queues takes the port with it.
        drop(old);
        match self.hardware.reopen(exchange.port, self.workers.len()) {
            Ok(reopened) => {
                let interface = exchange.interface;
                self.model.change_interface(interface, |link| link.mac = reopened.mac);
                self.dirty = true;
                exchange.to_ask = reopened.queues.into_iter().map(Box::new).map(Some).collect();
                exchange.giving = true;
                self.links.exchange = Some(exchange);
            }
            Err(reason) => self.complain(exchange.interface, &reason),
        }
    }

    fn end_exchange(&mut self, exchange: &Exchange) {
        let name = self.model.name_of(exchange.interface).to_owned();
        tracing::info!("{name}: opened anew on the new network interface");
        let mtu = self.model.interface(exchange.interface).map(|link| link.mtu);
        if let Some(Err(error)) = mtu.map(|mtu| self.hardware.set_mtu(exchange.port, mtu)) {
            tracing::info!("{name}: the driver keeps its own MTU: {error}");
        }
        let watched = self.links.watched.entry(exchange.interface).or_default();
        watched.index = Some(exchange.index);
        watched.complained = false;
        // It takes packets from the next look on, if it has carrier.
        self.links.next_look_ms = self.now_ms;
    }
}
