//! Packet memory pools.

use std::ffi::CString;
use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::dpdk::eal::{self, EalUse};
use crate::dpdk::error::DpdkError;
use crate::dpdk::pool_memory::PoolMemory;
use crate::packet::Packet;

/// Mbufs that each lcore may keep in its own cache.
pub const CACHE_PER_LCORE: u32 = 512;
/// Data room of an mbuf, in bytes, without headroom: a full Ethernet frame with room to spare.
/// Below about 2 KB `net_af_packet` refuses the pool at its default frame size.
pub const DATA_ROOM: u16 = 2048;
/// Memory one mbuf takes, at most: mempool header, mbuf, headroom, data room and the padding that
/// spreads objects over memory channels.
pub const BYTES_PER_MBUF: u64 = 2560;
/// What stands for the I/O address of memory that no device reads (`RTE_BAD_IOVA`).
const NO_IO_ADDRESS: u64 = u64::MAX;
/// Memory EAL, rings and drivers need beside the pools, in MiB.
const BESIDE_POOLS_MIB: u64 = 24;

/// Memory in MiB that a NUMA node needs for a pool of `mbufs` packets and what goes with it.
pub fn needed_mib(mbufs: u32) -> u32 {
    // The pool's ring holds a pointer per mbuf and has a power of two of slots.
    let ring = u64::from(mbufs).next_power_of_two().saturating_mul(16);
    let bytes = u64::from(mbufs) * BYTES_PER_MBUF + ring;
    u32::try_from(bytes.div_ceil(1 << 20) + BESIDE_POOLS_MIB).unwrap_or(u32::MAX)
}

struct Inner {
    pool: NonNull<dpdk_sys::rte_mempool>,
    size: u32,
    name: String,
    /// Where the packets are, if not in EAL's memory. Dropped behind the pool.
    memory: Option<PoolMemory>,
    _eal: EalUse,
}

impl Inner {
    /// The first half of what `rte_pktmbuf_pool_create` does, which has no way to pass flags.
    fn prepare(&mut self, room: u16, action: impl Fn() -> String) -> Result<(), DpdkError> {
        // SAFETY: returns a static string.
        let ops = unsafe { dpdk_sys::rte_mbuf_best_mempool_ops() };
        let pool = self.pool.as_ptr();
        // SAFETY: the pool is alive, empty and known to this thread only.
        let status =
            unsafe { dpdk_sys::rte_mempool_set_ops_byname(pool, ops, std::ptr::null_mut()) };
        DpdkError::check(status, &action)?;
        let mut private = dpdk_sys::rte_pktmbuf_pool_private {
            mbuf_data_room_size: room,
            ..dpdk_sys::rte_pktmbuf_pool_private::default()
        };
        // SAFETY: the pool has room for this private structure, which is copied.
        unsafe { dpdk_sys::rte_pktmbuf_pool_init(pool, (&raw mut private).cast()) };
        Ok(())
    }

    /// The second half: fills the pool.
    fn populate(&mut self, action: impl Fn() -> String) -> Result<(), DpdkError> {
        let pool = self.pool.as_ptr();
        if eal::keeps_packets() {
            self.memory = PoolMemory::new(self.packet_bytes());
        }
        let status = match &self.memory {
            // SAFETY: the pool is alive and empty, and is freed before the memory.
            Some(memory) => unsafe {
                let (start, bytes) = (memory.packets().cast(), memory.bytes());
                dpdk_sys::rte_mempool_populate_iova(
                    pool,
                    start,
                    NO_IO_ADDRESS,
                    bytes,
                    None,
                    std::ptr::null_mut(),
                )
            },
            // SAFETY: the pool is alive and empty.
            None => unsafe { dpdk_sys::rte_mempool_populate_default(pool) },
        };
        let packets = DpdkError::check(status, &action)?;
        debug_assert_eq!(u32::try_from(packets), Ok(self.size));
        let init = Some(dpdk_sys::rte_pktmbuf_init as _);
        // SAFETY: every object has the size of an mbuf with its buffer, and nobody uses one yet.
        unsafe { dpdk_sys::rte_mempool_obj_iter(pool, init, std::ptr::null_mut()) };
        Ok(())
    }

    /// Memory for all packets, with what DPDK puts before and behind each.
    fn packet_bytes(&self) -> usize {
        // SAFETY: the pool is alive, and these fields never change.
        let [before, packet, behind] = unsafe {
            let pool = self.pool.as_ref();
            [pool.header_size, pool.elt_size, pool.trailer_size].map(|bytes| bytes as usize)
        };
        self.size as usize * (before + packet + behind)
    }
}

