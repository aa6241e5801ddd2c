//! [`Hardware`] over DPDK.

use dataplane::dpdk::mempool::{DATA_ROOM, Mempool, free_bulk};
use dataplane::dpdk::port::Port;
use dataplane::dpdk::port_stats;
use dataplane::interface::PortId;
use dataplane::packet::Packet;
use dataplane::worker::PollMode;

use super::hardware::{Hardware, Link, PortFacts};
use crate::show::buffers::PoolStatus;
use crate::show::hardware::{NamedCount, PortCounters};

/// The ports and pools of this process.
pub(super) struct DpdkHardware {
    pub(super) ports: Vec<OpenPort>,
    /// By NUMA node.
    pub(super) pools: Vec<(u32, Mempool)>,
    pub(super) version: String,
}

/// A started port and what else is to be said of it.
pub(super) struct OpenPort {
    pub(super) port: Port,
    pub(super) device: String,
    pub(super) rx_workers: Vec<usize>,
    pub(super) poll: PollMode,
}

impl DpdkHardware {
    fn open(&self, id: PortId) -> Option<&OpenPort> {
        self.ports.iter().find(|open| open.port.id() == id)
    }
}

impl Hardware for DpdkHardware {
    fn facts(&self, port: PortId) -> PortFacts {
        let Some(open) = self.open(port) else { return PortFacts::default() };
        let info = open.port.info();
        PortFacts {
            device: open.device.clone(),
            driver: info.driver.clone(),
            numa_node: info.node,
            queues: info.queues,
            queues_max: info.max_queues,
            descriptors: info.descriptors,
            mtu: info.mtu,
            promiscuous: info.promiscuous,
            rx_offloads: info.rx_offloads.clone(),
            tx_offloads: info.tx_offloads.clone(),
            rx_queue_threads: open.rx_workers.iter().map(|worker| worker + 1).collect(),
            rx_mode: match open.poll {
                PollMode::Busy => "polling",
                PollMode::Adaptive { .. } => "adaptive",
            },
        }
    }

    fn link(&self, port: PortId) -> Link {
        let Some(open) = self.open(port) else { return Link::default() };
        let status = open.port.link();
        Link {
            up: status.up,
            speed_mbps: Some(status.speed_mbps).filter(|speed| *speed != u32::MAX && *speed > 0),
            full_duplex: status.full_duplex,
        }
    }

    fn counters(&self, port: PortId) -> PortCounters {
        let raw = port_stats::read(port);
        PortCounters {
            rx_packets: raw.rx_packets,
            rx_bytes: raw.rx_bytes,
            tx_packets: raw.tx_packets,
            tx_bytes: raw.tx_bytes,
            rx_missed: raw.rx_missed,
            rx_errors: raw.rx_errors,
            tx_errors: raw.tx_errors,
            rx_no_buffer: raw.rx_no_buffer,
        }
    }

    fn extended(&self, port: PortId) -> Vec<NamedCount> {
        let named = port_stats::read_extended(port).into_iter();
        named.map(|(name, value)| NamedCount { name, value }).collect()
    }

    fn set_mtu(&self, port: PortId, mtu: u16) -> Result<(), String> {
        let Some(open) = self.open(port) else { return Ok(()) };
        open.port.set_mtu(mtu).map_err(|error| error.to_string())
    }

    fn pools(&self) -> Vec<PoolStatus> {
        let status = |(index, (numa_node, pool)): (usize, &(u32, Mempool))| {
            let cached = pool.cached();
            PoolStatus {
                name: format!("default-numa-{numa_node}"),
                index,
                numa_node: *numa_node,
                buffer_bytes: pool.element_bytes(),
                data_bytes: u32::from(DATA_ROOM),
                total: pool.size(),
                available: pool.available().saturating_sub(cached),
                cached,
                used: pool.in_use(),
            }
        };
        self.pools.iter().enumerate().map(status).collect()
    }

    fn alloc(&mut self) -> Option<Packet> {
        self.pools.iter().find_map(|(_, pool)| pool.alloc())
    }

    fn free(&mut self, packets: &mut Vec<Packet>) {
        free_bulk(packets);
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn close(&mut self) -> u32 {
        self.ports.clear();
        self.pools.iter().map(|(_, pool)| pool.in_use()).sum()
    }
}
