//! [`Generator`]: sends packets at a rate, and looks at what comes back.

use std::time::{Duration, Instant};

use dataplane::clock::read_tsc;
use dataplane::dpdk::io::DpdkIo;
use dataplane::dpdk::port::Port;
use dataplane::frame::{FRAME_MAX, Frame};
use dataplane::interface::{InterfaceId, MacAddress, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

use crate::histogram::Histogram;
use crate::ports::device::Device;
use crate::ports::eal_ports::{EalPorts, MBUFS};
use crate::ports::generator_report::GeneratorReport;
use crate::ports::pacer::Pacer;
use crate::ports::packet_maker::PacketMaker;
use crate::ports::port_counts::PortCounts;
use crate::ports::scheduling::Scheduling;
use crate::ports::sequence_window::SequenceWindow;
use crate::ports::stamp::Stamp;
use crate::traffic::TrafficSpec;

/// Packets that are sent at once, at most.
const BURST: u64 = 32;
/// Turns after which it is seen whether somebody wants the run to end.
const TURNS_PER_LOOK: u32 = 4096;
/// A pause longer than this share of a second is not made up for: a burst of so many packets would
/// fill every queue by itself.
const PAUSE_SHARE: u64 = 10_000;
/// Nothing has come for so long (share of a second): the rest is lost.
const SILENCE_SHARE: u64 = 20;
/// Packets still on their way are waited for so long at most (share of a second).
const DRAIN_SHARE: u64 = 2;

/// The other side of a link must be there after so long.
const LINK_WAIT: Duration = Duration::from_secs(10);
const LINK_LOOK: Duration = Duration::from_millis(5);

/// How to generate.
#[derive(Clone, Debug)]
pub struct GeneratorSpec {
    /// The port.
    pub device: Device,
    /// What is sent.
    pub traffic: TrafficSpec,
    /// The device under test.
    pub to_mac: MacAddress,
    /// The CPU that generates.
    pub cpu: usize,
    /// TSC clocks per second.
    pub tsc_hz: f64,
}

/// One stretch of sending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Packets per second; `None` for as many as the port takes.
    pub rate: Option<u64>,
    /// Seconds; infinite until somebody stops it.
    pub seconds: f64,
}

/// A port, and what is sent and received through it, on the thread that made it.
#[derive(Debug)]
pub struct Generator {
    // Dropped in this order: queues before ports, and those before EAL.
    io: DpdkIo,
    ports: Vec<Port>,
    /// EAL.
    pub eal: EalPorts,
    maker: PacketMaker,
    tsc_hz: f64,
    runs: u32,
    frame: Box<Frame>,
    packets: Vec<Packet>,
    slots: Vec<Option<Packet>>,
}

/// What a run has seen.
#[derive(Debug, Default)]
struct Seen {
    sent: u64,
    refused: u64,
    starved: u64,
    foreign: u64,
    window: SequenceWindow,
    latencies: Histogram,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Packets sent so far.
    pub sent: u64,
    /// Packets that have come back so far, whosever they are.
    pub received: u64,
}

impl Seen {
    fn progress(&self) -> Progress {
        let ours = self.window.received() + self.window.duplicates() + self.window.late();
        Progress { sent: self.sent, received: ours + self.foreign }
    }
}

impl Generator {
    /// Starts EAL and opens the port.
    ///
    /// # Errors
    ///
    /// What EAL or the driver says.
    pub fn start(spec: &GeneratorSpec) -> Result<Self, String> {
        let devices = std::slice::from_ref(&spec.device);
        let eal = EalPorts::start(devices, MBUFS, spec.cpu)?;
        let (ports, io) = eal.open(devices)?;
        let maker = PacketMaker::new(&spec.traffic, spec.to_mac, spec.tsc_hz as u64);
        let (tsc_hz, frame) = (spec.tsc_hz, Frame::boxed());
        let (packets, slots) = (Vec::with_capacity(FRAME_MAX), Vec::with_capacity(FRAME_MAX));
        Ok(Self { io, ports, eal, maker, tsc_hz, runs: 0, frame, packets, slots })
    }

