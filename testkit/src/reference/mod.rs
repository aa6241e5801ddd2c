//! The reference model: the packet path of Sluice as an executable specification.
//!
//! It is slow and obviously right: one packet at a time, maps and vectors, every checksum added up
//! from scratch, every prefix and flow found by looking at all of them. It shares no code with the
//! graph, so that a mistake has to be made twice to stay hidden. Property tests play random
//! [scenarios](scenario) to both and demand the same bytes, counters, events and flows.
//!
//! The one borrowed part is what keyed hashes decide: which AS an unknown flow goes to is asked of
//! `balancer` through [`NewFlowOrder`]; the table has its own properties.
//!
//! Both families take the same way through it. Addresses are [`IpAddr`](std::net::IpAddr)s, headers
//! are read into [`ip::Header`], and [`upper::Upper`] knows where the transport header is.

mod arp;
mod balance;
mod bursts;
pub mod checksum;
pub mod config;
#[cfg(test)]
mod coverage;
pub mod differential;
mod discovery;
mod encap;
mod error;
mod ethernet;
pub mod flaw;
pub mod flows;
mod forward;
mod fragments;
pub mod frame;
#[cfg(test)]
mod golden;
mod hosts;
mod input;
pub mod ip;
mod lifecycle;
mod local;
mod model;
mod mss;
mod nat;
pub mod operator;
mod outcome;
mod outer;
pub mod player;
mod quote;
mod rate;
pub mod reason;
mod reset;
pub mod route;
pub mod scenario;
pub mod scope;
mod select;
pub mod service;
pub mod strategy;
#[cfg(test)]
mod tests;
mod tunnel;
pub mod tunnel_settings;
pub mod upper;
mod worlds;

pub use model::{NewFlowOrder, Reference};
pub use outcome::{Outcome, Reason, ServerCounts, VipCounts};
