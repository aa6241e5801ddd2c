//! [`Station`]: what a port's packets go through.

use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;
use dataplane::shared::WorkerShared;
use dataplane::worker::Worker;
use std::sync::Arc;

use crate::bench_clock::BenchClock;
use crate::lent::Lent;

/// Seconds that pass at once when flows are to expire: more than a flow without an answer lives.
const EXPIRY_S: u32 = 200;

/// A worker or something simpler.
pub enum Station<I: PacketIo> {
    /// No graph.
    Plain(Box<Plain<I>>),
    /// The product's worker.
    Graph(Box<Worker<Lent<I>, BenchClock>>),
}

impl<I: PacketIo> std::fmt::Debug for Station<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Graph(_) => "Graph",
        })
    }
}

impl<I: PacketIo> Station<I> {
    /// One burst through it. Returns how many packets came.
    #[inline]
    pub fn turn(&mut self) -> usize {
        match self {
            Self::Plain(plain) => plain.turn(),
            Self::Graph(worker) => worker.turn(),
        }
    }

    /// Lends it a port.
    pub fn put(&mut self, port: I) {
        self.io().put(port);
    }

    /// Takes the port back. Packets that the graph holds between turns stay there.
    pub fn take(&mut self) -> Option<I> {
        self.io().take()
    }

    /// The port, while it is there.
    pub fn port(&mut self) -> Option<&mut I> {
        self.io().get_mut()
    }

    fn io(&mut self) -> &mut Lent<I> {
        match self {
            Self::Plain(plain) => &mut plain.io,
            Self::Graph(worker) => &mut worker.io,
        }
    }

    /// The worker's counters.
    pub fn shared(&self) -> Option<&Arc<WorkerShared>> {
        match self {
            Self::Plain(_) => None,
            Self::Graph(worker) => Some(&worker.state.shared),
        }
    }

    /// Lets all flows expire that have seen one packet only.
    pub fn expire_flows(&mut self) {
        if let Self::Graph(worker) = self {
            worker.clock.skip(EXPIRY_S);
        }
    }
}

/// Where packets of a port go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where they come in.
    pub from: PortId,
    /// Where they leave.
    pub to: PortId,
}

/// Receives and sends, as `testpmd --forward-mode=io` and `macswap` do, a frame at a time. No other
/// worker's data shares its cache lines, nor the next, which CPUs fetch along.
#[repr(align(128))]
pub struct Plain<I: PacketIo> {
    io: Lent<I>,
    ways: Vec<Way>,
    queue: QueueId,
    interface: InterfaceId,
    swap: bool,
    frame: Box<Frame>,
    refused: Vec<Packet>,
}

impl<I: PacketIo> std::fmt::Debug for Plain<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plain(swap: {})", self.swap)
    }
}

impl<I: PacketIo> Plain<I> {
    /// For a queue of a port; with `swap`, Ethernet addresses are exchanged.
    pub fn new(port: PortId, queue: QueueId, interface: InterfaceId, swap: bool) -> Self {
        Self::between(vec![Way { from: port, to: port }], queue, interface, swap)
    }

    /// For a queue of several ports.
    pub fn between(ways: Vec<Way>, queue: QueueId, interface: InterfaceId, swap: bool) -> Self {
        let refused = Vec::with_capacity(dataplane::frame::FRAME_MAX);
        let (io, frame) = (Lent::default(), Frame::boxed());
        Self { io, ways, queue, interface, swap, frame, refused }
    }

    #[inline]
    fn turn(&mut self) -> usize {
        let Self { io, ways, frame, refused, .. } = self;
        let mut total = 0;
        for way in ways {
            let count = io.rx_burst(way.from, self.queue, self.interface, frame);
            if self.swap {
                frame.packets_mut().iter_mut().flatten().for_each(swap_addresses);
            }
            let sent = io.tx_burst(way.to, self.queue, frame.packets_mut());
            if sent < count {
                refused.extend(frame.packets_mut().iter_mut().filter_map(Option::take));
                io.free(refused);
            }
            frame.clear();
            total += count;
        }
        total
    }
}

fn swap_addresses(packet: &mut Packet) {
    if let Some(addresses) = packet.data_mut().first_chunk_mut::<12>() {
        let (destination, source) = addresses.split_at_mut(6);
        destination.swap_with_slice(source);
    }
}
