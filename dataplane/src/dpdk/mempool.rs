//! Packet memory pools.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::dpdk::error::DpdkError;
use crate::packet::Packet;

/// Mbufs that each lcore may keep in its own cache.
pub const CACHE_PER_LCORE: u32 = 512;
/// Data room of an mbuf, in bytes, without headroom: a full Ethernet frame with room to spare.
/// Below about 2 KB `net_af_packet` refuses the pool at its default frame size.
pub const DATA_ROOM: u16 = 2048;
/// Memory one mbuf takes without hugepages, where it may not cross a page.
pub const NO_HUGE_BYTES_PER_MBUF: u64 = 4096;

struct Inner {
    pool: NonNull<dpdk_sys::rte_mempool>,
    size: u32,
    name: String,
}

// SAFETY: mempools are made for use from many threads at once.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this is the last handle; ports that used the pool are closed before.
        unsafe { dpdk_sys::rte_mempool_free(self.pool.as_ptr()) };
    }
}

/// A pool of mbufs on one NUMA node; freed with its last handle.
#[derive(Clone)]
pub struct Mempool(Arc<Inner>);

impl std::fmt::Debug for Mempool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mempool({}, {} mbufs)", self.0.name, self.0.size)
    }
}

impl Mempool {
    /// Creates a pool of `mbufs` packets on NUMA node `node`. The EAL must be running.
    pub fn create(name: &str, mbufs: u32, node: u32) -> Result<Self, DpdkError> {
        let action = || format!("creating the buffer pool {name} of {mbufs} buffers");
        let c_name = CString::new(name)
            .map_err(|_| DpdkError::because(action(), "its name has a NUL byte"))?;
        let cache = CACHE_PER_LCORE.min(mbufs * 2 / 3);
        // SAFETY: the name is a valid string that DPDK copies; the other arguments are plain values
        // that it checks.
        let pool = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(
                c_name.as_ptr(),
                mbufs,
                cache,
                0,
                DATA_ROOM + dpdk_sys::RTE_PKTMBUF_HEADROOM as u16,
                node as i32,
            )
        };
        let pool = NonNull::new(pool).ok_or_else(|| DpdkError::last(action()))?;
        Ok(Self(Arc::new(Inner { pool, size: mbufs, name: name.to_owned() })))
    }

    pub(super) fn raw(&self) -> *mut dpdk_sys::rte_mempool {
        self.0.pool.as_ptr()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Mbufs it was created with.
    pub fn size(&self) -> u32 {
        self.0.size
    }

    /// Mbufs that are neither in the pool nor in an lcore's cache: in receive rings, in flight, held.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool is alive while a handle is.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.raw()) }
    }

    /// An empty packet with headroom, or `None` when the pool is exhausted.
    #[inline]
    pub fn alloc(&self) -> Option<Packet> {
        // SAFETY: the pool is alive while a handle is.
        let mbuf = unsafe { dpdk_sys::shim_pktmbuf_alloc(self.raw()) };
        // SAFETY: a fresh mbuf is initialised, has reference count 1 and nobody else knows it.
        NonNull::new(mbuf).map(|mbuf| unsafe { Packet::from_raw(mbuf) })
    }
}

/// Returns packets to the pools they came from, whichever those are. `packets` is left empty.
#[inline]
pub fn free_bulk(packets: &mut Vec<Packet>) {
    let count = packets.len() as u32;
    // SAFETY: `Packet` is a transparent non-null mbuf pointer, so the vector's memory is an array of
    // `count` mbuf pointers; emptying the vector first gives up our ownership (Packet has no Drop).
    unsafe {
        packets.set_len(0);
        dpdk_sys::rte_pktmbuf_free_bulk(packets.as_mut_ptr().cast(), count);
    }
}
