//! Control: everything of the daemon that is not a worker. It owns the mutable model, turns it into
//! snapshots for the workers, keeps the neighbour table, executes commands, and answers on the
//! daemon's socket.

#![forbid(unsafe_code)]

pub mod accounts;
pub mod compile;
pub mod control;
pub mod daemon;
pub mod execute;
pub mod model;
pub mod neighbor;
pub mod privileges;
pub mod reload;
pub mod runtime;
pub mod server;
pub mod service_manager;
pub mod show;
pub mod state;
pub mod supervisor;
pub mod watchdog;
