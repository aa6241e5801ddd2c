//! What workers tell control, and what control asks of workers. Both ways are bounded queues that
//! never block: a full one refuses, and the refusal is counted.

use std::net::IpAddr;

use balancer::StickyOwner;

use crate::dpdk::queue::PortQueues;
use crate::interface::{InterfaceId, MacAddress};
use crate::packet::Packet;

/// From a worker to control.
#[derive(Debug)]
pub enum Event {
    /// A packet waits for this neighbour.
    NeighborNeeded {
        /// Link it is on.
        interface: InterfaceId,
        /// Its address.
        address: IpAddr,
    },
    /// An ARP or neighbour discovery packet told where a neighbour is, other than the snapshot has it.
    NeighborSeen {
        /// Link it is on.
        interface: InterfaceId,
        /// Its protocol address.
        address: IpAddr,
        /// Its Ethernet address.
        mac: MacAddress,
    },
    /// A packet for control itself (an ICMP echo reply); control frees it.
    Punt {
        /// Interface it came in by.
        interface: InterfaceId,
        /// Start of its IP header in the packet data, in bytes.
        l3_offset: u16,
        /// The packet.
        packet: Packet,
    },
    /// The sticky table that another has replaced; control frees it.
    StickyTableRetired(Box<StickyOwner>),
}

/// From control to one worker.
#[derive(Debug)]
pub enum Request {
    /// Send this complete Ethernet frame.
    Transmit {
        /// Link to send it on.
        interface: InterfaceId,
        /// The frame.
        packet: Packet,
    },
    /// Route this IPv4 packet; its data starts with 14 bytes of room for the Ethernet header.
    Route {
        /// The packet.
        packet: Packet,
    },
    /// Panic, as `debug worker panic` asks: on an lcore that ends the process.
    Panic,
    /// Use these queues of a port in the place of those there are, and give those up by
    /// [`WorkerShared::next_swapped`](crate::shared::WorkerShared::next_swapped).
    SwapQueues(Box<PortQueues>),
    /// Replace the sticky table by this empty one, and move all live flows over in slices. The
    /// snapshots of all workers already have both, or they would miss flows of each other.
    ReplaceStickyTable(Box<StickyOwner>),
}
