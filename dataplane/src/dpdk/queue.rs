//! Queues of a started port. DPDK wants each used by one thread at a time: so each is one value,
//! which cannot be copied and is moved to the worker that uses it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::dpdk::port::Device;
use crate::frame::{FRAME_MAX, Frame};
use crate::interface::{InterfaceId, PortId, QueueId};
use crate::packet::Packet;

/// May be moved to another thread, but not shared with one.
type NotSync = PhantomData<Cell<()>>;

/// A receive queue. The port stays open while it lives.
#[derive(Debug)]
pub struct RxQueue {
    device: Arc<Device>,
    id: QueueId,
    _not_sync: NotSync,
}

impl RxQueue {
    pub(super) fn new(device: Arc<Device>, id: QueueId) -> Self {
        Self { device, id, _not_sync: PhantomData }
    }

    /// The port it belongs to.
    #[inline]
    pub fn port(&self) -> PortId {
        self.device.id()
    }

    /// Its number.
    #[inline]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Receives up to the frame's room, with `interface` as the packets' receive interface. Returns
    /// how many packets came.
    #[inline]
    pub fn receive(&mut self, frame: &mut Frame, interface: InterfaceId) -> usize {
        let mut mbufs = [const { MaybeUninit::<*mut dpdk_sys::rte_mbuf>::uninit() }; FRAME_MAX];
        let want = frame.room().min(FRAME_MAX) as u16;
        let (port, queue) = (self.port().0, self.id.0);
        // SAFETY: the array has room for `want` pointers, the port is started while `device` lives,
        // and `&mut self` of the queue's only handle makes this its only user.
        let got =
            unsafe { dpdk_sys::shim_eth_rx_burst(port, queue, mbufs.as_mut_ptr().cast(), want) };
        for mbuf in &mbufs[..usize::from(got)] {
            // SAFETY: the port has written the first `got` pointers.
            let Some(mbuf) = NonNull::new(unsafe { mbuf.assume_init() }) else { continue };
            // SAFETY: a received mbuf is initialised and belongs to the receiver alone.
            let packet = unsafe { Packet::from_raw(mbuf) };
            let pushed = frame.push(packet, interface);
            debug_assert!(pushed.is_ok(), "the burst was limited to the frame's room");
        }
        usize::from(got)
    }
}

/// A transmit queue. The port stays open while it lives.
#[derive(Debug)]
pub struct TxQueue {
    device: Arc<Device>,
    id: QueueId,
    _not_sync: NotSync,
}

impl TxQueue {
    pub(super) fn new(device: Arc<Device>, id: QueueId) -> Self {
        Self { device, id, _not_sync: PhantomData }
    }

    /// The port it belongs to.
    #[inline]
    pub fn port(&self) -> PortId {
        self.device.id()
    }

    /// Its number.
    #[inline]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Sends packets; those the port takes leave `packets` from the front, the rest stay. Returns
    /// how many were taken. A driver may still fail to send what it took: it counts that as
    /// [`tx_errors`](crate::dpdk::port_stats::PortStats::tx_errors).
    #[inline]
    pub fn send(&mut self, packets: &mut Vec<Packet>) -> usize {
        let count = packets.len().min(usize::from(u16::MAX)) as u16;
        let (port, queue) = (self.port().0, self.id.0);
        // SAFETY: `Packet` is a transparent mbuf pointer, so the vector's memory is an array of
        // `count` mbufs that we own; the port is started while `device` lives, and `&mut self` of
        // the queue's only handle makes this its only user.
        let sent =
            unsafe { dpdk_sys::shim_eth_tx_burst(port, queue, packets.as_mut_ptr().cast(), count) };
        // The port owns the first `sent` now; Packet has no Drop, so dropping the handles is right.
        packets.drain(..usize::from(sent));
        usize::from(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only if `T` may be moved to another thread.
    const fn assert_send<T: Send>() {}
    const _: () = (assert_send::<RxQueue>(), assert_send::<TxQueue>()).1;

    #[test]
    fn a_packet_is_one_mbuf_pointer() {
        // Bursts pass vectors of packets to C as arrays of mbuf pointers.
        assert_eq!(size_of::<Packet>(), size_of::<*mut dpdk_sys::rte_mbuf>());
        assert_eq!(align_of::<Packet>(), align_of::<*mut dpdk_sys::rte_mbuf>());
    }
}
