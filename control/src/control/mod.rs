//! [`Control`]: the one owner of everything that is not a worker's.

mod advice;
mod announcements;
mod baseline;
mod commit;
mod debug;
mod drains;
mod events;
mod flushes;
mod journal;
mod keeping;
mod links;
mod neighbors;
mod rates;
mod rebuild;
mod resize;
mod traces;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use balancer::{HashKey, StickyTable};
use dataplane::graph::GraphInfo;
use dataplane::rate_limit::RateLimit;
use dataplane::shared::WorkerShared;
use dataplane::snapshot::Snapshot;
use dataplane::sync::qsbr::{Publisher, Reader};
use tokio::sync::mpsc::UnboundedSender;

pub use commit::Draft;
pub use events::EchoReply;
pub use links::LinkState;

use crate::compile::{Compiler, TableExecutor};
use crate::model::{LbModel, Model};
use crate::neighbor::NeighborTable;
use crate::reload::Reloads;
use crate::runtime::hardware::Hardware;
use crate::state::Keeper;
use advice::NatLink;
use announcements::Announcements;
use baseline::Baseline;
use debug::DebugHooks;
use drains::Drains;
use flushes::Flushes;
use journal::Journal;
use links::Links;
use rates::Rates;
use rebuild::{Losses, Published};
use resize::Resize;
use traces::Traces;

/// Neighbours that do not answer and are logged per second.
const FAILURES_PER_SECOND: u32 = 10;

/// A worker as control sees it.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    /// Counters, queues, switches.
    pub shared: Arc<WorkerShared>,
    /// Its sticky table, to be read.
    pub sticky: Arc<StickyTable>,
    /// EAL lcore.
    pub lcore: u32,
    /// CPU.
    pub cpu: u16,
}

/// The TSC at start and its speed: times of traces are relative to it.
#[derive(Clone, Copy, Debug)]
pub struct TscBase {
    /// TSC clocks.
    pub start: u64,
    /// TSC clocks per second.
    pub hz: u64,
}

/// The clock of the workers, by which flows expire.
#[derive(Clone, Copy, Debug)]
pub enum Ticks {
    /// Second 0 and the speed of the TSC. Control's own time would run away from it in weeks, as
    /// nobody knows the speed exactly.
    Tsc(TscBase),
    /// Control's own time, which began in this second: where workers have a clock of a test.
    From(u32),
}

/// Everything that control starts from.
pub struct Parts {
    /// Interfaces of the devices, nothing else yet.
    pub model: Model,
    /// The workers, by number.
    pub workers: Vec<WorkerHandle>,
    /// The shape of their graphs.
    pub graph: GraphInfo,
    /// Ports and pools.
    pub hardware: Box<dyn Hardware>,
    /// Time base of traces.
    pub tsc: TscBase,
    /// CPUs of the control thread, as a list.
    pub main_cpus: String,
    /// The clock of the workers.
    pub ticks: Ticks,
    /// What outlives the daemon; the workers' tables are its.
    pub keeper: Option<Keeper>,
}

/// The owner of the model and of all that follows from it.
pub struct Control {
    /// The desired state.
    model: Model,
    /// What workers were given last.
    published: Published,
    /// How many drafts have become the model.
    commits: u64,
    losses: Losses,
    debug: DebugHooks,
    compiler: Compiler,
    publisher: Publisher<Snapshot>,
    generation: u64,
    /// The model has changed since the last publication.
    dirty: bool,
    /// Neighbours that are needed may have been forgotten since the last publication.
    disturbed: bool,
    /// New-flow tables are there that are not published yet.
    ripened: bool,
    /// Something was published since [`Self::advise`] looked.
    unadvised: bool,
    neighbors: NeighborTable,
    /// Limits what is logged of neighbours that do not answer.
    failures: RateLimit,
    announcements: Announcements,
    /// Interfaces that were complained of for lacking `nat4 in` or `nat6 in`.
    advised: BTreeSet<NatLink>,
    workers: Vec<WorkerHandle>,
    resize: Resize,
    graph: GraphInfo,
    hardware: Box<dyn Hardware>,
    tsc: TscBase,
    main_cpus: String,
    baseline: Baseline,
    flushes: Flushes,
    drains: Drains,
    journal: Journal,
    links: Links,
    ticks: Ticks,
    keeper: Option<Keeper>,
    rates: Rates,
    traces: Traces,
    /// By identifier: who waits for echo replies.
    pings: BTreeMap<u16, UnboundedSender<EchoReply>>,
    next_ping: u16,
    now_ms: u64,
    next_second_ms: u64,
    pub(crate) reloads: Reloads,
}

