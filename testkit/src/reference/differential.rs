//! [`Differential`]: the graph and the reference side by side.
//!
//! Both get the same frames, time and changes; after every step everything that can be seen of them
//! must be equal: frames sent, counters, events, packets held, flows per AS. And no packet may be
//! lost: what came in was sent, dropped for a reason, held, punted or dealt with.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use balancer::{AsId, FlowTuple, InstanceKey, Prefix, Protocol, StickyOwner, StickyTable, VipId};
use dataplane::event::{Event, Request};
use dataplane::frame::FRAME_MAX;
use dataplane::graph::GraphInfo;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::snapshot::Snapshot;
use dataplane::sync::qsbr::Publisher;
use dataplane::worker::{PollMode, RxAssignment, Worker, WorkerShared, WorkerState};

use super::bursts;
use super::config::{Config, Kind};
use super::forward::HELD_MAX;
use super::ip::{Header, TCP};
use super::outcome::{Outcome, Reason, VipCounts};
use super::player::Player;
use super::scenario::{Action, Change, Scenario, Step, Universe};
use super::service::{Ports, VipKey};
use super::upper::Tuple;
use super::{NewFlowOrder, Reference};
use crate::fake_mbuf::{self, FakePool};
use crate::memory_io::MemoryIo;
use crate::virtual_clock::VirtualClock;

/// Sticky buckets of the worker: many more entries than a scenario has flows, so that the table
/// never is full; what a full one does is for `balancer`'s own tests.
const BUCKETS: u64 = 1024;
/// Buckets that a worker sweeps per turn, at least.
const SWEPT_PER_TURN: usize = 16;
/// Buffers of the worker.
const MBUFS: usize = 8192;
/// The second in which every scenario starts.
pub const START_S: u32 = 65_500;

/// What stands between a configuration and the workers: control, or something simpler.
pub trait Compiler {
    /// A box with this configuration.
    fn start(config: &Config) -> Self;
    /// Makes a change; false if it was refused.
    fn change(&mut self, change: &Change) -> bool;
    /// Forgets removed ASs without flows; `live_flows` is by AS. True if that changed anything.
    fn collect(&mut self, live_flows: &dyn Fn(AsId) -> u32) -> bool;
    /// The state for the workers.
    fn snapshot(&mut self, generation: u64, tables: Vec<Arc<StickyTable>>) -> Snapshot;
    /// The id of a VIP.
    fn vip(&self, key: &VipKey) -> VipId;
}

/// The new-flow tables of a snapshot.
struct Tables<'a>(&'a Snapshot);

/// A tuple as the product has it.
enum ProductTuple {
    V4(FlowTuple<Ipv4Addr>),
    V6(FlowTuple<Ipv6Addr>),
}

fn product_tuple(tuple: &Tuple) -> ProductTuple {
    let (src_port, dst_port) = (tuple.source_port, tuple.destination_port);
    let protocol = tuple.protocol;
    match (tuple.source, tuple.destination) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            ProductTuple::V4(FlowTuple { src, dst, src_port, dst_port, protocol })
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            ProductTuple::V6(FlowTuple { src, dst, src_port, dst_port, protocol })
        }
        _ => panic!("both families in {tuple:?}"),
    }
}

/// A key as the product has it.
pub fn product_key(key: &VipKey) -> balancer::VipKey {
    let prefix = Prefix { network: key.network, len: key.prefix_len };
    let ports = match key.ports {
        Ports::All => balancer::Ports::All,
        Ports::Range { protocol, first, last } => {
            let protocol = if protocol == TCP { Protocol::Tcp } else { Protocol::Udp };
            balancer::Ports::Range { protocol, first, last }
        }
    };
    balancer::VipKey { prefix, ports }
}

/// A key as the reference has it.
fn reference_key(key: &balancer::VipKey) -> VipKey {
    let ports = match key.ports {
        balancer::Ports::All => Ports::All,
        balancer::Ports::Range { protocol, first, last } => {
            Ports::Range { protocol: protocol.number(), first, last }
        }
    };
    VipKey { network: key.prefix.network, prefix_len: key.prefix.len, ports }
}

impl Tables<'_> {
    fn hash(&self, tuple: &Tuple, src_ip_sticky: bool) -> u64 {
        let hasher = &self.0.lb.hasher;
        match product_tuple(tuple) {
            ProductTuple::V4(tuple) => hasher.hash(&tuple, src_ip_sticky),
            ProductTuple::V6(tuple) => hasher.hash(&tuple, src_ip_sticky),
        }
    }
}

