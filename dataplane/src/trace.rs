//! Packet trace: what each node saw of a traced packet. Workers push fixed-size records into a
//! preallocated queue; control formats them as VPP's `show trace` does.

use std::net::IpAddr;

use crate::adjacency::AdjacencyId;
use crate::interface::InterfaceId;

/// Bytes of packet data kept per record.
pub const TRACE_BYTES: usize = 96;
/// Records a worker can hold until control reads them.
pub const TRACE_RECORDS: usize = 8192;

/// What a node adds to its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceDetail {
    /// Nothing but the packet itself.
    #[default]
    None,
    /// Received from, or given to, this interface.
    Interface(InterfaceId),
    /// A FIB verdict, as `show ip fib` names it.
    Fib(crate::fib::FibEntry),
    /// A balancing decision: VIP and AS index (`None` where there is none).
    Lb {
        /// VIP index.
        vip: Option<u32>,
        /// AS index.
        server: Option<u32>,
    },
    /// A translation of the source address of a reply.
    Nat {
        /// The address and port that the packet has from now on.
        address: IpAddr,
        /// Port, host order.
        port: u16,
    },
    /// Rewritten for, or waiting for, this adjacency.
    Rewrite(AdjacencyId),
    /// Dropped for this reason (index into the graph's counters).
    Drop(u16),
}

/// One node's view of one traced packet.
#[derive(Clone, Debug)]
pub struct TraceRecord {
    /// Numbers the traced packets of a worker, from 1.
    pub handle: u32,
    /// Index of the node in the graph.
    pub node: u16,
    /// When, in TSC clocks.
    pub tsc: u64,
    /// What the node adds.
    pub detail: TraceDetail,
    /// Start of the IP header in `bytes`, 0 when not known.
    pub l3_offset: u16,
    /// Whole length of the packet, in bytes.
    pub packet_len: u16,
    /// How many of `bytes` are valid.
    pub bytes_len: u8,
    /// The packet's first bytes as the node left them.
    pub bytes: [u8; TRACE_BYTES],
}
