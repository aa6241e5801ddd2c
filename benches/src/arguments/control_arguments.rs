//! [`ControlArguments`].

use std::path::PathBuf;

use super::numbers::{buckets, vips};
use crate::site::SERVERS_MAX;

/// `sluice-bench control`.
#[derive(Clone, Debug, clap::Args)]
pub struct ControlArguments {
    /// Slots of the table of new flows that is built
    #[arg(long, default_value_t = 65_537)]
    pub slots: u32,
    /// ASs of that table
    #[arg(long, default_value_t = SERVERS_MAX, value_parser = clap::value_parser!(u16).range(1..=i64::from(SERVERS_MAX)))]
    pub members: u16,
    /// VIPs that are loaded and shown
    #[arg(long, value_parser = vips, default_value = "10k")]
    pub vips: u32,
    /// ASs of each of these
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub servers: u32,
    /// Buckets of the sticky table that is filled to one half
    #[arg(long, value_parser = buckets, default_value = "524288")]
    pub buckets: u32,
    /// How often short things are repeated
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Write the figures here
    #[arg(long)]
    pub json: Option<PathBuf>,
}
