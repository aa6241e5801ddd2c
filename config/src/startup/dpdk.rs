//! `[dpdk]` and `[[dpdk.dev]]`: memory and devices.

use crate::Spanned;

/// Where packet memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hugepages {
    /// Hugepages if there are enough, ordinary pages otherwise.
    Auto,
    /// Hugepages or no start.
    Required,
    /// Ordinary pages.
    Off,
}

/// What a device is, for DPDK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A virtual device, as `--vdev` takes it: `net_af_packet0,iface=veth0`.
    Vdev(Spanned<String>),
    /// A PCI address, `0000:02:00.0`.
    Pci(Spanned<String>),
}

impl Device {
    /// Is this a device that the kernel feeds, where busy polling only burns a CPU?
    pub fn is_kernel_fed(&self) -> bool {
        match self {
            Device::Vdev(vdev) => vdev.starts_with("net_af_packet") || vdev.starts_with("net_tap"),
            Device::Pci(_) => false,
        }
    }
}

/// One `[[dpdk.dev]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dev {
    /// The interface's name in every command.
    pub name: Spanned<String>,
    /// The device behind it.
    pub device: Device,
    /// Receive queues.
    pub num_rx_queues: u16,
    /// Transmit queues; `None` is one for each worker.
    pub num_tx_queues: Option<u16>,
    /// Descriptors of a receive queue.
    pub num_rx_desc: u16,
    /// Descriptors of a transmit queue.
    pub num_tx_desc: u16,
}

/// The `[dpdk]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dpdk {
    /// Where packet memory comes from.
    pub hugepages: Hugepages,
    /// Packet buffers on each NUMA node.
    pub buffers_per_numa: u32,
    /// Arguments passed on to the EAL after Sluice's own.
    pub eal_args: Vec<Spanned<String>>,
    /// The devices, in the order of the file.
    pub devs: Vec<Dev>,
}
