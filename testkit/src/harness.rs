//! [`Harness`]: one worker with the whole graph, ports in memory and a clock that stands still.

use dataplane::clock::Clock;
use dataplane::event::Event;
use dataplane::frame::{Frame, Lanes};
use dataplane::graph::{GraphBuilder, GraphInfo};
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::sync::qsbr::Publisher;
use dataplane::worker::{PollMode, RxAssignment, Worker, WorkerShared, WorkerState};
use graph_nodes::ledger::{Balance, Ledger};
use std::sync::Arc;

use crate::memory_io::MemoryIo;
use crate::packet_builder::L2;
use crate::virtual_clock::VirtualClock;
use crate::world::World;

/// Buffers of the worker's pool.
const MBUFS: usize = 4096;

/// A worker under test, and control's side of it.
///
/// At the end of its life it checks that every packet was sent, freed, or taken by the test, and that
/// the counters account for each.
pub struct Harness {
    /// The worker.
    pub worker: Worker<MemoryIo, VirtualClock>,
    /// What the world looks like; change it, then [`Self::publish`].
    pub world: World,
    publisher: Publisher<Snapshot>,
    info: GraphInfo,
}

impl Harness {
    /// A worker in this world, at second 1000.
    pub fn new(world: World) -> Self {
        Self::with(world, graph_nodes::builder())
    }

    /// The same without the express way, so that each node shows what it does itself.
    pub fn plain(world: World) -> Self {
        Self::with(world, graph_nodes::plain_builder())
    }

    fn with(world: World, builder: GraphBuilder) -> Self {
        let info = builder.info().expect("the graph is complete");
        let shared = WorkerShared::new(0, &info);
        let graph = builder.build(&shared).expect("the graph is complete");
        let sticky = world.sticky_owner();
        let queues = world
            .interfaces()
            .iter()
            .filter(|interface| world.is_port(interface))
            .filter_map(|interface| {
                let port = interface.port?;
                Some(RxAssignment { port, queue: QueueId(0), interface: interface.id })
            })
            .collect();
        let snapshot = world.snapshot(1, vec![Arc::clone(sticky.table())]);
        let mut publisher = Publisher::new(Box::new(snapshot), 1);
        let reader = publisher.reader().expect("one reader was asked for");
        let state = WorkerState::new(shared, sticky, QueueId(0), queues);
        let (io, clock) = (MemoryIo::new(MBUFS), VirtualClock::at(1000));
        let worker = Worker::new(state, graph, io, clock, reader, PollMode::Busy);
        Self { worker, world, publisher, info }
    }

    /// Publishes the world as it is now.
    pub fn publish(&mut self) {
        let generation = self.publisher.current().generation + 1;
        let tables = self.publisher.current().sticky_tables.to_vec();
        self.publisher.publish(Box::new(self.world.snapshot(generation, tables)));
    }

