//! `show ip neighbors`, `show ip6 neighbors`, `GET /v1/neighbors`.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

use super::layout::center;

/// Neighbours, those that do not answer included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbors {
    /// By interface and address.
    pub neighbors: Vec<NeighborStatus>,
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NeighborStatus {
    /// Time since it was last heard of; 0 for static ones.
    pub age_s: f64,
    /// Address.
    pub address: IpAddr,
    /// Configured; never ages.
    #[serde(rename = "static")]
    pub is_static: bool,
    /// `static`, `reachable`, `probe`, `incomplete` or `failed`.
    pub state: &'static str,
    /// Ethernet address, when known.
    pub mac: Option<String>,
    /// Interface.
    pub interface: String,
}

impl Display for Neighbors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head = [("Age", 12), ("IP", 40), ("Flags", 6), ("Ethernet", 20), ("Interface", 24)];
        writeln!(f, "{}", head.iter().map(|(title, w)| center(title, *w)).collect::<String>())?;
        for neighbor in &self.neighbors {
            let NeighborStatus { age_s, address, interface, .. } = neighbor;
            let flags = if neighbor.is_static { "S" } else { "D" };
            let mac = neighbor.mac.clone().unwrap_or_else(|| format!("({})", neighbor.state));
            let (address, flags) = (center(address, 40), center(flags, 6));
            writeln!(f, "{age_s:>12.4}{address}{flags}{} {interface}", center(mac, 20).trim_end())?;
        }
        Ok(())
    }
}
