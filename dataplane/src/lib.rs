//! The data plane of Sluice: ports and packets, frames and the graph engine, the FIB, the snapshot
//! that control publishes, and the worker loop. Protocol logic lives in `graph-nodes`, balancing
//! decisions in `balancer`.

pub mod adjacency;
pub mod by_family;
pub mod care_map;
pub mod clock;
pub mod credentials;
pub mod dpdk;
pub mod event;
pub mod family;
pub mod fib;
pub mod fib6;
pub mod forwarding;
pub mod fragmentation;
pub mod frame;
pub mod graph;
mod graph_info;
pub mod interface;
pub mod io;
pub mod node;
pub mod packet;
pub mod peer;
pub mod rate_limit;
pub mod shared;
pub mod snapshot;
pub mod sync;
pub mod trace;
pub mod transmit;
pub mod wire;
pub mod worker;