impl NewFlowOrder for Tables<'_> {
    fn order(&self, key: &VipKey, tuple: &Tuple) -> Vec<IpAddr> {
        let (lb, key) = (&self.0.lb, product_key(key));
        let Some(vip) = lb.vips.iter().flatten().find(|vip| vip.key == key) else {
            return Vec::new();
        };
        let first = vip.table.slot_of(self.hash(tuple, vip.src_ip_sticky));
        let length = vip.table.length().get() as usize;
        let mut order = Vec::new();
        for step in 0..length.min(balancer::CLASH_SLOTS_MAX) {
            let server = vip.server_in_slot((first + step) % length).and_then(|id| lb.server(id));
            if let Some(server) = server
                && !order.contains(&server.address)
            {
                order.push(server.address);
            }
        }
        order
    }

    fn entropy(&self, tuple: &Tuple) -> u64 {
        self.hash(tuple, false)
    }
}

/// How packets reach the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// So many workers share a snapshot and read each other's flows; bursts of packets arrive at
    /// them by turns.
    pub workers: usize,
    /// Large packets are spread over several buffers, behind their headers.
    pub segmented: bool,
    /// Nothing takes the express way.
    pub plain: bool,
    /// Packets lie right before pages that nobody may touch.
    pub guarded: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { workers: 1, segmented: false, plain: false, guarded: false }
    }
}

/// Where segmented packets are cut: behind what an ICMP error quotes, as the graph quotes the first
/// buffer only.
const CUTS: [usize; 2] = [1300, 1327];

/// The graph, the reference, and what connects them.
pub struct Differential<C> {
    compiler: C,
    reference: Reference,
    workers: Vec<Worker<MemoryIo, VirtualClock>>,
    style: Style,
    publisher: Publisher<Snapshot>,
    info: GraphInfo,
    player: Player,
    last_frame: Option<(u16, Vec<u8>)>,
    /// By worker: counter values at the end of the last step.
    before: Vec<Vec<u64>>,
    /// By worker and VIP: what a VIP that comes back counts begins anew.
    vips_before: BTreeMap<(usize, VipId), VipCounts>,
    totals: Totals,
    /// Frames that arrived and left so far.
    arrived: u64,
    left: u64,
    /// Packets on hold.
    held: u64,
    /// Only the order within flows counts.
    loose: bool,
}

impl<C: Compiler> Differential<C> {
    /// Both in the scenario's configuration.
    ///
    /// # Panics
    /// When the graph cannot be built.
    pub fn new(scenario: &Scenario) -> Self {
        Self::with_style(scenario, Style::default())
    }

    /// As [`Self::new`], with packets arriving like this.
    ///
    /// # Panics
    /// When the graph cannot be built.
    pub fn with_style(scenario: &Scenario, style: Style) -> Self {
        let config = &scenario.universe.config;
        let mut compiler = C::start(config);
        let info = graph_nodes::builder().info().expect("the graph is complete");
        let sticky: Vec<StickyOwner> = (0..style.workers)
            .map(|_| {
                let key = InstanceKey::from_bytes([7; 32]);
                StickyOwner::new(BUCKETS, key, 4096).expect("a power of two")
            })
            .collect();
        let tables = sticky.iter().map(|owner| Arc::clone(owner.table())).collect();
        let snapshot = compiler.snapshot(1, tables);
        let mut publisher = Publisher::new(Box::new(snapshot), style.workers);
        let workers = sticky
            .into_iter()
            .enumerate()
            .map(|(at, sticky)| {
                let mut worker = worker(at, style.plain, config, sticky, &info, &mut publisher);
                if style.guarded {
                    worker.io.pool = FakePool::guarded(MBUFS);
                }
                worker
            })
            .collect();
        let mut reference = Reference::with_workers(config.clone(), style.workers);
        reference.now_s = START_S;
        reference.scope = scenario.universe.scope;
        Self {
            compiler,
            reference,
            before: vec![vec![0; info.counters.len()]; style.workers],
            workers,
            style,
            publisher,
            info,
            player: Player::new(&scenario.universe),
            last_frame: None,
            vips_before: BTreeMap::new(),
            totals: Totals::default(),
            arrived: 0,
            left: 0,
            held: 0,
            loose: false,
        }
    }

    fn outstanding(&self) -> u64 {
        self.workers.iter().map(|worker| worker.io.pool.outstanding() as u64).sum()
    }

    /// Lets every worker work.
    fn work(&mut self) {
        self.workers.iter_mut().for_each(|worker| {
            worker.turn();
        });
    }

