//! Two workers and control on threads of their own, at random: traffic of flows that nobody may
//! disturb and of others that control keeps moving, while it publishes, resizes, flushes and reads.
//!
//! Bounded by steps, not by time: `SLUICE_STRESS_STEPS` has more of them done than the default.
//! `SLUICE_STRESS_SEED` repeats what control and the workers choose, though not how they meet.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use dataplane::interface::{MacAddress, PortId, QueueId};
use dataplane::worker::Worker;
use testkit::memory_io::MemoryIo;
use testkit::packet_builder::PacketBuilder;
use testkit::reference::frame::tcp_flag::{ACK, SYN};
use testkit::virtual_clock::VirtualClock;

use crate::bench::{Bench, CLIENT, LEFT_MAC, RIGHT_MAC, ROUTED};

const WORKERS: u16 = 2;
/// Client ports of each worker.
const PORTS: u16 = 300;
/// By turns: three VIPs that nobody touches and one that control keeps changing.
const KINDS: u16 = 4;
const CHURNED: u16 = 3;
/// The virtual seconds that a run may take at most, below the timeout of an established flow.
const SECONDS: u32 = 600;

/// What a client's flow goes to, by its port.
fn destination(port: u16) -> (Ipv4Addr, u16) {
    let n = (port / KINDS) as u8;
    match port % KINDS {
        0 => (Ipv4Addr::new(10, 10, 2, 2), 8080),
        1 => (Ipv4Addr::new(10, 10, 3, n), 8080),
        2 => (Ipv4Addr::new(90, 0, 0, n), 443),
        _ => (Ipv4Addr::new(10, 10, 4, n), 8080),
    }
}

/// What is known to everybody of the flows.
struct Flows {
    /// By client port: the AS's address, 0 before the first packet came out.
    servers: Vec<AtomicU32>,
    now_s: AtomicU32,
    stop: AtomicBool,
}

impl Flows {
    fn server(&self, port: u16) -> Option<Ipv4Addr> {
        let bits = self.servers[usize::from(port)].load(Ordering::Acquire);
        (bits != 0).then(|| bits.into())
    }
}

/// Random numbers (SplitMix64: Steele, Lea, Flood, 2014).
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn below(&mut self, end: u16) -> u16 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % u64::from(end)) as u16
    }

    /// True once in `times`.
    fn once_in(&mut self, times: u16) -> bool {
        self.below(times) == 0
    }
}

/// Where a packet must come out, and what it must look like there.
#[derive(Debug)]
struct Expected {
    port: u16,
    is_reply: bool,
}

/// The hosts around one worker.
struct Hosts<'a> {
    flows: &'a Flows,
    worker: &'a mut Worker<MemoryIo, VirtualClock>,
    index: u16,
    rng: Dice,
    /// By the number in its data: what is on its way.
    under_way: BTreeMap<u64, Expected>,
    next: u64,
}

