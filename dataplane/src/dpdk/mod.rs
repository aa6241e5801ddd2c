//! Safe owners of DPDK's objects: the EAL, memory pools, ports, lcores. Nothing outside this folder
//! and [`packet`](crate::packet) calls DPDK.

pub mod cpu;
pub mod eal;
pub mod eal_args;
pub mod error;
pub mod hotplug;
pub mod hugepages;
pub mod io;
pub mod kernel_link;
pub mod lcore;
pub mod log;
pub mod mempool;
mod pool_memory;
pub mod port;
pub mod port_stats;
pub mod queue;
pub mod runtime_files;
pub mod vdev;
