//! [`PacketIo`] over DPDK ports.

use crate::dpdk::mempool::{Mempool, free_bulk};
use crate::dpdk::queue::{PortQueues, RxQueue, TxQueue};
use crate::frame::Frame;
use crate::interface::{InterfaceId, PortId, QueueId};
use crate::io::PacketIo;
use crate::packet::Packet;

/// A worker's way to its ports: the queues that are its own.
#[derive(Debug)]
pub struct DpdkIo {
    pool: Mempool,
    rx: Vec<RxQueue>,
    tx: Vec<TxQueue>,
    /// Empty, with room for one.
    probe: Vec<Packet>,
}

impl DpdkIo {
    /// With the pool for packets made by this worker, and its queues.
    pub fn new(pool: Mempool, rx: Vec<RxQueue>, tx: Vec<TxQueue>) -> Self {
        Self { pool, rx, tx, probe: Vec::with_capacity(1) }
    }
}

impl PacketIo for DpdkIo {
    // A worker has a handful of queues: looking one up costs a few cycles per burst.

    #[inline]
    fn rx_burst(
        &mut self,
        port: PortId,
        queue: QueueId,
        interface: InterfaceId,
        frame: &mut Frame,
    ) -> usize {
        let own = self.rx.iter_mut().find(|own| own.port() == port && own.id() == queue);
        own.map_or(0, |own| own.receive(frame, interface))
    }

    #[inline]
    fn tx_burst(&mut self, port: PortId, queue: QueueId, packets: &mut [Option<Packet>]) -> usize {
        let own = self.tx.iter_mut().find(|own| own.port() == port && own.id() == queue);
        own.map_or(0, |own| own.send(packets))
    }

    #[inline]
    fn alloc(&mut self) -> Option<Packet> {
        self.pool.alloc()
    }

    fn is_starved(&mut self) -> bool {
        let one = self.pool.alloc();
        let starved = one.is_none();
        self.probe.extend(one);
        free_bulk(&mut self.probe);
        starved
    }

    fn swap_queues(&mut self, queues: &mut PortQueues) {
        let port = queues.port;
        let rx = self.rx.extract_if(.., |own| own.port() == port).collect();
        let tx = self.tx.extract_if(.., |own| own.port() == port).collect();
        self.rx.append(&mut std::mem::replace(&mut queues.rx, rx));
        self.tx.append(&mut std::mem::replace(&mut queues.tx, tx));
    }

    #[inline]
    fn free(&mut self, packets: &mut Vec<Packet>) {
        free_bulk(packets);
    }
}