    /// Plays all steps, one packet per turn of the worker.
    ///
    /// # Errors
    /// The first difference.
    pub fn play(scenario: &Scenario) -> Result<(), String> {
        Self::play_in_style(scenario, Style::default())
    }

    /// As [`Self::play`], with packets arriving like this.
    ///
    /// # Errors
    /// The first difference.
    pub fn play_in_style(scenario: &Scenario, style: Style) -> Result<(), String> {
        let mut both = Self::with_style(scenario, style);
        for (at, step) in scenario.steps.iter().enumerate() {
            let action = both.player.act(step, &both.reference.config);
            both.act(&action)
                .map_err(|why| format!("step {at} {step:?} = {action:02x?}:\n{why}"))?;
        }
        both.audit()?;
        both.finish()
    }

    /// Plays steps of packets, all of them in one turn of the worker, in an order that only each
    /// flow keeps: packets that stay in the graph longer, such as errors, overtake nobody of their
    /// own kind but may be overtaken by others.
    ///
    /// # Errors
    /// What differs.
    pub fn play_burst(universe: &Universe, burst: &[Step]) -> Result<(), String> {
        let scenario = Scenario { universe: universe.clone(), steps: Vec::new() };
        let mut both = Self::new(&scenario);
        both.loose = true;
        let mut frames = Vec::new();
        for step in burst {
            let action = both.player.act(step, &both.reference.config);
            if let Action::Receive { interface, frame } = action {
                frames.push((interface, frame));
            }
        }
        bursts::choose(&mut frames, universe);
        both.receive(&frames)?;
        both.audit()?;
        both.finish()
    }