impl Hosts<'_> {
    /// Traffic until control is done.
    fn run(mut self) -> u64 {
        while !self.flows.stop.load(Ordering::Acquire) {
            self.turn();
            if self.rng.once_in(8) {
                std::thread::yield_now();
            }
        }
        self.next
    }

    /// Some packets, and a turn of the worker that must let all of them out.
    fn turn(&mut self) {
        let now_s = self.flows.now_s.load(Ordering::Relaxed);
        let passed = now_s.wrapping_sub(self.worker.clock_s());
        self.worker.clock.advance(passed);
        for _ in 0..self.rng.below(40) {
            if self.rng.once_in(3) { self.answer() } else { self.ask() }
        }
        self.worker.turn();
        for (port, is_reply) in [(1, false), (0, true)] {
            for frame in self.worker.io.sent(PortId(port)) {
                // Not what the box says about itself.
                if frame[12..14] == [8, 0] {
                    self.came_out(&frame, is_reply);
                }
            }
        }
        assert!(self.under_way.is_empty(), "lost: {:?}", self.under_way);
    }

    fn arrive(&mut self, port: PortId, builder: PacketBuilder, expected: Expected) {
        self.next += 1;
        let data = self.next.to_be_bytes();
        let mac = [LEFT_MAC, RIGHT_MAC][usize::from(port.0)];
        let frame = builder.data(data).macs(mac, MacAddress([2, 0, 0, 0, 9, 1])).build();
        let packet = self.worker.io.pool.packet(&frame);
        self.worker.io.arrive(port, QueueId(self.index), packet);
        self.under_way.insert(self.next, expected);
    }

    /// A client sends something: mostly here, at times where the NIC did not send it before.
    fn ask(&mut self) {
        let at = if self.rng.once_in(20) { 1 - self.index } else { self.index };
        let port = 1 + at * PORTS + self.rng.below(PORTS);
        let known = self.flows.server(port).is_some();
        if !known && at != self.index {
            return;
        }
        let opens = !known || port % KINDS == CHURNED && self.rng.once_in(4);
        let flags = if opens { SYN } else { ACK };
        let builder = PacketBuilder::tcp((CLIENT, port), destination(port), flags);
        self.arrive(PortId(0), builder, Expected { port, is_reply: false });
    }

    /// An AS answers, at either worker.
    fn answer(&mut self) {
        let port = 1 + self.rng.below(WORKERS * PORTS);
        let target = match port % KINDS {
            0 => 80,
            1 => 81,
            _ => return,
        };
        let Some(server) = self.flows.server(port) else { return };
        let builder = PacketBuilder::tcp((server, target), (CLIENT, port), ACK);
        self.arrive(PortId(1), builder, Expected { port, is_reply: true });
    }

    fn came_out(&mut self, frame: &[u8], is_reply: bool) {
        let (_, number) = frame.split_last_chunk().unwrap();
        let number = u64::from_be_bytes(*number);
        let expected = self.under_way.remove(&number);
        let expected = expected.unwrap_or_else(|| panic!("{number} came out twice: {frame:02x?}"));
        assert_eq!(expected.is_reply, is_reply, "{expected:?}: {frame:02x?}");
        let address = |at: usize| Ipv4Addr::from_octets(frame[at..at + 4].try_into().unwrap());
        if is_reply {
            assert_eq!(address(26), destination(expected.port).0, "{expected:?}: {frame:02x?}");
            return;
        }
        let server = u32::from(address(30));
        let before = self.flows.servers[usize::from(expected.port)].swap(server, Ordering::AcqRel);
        let moved = before != 0 && before != server;
        assert!(
            !moved || expected.port % KINDS == CHURNED,
            "{expected:?} moved from {} to {}",
            Ipv4Addr::from(before),
            Ipv4Addr::from(server)
        );
    }
}

/// The second that a worker's clock shows.
trait ClockSeconds {
    fn clock_s(&mut self) -> u32;
}

impl ClockSeconds for Worker<MemoryIo, VirtualClock> {
    fn clock_s(&mut self) -> u32 {
        dataplane::clock::Clock::now(&mut self.clock).tick_s
    }
}

fn served() -> Bench {
    let mut bench = Bench::new(usize::from(WORKERS));
    bench.all(&ROUTED);
    bench.all(&[
        "set ip neighbor left0 10.10.10.1 02:00:00:00:09:01 static",
        "lb set interface nat4 in GigabitEthernet0/9/0",
        "lb conf ip4-src-address 39.40.41.42",
        "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80 new_len 101",
        "lb vip 10.10.3.0/24 protocol tcp port 8080 encap nat4 type clusterip target_port 81 new_len 101",
        "lb vip 90.0.0.0/24 encap gre4 new_len 101",
        "lb vip 10.10.4.0/24 protocol tcp port 8080 encap nat4 type clusterip target_port 82 new_len 101",
    ]);
    for last in 1..=16 {
        bench.ok(&format!(
            "set ip neighbor GigabitEthernet0/9/0 192.168.1.{last} 02:00:00:00:01:{last:02x} static"
        ));
    }
    for vip in [
        "10.10.2.2/32 protocol tcp port 8080",
        "10.10.3.0/24 protocol tcp port 8080",
        "90.0.0.0/24",
        CHURNED_VIP,
    ] {
        bench.ok(&format!("lb as {vip} 192.168.1.1 192.168.1.2 192.168.1.3"));
    }
    bench
}

