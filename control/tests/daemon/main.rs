//! The daemon without hardware: commands, snapshots, neighbours, the socket; and VPP's defects that
//! touch what is built, each as a test that shows we do not have it.

mod bench;
mod churn;
mod commands;
mod config_api;
mod defects;
mod drains;
mod faults;
mod floods;
mod flow_pages;
mod flows;
mod forwarding;
mod layouts;
mod links;
mod manual;
mod neighbors;
mod rebuilding;
mod reload;
mod reload_sequences;
mod resize;
mod snapshots;
mod socket;
mod startup;
mod state;
mod stress;
mod tables;
mod vpp_parity;
