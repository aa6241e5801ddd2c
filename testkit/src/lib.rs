//! What tests are made of: packets, ports and time without a network.

pub mod fake_mbuf;
pub mod memory_io;
pub mod packet_builder;
pub mod virtual_clock;
