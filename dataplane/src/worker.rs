//! The worker: polls its queues, runs the graph, sends, and lets go of old snapshots, for ever.

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use balancer::{Followed, FragmentTable, LbTables, StickyOwner};

use crate::clock::{Clock, Now};
use crate::event::{Event, Request};
use crate::frame::FRAME_MAX;
use crate::graph::{Environment, Graph};
use crate::interface::{InterfaceId, MAX_INTERFACES, PortId, QueueId};
use crate::io::PacketIo;
use crate::packet::Packet;
use crate::rate_limit::RateLimit;
use crate::snapshot::Snapshot;
use crate::sync::qsbr::Reader;
use crate::transmit::Transmit;

pub use crate::shared::{InterfaceStats, NodeStats, ServerStats, VipStats, WorkerShared};

/// ICMP errors a worker may send per second and family.
pub const ICMP_ERRORS_PER_SECOND: u32 = 1000;
/// ICMP echo replies a worker may send per second and family.
pub const ICMP_ECHOS_PER_SECOND: u32 = 10_000;
/// TCP resets a worker may send per second to packets that no VIP takes.
pub const RESETS_PER_SECOND: u32 = 1000;
/// Packets a worker may give to the kernel per second.
pub const PUNTS_PER_SECOND: u32 = 10_000;
/// Events about neighbours a worker may post per second: so many about neighbours that control knows
/// or looks for, and as many about strangers, who cannot keep the others from being heard.
pub const NEIGHBOR_EVENTS_PER_SECOND: u32 = 1000;
/// Fragmented datagrams of one family that a worker knows the way of at least.
pub const FRAGMENTED_DATAGRAMS: usize = 4096;
/// Sticky buckets swept per turn without a packet, so that expired flows leave the count of live ones.
pub const SWEEP_BUCKETS: usize = 16;
/// The same in turns with packets, which it makes longer: each bucket of a large table is a line from
/// far away. Four still come by everywhere in some seconds.
pub const SWEEP_BUCKETS_BUSY: usize = 4;
/// Sticky buckets whose flows follow per turn into a table that replaces theirs: some microseconds.
pub const MIGRATE_BUCKETS: usize = 16;
/// Requests of control that a worker takes up per turn.
pub const REQUESTS_PER_TURN: usize = 32;
/// Sticky tables that control has not taken back yet, at most: it gives no other before it has.
const RETIRED_MAX: usize = 2;
/// One in so many idle turns looks whether there are buffers to receive into.
pub const LOOK_EVERY: u64 = 64;

/// Packets that one turn can leave to be freed at most: a full frame from each of eight input
/// nodes, and for each packet the ICMP error that took its place.
const GARBAGE_MAX: usize = 2 * 8 * FRAME_MAX;

/// A receive queue a worker polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxAssignment {
    /// Port.
    pub port: PortId,
    /// Queue of the port.
    pub queue: QueueId,
    /// The interface that the port is.
    pub interface: InterfaceId,
}

/// How a worker waits for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// Never sleeps.
    Busy,
    /// After this many turns without a packet, sleeps between turns.
    Adaptive {
        /// Empty turns before the first sleep.
        spins: u32,
        /// Length of a sleep.
        sleep: Duration,
    },
}

impl PollMode {
    /// Spin for about as long as a sleep costs, then 50 µs sleeps.
    pub const ADAPTIVE: Self = Self::Adaptive { spins: 256, sleep: Duration::from_micros(50) };
}

/// What belongs to one worker alone.
#[derive(Debug)]
pub struct WorkerState {
    /// What control sees of it.
    pub shared: Arc<WorkerShared>,
    /// Its sticky table.
    pub sticky: StickyOwner,
    /// Packets on their way out.
    pub transmit: Transmit,
    /// Queues it polls.
    pub queues: Vec<RxAssignment>,
    /// Limits TCP resets.
    pub resets: RateLimit,
    /// Limits events about neighbours that the snapshot has.
    pub neighbor_events: RateLimit,
    /// Limits events about strangers.
    pub stranger_events: RateLimit,
    /// Identification of the next IPv4 packet made here.
    pub ip_id: u16,
    /// What becomes of the IPv4 datagrams whose first fragment was seen.
    pub fragments4: FragmentTable<Ipv4Addr>,
    /// The same of IPv6.
    pub fragments6: FragmentTable<Ipv6Addr>,
    /// Identification of the last outer header that got one.
    pub outer_id: Cell<u32>,
    /// By family, IPv4's first, and interface: TCP and UDP packets until one is looked at for a
    /// partial checksum.
    pub until_sample: [Box<[u32]>; 2],
    /// Packets that control asked to send or route, until the graph takes them.
    pub injected: Vec<Request>,
    /// Packets to be freed in bulk.
    pub garbage: Vec<Packet>,
    /// Sticky tables that others have replaced, until control takes them.
    #[allow(clippy::vec_box)] // They came in boxes, and leave in them.
    retired: Vec<Box<StickyOwner>>,
    /// The second of the last turn.
    last_s: u32,
    /// Whether there was one.
    has_begun: bool,
}

