//! [`Workers`]: workers of the graph, with ports and clocks in memory.

use std::sync::Arc;

use balancer::{InstanceKey, StickyOwner, StickyTable};
use dataplane::event::Request;
use dataplane::graph::GraphInfo;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::snapshot::Snapshot;
use dataplane::sync::qsbr::Publisher;
use dataplane::worker::{PollMode, RxAssignment, Worker, WorkerShared, WorkerState};

use super::style::{CUTS, Style, is_cut};
use crate::fake_mbuf::FakePool;
use crate::memory_io::MemoryIo;
use crate::reference::config::Config;
use crate::virtual_clock::VirtualClock;

/// Sticky buckets of the worker: many more entries than a scenario has flows, so that the table
/// never is full; what a full one does is for `balancer`'s own tests.
const BUCKETS: u64 = 1024;
/// The same of [large](Style::large_tables) tables.
const MANY_BUCKETS: u64 = 1 << 14;
/// Buckets that a worker sweeps per turn, at least.
const SWEPT_PER_TURN: usize = 16;
/// Buffers of the worker.
const MBUFS: usize = 8192;
/// The second in which every scenario starts.
pub const START_S: u32 = 65_500;

/// Workers that share a snapshot.
pub(super) struct Workers(pub(super) Vec<Worker<MemoryIo, VirtualClock>>);

impl Workers {
    /// Workers with these sticky tables, one each, that read what the publisher publishes.
    pub(super) fn start(
        style: Style,
        config: &Config,
        sticky: Vec<StickyOwner>,
        info: &GraphInfo,
        publisher: &mut Publisher<Snapshot>,
    ) -> Self {
        let start = |(at, sticky)| {
            let mut worker = worker(at, style.plain, config, sticky, info, publisher);
            if style.guarded {
                worker.io.pool = FakePool::guarded(MBUFS);
            }
            worker
        };
        Self(sticky.into_iter().enumerate().map(start).collect())
    }

    /// Lets every worker work.
    pub(super) fn work(&mut self) {
        self.0.iter_mut().for_each(|worker| {
            worker.turn();
        });
    }

    /// Lets them sweep their sticky tables once.
    pub(super) fn sweep(&mut self) {
        let buckets: usize = self.tables().iter().map(|table| table.buckets()).sum();
        (0..buckets.div_ceil(SWEPT_PER_TURN)).for_each(|_| self.work());
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, seconds: u32) {
        self.0.iter_mut().for_each(|worker| worker.clock.advance(seconds));
    }

    /// Lets a frame arrive at a worker.
    pub(super) fn arrive(&mut self, at: usize, style: Style, interface: u16, frame: &[u8]) {
        let io = &mut self.0[at].io;
        let packet = match style.segmented && is_cut(frame) {
            true => io.pool.segmented(frame, &CUTS),
            false => io.pool.packet(frame),
        };
        io.arrive(port(interface), QueueId(0), packet);
    }

    /// The sticky tables of all workers, those first that flows are leaving.
    pub(super) fn tables(&self) -> Vec<Arc<StickyTable>> {
        let owners = self.0.iter().map(|worker| &worker.state.sticky);
        owners
            .flat_map(|owner| owner.table_before().into_iter().chain([owner.table()]))
            .cloned()
            .collect()
    }

    /// Gives every worker that is not busy with another a sticky table of so many buckets; all
    /// tables, as soon as they have taken them up.
    pub(super) fn resize(&self, buckets: u64) -> Result<Vec<Arc<StickyTable>>, String> {
        let mut tables = self.tables();
        let idle = self.0.iter().filter(|worker| worker.state.sticky.table_before().is_none());
        for worker in idle {
            let owner = StickyOwner::resized(worker.state.sticky.table(), buckets)
                .map_err(|error| error.to_string())?;
            tables.push(Arc::clone(owner.table()));
            let request = Request::ReplaceStickyTable(Box::new(owner));
            worker.state.shared.request(request).map_err(|_| "the mailbox is full")?;
        }
        Ok(tables)
    }

    /// Buffers that are somewhere in the graph.
    pub(super) fn outstanding(&self) -> u64 {
        self.0.iter().map(|worker| worker.io.pool.outstanding() as u64).sum()
    }
}

/// Empty sticky tables of all workers.
pub(super) fn sticky_owners(style: Style) -> Vec<StickyOwner> {
    let buckets = if style.large_tables { MANY_BUCKETS } else { BUCKETS };
    let owner = |_| {
        let key = InstanceKey::from_bytes([7; 32]);
        let owner = StickyOwner::new(buckets, key, 4096).expect("a power of two");
        assert_eq!(owner.is_large(), style.large_tables);
        owner
    };
    (0..style.workers).map(owner).collect()
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

/// The port of an interface.
pub(super) fn port(index: u16) -> PortId {
    PortId(index - 1)
}
