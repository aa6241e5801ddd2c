//! A box without hardware: real control, real graph, ports in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use balancer::StickyOwner;
use control::compile::{new_instance_key, new_sticky_owner};
use control::control::{Control, Parts, Ticks, TscBase, WorkerHandle};
use control::model::Model;
use control::runtime::hardware::{Hardware, KernelSide, Link, PortFacts, Reopened};
use control::show::buffers::PoolStatus;
use control::show::hardware::{NamedCount, PortCounters};
use control::state::{Keeper, Opened, Situation, StateError};
use dataplane::dpdk::queue::PortQueues;
use dataplane::interface::{InterfaceId, MacAddress, PortId, QueueId};
use dataplane::packet::Packet;
use dataplane::shared::WorkerShared;
use dataplane::worker::{PollMode, RxAssignment, Worker, WorkerState};
use testkit::fake_mbuf::{self, FakePool};
use testkit::memory_io::MemoryIo;
use testkit::virtual_clock::{TSC_HZ, VirtualClock};

/// Interface 1, port 0.
pub(crate) const LEFT: &str = "left0";
/// Interface 2, port 1.
pub(crate) const RIGHT: &str = "GigabitEthernet0/9/0";
/// Their Ethernet addresses.
pub(crate) const LEFT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const RIGHT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
/// The address of a port that was opened anew.
pub(crate) const NEW_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
/// A client of the left port, and its Ethernet address.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 1);
pub(crate) const CLIENT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x10]);
/// The Ethernet address of a server of the right port.
pub(crate) const SERVER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);
/// The sticky buckets per worker.
pub(crate) const BUCKETS: u32 = 1024;

/// Both interfaces up, with the addresses of the walk-through.
pub(crate) const ROUTED: [&str; 4] = [
    "set interface ip address left0 10.10.10.254/24",
    "set interface state left0 up",
    "set interface ip address GigabitEthernet0/9/0 192.168.1.254/24",
    "set interface state GigabitEthernet0/9/0 up",
];

fn buckets_of(owner: &StickyOwner) -> u32 {
    owner.table().buckets() as u32
}

/// What the kernel has behind the ports, where a test says so.
pub(crate) type KernelSides = Rc<RefCell<BTreeMap<PortId, KernelSide>>>;

struct NoHardware(FakePool, KernelSides);

impl Hardware for NoHardware {
    fn facts(&self, port: PortId) -> PortFacts {
        PortFacts { device: format!("memory{}", port.0), ..PortFacts::default() }
    }
    fn link(&self, _port: PortId) -> Link {
        Link { up: true, speed_mbps: Some(10_000), full_duplex: true }
    }
    fn counters(&self, _port: PortId) -> PortCounters {
        PortCounters::default()
    }
    fn extended(&self, _port: PortId) -> Vec<NamedCount> {
        Vec::new()
    }
    fn set_mtu(&self, _port: PortId, _mtu: u16) -> Result<(), String> {
        Ok(())
    }
    fn kernel_side(&self, port: PortId) -> Option<KernelSide> {
        self.1.borrow().get(&port).copied()
    }
    fn can_reopen(&self, port: PortId) -> Result<(), String> {
        if port == PortId(1) { Ok(()) } else { Err("it cannot".to_owned()) }
    }
    fn reopen(&mut self, port: PortId, workers: usize) -> Result<Reopened, String> {
        let queues = (0..workers).map(|_| PortQueues::none(port)).collect();
        Ok(Reopened { queues, mac: NEW_MAC })
    }
    fn pools(&self) -> Vec<PoolStatus> {
        Vec::new()
    }
    fn alloc(&mut self) -> Option<Packet> {
        self.0.alloc()
    }
    fn free(&mut self, packets: &mut Vec<Packet>) {
        packets.drain(..).for_each(|packet| drop(fake_mbuf::free(packet)));
    }
    fn version(&self) -> String {
        "no DPDK".to_owned()
    }
    fn close(&mut self) -> u32 {
        self.0.outstanding() as u32
    }
}

