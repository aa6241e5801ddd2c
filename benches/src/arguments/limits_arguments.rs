//! [`LimitsArguments`].

use std::path::PathBuf;

use super::numbers::{bytes, flows};
use crate::mode::EncapWord;

/// `sluice-bench limits`.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitsArguments {
    /// Bytes of the tables for random reads
    #[arg(long, value_parser = bytes, value_delimiter = ',', default_value = "32K,1M,16M,64M,256M,1G")]
    pub tables: Vec<usize>,
    /// The CPU to measure; by default the last one
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Modes whose work is compared with the least that balancing can cost
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nat4,gre4")]
    pub encap: Vec<EncapWord>,
    /// Flows with which they are compared
    #[arg(long, value_parser = flows, value_delimiter = ',', default_value = "1,1k,100k,1M")]
    pub flows: Vec<u64>,
    /// How often each mode is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Milliseconds of each measurement
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub millis: u32,
    /// Write the limits here
    #[arg(long)]
    pub json: Option<PathBuf>,
}