impl Control {
    /// Compiles the first snapshot; the readers are for the workers, in their order.
    pub fn new(parts: Parts) -> (Self, Vec<Reader<Snapshot>>) {
        let Parts { mut model, workers, graph, hardware, tsc, main_cpus, ticks, keeper } = parts;
        let mut tables: Vec<_> = workers.iter().map(|worker| worker.sticky.clone()).collect();
        if let Some(keeper) = &keeper {
            model.lb.reserve(keeper.reserved().clone());
            tables.extend(keeper.orphans().cloned());
            workers.iter().for_each(|worker| worker.shared.hold_sweep(true));
        }
        let mut compiler = Compiler::default();
        let resize = Resize::new(workers.len());
        let compiled = compiler.compile(&model, 1, &tables);
        let mut publisher = Publisher::new(compiled.snapshot, workers.len());
        let readers = std::iter::from_fn(|| publisher.reader()).collect();
        let mut drains = Drains::default();
        drains.note(&LbModel::default(), &model.lb);
        drains.begin(compiler.lb.compiled(), &workers);
        let control = Self {
            published: Published::new(&model, &compiler, &HashKey::default(), 0),
            model,
            commits: 0,
            losses: Losses::default(),
            debug: DebugHooks::default(),
            compiler,
            publisher,
            generation: 1,
            dirty: false,
            disturbed: true,
            ripened: false,
            unadvised: false,
            neighbors: NeighborTable::default(),
            failures: RateLimit::new(FAILURES_PER_SECOND),
            announcements: Announcements::default(),
            advised: BTreeSet::new(),
            baseline: Baseline::default(),
            flushes: Flushes::default(),
            drains,
            journal: Journal::default(),
            links: Links::default(),
            ticks,
            keeper,
            rates: Rates::new(workers.len()),
            traces: Traces::new(workers.len()),
            resize,
            workers,
            graph,
            hardware,
            tsc,
            main_cpus,
            pings: BTreeMap::new(),
            next_ping: 1,
            now_ms: 0,
            next_second_ms: 0,
            reloads: Reloads::default(),
        };
        (control, readers)
    }

    /// Has new-flow tables built elsewhere from now on; without this they are built on the spot.
    /// `pump` takes up what is done.
    pub fn build_tables_with(&mut self, executor: Box<dyn TableExecutor>) {
        self.compiler.lb.build_with(executor);
    }

    /// The number that the next wish for a new-flow table gets.
    pub fn next_wish(&self) -> u64 {
        self.compiler.lb.next_wish()
    }

    /// Whether all tables wished for from number `first` on and before `end` are published.
    pub fn is_settled(&self, first: u64, end: u64) -> bool {
        self.compiler.lb.is_settled(first, end) && !self.ripened
    }

    /// How many VIPs wait for a new-flow table.
    pub fn tables_waiting(&self) -> usize {
        self.compiler.lb.tables_waiting()
    }

    /// The desired state.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the workers have.
    pub fn snapshot(&self) -> &Snapshot {
        self.publisher.current()
    }

    /// Frees the states that workers have left, and tells how many some worker may still hold.
    pub fn snapshots_held(&mut self) -> usize {
        self.publisher.reclaim()
    }

    /// The workers.
    pub fn workers(&self) -> &[WorkerHandle] {
        &self.workers
    }

    /// Tells the time, in milliseconds since the start; it never goes back.
    pub fn set_time(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// The time, in milliseconds since the start.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Tells the keys of the flow hash apart.
    pub fn hash_fingerprint(&self) -> &str {
        self.compiler.lb.fingerprint()
    }

    /// True while an answer from the network is awaited and events are worth looking for often.
    pub fn is_waiting(&self) -> bool {
        !self.pings.is_empty() || self.neighbors.is_resolving() || self.is_resizing()
    }

    /// True while workers move flows to sticky tables of another size.
    pub fn is_resizing(&self) -> bool {
        self.resize.is_under_way()
    }

    /// Flows of an AS that are alive, over all workers.
    pub fn live_flows(&self, server: u32) -> u64 {
        self.flushes.live(server, &self.sticky_tables())
    }

    /// Our address to use towards `target`, if there is a way there.
    pub fn source_towards(&self, target: IpAddr) -> Option<IpAddr> {
        use crate::model::Destination;
        match self.model.resolve(target) {
            Destination::Local(_) => Some(target),
            Destination::Neighbor { interface, next_hop } => {
                self.model.interface(interface)?.source_for(next_hop)
            }
            Destination::Unreachable => None,
        }
    }

    /// Gives up the workers' share of everything, for a clean end: the present snapshot and the
    /// hardware. The workers must have stopped.
    pub fn into_hardware(self) -> Box<dyn Hardware> {
        self.hardware
    }
}
