//! [`NdrArguments`].

use std::path::PathBuf;

use super::numbers::{positive_seconds, precision, ratio};
use super::{DeviceArguments, TrafficArguments};
use crate::ports::link::LinkKind;

/// What `--link` of `ndr` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NdrLink {
    /// Packets made in memory, a bounded queue in front of the worker, one process
    Memory,
    /// Shared memory between two processes
    Memif,
    /// vhost-user and virtio-user between two processes
    Vhost,
    /// A pair of veths, each with a packet socket; needs root
    #[value(name = "af_packet", alias = "af-packet")]
    AfPacket,
    /// A pair of veths, each with an XDP socket; needs root
    #[value(name = "af_xdp", alias = "af-xdp")]
    AfXdp,
}

impl NdrLink {
    /// The link of a pair; `None` in memory.
    pub fn kind(self) -> Option<LinkKind> {
        match self {
            Self::Memory => None,
            Self::Memif => Some(LinkKind::Memif),
            Self::Vhost => Some(LinkKind::Vhost),
            Self::AfPacket => Some(LinkKind::AfPacket),
            Self::AfXdp => Some(LinkKind::AfXdp),
        }
    }
}

/// `sluice-bench ndr`.
#[derive(Clone, Debug, clap::Args)]
pub struct NdrArguments {
    /// Where packets come from and go to
    #[arg(long, value_enum, default_value = "memory")]
    pub link: NdrLink,
    /// The device under test
    #[command(flatten)]
    pub device: DeviceArguments,
    /// What is sent
    #[command(flatten)]
    pub traffic: TrafficArguments,
    /// Highest shares of packets that may be lost: 0 is the non-drop rate
    #[arg(long, value_parser = ratio, value_delimiter = ',', default_value = "0,0.005")]
    pub loss_ratio: Vec<f64>,
    /// Seconds of the trials that decide; RFC 2544 wants 60
    #[arg(long, default_value_t = 1.0, value_parser = positive_seconds)]
    pub trial_seconds: f64,
    /// How far the rate found and one that is too much may be apart, in percent
    #[arg(long, default_value = "1", value_parser = precision)]
    pub precision: f64,
    /// Packets that wait in front of the worker at most, in memory
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub queue: u32,
    /// CPUs of the device under test and, over a link, of the generator; by default the last ones
    #[arg(long, value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// Write the report here
    #[arg(long)]
    pub json: Option<PathBuf>,
}
