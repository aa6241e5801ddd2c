//! A graph small enough to see every frame of: `source` sends each packet where its first byte
//! says; `hold` keeps every packet that starts with an odd second byte.

use std::cell::Cell;
use std::sync::{Arc, Mutex, OnceLock};

use dataplane::clock::Now;
use dataplane::frame::Frame;
use dataplane::graph::{Environment, Graph, GraphBuilder, GraphInfo};
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::node::{NoCounter, NoNext, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::worker::{WorkerShared, WorkerState};
use dataplane::{next_nodes, node_counters};
use testkit::memory_io::MemoryIo;
use testkit::world::World;

/// First byte of a packet for the sink `left`.
pub(crate) const TO_LEFT: u8 = 0;
/// First byte of a packet for the node `hold`.
pub(crate) const TO_HOLD: u8 = 1;
/// First byte of a packet that `source` drops with its second counter.
pub(crate) const TO_DROP: u8 = 2;

/// TSC clocks that pass between two looks at the clock.
pub(crate) const STEP: u64 = 10;

/// What a node saw in one call: where its frame was, and the second byte of each packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) frame: usize,
    pub(crate) packets: Vec<u8>,
    pub(crate) errors: Vec<u16>,
}

pub(crate) type Log = Arc<Mutex<Vec<Seen>>>;

fn see(log: &Log, frame: &Frame) {
    log.lock().unwrap().push(Seen {
        frame: std::ptr::from_ref(frame).addr(),
        packets: (0..frame.len()).map(|at| frame.data(at)[1]).collect(),
        errors: frame.lanes.error[..frame.len()].to_vec(),
    });
}

next_nodes! {
    enum SourceNext { Left => "left", Hold => "hold", Drop => "sink" }
}
node_counters! {
    enum SourceCounter { Fine => ("fine", Info), Bad => ("bad", Error) }
}

struct Source(Log);

impl Node for Source {
    const NAME: &'static str = "source";
    const INPUT: bool = true;
    type Next = SourceNext;
    type Counter = SourceCounter;

    fn process(&mut self, _cx: &mut NodeCx<'_, Self>, _frame: &mut Frame) {}

    fn poll(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        cx.io.rx_burst(PortId(0), QueueId(0), InterfaceId(1), frame);
        for at in 0..frame.len() {
            match frame.data(at)[0] {
                TO_LEFT => cx.set_next(at, SourceNext::Left),
                TO_HOLD => cx.set_next(at, SourceNext::Hold),
                _ => cx.drop_packet(frame, at, SourceNext::Drop, SourceCounter::Bad),
            }
            cx.count(SourceCounter::Fine, 1);
        }
        see(&self.0, frame);
    }
}

next_nodes! {
    enum HoldNext { Left => "left" }
}

/// What `hold` does each time the dispatcher asks it for a trace.
pub(crate) type OnTrace = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

struct Hold(OnTrace);

impl Node for Hold {
    const NAME: &'static str = "hold";
    type Next = HoldNext;
    type Counter = NoCounter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            if frame.data(at)[1] % 2 == 1 {
                cx.worker.garbage.extend(frame.take(at));
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, _frame: &Frame, _at: usize) -> TraceDetail {
        if let Some(act) = self.0.get() {
            act();
        }
        TraceDetail::None
    }
}

/// Brings nothing, and is asked for it only while the worker's `ip_id` is not 0.
struct Reserve;

impl Node for Reserve {
    const NAME: &'static str = "reserve";
    const INPUT: bool = true;
    type Next = NoNext;
    type Counter = NoCounter;

    fn process(&mut self, _cx: &mut NodeCx<'_, Self>, _frame: &mut Frame) {}

    fn wants_poll(&self, worker: &WorkerState) -> bool {
        worker.ip_id != 0
    }
}

/// Ends packets; there are two, told apart by name.
struct Sink<const LEFT: bool>(Log);

impl<const LEFT: bool> Node for Sink<LEFT> {
    const NAME: &'static str = if LEFT { "left" } else { "sink" };
    type Next = NoNext;
    type Counter = NoCounter;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        see(&self.0, frame);
        for at in 0..frame.len() {
            cx.worker.garbage.extend(frame.take(at));
        }
    }
}

/// The graph with all it needs to run.
pub(crate) struct Probe {
    pub(crate) graph: Graph,
    pub(crate) io: MemoryIo,
    pub(crate) worker: WorkerState,
    pub(crate) on_trace: OnTrace,
    pub(crate) source: Log,
    pub(crate) left: Log,
    pub(crate) sink: Log,
    snapshot: Snapshot,
    tsc: Cell<u64>,
}

impl Probe {
    pub(crate) fn new() -> Self {
        let [source, left, sink] = [(); 3].map(|()| Log::default());
        let on_trace = OnTrace::default();
        let builder = GraphBuilder::new()
            .node(Source(Arc::clone(&source)))
            .node(Reserve)
            .node(Hold(Arc::clone(&on_trace)))
            .node(Sink::<true>(Arc::clone(&left)))
            .node(Sink::<false>(Arc::clone(&sink)));
        let shared = WorkerShared::new(0, &builder.info().unwrap());
        let graph = builder.build(&shared).unwrap();
        let world = World::new();
        let worker = WorkerState::new(shared, world.sticky_owner(), QueueId(0), Vec::new());
        let (io, snapshot) = (MemoryIo::new(1024), world.snapshot(1, Vec::new()));
        let tsc = Cell::new(0);
        Self { graph, io, worker, on_trace, source, left, sink, snapshot, tsc }
    }

    pub(crate) fn info(&self) -> &GraphInfo {
        self.graph.info()
    }

    pub(crate) fn node(&self, name: &str) -> u16 {
        self.info().node(name).unwrap()
    }

    /// Lets a packet arrive that goes to `to` and is known by `name`.
    pub(crate) fn arrive(&mut self, to: u8, name: u8) {
        let packet = self.io.pool.packet(&[to, name]);
        self.io.arrive(PortId(0), QueueId(0), packet);
    }

    /// Runs one turn; returns how many packets came in.
    pub(crate) fn turn(&mut self) -> usize {
        let Self { graph, io, worker, snapshot, tsc, .. } = self;
        let mut env = Environment { snapshot, worker, io, now: Now::default() };
        let brought = graph.turn(&mut env, &|| {
            tsc.set(tsc.get() + STEP);
            tsc.get()
        });
        self.io.free(&mut self.worker.garbage);
        brought
    }
}

/// What a log has, which is emptied.
pub(crate) fn taken(log: &Log) -> Vec<Seen> {
    std::mem::take(&mut *log.lock().unwrap())
}
