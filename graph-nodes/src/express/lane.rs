//! [`Lane`]: the two stages of ordinary packets of one family.

use balancer::{
    Address, AsId, Balancer, Decision, Direction, FlowState, FlowTuple, KeyKind, NewEntry, Passing,
    TcpFlags, Timeouts, Updates, VipId,
};
use dataplane::family::Family;
use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::node::NodeCx;
use dataplane::wire::ip::IpHeader;
use dataplane::worker::WorkerShared;

use super::client_way::{next_hop, rename};
use super::declined::Declined;
use super::destinations::{Destination, Destinations};
use super::flow_job::FlowJob;
use super::gate::Gate;
use super::ordinary::{L3, Link, Ordinary, OrdinaryFamily};
use super::readdress::Readdress;
use super::run::Run;
use super::server_ways::ServerWays;
use super::services::{Service, Services, Source};
use super::{Counter, LbExpress, Next, STAGE};
use crate::ip_input::{SAMPLE_EVERY, check_source, has_partial_checksum};

type Cx<'a> = NodeCx<'a, LbExpress>;

/// What became of a packet of a flow that may have an AS.
enum Sent {
    /// It has one: where the packet leaves; `None` leaves it as it was, to the other nodes.
    Known(Option<InterfaceId>),
    Unknown,
}

/// An ordinary packet that has arrived.
#[derive(Clone, Copy, Debug)]
struct Arrived<A> {
    packet: Ordinary<A>,
    /// Replies arrive where it did.
    nat_in: bool,
    /// The slot in the frame.
    at: u8,
}

impl<A: Address> Arrived<A> {
    fn none() -> Self {
        let (src, dst) = (A::from_bits(0), A::from_bits(0));
        let tuple = FlowTuple { src, dst, src_port: 0, dst_port: 0, protocol: 0 };
        let packet = Ordinary { tuple, flags: TcpFlags::NONE, len: 0, unsummed: false };
        Self { packet, nat_in: false, at: 0 }
    }
}

/// Packets of one family on their way, and what is remembered for them.
#[derive(Debug)]
pub(super) struct Lane<F: OrdinaryFamily + Readdress> {
    destinations: Destinations<F>,
    /// What the packets of a group are, before their flows are located.
    packets: [Arrived<F::Address>; STAGE],
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
            packets: [Arrived::none(); STAGE],
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
    #[inline]
    pub(super) fn gather(
        &mut self,
        cx: &Cx<'_>,
        gate: &mut Gate,
        frame: &Frame,
        start: usize,
        wanted: u32,
    ) -> u32 {
        let arrived = self.receive(cx, gate, frame, start, wanted).min(STAGE);
        // Two loops, as one body for both runs out of registers.
        let nat_in = self.packets[..arrived].iter().any(|arrived| arrived.nat_in);
        if nat_in {
            self.locate_replies(cx, arrived);
        } else {
            self.locate(cx, arrived);
        }
        let taken = self.jobs[..self.waiting]
            .iter()
            .fold(0, |taken: u32, job| taken | 1 << (usize::from(job.at) - start));
        wanted & !taken
    }

    /// Reads the ordinary ones of the packets that are wanted, and returns how many there are.
    #[inline(never)]
    fn receive(
        &mut self,
        cx: &Cx<'_>,
        gate: &mut Gate,
        frame: &Frame,
        start: usize,
        wanted: u32,
    ) -> usize {
        let end = frame.len().min(start + STAGE);
        let interfaces = &frame.lanes.rx_interface[start..end];
        let mut arrived = 0;
        for (index, (slot, rx)) in frame.packets()[start..end].iter().zip(interfaces).enumerate() {
            let Some(packet) = slot.as_ref().filter(|_| wanted >> index & 1 != 0) else { continue };
            gate.turn_to(cx.snapshot, *rx);
            let data = packet.data();
            let ours = Link::of(data).is_some_and(|link| {
                link.station == gate.station && link.ether_type == F::ETHER_TYPE
            });
            if !ours || !packet.is_plain() || F::V6 && !gate.ip6 {
                continue;
            }
            if let Some(packet) = F::read(data) {
                let nat_in = gate.nat_in[usize::from(F::V6)];
                let at = (start + index) as u8;
                self.packets[arrived % STAGE] = Arrived { packet, nat_in, at };
                arrived += 1;
            }
        }
        arrived
    }

