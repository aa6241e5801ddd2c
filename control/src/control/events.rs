//! What workers tell control, and what time brings.

use std::net::IpAddr;
use std::time::Instant;

use config::PanicPlace;
use dataplane::event::Event;
use dataplane::packet::Packet;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv6Packet,
};
use tokio::sync::mpsc::UnboundedSender;

use super::Control;
use super::flushes::entries_of;

/// Events taken from a worker at once, so that a flood of them does not keep control from the rest.
const EVENTS_AT_ONCE: usize = 1024;

/// An answer to a `ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoReply {
    /// Who answered.
    pub from: IpAddr,
    /// Which `ping` it answers.
    pub ident: u16,
    /// Number of the request.
    pub sequence: u16,
    /// TTL or hop limit it arrived with.
    pub ttl: u8,
    /// Length of the ICMP message, in bytes.
    pub bytes: usize,
    /// When it was taken up.
    pub at: Instant,
}

/// The echo reply in an IPv4 packet.
fn echo4(bytes: &[u8], at: Instant) -> Option<EchoReply> {
    let ip = Ipv4Packet::new_checked(bytes).ok()?;
    let icmp = Icmpv4Packet::new_checked(ip.payload()).ok()?;
    (icmp.msg_type() == Icmpv4Message::EchoReply).then(|| EchoReply {
        from: ip.src_addr().into(),
        ident: icmp.echo_ident(),
        sequence: icmp.echo_seq_no(),
        ttl: ip.hop_limit(),
        bytes: ip.payload().len(),
        at,
    })
}

/// The echo reply in an IPv6 packet without extension headers.
fn echo6(bytes: &[u8], at: Instant) -> Option<EchoReply> {
    let ip = Ipv6Packet::new_checked(bytes).ok()?;
    let icmp = Icmpv6Packet::new_checked(ip.payload()).ok()?;
    let is_reply =
        ip.next_header() == IpProtocol::Icmpv6 && icmp.msg_type() == Icmpv6Message::EchoReply;
    is_reply.then(|| EchoReply {
        from: ip.src_addr().into(),
        ident: icmp.echo_ident(),
        sequence: icmp.echo_seq_no(),
        ttl: ip.hop_limit(),
        bytes: ip.payload().len(),
        at,
    })
}

impl Control {
    /// Takes up events, lets time pass for neighbours and tombstones, and publishes what follows.
    pub fn pump(&mut self) {
        self.listen();
        self.publish_built();
    }

    /// The same without publishing. To be called often; it costs next to nothing when there is
    /// nothing to do.
    pub fn listen(&mut self) {
        self.debug.panic_if_asked(PanicPlace::Events);
        for worker in 0..self.workers.len() {
            for _ in 0..EVENTS_AT_ONCE {
                let Some(event) = self.workers[worker].shared.next_event() else { break };
                self.event(worker, event);
            }
        }
        let update = self.neighbors.tick(self.now_ms);
        self.carry_out(update);
        self.announce_probed();
        self.watch_links();
        self.flushes.end(&self.workers);
        self.expire_reload();
        self.resize.proceed(self.publisher.adopted(), &mut self.workers);
        self.look_for_drained();
        self.sweep_orphans();
        if self.now_ms >= self.next_second_ms {
            self.next_second_ms = self.now_ms + 1_000;
            self.every_second();
        }
        self.ripened |= self.compiler.lb.take_up();
    }

    fn event(&mut self, worker: usize, event: Event) {
        match event {
            Event::NeighborNeeded { interface, address } => {
                self.neighbor_needed((interface, address));
            }
            Event::NeighborSeen { interface, address, mac } => {
                self.neighbor_seen((interface, address), mac);
            }
            Event::Punt { l3_offset, packet, .. } => {
                self.echo_reply(usize::from(l3_offset), &packet);
                self.hardware.free(&mut vec![packet]);
            }
            Event::StickyTableRetired(table) => {
                drop(table);
                self.sticky_table_retired(worker);
            }
        }
    }

    fn every_second(&mut self) {
        self.rates.sample(self.now_ms, &self.workers, &self.graph);
        self.traces.every_second(&self.workers);
        if std::mem::take(&mut self.unadvised) {
            self.advise();
        }
        self.compiler.lb.forget_unused();
        // A worker that has not seen the removal yet may still open flows for the AS; so it may when
        // the removal waits for a new-flow table.
        let waiting = self.compiler.lb.tables_waiting() > 0;
        if self.publisher.reclaim() == 0 && !self.dirty && !waiting {
            let tables = self.sticky_tables();
            let collected = self.model.lb.collect(|server| entries_of(server, &tables));
            self.dirty |= collected > 0;
            if collected > 0 {
                self.drains.retain(&self.model.lb);
            }
        }
        let tick_s = self.tick_s();
        if let Some(keeper) = &mut self.keeper {
            keeper.every_second(tick_s);
        }
    }

    fn echo_reply(&mut self, l3_offset: usize, packet: &Packet) {
        let at = Instant::now();
        let bytes = packet.data().get(l3_offset..);
        let Some(reply) = bytes.and_then(|bytes| match bytes.first()? >> 4 {
            4 => echo4(bytes, at),
            _ => echo6(bytes, at),
        }) else {
            return;
        };
        if let Some(waiting) = self.pings.get(&reply.ident) {
            // The ping may have ended meanwhile.
            let _ = waiting.send(reply);
        }
    }

    /// Gives a `ping` an identifier of its own, under which replies come to `waiting`; `None` when
    /// all are taken.
    pub fn register_ping(&mut self, waiting: UnboundedSender<EchoReply>) -> Option<u16> {
        let free = (0..=u16::MAX)
            .map(|offset| self.next_ping.wrapping_add(offset))
            .find(|ident| !self.pings.contains_key(ident))?;
        self.next_ping = free.wrapping_add(1);
        self.pings.insert(free, waiting);
        Some(free)
    }

    /// Takes the identifier of a `ping` back.
    pub fn end_ping(&mut self, ident: u16) {
        self.pings.remove(&ident);
    }

    /// Frees the packets among events that nobody will take up any more; for a clean end.
    pub fn discard_events(&mut self) {
        let mut garbage = Vec::new();
        for worker in &self.workers {
            while worker.shared.next_swapped().is_some() {}
            while let Some(event) = worker.shared.next_event() {
                if let Event::Punt { packet, .. } = event {
                    garbage.push(packet);
                }
            }
        }
        self.hardware.free(&mut garbage);
    }
}
