//! [`PairArguments`].

use std::path::PathBuf;

use super::numbers::{mpps, positive_seconds};
use super::{DeviceArguments, TrafficArguments};
use crate::ports::link::LinkKind;

/// `sluice-bench pair`.
#[derive(Clone, Debug, clap::Args)]
pub struct PairArguments {
    /// What connects the two processes
    #[arg(long, value_enum, default_value = "memif")]
    pub link: LinkKind,
    /// The device under test
    #[command(flatten)]
    pub device: DeviceArguments,
    /// What is sent
    #[command(flatten)]
    pub traffic: TrafficArguments,
    /// Million packets per second; by default as many as the link takes
    #[arg(long, value_parser = mpps)]
    pub rate: Option<f64>,
    /// Seconds
    #[arg(long, default_value_t = 5.0, value_parser = positive_seconds)]
    pub seconds: f64,
    /// CPUs of the device under test and of the generator; by default the last two
    #[arg(long, value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// Say where the cycles go, node by node
    #[arg(long)]
    pub nodes: bool,
    /// Write the report here
    #[arg(long)]
    pub json: Option<PathBuf>,
}
