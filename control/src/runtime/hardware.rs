//! What control asks of ports and buffer pools, so that it can be tested without any.

use dataplane::dpdk::queue::PortQueues;
use dataplane::interface::{MacAddress, PortId};
use dataplane::packet::Packet;

use crate::show::buffers::PoolStatus;
use crate::show::hardware::{NamedCount, PortCounters};

/// A port as far as it does not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// The device, as configured.
    pub device: String,
    /// Driver.
    pub driver: String,
    /// NUMA node, if it has one.
    pub numa_node: Option<u32>,
    /// Receive and transmit queues.
    pub queues: (u16, u16),
    /// Most receive and transmit queues.
    pub queues_max: (u16, u16),
    /// Descriptors per receive and transmit queue.
    pub descriptors: (u16, u16),
    /// Largest IP packet by the driver's word, in bytes.
    pub mtu: u16,
    /// Receives packets whatever their destination address.
    pub promiscuous: bool,
    /// Receive offloads the driver has; none is switched on.
    pub rx_offloads: Vec<String>,
    /// Transmit offloads the driver has; none is switched on.
    pub tx_offloads: Vec<String>,
    /// By receive queue: number of the thread that polls it.
    pub rx_queue_threads: Vec<usize>,
    /// How they poll: `polling`, or `adaptive` when they sleep while nothing comes.
    pub rx_mode: &'static str,
}

/// A link's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Carrier.
    pub up: bool,
    /// Mbit/s, when known.
    pub speed_mbps: Option<u32>,
    /// Full duplex.
    pub full_duplex: bool,
}

/// What the kernel has of the network interface that a port stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelSide {
    /// Nothing of this name.
    Gone,
    /// An interface.
    Present {
        /// The kernel's index of it.
        index: u32,
        /// It is up and has carrier.
        running: bool,
    },
}

/// A port that was opened anew, under the number that it had.
#[derive(Debug)]
pub struct Reopened {
    /// By worker: its queues.
    pub queues: Vec<PortQueues>,
    /// Its Ethernet address.
    pub mac: MacAddress,
}

/// Ports and pools.
pub trait Hardware {
    /// What a port is.
    fn facts(&self, port: PortId) -> PortFacts;
    /// The state of its link.
    fn link(&self, port: PortId) -> Link;
    /// What its driver counts.
    fn counters(&self, port: PortId) -> PortCounters;
    /// The driver's own statistics.
    fn extended(&self, port: PortId) -> Vec<NamedCount>;
    /// Tells the driver of an MTU.
    fn set_mtu(&self, port: PortId, mtu: u16) -> Result<(), String>;
    /// What the kernel has of the interface that a port stands on, for devices that stand on one.
    fn kernel_side(&self, _port: PortId) -> Option<KernelSide> {
        None
    }
    /// Why a port cannot be opened anew while the daemon runs.
    fn can_reopen(&self, _port: PortId) -> Result<(), String> {
        Err("its device cannot be opened anew".to_owned())
    }
    /// Closes a port, whose queues have all been dropped, and opens it on the interface that has its
    /// name now. After an error it can be tried again.
    fn reopen(&mut self, port: PortId, _workers: usize) -> Result<Reopened, String> {
        self.can_reopen(port).and(Err("its device cannot be opened anew".to_owned()))
    }
    /// All pools.
    fn pools(&self) -> Vec<PoolStatus>;
    /// An empty packet, if there is one.
    fn alloc(&mut self) -> Option<Packet>;
    /// Gives packets back.
    fn free(&mut self, packets: &mut Vec<Packet>);
    /// The version of DPDK.
    fn version(&self) -> String;
    /// Closes the ports, after the workers have ended. Returns how many packets have not come back
    /// to their pools.
    fn close(&mut self) -> u32;
}
