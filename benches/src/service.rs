//! [`Service`]: what is configured for a mode with a VIP, beside its encap.

use serde::{Deserialize, Serialize};

/// Ports of a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VipPorts {
    /// One port of one protocol
    One,
    /// All ports and protocols
    All,
}

/// VIPs and ASs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// ASs of the VIP.
    pub servers: u16,
    /// Ports of the VIP, where the mode leaves a choice; see [`crate::mode::Mode::ports`].
    pub ports: Option<VipPorts>,
}

impl Service {
    /// A VIP with so many ASs and its usual ports.
    pub fn of(servers: u16) -> Self {
        Self { servers, ports: None }
    }
}
