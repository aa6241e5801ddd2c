//! The reference model: the packet path of Sluice as an executable specification.
//!
//! It is slow and obviously right: one packet at a time, maps and vectors, every checksum added up
//! from scratch, every prefix and flow found by looking at all of them. It shares no code with the
//! graph, so that a mistake has to be made twice to stay hidden. Property tests play random
//! [scenarios](scenario) to both and demand the same bytes, counters, events and flows.
//!
//! The one borrowed part is the new-flow table: which AS an unknown flow goes to is asked of
//! `balancer` through [`NewFlowOrder`]; the table has its own properties.

mod arp;
pub mod checksum;
pub mod config;
#[cfg(test)]
mod coverage;
pub mod differential;
pub mod flows;
mod forward;
pub mod frame;
mod icmp;
mod input;
pub mod ip4;
mod lifecycle;
mod model;
mod nat;
mod outcome;
pub mod player;
pub mod reason;
pub mod route;
pub mod scenario;
pub mod strategy;
#[cfg(test)]
mod tests;

pub use model::{NewFlowOrder, Reference};
pub use outcome::{Outcome, Reason, VipCounts};