    /// Does one thing to both and compares.
    ///
    /// # Errors
    /// What differs.
    pub fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Receive { interface, frame } => {
                self.last_frame = Some((*interface, frame.clone()));
                self.receive(&[(*interface, frame.clone())])
            }
            Action::ReceiveEach(frames) => {
                for frame in frames {
                    self.last_frame = Some(frame.clone());
                    self.receive(std::slice::from_ref(frame))?;
                }
                Ok(())
            }
            Action::Repeat(times) => {
                let Some(frame) = self.last_frame.clone() else { return Ok(()) };
                self.receive(&vec![frame; *times])
            }
            Action::Wait(seconds) => {
                self.workers.iter_mut().for_each(|worker| worker.clock.advance(*seconds));
                self.reference.wait(*seconds);
                self.turn()
            }
            Action::Change(change) => {
                if self.compiler.change(change) {
                    self.reference.change(change);
                }
                self.publish();
                self.turn()
            }
            Action::Audit => self.audit(),
            Action::Resize(log2) => self.resize(1 << log2),
            Action::Nothing => Ok(()),
        }
    }

    /// Lets frames arrive in one burst.
    fn receive(&mut self, frames: &[(u16, Vec<u8>)]) -> Result<(), String> {
        let held = self.held;
        // A burst is one worker's.
        let at = self.arrived as usize % self.style.workers;
        let mut expected = Outcome { held, ..Outcome::default() };
        let snapshot = self.publisher.current();
        let before = (frames.len() > 1).then(|| self.reference.clone());
        for (interface, frame) in frames {
            expected.add(self.reference.receive_at(at, *interface, frame, &Tables(snapshot)));
        }
        if let Some(before) = before
            && 2 * frames.len() as u64 + expected.made > FRAME_MAX as u64
        {
            // More than a frame of the graph holds while a neighbour is not known, or while packets are
            // in it and all their pieces.
            self.reference = before;
            let (some, rest) = frames.split_at(frames.len() / 2);
            return self.receive(some).and_then(|()| self.receive(rest));
        }
        for (interface, frame) in frames {
            let io = &mut self.workers[at].io;
            let packet = match self.style.segmented && is_cut(frame) {
                true => io.pool.segmented(frame, &CUTS),
                false => io.pool.packet(frame),
            };
            io.arrive(port(*interface), QueueId(0), packet);
        }
        self.arrived += frames.len() as u64;
        // Also those that were held until this one came.
        let packets = frames.len() as u64 + held;
        self.compare(expected, packets, packets > 1)
    }

    fn turn(&mut self) -> Result<(), String> {
        let held = self.held;
        let expected = self.reference.turn(&Tables(self.publisher.current()));
        // Packets on hold are let go a frame at a time.
        (1..HELD_MAX / FRAME_MAX).for_each(|_| self.work());
        self.compare(expected, held, true)
    }

    fn publish(&mut self) {
        let generation = self.publisher.current().generation + 1;
        let tables = self.tables();
        self.publisher.publish(Box::new(self.compiler.snapshot(generation, tables)));
    }

    /// The sticky tables of all workers, those first that flows are leaving.
    fn tables(&self) -> Vec<Arc<StickyTable>> {
        let owners = self.workers.iter().map(|worker| &worker.state.sticky);
        owners
            .flat_map(|owner| owner.table_before().into_iter().chain([owner.table()]))
            .cloned()
            .collect()
    }

    /// Gives every worker that is not busy with another a sticky table of so many buckets. Flows
    /// follow as the workers take their turns, and nobody may notice.
    fn resize(&mut self, buckets: u64) -> Result<(), String> {
        let mut tables = self.tables();
        let idle =
            self.workers.iter().filter(|worker| worker.state.sticky.table_before().is_none());
        for worker in idle {
            let owner = StickyOwner::resized(worker.state.sticky.table(), buckets)
                .map_err(|error| error.to_string())?;
            tables.push(Arc::clone(owner.table()));
            let request = Request::ReplaceStickyTable(Box::new(owner));
            worker.state.shared.request(request).map_err(|_| "the mailbox is full")?;
        }
        let generation = self.publisher.current().generation + 1;
        self.publisher.publish(Box::new(self.compiler.snapshot(generation, tables)));
        self.turn()
    }

    /// Runs the worker and demands that it did what the reference did with `packets` packets. Where
    /// it had several at once, they may have taken different nodes and overtaken each other.
    fn compare(
        &mut self,
        mut expected: Outcome,
        packets: u64,
        several: bool,
    ) -> Result<(), String> {
        self.work();
        let mut seen = self.observe();
        let made = expected.made;
        if self.style.segmented {
            // What is outstanding are buffers; they must all be back in the end.
            seen.held = expected.held;
        }
        self.held = expected.held;
        for outcome in [&mut expected, &mut seen] {
            // Only the order on one link can be seen.
            outcome.sent.sort_by_key(|(interface, _)| *interface);
            outcome.vips.retain(|_, counts| *counts != VipCounts::default());
            outcome.servers.clear();
            outcome.made = 0;
        }
        let sent = expected.sent.clone();
        if self.loose || several && seen != expected {
            bursts::loosen(&mut expected);
            bursts::loosen(&mut seen);
        }
        if seen != expected {
            return Err(seen.difference(&expected));
        }
        let ended = (seen.sent.len() + seen.punted.len()) as u64 + seen.drops + seen.consumed;
        if ended + seen.held != packets + made {
            return Err(format!("{packets} packets and {made} more became {seen:02x?}"));
        }
        self.left += seen.sent.len() as u64;
        if (self.totals.rx, self.totals.tx) != (self.arrived, self.left) {
            return Err(format!(
                "counted {:?}; {} in, {} out",
                self.totals, self.arrived, self.left
            ));
        }
        sent.iter().for_each(|(interface, frame)| self.player.sent(*interface, frame));
        let needed = expected.needed.iter();
        needed.for_each(|(interface, address)| self.player.needed(*interface, *address));
        Ok(())
    }

    /// Everything that the last turn did.
    fn observe(&mut self) -> Outcome {
        let mut seen = Outcome::default();
        let mut totals = Totals::default();
        for at in 0..self.workers.len() {
            for index in self.reference.config.ports() {
                let frames = self.workers[at].io.sent(port(index));
                seen.sent.extend(frames.into_iter().map(|frame| (index, frame)));
            }
            self.observe_worker(at, &mut seen);
            totals.add(&self.workers[at].state.shared, &self.reference.config);
        }
        seen.drops = totals.drops - self.totals.drops;
        self.totals = totals;
        seen.consumed =
            super::reason::CONSUMING.iter().filter_map(|reason| seen.counts.get(reason)).sum();
        seen.held = self.outstanding();
        seen
    }

    fn observe_worker(&mut self, worker: usize, seen: &mut Outcome) {
        let shared = &self.workers[worker].state.shared;
        while let Some(event) = shared.next_event() {
            match event {
                Event::NeighborNeeded { interface, address } => {
                    seen.needed.push((interface.0, address));
                }
                Event::NeighborSeen { interface, address, mac } => {
                    seen.seen.push((interface.0, address, mac.0));
                }
                Event::Punt { interface, l3_offset, packet } => {
                    let bytes = fake_mbuf::free(packet).split_off(usize::from(l3_offset));
                    let len = Header::of(&bytes).total_len;
                    seen.punted.push((interface.0, bytes[..len].to_vec()));
                }
                Event::StickyTableRetired(_) => {}
            }
        }
        for (at, info) in self.info.counters.iter().enumerate() {
            let value = shared.counters[at].get();
            let before = std::mem::replace(&mut self.before[worker][at], value);
            let reason: Reason = (self.info.nodes[usize::from(info.node)], info.text);
            if value > before
                && let Some(reason) = super::reason::of_plain(reason)
            {
                *seen.counts.entry(reason).or_default() += value - before;
            }
        }
        for (at, vip) in self.reference.config.vips.iter().enumerate() {
            let id = self.compiler.vip(&vip.key);
            let stats = &shared.vips[id.index()];
            let now = VipCounts {
                existing: stats.existing.get(),
                first: stats.first.get(),
                untracked: stats.untracked.get(),
                no_server: stats.no_server.get(),
            };
            let before = self.vips_before.insert((worker, id), now).unwrap_or_default();
            seen.vips.entry(at).or_default().add(now.since(before));
        }
    }

    /// Sweeps the sticky table, compares the flows of each AS, and lets go of removed ASs.
    fn audit(&mut self) -> Result<(), String> {
        let buckets: usize = self.tables().iter().map(|table| table.buckets()).sum();
        (0..buckets.div_ceil(SWEPT_PER_TURN)).for_each(|_| self.work());
        let tables = self.tables();
        let live_flows =
            |id: AsId| tables.iter().map(|table| table.live_flows().of(id)).sum::<u32>();
        let snapshot = self.publisher.current();
        let mut live = BTreeMap::new();
        for server in snapshot.lb.servers.iter().flatten() {
            let flows = u64::from(live_flows(server.id));
            let vip = snapshot.lb.vip(server.vip).ok_or("an AS without its VIP")?.key;
            if flows > 0 {
                live.insert((reference_key(&vip), server.address), flows);
            }
        }
        let expected = self.reference.live_flows();
        if live != expected {
            return Err(format!("flows of the graph {live:?}\nof the reference {expected:?}"));
        }
        self.reference.collect();
        if self.compiler.collect(&live_flows) {
            self.publish();
            self.work();
        }
        Ok(())
    }

    /// Ends the workers; everything held must come back.
    ///
    /// # Errors
    /// When packets are missing.
    pub fn finish(mut self) -> Result<(), String> {
        self.workers.iter_mut().for_each(Worker::finish);
        match self.outstanding() {
            0 => Ok(()),
            leaked => Err(format!("{leaked} packets leaked")),
        }
    }
}