    /// Finds the VIPs of the first packets that have arrived, and where their flows' entries are.
    fn locate(&mut self, cx: &Cx<'_>, arrived: usize) {
        self.waiting = 0;
        let Some(Arrived { packet, .. }) = self.packets[..arrived].first() else { return };
        let Some(&destination) = self.destinations.find(cx.snapshot, &packet.tuple) else {
            return self.locate_each(cx, arrived);
        };
        let last = &self.destinations;
        let one = self.packets[..arrived].iter().all(|other| last.is_last(&other.packet.tuple));
        let Destination { kind, nat, mss, target, .. } = destination;
        match (kind, target) {
            _ if !one || mss => self.locate_each(cx, arrived),
            (KeyKind::Exact, Some(port)) => {
                self.locate_all(cx, arrived, &destination, KeyKind::Exact, port);
            }
            (KeyKind::Full, Some(port)) => {
                self.locate_all(cx, arrived, &destination, KeyKind::Full, port);
            }
            // Without NAT nobody asks for the port.
            (KeyKind::Tag, _) if !nat => {
                self.locate_all(cx, arrived, &destination, KeyKind::Tag, 0);
            }
            _ => self.locate_each(cx, arrived),
        }
    }

    /// The same for packets to one VIP, of which everything but the flow is known.
    #[inline(always)]
    fn locate_all(
        &mut self,
        cx: &Cx<'_>,
        arrived: usize,
        destination: &Destination,
        kind: KeyKind,
        port: u16,
    ) {
        let (vip, sticky) = (destination.vip, &cx.worker.sticky);
        let tunnel_sources = cx.snapshot.tunnel_policy.has_sources();
        let mut waiting = 0;
        for (from, Arrived { packet, at, .. }) in self.packets[..arrived].iter().enumerate() {
            let Ordinary { tuple, flags, len, unsummed } = packet;
            if destination.nat && *unsummed
                || is_forged::<F>(cx, (tuple.src, tuple.dst), tunnel_sources)
            {
                continue;
            }
            let located = sticky.locate(kind, vip, tuple);
            sticky.prefetch(&located, kind);
            let passing = Passing::new(Direction::ToServer, *flags);
            let (subject, from) = (vip.get(), from as u8);
            self.jobs[waiting % STAGE] =
                FlowJob { located, subject, len: *len, port, at: *at, from, passing, kind };
            waiting += 1;
        }
        self.waiting = waiting;
    }

    /// The same for packets to several.
    #[inline(never)]
    fn locate_each(&mut self, cx: &Cx<'_>, arrived: usize) {
        let mut waiting = 0;
        for from in 0..arrived {
            if let Some(job) = self.vip_job(cx, from) {
                cx.worker.sticky.prefetch(&job.located, job.kind);
                self.jobs[waiting % STAGE] = job;
                waiting += 1;
            }
        }
        self.waiting = waiting;
    }

    /// The same where packets may be ASs' replies.
    #[inline(never)]
    fn locate_replies(&mut self, cx: &Cx<'_>, arrived: usize) {
        let mut waiting = 0;
        for from in 0..arrived {
            let Arrived { packet, nat_in, at } = self.packets[from % STAGE];
            let job = match self.services.find(cx.snapshot, &packet.tuple) {
                (position, Source::One(service)) if nat_in => {
                    reply_job(cx, service, position, &packet, (at, from as u8))
                }
                (_, Source::Involved) if nat_in => None,
                _ => self.vip_job(cx, from),
            };
            if let Some(job) = job {
                cx.worker.sticky.prefetch(&job.located, job.kind);
                self.jobs[waiting % STAGE] = job;
                waiting += 1;
            }
        }
        self.waiting = waiting;
    }