    /// Waits until the other side is there.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub fn wait_for_link(&self, mut stop: impl FnMut() -> bool) -> Result<(), String> {
        let start = Instant::now();
        while !self.ports.iter().all(|port| port.link().up) {
            if start.elapsed() > LINK_WAIT {
                return Err(format!("after {} s the link is still down", LINK_WAIT.as_secs()));
            }
            if stop() {
                return Err("interrupted".to_owned());
            }
            std::thread::sleep(LINK_LOOK);
        }
        Ok(())
    }

    fn port(&self) -> PortId {
        self.ports.first().map_or(PortId(0), Port::id)
    }

    /// Sends a load and reports what came back. `go_on` is asked every now and then, and ends it early.
    pub fn run(&mut self, load: Load, mut go_on: impl FnMut(Progress) -> bool) -> GeneratorReport {
        let hz = self.tsc_hz as u64;
        self.runs += 1;
        // Other processes' packets, and those of earlier runs, are not this run's.
        let run = std::process::id().wrapping_mul(0x9e37_79b1).wrapping_add(self.runs);
        let scheduling = Scheduling::of_this_thread();
        let ports = PortCounts::read(&self.ports);
        let start = read_tsc();
        let end = start.saturating_add((load.seconds * self.tsc_hz) as u64);
        let mut pacer =
            load.rate.map(|rate| Pacer::new(rate, hz, start).skipping_after(hz / PAUSE_SHARE));
        let mut seen = Seen::default();
        let (mut now, mut turns) = (start, 0_u32);
        let mut due = 0;
        while now < end {
            due = pacer.as_mut().map_or(BURST, |pacer| due + pacer.due(now));
            if due > 0 {
                due -= self.send(due.min(BURST), run, now, &mut seen);
            }
            self.receive(run, &mut seen);
            now = read_tsc();
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(TURNS_PER_LOOK) && !go_on(seen.progress()) {
                break;
            }
        }
        let sending = now.wrapping_sub(start) as f64 / self.tsc_hz;
        let (stopped, mut silent_since) = (now, now);
        while now.wrapping_sub(silent_since) < hz / SILENCE_SHARE
            && now.wrapping_sub(stopped) < hz / DRAIN_SHARE
        {
            if self.receive(run, &mut seen) > 0 {
                silent_since = read_tsc();
            }
            now = read_tsc();
        }
        let stamped = self.maker.is_stamped();
        // Without a stamp nothing but the number of packets is known.
        let received = if stamped { seen.window.received() } else { seen.foreign };
        GeneratorReport {
            wanted_mpps: load.rate.map(|rate| rate as f64 / 1e6),
            seconds: sending,
            sent: seen.sent,
            refused: seen.refused,
            starved: seen.starved,
            skipped: pacer.map_or(0, |pacer| pacer.skipped()),
            received,
            lost: seen.sent.saturating_sub(received),
            duplicates: seen.window.duplicates(),
            reordered: seen.window.reordered(),
            late: seen.window.late(),
            foreign: if stamped { seen.foreign } else { 0 },
            stamped,
            latency: seen.latencies.latency(self.tsc_hz),
            ports: PortCounts::read(&self.ports).since(ports),
            scheduling: Scheduling::of_this_thread().since(scheduling, sending),
        }
    }

    /// Sends so many packets; returns how many were attempted. Those that the port does not take have
    /// not been sent: their numbers are used again.
    #[inline]
    fn send(&mut self, count: u64, run: u32, now: u64, seen: &mut Seen) -> u64 {
        let Self { packets, slots, maker, eal, io, .. } = self;
        if !eal.pool().alloc_bulk(packets, count as u32) {
            seen.starved += 1;
            return 0;
        }
        maker.begin_burst(now);
        for (at, packet) in packets.iter_mut().enumerate() {
            maker.fill(packet, &Stamp { run, sequence: seen.sent + at as u64, tsc: now });
        }
        let port = self.ports.first().map_or(PortId(0), Port::id);
        slots.extend(packets.drain(..).map(Some));
        let taken = io.tx_burst(port, QueueId(0), slots) as u64;
        seen.sent += taken;
        packets.extend(slots.drain(..).flatten());
        if !packets.is_empty() {
            seen.refused += packets.len() as u64;
            io.free(packets);
        }
        count
    }

    /// Looks at what has come; returns how many packets.
    #[inline]
    fn receive(&mut self, run: u32, seen: &mut Seen) -> usize {
        let port = self.port();
        let Self { io, frame, packets, maker, .. } = self;
        let count = io.rx_burst(port, QueueId(0), InterfaceId(1), frame);
        if count == 0 {
            return 0;
        }
        let now = read_tsc();
        for at in 0..count {
            match Stamp::read(frame.data(at), run).filter(|_| maker.is_stamped()) {
                Some(stamp) => {
                    seen.window.see(stamp.sequence);
                    seen.latencies.add(now.saturating_sub(stamp.tsc));
                }
                None => seen.foreign += 1,
            }
            packets.extend(frame.take(at));
        }
        frame.clear();
        io.free(packets);
        count
    }
}