// SAFETY: mempools are made for use from many threads at once.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this is the last handle; ports hold one until they are closed.
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
    /// Creates a pool of `mbufs` packets on NUMA node `node`.
    ///
    /// Without hugepages the mbufs may cross pages, which halves their memory and keeps them from
    /// all starting at the same offset of a page, where they would fight for one cache set. It is
    /// right there, as I/O addresses are virtual addresses and no device does DMA. Where no other
    /// process needs to see packets either, they are in memory of our own, in transparent huge pages if
    /// the kernel has them.
    pub fn create(name: &str, mbufs: u32, node: u32) -> Result<Self, DpdkError> {
        let action = || format!("creating the buffer pool {name} of {mbufs} buffers");
        let eal = EalUse::new(action)?;
        let c_name = CString::new(name)
            .map_err(|_| DpdkError::because(action(), "its name has a NUL byte"))?;
        let flags = if eal::has_hugepages() { 0 } else { dpdk_sys::RTE_MEMPOOL_F_NO_IOVA_CONTIG };
        let room = DATA_ROOM + dpdk_sys::RTE_PKTMBUF_HEADROOM as u16;
        // SAFETY: the name is a valid string that DPDK copies; the other arguments are plain values
        // that it checks.
        let pool = unsafe {
            dpdk_sys::rte_mempool_create_empty(
                c_name.as_ptr(),
                mbufs,
                (size_of::<dpdk_sys::rte_mbuf>() + usize::from(room)) as u32,
                CACHE_PER_LCORE.min(mbufs / 2),
                size_of::<dpdk_sys::rte_pktmbuf_pool_private>() as u32,
                eal::memory_node(Some(node)),
                flags,
            )
        };
        let pool = NonNull::new(pool).ok_or_else(|| DpdkError::last(action()))?;
        // From here on a failure frees the pool.
        let name = name.to_owned();
        let mut inner = Inner { pool, size: mbufs, name, memory: None, _eal: eal };
        inner.prepare(room, action)?;
        inner.populate(action)?;
        Ok(Self(Arc::new(inner)))
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

    /// Bytes of one mbuf, with its header, headroom and data room.
    pub fn element_bytes(&self) -> u32 {
        // SAFETY: the pool is alive while a handle is, and this field never changes.
        unsafe { (*self.raw()).elt_size }
    }

    /// Mbufs that can be had: in the pool itself or in an lcore's cache.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is alive while a handle is.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.raw()) }
    }

    /// Mbufs in the caches of lcores, each for that lcore only; part of
    /// [`available`](Self::available).
    pub fn cached(&self) -> u32 {
        // SAFETY: the pool is alive while a handle is, and this field never changes.
        let caches = unsafe { (*self.raw()).local_cache };
        if caches.is_null() {
            return 0;
        }
        let lengths = (0..dpdk_sys::RTE_MAX_LCORE as usize).map(|lcore| {
            // SAFETY: a pool with caches has one for each possible lcore.
            let len = unsafe { &raw mut (*caches.add(lcore)).len };
            // SAFETY: the field is an aligned u32 of living memory; its lcore writes it meanwhile,
            // in one store, so a relaxed read gives a value that was true a moment ago.
            unsafe { AtomicU32::from_ptr(len) }.load(Ordering::Relaxed)
        });
        lengths.sum()
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

    /// Appends `count` empty packets with headroom; false, and none, when the pool has fewer.
    /// Does not allocate memory when `packets` has the capacity.
    #[inline]
    #[must_use]
    pub fn alloc_bulk(&self, packets: &mut Vec<Packet>, count: u32) -> bool {
        packets.reserve(count as usize);
        let room = packets.spare_capacity_mut().as_mut_ptr();
        // SAFETY: `Packet` is a transparent mbuf pointer and the vector has room for `count` more.
        let status = unsafe { dpdk_sys::shim_pktmbuf_alloc_bulk(self.raw(), room.cast(), count) };
        if status != 0 {
            return false;
        }
        let len = packets.len() + count as usize;
        // SAFETY: on success all `count` pointers are fresh mbufs, each known to this vector only.
        unsafe { packets.set_len(len) };
        true
    }
}

/// Returns packets to the pools they came from, whichever those are. `packets` is left empty.
#[inline]
pub fn free_bulk(packets: &mut Vec<Packet>) {
    let count = packets.len() as u32;
    // SAFETY: no element is touched by this; emptying the vector gives up our ownership of the
    // packets, which have no Drop.
    unsafe { packets.set_len(0) };
    // SAFETY: `Packet` is a transparent non-null mbuf pointer, so the vector's memory still is an
    // array of `count` pointers to mbufs that nobody else owns.
    unsafe { dpdk_sys::rte_pktmbuf_free_bulk(packets.as_mut_ptr().cast(), count) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_the_buffers() {
        assert_eq!(needed_mib(0), 25);
        assert_eq!(needed_mib(16_384), 40 + 1 + 24);
        assert!(needed_mib(u32::MAX) > needed_mib(1 << 20));
    }

    #[test]
    fn no_pool_without_the_eal() {
        let error = Mempool::create("x", 100, 0).unwrap_err();
        assert!(error.to_string().ends_with("the EAL is not running"), "{error}");
    }
}
