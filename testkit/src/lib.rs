//! What tests are made of: packets, ports, time and whole workers, without a network.

pub mod balanced;
pub mod fake_mbuf;
pub mod guard_pages;
pub mod harness;
pub mod http_request;
pub mod memory_io;
pub mod packet_builder;
pub mod reference;
pub mod virtual_clock;
pub mod world;