/// Control, which must be able to account for every packet at its end, whatever a test did.
pub(crate) struct Accountable(Option<Control>);

impl Accountable {
    /// Every packet must have a known end.
    pub(crate) fn check(&self) {
        let status = self.balance_status();
        assert_eq!(status.missing, 0, "packets ended uncounted:\n{status}");
    }

    /// Control, for somebody else.
    pub(crate) fn take(mut self) -> Control {
        self.0.take().expect("it is there until it is taken")
    }
}

impl Deref for Accountable {
    type Target = Control;
    fn deref(&self) -> &Control {
        self.0.as_ref().expect("it is there until it is taken")
    }
}

impl DerefMut for Accountable {
    fn deref_mut(&mut self) -> &mut Control {
        self.0.as_mut().expect("it is there until it is taken")
    }
}

impl Drop for Accountable {
    fn drop(&mut self) {
        if self.0.is_some() && !std::thread::panicking() {
            self.check();
        }
    }
}

/// The box.
pub(crate) struct Bench {
    pub(crate) control: Accountable,
    pub(crate) workers: Vec<Worker<MemoryIo, VirtualClock>>,
    pool: FakePool,
    pub(crate) kernel: KernelSides,
    now_ms: u64,
}

impl Bench {
    /// Two interfaces, both down, and so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let key = new_instance_key().unwrap();
        let owners = (0..workers).map(|_| new_sticky_owner(BUCKETS, key).unwrap());
        Self::of(owners.collect(), None, 1)
    }

    /// The same with flows that are kept in a directory, as they were left there. Nothing is
    /// configured.
    pub(crate) fn kept(dir: &Path, now: &Situation) -> Result<Self, StateError> {
        let Opened { keeper, owners, tsc_start, tsc_hz } = Opened::new(dir, now)?;
        let tick_s = (now.tsc - tsc_start) / tsc_hz;
        let mut bench = Self::of(owners, Some(keeper), tick_s as u32);
        bench.control.listen();
        Ok(bench)
    }

    /// With these tables, at a second of their time.
    fn of(owners: Vec<StickyOwner>, keeper: Option<Keeper>, tick_s: u32) -> Self {
        let mut model = Model::default();
        model.add_device(LEFT, PortId(0), LEFT_MAC, 1500);
        model.add_device(RIGHT, PortId(1), RIGHT_MAC, 1500);
        model.lb.settings.buckets = owners.first().map_or(BUCKETS, buckets_of);
        let graph = graph_nodes::builder().info().unwrap();
        let (pool, kernel) = (FakePool::new(4096), KernelSides::default());
        let handles: Vec<_> = owners
            .iter()
            .enumerate()
            .map(|(index, owner)| WorkerHandle {
                shared: WorkerShared::new(index, &graph),
                sticky: Arc::clone(owner.table()),
                lcore: index as u32 + 1,
                cpu: index as u16,
            })
            .collect();
        let (control, readers) = Control::new(Parts {
            model,
            workers: handles.clone(),
            graph,
            hardware: Box::new(NoHardware(pool.clone(), Rc::clone(&kernel))),
            tsc: TscBase { start: 0, hz: TSC_HZ },
            main_cpus: "0".to_owned(),
            ticks: Ticks::From(tick_s),
            keeper,
        });
        let workers =
            handles.into_iter().zip(owners).zip(readers).map(|((handle, owner), reader)| {
                let index = handle.shared.index as u16;
                let queue = |port| RxAssignment {
                    port: PortId(port),
                    queue: QueueId(index),
                    interface: InterfaceId(port + 1),
                };
                let graph = graph_nodes::builder().build(&handle.shared).unwrap();
                let state = WorkerState::new(
                    handle.shared,
                    owner,
                    QueueId(index),
                    vec![queue(0), queue(1)],
                );
                Worker::new(
                    state,
                    graph,
                    MemoryIo::new(4096),
                    VirtualClock::at(tick_s),
                    reader,
                    PollMode::Busy,
                )
            });
        Self {
            control: Accountable(Some(control)),
            workers: workers.collect(),
            pool,
            kernel,
            now_ms: 0,
        }
    }

    /// Both interfaces up, with the addresses of the walk-through, and its three commands.
    pub(crate) fn walkthrough() -> Self {
        let mut bench = Self::routed();
        bench.all(&[
            "lb set interface nat4 in GigabitEthernet0/9/0",
            "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80",
            "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 192.168.1.3",
        ]);
        bench
    }

    /// Both interfaces up, with the addresses of the walk-through.
    pub(crate) fn routed() -> Self {
        Self::routed_with(1)
    }

    /// The same with so many workers.
    pub(crate) fn routed_with(workers: usize) -> Self {
        let mut bench = Self::new(workers);
        bench.all(&ROUTED);
        bench
    }

    /// Runs a line that must succeed.
    pub(crate) fn ok(&mut self, line: &str) -> String {
        self.run(line).unwrap_or_else(|error| panic!("{line}: {error:?}"))
    }

    /// Runs lines that must succeed.
    pub(crate) fn all(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| drop(self.ok(line)));
    }

    /// Runs a line that must fail; gives "token: reason (hint)". Nothing may have changed.
    pub(crate) fn refused(&mut self, line: &str) -> String {
        let before = (self.control.running_config(), self.control.snapshot().generation);
        let error = match self.run(line) {
            Ok(output) => panic!("{line} was accepted: {output}"),
            Err(error) => error,
        };
        let after = (self.control.running_config(), self.control.snapshot().generation);
        assert_eq!(before, after, "{line} changed something");
        assert!(!error.reason.is_empty() && error.column >= 1, "{line}: {error:?}");
        format!("{}: {} ({})", error.token, error.reason, error.hint.unwrap_or_default())
    }

    fn run(&mut self, line: &str) -> Result<String, config::CommandError> {
        let command = config::parse_line(line)?;
        let result = self.control.execute(&command).map_err(|problem| problem.in_line(line));
        self.control.publish();
        result
    }

    /// The lines of the running configuration.
    pub(crate) fn config(&self) -> Vec<String> {
        self.control.running_config().commands
    }

    /// Lets time pass, workers first, and control take notice.
    pub(crate) fn pass(&mut self, ms: u64) {
        for worker in &mut self.workers {
            worker.clock.advance((ms / 1000) as u32);
        }
        self.now_ms += ms;
        self.turn();
    }

    /// One turn of everybody.
    pub(crate) fn turn(&mut self) {
        for worker in &mut self.workers {
            worker.turn();
        }
        self.control.set_time(self.now_ms);
        self.control.pump();
    }

    /// Lets a frame arrive at a port, at the first worker, and everybody take a turn.
    pub(crate) fn arrive(&mut self, port: u16, frame: &[u8]) {
        self.arrive_at(0, port, frame);
    }

    /// The same at any worker.
    pub(crate) fn arrive_at(&mut self, worker: usize, port: u16, frame: &[u8]) {
        let io = &mut self.workers[worker].io;
        let packet = io.pool.packet(frame);
        io.arrive(PortId(port), QueueId(worker as u16), packet);
        self.turn();
    }

    /// What was sent on a port by any worker since the last time.
    pub(crate) fn sent(&mut self, port: u16) -> Vec<Vec<u8>> {
        self.workers.iter_mut().flat_map(|worker| worker.io.sent(PortId(port))).collect()
    }

    /// Ends the workers; every packet must have come back, and be accounted for.
    pub(crate) fn end(mut self) {
        self.control.check();
        for worker in &mut self.workers {
            worker.finish();
        }
        self.control.discard_events();
        for worker in &self.workers {
            assert_eq!(worker.io.pool.outstanding(), 0, "packets were lost");
        }
        assert_eq!(self.pool.outstanding(), 0, "control's packets were lost");
    }
}
