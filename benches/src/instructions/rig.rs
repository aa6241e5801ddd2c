//! [`Rig`]: one load balancer that does the same in every run.

use balancer::InstanceKey;
use control::control::TscBase;
use dataplane::interface::PortId;
use dataplane::worker::Worker;

use super::callgrind;
use super::frames::{Frames, MAC};
use super::replay_port::ReplayPort;
use super::still_clock::StillClock;
use crate::appliance::{Appliance, Setup};
use crate::lent::Lent;
use crate::mode::Mode;
use crate::service::Service;
use crate::traffic::Protocol;

/// The key of sticky tables, which is random elsewhere.
const INSTANCE: [u8; 32] = *b"a key that is equal in each run.";
/// ASs.
const SERVERS: u16 = 16;
/// Sticky buckets: room for all flows, the new ones included.
const BUCKETS: u32 = 1 << 14;
/// A second in the middle of things.
const NOW_S: u32 = 1000;
/// TSC clocks per second, of a clock that stands still.
const HZ: u64 = 1_000_000_000;

type RigWorker = Worker<Lent<ReplayPort>, StillClock>;

/// A load balancer with one worker, and its port.
pub(super) struct Rig {
    appliance: Appliance<ReplayPort, StillClock>,
}

impl Rig {
    /// A load balancer set up for a mode.
    ///
    /// # Errors
    ///
    /// A command that is refused.
    pub(super) fn new(mode: Mode, protocol: Protocol) -> Result<Self, String> {
        let setup = Setup {
            mode,
            family: mode.usual_family(),
            protocol,
            service: Service::of(SERVERS),
            buckets: BUCKETS,
            workers: 1,
            port: PortId(0),
            mac: MAC,
            hz: HZ,
        };
        let instance = InstanceKey::from_bytes(INSTANCE);
        let tsc = TscBase { start: 0, hz: HZ };
        let clock = || StillClock { tick_s: NOW_S };
        let mut appliance = Appliance::with(&setup, &setup.commands(), instance, tsc, clock)?;
        for worker in &mut appliance.workers {
            worker.io.put(ReplayPort::default());
        }
        Ok(Self { appliance })
    }

    fn worker(&mut self) -> Result<&mut RigWorker, String> {
        self.appliance.workers.first_mut().ok_or_else(|| "no worker".to_owned())
    }

    fn port(&mut self) -> Result<&mut ReplayPort, String> {
        self.worker()?.io.get_mut().ok_or_else(|| "no port".to_owned())
    }

    /// Lets frames through; returns what left.
    ///
    /// # Errors
    ///
    /// Packets that did not leave.
    pub(super) fn pass(&mut self, frames: Frames) -> Result<Frames, String> {
        let count = frames.len();
        let port = self.port()?;
        port.load(frames);
        port.keep_sent(true);
        forward_all(self.worker()?);
        let port = self.port()?;
        match port.ended() {
            (sent, 0) if sent == count => Ok(port.keep_sent(false)),
            (sent, freed) => {
                Err(format!("of {count} packets {sent} were sent and {freed} dropped"))
            }
        }
    }

    /// Lets frames through and counts what the worker does.
    ///
    /// # Errors
    ///
    /// Packets that did not leave.
    pub(super) fn count(&mut self, frames: Frames, name: &str) -> Result<(), String> {
        let count = frames.len();
        let port = self.port()?;
        port.load(frames);
        port.set_counting(true);
        let worker = self.worker()?;
        callgrind::counted(name, || forward_all(worker))?;
        let port = self.port()?;
        port.set_counting(false);
        match port.ended() {
            (sent, 0) if sent == count => Ok(()),
            (sent, freed) => {
                Err(format!("of {count} packets {sent} were sent and {freed} dropped"))
            }
        }
    }
}

/// Turns until the port has brought everything.
#[inline(never)]
fn forward_all(worker: &mut RigWorker) {
    while worker.turn() > 0 {}
}