/// True for large TCP and UDP packets. What the box answers itself it wants in one buffer.
fn is_cut(frame: &[u8]) -> bool {
    let at = bursts::ip_at(frame);
    let protocol = match frame.get(at).map(|byte| byte >> 4) {
        Some(6) => frame.get(at + 6),
        _ => frame.get(at + 9),
    };
    frame.len() > CUTS[1] && matches!(protocol, Some(6 | 17))
}

/// A worker that reads what the publisher publishes.
fn worker(
    at: usize,
    plain: bool,
    config: &Config,
    sticky: StickyOwner,
    info: &GraphInfo,
    publisher: &mut Publisher<Snapshot>,
) -> Worker<MemoryIo, VirtualClock> {
    let shared = WorkerShared::new(at, info);
    let builder = if plain { graph_nodes::plain_builder() } else { graph_nodes::builder() };
    let graph = builder.build(&shared).expect("the graph is complete");
    let queues = config
        .ports()
        .map(|index| RxAssignment {
            port: port(index),
            queue: QueueId(0),
            interface: InterfaceId(index),
        })
        .collect();
    let reader = publisher.reader().expect("one for each was asked for");
    let state = WorkerState::new(shared, sticky, QueueId(0), queues);
    let (io, clock) = (MemoryIo::new(MBUFS), VirtualClock::at(START_S));
    Worker::new(state, graph, io, clock, reader, PollMode::Busy)
}

/// The interface counters, summed up. A frame of a VLAN is received by its port too, and one that
/// enters or leaves a tunnel counts there too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    rx: u64,
    tx: u64,
    drops: u64,
}

impl Totals {
    fn add(&mut self, shared: &WorkerShared, config: &Config) {
        for stats in &shared.interfaces {
            self.drops += stats.drops.get();
        }
        for index in config.indices() {
            let stats = &shared.interfaces[usize::from(index)];
            let kind = &config.interface(index).kind;
            if matches!(kind, Kind::Port) {
                self.rx += stats.rx_packets.get();
                self.tx += stats.tx_packets.get();
            }
        }
    }
}

fn port(index: u16) -> PortId {
    PortId(index - 1)
}
