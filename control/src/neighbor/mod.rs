//! Neighbours: who answers for which address on which link, found by ARP (RFC 826) and neighbour
//! discovery (RFC 4861) and kept fresh.

pub mod arp;
pub mod discovery;
mod entry;
mod table;

pub use entry::{Entry, State};
pub use table::{Action, NeighborTable, Update};