impl WorkerState {
    /// A worker's state, with everything it will need allocated.
    pub fn new(
        shared: Arc<WorkerShared>,
        sticky: StickyOwner,
        tx_queue: QueueId,
        queues: Vec<RxAssignment>,
    ) -> Self {
        let instance = *sticky.instance();
        Self {
            fragments4: FragmentTable::new(FRAGMENTED_DATAGRAMS, instance),
            fragments6: FragmentTable::new(FRAGMENTED_DATAGRAMS, instance),
            shared,
            sticky,
            transmit: Transmit::new(tx_queue),
            queues,
            resets: RateLimit::new(RESETS_PER_SECOND),
            neighbor_events: RateLimit::new(NEIGHBOR_EVENTS_PER_SECOND),
            stranger_events: RateLimit::new(NEIGHBOR_EVENTS_PER_SECOND),
            ip_id: 0,
            outer_id: Cell::new(0),
            until_sample: std::array::from_fn(|_| vec![0; MAX_INTERFACES].into()),
            injected: Vec::with_capacity(REQUESTS_PER_TURN),
            garbage: Vec::with_capacity(GARBAGE_MAX),
            retired: Vec::with_capacity(RETIRED_MAX),
            last_s: 0,
            has_begun: false,
        }
    }

    /// Counts a dropped packet where it came in.
    pub fn count_drop(&self, rx_interface: InterfaceId) {
        if let Some(stats) = self.shared.interfaces.get(rx_interface.index()) {
            stats.drops.add(1);
        }
    }

    /// Gives control the sticky tables that are not needed any more: giving back so much memory
    /// takes system calls.
    fn retire_tables(&mut self) {
        while let Some(table) = self.retired.pop() {
            if let Err(Event::StickyTableRetired(table)) =
                self.shared.offer(Event::StickyTableRetired(table))
            {
                // Control is behind; the next turn tries again.
                self.retired.push(table);
                return;
            }
        }
    }

    /// Takes another sticky table into use; the flows of the present one follow in slices.
    fn replace_table(&mut self, empty: Box<StickyOwner>) {
        // Control asks for no other before all flows have followed; if it did, those left behind
        // would start anew.
        if let Some(left) = self.sticky.replace(empty) {
            self.shared.flows_lost.add(u64::from(left.used()));
            self.retired.push(left);
        }
    }

    /// Ends all flows when the clock has leapt so far that they must all have expired: expiry is
    /// known modulo 65 536 seconds only, and some would seem alive. A worker that stood still for
    /// nine hours may look at all its tables in one turn.
    #[cold]
    fn second_passes(&mut self, now_s: u32) {
        /// No flow lives longer.
        const LEAP_S: u32 = 1 << 15;
        let passed = now_s.wrapping_sub(self.last_s);
        let last_s = std::mem::replace(&mut self.last_s, now_s);
        // A clock that went back has no more than kept flows a little longer.
        if self.has_begun && (LEAP_S..1 << 31).contains(&passed) {
            let all_expired = last_s.wrapping_add(LEAP_S);
            self.sticky.sweep(usize::MAX, all_expired, |_| None);
            let followed = self.sticky.follow(usize::MAX, all_expired, |_| None);
            self.retired.extend(followed.retired);
        }
        self.has_begun = true;
    }

    /// What is due of the sticky tables per turn, however large they are.
    fn tend_tables(&mut self, lb: &LbTables, now_s: u32, is_busy: bool) {
        if self.shared.may_sweep() {
            let epoch_of = |id| lb.epoch_of(id);
            let buckets = if is_busy { SWEEP_BUCKETS_BUSY } else { SWEEP_BUCKETS };
            self.sticky.sweep(buckets, now_s, epoch_of);
            let Followed { lost, retired } = self.sticky.follow(MIGRATE_BUCKETS, now_s, epoch_of);
            if lost > 0 {
                self.shared.flows_lost.add(lost as u64);
            }
            self.retired.extend(retired);
        }
        self.retire_tables();
    }

