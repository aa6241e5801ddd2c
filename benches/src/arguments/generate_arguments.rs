//! [`GenerateArguments`].

use std::path::PathBuf;

use config::MacAddress;

use super::TrafficArguments;
use super::numbers::{mpps, seconds};
use crate::family::Family;
use crate::ports::device::Device;

/// `sluice-bench generate`.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArguments {
    /// The port: a PCI address, or a virtual device such as net_memif0,role=client
    #[arg(long)]
    pub dev: Device,
    /// The Ethernet address of the device under test, which says it when it starts
    #[arg(long)]
    pub to_mac: MacAddress,
    /// Family of clients and VIP
    #[arg(long, value_enum, default_value = "4")]
    pub family: Family,
    /// What is sent
    #[command(flatten)]
    pub traffic: TrafficArguments,
    /// Million packets per second; by default as many as the port takes
    #[arg(long, value_parser = mpps)]
    pub rate: Option<f64>,
    /// Seconds; 0 until it is interrupted
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// The CPU that generates; by default the first one
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Take orders from standard input, as `sluice-bench pair` gives them
    #[arg(long, hide = true)]
    pub controlled: bool,
    /// Write the report here
    #[arg(long)]
    pub json: Option<PathBuf>,
}