    /// A packet that may be for a VIP, among others.
    fn vip_job(&mut self, cx: &Cx<'_>, from: usize) -> Option<FlowJob> {
        let Arrived { packet, at, .. } = self.packets[from % STAGE];
        let Ordinary { tuple, flags, len, unsummed } = packet;
        let tunnel_sources = cx.snapshot.tunnel_policy.has_sources();
        if is_forged::<F>(cx, (tuple.src, tuple.dst), tunnel_sources) {
            return None;
        }
        let &Destination { vip, kind, nat, mss, target } =
            self.destinations.find(cx.snapshot, &tuple)?;
        if mss && flags.contains(TcpFlags::SYN) || nat && unsummed {
            return None;
        }
        let port = match target {
            Some(port) => port,
            None => cx.snapshot.lb.vip(vip)?.target_port(tuple.dst_port),
        };
        Some(FlowJob {
            located: cx.worker.sticky.locate(kind, vip, &tuple),
            subject: vip.get(),
            len,
            port,
            at,
            from: from as u8,
            passing: Passing::new(Direction::ToServer, flags),
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
        let first = usize::from(self.jobs[0].at);
        let rx = frame.lanes.rx_interface[first];
        let partial = is_due::<F>(cx, rx) && is_partial::<F>(frame.data(first));
        if partial {
            declined.add_ordinary::<F>(frame.data(first));
        }
        let mut received = Run::of(rx);
        let mut existing = Run::of(self.jobs[0].subject);
        let mut forwarded = 0;
        for index in usize::from(partial)..waiting {
            let job = &self.jobs[index];
            let (at, subject, reply) = (usize::from(job.at), job.subject, job.passing.is_reply());
            if declined.any() && Self::follows_declined(frame, at, declined) {
                continue;
            }
            let leaves = if reply {
                self.send_back(cx, frame, index)
            } else {
                match self.send(cx, frame, index) {
                    Sent::Known(leaves) => {
                        if leaves.is_some() && !existing.add(subject) {
                            count_existing(&cx.worker.shared, existing);
                            existing = Run { of: subject, packets: 1 };
                        }
                        leaves
                    }
                    Sent::Unknown => self.send_new(cx, frame, index),
                }
            };
            let Some(interface) = leaves else {
                declined.add_ordinary::<F>(frame.data(at));
                continue;
            };
            forwarded += 1;
            let rx = frame.lanes.rx_interface[at];
            if !received.add(rx) {
                count_received::<F>(&cx.worker.shared, received);
                received = Run { of: rx, packets: 1 };
            }
            frame.lanes.tx_interface[at] = interface;
            cx.set_next(at, Next::Output);
        }
        count_existing(&cx.worker.shared, existing);
        count_received::<F>(&cx.worker.shared, received);
        self.forwarded += u64::from(forwarded);
        if !partial {
            sampled::<F>(cx, rx, forwarded);
        }
    }

    #[cold]
    fn follows_declined(frame: &Frame, at: usize, declined: &Declined) -> bool {
        F::read(frame.data(at))
            .is_some_and(|packet| declined.has(packet.tuple.src, packet.tuple.dst))
    }

    /// Sends a packet to the AS of its flow, if it has one.
    #[inline(always)]
    fn send(&mut self, cx: &mut Cx<'_>, frame: &mut Frame, index: usize) -> Sent {
        let job = &self.jobs[index];
        let at = usize::from(job.at);
        let flow = &self.packets[usize::from(job.from) % STAGE].packet.tuple;
        let known = match job.kind {
            KeyKind::Full => cx.worker.sticky.known(&job.located, Some(flow), cx.now.tick_s),
            _ => cx.worker.sticky.known::<F::Address>(&job.located, None, cx.now.tick_s),
        };
        let Some(known) = known else { return Sent::Unknown };
        let value = known.value;
        let server = value.as_id();
        let way = self.servers.to(cx.snapshot, server);
        // A SYN may start another connection.
        if job.passing.opens() || !way.is_of(value.epoch()) {
            return Sent::Unknown;
        }
        known.keep(job.passing, &self.updates);
        let Some(packet) = frame.packet_mut(at) else { return Sent::Known(None) };
        if !way.takes(job.len) || !way.change(packet, cx.snapshot, cx.worker, flow, job.port) {
            return Sent::Known(None);
        }
        count_sent(cx, server, job.len);
        Sent::Known(Some(way.interface))
    }

    /// Chooses the AS of a flow that has no entry here, where that cannot end in a refusal, and sends
    /// its packet there.
    #[inline(never)]
    fn send_new(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &mut Frame,
        index: usize,
    ) -> Option<InterfaceId> {
        let job = self.jobs[index];
        let at = usize::from(job.at);
        let Ordinary { tuple, flags, .. } = self.packets[usize::from(job.from) % STAGE].packet;
        let lb = &cx.snapshot.lb;
        let vip = lb.vip(VipId::new(job.subject)?)?;
        let first = vip.server_for(lb.hasher.hash(&tuple, vip.src_ip_sticky))?;
        let way = self.servers.to(cx.snapshot, first);
        if vip.rotation.is_some() || !way.takes(job.len) || !way.is_alone() || any_direct(cx) {
            return None;
        }
        let state = FlowState::first(tuple.protocol, flags);
        let expiry_tick = lb.timeouts.expiry_tick(state, cx.now.tick_s);
        let epoch = lb.epoch_of(first)?;
        let entry = NewEntry { as_id: first, epoch, state, expiry_tick };
        let nobody_else = flags.opens() || cx.snapshot.sticky_tables.len() <= 1;
        let simple = job.kind != KeyKind::Full && nobody_else;
        let decision = if simple && cx.worker.sticky.admit(&job.located, entry) {
            Decision::New(first)
        } else {
            let (owner, peers) = (&mut cx.worker.sticky, &cx.snapshot.sticky_tables);
            let mut balancer = Balancer { tables: lb, owner, peers, now_s: cx.now.tick_s };
            balancer.select(vip, &tuple, flags)
        };
        let server = decision.server()?;
        let way = self.servers.to(cx.snapshot, server);
        let packet = frame.packet_mut(at)?;
        if !way.takes(job.len) || !way.change(packet, cx.snapshot, cx.worker, &tuple, job.port) {
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
    ) -> Option<InterfaceId> {
        let job = &self.jobs[index];
        let service = self.services.at(job.subject as u16)?;
        let at = usize::from(job.at);
        let reply = &self.packets[usize::from(job.from) % STAGE].packet.tuple;
        let to = next_hop::<F>(cx.snapshot, reply.dst, job.len)?;
        let known = match job.kind {
            KeyKind::Full => {
                let flow = reply.reversed();
                let (dst, dst_port) = (service.client_view.address, service.port);
                let flow = FlowTuple { dst, dst_port, ..flow };
                cx.worker.sticky.known(&job.located, Some(&flow), cx.now.tick_s)?
            }
            _ => cx.worker.sticky.known::<F::Address>(&job.located, None, cx.now.tick_s)?,
        };
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
        self.translated += 1;
        Some(to.interface)
    }

    /// After the last packet of a frame; returns how many left from here.
    pub(super) fn end(&mut self, cx: &Cx<'_>) -> u64 {
        let [forwarded, translated] =
            [&mut self.forwarded, &mut self.translated].map(std::mem::take);
        if forwarded > 0 {
            cx.count(Counter::Forwarded, forwarded);
        }
        if translated > 0 {
            let counter = if F::V6 { Counter::Translated6 } else { Counter::Translated4 };
            cx.count(counter, translated);
        }
        forwarded
    }
}

/// Counts packets of known flows to a VIP.
#[inline(never)]
fn count_existing(shared: &WorkerShared, run: Run<u32>) {
    if run.packets > 0
        && let Some(stats) = shared.vips.get(run.of as usize)
    {
        stats.existing.add(run.packets);
    }
}

/// Counts packets that an interface received.
#[inline(never)]
fn count_received<F: Family>(shared: &WorkerShared, run: Run<InterfaceId>) {
    if run.packets > 0
        && let Some(stats) = shared.interfaces.get(run.of.index())
    {
        let counter = if F::V6 { &stats.ip6 } else { &stats.ip4 };
        counter.add(run.packets);
    }
}

/// The job of a packet that answers for a VIP.
#[inline]
fn reply_job<A: Address>(
    cx: &Cx<'_>,
    service: &Service<A>,
    position: u16,
    packet: &Ordinary<A>,
    (at, from): (u8, u8),
) -> Option<FlowJob> {
    if service.mss && packet.flags.contains(TcpFlags::SYN) {
        return None;
    }
    Some(FlowJob {
        located: cx.worker.sticky.locate(service.kind, service.vip, &packet.tuple.reversed()),
        subject: u32::from(position),
        len: packet.len,
        port: 0,
        at,
        from,
        passing: Passing::new(Direction::ToClient, packet.flags),
        kind: service.kind,
    })
}

/// Whether the FIB has something against the source of a packet.
#[inline(always)]
fn is_forged<F: Family>(
    cx: &Cx<'_>,
    addresses: (F::Address, F::Address),
    tunnel_sources: bool,
) -> bool {
    (tunnel_sources || F::may_be_ours(cx.snapshot, addresses.0))
        && check_source::<F>(cx.snapshot, addresses, false).is_some()
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
