//! [`Lane`]: the two stages of ordinary packets of one family.

use balancer::{
    AsId, Balancer, Decision, Direction, FlowTuple, KeyKind, Passing, TcpFlags, Timeouts, Updates,
    VipId,
};
use dataplane::family::Family;
use dataplane::frame::{FRAME_MAX, Frame};
use dataplane::interface::InterfaceId;
use dataplane::node::NodeCx;
use dataplane::packet::Packet;
use dataplane::wire::ip::IpHeader;

use super::client_way::{next_hop, rename};
use super::declined::Declined;
use super::destinations::{Destination, Destinations};
use super::flow_job::{FlowJob, Role};
use super::gate::Gate;
use super::ordinary::{L3, Link, Ordinary, OrdinaryFamily};
use super::readdress::Readdress;
use super::server_ways::ServerWays;
use super::services::{Service, Services, Source};
use super::tally::Tally;
use super::{Counter, LbExpress, Next, STAGE};
use crate::ip_input::{SAMPLE_EVERY, check_source, has_partial_checksum};

type Cx<'a> = NodeCx<'a, LbExpress>;

/// Packets of one family on their way, and what is remembered for them.
#[derive(Debug)]
pub(super) struct Lane<F: OrdinaryFamily + Readdress> {
    destinations: Destinations<F>,
    services: Services<F>,
    servers: ServerWays<F>,
    jobs: [FlowJob; STAGE],
    /// How many there are.
    waiting: usize,
    updates: Updates,
    forwarded: u64,
    translated: u64,
}

impl<F: OrdinaryFamily + Readdress> Default for Lane<F> {
    fn default() -> Self {
        Self {
            destinations: Destinations::default(),
            services: Services::default(),
            servers: ServerWays::default(),
            jobs: [FlowJob::none(); STAGE],
            waiting: 0,
            updates: Updates::new(&Timeouts::default(), 0),
            forwarded: 0,
            translated: 0,
        }
    }
}

impl<F: OrdinaryFamily + Readdress> Lane<F> {
    /// Before the first packet of a frame.
    pub(super) fn begin(&mut self, cx: &Cx<'_>) {
        self.destinations.begin(cx.snapshot);
        self.updates.renew(&cx.snapshot.lb.timeouts, cx.now.tick_s);
    }

    /// First stage, for the packets of a group that are wanted: a bit for each, counted from slot
    /// `start` on. Checks them and fetches what is known of their flows; what it returns are those
    /// that are not for this lane.
    #[inline(never)]
    pub(super) fn gather(
        &mut self,
        cx: &Cx<'_>,
        gate: &mut Gate,
        frame: &Frame,
        start: usize,
        wanted: u32,
    ) -> u32 {
        let mut others = 0;
        for (index, slot) in frame.packets()[start..].iter().take(STAGE).enumerate() {
            if wanted >> index & 1 == 0 {
                continue;
            }
            let at = start + index;
            gate.turn_to(cx.snapshot, frame.lanes.rx_interface[at % FRAME_MAX]);
            let accepted =
                slot.as_ref().is_some_and(|packet| self.accept(cx, gate, packet, at as u8));
            others |= u32::from(!accepted) << index;
        }
        others
    }

    /// Takes a packet, if it is ordinary so far.
    #[inline(always)]
    fn accept(&mut self, cx: &Cx<'_>, gate: &Gate, packet: &Packet, at: u8) -> bool {
        let data = packet.data();
        let ours = Link::of(data)
            .is_some_and(|link| link.station == gate.station && link.ether_type == F::ETHER_TYPE);
        if !ours || packet.segments() != 1 || packet.stripped_vlan().is_some() || F::V6 && !gate.ip6
        {
            return false;
        }
        let Some(packet) = F::read(data) else { return false };
        let FlowTuple { src, dst, .. } = packet.tuple;
        if (gate.tunnel_sources || F::may_be_ours(cx.snapshot, src))
            && check_source::<F>(cx.snapshot, (src, dst), false).is_some()
        {
            return false;
        }
        let job = if gate.nat_in[usize::from(F::V6)] {
            self.reply_or_vip_job(cx, data, &packet, at)
        } else {
            self.vip_job(cx, data, &packet, at)
        };
        let Some(job) = job else { return false };
        cx.worker.sticky.prefetch(&job.located, job.kind);
        self.jobs[self.waiting % STAGE] = job;
        self.waiting += 1;
        true
    }

    /// A packet from where replies come from.
    #[inline]
    fn reply_or_vip_job(
        &mut self,
        cx: &Cx<'_>,
        data: &[u8],
        packet: &Ordinary<F::Address>,
        at: u8,
    ) -> Option<FlowJob> {
        let (position, source) = self.services.find(cx.snapshot, &packet.tuple);
        let &Service { vip, kind, mss, .. } = match source {
            Source::Stranger => return self.vip_job(cx, data, packet, at),
            Source::Involved => return None,
            Source::One(service) => service,
        };
        if mss && packet.flags.contains(TcpFlags::SYN) {
            return None;
        }
        Some(FlowJob {
            located: cx.worker.sticky.locate(kind, vip, &packet.tuple.reversed()),
            role: Role::Reply(position),
            len: packet.len,
            port: 0,
            at,
            upper: packet.tuple.protocol,
            passing: Passing::new(Direction::ToClient, packet.flags),
            kind,
        })
    }