    /// Publishes the world with these sticky tables of peers behind the worker's own.
    pub fn publish_with_peers(&mut self, peers: &[Arc<balancer::StickyTable>]) {
        let generation = self.publisher.current().generation + 1;
        let mut tables = vec![Arc::clone(self.worker.state.sticky.table())];
        tables.extend(peers.iter().cloned());
        self.publisher.publish(Box::new(self.world.snapshot(generation, tables)));
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> &Snapshot {
        self.publisher.current()
    }

    /// Lets a frame arrive on an interface, without running the worker.
    pub fn arrive(&mut self, interface: InterfaceId, frame: &[u8]) {
        let packet = self.worker.io.pool.packet(frame);
        self.arrive_packet(interface, packet);
    }

    /// Lets a packet arrive on an interface, without running the worker.
    pub fn arrive_packet(&mut self, interface: InterfaceId, packet: Packet) {
        self.worker.io.arrive(Self::port(interface), QueueId(0), packet);
    }

    /// Lets a frame arrive, runs one turn and gives all that was sent: interface and bytes.
    pub fn receive(&mut self, interface: InterfaceId, frame: &[u8]) -> Vec<(InterfaceId, Vec<u8>)> {
        self.arrive(interface, frame);
        self.turn()
    }

    /// Puts a frame that arrived on an interface in front of a node, as `marks` says that nodes
    /// before it left the packet; then as [`Self::receive`].
    ///
    /// # Panics
    /// When there is no node of this name.
    pub fn inject(
        &mut self,
        node: &str,
        interface: InterfaceId,
        frame: &[u8],
        marks: impl FnOnce(&mut Lanes),
    ) -> Vec<(InterfaceId, Vec<u8>)> {
        let mut packets = Frame::boxed();
        packets.push(self.worker.io.pool.packet(frame), interface).expect("room");
        packets.lanes.l3_offset[0] = L2 as u16;
        marks(&mut packets.lanes);
        let node = self.node(node);
        assert!(self.worker.graph.inject(node, &mut packets, 0));
        packets.clear();
        self.turn()
    }

    /// As [`Self::receive`], expecting exactly one frame to be sent.
    ///
    /// # Panics
    /// When none or several are sent; the message lists what was counted.
    pub fn forward(&mut self, interface: InterfaceId, frame: &[u8]) -> (InterfaceId, Vec<u8>) {
        let mut sent = self.receive(interface, frame);
        assert_eq!(sent.len(), 1, "sent {sent:02x?}; counted {:?}", self.counters());
        sent.remove(0)
    }

    /// Runs one turn and gives all that was sent.
    pub fn turn(&mut self) -> Vec<(InterfaceId, Vec<u8>)> {
        self.worker.turn();
        let mut all = Vec::new();
        for interface in self.world.interfaces() {
            let Some(port) = interface.port.filter(|_| self.world.is_port(interface)) else {
                continue;
            };
            all.extend(self.worker.io.sent(port).into_iter().map(|frame| (interface.id, frame)));
        }
        all
    }

    /// The port behind an interface: one number below its index, as 0 is `local0`.
    pub fn port(interface: InterfaceId) -> PortId {
        PortId(interface.0 - 1)
    }

    /// Lets seconds pass.
    pub fn wait(&mut self, seconds: u32) {
        self.worker.clock.advance(seconds);
    }

    /// The present second.
    pub fn now_s(&mut self) -> u32 {
        self.worker.clock.now().tick_s
    }

    /// What control and the worker share.
    pub fn shared(&self) -> &WorkerShared {
        &self.worker.state.shared
    }

    /// A node's counter.
    ///
    /// # Panics
    /// When the node has no such counter.
    pub fn counter(&self, node: &str, text: &str) -> u64 {
        let node = self.info.node(node).expect("a node of the graph");
        let mut all = self.info.counters.iter();
        let at = all.position(|counter| counter.node == node && counter.text == text);
        self.shared().counters[at.expect("a counter of the node")].get()
    }

    /// All counters that are not 0, as `node: text`.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let values = self.shared().counters.iter().map(|counter| counter.get());
        self.info
            .counters
            .iter()
            .zip(values)
            .filter(|(_, value)| *value > 0)
            .map(|(info, value)| {
                (format!("{}: {}", self.info.nodes[usize::from(info.node)], info.text), value)
            })
            .collect()
    }

    /// Packets dropped that came in by an interface.
    pub fn drops(&self, interface: InterfaceId) -> u64 {
        self.shared().interfaces[interface.index()].drops.get()
    }

    /// Lets a frame arrive and expects it to be dropped for one reason and nothing to be sent.
    ///
    /// # Panics
    /// When anything is sent, or anything else is counted.
    pub fn expect_drop(&mut self, interface: InterfaceId, frame: &[u8], node: &str, text: &str) {
        let packet = self.worker.io.pool.packet(frame);
        self.expect_packet_drop(interface, packet, node, text);
    }

    /// As [`Self::expect_drop`], for a packet.
    ///
    /// # Panics
    /// As [`Self::expect_drop`].
    pub fn expect_packet_drop(
        &mut self,
        interface: InterfaceId,
        packet: Packet,
        node: &str,
        text: &str,
    ) {
        let (before, dropped) = (self.counter(node, text), self.drops(interface));
        self.arrive_packet(interface, packet);
        let sent = self.turn();
        let counted = self.counters();
        assert!(sent.is_empty(), "sent {sent:02x?}; counted {counted:?}");
        assert_eq!(self.counter(node, text), before + 1, "counted {counted:?}");
        assert_eq!(self.drops(interface), dropped + 1, "counted {counted:?}");
        assert_eq!(self.outstanding(), 0);
    }

    /// Where packets came from and where they ended, by the counters.
    pub fn balance(&self) -> Balance {
        let mut balance = Balance::default();
        Ledger::new(&self.info).add(&mut balance, self.shared(), self.snapshot());
        balance
    }

    /// Packets that are neither sent nor freed.
    pub fn outstanding(&self) -> usize {
        self.worker.io.pool.outstanding()
    }

    /// The next thing the worker told control.
    pub fn event(&mut self) -> Option<Event> {
        self.shared().next_event()
    }

    /// Index of a node in the graph.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn node(&self, name: &str) -> u16 {
        self.info.node(name).expect("a node of the graph")
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let balance = self.balance();
        self.worker.finish();
        while let Some(event) = self.shared().next_event() {
            if let Event::Punt { packet, .. } = event {
                crate::fake_mbuf::free(packet);
            }
        }
        if !std::thread::panicking() {
            assert_eq!(self.outstanding(), 0, "packets were leaked");
            assert_eq!(balance.missing(), 0, "packets ended uncounted: {balance:#?}");
        }
    }
}
