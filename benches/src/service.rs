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
    /// VIPs, of which only one has traffic; each has ASs and a table of new flows of its own.
    pub vips: u32,
    /// Slots of each of these tables; the product's default if it is not said.
    pub vip_length: Option<u32>,
}

/// Most VIPs: each behind NAT has a port of the ASs for itself.
pub const VIPS_MAX: u32 = 60_000;

impl Service {
    /// One VIP with so many ASs and what is usual.
    pub fn of(servers: u16) -> Self {
        Self { servers, ports: None, vips: 1, vip_length: None }
    }
}
