//! `show buffers`, `GET /v1/buffers`.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::layout::center;

/// All buffer pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Buffers {
    /// By NUMA node.
    pub pools: Vec<PoolStatus>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolStatus {
    /// Name.
    pub name: String,
    /// Number.
    pub index: usize,
    /// NUMA node.
    pub numa_node: u32,
    /// Size of a buffer, its header and headroom included.
    pub buffer_bytes: u32,
    /// Room for packet data in a buffer.
    pub data_bytes: u32,
    /// Buffers.
    pub total: u32,
    /// Buffers that are free for all.
    pub available: u32,
    /// Buffers that are free, in the caches of threads.
    pub cached: u32,
    /// Buffers in receive rings, in flight or held.
    pub used: u32,
}

impl Display for Buffers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head = [
            ("Index", 6),
            ("NUMA", 6),
            ("Size", 6),
            ("Data Size", 11),
            ("Total", 7),
            ("Avail", 7),
            ("Cached", 8),
            ("Used", 8),
        ];
        let head: String = head.iter().map(|(title, width)| center(title, *width)).collect();
        writeln!(f, "{:<20}{head}", "Pool Name")?;
        for pool in &self.pools {
            let cells = [
                center(pool.index, 6),
                center(pool.numa_node, 6),
                center(pool.buffer_bytes, 6),
                center(pool.data_bytes, 11),
                center(pool.total, 7),
                center(pool.available, 7),
                center(pool.cached, 8),
                center(pool.used, 8),
            ];
            writeln!(f, "{:<20}{}", pool.name, cells.concat())?;
        }
        Ok(())
    }
}
