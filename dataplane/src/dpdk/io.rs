//! [`PacketIo`] over DPDK ports.

use std::ptr::NonNull;

use crate::dpdk::mempool::{Mempool, free_bulk};
use crate::frame::{FRAME_MAX, Frame};
use crate::interface::{InterfaceId, PortId, QueueId};
use crate::io::PacketIo;
use crate::packet::Packet;

/// Largest burst asked of a port at once.
const BURST: usize = FRAME_MAX;

/// A worker's way to its ports. It may only be given queues that no other worker uses.
#[derive(Debug)]
pub struct DpdkIo {
    pool: Mempool,
}

impl DpdkIo {
    /// With the pool for packets made by this worker.
    pub fn new(pool: Mempool) -> Self {
        Self { pool }
    }
}

impl PacketIo for DpdkIo {
    #[inline]
    fn rx_burst(
        &mut self,
        port: PortId,
        queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize {
        let mut mbufs = [std::ptr::null_mut(); BURST];
        let want = frame.room().min(BURST) as u16;
        // SAFETY: the array has room for `want` pointers; the port is started and the queue is this
        // worker's alone, as `control` assigns it.
        let got = unsafe { dpdk_sys::shim_eth_rx_burst(port.0, queue.0, mbufs.as_mut_ptr(), want) };
        for &mbuf in &mbufs[..usize::from(got)] {
            let Some(mbuf) = NonNull::new(mbuf) else { continue };
            // SAFETY: a received mbuf is initialised and belongs to the receiver alone.
            let packet = unsafe { Packet::from_raw(mbuf) };
            let pushed = frame.push(packet, interface);
            debug_assert!(pushed.is_ok(), "the burst was limited to the frame's room");
        }
        usize::from(got)
    }

    #[inline]
    fn tx_burst(&mut self, port: PortId, queue: QueueId, packets: &mut Vec<Packet>) -> usize {
        let count = packets.len().min(usize::from(u16::MAX)) as u16;
        // SAFETY: `Packet` is a transparent mbuf pointer, so the vector's memory is an array of
        // `count` mbufs that we own; the queue is this worker's alone.
        let sent = unsafe {
            dpdk_sys::shim_eth_tx_burst(port.0, queue.0, packets.as_mut_ptr().cast(), count)
        };
        // The port owns the first `sent` now; Packet has no Drop, so dropping the handles is right.
        packets.drain(..usize::from(sent));
        usize::from(sent)
    }

    #[inline]
    fn alloc(&mut self) -> Option<Packet> {
        self.pool.alloc()
    }

    #[inline]
    fn free(&mut self, packets: &mut Vec<Packet>) {
        free_bulk(packets);
    }
}