    /// A packet that may be for a VIP.
    #[inline(always)]
    fn vip_job(
        &mut self,
        cx: &Cx<'_>,
        data: &[u8],
        packet: &Ordinary<F::Address>,
        at: u8,
    ) -> Option<FlowJob> {
        let tuple = &packet.tuple;
        let &Destination { vip, kind, nat, mss, target } =
            self.destinations.find(cx.snapshot, tuple)?;
        if mss && packet.flags.contains(TcpFlags::SYN) || F::V6 && nat && F::lacks_checksum(data) {
            return None;
        }
        let port = match target {
            Some(port) => port,
            None => cx.snapshot.lb.vip(vip)?.target_port(tuple.dst_port),
        };
        Some(FlowJob {
            located: cx.worker.sticky.locate(kind, vip, tuple),
            role: Role::ToVip(vip),
            len: packet.len,
            port,
            at,
            upper: tuple.protocol,
            passing: Passing::new(Direction::ToServer, packet.flags),
            kind,
        })
    }

    /// Second stage: looks up the flows of the packets that were accepted, and sends them on.
    #[inline(never)]
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, frame: &mut Frame, declined: &mut Declined) {
        let waiting = std::mem::take(&mut self.waiting).min(STAGE);
        if waiting == 0 {
            return;
        }
        if cx.worker.sticky.is_large() {
            for job in &self.jobs[..waiting] {
                cx.worker.sticky.prefetch_second(&job.located);
            }
        }
        let mut tally = Tally::default();
        let first = usize::from(self.jobs[0].at);
        let rx = frame.lanes.rx_interface[first];
        let partial = is_due::<F>(cx, rx) && is_partial::<F>(frame.data(first));
        for index in 0..waiting {
            let at = usize::from(self.jobs[index].at);
            if declined.any() && Self::follows_declined(frame, at, declined) {
                continue;
            }
            let leaves = match self.jobs[index].role {
                _ if partial && index == 0 => None,
                Role::ToVip(vip) => self.send(cx, frame, index, vip, &mut tally),
                Role::Reply(position) => self.send_back(cx, frame, index, position, &mut tally),
            };
            let Some(interface) = leaves else {
                declined.add_ordinary::<F>(frame.data(at));
                continue;
            };
            tally.forwarded(frame.lanes.rx_interface[at], F::V6, &cx.worker.shared);
            frame.lanes.tx_interface[at] = interface;
            cx.set_next(at, Next::Output);
        }
        tally.finish(F::V6, &cx.worker.shared);
        self.forwarded += u64::from(tally.forwarded);
        self.translated += u64::from(tally.translated);
        if !partial {
            sampled::<F>(cx, rx, tally.forwarded);
        }
    }

    #[cold]
    fn follows_declined(frame: &Frame, at: usize, declined: &Declined) -> bool {
        F::read(frame.data(at))
            .is_some_and(|packet| declined.has(packet.tuple.src, packet.tuple.dst))
    }

    /// Sends a packet to the AS of its flow. `None` leaves it as it was, to the other nodes.
    #[inline(always)]
    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &mut Frame,
        index: usize,
        vip: VipId,
        tally: &mut Tally,
    ) -> Option<InterfaceId> {
        let job = &self.jobs[index];
        let at = usize::from(job.at);
        let known = match job.kind {
            KeyKind::Full => {
                let flow = F::read(frame.data(at))?.tuple;
                cx.worker.sticky.known(&job.located, Some(&flow), cx.now.tick_s)
            }
            _ => cx.worker.sticky.known::<F::Address>(&job.located, None, cx.now.tick_s),
        };
        let Some(known) = known else { return self.send_new(cx, frame, index, vip) };
        let value = known.value;
        let server = value.as_id();
        let way = self.servers.to(cx.snapshot, server);
        // A SYN may start another connection.
        if job.passing.opens() || !way.is_of(value.epoch()) {
            return self.send_new(cx, frame, index, vip);
        }
        known.keep(job.passing, &self.updates);
        let packet = frame.packet_mut(at)?;
        if !way.takes(job.len) || !way.change(packet, cx.snapshot, cx.worker, job.port) {
            return None;
        }
        count_sent(cx, server, job.len);
        tally.existing(vip, &cx.worker.shared);
        Some(way.interface)
    }

    /// Chooses the AS of a flow that has no entry here, where that cannot end in a refusal, and sends
    /// its packet there.
    #[inline(never)]
    fn send_new(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &mut Frame,
        index: usize,
        vip: VipId,
    ) -> Option<InterfaceId> {
        let job = self.jobs[index];
        let at = usize::from(job.at);
        let packet = F::read(frame.data(at))?;
        let lb = &cx.snapshot.lb;
        let vip = lb.vip(vip)?;
        let first = vip.server_for(lb.hasher.hash(&packet.tuple, vip.src_ip_sticky))?;
        if vip.rotation.is_some() || !self.servers.to(cx.snapshot, first).takes(job.len) {
            return None;
        }
        let alone = || {
            let address = F::address(lb.server(first)?.address)?;
            lb.reverse.get(address, job.port, job.upper)?.only_candidate()
        };
        if vip.nat && (job.kind != KeyKind::Exact || alone().is_none() || any_direct(cx)) {
            return None;
        }
        let mut balancer = Balancer {
            tables: lb,
            owner: &mut cx.worker.sticky,
            peers: &cx.snapshot.sticky_tables,
            now_s: cx.now.tick_s,
        };
        let decision = balancer.select(vip, &packet.tuple, packet.flags);
        let server = decision.server()?;
        let way = self.servers.to(cx.snapshot, server);
        if !way.takes(job.len)
            || !way.change(frame.packet_mut(at)?, cx.snapshot, cx.worker, job.port)
        {
            return None;
        }
        count_sent(cx, server, job.len);
        let stats = cx.worker.shared.vips.get(vip.id.index())?;
        match decision {
            Decision::Existing(_) => stats.existing.add(1),
            Decision::New(_) => stats.first.add(1),
            _ => stats.untracked.add(1),
        }
        Some(way.interface)
    }

    /// Sends an AS's packet to the client that it answers. `None` leaves it to the other nodes.
    #[inline(always)]
    fn send_back(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &mut Frame,
        index: usize,
        position: u16,
        tally: &mut Tally,
    ) -> Option<InterfaceId> {
        let job = &self.jobs[index];
        let service = self.services.at(position)?;
        let at = usize::from(job.at);
        let packet = F::read(frame.data(at))?;
        let to = next_hop::<F>(cx.snapshot, packet.tuple.dst, job.len)?;
        let flow = packet.tuple.reversed();
        let full = (job.kind == KeyKind::Full).then_some(FlowTuple {
            dst: service.client_view.address,
            dst_port: service.port,
            ..flow
        });
        let known = cx.worker.sticky.known(&job.located, full.as_ref(), cx.now.tick_s)?;
        let way = self.servers.to(cx.snapshot, service.server);
        if known.value.as_id() != service.server || !way.is_of(known.value.epoch()) {
            return None;
        }
        known.keep(job.passing, &self.updates);
        if !rename::<F>(frame.packet_mut(at)?, service, to) {
            return None;
        }
        if let Some(stats) = cx.worker.shared.servers.get(service.server.index()) {
            stats.reply_packets.add(1);
            stats.reply_bytes.add(u64::from(job.len));
        }
        tally.translated += 1;
        Some(to.interface)
    }

    /// After the last packet of a frame.
    pub(super) fn end(&mut self, cx: &Cx<'_>) {
        let [forwarded, translated] =
            [&mut self.forwarded, &mut self.translated].map(std::mem::take);
        if forwarded > 0 {
            cx.count(Counter::Forwarded, forwarded);
        }
        if translated > 0 {
            let counter = if F::V6 { Counter::Translated6 } else { Counter::Translated4 };
            cx.count(counter, translated);
        }
    }
}

