//! The data plane under control: ports, pools, workers.

mod dpdk_hardware;
pub mod hardware;
mod plan;
mod start;
mod sticky_plan;
pub mod threads;

pub use plan::{Plan, PortPlan, file_prefix};
pub use start::{DataPlane, StartError};
pub use sticky_plan::StickyPlan;