    /// Tells control something about a neighbour, within the limit. `known` says that the snapshot has
    /// it.
    pub fn post_neighbor(&mut self, event: Event, known: bool, now: Now) {
        let limit = if known { &mut self.neighbor_events } else { &mut self.stranger_events };
        match limit.allow(now.tick_s) {
            true => drop(self.shared.post(event)),
            false => self.shared.rare.events_limited.add(1),
        }
    }

    /// The identification of one more IPv4 packet made here.
    #[inline]
    pub fn next_ip_id(&mut self) -> u16 {
        self.ip_id = self.ip_id.wrapping_add(1);
        self.ip_id
    }

    /// The identification of one more outer packet that may be fragmented. IPv4 takes the low half.
    #[inline]
    pub fn next_outer_id(&self) -> u32 {
        self.outer_id.set(self.outer_id.get().wrapping_add(1));
        self.outer_id.get()
    }
}

/// A worker, ready to run on its lcore.
pub struct Worker<I: PacketIo, C: Clock> {
    /// Its own state.
    pub state: WorkerState,
    /// Its graph.
    pub graph: Graph,
    /// Its packets.
    pub io: I,
    /// Its time.
    pub clock: C,
    reader: Reader<Snapshot>,
    poll_mode: PollMode,
}

impl<I: PacketIo, C: Clock> Worker<I, C> {
    /// Puts a worker together.
    pub fn new(
        state: WorkerState,
        graph: Graph,
        io: I,
        clock: C,
        reader: Reader<Snapshot>,
        poll_mode: PollMode,
    ) -> Self {
        Self { state, graph, io, clock, reader, poll_mode }
    }

    /// One turn: requests, one burst per queue through the graph, transmission, a slice of the
    /// sweep. Returns the number of packets that came in.
    pub fn turn(&mut self) -> usize {
        let now = self.clock.now();
        let Self { state, graph, io, clock, reader, .. } = self;
        let snapshot = reader.current();
        if now.tick_s != state.last_s {
            state.second_passes(now.tick_s);
        }
        for _ in state.injected.len()..REQUESTS_PER_TURN {
            match state.shared.next_request() {
                None => break,
                Some(Request::ReplaceStickyTable(empty)) => state.replace_table(empty),
                Some(Request::Panic) => panic!("`debug worker panic` asked for it"),
                Some(Request::SwapQueues(mut queues)) => {
                    io.swap_queues(&mut queues);
                    state.shared.post_swapped(queues);
                }
                Some(packet) => state.injected.push(packet),
            }
        }
        let mut env = Environment { snapshot, worker: state, io, now };
        let brought = graph.turn(&mut env, &|| clock.tsc());
        state.transmit.flush(io, &state.shared);
        if !state.garbage.is_empty() {
            io.free(&mut state.garbage);
        }
        state.tend_tables(&snapshot.lb, now.tick_s, brought > 0);
        if brought == 0 && state.shared.turns.get().is_multiple_of(LOOK_EVERY) && io.is_starved() {
            state.shared.rare.starved.add(1);
        }
        state.shared.turns.add(1);
        state.shared.busy_turns.add(u64::from(brought > 0));
        self.reader.quiesce();
        brought
    }

    /// Runs until control asks to stop, then drains and gives every packet back.
    pub fn run(&mut self) {
        let mut empty_turns = 0_u32;
        while !self.state.shared.stop_requested() {
            if self.turn() > 0 {
                empty_turns = 0;
                continue;
            }
            empty_turns = empty_turns.saturating_add(1);
            if let PollMode::Adaptive { spins, sleep } = self.poll_mode
                && empty_turns > spins
            {
                std::thread::sleep(sleep);
            } else {
                std::hint::spin_loop();
            }
        }
        self.finish();
    }

    /// Returns what the worker still holds to its pool, requests with packets included, and leaves
    /// all flows in one sticky table.
    pub fn finish(&mut self) {
        let (now_s, lb) = (self.clock.now().tick_s, &self.reader.current().lb);
        let followed = self.state.sticky.follow(usize::MAX, now_s, |id| lb.epoch_of(id));
        self.state.shared.flows_lost.add(followed.lost as u64);
        let WorkerState { shared, injected, garbage, .. } = &mut self.state;
        for request in injected.drain(..).chain(std::iter::from_fn(|| shared.next_request())) {
            match request {
                Request::Transmit { packet, .. } | Request::Route { packet } => {
                    garbage.push(packet);
                }
                Request::ReplaceStickyTable(_) | Request::SwapQueues(_) | Request::Panic => {}
            }
        }
        self.graph.release(garbage);
        self.io.free(garbage);
    }
}