const CHURNED_VIP: &str = "10.10.4.0/24 protocol tcp port 8080";

/// Something that control does.
fn command(rng: &mut Dice) -> String {
    // The first three ASs stay, so that there always is one.
    let last = 4 + rng.below(13);
    let server = format!("lb as {CHURNED_VIP} 192.168.1.{last}");
    match rng.below(12) {
        0..3 => format!("{server} weight {}", rng.below(101)),
        3 => format!("{server} del"),
        4 => format!("{server} del flush"),
        5 => format!("lb flush vip {CHURNED_VIP}"),
        6 => format!("lb conf buckets {}", 256 << rng.below(4)),
        7 => "show lb vips verbose".to_owned(),
        8 => "show lb".to_owned(),
        9 => {
            let port = 1 + rng.below(WORKERS * PORTS);
            let (address, to) = destination(port);
            format!("show lb flow {CLIENT} {port} {address} {to} tcp")
        }
        10 => "show runtime".to_owned(),
        _ => "show errors".to_owned(),
    }
}

fn drive(bench: &mut Bench, flows: &Flows, rng: &mut Dice, steps: u32) {
    let mut now_ms = 0;
    for _ in 0..steps {
        let line = command(rng);
        let parsed = config::parse_line(&line).unwrap_or_else(|error| panic!("{line}: {error:?}"));
        // An AS that is not there cannot be removed, and so on.
        let _ = bench.control.execute(&parsed);
        bench.control.publish();
        if rng.once_in(4) && flows.now_s.load(Ordering::Relaxed) < SECONDS {
            flows.now_s.fetch_add(1, Ordering::Relaxed);
            now_ms += 1_000;
        }
        bench.control.set_time(now_ms);
        bench.control.pump();
        for _ in 0..rng.below(4) {
            std::thread::yield_now();
        }
    }
    // What was begun comes to its end; a worker that makes none would hang here.
    while bench.control.is_resizing() {
        bench.control.pump();
        std::thread::yield_now();
    }
}

/// Tells on failure how to try again.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SLUICE_STRESS_SEED={}", self.0);
        }
    }
}

/// Ends the traffic also when control fails, so that the failure is seen.
struct StopAtEnd<'a>(&'a Flows);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

fn by_chance() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nobody_in_the_way_of_anybody() {
    let seed = Seed(number("SLUICE_STRESS_SEED").unwrap_or_else(by_chance));
    let steps = number("SLUICE_STRESS_STEPS").unwrap_or(400) as u32;
    let mut bench = served();
    let mut workers = std::mem::take(&mut bench.workers);
    let flows = Flows {
        servers: (0..=WORKERS * PORTS).map(|_| AtomicU32::new(0)).collect(),
        now_s: AtomicU32::new(1),
        stop: AtomicBool::new(false),
    };
    let packets: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS)
            .zip(&mut workers)
            .map(|(index, worker)| {
                let rng = Dice(seed.0 ^ u64::from(index + 1));
                let (under_way, next) = (BTreeMap::new(), u64::from(index) << 32);
                let flows = &flows;
                let hosts = Hosts { flows, worker, index, rng, under_way, next };
                scope.spawn(move || hosts.run())
            })
            .collect();
        {
            let _stop = StopAtEnd(&flows);
            drive(&mut bench, &flows, &mut Dice(seed.0), steps);
        }
        threads.into_iter().map(|thread| thread.join().unwrap() & 0xffff_ffff).sum()
    });
    assert!(packets > u64::from(steps), "{packets} packets only");
    bench.workers = workers;
    (0..3).for_each(|_| bench.turn());
    assert_eq!(bench.control.snapshots_held(), 0, "snapshots that nobody uses any more");
    let entries: u32 = bench.workers.iter().map(|worker| worker.state.sticky.used()).sum();
    let usage: u64 = bench.control.lb_status().workers.iter().map(|usage| usage.flows).sum();
    assert_eq!(u64::from(entries), usage);
    assert!(bench.control.lb_status().workers.iter().all(|usage| usage.flows_lost == 0));
    bench.end();
}
