//! [`EalPorts`]: DPDK's ports for a process of the bench, through EAL as the daemon has it.

use dataplane::dpdk::eal::Eal;
use dataplane::dpdk::eal_args::EalArgs;
use dataplane::dpdk::hugepages::{HugepagePolicy, choose_here, node_of_cpu};
use dataplane::dpdk::io::DpdkIo;
use dataplane::dpdk::log;
use dataplane::dpdk::mempool::{Mempool, needed_mib};
use dataplane::dpdk::port::{Port, PortConfig};

use crate::ports::device::Device;

/// Descriptors of each queue, as far as the driver allows.
const DESCRIPTORS: u16 = 1024;
/// Mbufs of a process with one or two ports: full rings in both directions, bursts on their way, caches.
pub const MBUFS: u32 = 16 << 10;

/// Running EAL with its pool.
#[derive(Debug)]
pub struct EalPorts {
    // Dropped in this order.
    pool: Mempool,
    eal: Eal,
    /// Where the memory is, and why, in a line.
    pub memory: String,
}

impl EalPorts {
    /// Starts EAL on the calling thread, which is bound to `cpu` from then on, with a pool of `mbufs`.
    /// Neither hugepages nor
    /// root are needed, but what a device needs by itself.
    ///
    /// # Errors
    ///
    /// What EAL says.
    pub fn start(devices: &[Device], mbufs: u32, cpu: usize) -> Result<Self, String> {
        let node = node_of_cpu(cpu);
        let policy = HugepagePolicy::Auto;
        let (memory, why) = choose_here(policy, needed_mib(mbufs), &[node])?;
        let mut extra = vec!["--no-telemetry".to_owned()];
        if devices.iter().any(Device::shares_memory) {
            extra.push("--single-file-segments".to_owned());
        }
        let pci = |device: &Device| match device {
            Device::Pci(address) => Some(address.clone()),
            Device::Virtual(_) => None,
        };
        log::set_sink(|line| eprintln!("dpdk: {line}"));
        let eal = Eal::start(&EalArgs {
            main_cpus: vec![cpu],
            worker_cpus: Vec::new(),
            file_prefix: format!("sluice-bench-{}", std::process::id()),
            memory,
            vdevs: devices.iter().filter_map(Device::vdev).collect(),
            pci: devices.iter().filter_map(pci).collect(),
            extra,
        })
        .map_err(|error| error.to_string())?;
        let pool = Mempool::create("bench", mbufs, node).map_err(|error| error.to_string())?;
        Ok(Self { pool, eal, memory: why })
    }

    /// The pool of all packets.
    pub fn pool(&self) -> &Mempool {
        &self.pool
    }

    /// Opens devices, each with one queue of either kind: their owners, and the way to their packets.
    ///
    /// # Errors
    ///
    /// What a driver says.
    pub fn open(&self, devices: &[Device]) -> Result<(Vec<Port>, DpdkIo), String> {
        let (mut ports, mut rx, mut tx) = (Vec::new(), Vec::new(), Vec::new());
        for device in devices {
            let config = PortConfig {
                name: device.name().to_owned(),
                device: device.name().to_owned(),
                rx_queues: 1,
                tx_queues: 1,
                rx_descriptors: DESCRIPTORS,
                tx_descriptors: DESCRIPTORS,
            };
            let port = Port::start(&self.eal, &config, &self.pool);
            let mut port = port.map_err(|error| error.to_string())?;
            rx.extend(port.take_rx_queues());
            tx.extend(port.take_tx_queues());
            ports.push(port);
        }
        Ok((ports, DpdkIo::new(self.pool.clone(), rx, tx)))
    }
}