/// Counts a packet of so many bytes for the AS that it goes to.
#[inline(always)]
fn count_sent(cx: &Cx<'_>, server: AsId, len: u16) {
    if let Some(stats) = cx.worker.shared.servers.get(server.index()) {
        stats.packets.add(1);
        stats.bytes.add(u64::from(len));
    }
}

/// True when it is the turn of a packet of this interface to be looked at: has it a checksum that a
/// network card should have made?
#[inline]
fn is_due<F: Family>(cx: &Cx<'_>, rx: InterfaceId) -> bool {
    cx.worker.until_sample[usize::from(F::V6)].get(rx.index()) == Some(&0)
}

/// True of an ordinary packet that has. It is not for the express way: `ip4-input` or `ip6-input`
/// counts it.
#[cold]
fn is_partial<F: Family>(data: &[u8]) -> bool {
    F::Header::upper_layer(data, L3)
        .is_ok_and(|upper| has_partial_checksum::<F::Header>(data, L3, &upper))
}

/// After packets of an interface, the first of which was looked at if it was its turn.
#[inline]
fn sampled<F: Family>(cx: &mut Cx<'_>, rx: InterfaceId, packets: u32) {
    if let Some(until) = cx.worker.until_sample[usize::from(F::V6)].get_mut(rx.index()) {
        let left = if *until == 0 { SAMPLE_EVERY } else { *until };
        *until = left.saturating_sub(packets);
    }
}

/// Whether some client speaks to an AS past its VIP.
fn any_direct(cx: &Cx<'_>) -> bool {
    let own = [cx.worker.sticky.table()];
    let mut all = cx.snapshot.sticky_tables.iter().chain(own);
    all.any(|table| table.live_flows().direct() > 0)
}
