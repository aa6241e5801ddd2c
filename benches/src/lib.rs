//! `sluice-bench`: what a packet costs on this machine, and micro-benchmarks of the parts on its
//! path (`cargo bench -p benches`).
//!
//! The bench drives the daemon's own workers, graph and configuration; only where packets come from
//! and go to is its own. `docs/performance.md` says how to read its figures.

pub mod appliance;
pub mod arguments;
pub mod bench_clock;
pub mod calibration;
pub mod churn;
pub mod compare;
pub mod control_figures;
pub mod cores;
pub mod disturbance;
pub mod experiment;
pub mod family;
pub mod floor;
pub mod flow;
pub mod frame_template;
pub mod histogram;
pub mod host;
pub mod instructions;
pub mod kernels;
pub mod lane;
pub mod lent;
pub mod limits;
pub mod load;
mod mbufs;
pub mod memory_port;
pub mod mode;
pub mod observer;
mod pages;
pub mod pcap_file;
pub mod pcap_harness;
pub mod ports;
mod prefetch;
pub mod recording;
pub mod report;
mod resident;
#[cfg(test)]
mod sample_results;
pub mod scaling;
pub mod service;
pub mod site;
pub mod slice;
pub mod station;
pub mod statistics;
pub mod steadiness;
pub mod table;
pub mod together;
pub mod traffic;
pub mod turn_gaps;
