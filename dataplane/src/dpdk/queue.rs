//! Queues of a started port. DPDK wants each used by one thread at a time: so each is one value,
//! which cannot be copied and is moved to the worker that uses it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::dpdk::port::Device;
use crate::frame::Frame;
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
        let (port, queue) = (self.port().0, self.id.0);
        frame.fill(interface, |slots| {
            let want = slots.len().min(usize::from(u16::MAX)) as u16;
            let mbufs = slots.as_mut_ptr().cast();
            // SAFETY: `Option<Packet>` is a nullable mbuf pointer, and there are `want` of them; the
            // mbufs that the port writes there are initialised and belong to the receiver alone. The
            // port is started while `device` lives, and `&mut self` of the queue's only handle makes
            // this its only user.
            usize::from(unsafe { dpdk_sys::shim_eth_rx_burst(port, queue, mbufs, want) })
        })
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

    /// Sends packets; those the port takes leave their slots empty, from the first on, the rest stay.
    /// Nothing behind an empty slot is sent. Returns how many were taken. A driver may still fail to
    /// send what it took: it counts that as
    /// [`tx_errors`](crate::dpdk::port_stats::PortStats::tx_errors).
    #[inline]
    pub fn send(&mut self, packets: &mut [Option<Packet>]) -> usize {
        let (port, queue) = (self.port().0, self.id.0);
        let count = leading(packets).min(usize::from(u16::MAX)) as u16;
        let mbufs = packets.as_mut_ptr().cast();
        // SAFETY: `Option<Packet>` is a nullable mbuf pointer, and the first `count` are mbufs that
        // we own; the port is started while `device` lives, and `&mut self` of the queue's only
        // handle makes this its only user.
        let sent = unsafe { dpdk_sys::shim_eth_tx_burst(port, queue, mbufs, count) };
        // They are the port's now; Packet has no Drop, so overwriting the handles is right.
        packets[..usize::from(sent)].fill_with(|| None);
        usize::from(sent)
    }
}

/// The queues of one port that belong to one worker.
#[derive(Debug)]
pub struct PortQueues {
    /// The port.
    pub port: PortId,
    /// Its receive queues.
    pub rx: Vec<RxQueue>,
    /// Its transmit queues.
    pub tx: Vec<TxQueue>,
}

impl PortQueues {
    /// None of this port.
    pub fn none(port: PortId) -> Self {
        Self { port, rx: Vec::new(), tx: Vec::new() }
    }
}

/// How many slots in front have packets.
#[inline]
fn leading(packets: &[Option<Packet>]) -> usize {
    // Nearly always all, which is seen several at once when no loop ends early.
    if packets.iter().fold(true, |all, slot| all & slot.is_some()) {
        return packets.len();
    }
    packets.iter().position(Option::is_none).unwrap_or(packets.len())
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;

    /// Compiles only if `T` may be moved to another thread.
    const fn assert_send<T: Send>() {}
    const _: () = (assert_send::<RxQueue>(), assert_send::<TxQueue>()).1;

    #[test]
    fn a_slot_is_one_mbuf_pointer() {
        // Bursts pass slices of slots to C as arrays of mbuf pointers, where null is an empty slot.
        assert_eq!(size_of::<Option<Packet>>(), size_of::<*mut dpdk_sys::rte_mbuf>());
        assert_eq!(align_of::<Option<Packet>>(), align_of::<*mut dpdk_sys::rte_mbuf>());
        let mut slots = [const { None::<Packet> }; 2];
        // SAFETY: a slot has the size and alignment of a pointer, and all its bytes are initialised.
        assert!(unsafe { slots.as_mut_ptr().cast::<*mut u8>().read() }.is_null());
    }

    #[test]
    fn nothing_behind_an_empty_slot_is_sent() {
        let mut mbuf = dpdk_sys::rte_mbuf::default();
        let mut packet = || {
            // SAFETY: the handles are compared with none, never used.
            Some(unsafe { Packet::from_raw(NonNull::from(&mut mbuf)) })
        };
        assert_eq!(leading(&[]), 0);
        assert_eq!(leading(&[None, packet()]), 0);
        assert_eq!(leading(&[packet(), packet(), None, packet()]), 2);
        assert_eq!(leading(&[packet(), packet()]), 2);
    }
}
