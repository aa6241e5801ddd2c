//! `show ipip tunnel`, `GET /v1/tunnels`.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

/// All IP-in-IP tunnels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tunnels {
    /// By interface index.
    pub tunnels: Vec<TunnelStatus>,
}

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelStatus {
    /// Name of the interface.
    pub name: String,
    /// `sw_if_index`.
    pub index: u16,
    /// The number in its name.
    pub instance: u32,
    /// Our end.
    pub source: IpAddr,
    /// The far end.
    pub destination: IpAddr,
    /// Administrative state.
    pub up: bool,
    /// Largest packet that it takes at present.
    pub mtu_bytes: u16,
    /// Interface that outer packets leave by; absent without a route to the far end.
    pub interface: Option<String>,
    /// Neighbour that they go to.
    pub next_hop: Option<String>,
}

impl Display for Tunnels {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.tunnels.is_empty() {
            return writeln!(f, "No IPIP tunnels configured...");
        }
        for (at, tunnel) in self.tunnels.iter().enumerate() {
            let TunnelStatus { instance, source, destination, index, mtu_bytes, .. } = tunnel;
            write!(
                f,
                "[{at}] instance {instance} src {source} dst {destination} table-ID 0 \
                 sw-if-idx {index} flags [none] dscp CS0 mtu {mtu_bytes}"
            )?;
            match (&tunnel.next_hop, &tunnel.interface) {
                (Some(next_hop), Some(interface)) => writeln!(f, " via {next_hop} {interface}")?,
                _ if tunnel.up => writeln!(f, " no route")?,
                _ => writeln!(f, " down")?,
            }
        }
        Ok(())
    }
}
