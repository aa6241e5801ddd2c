//! [`Hardware`] over DPDK.

use dataplane::dpdk::kernel_link::KernelLink;
use dataplane::dpdk::mempool::{DATA_ROOM, Mempool, free_bulk};
use dataplane::dpdk::port::{Port, PortConfig, PortInfo};
use dataplane::dpdk::queue::PortQueues;
use dataplane::dpdk::{hotplug, port_stats, vdev};
use dataplane::interface::PortId;
use dataplane::packet::Packet;
use dataplane::worker::PollMode;

use super::hardware::{Hardware, KernelSide, Link, PortFacts, Reopened};
use crate::show::buffers::PoolStatus;
use crate::show::hardware::{NamedCount, PortCounters};

/// The ports and pools of this process.
pub(super) struct DpdkHardware {
    pub(super) ports: Vec<OpenPort>,
    /// By NUMA node.
    pub(super) pools: Vec<(u32, Mempool)>,
    pub(super) version: String,
}

/// A port and what else is to be said of it.
pub(super) struct OpenPort {
    /// Its number, which it keeps.
    pub(super) id: PortId,
    /// `None` between closing and opening it anew.
    pub(super) port: Option<Port>,
    /// What it turned out to be.
    pub(super) info: PortInfo,
    /// How it is set up.
    pub(super) config: PortConfig,
    /// Where its buffers come from.
    pub(super) pool: Mempool,
    /// Its `--vdev` value, if it is a virtual device.
    pub(super) vdev: Option<String>,
    pub(super) rx_workers: Vec<usize>,
    pub(super) poll: PollMode,
    /// What its driver had counted whenever it was closed.
    pub(super) past: PortCounters,
}

impl OpenPort {
    /// The kernel's interface that it stands on.
    fn kernel_interface(&self) -> Option<&str> {
        vdev::kernel_interface(self.vdev.as_ref()?)
    }

    fn counters(&self) -> PortCounters {
        let mut sum = self.past;
        if self.port.is_some() {
            sum.add(&counters(&port_stats::read(self.id)));
        }
        sum
    }

    /// Opens the device, which was closed, on the interface that is there now.
    fn open(&mut self, vdev: &str) -> Result<Port, String> {
        // It may have failed halfway before.
        let _ = hotplug::remove(vdev::device_name(vdev));
        hotplug::probe(vdev).map_err(|error| error.to_string())?;
        let port = Port::open(&self.config, &self.pool).map_err(|error| error.to_string())?;
        match port.id() == self.id {
            true => Ok(port),
            false => Err(format!("DPDK gave it the number {} for {}", port.id().0, self.id.0)),
        }
    }
}

fn counters(raw: &port_stats::PortStats) -> PortCounters {
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

impl DpdkHardware {
    fn open(&self, id: PortId) -> Option<&OpenPort> {
        self.ports.iter().find(|open| open.id == id)
    }
}

impl Hardware for DpdkHardware {
    fn facts(&self, port: PortId) -> PortFacts {
        let Some(open) = self.open(port) else { return PortFacts::default() };
        let info = &open.info;
        PortFacts {
            device: open.config.device.clone(),
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
        let Some(status) = open.port.as_ref().map(Port::link) else { return Link::default() };
        // Drivers of virtual devices say "up" always.
        let running = match self.kernel_side(port) {
            Some(side) => matches!(side, KernelSide::Present { running: true, .. }),
            None => true,
        };
        Link {
            up: status.up && running,
            speed_mbps: Some(status.speed_mbps).filter(|speed| *speed != u32::MAX && *speed > 0),
            full_duplex: status.full_duplex,
        }
    }

    fn counters(&self, port: PortId) -> PortCounters {
        self.open(port).map(OpenPort::counters).unwrap_or_default()
    }

    fn extended(&self, port: PortId) -> Vec<NamedCount> {
        let named = port_stats::read_extended(port).into_iter();
        named.map(|(name, value)| NamedCount { name, value }).collect()
    }

    fn set_mtu(&self, port: PortId, mtu: u16) -> Result<(), String> {
        let Some(open) = self.open(port).and_then(|open| open.port.as_ref()) else {
            return Ok(());
        };
        open.set_mtu(mtu).map_err(|error| error.to_string())
    }

    fn kernel_side(&self, port: PortId) -> Option<KernelSide> {
        let link = KernelLink::read(self.open(port)?.kernel_interface()?);
        match link {
            Ok(Some(KernelLink { index, running })) => Some(KernelSide::Present { index, running }),
            Ok(None) => Some(KernelSide::Gone),
            Err(_) => None,
        }
    }

    fn can_reopen(&self, port: PortId) -> Result<(), String> {
        let vdev = self.open(port).and_then(|open| open.vdev.as_deref()).unwrap_or_default();
        match vdev::driver(vdev) {
            "net_af_packet" => Ok(()),
            other => Err(format!("{other} cannot be opened anew while the daemon runs")),
        }
    }

    fn reopen(&mut self, port: PortId, workers: usize) -> Result<Reopened, String> {
        self.can_reopen(port)?;
        let open = self.ports.iter_mut().find(|open| open.id == port);
        let open = open.ok_or_else(|| format!("there is no port {}", port.0))?;
        let vdev = open.vdev.clone().unwrap_or_default();
        open.past = open.counters();
        // Its queues are gone already: this closes it.
        drop(open.port.take());
        let mut new = open.open(&vdev)?;
        open.info = new.info().clone();
        let mut queues: Vec<_> = (0..workers).map(|_| PortQueues::none(port)).collect();
        for (queue, worker) in new.take_rx_queues().into_iter().zip(&open.rx_workers) {
            queues[*worker].rx.push(queue);
        }
        for (queue, share) in new.take_tx_queues().into_iter().zip(&mut queues) {
            share.tx.push(queue);
        }
        open.port = Some(new);
        Ok(Reopened { queues, mac: open.info.mac })
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
