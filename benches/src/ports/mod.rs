//! Ports: a device under test that others send to, a generator, pairs of both, and the search for the
//! rates at which packets begin to be lost.

use std::path::Path;
use std::time::Duration;

pub mod child;
pub mod counted_io;
pub mod device;
pub mod device_command;
pub mod eal_ports;
pub mod forward_report;
pub mod forwarder;
pub mod generate_command;
pub mod generator;
pub mod generator_report;
pub mod link;
pub mod memory_subject;
pub mod ndr_command;
pub mod orders;
pub mod paced_port;
pub mod pacer;
pub mod packet_maker;
pub mod pair;
pub mod pair_command;
pub mod port_counts;
pub mod scheduling;
pub mod search;
pub mod sequence_window;
pub mod stamp;
pub mod stop_signal;

/// How long the TSC is compared with the system's clock.
pub(crate) const TSC_PAUSE: Duration = Duration::from_millis(200);

/// Writes a report.
fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(&error))?;
    std::fs::write(path, text + "\n").map_err(|error| failed(&error))
}
